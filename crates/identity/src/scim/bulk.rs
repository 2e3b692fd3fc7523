//! Many changes in one request (RFC 7644 §3.7): read, put in an order in which references lead somewhere, and answered one by one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::error::{ScimError, quoted};
use super::filter::get;
use super::schema::{self, MAX_OPERATIONS};

/// The schema of a bulk request.
pub const REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
const REFERENCE: &str = "bulkId:";
/// How deep a reference may stand.
const DEEPEST: usize = 16;

/// How something is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Made.
    Post,
    /// Replaced.
    Put,
    /// Changed.
    Patch,
    /// Taken out.
    Delete,
}

impl Method {
    /// As it is written.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One change of many.
#[derive(Debug, Clone, PartialEq)]
pub struct One {
    /// How.
    pub method: Method,
    /// What others in the same request call it.
    pub bulk_id: Option<String>,
    /// The version it is about, if any.
    pub version: Option<String>,
    /// Where: `/Users`, `/Users/ID`.
    pub path: String,
    /// With what.
    pub data: Value,
    needs: BTreeSet<String>,
}

/// Many changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Bulk {
    /// After how many that fail the rest is left; `None`: never.
    pub fail_on_errors: Option<u64>,
    waiting: Vec<One>,
    known: BTreeMap<String, String>,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Where it is now.
    pub location: Option<String>,
    /// Its version now.
    pub version: Option<String>,
    /// The status, and the error if it is one.
    pub said: Result<u16, ScimError>,
}

impl Bulk {
    /// Reads a bulk request.
    ///
    /// # Errors
    /// If it cannot be read, or is more than is advertised. Then nothing of it is done.
    pub fn read(body: &Value) -> Result<Self, ScimError> {
        if !body.as_object().is_some_and(|object| schema::says(object, REQUEST_URN)) {
            return Err(ScimError::syntax(format!("`schemas` does not say that this is `{REQUEST_URN}`")));
        }
        let fail_on_errors = match get(body, "failOnErrors") {
            None | Some(Value::Null) => None,
            Some(value) => {
                Some(value.as_u64().filter(|n| *n > 0).ok_or_else(|| ScimError::value("failOnErrors has to be a number from 1 on"))?)
            }
        };
        let operations = get(body, "Operations").and_then(Value::as_array);
        let operations =
            operations.filter(|all| !all.is_empty()).ok_or_else(|| ScimError::syntax("`Operations` has to be a list of at least one"))?;
        if operations.len() > MAX_OPERATIONS {
            return Err(ScimError::plain(413, format!("there are more than {MAX_OPERATIONS} operations; send several requests")));
        }
        let waiting: Vec<One> = operations.iter().map(one).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = waiting.iter().filter_map(|one| one.bulk_id.as_ref()).find(|id| !names.insert(id.as_str())) {
            return Err(ScimError::value(format!("the bulkId `{}` stands there twice", quoted(twice))));
        }
        Ok(Self { fail_on_errors, waiting, known: BTreeMap::new() })
    }

    /// The next that can be done, with references to what was done before replaced by ids; an error if none of those left can ever be.
    pub fn next_one(&mut self) -> Option<(One, Result<(), ScimError>)> {
        if self.waiting.is_empty() {
            return None;
        }
        let ready = self.waiting.iter().position(|one| one.needs.iter().all(|id| self.known.contains_key(id)));
        let mut one = self.waiting.remove(ready.unwrap_or_default());
        if ready.is_none() {
            let why = "it refers to a bulkId that nothing here makes, that failed, or that refers back to it";
            return Some((one, Err(ScimError::plain(409, why))));
        }
        resolve(&mut one.data, &self.known, 0);
        let made = one.path.split_once(REFERENCE).and_then(|(before, id)| Some(format!("{before}{}", self.known.get(id)?)));
        one.path = made.unwrap_or(one.path);
        Some((one, Ok(())))
    }

    /// Something was made: others may refer to it.
    pub fn made(&mut self, bulk_id: Option<String>, id: &str) {
        if let Some(bulk_id) = bulk_id {
            self.known.insert(bulk_id, id.to_owned());
        }
    }
}

fn one(body: &Value) -> Result<One, ScimError> {
    let text = |name: &str| get(body, name).and_then(Value::as_str).map(str::to_owned);
    let said = text("method").unwrap_or_default();
    let method = [Method::Post, Method::Put, Method::Patch, Method::Delete].into_iter().find(|m| m.code().eq_ignore_ascii_case(&said));
    let method = method.ok_or_else(|| ScimError::syntax(format!("`{}` is no method of an operation", quoted(&said))))?;
    let path = text("path").ok_or_else(|| ScimError::syntax("an operation has no path"))?;
    let data = get(body, "data").cloned().unwrap_or(Value::Null);
    let bulk_id = text("bulkId").filter(|id| !id.is_empty());
    if method == Method::Post && bulk_id.is_none() {
        return Err(ScimError::syntax("a POST among the operations has no bulkId"));
    }
    let mut needs = BTreeSet::new();
    find(&data, &mut needs, 0)?;
    if let Some((_, id)) = path.split_once(REFERENCE) {
        needs.insert(id.to_owned());
    }
    Ok(One { method, bulk_id, version: text("version"), path, data, needs })
}

fn find(value: &Value, needs: &mut BTreeSet<String>, depth: usize) -> Result<(), ScimError> {
    if depth > DEEPEST {
        return Err(ScimError::syntax(format!("the data nests deeper than {DEEPEST}")));
    }
    match value {
        Value::String(text) => needs.extend(text.strip_prefix(REFERENCE).map(str::to_owned)),
        Value::Array(all) => all.iter().try_for_each(|one| find(one, needs, depth + 1))?,
        Value::Object(all) => all.values().try_for_each(|one| find(one, needs, depth + 1))?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn resolve(value: &mut Value, known: &BTreeMap<String, String>, depth: usize) {
    match value {
        Value::String(text) => {
            if let Some(id) = text.strip_prefix(REFERENCE).and_then(|id| known.get(id)) {
                *text = id.clone();
            }
        }
        Value::Array(all) if depth <= DEEPEST => all.iter_mut().for_each(|one| resolve(one, known, depth + 1)),
        Value::Object(all) if depth <= DEEPEST => all.values_mut().for_each(|one| resolve(one, known, depth + 1)),
        _ => {}
    }
}

impl Outcome {
    /// Whether it was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.said.is_ok()
    }

    /// As it is answered.
    #[must_use]
    pub fn shown(&self, method: Method, bulk_id: Option<&str>) -> Value {
        let status = match &self.said {
            Ok(status) => *status,
            Err(error) => error.status,
        };
        let mut body = json!({ "method": method.code(), "status": status.to_string() });
        let Some(object) = body.as_object_mut() else { return body };
        for (name, value) in [("bulkId", bulk_id), ("location", self.location.as_deref()), ("version", self.version.as_deref())] {
            if let Some(value) = value {
                object.insert(name.to_owned(), value.into());
            }
        }
        if let Err(error) = &self.said {
            object.insert("response".to_owned(), error.body());
        }
        body
    }
}

/// The answer to a bulk request.
#[must_use]
pub fn answer(outcomes: Vec<Value>) -> Value {
    json!({ "schemas": [RESPONSE_URN], "Operations": outcomes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(operations: Value) -> Result<Bulk, ScimError> {
        Bulk::read(&json!({ "schemas": [REQUEST_URN], "failOnErrors": 1, "Operations": operations }))
    }

    fn make(id: &str, data: Value) -> Value {
        json!({ "method": "POST", "path": "/Groups", "bulkId": id, "data": data })
    }

    #[test]
    fn what_refers_waits_for_what_it_refers_to() {
        let refers = make("team", json!({ "members": [{ "value": "bulkId:ana" }] }));
        let mut bulk = bulk(json!([refers, make("ana", json!({}))])).unwrap();
        let (first, ready) = bulk.next_one().unwrap();
        assert_eq!((first.bulk_id.as_deref(), ready), (Some("ana"), Ok(())));
        bulk.made(first.bulk_id, "usr_1");
        let (second, ready) = bulk.next_one().unwrap();
        assert_eq!((ready, &second.data["members"][0]["value"]), (Ok(()), &json!("usr_1")));
        assert!(bulk.next_one().is_none());
    }

    #[test]
    fn a_circle_and_a_reference_to_nothing_are_told() {
        let circle = json!([make("a", json!({ "x": "bulkId:b" })), make("b", json!({ "x": "bulkId:a" }))]);
        let mut bulk = bulk(circle).unwrap();
        for _ in 0..2 {
            assert_eq!(bulk.next_one().unwrap().1.unwrap_err().status, 409);
        }
        assert!(bulk.next_one().is_none());
    }

    #[test]
    fn more_than_is_advertised_is_refused_whole() {
        let many: Vec<Value> = (0..=MAX_OPERATIONS).map(|n| make(&n.to_string(), json!({}))).collect();
        assert_eq!(bulk(json!(many)).unwrap_err().status, 413);
        for wrong in [
            json!([]),
            json!([{ "method": "GET", "path": "/Users" }]),
            json!([{ "method": "POST", "path": "/Users" }]),
            json!([{ "method": "DELETE" }]),
            json!([make("a", json!({})), make("a", json!({}))]),
        ] {
            assert_eq!(bulk(wrong.clone()).unwrap_err().status, 400, "{wrong}");
        }
        assert!(Bulk::read(&json!({ "schemas": [], "Operations": [make("a", json!({}))] })).is_err());
    }
}
