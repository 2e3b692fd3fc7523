//! The paths in: which there are, and the directory with one of them taken out or made cheaper. Comments and spelling of the rest stay.

use std::collections::BTreeMap;

use cedar_policy::PolicySet;

use crate::bundle::Bundle;
use crate::engine::Rule;

/// A path in, as far as it concerns whether it is any use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathIn {
    /// The policy's id.
    pub policy: String,
    /// Where it stands.
    pub place: String,
    /// Whether it is one for emergencies.
    pub break_glass: bool,
    /// Whether it asks for people by itself, beyond what its tier does.
    pub asks_people: bool,
}

/// A file of the directory as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub file: String,
    /// What it says now.
    pub before: String,
    /// What it would say.
    pub after: String,
}

/// Why a policy cannot be changed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotChange {
    policy: String,
    why: String,
}

impl std::fmt::Display for CannotChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` cannot be changed by itself: {}; change it by hand", self.policy, self.why)
    }
}

impl std::error::Error for CannotChange {}

impl Bundle {
    /// Every path in, in the order of the files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathIn> {
        let of = |rule: &Rule| {
            let cost = rule.cost.as_ref()?;
            Some(PathIn {
                policy: rule.id.clone(),
                place: rule.place.to_string(),
                break_glass: cost.break_glass.is_some(),
                asks_people: !cost.approvals.is_empty(),
            })
        };
        self.engine.rules.iter().filter_map(of).collect()
    }

    /// The directory without a path.
    ///
    /// # Errors
    /// If there is none by that id, or what would be left is not sound.
    pub fn without_path(&self, policy: &str) -> Result<Changed, CannotChange> {
        self.change(policy, |text, begin, end| {
            let (begin, end) = (with_comment(text, begin), end + text[end..].find('\n').map_or(text.len() - end, |at| at + 1));
            let mut after = text[..begin].to_owned();
            // The blank line above goes with it, so that no gap stays.
            if after.ends_with("\n\n") && text[end..].starts_with('\n') {
                after.pop();
            }
            after.push_str(&text[end..]);
            Some(after)
        })
    }

    /// The directory with a path that asks nobody any more but whom its tier asks.
    ///
    /// # Errors
    /// If there is none by that id that asks somebody, or what would come out is not sound.
    pub fn without_approval(&self, policy: &str) -> Result<Changed, CannotChange> {
        self.change(policy, |text, begin, end| {
            let at = begin + text[begin..end].find("@approval(")?;
            let close = at + text[at..end].find("\")")? + 2;
            let close = close + text[close..end].find(|c: char| !c.is_whitespace())?;
            Some(format!("{}{}", &text[..at], &text[close..]))
        })
    }

    fn change(&self, policy: &str, how: impl FnOnce(&str, usize, usize) -> Option<String>) -> Result<Changed, CannotChange> {
        let cannot = |why: &str| CannotChange { policy: policy.to_owned(), why: why.to_owned() };
        let rule = self.engine.rules.iter().find(|rule| rule.id == policy && rule.cost.is_some());
        let file = rule.map(|rule| rule.place.file.to_string()).ok_or_else(|| cannot("there is no such path"))?;
        let before = self.files().get(&file).and_then(|bytes| String::from_utf8(bytes.clone()).ok());
        let before = before.ok_or_else(|| cannot("its file cannot be read"))?;
        let (begin, end) = span(&before, &file, policy).ok_or_else(|| cannot("it does not stand in its file as it was read"))?;
        let after = how(&before, begin, end).ok_or_else(|| cannot("it is written in a way that is not known here"))?;
        let mut files: BTreeMap<String, Vec<u8>> = self.files().clone();
        files.insert(file.clone(), after.clone().into_bytes());
        Self::from_files(files).map_err(|problems| cannot(&format!("what would be left is not sound: {problems}")))?;
        Ok(Changed { file, before, after })
    }
}

/// Where a policy stands in its file: its annotations and all.
fn span(text: &str, file: &str, wanted: &str) -> Option<(usize, usize)> {
    let set: PolicySet = text.parse().ok()?;
    let mut policies: Vec<_> = set.policies().collect();
    policies.sort_by_key(|p| p.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX));
    let mut from = 0;
    for (number, policy) in policies.into_iter().enumerate() {
        let source = policy.to_cedar()?;
        let begin = from + text.get(from..)?.find(&source)?;
        from = begin + source.len();
        let id = policy.annotation("id").map_or_else(|| format!("{file}#{}", number + 1), str::to_owned);
        if id == wanted {
            return Some((begin, from));
        }
    }
    None
}

/// The comment right above belongs to a policy.
fn with_comment(text: &str, mut begin: usize) -> usize {
    while let Some(above) = text[..begin].strip_suffix('\n') {
        let line = above.rfind('\n').map_or(0, |at| at + 1);
        if !above[line..].trim_start().starts_with("//") || above[line..].contains("----") {
            break;
        }
        begin = line;
    }
    begin
}
