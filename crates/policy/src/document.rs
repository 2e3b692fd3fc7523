//! TOML with places: reads a file field by field, so that every mistake in it is found in one go and points at its line.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Place, Sink, line_starts, nearest, shown};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// One TOML file of the directory.
pub(crate) struct Document<'a> {
    file: Arc<str>,
    text: &'a str,
    lines: Vec<usize>,
    root: Spanned<DeTable<'a>>,
    sink: &'a Sink,
}

impl<'a> Document<'a> {
    /// Reads a file; what isn't TOML is reported, and the rest still read.
    pub(crate) fn open(file: &str, bytes: &'a [u8], sink: &'a Sink) -> Option<Self> {
        let file: Arc<str> = file.into();
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                sink.error(Place::file(&file), format!("the file is not UTF-8 text from byte {} on", error.valid_up_to()));
                return None;
            }
        };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or_else(|| Place::file(&file), |s| Place::at(&file, text, s.start));
            sink.error(at, error.message().trim_end_matches('.').replace('\n', "; "));
        }
        Some(Self { file, text, lines: line_starts(text), root, sink })
    }

    pub(crate) fn root(&self) -> Table<'_> {
        Table { doc: self, table: self.root.get_ref(), offset: 0, asked: RefCell::default() }
    }

    fn place(&self, offset: usize) -> Place {
        Place::by_lines(&self.file, self.text, &self.lines, offset)
    }
}

/// A table in it. Keys that nobody asked for are mistakes; see [`Table::finish`].
pub(crate) struct Table<'d> {
    doc: &'d Document<'d>,
    table: &'d DeTable<'d>,
    offset: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    pub(crate) fn place(&self) -> Place {
        self.doc.place(self.offset)
    }

    pub(crate) fn sink(&self) -> &'d Sink {
        self.doc.sink
    }

    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    fn raw(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        self.table.get(key)
    }

    fn wrong(&self, value: &Spanned<DeValue<'_>>, key: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        self.doc.sink.error(self.doc.place(value.span().start), format!("`{key}` has to be {wanted}, and here is a value of type {found}"));
    }

    fn missing(&self, key: &str) {
        self.doc.sink.error(self.place(), format!("`{key}` is missing here"));
    }

    /// A text; numbers and times count as the text they are written as.
    pub(crate) fn text(&self, key: &'static str) -> Option<At<String>> {
        let value = self.raw(key)?;
        match as_text(value.get_ref()) {
            Some(text) => Some(At { value: text, place: self.doc.place(value.span().start) }),
            None => {
                self.wrong(value, key, "a text in quotes");
                None
            }
        }
    }

    pub(crate) fn parse<T>(&self, key: &'static str) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text(key).and_then(|text| self.read(key, &text))
    }

    fn read<T>(&self, key: &str, text: &At<String>) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        match text.value.parse() {
            Ok(value) => Some(At { value, place: text.place.clone() }),
            Err(error) => {
                self.doc.sink.error(text.place.clone(), format!("`{key}`: {error}"));
                None
            }
        }
    }

    pub(crate) fn required<T>(&self, key: &'static str) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        if !self.has(key) {
            self.missing(key);
        }
        self.parse(key)
    }

    pub(crate) fn or<T>(&self, key: &'static str, default: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        self.parse(key).map_or(default, |at| at.value)
    }

    pub(crate) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.raw(key) else { return default };
        match value.get_ref().as_bool() {
            Some(flag) => flag,
            None => {
                self.wrong(value, key, "`true` or `false`");
                default
            }
        }
    }

    pub(crate) fn number(&self, key: &'static str) -> Option<At<u32>> {
        let value = self.raw(key)?;
        match value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok()) {
            Some(number) => Some(At { value: number, place: self.doc.place(value.span().start) }),
            None => {
                self.wrong(value, key, "a whole number from 0 on");
                None
            }
        }
    }

    /// A list of texts, each read as `T`; a missing list is empty.
    pub(crate) fn list<T>(&self, key: &'static str) -> Vec<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(value, key, "a list of texts, as in `[\"a\", \"b\"]`");
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items.iter() {
            match as_text(item.get_ref()) {
                Some(text) => {
                    let text = At { value: text, place: self.doc.place(item.span().start) };
                    out.extend(self.read(key, &text));
                }
                None => self.wrong(item, key, "a list of texts"),
            }
        }
        out
    }

    /// Every key of a table whose keys are free, with its text or list of texts, each read as `T`.
    pub(crate) fn entries<T>(self) -> Vec<(At<String>, Vec<At<T>>)>
    where
        T: FromStr,
        T::Err: Display,
    {
        let mut out = Vec::new();
        for (name, value) in self.table {
            let key = At { value: name.get_ref().to_string(), place: self.doc.place(name.span().start) };
            let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref().as_array() {
                Some(items) => items.iter().collect(),
                None => vec![value],
            };
            let mut values = Vec::new();
            for item in items {
                match as_text(item.get_ref()) {
                    Some(text) => {
                        let text = At { value: text, place: self.doc.place(item.span().start) };
                        values.extend(self.read(&key.value, &text));
                    }
                    None => self.wrong(item, &key.value, "a text in quotes or a list of them"),
                }
            }
            out.push((key, values));
        }
        out
    }

    /// Whether a key holds a list.
    pub(crate) fn is_list(&self, key: &'static str) -> bool {
        self.raw(key).is_some_and(|v| v.get_ref().is_array())
    }

    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'d>> {
        let value = self.raw(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Table { doc: self.doc, table, offset: value.span().start, asked: RefCell::default() }),
            None => {
                self.wrong(value, key, "a table");
                None
            }
        }
    }

    /// An array of tables; a missing one is empty.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Table<'d>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(value, key, &format!("a list of tables, written `[[{key}]]`"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => out.push(Table { doc: self.doc, table, offset: item.span().start, asked: RefCell::default() }),
                None => self.wrong(item, key, "a list of tables"),
            }
        }
        out
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("what may stand here is {}", asked.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(", ")),
            };
            self.doc.sink.hinted(self.doc.place(key.span().start), format!("`{}` means nothing here", shown(name)), Some(hint));
        }
    }
}

fn as_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Datetime(at) => Some(at.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}
