//! Changes (RFC 7644 §3.5.2): what a PATCH says, and doing it to the attributes of a resource.
//!
//! Directories bend the RFC: Microsoft Entra ID writes `Replace` and `"False"`, puts paths into the members of a value, and adds
//! `emails[type eq "work"].value` where there is no such e-mail yet; Okta sends the `id` along. Each is done as it is plainly meant.

use serde_json::{Map, Value};

use super::error::{ScimError, quoted};
use super::filter::{Filter, get};
use super::path::PatchPath;
use super::schema::{self, Attribute, Found, Kind, Mutability, Schema};

/// The schema of a PATCH.
pub const PATCH_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const MOST_OPERATIONS: usize = 1000;
/// How many values an attribute of a user can come to have.
const MOST_VALUES: usize = 100;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A value more.
    Add,
    /// A value less.
    Remove,
    /// Another value.
    Replace,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What is done.
    pub op: Op,
    /// Where; `None`: at the attributes that the value names.
    pub path: Option<PatchPath>,
    /// With what.
    pub value: Option<Value>,
}

/// Reads a PATCH.
///
/// # Errors
/// If it cannot be read, has no operations, or too many.
pub fn read(body: &Value) -> Result<Vec<Operation>, ScimError> {
    let body = body.as_object().ok_or_else(|| ScimError::syntax("the body has to be a JSON object"))?;
    if !schema::says(body, PATCH_URN) {
        return Err(ScimError::syntax(format!("`schemas` does not say that this is `{PATCH_URN}`")));
    }
    let whole = Value::Object(body.clone());
    let operations = get(&whole, "Operations").and_then(Value::as_array);
    let operations =
        operations.filter(|all| !all.is_empty()).ok_or_else(|| ScimError::syntax("`Operations` has to be a list of at least one"))?;
    if operations.len() > MOST_OPERATIONS {
        return Err(ScimError::plain(413, format!("there are more than {MOST_OPERATIONS} operations in one PATCH")));
    }
    operations.iter().map(operation).collect()
}

fn operation(body: &Value) -> Result<Operation, ScimError> {
    let said = get(body, "op").and_then(Value::as_str).unwrap_or_default();
    let op = [("add", Op::Add), ("remove", Op::Remove), ("replace", Op::Replace)]
        .into_iter()
        .find(|(name, _)| said.eq_ignore_ascii_case(name))
        .map(|(_, op)| op)
        .ok_or_else(|| ScimError::syntax(format!("`{}` is no operation; there are add, remove and replace", quoted(said))))?;
    let path = match get(body, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) if path.is_empty() => None,
        Some(Value::String(path)) => Some(path.parse()?),
        Some(_) => return Err(ScimError::path("the path has to be a text")),
    };
    let value = get(body, "value").cloned();
    match (op, &path, &value) {
        (Op::Remove, None, _) => return Err(ScimError::no_target("a `remove` has to say what: its path is missing")),
        (Op::Add | Op::Replace, _, None) => {
            return Err(ScimError::value("an `add` or `replace` has to say what to put there: its value is missing"));
        }
        (Op::Add | Op::Replace, None, Some(value)) if !value.is_object() => {
            return Err(ScimError::value("without a path the value has to be an object that names attributes"));
        }
        _ => {}
    }
    Ok(Operation { op, path, value })
}

/// Does one operation to a resource's attributes, which have their own names.
///
/// # Errors
/// If it cannot be done. What was done of it then is to be thrown away.
pub fn apply(schema: &Schema, resource: &mut Map<String, Value>, operation: &Operation) -> Result<(), ScimError> {
    let Some(path) = &operation.path else {
        for (name, value) in operation.value.as_ref().and_then(Value::as_object).into_iter().flatten() {
            let Some(path) = path_of(schema, name)? else { continue };
            one(schema, resource, operation.op, &path, Some(value), true)?;
        }
        return Ok(());
    };
    one(schema, resource, operation.op, path, operation.value.as_ref(), false)
}

/// What a member of a value without a path names; `None`: nothing that is kept.
pub(super) fn path_of(schema: &Schema, name: &str) -> Result<Option<PatchPath>, ScimError> {
    if name.eq_ignore_ascii_case("schemas") {
        return Ok(None);
    }
    let path: PatchPath = name.parse()?;
    match schema.find(path.attribute.schema.as_deref(), &path.attribute.name) {
        Found::Attribute(_) => Ok(Some(path)),
        Found::NotKept => Ok(None),
        Found::Unknown => Err(ScimError::path(format!("there is no attribute `{}` here", quoted(name)))),
    }
}

fn one(
    schema: &Schema,
    resource: &mut Map<String, Value>,
    op: Op,
    path: &PatchPath,
    value: Option<&Value>,
    lenient: bool,
) -> Result<(), ScimError> {
    let attribute = match schema.find(path.attribute.schema.as_deref(), &path.attribute.name) {
        Found::Attribute(attribute) => attribute,
        Found::NotKept => return Ok(()),
        Found::Unknown => return Err(ScimError::path(format!("there is no attribute `{}` here", quoted(&path.to_string())))),
    };
    if attribute.mutability == Mutability::ReadOnly {
        // Sent along among what is to be changed it changes nothing.
        return if lenient { Ok(()) } else { Err(ScimError::mutability(format!("`{}` is given by the gate", attribute.name))) };
    }
    let part = match path.attribute.sub.as_deref().or(path.sub.as_deref()) {
        Some(name) => {
            let no = || ScimError::path(format!("`{}` has no part `{}`", attribute.name, quoted(name)));
            Some(attribute.sub(name).ok_or_else(no)?)
        }
        None => None,
    };
    if let Some(filter) = &path.filter {
        if !attribute.multiple || path.attribute.sub.is_some() {
            return Err(ScimError::path(format!("`{}` has no list of values that a filter could choose from", attribute.name)));
        }
        filter.check_values(schema, attribute).map_err(|error| ScimError::path(error.detail))?;
        return chosen(schema, resource, op, attribute, filter, part, value);
    }
    match (op, part) {
        (Op::Remove, None) => {
            if attribute.required {
                return Err(ScimError::mutability(format!("`{}` is needed and cannot be removed", attribute.name)));
            }
            resource.remove(attribute.name);
        }
        (Op::Remove, Some(part)) => {
            for value in parts_of(resource, attribute) {
                value.remove(part.name);
            }
            forget_empty(resource, attribute);
        }
        (_, None) => {
            let value = value.ok_or_else(|| ScimError::value("its value is missing"))?.clone();
            put(resource, op, attribute, coerced(attribute, value)?)?;
        }
        (_, Some(part)) => {
            let value = value.ok_or_else(|| ScimError::value("its value is missing"))?.clone();
            let value = coerced(part, value)?;
            if parts_of(resource, attribute).is_empty() {
                let first = Value::Object(Map::new());
                resource.insert(attribute.name.to_owned(), if attribute.multiple { Value::Array(vec![first]) } else { first });
            }
            for object in parts_of(resource, attribute) {
                set(object, part, value.clone());
            }
            forget_empty(resource, attribute);
        }
    }
    Ok(())
}

/// A whole attribute gets a value, or another one more.
fn put(resource: &mut Map<String, Value>, op: Op, attribute: &Attribute, value: Value) -> Result<(), ScimError> {
    if value.is_null() {
        if attribute.required {
            return Err(ScimError::value(format!("`{}` is needed and cannot be null", attribute.name)));
        }
        resource.remove(attribute.name);
        return Ok(());
    }
    if attribute.multiple {
        let Value::Array(new) = value else { return Err(ScimError::value(format!("{} has to be a list", attribute.name))) };
        let mut all = match (op, resource.remove(attribute.name)) {
            (Op::Add, Some(Value::Array(all))) => all,
            _ => Vec::new(),
        };
        for value in new {
            if all.contains(&value) {
                continue;
            }
            if is_primary(&value) {
                all.iter_mut().for_each(no_longer_primary);
            }
            all.push(value);
        }
        if all.len() > MOST_VALUES {
            return Err(ScimError::value(format!("{} has more than {MOST_VALUES} values", attribute.name)));
        }
        if !all.is_empty() {
            resource.insert(attribute.name.to_owned(), Value::Array(all));
        }
        return Ok(());
    }
    // RFC 7644 §3.5.2.3: parts that are not named stay as they are.
    if let (Kind::Complex, Value::Object(new)) = (attribute.kind, &value) {
        let old = resource.entry(attribute.name).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(old) = old {
            for (name, part) in new {
                if part.is_null() {
                    old.remove(name);
                } else {
                    old.insert(name.clone(), part.clone());
                }
            }
        }
        forget_empty(resource, attribute);
        return Ok(());
    }
    resource.insert(attribute.name.to_owned(), value);
    Ok(())
}

/// Those values of an attribute that a filter chooses.
fn chosen(
    schema: &Schema,
    resource: &mut Map<String, Value>,
    op: Op,
    attribute: &'static Attribute,
    filter: &Filter,
    part: Option<&Attribute>,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let mut all = match resource.remove(attribute.name) {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    let is = |value: &Value| filter.matches_value(schema, attribute, value);
    match (op, part) {
        (Op::Remove, None) => all.retain(|value| !is(value)),
        (Op::Remove, Some(part)) => {
            for value in all.iter_mut().filter(|value| is(value)) {
                value.as_object_mut().map(|object| object.remove(part.name));
            }
        }
        (_, part) => {
            let value = value.ok_or_else(|| ScimError::value("its value is missing"))?.clone();
            if !all.iter().any(is) {
                let no_such = || ScimError::no_target(format!("none of the `{}` is so: {filter}", attribute.name));
                // There is none such yet: what is added is one.
                let wanted = if op == Op::Add { filter.as_values() } else { None };
                let mut new = Map::new();
                for (name, value) in wanted.ok_or_else(no_such)? {
                    let part = attribute.sub(&name).ok_or_else(no_such)?;
                    new.insert(part.name.to_owned(), coerced(part, value)?);
                }
                all.push(Value::Object(new));
            }
            let whole = part.is_none().then(|| objects(attribute, value.clone())).transpose()?;
            let value = part.map(|part| coerced(part, value)).transpose()?;
            let makes_primary = part.is_some_and(|part| part.name == "primary") && value == Some(Value::Bool(true));
            for old in &mut all {
                if !is(old) {
                    if makes_primary || whole.as_ref().is_some_and(|new| new.get("primary") == Some(&Value::Bool(true))) {
                        no_longer_primary(old);
                    }
                    continue;
                }
                let Some(object) = old.as_object_mut() else { continue };
                match (part, &value, &whole) {
                    (Some(part), Some(value), _) => set(object, part, value.clone()),
                    (_, _, Some(new)) => object.extend(new.clone()),
                    _ => {}
                }
            }
        }
    }
    all.retain(|value| value.as_object().is_none_or(|object| !object.is_empty()));
    if all.len() > MOST_VALUES {
        return Err(ScimError::value(format!("{} has more than {MOST_VALUES} values", attribute.name)));
    }
    if !all.is_empty() {
        resource.insert(attribute.name.to_owned(), Value::Array(all));
    }
    Ok(())
}

/// The one object that a value is, with its parts under their own names.
fn objects(attribute: &Attribute, value: Value) -> Result<Map<String, Value>, ScimError> {
    match coerced(attribute, value)? {
        Value::Array(mut all) if all.len() == 1 => match all.pop() {
            Some(Value::Object(object)) => Ok(object),
            _ => Err(ScimError::value(format!("a value of {} has to have parts", attribute.name))),
        },
        _ => Err(ScimError::value(format!("one value of {} is set to one other", attribute.name))),
    }
}

fn set(object: &mut Map<String, Value>, part: &Attribute, value: Value) {
    if value.is_null() {
        object.remove(part.name);
    } else {
        object.insert(part.name.to_owned(), value);
    }
}

fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

fn no_longer_primary(value: &mut Value) {
    if is_primary(value)
        && let Some(object) = value.as_object_mut()
    {
        object.insert("primary".to_owned(), Value::Bool(false));
    }
}

/// The objects an attribute consists of.
fn parts_of<'r>(resource: &'r mut Map<String, Value>, attribute: &Attribute) -> Vec<&'r mut Map<String, Value>> {
    match resource.get_mut(attribute.name) {
        Some(Value::Array(all)) => all.iter_mut().filter_map(Value::as_object_mut).collect(),
        Some(Value::Object(object)) => vec![object],
        _ => Vec::new(),
    }
}

/// An attribute without any part is none.
fn forget_empty(resource: &mut Map<String, Value>, attribute: &Attribute) {
    let empty = match resource.get_mut(attribute.name) {
        Some(Value::Object(object)) => object.is_empty(),
        Some(Value::Array(all)) => {
            all.retain(|value| value.as_object().is_none_or(|object| !object.is_empty()));
            all.is_empty()
        }
        _ => false,
    };
    if empty {
        resource.remove(attribute.name);
    }
}

/// A value as the attribute has it: parts under their own names, one value as a list of one, `"False"` as false.
///
/// # Errors
/// If it is none that the attribute can have.
pub(super) fn coerced(attribute: &Attribute, value: Value) -> Result<Value, ScimError> {
    if attribute.multiple {
        let all = match value {
            Value::Null => return Ok(Value::Null),
            Value::Array(all) => all,
            one => vec![one],
        };
        return all.into_iter().map(|value| single(attribute, value)).collect::<Result<Vec<_>, _>>().map(Value::Array);
    }
    single(attribute, value)
}

fn single(attribute: &Attribute, value: Value) -> Result<Value, ScimError> {
    match (attribute.kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Boolean, Value::String(text)) => schema::truth(&text)
            .map(Value::Bool)
            .ok_or_else(|| ScimError::value(format!("{} has to be true or false, and is `{}`", attribute.name, quoted(&text)))),
        (Kind::Boolean, value @ Value::Bool(_)) => Ok(value),
        (Kind::String | Kind::DateTime | Kind::Reference, value @ Value::String(_)) => Ok(value),
        (Kind::Complex, Value::Object(parts)) => {
            let mut read = Map::new();
            for (name, value) in parts {
                // What the RFC has besides, such as `display`, is not kept.
                let Some(part) = attribute.sub(&name) else { continue };
                if value.is_array() || value.is_object() {
                    return Err(ScimError::value(format!("{}.{} has to be one value", attribute.name, part.name)));
                }
                read.insert(part.name.to_owned(), single(part, value)?);
            }
            Ok(Value::Object(read))
        }
        (kind, _) => {
            let wanted = match kind {
                Kind::Boolean => "true or false",
                Kind::Complex => "an object",
                Kind::String | Kind::DateTime | Kind::Reference => "a text",
                Kind::Integer => "a whole number",
            };
            Err(ScimError::value(format!("{} has to be {wanted}", attribute.name)))
        }
    }
}
