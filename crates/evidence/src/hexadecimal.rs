//! Digests as lower-case hexadecimal, the only spelling accepted: a digest has one text, so no byte of it can change
//! unseen.

use serde::{Deserialize, Deserializer, Serializer, de};

/// Exactly `N` bytes from lower-case hexadecimal.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

/// For `#[serde(with = …)]` on a `[u8; N]`.
pub(crate) fn serialize<const N: usize, S: Serializer>(bytes: &[u8; N], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&hex::encode(bytes))
}

/// For `#[serde(with = …)]` on a `[u8; N]`.
pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(d: D) -> Result<[u8; N], D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
    decode(&text).ok_or_else(|| de::Error::custom(format!("not {N} bytes in lower-case hexadecimal")))
}

/// For `#[serde(with = …)]` on an `Option<Vec<[u8; N]>>` that is left out when it is `None`.
pub(crate) mod maybe_list {
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<const N: usize, S: Serializer>(list: &Option<Vec<[u8; N]>>, s: S) -> Result<S::Ok, S::Error> {
        super::list::serialize(list.as_deref().unwrap_or_default(), s)
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<[u8; N]>>, D::Error> {
        super::list::deserialize(d).map(Some)
    }
}

/// For `#[serde(with = …)]` on a `Vec<[u8; N]>`.
pub(crate) mod list {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<const N: usize, S: Serializer>(list: &[[u8; N]], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(list.iter().map(hex::encode))
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(d: D) -> Result<Vec<[u8; N]>, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        texts.iter().map(|text| super::decode(text).ok_or_else(|| de::Error::custom("a digest is not lower-case hexadecimal"))).collect()
    }
}
