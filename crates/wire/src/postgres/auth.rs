//! How the gate proves to a server that it knows a password, except SCRAM.

use md5::{Digest, Md5};

fn md5_hex(parts: &[&[u8]]) -> String {
    use std::fmt::Write as _;
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The answer to `AuthenticationMD5Password`: `md5` and the hash of the hash of password and user, and the salt.
#[must_use]
pub fn md5(user: &str, password: &str, salt: [u8; 4]) -> String {
    let inner = md5_hex(&[password.as_bytes(), user.as_bytes()]);
    format!("md5{}", md5_hex(&[inner.as_bytes(), &salt]))
}

/// What a server's certificate is bound by (RFC 5929 §4.1, `tls-server-end-point`): its hash, by the hash its own signature uses, MD5 and
/// SHA-1 replaced by SHA-256. `None` where the signature names no hash, as Ed25519 does.
#[must_use]
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let (certificate_body, _) = der(certificate, 0x30)?;
    let (_, after_tbs) = der(certificate_body, 0x30)?;
    let (algorithm, _) = der(after_tbs, 0x30)?;
    let (oid, _) = der(algorithm, 0x06)?;
    // PKCS #1 (RFC 8017 §A.2) and ECDSA (RFC 5758 §3.2).
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
    let hash = match (oid.strip_prefix(RSA), oid.strip_prefix(ECDSA_SHA2)) {
        (Some([4 | 5 | 11]), _) | (_, Some([2])) => &SHA256,
        (Some([12]), _) | (_, Some([3])) => &SHA384,
        (Some([13]), _) | (_, Some([4])) => &SHA512,
        _ if oid == ECDSA_SHA1 => &SHA256,
        _ => return None,
    };
    Some(digest(hash, certificate).as_ref().to_vec())
}

/// The content of the DER element at the start, if it has this tag, and what follows it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0usize, |n, d| (n << 8) | usize::from(*d)), rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    (found == tag).then_some((content, after))
}
