//! Which attributes the gate keeps of users and groups, and what it says of itself (RFC 7643 §4, §5, §6, §7).
//!
//! It keeps what it needs to know people by and to call them: nothing else that a directory knows of them. What the RFC's own schemas have
//! besides is read over ([`Found::NotKept`]), so that a directory that sends it is not refused; what no schema has is refused in paths.

use serde_json::{Map, Value, json};

/// The schema of a user.
pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of a group.
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const CONFIG_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
const TYPE_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const SCHEMA_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";

/// How many results there are at most in one answer.
pub const MAX_RESULTS: u32 = 500;
/// How many operations one bulk request may have.
pub const MAX_OPERATIONS: usize = 1000;
/// How large it may be, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    String,
    /// True or false.
    Boolean,
    /// A point in time.
    DateTime,
    /// A URL of another resource.
    Reference,
    /// Several parts.
    Complex,
    /// A whole number.
    Integer,
}

/// Who may set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// The directory.
    ReadWrite,
    /// The gate alone.
    ReadOnly,
    /// The directory, once.
    Immutable,
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, as it is written.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Whether it has a list of them.
    pub multiple: bool,
    /// Whether there has to be one.
    pub required: bool,
    /// Whether upper and lower case differ.
    pub case_exact: bool,
    /// Who may set it.
    pub mutability: Mutability,
    /// Whether only one resource can have a value.
    pub unique: bool,
    /// What it is.
    pub description: &'static str,
    /// The values that mean something, if only some do.
    pub canonical: &'static [&'static str],
    /// What a reference refers to.
    pub refers_to: &'static [&'static str],
    /// Its parts.
    pub parts: &'static [Attribute],
}

const fn text(name: &'static str, description: &'static str) -> Attribute {
    Attribute {
        name,
        kind: Kind::String,
        multiple: false,
        required: false,
        case_exact: false,
        mutability: Mutability::ReadWrite,
        unique: false,
        description,
        canonical: &[],
        refers_to: &[],
        parts: &[],
    }
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Its URN.
    pub urn: &'static str,
    /// `User` or `Group`.
    pub name: &'static str,
    /// Where it is: `/Users`.
    pub endpoint: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its attributes.
    pub attributes: &'static [Attribute],
    /// Those of the RFC's schema that the gate does not keep.
    not_kept: &'static [&'static str],
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'s> {
    /// An attribute.
    Attribute(&'s Attribute),
    /// One that the RFC has and the gate does not keep.
    NotKept,
    /// Nothing.
    Unknown,
}

static COMMON: [Attribute; 3] = [
    Attribute { mutability: Mutability::ReadOnly, case_exact: true, unique: true, ..text("id", "By what the gate calls it.") },
    Attribute { case_exact: true, ..text("externalId", "By what the directory itself calls it.") },
    Attribute {
        kind: Kind::Complex,
        mutability: Mutability::ReadOnly,
        parts: &META,
        ..text("meta", "What the gate knows of the resource itself.")
    },
];

static META: [Attribute; 5] = [
    Attribute { mutability: Mutability::ReadOnly, case_exact: true, ..text("resourceType", "Of which kind it is.") },
    Attribute { kind: Kind::DateTime, mutability: Mutability::ReadOnly, ..text("created", "Since when it is known.") },
    Attribute { kind: Kind::DateTime, mutability: Mutability::ReadOnly, ..text("lastModified", "When it changed last.") },
    Attribute { mutability: Mutability::ReadOnly, case_exact: true, ..text("location", "Where it is.") },
    Attribute { mutability: Mutability::ReadOnly, case_exact: true, ..text("version", "Counts changes.") },
];

static NAME: [Attribute; 3] =
    [text("formatted", "The whole name, as it is shown."), text("familyName", "The family name."), text("givenName", "The given name.")];

static EMAILS: [Attribute; 3] = [
    text("value", "The address. Nobody is known by it."),
    Attribute { canonical: &["work", "home", "other"], ..text("type", "What it is for.") },
    Attribute { kind: Kind::Boolean, ..text("primary", "Whether it is the one to write to; at most one is.") },
];

static GROUPS: [Attribute; 3] = [
    Attribute { mutability: Mutability::ReadOnly, case_exact: true, ..text("value", "The group's `id`.") },
    Attribute {
        kind: Kind::Reference,
        mutability: Mutability::ReadOnly,
        case_exact: true,
        refers_to: &["Group"],
        ..text("$ref", "Where the group is.")
    },
    Attribute { mutability: Mutability::ReadOnly, ..text("display", "The group's name.") },
];

static MEMBERS: [Attribute; 3] = [
    Attribute { mutability: Mutability::Immutable, case_exact: true, ..text("value", "The user's `id`.") },
    Attribute {
        kind: Kind::Reference,
        mutability: Mutability::Immutable,
        case_exact: true,
        refers_to: &["User"],
        ..text("$ref", "Where the user is.")
    },
    Attribute { mutability: Mutability::Immutable, canonical: &["User"], ..text("type", "`User`: groups have no groups in them.") },
];

static USER_ATTRIBUTES: [Attribute; 6] = [
    Attribute { required: true, unique: true, ..text("userName", "How they sign in at the directory; here they are called after it.") },
    Attribute { kind: Kind::Complex, parts: &NAME, ..text("name", "Their name.") },
    text("displayName", "How they are called."),
    Attribute {
        kind: Kind::Boolean,
        required: true,
        ..text("active", "Whether they may sign in. Who may not has nothing open; true if nothing is said.")
    },
    Attribute { kind: Kind::Complex, multiple: true, parts: &EMAILS, ..text("emails", "Where they can be written to.") },
    Attribute {
        kind: Kind::Complex,
        multiple: true,
        mutability: Mutability::ReadOnly,
        parts: &GROUPS,
        ..text("groups", "The groups they are in; changed at the groups.")
    },
];

static GROUP_ATTRIBUTES: [Attribute; 2] = [
    Attribute {
        required: true,
        unique: true,
        case_exact: true,
        ..text("displayName", "Its name. What it means here the gate's configuration says.")
    },
    Attribute { kind: Kind::Complex, multiple: true, parts: &MEMBERS, ..text("members", "Who is in it: users of this directory.") },
];

/// People.
pub static USER: Schema = Schema {
    urn: USER_URN,
    name: "User",
    endpoint: "/Users",
    description: "A person",
    attributes: &USER_ATTRIBUTES,
    not_kept: &[
        "nickName",
        "profileUrl",
        "title",
        "userType",
        "preferredLanguage",
        "locale",
        "timezone",
        "password",
        "phoneNumbers",
        "ims",
        "photos",
        "addresses",
        "entitlements",
        "roles",
        "x509Certificates",
    ],
};

/// Groups.
pub static GROUP: Schema = Schema {
    urn: GROUP_URN,
    name: "Group",
    endpoint: "/Groups",
    description: "Several people",
    attributes: &GROUP_ATTRIBUTES,
    not_kept: &[],
};

/// What a text says of truth: some directories send `"False"` where `false` is meant.
#[must_use]
pub fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

impl Attribute {
    /// One of its parts, however that is spelled.
    #[must_use]
    pub fn sub(&self, name: &str) -> Option<&'static Attribute> {
        self.parts.iter().find(|part| part.name.eq_ignore_ascii_case(name))
    }

    /// What of it is compared when only its name is said: the `value` of something with several parts.
    #[must_use]
    pub fn compared(&self) -> &Attribute {
        match self.kind {
            Kind::Complex => self.parts.iter().find(|part| part.name == "value").unwrap_or(self),
            _ => self,
        }
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "name": self.name,
            "type": match self.kind {
                Kind::String => "string",
                Kind::Boolean => "boolean",
                Kind::DateTime => "dateTime",
                Kind::Reference => "reference",
                Kind::Complex => "complex",
                Kind::Integer => "integer",
            },
            "multiValued": self.multiple,
            "description": self.description,
            "required": self.required,
            "mutability": match self.mutability {
                Mutability::ReadWrite => "readWrite",
                Mutability::ReadOnly => "readOnly",
                Mutability::Immutable => "immutable",
            },
            "returned": "default",
        });
        let Some(object) = body.as_object_mut() else { return body };
        if self.kind == Kind::Complex {
            object.insert("subAttributes".to_owned(), self.parts.iter().map(Self::body).collect());
        } else {
            object.insert("caseExact".to_owned(), self.case_exact.into());
            object.insert("uniqueness".to_owned(), if self.unique { "server" } else { "none" }.into());
        }
        if !self.canonical.is_empty() {
            object.insert("canonicalValues".to_owned(), self.canonical.into());
        }
        if !self.refers_to.is_empty() {
            object.insert("referenceTypes".to_owned(), self.refers_to.into());
        }
        body
    }
}

impl Schema {
    /// What a name names: in this schema, or in the one whose URN stands before it.
    #[must_use]
    pub fn find(&self, schema: Option<&str>, name: &str) -> Found<'static> {
        match schema {
            Some(urn) if urn.eq_ignore_ascii_case(self.urn) => {}
            // Of an extension, the enterprise's or the directory's own: nothing of it is kept.
            Some(urn) if is_extension(urn) => return Found::NotKept,
            // `urn:…:extension:enterprise:2.0:User` by itself, cut where an attribute would begin.
            Some(urn) if is_extension(&format!("{urn}:{name}")) => return Found::NotKept,
            Some(_) => return Found::Unknown,
            None => {}
        }
        let mut all = COMMON.iter().chain(self.attributes);
        match all.find(|attribute| attribute.name.eq_ignore_ascii_case(name)) {
            Some(attribute) => Found::Attribute(attribute),
            None if self.not_kept.iter().any(|other| other.eq_ignore_ascii_case(name)) => Found::NotKept,
            None => Found::Unknown,
        }
    }

    /// As `/Schemas` shows it.
    #[must_use]
    pub fn body(&self, base: &str) -> Value {
        json!({
            "schemas": [SCHEMA_URN],
            "id": self.urn,
            "name": self.name,
            "description": self.description,
            "attributes": self.attributes.iter().map(Attribute::body).collect::<Value>(),
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", self.urn) },
        })
    }

    /// As `/ResourceTypes` shows it.
    #[must_use]
    pub fn type_body(&self, base: &str) -> Value {
        json!({
            "schemas": [TYPE_URN],
            "id": self.name,
            "name": self.name,
            "endpoint": self.endpoint,
            "description": self.description,
            "schema": self.urn,
            "schemaExtensions": [],
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", self.name) },
        })
    }
}

/// Whether a URN is of a schema that adds to a user: the enterprise's, or one that a directory made up.
fn is_extension(urn: &str) -> bool {
    urn.eq_ignore_ascii_case(ENTERPRISE_URN) || urn.to_ascii_lowercase().contains(":extension:")
}

/// What the gate says of itself, as schemas: RFC 7644 §4 has them beside the others.
static ABOUT: [Schema; 3] = [
    Schema {
        urn: CONFIG_URN,
        name: "ServiceProviderConfig",
        endpoint: "/ServiceProviderConfig",
        description: "What the gate can do",
        attributes: &CONFIG_ATTRIBUTES,
        not_kept: &[],
    },
    Schema {
        urn: TYPE_URN,
        name: "ResourceType",
        endpoint: "/ResourceTypes",
        description: "A kind of resource",
        attributes: &TYPE_ATTRIBUTES,
        not_kept: &[],
    },
    Schema {
        urn: SCHEMA_URN,
        name: "Schema",
        endpoint: "/Schemas",
        description: "The attributes of a kind of resource",
        attributes: &SCHEMA_ATTRIBUTES,
        not_kept: &[],
    },
];

const fn given(kind: Kind, name: &'static str, description: &'static str) -> Attribute {
    Attribute { kind, mutability: Mutability::ReadOnly, required: true, ..text(name, description) }
}

const fn parts(name: &'static str, description: &'static str, parts: &'static [Attribute]) -> Attribute {
    Attribute { parts, ..given(Kind::Complex, name, description) }
}

static SUPPORTED: [Attribute; 1] = [given(Kind::Boolean, "supported", "Whether it can.")];

static BULK: [Attribute; 3] = [
    given(Kind::Boolean, "supported", "Whether it can."),
    given(Kind::Integer, "maxOperations", "How many operations one request may have."),
    given(Kind::Integer, "maxPayloadSize", "How large it may be, in bytes."),
];

static FILTERS: [Attribute; 2] =
    [given(Kind::Boolean, "supported", "Whether it can."), given(Kind::Integer, "maxResults", "How many results one answer has at most.")];

static SIGN_IN: [Attribute; 5] = [
    given(Kind::String, "type", "Which kind."),
    given(Kind::String, "name", "What it is called."),
    given(Kind::String, "description", "What it is."),
    Attribute { required: false, ..given(Kind::Reference, "specUri", "Where it is written down.") },
    Attribute { required: false, ..given(Kind::Boolean, "primary", "Whether it is the one to take.") },
];

static CONFIG_ATTRIBUTES: [Attribute; 8] = [
    Attribute { required: false, refers_to: &["external"], ..given(Kind::Reference, "documentationUri", "Where it is described.") },
    parts("patch", "Changes by PATCH.", &SUPPORTED),
    parts("bulk", "Many changes in one request.", &BULK),
    parts("filter", "Filters.", &FILTERS),
    parts("changePassword", "Changes of passwords.", &SUPPORTED),
    parts("sort", "Lists in an order.", &SUPPORTED),
    parts("etag", "Versions.", &SUPPORTED),
    Attribute { multiple: true, ..parts("authenticationSchemes", "By what a directory signs in.", &SIGN_IN) },
];

static EXTENSIONS: [Attribute; 2] = [
    Attribute { refers_to: &["uri"], ..given(Kind::Reference, "schema", "The schema that adds.") },
    given(Kind::Boolean, "required", "Whether it has to."),
];

static TYPE_ATTRIBUTES: [Attribute; 6] = [
    Attribute { required: false, ..given(Kind::String, "id", "The same as its name.") },
    given(Kind::String, "name", "What it is called."),
    Attribute { required: false, ..given(Kind::String, "description", "What it is.") },
    Attribute { refers_to: &["uri"], ..given(Kind::Reference, "endpoint", "Where it is.") },
    Attribute { refers_to: &["uri"], ..given(Kind::Reference, "schema", "Its schema.") },
    Attribute { required: false, multiple: true, ..parts("schemaExtensions", "What adds to it.", &EXTENSIONS) },
];

macro_rules! attribute_parts {
    ($($more:expr)?) => {
        [
            given(Kind::String, "name", "What it is called."),
            given(Kind::String, "type", "What its values are."),
            given(Kind::Boolean, "multiValued", "Whether it has a list of them."),
            Attribute { required: false, ..given(Kind::String, "description", "What it is.") },
            given(Kind::Boolean, "required", "Whether there has to be one."),
            Attribute { required: false, multiple: true, ..given(Kind::String, "canonicalValues", "The values that mean something.") },
            Attribute { required: false, ..given(Kind::Boolean, "caseExact", "Whether upper and lower case differ.") },
            Attribute { required: false, ..given(Kind::String, "mutability", "Who may set it.") },
            Attribute { required: false, ..given(Kind::String, "returned", "When it is shown.") },
            Attribute { required: false, ..given(Kind::String, "uniqueness", "Whether only one resource can have a value.") },
            Attribute { required: false, multiple: true, ..given(Kind::String, "referenceTypes", "What a reference refers to.") },
            $($more,)?
        ]
    };
}

static PARTS_OF_PARTS: [Attribute; 11] = attribute_parts!();
static PARTS: [Attribute; 12] =
    attribute_parts!(Attribute { required: false, multiple: true, ..parts("subAttributes", "Its parts.", &PARTS_OF_PARTS) });

static SCHEMA_ATTRIBUTES: [Attribute; 4] = [
    given(Kind::String, "id", "Its URN."),
    Attribute { required: false, ..given(Kind::String, "name", "What it is called.") },
    Attribute { required: false, ..given(Kind::String, "description", "What it is.") },
    Attribute { multiple: true, ..parts("attributes", "Its attributes.", &PARTS) },
];

/// Every schema that is shown: of what can be changed, and of what the gate says of itself.
pub fn schemas() -> impl Iterator<Item = &'static Schema> {
    [&USER, &GROUP].into_iter().chain(&ABOUT)
}

/// As `/ServiceProviderConfig` shows what the gate can do.
#[must_use]
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": [CONFIG_URN],
        "documentationUri": "https://datatracker.ietf.org/doc/html/rfc7644",
        "patch": { "supported": true },
        "bulk": { "supported": true, "maxOperations": MAX_OPERATIONS, "maxPayloadSize": MAX_PAYLOAD },
        "filter": { "supported": true, "maxResults": MAX_RESULTS },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token that the gate made for this directory: `tidegate directory token NAME`.",
            "specUri": "https://datatracker.ietf.org/doc/html/rfc6750",
            "primary": true,
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}

/// Whether a body says that it is of this schema.
#[must_use]
pub fn says(body: &Map<String, Value>, urn: &str) -> bool {
    let schemas = body.iter().find(|(key, _)| key.eq_ignore_ascii_case("schemas")).and_then(|(_, value)| value.as_array());
    schemas.is_some_and(|all| all.iter().any(|one| one.as_str().is_some_and(|one| one.eq_ignore_ascii_case(urn))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rfc_has_and_the_gate_does_not_keep_is_no_mistake() {
        assert!(matches!(USER.find(None, "USERNAME"), Found::Attribute(a) if a.name == "userName"));
        assert!(matches!(USER.find(Some(USER_URN), "emails"), Found::Attribute(_)));
        assert_eq!(USER.find(None, "phoneNumbers"), Found::NotKept);
        assert_eq!(USER.find(Some(ENTERPRISE_URN), "department"), Found::NotKept);
        assert_eq!(USER.find(Some("urn:ietf:params:scim:schemas:extension:enterprise:2.0"), "User"), Found::NotKept);
        assert_eq!(USER.find(Some(GROUP_URN), "members"), Found::Unknown);
        assert_eq!(USER.find(None, "shoeSize"), Found::Unknown);
        assert_eq!(GROUP.find(None, "userName"), Found::Unknown);
    }

    #[test]
    fn a_schema_shows_its_attributes_with_all_that_the_rfc_asks_for() {
        let body = USER.body("https://gate/scim/v2");
        let attributes = body["attributes"].as_array().unwrap();
        assert_eq!(attributes.len(), USER.attributes.len());
        for attribute in attributes {
            for member in ["name", "type", "multiValued", "description", "required", "mutability", "returned"] {
                assert!(attribute.get(member).is_some(), "{member} of {attribute}");
            }
        }
        assert_eq!(body["attributes"][0]["uniqueness"], "server");
        assert_eq!(body["meta"]["location"], "https://gate/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User");
    }
}
