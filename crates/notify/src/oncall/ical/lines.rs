//! Content lines (RFC 5545 §3.1) as components with their properties.

/// So deep components stand in each other; the standard needs three.
const DEEPEST: usize = 8;

/// A property: `NAME;PARAM=value:text`. Names are in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) params: Vec<(String, String)>,
    pub(super) value: String,
}

impl Property {
    /// A parameter's value, without its quotes.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value as text (§3.3.11), without its escapes.
    pub(super) fn text(&self) -> String {
        let mut out = String::with_capacity(self.value.len());
        let mut escaped = false;
        for c in self.value.chars() {
            match (escaped, c) {
                (false, '\\') => escaped = true,
                (true, 'n' | 'N') => {
                    out.push('\n');
                    escaped = false;
                }
                _ => {
                    out.push(c);
                    escaped = false;
                }
            }
        }
        out.trim().to_owned()
    }
}

/// A component: what stands between `BEGIN` and `END`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) properties: Vec<Property>,
    pub(super) inside: Vec<Component>,
}

impl Component {
    /// The first property by a name.
    pub(super) fn get(&self, name: &str) -> Option<&Property> {
        self.all(name).next()
    }

    /// Every property by a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |property| property.name == name)
    }

    /// Every component inside by a name.
    pub(super) fn components(&self, name: &str) -> impl Iterator<Item = &Component> {
        self.inside.iter().filter(move |component| component.name == name)
    }
}

/// Reads a feed: its one `VCALENDAR`. A feed that breaks off is no feed.
pub(super) fn parse(text: &str) -> Result<Component, String> {
    let mut open: Vec<Component> = Vec::new();
    let mut done: Option<Component> = None;
    for (number, line) in unfolded(text) {
        let wrong = |says: &str| format!("line {number}: {says}");
        let property = property(&line).ok_or_else(|| wrong("it is no `NAME:value`"))?;
        match property.name.as_str() {
            "BEGIN" if done.is_some() => return Err(wrong("a second calendar begins")),
            "BEGIN" if open.len() == DEEPEST => return Err(wrong("components stand in each other too deeply")),
            "BEGIN" => open.push(Component { name: property.value.to_ascii_uppercase(), ..Component::default() }),
            "END" => {
                let closed = open.pop().filter(|closed| closed.name.eq_ignore_ascii_case(&property.value));
                let closed = closed.ok_or_else(|| wrong("what ends here has not begun"))?;
                match open.last_mut() {
                    Some(above) => above.inside.push(closed),
                    None => done = Some(closed),
                }
            }
            _ => match open.last_mut() {
                Some(above) => above.properties.push(property),
                None => return Err(wrong("it stands outside of every component")),
            },
        }
    }
    if !open.is_empty() {
        return Err("it breaks off before its end".to_owned());
    }
    done.filter(|calendar| calendar.name == "VCALENDAR").ok_or_else(|| "there is no `BEGIN:VCALENDAR` in it".to_owned())
}

/// Lines with those that go on put together (§3.1), and the number of each one's first.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match (line.strip_prefix([' ', '\t']), out.last_mut()) {
            (Some(more), Some((_, before))) => before.push_str(more),
            _ if line.trim().is_empty() => {}
            _ => out.push((index + 1, line.to_owned())),
        }
    }
    out
}

fn property(line: &str) -> Option<Property> {
    let end = line.find([':', ';'])?;
    let (name, mut rest) = line.split_at(end);
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_name(name) {
        return None;
    }
    let mut params = Vec::new();
    while let Some(more) = rest.strip_prefix(';') {
        let (key, after) = more.split_once('=')?;
        if !is_name(key) {
            return None;
        }
        let mut quoted = false;
        let end = after.char_indices().find_map(|(at, c)| match c {
            '"' => {
                quoted = !quoted;
                None
            }
            ';' | ':' if !quoted => Some(at),
            _ => None,
        })?;
        let (value, left) = after.split_at(end);
        params.push((key.to_ascii_uppercase(), value.replace('"', "")));
        rest = left;
    }
    let value = rest.strip_prefix(':')?;
    Some(Property { name: name.to_ascii_uppercase(), params, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_go_on_parameters_and_escapes() {
        let text = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Ben\\, first\r\n  level\r\n\
                    ATTENDEE;CN=\"Ben; the first\";PARTSTAT=ACCEPTED:mailto:ben@example.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        let calendar = parse(text).unwrap();
        let event = calendar.components("VEVENT").next().unwrap();
        assert_eq!(event.get("SUMMARY").unwrap().text(), "Ben, first level");
        let attendee = event.get("ATTENDEE").unwrap();
        assert_eq!((attendee.param("CN"), attendee.value.as_str()), (Some("Ben; the first"), "mailto:ben@example.com"));
    }

    #[test]
    fn what_breaks_off_or_is_no_calendar_is_refused() {
        for (text, wanted) in [
            ("", "no `BEGIN:VCALENDAR`"),
            ("<html>\n</html>\n", "line 1: it is no `NAME:value`"),
            ("BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "breaks off"),
            ("BEGIN:VCALENDAR\nEND:VEVENT\n", "has not begun"),
            ("BEGIN:VCARD\nEND:VCARD\n", "no `BEGIN:VCALENDAR`"),
            ("BEGIN:VCALENDAR\nEND:VCALENDAR\nX:1\n", "outside"),
        ] {
            assert!(parse(text).unwrap_err().contains(wanted), "{text:?}");
        }
        assert!(parse(&"BEGIN:X\n".repeat(100)).unwrap_err().contains("too deeply"));
    }
}
