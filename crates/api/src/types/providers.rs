//! Sign-in at identity providers.

use access::ids::PrincipalId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema;

/// An identity provider where people sign in: `/api/v1/sign-in/oidc/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderFacts {
    /// Its name in URLs.
    pub name: String,
    /// What people call it.
    pub title: String,
}

/// Where somebody was going when they had to sign in.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ToProvider {
    /// A path of the portal; anything else is its first page.
    pub then: Option<String>,
}

/// What a provider sends with a browser (RFC 6749 §4.1.2, RFC 9207).
#[derive(Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackFromProvider {
    /// Which sign-in it is.
    pub state: Option<String>,
    /// The code.
    pub code: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
    /// Who answers.
    pub iss: Option<String>,
}

/// What a provider sends to sign somebody out.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LogoutForm {
    /// A JWT.
    pub logout_token: String,
}

/// Who somebody is at an identity provider, for an administrator to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// The provider's name.
    #[schema(max_length = 63)]
    pub provider: String,
    /// Their subject there: the claim `sub`, never an e-mail address.
    #[schema(min_length = 1, max_length = 255)]
    pub subject: String,
}

/// Who somebody is at an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// By what it is known here: a digest over issuer and subject.
    pub id: String,
    /// Who they are here.
    #[schema(value_type = schema::PrincipalId)]
    pub person: PrincipalId,
    /// The provider's issuer.
    pub issuer: String,
    /// Their subject there; null once erased.
    pub subject: Option<String>,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub linked_at: Timestamp,
    /// When they last signed in there.
    #[schema(value_type = Option<schema::Time>)]
    pub proved_at: Option<Timestamp>,
}

/// How an account is taken from somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UnlinkQuery {
    /// Whether it goes even if nothing else signs them in; one's own never does.
    #[serde(default)]
    pub last: bool,
}
