//! TOML with places: reads a file key by key, so that every mistake in it is found in one go and points at its line.
//!
//! The policy directory is read by it, and so is the gate's own configuration.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Place, Sink, line_starts, nearest, shown};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// What was read.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> At<T> {
    fn with<U>(&self, value: U) -> At<U> {
        At { value, place: self.place.clone() }
    }
}

/// One TOML file.
pub struct Document<'a> {
    file: Arc<str>,
    text: &'a str,
    lines: Vec<usize>,
    root: Spanned<DeTable<'a>>,
    sink: &'a Sink,
}

impl<'a> Document<'a> {
    /// Reads a file; what isn't TOML is reported, and the rest still read.
    #[must_use]
    pub fn open(file: &str, bytes: &'a [u8], sink: &'a Sink) -> Option<Self> {
        let file: Arc<str> = file.into();
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                sink.error(Place::file(&file), format!("the file is not UTF-8 text from byte {} on", error.valid_up_to()));
                return None;
            }
        };
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { file, text, lines: line_starts(text), root, sink };
        for error in errors {
            let at = error.span().map_or_else(|| Place::file(&document.file), |span| document.place(span.start));
            sink.broken(at, error.message().trim_end_matches('.').replace('\n', "; "));
        }
        Some(document)
    }

    /// The table that the file is.
    #[must_use]
    pub fn root(&self) -> Table<'_> {
        Table { document: self, table: Some(self.root.get_ref()), path: "", offset: None, asked: RefCell::default() }
    }

    /// Reports a mistake at a value that was read.
    pub fn reject<T>(&self, at: &At<T>, says: impl Into<String>) {
        self.sink.error(at.place.clone(), says);
    }

    fn place(&self, offset: usize) -> Place {
        Place::by_lines(&self.file, self.text, &self.lines, offset)
    }
}

/// A table in it. Keys that nobody asked for are mistakes; see [`Table::finish`].
pub struct Table<'d> {
    document: &'d Document<'d>,
    table: Option<&'d DeTable<'d>>,
    path: &'static str,
    offset: Option<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    /// Whether it stands in the file.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// It, if it stands in the file.
    #[must_use]
    pub fn if_there(self) -> Option<Self> {
        self.is_there().then_some(self)
    }

    /// Where it begins.
    #[must_use]
    pub fn place(&self) -> Place {
        self.offset.map_or_else(|| Place::file(&self.document.file), |offset| self.document.place(offset))
    }

    /// Where mistakes go.
    #[must_use]
    pub fn sink(&self) -> &'d Sink {
        self.document.sink
    }

    /// Whether a key stands in it.
    #[must_use]
    pub fn has(&self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    /// Whether a key holds a list.
    #[must_use]
    pub fn is_list(&self, key: &'static str) -> bool {
        self.raw(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// Reports that a key has to be there, if it is not there at all; the hint says what to write.
    pub fn missing(&self, key: &'static str, hint: &str) {
        if !self.has(key) {
            self.sink().hinted(self.place(), format!("{} is missing", self.named(key)), Some(hint.to_owned()));
        }
    }

    /// A text in quotes.
    #[must_use]
    pub fn text(&self, key: &'static str) -> Option<At<String>> {
        let value = self.raw(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(self.at(value, text.to_owned())),
            None => {
                self.wanted(value, key, "a text in quotes");
                None
            }
        }
    }

    /// What a text says, in the words of its own parser if it is wrong. Numbers and times count as the text they are written as.
    #[must_use]
    pub fn read<T>(&self, key: &'static str) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let value = self.raw(key)?;
        let text = self.written(value, key, "a text in quotes")?;
        self.understood(key, &text, |error: T::Err| error.to_string())
    }

    /// The same; `wanted` says what it has to be, for a message.
    #[must_use]
    pub fn parse<T: FromStr>(&self, key: &'static str, wanted: &str) -> Option<At<T>> {
        let text = self.text(key)?;
        self.understood(key, &text, |_: T::Err| format!("`{}` is not {wanted}", shown(&text.value)))
    }

    /// What a text says; the key has to be there.
    #[must_use]
    pub fn required<T>(&self, key: &'static str) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        if !self.has(key) {
            self.sink().error(self.place(), format!("{} is missing here", self.named(key)));
        }
        self.read(key)
    }

    /// What a text says, or something else if the key isn't there.
    #[must_use]
    pub fn or<T>(&self, key: &'static str, default: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        self.read(key).map_or(default, |at| at.value)
    }

    /// `true` or `false`.
    #[must_use]
    pub fn flag(&self, key: &'static str) -> Option<At<bool>> {
        let value = self.raw(key)?;
        match value.get_ref().as_bool() {
            Some(flag) => Some(self.at(value, flag)),
            None => {
                self.wanted(value, key, "`true` or `false`");
                None
            }
        }
    }

    /// `true` or `false`, or what counts if the key isn't there.
    #[must_use]
    pub fn flag_or(&self, key: &'static str, default: bool) -> bool {
        self.flag(key).map_or(default, |at| at.value)
    }

    /// A whole number between two others, themselves included.
    #[must_use]
    pub fn number(&self, key: &'static str, least: u32, most: u32) -> Option<At<u32>> {
        let wanted = if most == u32::MAX { format!("a whole number from {least} on") } else { format!("a number from {least} to {most}") };
        self.whole(key, &wanted, least, most)
    }

    /// A TCP port, from 1 on.
    #[must_use]
    pub fn port(&self, key: &'static str) -> Option<At<u16>> {
        let found = self.whole(key, "a port from 1 to 65535", 1, u16::MAX.into())?;
        u16::try_from(found.value).ok().map(|port| found.with(port))
    }

    fn whole(&self, key: &'static str, wanted: &str, least: u32, most: u32) -> Option<At<u32>> {
        let value = self.raw(key)?;
        let Some(number) = value.get_ref().as_integer() else {
            self.wanted(value, key, wanted);
            return None;
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(found) if (least..=most).contains(&found) => Some(self.at(value, found)),
            _ => {
                let says = format!("{}: {} is not {wanted}", self.named(key), shown(number.as_str()));
                self.sink().error(self.document.place(value.span().start), says);
                None
            }
        }
    }

    /// A list of texts, each as [`Table::read`]; a missing list is empty.
    #[must_use]
    pub fn read_list<T>(&self, key: &'static str) -> Vec<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.texts(key).iter().filter_map(|text| self.understood(key, text, |error: T::Err| error.to_string())).collect()
    }

    /// A list of texts, each as [`Table::parse`]; a missing list is empty.
    #[must_use]
    pub fn list<T: FromStr>(&self, key: &'static str, wanted: &str) -> Vec<At<T>> {
        let one = |text: &At<String>| self.understood(key, text, |_: T::Err| format!("`{}` is not {wanted}", shown(&text.value)));
        self.texts(key).iter().filter_map(one).collect()
    }

    fn texts(&self, key: &'static str) -> Vec<At<String>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wanted(value, key, "a list of texts, as in `[\"a\", \"b\"]`");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.written(item, key, "a list of texts")).collect()
    }

    /// Every key of a table whose keys are free, with its text or list of texts, each as [`Table::read`].
    #[must_use]
    pub fn entries<T>(self) -> Vec<(At<String>, Vec<At<T>>)>
    where
        T: FromStr,
        T::Err: Display,
    {
        let mut out = Vec::new();
        for (name, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let key = At { value: name.get_ref().to_string(), place: self.document.place(name.span().start) };
            let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref().as_array() {
                Some(items) => items.iter().collect(),
                None => vec![value],
            };
            let texts = items.into_iter().filter_map(|item| self.written(item, &key.value, "a text in quotes or a list of them"));
            let values = texts.filter_map(|text| self.understood(&key.value, &text, |error: T::Err| error.to_string())).collect();
            out.push((key, values));
        }
        out
    }

    /// Every key of a table whose keys are free, each with its text as [`Table::parse`].
    #[must_use]
    pub fn pairs<T: FromStr>(self, wanted: &str) -> Vec<(String, At<T>)> {
        let mut out = Vec::new();
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name: &str = key.get_ref();
            let Some(text) = self.written(value, name, "a text in quotes") else { continue };
            let read = self.understood(name, &text, |_: T::Err| format!("`{}` is not {wanted}", shown(&text.value)));
            out.extend(read.map(|read| (name.to_owned(), read)));
        }
        out
    }

    /// A table inside; one that isn't there reads as empty.
    #[must_use]
    pub fn table(&self, key: &'static str) -> Table<'d> {
        let value = self.raw(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            self.wanted(value, key, &format!("a table, written `[{key}]`"));
        }
        let offset = value.map(|value| value.span().start);
        Table { document: self.document, table, path: key, offset, asked: RefCell::default() }
    }

    /// Each table of a list of them, written `[[key]]`; a missing list is empty.
    #[must_use]
    pub fn tables(&self, key: &'static str) -> Vec<Table<'d>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let wanted = format!("a list of tables, each written `[[{key}]]`");
        let Some(items) = value.get_ref().as_array() else {
            self.wanted(value, key, &wanted);
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => out.push(Table {
                    document: self.document,
                    table: Some(table),
                    path: key,
                    offset: Some(item.span().start),
                    asked: RefCell::default(),
                }),
                None => self.wanted(item, key, &wanted),
            }
        }
        out
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("what may stand here is {}", asked.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(", ")),
            };
            let place = if self.path.is_empty() { "here".to_owned() } else { format!("in `[{}]`", self.path) };
            let says = format!("`{}` means nothing {place}", shown(name));
            self.document.sink.hinted(self.document.place(key.span().start), says, Some(hint));
        }
    }

    fn raw(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        self.table?.get(key)
    }

    /// A key as messages name it: with its table.
    fn named(&self, key: &str) -> String {
        let key = shown(key);
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{}.{key}`", self.path) }
    }

    fn at<T>(&self, found: &Spanned<DeValue<'_>>, value: T) -> At<T> {
        At { value, place: self.document.place(found.span().start) }
    }

    fn written(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) -> Option<At<String>> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(at) => at.to_string(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            _ => {
                self.wanted(value, key, wanted);
                return None;
            }
        };
        Some(self.at(value, text))
    }

    fn understood<T: FromStr>(&self, key: &str, text: &At<String>, says: impl FnOnce(T::Err) -> String) -> Option<At<T>> {
        match text.value.parse() {
            Ok(value) => Some(text.with(value)),
            Err(error) => {
                self.sink().error(text.place.clone(), format!("{}: {}", self.named(key), says(error)));
                None
            }
        }
    }

    fn wanted(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        let says = format!("{} has to be {wanted}, and here is a value of type {found}", self.named(key));
        self.sink().error(self.document.place(value.span().start), says);
    }
}
