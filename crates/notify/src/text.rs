//! What people wrote, made harmless for where it is shown: names, reasons, notes, tickets.

/// One line of what somebody wrote, without what is invisible, breaks lines or turns the direction of reading (UAX #9).
#[must_use]
pub fn inert(text: &str) -> String {
    let line: String = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect();
    line.chars().filter(|c| !c.is_control() && !deceives(*c)).collect()
}

fn deceives(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The same, of at most so many characters.
#[must_use]
pub fn short(text: &str, longest: usize) -> String {
    let inert = inert(text);
    if inert.chars().count() <= longest {
        return inert;
    }
    inert.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// The same, so that no program that shows it makes a link of it: `https[:]//evil.example`, `www[.]evil.example`, `eve[@]evil.example`.
#[must_use]
pub fn unlinked(text: &str, longest: usize) -> String {
    let text = short(text, longest).replace("://", "[:]//").replace('@', "[@]");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    // ASCII alone changes case in place, so that offsets stay the same.
    while let Some(at) = rest.to_ascii_lowercase().find("www.") {
        let (before, after) = rest.split_at(at);
        let (www, after) = after.split_at(3);
        out.push_str(before);
        out.push_str(www);
        out.push_str("[.]");
        rest = after.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Text in which nothing is markup of HTML, between tags or in a quoted attribute.
#[must_use]
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_breaks_links_or_is_markup() {
        assert_eq!(inert("a\r\nBcc: eve@x\u{202e}\u{200b}\u{7}"), "a  Bcc: eve@x");
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(
            unlinked("see HTTPS://evil.example, WWW.evil.example and eve@x", 99),
            "see HTTPS[:]//evil.example, WWW[.]evil.example and eve[@]x"
        );
        assert_eq!(unlinked("Ångström www.www.x", 99), "Ångström www[.]www[.]x");
        assert_eq!(html("<b a=\"x\" c='y'>&"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;");
    }
}
