//! Public keys as passkeys give them: COSE_Key (RFC 9052 §7, RFC 9053 §7), with the three algorithms that passkeys use.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};

use crate::Flaw;
use crate::cbor::{self, Value};

/// The algorithms asked for, best first: Ed25519 (EdDSA), P-256 (ES256), RSA (RS256), by their numbers in IANA's registry of COSE.
pub const ALGORITHMS: [i64; 3] = [-8, -7, -257];

const WHAT: &str = "the public key";

/// A public key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// ECDSA on P-256 with SHA-256: the point, uncompressed (RFC 9053 §2.1).
    Es256(Box<[u8; 65]>),
    /// Ed25519 (RFC 9053 §2.2).
    Ed25519([u8; 32]),
    /// RSA PKCS #1 v1.5 with SHA-256: modulus and exponent (RFC 8812 §2).
    Rs256 {
        /// The modulus, big-endian.
        n: Vec<u8>,
        /// The exponent, big-endian.
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads a COSE_Key that is all there is.
    ///
    /// # Errors
    /// [`Flaw::Unreadable`]; [`Flaw::Algorithm`] for a kind of key that was not asked for.
    pub fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        Self::from_value(&cbor::read_all(bytes, WHAT)?)
    }

    pub(crate) fn from_value(key: &Value<'_>) -> Result<Self, Flaw> {
        let unreadable = || Flaw::Unreadable(WHAT);
        let number = |label| key.at(label).and_then(Value::int);
        let coordinate = |label| key.at(label).and_then(Value::bytes).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        // Key type, algorithm, curve.
        match (number(1), number(3), number(-1)) {
            (Some(2), Some(-7), Some(1)) => {
                let (x, y) = (coordinate(-2).ok_or_else(unreadable)?, coordinate(-3).ok_or_else(unreadable)?);
                let mut point = Box::new([4; 65]);
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                Ok(Self::Es256(point))
            }
            (Some(1), Some(-8), Some(6)) => coordinate(-2).map(Self::Ed25519).ok_or_else(unreadable),
            (Some(3), Some(-257), _) => {
                let part = |label| key.at(label).and_then(Value::bytes).filter(|part| part.first().is_some_and(|first| *first != 0));
                let (n, e) = (part(-1).ok_or_else(unreadable)?, part(-2).ok_or_else(unreadable)?);
                Ok(Self::Rs256 { n: n.to_vec(), e: e.to_vec() })
            }
            (Some(_), Some(_), _) => Err(Flaw::Algorithm),
            _ => Err(unreadable()),
        }
    }

    /// Whether it signed this.
    ///
    /// # Errors
    /// [`Flaw::Signature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Flaw> {
        let verified = match self {
            Self::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.as_slice()).verify(message, signature),
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rs256 { n, e } => {
                RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.map_err(|_| Flaw::Signature)
    }
}
