//! A group as a directory sends and reads it, and changes of it as steps: a group of ten thousand is not read to put one more in.

use access::directory::DirectoryGroupRow;
use access::ids::PrincipalId;
use serde_json::{Value, json};

use super::error::{ScimError, quoted};
use super::filter::{Filter, get};
use super::patch::{self, Op, Operation};
use super::path::PatchPath;
use super::schema::{self, Found, GROUP, Mutability};
use super::user::{canonical, etag, text, whole};

/// How many members a group can be given in one request.
pub const MOST_MEMBERS: usize = 20_000;

/// What a directory says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub display_name: String,
    /// What the directory itself calls it.
    pub external_id: Option<String>,
    /// Who is in it.
    pub members: Vec<PrincipalId>,
}

/// One step of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is called so.
    Name(String),
    /// The directory itself calls it so.
    ExternalId(Option<String>),
    /// These are in it too.
    Add(Vec<PrincipalId>),
    /// These are not.
    Remove(Vec<PrincipalId>),
    /// Those of whom this holds are not.
    RemoveWhere(Filter),
    /// These are in it, and nobody else.
    Replace(Vec<PrincipalId>),
}

impl Group {
    /// Reads a whole group, as POST and PUT send it.
    ///
    /// # Errors
    /// If it is no group, or only half of one; with what is missing.
    pub fn read(body: &Value) -> Result<Self, ScimError> {
        let attributes = canonical(whole(body, schema::GROUP_URN)?, &GROUP)?;
        let display_name =
            text(&attributes, "displayName")?.ok_or_else(|| ScimError::value("displayName is missing: a group has a name"))?;
        let members = attributes.get("members").map(members).transpose()?.unwrap_or_default();
        Ok(Self { display_name, external_id: text(&attributes, "externalId")?, members })
    }

    /// The steps that make any group this one.
    #[must_use]
    pub fn steps(self) -> Vec<Step> {
        vec![Step::Name(self.display_name), Step::ExternalId(self.external_id), Step::Replace(self.members)]
    }

    /// A group as it is shown; with its members, if they were read.
    #[must_use]
    pub fn shown(row: &DirectoryGroupRow, members: Option<&[PrincipalId]>, base: &str) -> Value {
        let mut body = json!({
            "schemas": [schema::GROUP_URN],
            "id": row.id,
            // Erased: then it has its id alone.
            "displayName": row.display_name.clone().unwrap_or_else(|| row.id.to_string()),
            "meta": {
                "resourceType": "Group",
                "created": row.created_at,
                "lastModified": row.changed_at,
                "location": format!("{base}/Groups/{}", row.id),
                "version": etag(row.version),
            },
        });
        let Some(object) = body.as_object_mut() else { return body };
        if let Some(id) = &row.external_id {
            object.insert("externalId".to_owned(), id.clone().into());
        }
        if let Some(members) = members.filter(|members| !members.is_empty()) {
            object.insert("members".to_owned(), members.iter().map(|member| member_shown(*member, base)).collect());
        }
        body
    }
}

/// Somebody in a group, as they are shown there.
#[must_use]
pub fn member_shown(member: PrincipalId, base: &str) -> Value {
    json!({ "value": member, "$ref": format!("{base}/Users/{member}"), "type": "User" })
}

/// The steps that a PATCH asks for.
///
/// # Errors
/// If one of them cannot be done to a group.
pub fn steps(operations: &[Operation]) -> Result<Vec<Step>, ScimError> {
    let mut steps = Vec::new();
    for operation in operations {
        match &operation.path {
            Some(path) => steps.extend(step(operation.op, path, operation.value.as_ref(), false)?),
            None => {
                for (name, value) in operation.value.as_ref().and_then(Value::as_object).into_iter().flatten() {
                    let Some(path) = patch::path_of(&GROUP, name)? else { continue };
                    steps.extend(step(operation.op, &path, Some(value), true)?);
                }
            }
        }
    }
    Ok(steps)
}

fn step(op: Op, path: &PatchPath, value: Option<&Value>, lenient: bool) -> Result<Option<Step>, ScimError> {
    let unknown = || ScimError::path(format!("there is no attribute `{}` here", quoted(&path.to_string())));
    let attribute = match GROUP.find(path.attribute.schema.as_deref(), &path.attribute.name) {
        Found::Attribute(attribute) => attribute,
        Found::NotKept => return Ok(None),
        Found::Unknown => return Err(unknown()),
    };
    if attribute.mutability == Mutability::ReadOnly {
        return if lenient { Ok(None) } else { Err(ScimError::mutability(format!("`{}` is given by the gate", attribute.name))) };
    }
    if attribute.name == "members" {
        return members_step(op, path, value).map(Some);
    }
    if path.filter.is_some() || path.sub.is_some() || path.attribute.sub.is_some() {
        return Err(unknown());
    }
    let given = match (op, value) {
        (Op::Remove, _) | (_, None) => None,
        (_, Some(value)) => text(&std::iter::once((attribute.name.to_owned(), value.clone())).collect(), attribute.name)?,
    };
    match (attribute.name, given) {
        ("displayName", Some(name)) => Ok(Some(Step::Name(name))),
        ("displayName", None) => Err(ScimError::mutability("a group has a name; it can get another, and cannot be without")),
        (_, given) => Ok(Some(Step::ExternalId(given))),
    }
}

fn members_step(op: Op, path: &PatchPath, value: Option<&Value>) -> Result<Step, ScimError> {
    if path.attribute.sub.is_some() || path.sub.is_some() {
        return Err(ScimError::mutability("who is in a group is added and removed whole, not changed in parts"));
    }
    if let Some(filter) = &path.filter {
        let Found::Attribute(attribute) = GROUP.find(None, "members") else { return Err(ScimError::path("a group has members")) };
        filter.check_values(&GROUP, attribute).map_err(|error| ScimError::path(error.detail))?;
        return match (op, filter.is_just("value")) {
            (Op::Remove, Some(id)) => Ok(Step::Remove(id.parse().into_iter().collect())),
            (Op::Remove, None) => Ok(Step::RemoveWhere(filter.clone())),
            _ => Err(ScimError::mutability("a member that is there is removed, and another added; it cannot become another")),
        };
    }
    match (op, value) {
        // RFC 7644 says that all are removed; Microsoft Entra ID sends whom it means. Whom it does not name it does not mean.
        (Op::Remove, Some(value)) if !value.is_null() => Ok(Step::Remove(known_shape(value)?)),
        (Op::Remove, _) => Ok(Step::Replace(Vec::new())),
        (Op::Add, Some(value)) => members(value).map(Step::Add),
        (Op::Replace, Some(value)) => members(value).map(Step::Replace),
        (_, None) => Err(ScimError::value("its value is missing")),
    }
}

/// Who is named, each once; a name that can be nobody's is a mistake.
fn members(value: &Value) -> Result<Vec<PrincipalId>, ScimError> {
    let mut all = Vec::new();
    for id in ids(value)? {
        let nobody = || ScimError::value(format!("members: `{}` is no user of this directory", quoted(id)));
        match id.parse::<PrincipalId>() {
            Ok(member @ PrincipalId::User(_)) => all.push(member),
            _ => return Err(nobody()),
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The same for whom to remove: who can be nobody is in no group.
fn known_shape(value: &Value) -> Result<Vec<PrincipalId>, ScimError> {
    Ok(ids(value)?.into_iter().filter_map(|id| id.parse().ok()).collect())
}

fn ids(value: &Value) -> Result<Vec<&str>, ScimError> {
    let all = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    if all.len() > MOST_MEMBERS {
        return Err(ScimError::plain(413, format!("there are more than {MOST_MEMBERS} members in one request")));
    }
    let id = |member: &'_ Value| get(member, "value").and_then(Value::as_str).map(str::to_owned);
    if let Some(wrong) = all.iter().find(|member| id(member).is_none()) {
        return Err(ScimError::value(format!("members: `{}` has no `value` that is a user's id", quoted(&wrong.to_string()))));
    }
    Ok(all.iter().filter_map(|member| get(member, "value").and_then(Value::as_str)).collect())
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
