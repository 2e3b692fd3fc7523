//! SCIM 2.0 (RFC 7643, RFC 7644), the half that needs no network and no store: what a directory's users and groups look like, its filters
//! and paths, its changes, and every way it can be wrong.
//!
//! All of it reads what a directory sends as hostile: texts, lists and nesting are bounded, and half a user is no user. Spellings that
//! Okta and Microsoft Entra ID are known to send are read; they stand beside the rule they stretch.

pub mod bulk;
pub mod directory;
pub mod error;
pub mod filter;
pub mod group;
pub mod list;
pub mod patch;
pub mod path;
pub mod schema;
pub mod user;

mod scanner;

pub use directory::{Directory, Subject};
pub use error::{ScimError, ScimType};
