//! What people and programs read: results on stdout, everything else on stderr.
//!
//! Every text that goes through [`Output`] is made inert, so no reason, name or error can drive the reader's terminal.
//! Colour only on a terminal and without `NO_COLOR`. `--json` prints what the API answered.

pub mod player;
pub mod time;

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};

use access::inert::{inert, inert_lines};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// How something is going, for colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Open, sound, done.
    Good,
    /// Waiting, or to be looked at.
    Waiting,
    /// Refused, broken, cut.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    /// The tone of a state or outcome by its code.
    #[must_use]
    pub fn of(code: &str) -> Self {
        match code {
            "active" | "approved" | "live" | "permit" | "ok" => Self::Good,
            "pending" | "needs_approval" | "step_up" | "warn" | "open" | "invited" | "holding" => Self::Waiting,
            "denied" | "deny" | "revoked" | "withdrawn" | "disabled" | "fail" | "overdue" => Self::Bad,
            _ => Self::Plain,
        }
    }

    fn colour(self) -> Option<Color> {
        match self {
            Self::Good => Some(Color::Green),
            Self::Waiting => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
            Self::Plain => None,
        }
    }

    fn code(self) -> Option<&'static str> {
        match self {
            Self::Good => Some("32"),
            Self::Waiting => Some("33"),
            Self::Bad => Some("31"),
            Self::Plain => None,
        }
    }
}

/// One cell of a table.
#[derive(Debug, Clone)]
pub struct Field {
    text: String,
    tone: Tone,
}

impl Field {
    /// A text in a tone.
    pub fn toned(text: impl Display, tone: Tone) -> Self {
        Self { text: text.to_string(), tone }
    }
    /// A state, coloured by its code.
    pub fn state(code: impl Display) -> Self {
        let text = code.to_string();
        let tone = Tone::of(&text);
        Self { text, tone }
    }
}

impl<T: Display> From<T> for Field {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), tone: Tone::Plain }
    }
}

/// Where results go, and how they look.
#[derive(Debug, Clone)]
pub struct Output {
    json: bool,
    terminal: bool,
    colour: bool,
    zone: TimeZone,
}

impl Output {
    /// As this process's stdout wants it.
    #[must_use]
    pub fn of_process(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { json, terminal, colour, zone: TimeZone::system() }
    }

    /// Whether the API's JSON is wanted.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether stdout is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A time, local and relative.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> String {
        time::local(at, time::now(), &self.zone)
    }

    /// A time that may not be there.
    #[must_use]
    pub fn maybe_at(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| "-".to_owned(), |at| self.at(at))
    }

    /// One line, or several.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn line(&self, text: impl Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{}", inert_lines(&text.to_string()))
    }

    /// One line in a tone.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn toned(&self, text: impl Display, tone: Tone) -> io::Result<()> {
        let text = inert_lines(&text.to_string());
        match tone.code().filter(|_| self.colour) {
            Some(code) => writeln!(io::stdout().lock(), "\x1b[{code}m{text}\x1b[0m"),
            None => writeln!(io::stdout().lock(), "{text}"),
        }
    }

    /// JSON, indented.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        if self.terminal {
            // JSON escapes C0 itself; what is left could still deceive a reader at a terminal.
            text = inert_lines(&text);
        }
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Bytes as they are: recordings, exports, keys.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// A table; `nothing` is said on stderr when it has no rows.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn table(&self, header: &[&str], rows: Vec<Vec<Field>>, nothing: &str) -> io::Result<()> {
        if rows.is_empty() {
            note(nothing);
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{}", self.rendered(header, rows))
    }

    fn rendered(&self, header: &[&str], rows: Vec<Vec<Field>>) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        if self.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|name| {
            let cell = Cell::new(name.to_uppercase());
            if self.colour { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for row in rows {
            table.add_row(row.into_iter().map(|field| {
                let cell = Cell::new(inert(&field.text));
                match field.tone.colour().filter(|_| self.colour) {
                    Some(colour) => cell.fg(colour),
                    None => cell,
                }
            }));
        }
        if let Some(first) = table.column_mut(0) {
            first.set_padding((0, 1));
        }
        table.trim_fmt()
    }

    /// Facts about one thing: a name and a value per line. Empty values are left out.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn facts(&self, facts: &[(&str, String)]) -> io::Result<()> {
        let shown: Vec<&(&str, String)> = facts.iter().filter(|(_, value)| !value.is_empty()).collect();
        let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut out = io::stdout().lock();
        for (name, value) in shown {
            writeln!(out, "{name:width$}  {}", inert(value))?;
        }
        Ok(())
    }
}

/// Something for the person at the terminal that is no result. A closed stderr is no reason to fail.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", inert_lines(&text.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_plain_and_inert_where_nobody_looks() {
        let output = Output { json: false, terminal: false, colour: false, zone: TimeZone::UTC };
        let rows = vec![
            vec!["req_1".into(), Field::state("pending"), "disk \x1b[31mfull".into()],
            vec!["req_22".into(), Field::state("approved"), "two\nlines".into()],
        ];
        insta::assert_snapshot!(output.rendered(&["id", "state", "reason"], rows));
    }
}
