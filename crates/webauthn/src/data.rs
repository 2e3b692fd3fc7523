//! What an authenticator signs besides the challenge: authenticator data (WebAuthn §6.1), byte by byte.

use crate::Flaw;
use crate::cbor;
use crate::cose::PublicKey;

const WHAT: &str = "the authenticator data";
/// WebAuthn §7.1, step 25: no credential id is longer.
const LONGEST_ID: usize = 1023;

/// Authenticator data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthenticatorData<'b> {
    /// SHA-256 of the relying party's id.
    pub(crate) party: [u8; 32],
    flags: u8,
    /// How often the key was used; 0 if nobody counts.
    pub(crate) counter: u32,
    /// The new key, when there is one.
    pub(crate) attested: Option<Attested<'b>>,
}

/// A key that was just made (§6.5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attested<'b> {
    /// Which make of authenticator, if it says.
    pub(crate) aaguid: [u8; 16],
    pub(crate) credential: &'b [u8],
    pub(crate) public_key: PublicKey,
    /// The same as it was written.
    pub(crate) public_key_bytes: &'b [u8],
}

impl<'b> AuthenticatorData<'b> {
    /// # Errors
    /// If it ends too early, or something follows.
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Self, Flaw> {
        let unreadable = || Flaw::Unreadable(WHAT);
        let party: [u8; 32] = bytes.get(..32).and_then(|b| b.try_into().ok()).ok_or_else(unreadable)?;
        let flags = *bytes.get(32).ok_or_else(unreadable)?;
        let counter = bytes.get(33..37).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes).ok_or_else(unreadable)?;
        let mut rest = &bytes[37..];
        let mut attested = None;
        if flags & 0x40 != 0 {
            let aaguid: [u8; 16] = rest.get(..16).and_then(|b| b.try_into().ok()).ok_or_else(unreadable)?;
            let length = rest.get(16..18).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes).ok_or_else(unreadable)?;
            let length = usize::from(length);
            if length == 0 || length > LONGEST_ID {
                return Err(unreadable());
            }
            let credential = rest.get(18..18 + length).ok_or_else(unreadable)?;
            let from_key = rest.get(18 + length..).ok_or_else(unreadable)?;
            let (key, after) = cbor::read(from_key, WHAT)?;
            let public_key_bytes = &from_key[..from_key.len() - after.len()];
            attested = Some(Attested { aaguid, credential, public_key: PublicKey::from_value(&key)?, public_key_bytes });
            rest = after;
        }
        if flags & 0x80 != 0 {
            // Extensions: none was asked for, and what comes unasked may be ignored (§7.1 step 19).
            rest = cbor::read(rest, WHAT)?.1;
        }
        if !rest.is_empty() {
            return Err(unreadable());
        }
        Ok(Self { party, flags, counter, attested })
    }

    /// Somebody touched it (UP).
    pub(crate) fn present(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// It checked who it was (UV).
    pub(crate) fn verified(&self) -> bool {
        self.flags & 0x04 != 0
    }

    /// It may be copied to other devices of its owner (BE).
    pub(crate) fn backup_eligible(&self) -> bool {
        self.flags & 0x08 != 0
    }

    /// It is, now (BS).
    pub(crate) fn backed_up(&self) -> bool {
        self.flags & 0x10 != 0
    }
}
