//! Mistakes in what people wrote for the gate: all of them at once, each with its place, a sentence, and the nearest name that would be right.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use access::inert::inert;
use serde::Serialize;

/// Where something stands. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file: of a policy directory the path inside it, with `/`.
    pub file: Arc<str>,
    /// The line; `None` if the whole file is meant.
    pub line: Option<usize>,
    /// The column, in characters.
    pub column: Option<usize>,
}

impl Place {
    /// A whole file, or what else a mistake can be in.
    #[must_use]
    pub fn file(file: &str) -> Self {
        Self { file: file.into(), line: None, column: None }
    }

    /// A byte offset in a file.
    pub(crate) fn at(file: &Arc<str>, text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        Self::on(file, text, before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |n| n + 1), offset)
    }

    /// A byte offset in a file whose line starts are known.
    pub(crate) fn by_lines(file: &Arc<str>, text: &str, starts: &[usize], offset: usize) -> Self {
        let line = starts.partition_point(|start| *start <= offset).max(1);
        Self::on(file, text, line, starts.get(line - 1).copied().unwrap_or(0), offset)
    }

    fn on(file: &Arc<str>, text: &str, line: usize, start: usize, offset: usize) -> Self {
        let column = text.get(start..offset.min(text.len())).map_or(0, |s| s.chars().count()) + 1;
        Self { file: Arc::clone(file), line: Some(line), column: Some(column) }
    }
}

/// The byte offsets at which the lines of a text start.
pub(crate) fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, ":{line}:{column}"),
            (Some(line), None) => write!(f, ":{line}"),
            _ => Ok(()),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Where.
    pub at: Place,
    /// What is wrong, as a sentence in lower case without a full stop.
    pub says: String,
    /// What would be right, if something near is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.says)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Every mistake found, in the order of files and lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    #[serde(skip)]
    of: &'static str,
    all: Vec<Problem>,
}

impl Problems {
    /// Just one; `of` is what it is a mistake in, as [`Sink::new`] takes it.
    #[must_use]
    pub fn one(of: &'static str, at: Place, says: impl Into<String>) -> Self {
        Self { of, all: vec![Problem { at, says: says.into(), hint: None }] }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.all.iter()
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.all.as_slice() {
            [one] => one.fmt(f),
            many => {
                write!(f, "{} has {} mistakes:", self.of, many.len())?;
                many.iter().try_for_each(|p| write!(f, "\n  {p}"))
            }
        }
    }
}

impl std::error::Error for Problems {}

/// Collects mistakes and warnings while something is read.
#[derive(Debug)]
pub struct Sink {
    of: &'static str,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    broken: RefCell<Vec<Place>>,
}

impl Sink {
    /// Nothing is wrong yet. `of` is what is read, as a sentence begins with it: `the configuration`.
    #[must_use]
    pub fn new(of: &'static str) -> Self {
        Self { of, problems: RefCell::default(), warnings: RefCell::default(), broken: RefCell::default() }
    }

    /// What stands there cannot be read. What was read from there all the same was guessed, and is not judged.
    pub(crate) fn broken(&self, at: Place, says: impl Into<String>) {
        self.error(at.clone(), says);
        self.broken.borrow_mut().push(at);
    }

    /// A mistake.
    pub fn error(&self, at: Place, says: impl Into<String>) {
        self.push(Problem { at, says: says.into(), hint: None });
    }

    /// A mistake, and what would be right.
    pub fn hinted(&self, at: Place, says: impl Into<String>, hint: Option<String>) {
        self.push(Problem { at, says: says.into(), hint });
    }

    /// A name that nothing has, with the nearest that something has.
    pub fn unknown<'a>(&self, at: Place, noun: &str, name: &str, known: impl IntoIterator<Item = &'a str>) {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("no {noun} is defined yet"),
            None => {
                let mut names: Vec<&str> = known;
                names.sort_unstable();
                let more = names.len().saturating_sub(8);
                names.truncate(8);
                let list = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
                if more > 0 { format!("there are {list} and {more} more") } else { format!("there is {list}") }
            }
        };
        self.hinted(at, format!("there is no {noun} `{}`", shown(name)), Some(hint));
    }

    /// What is no mistake but should be looked at.
    pub fn warn(&self, at: Place, says: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem { at, says: says.into(), hint: None });
    }

    fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if !self.broken.borrow().contains(&problem.at) && !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// The warnings, if there was no mistake.
    ///
    /// # Errors
    /// Every mistake.
    pub fn close(self) -> Result<Vec<Problem>, Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        let mut warnings = self.warnings.into_inner();
        warnings.sort();
        if problems.is_empty() { Ok(warnings) } else { Err(Problems { of: self.of, all: problems }) }
    }
}

/// Foreign text made fit to be shown: short and inert.
#[must_use]
pub fn shown(text: &str) -> String {
    inert(&text.chars().take(80).collect::<String>())
}

/// The name at most a third of the letters away, the nearest first.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|k| k.len().abs_diff(name.len()) <= limit + 1)
        .map(|k| (strsim::osa_distance(name, k), k))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_a_tired_person_meant() {
        let known = ["production", "regulated", "non-prod", "db-1"];
        assert_eq!(nearest("prodution", known), Some("production"));
        assert_eq!(nearest("regualted", known), Some("regulated"));
        assert_eq!(nearest("bd-1", known), Some("db-1"));
        assert_eq!(nearest("kubernetes", known), None);
    }
}
