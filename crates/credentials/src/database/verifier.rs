//! What a server keeps of a password, computed here, so that the password itself stands in no statement and no server log.

use std::num::NonZeroU32;

use access::secret::Secret;
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::AccountError;

/// PostgreSQL's own default.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);

/// `SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey` (RFC 5803, as PostgreSQL stores it). The password is plain ASCII, so that
/// SASLprep leaves it as it is.
pub(super) fn scram_sha_256(password: &Secret<String>) -> Result<String, AccountError> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| AccountError::NoRandomness)?;
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.expose().as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    Ok(format!("SCRAM-SHA-256${ROUNDS}:{}${}:{}", STANDARD.encode(salt), STANDARD.encode(stored_key), STANDARD.encode(server_key)))
}

/// `*` and SHA-1 of SHA-1, hex: what `mysql_native_password` stores. The password is random and long, so that the hash gives nothing away.
pub(super) fn native_password(password: &Secret<String>) -> String {
    let once = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.expose().as_bytes());
    let twice = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    format!("*{}", hex::encode_upper(twice))
}
