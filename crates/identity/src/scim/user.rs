//! A user as a directory sends and reads them.

use access::directory::{DirectoryGroupRow, DirectoryUserRow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{ScimError, quoted};
use super::patch::{self, Operation};
use super::schema::{self, Found, Mutability, USER};

/// The longest text there may be in a user or group, in characters.
pub const LONGEST_TEXT: usize = 256;
const MOST_EMAILS: usize = 20;

/// What a directory says of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// How they sign in at the directory.
    pub user_name: String,
    /// What the directory itself calls them.
    pub external_id: Option<String>,
    /// Whether they may sign in; `None`: it does not say.
    pub active: Option<bool>,
    /// What they are called and where they can be written to.
    pub profile: Profile,
}

/// Names and addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// Their name in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// How they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where they can be written to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<Email>,
}

/// A name in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Name {
    /// The whole name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formatted: Option<String>,
    /// The family name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    /// The given name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
}

/// An address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Email {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it is for.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether it is the one to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<bool>,
}

impl Profile {
    /// How they are called: their display name, else their whole name, else its parts.
    #[must_use]
    pub fn called(&self) -> Option<String> {
        let name = self.name.as_ref();
        let parts = || {
            let name = name?;
            let parts: Vec<&str> = [name.given_name.as_deref(), name.family_name.as_deref()].into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        };
        self.display_name.clone().or_else(|| name.and_then(|name| name.formatted.clone())).or_else(parts)
    }
}

impl User {
    /// Reads a whole user, as POST and PUT send it.
    ///
    /// # Errors
    /// If it is no user, or only half of one; with what is missing.
    pub fn read(body: &Value) -> Result<Self, ScimError> {
        let object = whole(body, schema::USER_URN)?;
        Self::of(&canonical(object, &USER)?)
    }

    /// From attributes with their own names.
    fn of(attributes: &Map<String, Value>) -> Result<Self, ScimError> {
        let user_name =
            text(attributes, "userName")?.ok_or_else(|| ScimError::value("userName is missing: nobody is known without one"))?;
        let mut name = None;
        if let Some(parts) = attributes.get("name").filter(|value| !value.is_null()) {
            let parts = object(parts, "name")?;
            let read = Name {
                formatted: text(parts, "formatted")?,
                family_name: text(parts, "familyName")?,
                given_name: text(parts, "givenName")?,
            };
            name = (read != Name::default()).then_some(read);
        }
        let mut emails = Vec::new();
        if let Some(all) = attributes.get("emails").filter(|value| !value.is_null()) {
            for email in all.as_array().ok_or_else(|| ScimError::value("emails has to be a list"))? {
                let email = object(email, "emails")?;
                emails.push(Email { value: text(email, "value")?, kind: text(email, "type")?, primary: flag(email, "primary")? });
            }
        }
        if emails.len() > MOST_EMAILS {
            return Err(ScimError::value(format!("there are more than {MOST_EMAILS} emails")));
        }
        if emails.iter().filter(|email| email.primary == Some(true)).count() > 1 {
            return Err(ScimError::value("more than one of the emails is `primary`"));
        }
        Ok(Self {
            user_name,
            external_id: text(attributes, "externalId")?,
            active: flag(attributes, "active")?,
            profile: Profile { name, display_name: text(attributes, "displayName")?, emails },
        })
    }

    /// What is kept of somebody.
    #[must_use]
    pub fn kept(row: &DirectoryUserRow) -> Self {
        Self {
            // Erased: then they are known by their id alone, which no name is.
            user_name: row.user_name.clone().unwrap_or_else(|| row.id.to_string()),
            external_id: row.external_id.clone(),
            active: Some(row.active),
            profile: row.profile.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        }
    }

    fn attributes(&self) -> Map<String, Value> {
        let mut all = match serde_json::to_value(&self.profile) {
            Ok(Value::Object(profile)) => profile,
            _ => Map::new(),
        };
        all.insert("userName".to_owned(), self.user_name.clone().into());
        if let Some(id) = &self.external_id {
            all.insert("externalId".to_owned(), id.clone().into());
        }
        if let Some(active) = self.active {
            all.insert("active".to_owned(), active.into());
        }
        all
    }

    /// The user after a change's operations, in order.
    ///
    /// # Errors
    /// If one of them cannot be done, or what would be left is no user. Then none is.
    pub fn changed(&self, operations: &[Operation]) -> Result<Self, ScimError> {
        let mut attributes = self.attributes();
        for operation in operations {
            patch::apply(&USER, &mut attributes, operation)?;
        }
        if !attributes.contains_key("active") {
            return Err(ScimError::mutability("`active` can be true or false, and cannot be removed"));
        }
        Self::of(&attributes)
    }

    /// A user as they are shown. `active`: whether they may sign in now, whoever says so.
    #[must_use]
    pub fn shown(row: &DirectoryUserRow, active: bool, groups: &[DirectoryGroupRow], base: &str) -> Value {
        let mut body = Self { active: Some(active), ..Self::kept(row) }.attributes();
        body.insert("schemas".to_owned(), json!([schema::USER_URN]));
        body.insert("id".to_owned(), row.id.to_string().into());
        if !groups.is_empty() {
            let group = |group: &DirectoryGroupRow| json!({ "value": group.id, "$ref": format!("{base}/Groups/{}", group.id), "display": group.display_name });
            body.insert("groups".to_owned(), groups.iter().map(group).collect());
        }
        let meta = json!({
            "resourceType": "User",
            "created": row.created_at,
            "lastModified": row.changed_at,
            "location": format!("{base}/Users/{}", row.id),
            "version": etag(row.version),
        });
        body.insert("meta".to_owned(), meta);
        Value::Object(body)
    }
}

/// A weak entity tag of a version (RFC 7644 §3.14).
#[must_use]
pub fn etag(version: i64) -> String {
    format!("W/\"{version}\"")
}

/// A body that is an object and says of which schema it is.
pub(super) fn whole<'b>(body: &'b Value, urn: &str) -> Result<&'b Map<String, Value>, ScimError> {
    let object = body.as_object().ok_or_else(|| ScimError::syntax("the body has to be a JSON object"))?;
    if schema::says(object, urn) {
        return Ok(object);
    }
    Err(ScimError::syntax(format!("`schemas` does not say that this is `{urn}`")))
}

/// The attributes of a body under their own names, without what the gate sets itself and what it does not keep.
pub(super) fn canonical(body: &Map<String, Value>, schema: &schema::Schema) -> Result<Map<String, Value>, ScimError> {
    let mut all = Map::new();
    for (name, value) in body {
        // A member of a body is no path: an extension stands under its whole URN.
        let Found::Attribute(attribute) = schema.find(None, name) else { continue };
        if attribute.mutability == Mutability::ReadOnly {
            continue;
        }
        let value = patch::coerced(attribute, value.clone())?;
        if all.insert(attribute.name.to_owned(), value).is_some() {
            return Err(ScimError::syntax(format!("`{}` stands there twice", attribute.name)));
        }
    }
    Ok(all)
}

fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Map<String, Value>, ScimError> {
    value.as_object().ok_or_else(|| ScimError::value(format!("{what} has to have parts, such as {{\"value\": …}}")))
}

/// A text, if there is one.
pub(super) fn text(attributes: &Map<String, Value>, name: &str) -> Result<Option<String>, ScimError> {
    let text = match attributes.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(ScimError::value(format!("{name} has to be a text"))),
    };
    if text.chars().count() > LONGEST_TEXT {
        return Err(ScimError::value(format!("{name} is longer than {LONGEST_TEXT} characters")));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(ScimError::value(format!("{name} `{}` begins or ends with a blank, or has letters that cannot be seen", quoted(text))));
    }
    Ok((!text.is_empty()).then(|| text.clone()))
}

fn flag(attributes: &Map<String, Value>, name: &str) -> Result<Option<bool>, ScimError> {
    match attributes.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(ScimError::value(format!("{name} has to be true or false"))),
    }
}

#[cfg(test)]
#[path = "user_tests.rs"]
mod tests;
