//! Who is here: keys, certificates, tokens and invitations, and the proof that somebody holds one.
//!
//! Every `verify_…` takes what was presented, the rows it claims to match, where it came from and the time, and answers
//! with a [`VerifiedIdentity`](access::identity::VerifiedIdentity) or a refusal. Nothing else in Tidegate makes one.
//! Rows are looked up, and single use is enforced, by the caller: this crate reads no clock, and but for [`oidc::client`], which
//! asks identity providers, does no input or output.

pub mod account;
pub mod challenge;
pub mod chat;
pub mod client_ca;
pub mod device;
pub mod invitation;
pub mod local;
pub mod login_ca;
pub mod mail;
pub mod oidc;
pub mod opaque;
pub mod passkeys;
pub mod scim;
pub mod ssh_key;
pub mod throttle;
pub mod token;
pub mod web_session;

mod waiting;
