//! What a list is asked for (RFC 7644 §3.4.2, §3.4.3), how it is answered, and which attributes of a resource are shown (§3.9).

use serde_json::{Map, Value, json};

use super::error::ScimError;
use super::filter::{Filter, get};
use super::path::AttributePath;
use super::schema::{self, MAX_RESULTS, Schema};

/// The schema of a list.
pub const LIST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// The schema of a search by POST.
pub const SEARCH_URN: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
const USUAL: u32 = 100;
/// How many attributes one request names at most.
const MOST_ATTRIBUTES: usize = 100;

/// What is asked of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Which.
    pub filter: Option<Filter>,
    /// From which on, counted from 1.
    pub start: u32,
    /// How many at most.
    pub count: u32,
    /// In which order; `None`: by id.
    pub order: Option<Order>,
    /// What is shown of each.
    pub shown: Shown,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: AttributePath,
    /// Greatest first.
    pub descending: bool,
}

/// Which attributes are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    only: Option<Vec<AttributePath>>,
    without: Vec<AttributePath>,
}

impl Query {
    /// From what stands behind a question mark.
    ///
    /// # Errors
    /// If a parameter cannot be read.
    pub fn of_parameters<'p>(parameters: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, ScimError> {
        let mut body = Map::new();
        for (name, text) in parameters {
            let value = match name {
                "filter" | "sortBy" | "sortOrder" => text.into(),
                "startIndex" | "count" => match text.parse::<i64>() {
                    Ok(number) => number.into(),
                    Err(_) => return Err(ScimError::value(format!("{name} has to be a number"))),
                },
                "attributes" | "excludedAttributes" => text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
                _ => continue,
            };
            body.insert(name.to_owned(), value);
        }
        Self::of(&Value::Object(body))
    }

    /// From the body of a search.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_body(body: &Value) -> Result<Self, ScimError> {
        if !body.as_object().is_some_and(|object| schema::says(object, SEARCH_URN)) {
            return Err(ScimError::syntax(format!("`schemas` does not say that this is `{SEARCH_URN}`")));
        }
        Self::of(body)
    }

    fn of(body: &Value) -> Result<Self, ScimError> {
        let text = |name: &str| match get(body, name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(ScimError::value(format!("{name} has to be a text"))),
        };
        let number = |name: &str, usual: u32| match get(body, name) {
            None | Some(Value::Null) => Ok(usual),
            // What is below nothing is nothing (RFC 7644 §3.4.2.4).
            Some(Value::Number(n)) if n.is_i64() || n.is_u64() => {
                Ok(u32::try_from(n.as_i64().unwrap_or(i64::MAX).max(0)).unwrap_or(u32::MAX))
            }
            Some(_) => Err(ScimError::value(format!("{name} has to be a whole number"))),
        };
        let descending = match text("sortOrder")? {
            None => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(_) => return Err(ScimError::value("sortOrder is `ascending` or `descending`")),
        };
        let order = text("sortBy")?.map(|by| by.parse().map(|by| Order { by, descending })).transpose()?;
        Ok(Self {
            filter: text("filter")?.map(str::parse).transpose()?,
            start: number("startIndex", 1)?.max(1),
            count: number("count", USUAL)?.min(MAX_RESULTS),
            order,
            shown: Shown::of(body)?,
        })
    }

    /// Whether everything it names is there.
    ///
    /// # Errors
    /// Names what is not.
    pub fn check(&self, schema: &Schema) -> Result<(), ScimError> {
        self.filter.as_ref().map_or(Ok(()), |filter| filter.check(schema))?;
        match &self.order {
            Some(order) if schema.find(order.by.schema.as_deref(), &order.by.name) == schema::Found::Unknown => {
                Err(ScimError::path(format!("there is no attribute `{}` to sort by", order.by)))
            }
            _ => Ok(()),
        }
    }

    /// Whether what is asked for is simply a part of all, by id.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.filter.is_none() && self.order.is_none()
    }

    /// Those of all that are asked for, and how many there are in all.
    #[must_use]
    pub fn choose(&self, schema: &Schema, all: Vec<Value>) -> (Vec<Value>, u64) {
        let mut found: Vec<Value> = match &self.filter {
            Some(filter) => all.into_iter().filter(|one| filter.matches(schema, one)).collect(),
            None => all,
        };
        if let Some(order) = &self.order {
            found.sort_by_cached_key(|one| order.key(one));
            if order.descending {
                found.reverse();
            }
        }
        let total = found.len() as u64;
        let skip = usize::try_from(self.start - 1).unwrap_or(usize::MAX);
        (found.into_iter().skip(skip).take(self.count as usize).collect(), total)
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self, found: Vec<Value>, total: u64) -> Value {
        let count = found.len();
        let found: Vec<Value> = found.into_iter().map(|one| self.shown.of_resource(one)).collect();
        json!({ "schemas": [LIST_URN], "totalResults": total, "startIndex": self.start, "itemsPerPage": count, "Resources": found })
    }
}

impl Order {
    /// What is not there stands last (RFC 7644 §3.4.2.3).
    fn key(&self, resource: &Value) -> (bool, String) {
        let first = |value: &Value| match value {
            Value::Array(all) => all.first().cloned().unwrap_or(Value::Null),
            one => one.clone(),
        };
        let found = get(resource, &self.by.name).map(first).unwrap_or(Value::Null);
        let part = self.by.sub.as_deref().or(found.is_object().then_some("value"));
        let found = match part {
            Some(part) => get(&found, part).cloned().unwrap_or(Value::Null),
            None => found,
        };
        match found {
            Value::String(text) => (false, text.to_lowercase()),
            Value::Null | Value::Object(_) | Value::Array(_) => (true, String::new()),
            other => (false, other.to_string()),
        }
    }
}

impl Shown {
    fn of(body: &Value) -> Result<Self, ScimError> {
        let list = |name: &str| match get(body, name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(all)) if all.len() <= MOST_ATTRIBUTES => {
                let one = |one: &Value| one.as_str().ok_or_else(|| ScimError::value(format!("{name} has to be a list of names")))?.parse();
                all.iter().map(one).collect()
            }
            Some(_) => Err(ScimError::value(format!("{name} has to be a list of at most {MOST_ATTRIBUTES} names"))),
        };
        let only: Vec<AttributePath> = list("attributes")?;
        let without = list("excludedAttributes")?;
        if !only.is_empty() && !without.is_empty() {
            return Err(ScimError::value("either `attributes` or `excludedAttributes`, not both"));
        }
        Ok(Self { only: (!only.is_empty()).then_some(only), without })
    }

    /// Whether an attribute is shown at all, so that it is worth reading.
    #[must_use]
    pub fn shows(&self, name: &str) -> bool {
        let is = |path: &AttributePath| path.name.eq_ignore_ascii_case(name);
        match &self.only {
            Some(only) => only.iter().any(is),
            None => !self.without.iter().any(|path| is(path) && path.sub.is_none()),
        }
    }

    /// A resource, without what is not shown. Its id and schemas always are.
    #[must_use]
    pub fn of_resource(&self, resource: Value) -> Value {
        let Value::Object(all) = resource else { return resource };
        let mut shown = Map::new();
        for (name, value) in all {
            if matches!(name.as_str(), "id" | "schemas") {
                shown.insert(name, value);
                continue;
            }
            let named = |paths: &[AttributePath]| -> Vec<Option<String>> {
                paths.iter().filter(|path| path.name.eq_ignore_ascii_case(&name)).map(|path| path.sub.clone()).collect()
            };
            let value = match &self.only {
                Some(only) => {
                    let parts = named(only);
                    if parts.is_empty() {
                        continue;
                    }
                    if parts.iter().any(Option::is_none) {
                        Some(value)
                    } else {
                        parts_of(value, |part| parts.iter().flatten().any(|p| p.eq_ignore_ascii_case(part)))
                    }
                }
                None => {
                    let parts = named(&self.without);
                    if parts.iter().any(Option::is_none) {
                        continue;
                    }
                    if parts.is_empty() {
                        Some(value)
                    } else {
                        parts_of(value, |part| !parts.iter().flatten().any(|p| p.eq_ignore_ascii_case(part)))
                    }
                }
            };
            if let Some(value) = value {
                shown.insert(name, value);
            }
        }
        Value::Object(shown)
    }
}

/// Those parts of a value that are wanted; `None` if there is none.
fn parts_of(value: Value, wanted: impl Fn(&str) -> bool + Copy) -> Option<Value> {
    match value {
        Value::Array(all) => {
            let left: Vec<Value> = all.into_iter().filter_map(|one| parts_of(one, wanted)).collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        Value::Object(parts) => {
            let left: Map<String, Value> = parts.into_iter().filter(|(name, _)| wanted(name)).collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
