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

/// The letters of `crypt`, in order.
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// MySQL's own default, in thousands, as it writes it.
const THOUSANDS: &str = "005";

/// `$A$005$`, twenty letters of salt, and the hash: what `caching_sha2_password` stores (MySQL's "Caching SHA-2 Pluggable Authentication").
pub(super) fn caching_sha2(password: &Secret<String>) -> Result<String, AccountError> {
    let mut salt = [0; 20];
    rand::fill(&mut salt).map_err(|_| AccountError::NoRandomness)?;
    for letter in &mut salt {
        *letter = LETTERS[usize::from(*letter & 63)];
    }
    let hash = sha_crypt(password.expose().as_bytes(), &salt);
    Ok(format!("$A${THOUSANDS}${}{hash}", String::from_utf8_lossy(&salt)))
}

/// The hash of SHA-crypt with SHA-256 and 5,000 rounds (Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", steps 1 to 22), but for the
/// salt, which is taken as long as it is.
fn sha_crypt(password: &[u8], salt: &[u8]) -> String {
    const ROUNDS: usize = 5_000;
    let hash = |parts: &[&[u8]]| {
        let mut context = digest::Context::new(&digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        let mut hash = [0_u8; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    };
    let filled = |with: &[u8; 32], length: usize| with.iter().copied().cycle().take(length).collect::<Vec<u8>>();
    let inner = hash(&[password, salt, password]);
    let spread = filled(&inner, password.len());
    let mut parts: Vec<&[u8]> = vec![password, salt, spread.as_slice()];
    let mut left = password.len();
    while left > 0 {
        parts.push(if left % 2 == 1 { &inner[..] } else { password });
        left /= 2;
    }
    let mut last = hash(&parts);
    let of_password = filled(&hash(&vec![password; password.len()]), password.len());
    let of_salt = filled(&hash(&vec![salt; 16 + usize::from(last[0])]), salt.len());
    for round in 0..ROUNDS {
        let (odd, before) = (round % 2 == 1, last);
        let (first, end) = if odd { (&of_password[..], &before[..]) } else { (&before[..], &of_password[..]) };
        let mut parts: Vec<&[u8]> = vec![first];
        if round % 3 != 0 {
            parts.push(&of_salt);
        }
        if round % 7 != 0 {
            parts.push(&of_password);
        }
        parts.push(end);
        last = hash(&parts);
    }
    in_letters(&last)
}

/// 32 bytes in the order that `crypt` writes them, six bits to a letter.
fn in_letters(bytes: &[u8; 32]) -> String {
    let mut out = String::with_capacity(43);
    let mut write = |three: [u8; 3], letters: u32| {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        out.extend((0..letters).map(|at| char::from(LETTERS[(bits >> (6 * at) & 63) as usize])));
    };
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        write([bytes[a], bytes[b], bytes[c]], 4);
        (a, b, c) = (c + 1, a + 1, b + 1);
    }
    write([0, bytes[31], bytes[30]], 3);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hashed_as_crypt_and_mysql_do() {
        assert_eq!(sha_crypt(b"Hello world!", b"saltstring"), "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
        let long = b"a password longer than thirty two bytes, it is";
        assert_eq!(sha_crypt(long, b"abcdefghijklmnop"), "qGiJ.jIz7GmROZpK/zciAC8iogFffUiuXUWyCrROP.9");
        let salt = hex::decode("f9cc98ce08892924f50a213b6bc571a2c11778c5").unwrap();
        assert_eq!(sha_crypt(b"hashcat", &salt), "bTy95Y99eAME1dwEkHOA1ndHGBWz.1bxSSRkuTXFGV/", "twenty bytes of salt");
        let password = Secret::new("abc".to_owned());
        let (one, other) = (caching_sha2(&password).unwrap(), caching_sha2(&password).unwrap());
        assert!(one.starts_with("$A$005$") && one.len() == 70 && !one.contains('\'') && one != other, "{one}");
    }
}
