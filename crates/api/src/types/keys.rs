//! What signs people in over SSH: registered keys, and certificates of the login CA.

use access::identity::{KeyKind, KeyState};
use access::ids::{KeyId, PrincipalId};
use access::time::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// A key that signs somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id.
    #[schema(value_type = schema::KeyId)]
    pub id: KeyId,
    /// Whose it is.
    #[schema(value_type = schema::PrincipalId)]
    pub person: PrincipalId,
    /// Registered, or a certificate.
    #[schema(value_type = schema::KeyKind)]
    pub kind: KeyKind,
    /// `SHA256:…` as OpenSSH prints it.
    pub fingerprint: String,
    /// The public key in OpenSSH's format, without comment.
    pub public_key: String,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Whether it still signs in.
    #[schema(value_type = schema::KeyState)]
    pub state: KeyState,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub added_at: Timestamp,
    /// When a certificate stops being valid.
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Timestamp>,
    /// Counts changes.
    pub version: i64,
}

/// A public key to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// One line of an OpenSSH `.pub` file.
    pub public_key: String,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub label: Option<String>,
}

/// A public key to sign for a short time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// One line of an OpenSSH `.pub` file.
    pub public_key: String,
    /// For how long; absent: eight hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Span>)]
    pub duration: Option<Span>,
    /// A second public key, on the curve P-256 in PEM, to sign as a client certificate for the doors of databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub client_key: Option<String>,
}

/// A login certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedCertificate {
    /// What is kept of it.
    pub key: Key,
    /// The certificate, one line of an OpenSSH `-cert.pub` file.
    pub certificate: String,
    /// The client certificate, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IssuedClientCertificate>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedClientCertificate {
    /// What is kept of it.
    pub key: Key,
    /// The certificate, PEM.
    pub certificate: String,
}
