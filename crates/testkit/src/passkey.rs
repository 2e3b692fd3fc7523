//! Passkeys made of software, that sign whatever a test wishes, right or wrong.

pub use access::statement::challenge;
pub use webauthn::authenticator::{Authenticator, Wish};
pub use webauthn::{Assertion, RelyingParty, decode, encode};
