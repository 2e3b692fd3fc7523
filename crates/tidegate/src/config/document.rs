//! TOML with places: read key by key, so that every mistake in the file is found in one go and points at its line.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Collected, Mistake, nearest, shown};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    offset: usize,
}

impl<T> At<T> {
    pub(crate) fn with<U>(&self, value: U) -> At<U> {
        At { value, offset: self.offset }
    }
}

/// One TOML file.
pub(crate) struct Document<'a> {
    file: String,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
    mistakes: &'a Collected,
    /// Where the text is no TOML: what was read from there was guessed, and is not judged.
    broken: Vec<usize>,
}

impl<'a> Document<'a> {
    /// Reads a file's text; what isn't TOML is reported, and the rest still read.
    pub(crate) fn open(file: &str, text: &'a str, mistakes: &'a Collected) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self { file: shown(file), text, root, mistakes, broken: Vec::new() };
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            document.wrong(offset, error.message().trim_end_matches('.').replace('\n', "; "), None);
            document.broken.push(offset);
        }
        document
    }

    pub(crate) fn root(&self) -> Table<'_> {
        Table { document: self, table: Some(self.root.get_ref()), path: "", offset: 0, asked: RefCell::default() }
    }

    /// Reports a mistake at a value that was read.
    pub(crate) fn reject<T>(&self, at: &At<T>, says: impl Into<String>) {
        if !self.broken.contains(&at.offset) {
            self.wrong(at.offset, says, None);
        }
    }

    fn wrong(&self, offset: usize, says: impl Into<String>, hint: Option<String>) {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        self.mistakes.add(Mistake {
            source: self.file.clone(),
            line: Some(before.matches('\n').count() + 1),
            column: Some(before.get(start..).map_or(0, |line| line.chars().count()) + 1),
            says: says.into(),
            hint,
        });
    }
}

/// A table in it. Keys that nobody asked for are mistakes; see [`Table::finish`].
pub(crate) struct Table<'d> {
    document: &'d Document<'d>,
    table: Option<&'d DeTable<'d>>,
    path: &'static str,
    offset: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    /// Whether it stands in the file.
    pub(crate) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    fn raw(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.borrow_mut().push(key);
        self.table?.get(key)
    }

    fn named(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{}.{key}`", self.path) }
    }

    fn wanted(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        let says = format!("{} has to be {wanted}, and here is a value of type {found}", self.named(key));
        self.document.wrong(value.span().start, says, None);
    }

    /// Reports that a key has to be there, if it is not there at all.
    pub(crate) fn missing(&self, key: &str, hint: &str) {
        if self.table.is_some_and(|table| table.contains_key(key)) {
            return;
        }
        let says = format!("{} is missing", self.named(key));
        if self.path.is_empty() {
            let source = self.document.file.clone();
            self.document.mistakes.add(Mistake { source, line: None, column: None, says, hint: Some(hint.to_owned()) });
        } else {
            self.document.wrong(self.offset, says, Some(hint.to_owned()));
        }
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<At<String>> {
        let value = self.raw(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), offset: value.span().start }),
            None => {
                self.wanted(value, key, "a text in quotes");
                None
            }
        }
    }

    /// A text that something can be read from; `wanted` says what, for the message.
    pub(crate) fn parse<T: FromStr>(&self, key: &'static str, wanted: &str) -> Option<At<T>> {
        let text = self.text(key)?;
        self.read(key, &text, wanted)
    }

    fn read<T: FromStr>(&self, key: &str, text: &At<String>, wanted: &str) -> Option<At<T>> {
        match text.value.parse() {
            Ok(value) => Some(text.with(value)),
            Err(_) => {
                self.document.wrong(text.offset, format!("{}: `{}` is not {wanted}", self.named(key), shown(&text.value)), None);
                None
            }
        }
    }

    /// The same with the parser's own words, which have to say what was wanted.
    pub(crate) fn parse_with<T>(&self, key: &'static str) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text(key)?;
        match text.value.parse() {
            Ok(value) => Some(text.with(value)),
            Err(error) => {
                self.document.wrong(text.offset, format!("{}: {error}", self.named(key)), None);
                None
            }
        }
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        let value = self.raw(key)?;
        match value.get_ref().as_bool() {
            Some(flag) => Some(At { value: flag, offset: value.span().start }),
            None => {
                self.wanted(value, key, "`true` or `false`");
                None
            }
        }
    }

    /// A TCP port, from 1 on.
    pub(crate) fn port(&self, key: &'static str) -> Option<At<u16>> {
        let value = self.raw(key)?;
        let offset = value.span().start;
        let Some(number) = value.get_ref().as_integer() else {
            self.wanted(value, key, "a port from 1 to 65535");
            return None;
        };
        match u16::from_str_radix(number.as_str(), number.radix()) {
            Ok(port) if port > 0 => Some(At { value: port, offset }),
            _ => {
                let says = format!("{}: {} is not a port from 1 to 65535", self.named(key), shown(number.as_str()));
                self.document.wrong(offset, says, None);
                None
            }
        }
    }

    /// A whole number between two others, themselves included.
    pub(crate) fn number(&self, key: &'static str, least: u32, most: u32) -> Option<At<u32>> {
        let value = self.raw(key)?;
        let offset = value.span().start;
        let wanted = format!("a number from {least} to {most}");
        let Some(number) = value.get_ref().as_integer() else {
            self.wanted(value, key, &wanted);
            return None;
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(found) if (least..=most).contains(&found) => Some(At { value: found, offset }),
            _ => {
                self.document.wrong(offset, format!("{}: {} is not {wanted}", self.named(key), shown(number.as_str())), None);
                None
            }
        }
    }

    /// A list of texts, each read as `T`; a missing list is empty.
    pub(crate) fn list<T: FromStr>(&self, key: &'static str, wanted: &str) -> Vec<At<T>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wanted(value, key, "a list of texts, as in `[\"a\", \"b\"]`");
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => out.extend(self.read(key, &At { value: text.to_owned(), offset: item.span().start }, wanted)),
                None => self.wanted(item, key, "a list of texts"),
            }
        }
        out
    }

    /// A table inside; one that isn't there reads as empty.
    pub(crate) fn table(&self, key: &'static str) -> Table<'d> {
        let value = self.raw(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            self.wanted(value, key, &format!("a table, written `[{key}]`"));
        }
        Table { document: self.document, table, path: key, offset: value.map_or(0, |v| v.span().start), asked: RefCell::default() }
    }

    /// Each table of a list of them, written `[[key]]`; a missing list is empty.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Table<'d>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wanted(value, key, &format!("a list of tables, each written `[[{key}]]`"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => out.push(Table {
                    document: self.document,
                    table: Some(table),
                    path: key,
                    offset: item.span().start,
                    asked: RefCell::default(),
                }),
                None => self.wanted(item, key, &format!("a list of tables, each written `[[{key}]]`")),
            }
        }
        out
    }

    /// Every key of a table whose keys are anybody's, each with its text read as `T`.
    pub(crate) fn pairs<T: FromStr>(self, wanted: &str) -> Vec<(String, At<T>)> {
        let mut out = Vec::new();
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name: &str = key.get_ref();
            match value.get_ref().as_str() {
                Some(text) => {
                    let at = At { value: text.to_owned(), offset: value.span().start };
                    out.extend(self.read(&shown(name), &at, wanted).map(|read| (name.to_owned(), read)));
                }
                None => self.wanted(value, &shown(name), "a text in quotes"),
            }
        }
        out
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, &asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("what may stand here is {}", asked.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(", ")),
            };
            let place = if self.path.is_empty() { String::from("here") } else { format!("in `[{}]`", self.path) };
            self.document.wrong(key.span().start, format!("`{}` means nothing {place}", shown(name)), Some(hint));
        }
    }
}
