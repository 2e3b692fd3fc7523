//! Rows of tables that people export: CSV with a header, or a JSON list of objects.

use std::collections::BTreeMap;

use crate::{Sink, clean};

/// One row: its line (CSV) or place (JSON), and its values by lower-case column; empty and `NULL` ones are left out.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: u64,
    values: BTreeMap<String, String>,
}

impl Row {
    /// The first of these columns that has a value.
    pub(crate) fn get(&self, columns: &[&str]) -> Option<&str> {
        columns.iter().find_map(|column| self.values.get(*column)).map(String::as_str)
    }

    /// The same, its own.
    pub(crate) fn text(&self, columns: &[&str]) -> Option<String> {
        self.get(columns).map(str::to_owned)
    }

    /// Whether it says yes, in the words of databases and spreadsheets.
    pub(crate) fn is(&self, column: &str) -> bool {
        self.get(&[column]).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "t" | "true" | "y" | "yes" | "1" | "on"))
    }
}

/// The rows of a table that has one of the columns `needs`; `None` after a mistake.
pub(crate) fn rows(text: &str, needs: &[&str], sink: &mut Sink) -> Option<Vec<Row>> {
    let rows = if text.trim_start().starts_with(['[', '{']) { json(text, sink)? } else { csv_rows(text, needs, sink)? };
    for row in &rows {
        if row.get(needs).is_none() {
            sink.wrong(row.line, format!("`{}` is missing here", needs.first().copied().unwrap_or_default()));
        }
    }
    sink.mistakes.is_empty().then_some(rows)
}

/// A byte that separates columns: what stands most often in the header.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

fn csv_rows(text: &str, needs: &[&str], sink: &mut Sink) -> Option<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(text)).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| name.to_ascii_lowercase()).collect(),
        Err(error) => {
            sink.wrong(line_of(&error), "the header cannot be read as CSV");
            return None;
        }
    };
    if !header.iter().any(|name| needs.contains(&name.as_str())) {
        sink.wrong(
            1,
            format!("the header has no column `{}`; the first line names the columns", needs.first().copied().unwrap_or_default()),
        );
        return None;
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                let values = header.iter().zip(record.iter()).filter(|(_, value)| has_value(value));
                rows.push(Row { line, values: values.map(|(name, value)| (name.clone(), value.to_owned())).collect() });
            }
            Err(error) => {
                let says = match error.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("this has {len} columns, and the header {expected_len}")
                    }
                    _ => "this cannot be read as CSV".to_owned(),
                };
                sink.wrong(line_of(&error), says);
                // One quote out of place makes every line after it wrong.
                if sink.mistakes.len() >= crate::MOST_MISTAKES {
                    return None;
                }
            }
        }
        if rows.len() > crate::MOST_PATHS * 4 {
            sink.wrong(0, format!("it has more than {} rows; split it", crate::MOST_PATHS * 4));
            return None;
        }
    }
    Some(rows)
}

fn line_of(error: &csv::Error) -> u64 {
    error.position().map_or(0, csv::Position::line)
}

fn has_value(value: &str) -> bool {
    !value.is_empty() && !value.eq_ignore_ascii_case("null") && value != "\\N"
}

fn json(text: &str, sink: &mut Sink) -> Option<Vec<Row>> {
    let value: serde_json::Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            sink.wrong(u64::try_from(error.line()).unwrap_or(0), "this cannot be read as JSON");
            return None;
        }
    };
    // Some tools put the list into an object.
    let list = match value {
        serde_json::Value::Array(list) => list,
        serde_json::Value::Object(mut object) => {
            let inner = ["secrets", "variables", "items", "rows", "users", "clients"].into_iter().find_map(|name| object.remove(name));
            match inner {
                Some(serde_json::Value::Array(list)) => list,
                _ => {
                    sink.wrong(0, "it is no list of objects");
                    return None;
                }
            }
        }
        _ => {
            sink.wrong(0, "it is no list of objects");
            return None;
        }
    };
    if list.len() > crate::MOST_PATHS * 4 {
        sink.wrong(0, format!("it has more than {} entries; split it", crate::MOST_PATHS * 4));
        return None;
    }
    let mut rows = Vec::with_capacity(list.len());
    for (place, item) in list.into_iter().enumerate() {
        let line = u64::try_from(place).unwrap_or(0) + 1;
        let serde_json::Value::Object(object) = item else {
            sink.wrong(line, "entry by entry counted, this is no object");
            return None;
        };
        let mut values = BTreeMap::new();
        for (name, value) in object {
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Bool(yes) => yes.to_string(),
                serde_json::Value::Number(number) => number.to_string(),
                serde_json::Value::Array(list) => list.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(" "),
                _ => continue,
            };
            if has_value(&value) {
                values.insert(clean(&name).to_ascii_lowercase(), value);
            }
        }
        rows.push(Row { line, values });
    }
    Some(rows)
}
