//! `tidegate session statements`: what was run in a session of a database, as a table: JSON or CSV (RFC 4180).
//!
//! A statement and what came of it are two frames of a recording; here they are one line. Nothing is left out: what has no outcome (the
//! session ended before) is there without one, and so is what was refused.

use std::collections::BTreeMap;

use access::ids::SessionId;
use anyhow::{Context as _, bail};
use api::types::sessions::{Frame, RecordingLine, RecordingQuery};
use clap::{Args, ValueEnum};
use evidence::lines::{cell, json_cell};
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::client::lines::Lines;
use crate::output::{Output, note};

use super::Context;
use super::exit::Exit;

/// Which statements, and how.
#[derive(Debug, Args)]
pub struct Statements {
    /// Which session
    #[arg(value_name = "SESSION")]
    id: SessionId,
    /// In which form
    #[arg(long, value_name = "FORM", default_value = "json")]
    format: Form,
}

/// How statements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON object a line
    Json,
    /// A table with a head
    Csv,
}

/// The columns, as CSV has them and in their order; JSON has what is set.
const COLUMNS: [&str; 14] =
    ["n", "at_us", "via", "text", "values", "rows", "affected", "bytes", "micros", "tag", "sqlstate", "errno", "refused", "hidden"];

impl Statements {
    /// Writes them to stdout.
    pub async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let response = client.download(&format!("/sessions/{}/recording", self.id), &RecordingQuery::default()).await?;
        let mut lines = Lines::new(response);
        let mut table = Table::default();
        let mut damaged = 0;
        let output = &context.output;
        if self.format == Form::Csv {
            output.raw(format!("{}\r\n", COLUMNS.join(",")).as_bytes())?;
        }
        while let Some(line) = lines.next().await? {
            match serde_json::from_slice(&line).context("the gate sent something that is no frame of a recording")? {
                RecordingLine::Frame(frame) => {
                    for row in table.take(frame) {
                        write(output, self.format, &row)?;
                    }
                }
                RecordingLine::Damage { damage } => {
                    note(format!("damaged: {damage}"));
                    damaged += 1;
                }
            }
        }
        for row in table.rest() {
            write(output, self.format, &row)?;
        }
        if damaged > 0 {
            bail!("the recording is damaged in {damaged} places; what is there was written");
        }
        Ok(Exit::Done)
    }
}

fn write(output: &Output, form: Form, row: &Map<String, Value>) -> anyhow::Result<()> {
    let line = match form {
        Form::Json => format!("{}\n", Value::Object(row.clone())),
        Form::Csv => {
            let cells: Vec<String> = COLUMNS.iter().map(|name| row.get(*name).map(of_csv).unwrap_or_default()).collect();
            format!("{}\r\n", cells.join(","))
        }
    };
    output.raw(line.as_bytes())?;
    Ok(())
}

fn of_csv(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => cell(text),
        other => json_cell(other),
    }
}

/// A statement, and whether anything came of it yet: more may follow, as one statement can have several results.
#[derive(Debug)]
struct Open {
    statement: Map<String, Value>,
    answered: bool,
}

/// Statements that wait for what comes of them, and texts that later ones point to.
#[derive(Debug, Default)]
pub(super) struct Table {
    open: BTreeMap<u64, Open>,
    texts: BTreeMap<u64, Value>,
}

/// Longer texts are recorded once, and pointed to afterwards.
const REPEATED: usize = 4096;

impl Table {
    /// What is complete with this frame.
    pub(super) fn take(&mut self, frame: Frame) -> Vec<Map<String, Value>> {
        let Some(Value::Object(mut activity)) = frame.activity else { return Vec::new() };
        let kind = activity.remove("kind");
        let Some(number) = activity.get("n").and_then(Value::as_u64) else { return Vec::new() };
        match kind.as_ref().and_then(Value::as_str) {
            Some("sql.statement") => {
                if let Some(first) = activity.remove("text_of").and_then(|first| first.as_u64()) {
                    activity.insert("text".to_owned(), self.texts.get(&first).cloned().unwrap_or(Value::Null));
                } else if let Some(text) = activity.get("text")
                    && text.as_str().is_none_or(|text| text.len() > REPEATED)
                {
                    self.texts.insert(number, text.clone());
                }
                activity.insert("at_us".to_owned(), json!(frame.at_us));
                self.open.insert(number, Open { statement: activity, answered: false }).map(|before| before.statement).into_iter().collect()
            }
            Some("sql.outcome") => {
                let mut over = self.over(number);
                match self.open.get_mut(&number) {
                    Some(open) => {
                        further(&mut open.statement, activity);
                        open.answered = true;
                    }
                    // What it belongs to was written already.
                    None => over.push(activity),
                }
                over
            }
            Some("sql.refused") => {
                let why = activity.remove("why").unwrap_or_else(|| json!(true));
                activity.insert("refused".to_owned(), why);
                activity.insert("at_us".to_owned(), json!(frame.at_us));
                let mut over = self.over(number);
                over.push(activity);
                over
            }
            _ => Vec::new(),
        }
    }

    /// What was answered before this number: a server answers in order.
    fn over(&mut self, number: u64) -> Vec<Map<String, Value>> {
        let answered: Vec<u64> = self.open.range(..number).filter(|(_, open)| open.answered).map(|(number, _)| *number).collect();
        answered.iter().filter_map(|number| self.open.remove(number)).map(|open| open.statement).collect()
    }

    /// What was answered last, and what nothing came of.
    pub(super) fn rest(&mut self) -> Vec<Map<String, Value>> {
        std::mem::take(&mut self.open).into_values().map(|open| open.statement).collect()
    }
}

/// What is added up over the results of a statement.
const COUNTS: [&str; 6] = ["rows", "affected", "bytes", "copied_in", "micros", "warnings"];
/// What is written one after the other; of everything else the last one stands.
const WORDS: [&str; 2] = ["tag", "copy"];

/// Adds a result to its statement.
fn further(statement: &mut Map<String, Value>, result: Map<String, Value>) {
    for (name, value) in result {
        let both = match (statement.get(&name), &value) {
            (Some(Value::Number(before)), Value::Number(more)) if COUNTS.contains(&name.as_str()) => {
                before.as_u64().zip(more.as_u64()).map(|(before, more)| json!(before.saturating_add(more)))
            }
            (Some(Value::String(before)), Value::String(more)) if WORDS.contains(&name.as_str()) => {
                Some(json!(format!("{before}; {more}")))
            }
            _ => None,
        };
        statement.insert(name, both.unwrap_or(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::types::sessions::{Direction, FrameKind};

    fn frame(at_us: u64, activity: Value) -> Frame {
        Frame { at_us, channel: 0, direction: Direction::Gate, kind: FrameKind::Activity, data: None, size: None, activity: Some(activity) }
    }

    // covers: EV-6 (sql), PG-2 (cli)
    #[test]
    fn a_statement_and_what_came_of_it_are_one_line() {
        let mut table = Table::default();
        let long = "x".repeat(REPEATED + 1);
        let frames = [
            json!({"kind": "sql.statement", "n": 1, "via": "extended", "text": long, "values": ["a,b", null]}),
            json!({"kind": "sql.outcome", "n": 1, "tag": "SELECT 1", "rows": 1, "bytes": 9, "micros": 40}),
            json!({"kind": "sql.refused", "n": 2, "text": "SELECT * FROM payments", "why": "the role may not"}),
            json!({"kind": "sql.statement", "n": 3, "via": "extended", "text_of": 1}),
            json!({"kind": "exec", "command": "ls"}),
        ];
        let rows: Vec<_> = frames.into_iter().enumerate().flat_map(|(n, f)| table.take(frame(n as u64, f))).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((&rows[0]["text"], &rows[0]["rows"], &rows[0]["at_us"]), (&json!(long), &json!(1), &json!(0)));
        assert_eq!(rows[1]["refused"], "the role may not");
        let rest = table.rest();
        assert_eq!((rest.len(), &rest[0]["text"]), (1, &json!(long)));
        assert_eq!(of_csv(&rows[0]["values"]), "\"[\"\"a,b\"\",null]\"");
    }

    // covers: EV-6 (sql)
    #[test]
    fn of_a_statement_with_several_results_none_is_left_out() {
        let mut table = Table::default();
        let frames = [
            json!({"kind": "sql.statement", "n": 1, "via": "simple", "text": "CALL restock(); SELECT nonsense"}),
            json!({"kind": "sql.outcome", "n": 1, "rows": 2, "bytes": 20, "micros": 40}),
            json!({"kind": "sql.outcome", "n": 1, "rows": 1, "bytes": 10, "micros": 2}),
            json!({"kind": "sql.outcome", "n": 1, "errno": 1054, "sqlstate": "42S22", "micros": 1}),
            json!({"kind": "sql.statement", "n": 2, "via": "simple", "text": "SELECT 1"}),
            json!({"kind": "sql.outcome", "n": 2, "rows": 1}),
            json!({"kind": "sql.outcome", "n": 1, "rows": 7}),
        ];
        let rows: Vec<_> = frames.into_iter().enumerate().flat_map(|(n, f)| table.take(frame(n as u64, f))).collect();
        let of = |row: &Map<String, Value>, names: [&str; 4]| names.map(|name| row.get(name).cloned().unwrap_or_default());
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(of(&rows[0], ["rows", "bytes", "micros", "sqlstate"]), [json!(3), json!(30), json!(43), json!("42S22")]);
        // One that comes late stands for itself.
        assert_eq!(of(&rows[1], ["n", "rows", "text", "sqlstate"]), [json!(1), json!(7), Value::Null, Value::Null]);
        let rest = table.rest();
        assert_eq!((rest.len(), &rest[0]["text"], &rest[0]["rows"]), (1, &json!("SELECT 1"), &json!(1)));
    }

    // covers: EV-6 (sql), PG-2 (cli)
    #[test]
    fn what_each_statement_of_one_message_did_stands_in_its_line() {
        let mut table = Table::default();
        let frames = [
            json!({"kind": "sql.statement", "n": 1, "via": "simple", "text": "DELETE FROM a; COPY a FROM STDIN; COPY b FROM STDIN"}),
            json!({"kind": "sql.outcome", "n": 1, "tag": "DELETE 9", "rows": 0, "bytes": 0, "micros": 40}),
            json!({"kind": "sql.outcome", "n": 1, "tag": "COPY 3", "rows": 0, "bytes": 0, "micros": 2, "copy": "copy_in", "copied_in": 30}),
            json!({"kind": "sql.outcome", "n": 1, "tag": "COPY 2", "rows": 0, "bytes": 0, "micros": 1, "copy": "copy_in", "copied_in": 20}),
        ];
        let early: Vec<_> = frames.into_iter().enumerate().flat_map(|(n, f)| table.take(frame(n as u64, f))).collect();
        let rest = table.rest();
        assert_eq!((early.len(), rest.len()), (0, 1));
        let of = ["tag", "copy", "copied_in", "micros"].map(|name| rest[0][name].clone());
        assert_eq!(of, [json!("DELETE 9; COPY 3; COPY 2"), json!("copy_in; copy_in"), json!(50), json!(43)]);
    }
}
