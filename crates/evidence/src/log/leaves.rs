//! Entry bundles (<https://c2sp.org/tlog-tiles>, "Log entries"): up to 256 leaves, each after its length as a
//! big-endian 16-bit number.

use serde::Deserialize;

use crate::printable;

/// The longest leaf that fits in a bundle.
pub use access::entry::LONGEST_LEAF;

/// A leaf that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit entry {index} is {length} bytes; a leaf holds at most {LONGEST_LEAF}: keep long texts in its side record")]
pub struct LeafTooLong {
    /// Where the entry would have stood.
    pub index: u64,
    /// How long it is.
    pub length: usize,
}

/// Appends one leaf to a bundle.
///
/// # Errors
/// When the leaf is longer than a bundle can say.
pub fn push(bundle: &mut Vec<u8>, index: u64, leaf: &[u8]) -> Result<(), LeafTooLong> {
    let length = u16::try_from(leaf.len()).map_err(|_| LeafTooLong { index, length: leaf.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Ok(())
}

/// The leaves of a bundle, and how many bytes at its end are no whole leaf. Nothing is copied.
#[must_use]
pub fn split(bundle: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut leaves = Vec::new();
    let mut rest = bundle;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((leaf, after)) = after.split_at_checked(length) else { break };
        leaves.push(leaf);
        rest = after;
    }
    (leaves, rest.len())
}

/// The entry's id as its JSON says it; `None` when the leaf is no JSON object with an `id`.
#[must_use]
pub fn entry_id(leaf: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    match serde_json::from_slice::<Named>(leaf) {
        Ok(named) => Some(printable::name(&named.id)),
        Err(_) => id_in(leaf),
    }
}

/// The id in a leaf that is no longer JSON: what stands after `"id":"`.
fn id_in(leaf: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"\"id\":\"";
    let start = leaf.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    let id: Vec<u8> = leaf[start..].iter().copied().take(30).take_while(|b| *b != b'"').collect();
    let id = std::str::from_utf8(&id).ok()?;
    (!id.is_empty()).then(|| printable::name(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn leaves_survive_being_bundled(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40)) {
            let mut bundle = Vec::new();
            for (i, leaf) in leaves.iter().enumerate() {
                push(&mut bundle, i as u64, leaf).unwrap();
            }
            let (read, rest) = split(&bundle);
            prop_assert_eq!(read, leaves.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(rest, 0);
        }

        #[test]
        fn no_bundle_makes_the_reader_stumble(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let (leaves, rest) = split(&bytes);
            prop_assert_eq!(leaves.iter().map(|l| l.len() + 2).sum::<usize>() + rest, bytes.len());
        }
    }

    #[test]
    fn the_longest_leaf_fits_and_a_longer_one_is_refused_by_number() {
        let mut bundle = Vec::new();
        push(&mut bundle, 7, &vec![b'x'; LONGEST_LEAF]).unwrap();
        let error = push(&mut bundle, 8, &vec![b'x'; LONGEST_LEAF + 1]).unwrap_err();
        insta::assert_snapshot!(error, @"audit entry 8 is 65536 bytes; a leaf holds at most 65535: keep long texts in its side record");
        assert_eq!(split(&bundle).0.len(), 1);
    }

    #[test]
    fn the_id_is_found_even_in_a_damaged_leaf() {
        assert_eq!(entry_id(br#"{"id":"ent_1","kind":"x"}"#).as_deref(), Some("ent_1"));
        assert_eq!(entry_id(br#"{"id":"ent_1","kind":x"}"#).as_deref(), Some("ent_1"));
        assert_eq!(entry_id(b"no json"), None);
    }
}
