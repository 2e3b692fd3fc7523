//! Mistakes in the configuration: all of them at once, each with its place, a sentence, and the nearest name that would be right.

use std::fmt;

use serde::Serialize;

use crate::output::inert::inert;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// The file, or the environment variable.
    pub source: String,
    /// The line, from 1; `None` if the whole source is meant.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong, in lower case without a full stop.
    pub says: String,
    /// What would be right, if something near is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.says)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Every mistake found, in the order of sources and lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            many => {
                write!(f, "the configuration has {} mistakes:", many.len())?;
                many.iter().try_for_each(|m| write!(f, "\n  {m}"))
            }
        }
    }
}

impl std::error::Error for Mistakes {}

/// Collects mistakes while the configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Collected(std::cell::RefCell<Vec<Mistake>>);

impl Collected {
    pub(crate) fn add(&self, mistake: Mistake) {
        let mut all = self.0.borrow_mut();
        if !all.contains(&mistake) {
            all.push(mistake);
        }
    }

    /// A mistake in a whole source: a file that can't be read, or a variable.
    pub(crate) fn whole(&self, source: impl Into<String>, says: impl Into<String>) {
        self.add(Mistake { source: source.into(), line: None, column: None, says: says.into(), hint: None });
    }

    /// What was read, if there was no mistake.
    pub(crate) fn close<T>(self, value: Option<T>) -> Result<T, Mistakes> {
        let mut all = self.0.into_inner();
        all.sort();
        match value {
            Some(value) if all.is_empty() => Ok(value),
            _ => Err(Mistakes(all)),
        }
    }
}

/// The name at most a third of the letters away, the nearest first.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known.iter().map(|k| (strsim::osa_distance(name, k), *k)).filter(|(distance, _)| *distance <= limit).min().map(|(_, k)| k)
}

/// Foreign text made fit to be shown: inert and short.
pub(crate) fn shown(text: &str) -> String {
    inert(text).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_a_tired_person_meant() {
        let known = ["data_dir", "policy_dir", "listen"];
        assert_eq!(nearest("data_dri", &known), Some("data_dir"));
        assert_eq!(nearest("polcy_dir", &known), Some("policy_dir"));
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("kubernetes", &known), None);
    }
}
