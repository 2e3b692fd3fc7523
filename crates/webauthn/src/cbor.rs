//! The little of CBOR (RFC 8949) that authenticators write: CTAP2's canonical form, in which every length is definite and nothing is
//! nested deeper than four levels (CTAP 2.1 §8). Hostile bytes: lengths are believed only as far as there are bytes.

use crate::Flaw;

/// How deep maps and arrays may stand in each other.
const DEEPEST: u8 = 4;
/// More members than any authenticator writes in one map or array.
const MOST: u64 = 64;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'b> {
    Int(i64),
    Bytes(&'b [u8]),
    Text(&'b str),
    Array(Vec<Value<'b>>),
    Map(Vec<(Value<'b>, Value<'b>)>),
    /// `true`, `false`, `null` and `undefined`: nothing here depends on them.
    Simple(u8),
}

impl<'b> Value<'b> {
    /// What a map has under a number.
    pub(crate) fn at(&self, key: i64) -> Option<&Self> {
        self.find(&Value::Int(key))
    }

    /// What a map has under a word.
    pub(crate) fn named(&self, key: &str) -> Option<&Self> {
        self.find(&Value::Text(key))
    }

    fn find(&self, key: &Value<'_>) -> Option<&Self> {
        match self {
            Value::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(crate) fn int(&self) -> Option<i64> {
        if let Value::Int(n) = self { Some(*n) } else { None }
    }

    pub(crate) fn bytes(&self) -> Option<&'b [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// Reads one value from the front, and gives what is left.
///
/// # Errors
/// [`Flaw::Unreadable`], naming `what`.
pub(crate) fn read<'b>(bytes: &'b [u8], what: &'static str) -> Result<(Value<'b>, &'b [u8]), Flaw> {
    value(bytes, DEEPEST).ok_or(Flaw::Unreadable(what))
}

/// Reads one value that is all there is.
///
/// # Errors
/// As [`read`], and if something follows.
pub(crate) fn read_all<'b>(bytes: &'b [u8], what: &'static str) -> Result<Value<'b>, Flaw> {
    match read(bytes, what)? {
        (value, []) => Ok(value),
        _ => Err(Flaw::Unreadable(what)),
    }
}

fn value(bytes: &[u8], deeper: u8) -> Option<(Value<'_>, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (major, extra) = (first >> 5, first & 31);
    if major == 7 {
        return matches!(extra, 20..=23).then_some((Value::Simple(extra), rest));
    }
    let (n, rest) = number(extra, rest)?;
    let taken = || {
        let n = usize::try_from(n).ok()?;
        Some((rest.get(..n)?, rest.get(n..)?))
    };
    match major {
        0 => Some((Value::Int(i64::try_from(n).ok()?), rest)),
        1 => Some((Value::Int(-1 - i64::try_from(n).ok()?), rest)),
        2 => taken().map(|(bytes, rest)| (Value::Bytes(bytes), rest)),
        3 => taken().and_then(|(text, rest)| Some((Value::Text(std::str::from_utf8(text).ok()?), rest))),
        4 => {
            let (mut items, mut rest) = (Vec::new(), rest);
            if n > MOST {
                return None;
            }
            for _ in 0..n {
                let (item, after) = value(rest, deeper.checked_sub(1)?)?;
                items.push(item);
                rest = after;
            }
            Some((Value::Array(items), rest))
        }
        5 => {
            let (mut pairs, mut rest): (Vec<(Value<'_>, Value<'_>)>, _) = (Vec::new(), rest);
            if n > MOST {
                return None;
            }
            for _ in 0..n {
                let (key, after) = value(rest, deeper.checked_sub(1)?)?;
                let (item, after) = value(after, deeper.checked_sub(1)?)?;
                // Twice the same key could be read in two ways.
                if pairs.iter().any(|(before, _)| *before == key) {
                    return None;
                }
                pairs.push((key, item));
                rest = after;
            }
            Some((Value::Map(pairs), rest))
        }
        _ => None,
    }
}

/// A number in its shortest form.
fn number(extra: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    let (size, least) = match extra {
        0..=23 => return Some((u64::from(extra), rest)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return None,
    };
    let n = rest.get(..size)?.iter().fold(0u64, |n, byte| (n << 8) | u64::from(*byte));
    (n >= least).then_some((n, rest.get(size..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_authenticators_write_is_read_and_nothing_else() {
        let (value, rest) = read(&[0xa2, 0x01, 0x02, 0x20, 0x42, 0xff, 0x00, 0x05], "it").unwrap();
        assert_eq!((value.at(1), value.at(-1).and_then(Value::bytes), rest), (Some(&Value::Int(2)), Some(&[0xff, 0x00][..]), &[5][..]));
        let (value, _) = read(&[0xa1, 0x63, b'f', b'm', b't', 0xf5], "it").unwrap();
        assert_eq!(value.named("fmt"), Some(&Value::Simple(21)));
        for wrong in [
            &[][..],
            &[0x18, 0x17],                                           // longer than needed
            &[0x5f, 0x41, 0x00, 0xff],                               // indefinite length
            &[0xa2, 0x01, 0x01, 0x01, 0x02],                         // a key twice
            &[0x81, 0x81, 0x81, 0x81, 0x81, 0x01],                   // deeper than allowed
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // as long as the world
            &[0x9a, 0xff, 0xff, 0xff, 0xff],
            &[0x62, 0xc3, 0x28], // no UTF-8
            &[0xc0, 0x01],       // a tag
            &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(read(wrong, "it").is_err(), "{wrong:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((_, rest)) = read(&bytes, "it") {
                prop_assert!(rest.len() < bytes.len());
            }
        }
    }
}
