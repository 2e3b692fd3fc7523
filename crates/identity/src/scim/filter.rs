//! Filters (RFC 7644 §3.4.2.2), read whole: every operator, `and`, `or`, `not`, brackets, and filters of values.
//!
//! `and` binds more than `or`, `not` more than `and`. A filter is checked against the schema before it is used: one that names what
//! there is not, or compares what has no order, is refused rather than found to match nothing.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use super::error::{ScimError, quoted};
use super::path::AttributePath;
use super::scanner::{DEEPEST, Scanner};
use super::schema::{Attribute, Kind, Schema};

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater, or later.
    Gt,
    /// Or equal.
    Ge,
    /// Less, or earlier.
    Lt,
    /// Or equal.
    Le,
}

impl Operator {
    const ALL: [(&'static str, Self); 9] = [
        ("eq", Self::Eq),
        ("ne", Self::Ne),
        ("co", Self::Co),
        ("sw", Self::Sw),
        ("ew", Self::Ew),
        ("gt", Self::Gt),
        ("ge", Self::Ge),
        ("lt", Self::Lt),
        ("le", Self::Le),
    ];

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, operator)| operator)
    }

    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }
}

/// A condition on a resource, or on one value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// `userName eq "ana"`.
    Compare {
        /// What.
        path: AttributePath,
        /// How.
        operator: Operator,
        /// With what; no list and no object.
        value: Value,
    },
    /// `title pr`: there is a value.
    Present(AttributePath),
    /// All of these.
    And(Vec<Filter>),
    /// Any of these.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// `emails[type eq "work"]`: one of the values is so.
    Where {
        /// Of which attribute.
        path: AttributePath,
        /// How it is.
        filter: Box<Filter>,
    },
}

impl Filter {
    pub(super) fn read(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, String> {
        if depth > DEEPEST {
            return Err(format!("it nests deeper than {DEEPEST}"));
        }
        let mut any = vec![Self::all_of(scanner, depth)?];
        while Self::joins(scanner, "or") {
            any.push(Self::all_of(scanner, depth)?);
        }
        Ok(one_or(any, Self::Or))
    }

    fn all_of(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, String> {
        let mut all = vec![Self::one(scanner, depth)?];
        while Self::joins(scanner, "and") {
            all.push(Self::one(scanner, depth)?);
        }
        Ok(one_or(all, Self::And))
    }

    /// Steps over ` and ` or ` or `, if it is next.
    fn joins(scanner: &mut Scanner<'_>, word: &str) -> bool {
        let mut ahead = scanner.clone();
        let joins = ahead.blanks() && ahead.word().eq_ignore_ascii_case(word) && (ahead.blanks() || ahead.rest().starts_with('('));
        if joins {
            *scanner = ahead;
        }
        joins
    }

    fn one(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, String> {
        scanner.blanks();
        if scanner.take('(') {
            return Self::bracketed(scanner, depth);
        }
        if scanner.peek().eq_ignore_ascii_case("not") {
            let mut ahead = scanner.clone();
            ahead.word();
            ahead.blanks();
            if ahead.take('(') {
                *scanner = ahead;
                return Self::bracketed(scanner, depth).map(|filter| Self::Not(Box::new(filter)));
            }
        }
        let word = scanner.word();
        if word.is_empty() {
            return Err(scanner.wants("an attribute"));
        }
        let path = AttributePath::of(word)?;
        if scanner.take('[') {
            let filter = Self::read(scanner, depth + 1)?;
            scanner.blanks();
            return if scanner.take(']') { Ok(Self::Where { path, filter: Box::new(filter) }) } else { Err(scanner.wants("`]`")) };
        }
        if !scanner.blanks() {
            return Err(scanner.wants("an operator"));
        }
        let word = scanner.word();
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Self::Present(path));
        }
        let operator = Operator::of(word)
            .ok_or_else(|| format!("`{}` is no operator; there are eq, ne, co, sw, ew, gt, ge, lt, le and pr", quoted(word)))?;
        if !scanner.blanks() {
            return Err(scanner.wants("a value"));
        }
        Ok(Self::Compare { path, operator, value: scanner.scalar()? })
    }

    fn bracketed(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, String> {
        let filter = Self::read(scanner, depth + 1)?;
        scanner.blanks();
        if scanner.take(')') { Ok(filter) } else { Err(scanner.wants("`)`")) }
    }

    /// Whether everything it names is there and can be compared so.
    ///
    /// # Errors
    /// Names the first thing that is not.
    pub fn check(&self, schema: &Schema) -> Result<(), ScimError> {
        self.check_below(schema, None)
    }

    /// The same for a filter of one attribute's values.
    ///
    /// # Errors
    /// Names the first thing that is not there.
    pub fn check_values(&self, schema: &Schema, of: &Attribute) -> Result<(), ScimError> {
        self.check_below(schema, Some(of))
    }

    fn check_below(&self, schema: &Schema, of: Option<&Attribute>) -> Result<(), ScimError> {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().try_for_each(|one| one.check_below(schema, of)),
            Self::Not(one) => one.check_below(schema, of),
            Self::Present(path) => named(schema, of, path).map(|_| ()),
            Self::Where { path, filter } => match named(schema, of, path)? {
                Named::Attribute(attribute) if of.is_none() && attribute.multiple => filter.check_below(schema, Some(attribute)),
                Named::NotKept => Ok(()),
                Named::Attribute(_) => Err(ScimError::filter(format!("`{path}` has no list of values that a filter could choose from"))),
            },
            Self::Compare { path, operator, value } => {
                let Named::Attribute(attribute) = named(schema, of, path)? else { return Ok(()) };
                let ordered = matches!(operator, Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le);
                let in_text = matches!(operator, Operator::Co | Operator::Sw | Operator::Ew);
                let kind = attribute.compared().kind;
                if (ordered || in_text) && matches!(kind, Kind::Boolean | Kind::Complex) {
                    return Err(ScimError::filter(format!(
                        "`{path}` is true, false or of several parts; `{}` does not compare it",
                        operator.code()
                    )));
                }
                if (ordered || in_text) && !value.is_string() {
                    return Err(ScimError::filter(format!("`{path} {}` is compared with a text", operator.code())));
                }
                Ok(())
            }
        }
    }

    /// Whether a resource is so.
    #[must_use]
    pub fn matches(&self, schema: &Schema, resource: &Value) -> bool {
        self.matches_below(schema, None, resource)
    }

    /// Whether one value of an attribute is so.
    #[must_use]
    pub fn matches_value(&self, schema: &Schema, of: &Attribute, value: &Value) -> bool {
        self.matches_below(schema, Some(of), value)
    }

    fn matches_below(&self, schema: &Schema, of: Option<&Attribute>, at: &Value) -> bool {
        match self {
            Self::And(all) => all.iter().all(|one| one.matches_below(schema, of, at)),
            Self::Or(any) => any.iter().any(|one| one.matches_below(schema, of, at)),
            Self::Not(one) => !one.matches_below(schema, of, at),
            Self::Present(path) => {
                let Ok(Named::Attribute(attribute)) = named(schema, of, path) else { return false };
                values(of, path, attribute, at).iter().any(|value| is_present(value))
            }
            Self::Where { path, filter } => {
                let Ok(Named::Attribute(attribute)) = named(schema, of, path) else { return false };
                get(at, &path.name).into_iter().flat_map(each).any(|value| filter.matches_below(schema, Some(attribute), value))
            }
            Self::Compare { path, operator, value } => {
                let Ok(Named::Attribute(attribute)) = named(schema, of, path) else { return value.is_null() && *operator == Operator::Eq };
                let found = values(of, path, attribute, at);
                let exact = attribute.compared().case_exact;
                let is = |operator| found.iter().any(|found| compare(found, operator, value, exact));
                match operator {
                    // What is not there is equal to null, and to nothing else.
                    Operator::Eq if value.is_null() => !found.iter().any(|value| is_present(value)),
                    Operator::Ne if value.is_null() => found.iter().any(|value| is_present(value)),
                    Operator::Ne => !is(Operator::Eq),
                    other => is(*other),
                }
            }
        }
    }

    /// The text that `PATH eq "…"` compares with, if that is all this filter says.
    #[must_use]
    pub fn is_just(&self, wanted: &str) -> Option<&str> {
        match self {
            Self::Compare { path, operator: Operator::Eq, value: Value::String(text) }
                if path.sub.is_none() && path.name.eq_ignore_ascii_case(wanted) =>
            {
                Some(text)
            }
            _ => None,
        }
    }

    /// Whether it speaks of this attribute.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        match self {
            Self::Compare { path, .. } | Self::Present(path) | Self::Where { path, .. } => path.name.eq_ignore_ascii_case(name),
            Self::And(all) | Self::Or(all) => all.iter().any(|one| one.mentions(name)),
            Self::Not(one) => one.mentions(name),
        }
    }

    /// What values it asks for, if it is nothing but `a eq "x" and b eq "y"`: a change adds a value that is so where there is none.
    #[must_use]
    pub fn as_values(&self) -> Option<Vec<(String, Value)>> {
        match self {
            Self::Compare { path, operator: Operator::Eq, value } if path.sub.is_none() && !value.is_null() => {
                Some(vec![(path.name.clone(), value.clone())])
            }
            Self::And(all) => all.iter().map(Self::as_values).collect::<Option<Vec<_>>>().map(|all| all.into_iter().flatten().collect()),
            _ => None,
        }
    }
}

fn one_or(mut several: Vec<Filter>, make: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    match several.pop() {
        Some(only) if several.is_empty() => only,
        Some(last) => {
            several.push(last);
            make(several)
        }
        None => make(several),
    }
}

enum Named<'s> {
    Attribute(&'s Attribute),
    /// Of a schema that is known and not kept: nobody has a value.
    NotKept,
}

fn named<'s>(schema: &'s Schema, of: Option<&'s Attribute>, path: &AttributePath) -> Result<Named<'s>, ScimError> {
    let no = || ScimError::filter(format!("there is no attribute `{}` here", quoted(&path.to_string())));
    if let Some(of) = of {
        return match (&path.schema, &path.sub) {
            (None, None) => of.sub(&path.name).map(Named::Attribute).ok_or_else(no),
            _ => Err(no()),
        };
    }
    match schema.find(path.schema.as_deref(), &path.name) {
        super::schema::Found::Attribute(attribute) => match &path.sub {
            Some(sub) => attribute.sub(sub).map(Named::Attribute).ok_or_else(no),
            None => Ok(Named::Attribute(attribute)),
        },
        super::schema::Found::NotKept => Ok(Named::NotKept),
        super::schema::Found::Unknown => Err(no()),
    }
}

/// A member of an object, however its name is spelled.
pub(super) fn get<'v>(at: &'v Value, name: &str) -> Option<&'v Value> {
    let object = at.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn each(value: &Value) -> &[Value] {
    match value {
        Value::Array(all) => all,
        one => std::slice::from_ref(one),
    }
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The values a path leads to. That of something with several parts is its `value`.
fn values<'v>(of: Option<&Attribute>, path: &AttributePath, attribute: &Attribute, at: &'v Value) -> Vec<&'v Value> {
    let found = get(at, &path.name).into_iter().flat_map(each);
    let part = match (&path.sub, of) {
        (Some(sub), _) => Some(sub.as_str()),
        (None, _) if attribute.kind == Kind::Complex && attribute.sub("value").is_some() => Some("value"),
        (None, _) => None,
    };
    match part {
        Some(part) => found.filter_map(|value| get(value, part)).collect(),
        None => found.collect(),
    }
}

fn compare(found: &Value, operator: Operator, wanted: &Value, exact: bool) -> bool {
    let (Value::String(found), Value::String(wanted)) = (found, wanted) else {
        return match (found, wanted) {
            (Value::Number(a), Value::Number(b)) => operator == Operator::Eq && a.as_f64() == b.as_f64(),
            // Some directories write truth as a text.
            (Value::Bool(a), Value::String(b)) => operator == Operator::Eq && super::schema::truth(b) == Some(*a),
            (a, b) => operator == Operator::Eq && a == b,
        };
    };
    if let (Ok(found), Ok(wanted)) = (found.parse::<Timestamp>(), wanted.parse::<Timestamp>()) {
        return ordered(found.cmp(&wanted), operator).unwrap_or(false);
    }
    let fold = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    let (found, wanted) = (fold(found), fold(wanted));
    match operator {
        Operator::Co => found.contains(&wanted),
        Operator::Sw => found.starts_with(&wanted),
        Operator::Ew => found.ends_with(&wanted),
        other => ordered(found.cmp(&wanted), other).unwrap_or(false),
    }
}

fn ordered(order: Ordering, operator: Operator) -> Option<bool> {
    Some(match operator {
        Operator::Eq => order.is_eq(),
        Operator::Ne => order.is_ne(),
        Operator::Gt => order.is_gt(),
        Operator::Ge => order.is_ge(),
        Operator::Lt => order.is_lt(),
        Operator::Le => order.is_le(),
        Operator::Co | Operator::Sw | Operator::Ew => return None,
    })
}

impl FromStr for Filter {
    type Err = ScimError;
    fn from_str(text: &str) -> Result<Self, ScimError> {
        let read = || {
            let mut scanner = Scanner::new(text)?;
            let filter = Self::read(&mut scanner, 1)?;
            scanner.blanks();
            if scanner.is_done() { Ok(filter) } else { Err(scanner.wants("its end")) }
        };
        read().map_err(|why: String| ScimError::filter(format!("the filter `{}`: {why}", quoted(text))))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, all: &[Self], word: &str| {
            for (place, one) in all.iter().enumerate() {
                if place > 0 {
                    write!(f, " {word} ")?;
                }
                match one {
                    Self::And(_) | Self::Or(_) => write!(f, "({one})")?,
                    _ => one.fmt(f)?,
                }
            }
            Ok(())
        };
        match self {
            Self::Compare { path, operator, value } => write!(f, "{path} {} {value}", operator.code()),
            Self::Present(path) => write!(f, "{path} pr"),
            Self::And(all) => joined(f, all, "and"),
            Self::Or(any) => joined(f, any, "or"),
            Self::Not(one) => write!(f, "not ({one})"),
            Self::Where { path, filter } => write!(f, "{path}[{filter}]"),
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
