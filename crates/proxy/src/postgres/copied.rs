//! A `COPY … TO STDOUT` under a role that masks anything.
//!
//! A server does not say which tables the columns come from that `COPY` brings; of a query's it does. So it is asked for the query that is
//! copied, all in one go: parsed, bound, described, run. The description is that of the portal whose rows follow, as with any portal, and
//! nobody can alter a table between the two: there is no second look at a name. The rows are masked as those of any query are, and written
//! here as `COPY` would have (PostgreSQL documentation, `COPY`, "File Formats"). What the client sees is what a `COPY` looks like.

use std::sync::Arc;

use sql::postgres::{Copied, Forced, Form, Lines, Quotes};
use wire::Malformed;
use wire::postgres::back::{self, Column, Writer};
use wire::postgres::front;

/// What a binary copy begins with: signature, flags, no extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: &[u8] = b"\xff\xff";

/// What is sent in the place of the `COPY`. It ends with a `Sync`: the server is ready after it, whatever came of it. The statement without
/// a name stays; the portal without a name would keep its tables open.
pub(crate) fn asked(copied: &Copied) -> Vec<u8> {
    let binary = u8::from(copied.form == Form::Binary);
    [
        front::message(b'P', &[&b"\0"[..], copied.query.as_bytes(), b"\0\0\0"].concat()),
        // No names, no values, and one format for all columns.
        front::message(b'B', &[0, 0, 0, 0, 0, 0, 0, 1, 0, binary]),
        front::message(b'D', b"P\0"),
        front::message(b'E', &[0; 5]),
        front::message(b'C', b"P\0"),
        front::message(b'S', b""),
    ]
    .concat()
}

/// A copy whose rows come.
#[derive(Debug)]
pub(crate) struct Forming {
    form: Arc<Form>,
    /// Which columns are put in quotes whatever they hold.
    forced: Vec<bool>,
    /// What goes out before the next row, with it.
    before: &'static [u8],
    /// The tag of the whole, once all rows are there.
    tag: Option<String>,
}

/// How a copy begins.
pub(crate) struct Begun {
    pub(crate) forming: Forming,
    /// `CopyOutResponse`, and the line of names if there is one.
    pub(crate) said: Vec<u8>,
    /// How many bytes that line has.
    pub(crate) header: Option<usize>,
}

impl Forming {
    /// The server has said what the columns are.
    pub(crate) fn begin(form: Arc<Form>, columns: &[Column<'_>]) -> Begun {
        let binary = *form == Form::Binary;
        let count = u16::try_from(columns.len()).unwrap_or(u16::MAX);
        let mut body = vec![u8::from(binary)];
        body.extend_from_slice(&count.to_be_bytes());
        body.extend(columns.iter().flat_map(|_| [0, u8::from(binary)]));
        let mut said = front::message(b'H', &body);
        let header = match &*form {
            Form::Lines(lines) if lines.header => {
                let line = line(lines, columns.iter().map(|column| Some(column.name)), &[]);
                said.extend(front::message(b'd', &line));
                Some(line.len())
            }
            Form::Lines(_) | Form::Binary => None,
        };
        let forced = forced(&form, columns);
        let before: &'static [u8] = if binary { SIGNATURE } else { b"" };
        Begun { forming: Self { form, forced, before, tag: None }, said, header }
    }

    /// The `CopyData` for a row, which is masked already and has so many columns.
    pub(crate) fn row(&mut self, body: &[u8], columns: usize) -> Result<Vec<u8>, Malformed> {
        let row = match &*self.form {
            // A row in binary looks the same in a `DataRow`.
            Form::Binary => [std::mem::take(&mut self.before), body].concat(),
            Form::Lines(lines) => line(lines, back::data_row(body, columns)?.into_iter(), &self.forced),
        };
        Ok(front::message(b'd', &row))
    }

    /// All rows are there: the query's tag says how many.
    pub(crate) fn complete(&mut self, tag: &[u8]) {
        self.tag = Some(format!("COPY {}", back::rows_of(tag).unwrap_or_default()));
    }

    /// Its tag, and how it ends; `None` if rows are missing.
    pub(crate) fn end(self) -> Option<(String, Vec<u8>)> {
        let tag = self.tag?;
        let mut said = Vec::new();
        if *self.form == Form::Binary {
            said.extend(front::message(b'd', &[self.before, TRAILER].concat()));
        }
        said.extend(front::message(b'c', b""));
        let mut writer = Writer::default();
        writer.command_complete(&tag);
        said.extend(writer.into_bytes());
        Some((tag, said))
    }
}

/// Which columns are put in quotes: of several with one name the first, as PostgreSQL has it.
fn forced(form: &Form, columns: &[Column<'_>]) -> Vec<bool> {
    let Form::Lines(Lines { quotes: Some(Quotes { forced, .. }), .. }) = form else { return vec![false; columns.len()] };
    let is_first = |at: usize, name: &[u8]| columns.iter().position(|column| column.name == name) == Some(at);
    let is_forced = |(at, column): (usize, &Column<'_>)| match forced {
        Forced::All => true,
        Forced::Named(names) => is_first(at, column.name) && std::str::from_utf8(column.name).is_ok_and(|name| names.contains(name)),
    };
    columns.iter().enumerate().map(is_forced).collect()
}

/// A line of these values.
fn line<'v>(lines: &Lines, values: impl ExactSizeIterator<Item = Option<&'v [u8]>>, forced: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    let alone = values.len() == 1;
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(lines.delimiter);
        }
        match (value, &lines.quotes) {
            (None, _) => out.extend_from_slice(lines.null.as_bytes()),
            (Some(value), None) => escape(value, lines.delimiter, &mut out),
            (Some(value), Some(quotes)) => {
                let special = |byte: &u8| *byte == lines.delimiter || *byte == quotes.quote || matches!(byte, b'\n' | b'\r');
                // What looks like NULL, or like the end of the data, is in quotes too.
                let likeness = value == lines.null.as_bytes() || (alone && value == b"\\.");
                if forced.get(at).copied().unwrap_or(false) || likeness || value.iter().any(special) {
                    quote(value, quotes, &mut out);
                } else {
                    out.extend_from_slice(value);
                }
            }
        }
    }
    out.push(b'\n');
    out
}

fn escape(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for byte in value {
        let letter = match byte {
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0b => b'v',
            0x0c => b'f',
            b'\r' => b'r',
            b'\\' => b'\\',
            other if *other == delimiter => delimiter,
            other => {
                out.push(*other);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

fn quote(value: &[u8], quotes: &Quotes, out: &mut Vec<u8>) {
    out.push(quotes.quote);
    for byte in value {
        if *byte == quotes.quote || *byte == quotes.escape {
            out.push(quotes.escape);
        }
        out.push(*byte);
    }
    out.push(quotes.quote);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn column(name: &'static str) -> Column<'static> {
        Column { name: name.as_bytes(), table: 0, number: 0, type_oid: 25, binary: false }
    }

    fn row(values: &[Option<&str>]) -> Vec<u8> {
        let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                Some(value) => {
                    body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                    body.extend_from_slice(value.as_bytes());
                }
                None => body.extend_from_slice(&[0xff; 4]),
            }
        }
        body
    }

    fn lines(quotes: Option<Quotes>) -> Lines {
        let (delimiter, null) = if quotes.is_some() { (b',', "") } else { (b'\t', "\\N") };
        Lines { delimiter, null: null.to_owned(), header: true, quotes }
    }

    fn written(form: Form, names: &[&'static str], rows: &[&[Option<&str>]]) -> Vec<u8> {
        let columns: Vec<_> = names.iter().map(|name| column(name)).collect();
        let Begun { mut forming, said, .. } = Forming::begin(Arc::new(form), &columns);
        let mut out = said;
        for values in rows {
            out.extend(forming.row(&row(values), names.len()).unwrap());
        }
        forming.complete(b"SELECT 1");
        let (tag, said) = forming.end().unwrap();
        assert_eq!(tag, "COPY 1");
        out.extend(said);
        out
    }

    fn data(written: &[u8]) -> Vec<u8> {
        let (mut rest, mut data) = (written, Vec::new());
        while let [kind, a, b, c, d, after @ ..] = rest {
            let (body, behind) = after.split_at(usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap() - 4);
            if *kind == b'd' {
                data.extend_from_slice(body);
            }
            rest = behind;
        }
        data
    }

    // covers: PG-4 (postgres)
    #[test]
    fn lines_are_written_as_postgresql_writes_them() {
        let text = written(Form::Lines(lines(None)), &["a", "b\tc"], &[&[Some("x\\y\tz\n"), None], &[Some(""), Some("\u{1}é\r")]]);
        assert_eq!(String::from_utf8(data(&text)).unwrap(), "a\tb\\tc\nx\\\\y\\tz\\n\t\\N\n\t\u{1}é\\r\n");
        let named = Forced::Named(BTreeSet::from(["b".to_owned()]));
        let csv = |forced: Forced| Form::Lines(lines(Some(Quotes { quote: b'"', escape: b'"', forced })));
        let text = written(csv(named), &["a", "b", "b"], &[&[Some("1,2"), Some("x"), Some("x")], &[Some(""), None, Some("say \"no\"")]]);
        assert_eq!(String::from_utf8(data(&text)).unwrap(), "a,b,b\n\"1,2\",\"x\",x\n\"\",,\"say \"\"no\"\"\"\n");
        let text = written(csv(Forced::All), &["a"], &[&[Some("x")], &[None]]);
        assert_eq!(String::from_utf8(data(&text)).unwrap(), "a\n\"x\"\n\n");
        let text = written(csv(Forced::Named(BTreeSet::new())), &["a"], &[&[Some("\\.")], &[Some("a\\.")]]);
        assert_eq!(String::from_utf8(data(&text)).unwrap(), "a\n\"\\.\"\na\\.\n");
    }

    // covers: PG-4 (postgres)
    #[test]
    fn a_binary_copy_begins_and_ends_as_one_even_without_rows() {
        let one = row(&[Some("x"), None]);
        assert_eq!(data(&written(Form::Binary, &["a", "b"], &[&[Some("x"), None]])), [SIGNATURE, one.as_slice(), TRAILER].concat());
        assert_eq!(data(&written(Form::Binary, &["a", "b"], &[])), [SIGNATURE, TRAILER].concat());
        assert!(written(Form::Binary, &["a", "b"], &[]).starts_with(&[b'H', 0, 0, 0, 11, 1, 0, 2, 0, 1, 0, 1]));
    }

    // covers: PG-4 (postgres)
    #[test]
    fn a_row_of_another_width_is_none_and_a_copy_ends_after_its_last() {
        let mut forming = Forming::begin(Arc::new(Form::Lines(lines(None))), &[column("a")]).forming;
        assert!(forming.row(&row(&[None, None]), 1).is_err());
        assert!(forming.end().is_none());
    }
}
