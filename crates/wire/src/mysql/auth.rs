//! How a password is proven, and what both sides say about it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Sha512, VerifyingKey};

use crate::{Malformed, Reader};

/// `mysql_native_password`.
pub const NATIVE: &str = "mysql_native_password";
/// `caching_sha2_password`, MySQL's default since 8.0.
pub const CACHING_SHA2: &str = "caching_sha2_password";
/// `client_ed25519`, MariaDB's.
pub const ED25519: &str = "client_ed25519";
/// `mysql_clear_password`: the password as it is.
pub const CLEAR: &str = "mysql_clear_password";

/// What a server says after a sign-in, or within one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<'a> {
    /// Enough.
    Ok,
    /// No. The whole packet.
    Error(&'a [u8]),
    /// Another way of signing in, and its random data.
    Switch {
        /// Which.
        plugin: &'a str,
        /// Without the zero at its end.
        data: &'a [u8],
    },
    /// More of the same way (`AuthMoreData`).
    More(&'a [u8]),
}

impl<'a> Next<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// If it is malformed, or the way of signing in from before MySQL 4.1.
    pub fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        Ok(match reader.u8()? {
            0x00 => Self::Ok,
            0xff => Self::Error(message),
            0x01 => Self::More(reader.rest()),
            0xfe if reader.is_empty() => return Err(Malformed("the server wants the way of signing in from before MySQL 4.1")),
            0xfe => {
                let plugin = reader.c_str()?;
                let data = reader.rest();
                Self::Switch { plugin, data: data.strip_suffix(&[0]).unwrap_or(data) }
            }
            _ => return Err(Malformed("the server's answer to the sign-in is unknown")),
        })
    }
}

/// `AuthMoreData` of `caching_sha2_password`: the server knew the answer.
pub const FAST_OK: &[u8] = &[3];
/// The same: the server wants the password itself.
pub const FULL: &[u8] = &[4];
/// What a client asks with for the server's RSA key.
pub const ASK_RSA_KEY: &[u8] = &[2];

/// Writes an `AuthMoreData`.
#[must_use]
pub fn more(data: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(data);
    out
}

/// Writes an `AuthSwitchRequest`.
#[must_use]
pub fn switch(plugin: &str, nonce: &[u8]) -> Vec<u8> {
    let mut out = vec![0xfe];
    out.extend_from_slice(plugin.as_bytes());
    out.push(0);
    out.extend_from_slice(nonce);
    out.push(0);
    out
}

/// The answer of `mysql_native_password`: `SHA1(p) xor SHA1(nonce, SHA1(SHA1(p)))`; empty for an empty password.
#[must_use]
pub fn native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    scramble(password, nonce, &SHA1_FOR_LEGACY_USE_ONLY, true)
}

/// The first answer of `caching_sha2_password`: `SHA256(p) xor SHA256(SHA256(SHA256(p)), nonce)`; empty for an empty password.
#[must_use]
pub fn caching_sha2(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    scramble(password, nonce, &SHA256, false)
}

fn scramble(password: &[u8], nonce: &[u8], algorithm: &'static aws_lc_rs::digest::Algorithm, nonce_first: bool) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = digest(algorithm, password);
    let twice = digest(algorithm, once.as_ref());
    let (first, second) = if nonce_first { (nonce, twice.as_ref()) } else { (twice.as_ref(), nonce) };
    let key = digest(algorithm, &[first, second].concat());
    once.as_ref().iter().zip(key.as_ref()).map(|(a, b)| a ^ b).collect()
}

/// A password as `mysql_clear_password`, and `caching_sha2_password` under TLS, send it: with a zero behind it.
#[must_use]
pub fn clear(password: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let mut out = zeroize::Zeroizing::new(Vec::with_capacity(password.len() + 1));
    out.extend_from_slice(password);
    out.push(0);
    out
}

/// The password that a client sent in clear: without its zero.
#[must_use]
pub fn read_clear(message: &[u8]) -> &[u8] {
    message.strip_suffix(&[0]).unwrap_or(message)
}

/// The password as `caching_sha2_password` sends it where there is no TLS: hidden by the nonce, under the server's RSA key (PEM, as the server
/// sent it).
///
/// # Errors
/// If that is no RSA key.
pub fn under_rsa_key(password: &[u8], nonce: &[u8], pem: &[u8]) -> Result<Vec<u8>, Malformed> {
    const NO_KEY: Malformed = Malformed("the server sent something that is no RSA key");
    let text: String = std::str::from_utf8(pem).map_err(|_| NO_KEY)?.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text.trim()).map_err(|_| NO_KEY)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| NO_KEY)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| NO_KEY)?;
    let mut hidden = clear(password);
    for (byte, mask) in hidden.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
    let mut out = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, &hidden, &mut out, None)
        .map_err(|_| Malformed("the password is too long for the server's RSA key"))?
        .len();
    out.truncate(length);
    Ok(out)
}

/// The answer of `client_ed25519`: the nonce signed by the key that SHA-512 of the password expands to, without the usual seed of 32 bytes.
#[must_use]
pub fn ed25519(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let mut expanded = zeroize::Zeroizing::new([0; 64]);
    expanded.copy_from_slice(digest(&SHA512, password).as_ref());
    let key = ExpandedSecretKey::from_bytes(&expanded);
    let public = VerifyingKey::from(&key);
    raw_sign::<Sha512>(&key, nonce, &public).to_bytes().to_vec()
}
