//! Lists by key: a page is what the caller may see among the rows behind a cursor.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use workflow::read::Page;

use crate::problem::Refused;
use crate::types;

/// How many items a page has if nothing is said.
const USUAL: u32 = 50;
/// How many it has at most.
const MOST: u32 = 500;
/// How long a key is at most, in bytes: a time, two names, an id and what stands between them.
const LONGEST_KEY: usize = 191;
/// How many rows are looked at for one page at most; after that it comes short, with a cursor.
const LOOKED_AT: usize = 5_000;

/// How many items are wanted.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Refused> {
    match asked {
        None => Ok(USUAL),
        Some(n @ 1..=MOST) => Ok(n),
        Some(n) => Err(Refused::invalid(format!("`limit` is {n}, and has to be 1 to {MOST}"))),
    }
}

/// A key as a cursor: opaque to whoever holds it.
pub(crate) fn cursor_of(key: impl std::fmt::Display) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key.to_string())
}

/// The key in a cursor.
pub(crate) fn key_in<K: std::str::FromStr>(cursor: &str) -> Result<K, Refused> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().filter(|bytes| bytes.len() <= LONGEST_KEY);
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|key| key.parse().ok())
        .ok_or_else(|| Refused::invalid("`cursor` is no cursor of this list; take `next_cursor` as it was given"))
}

/// A page being put together.
pub(crate) struct Listing<T> {
    limit: u32,
    items: Vec<T>,
    after: Option<String>,
    looked_at: usize,
    more: bool,
}

impl<T> Listing<T> {
    /// A page behind a cursor that holds a `K`.
    pub(crate) fn new<K: std::str::FromStr + std::fmt::Display>(asked: Option<u32>, cursor: Option<&str>) -> Result<Self, Refused> {
        let limit = limit(asked)?;
        let after = cursor.map(key_in::<K>).transpose()?.map(|key| key.to_string());
        Ok(Self { limit, items: Vec::new(), after, looked_at: 0, more: true })
    }

    /// Which rows to look at next; `None` when the page is done.
    pub(crate) fn wants(&self) -> Option<Page> {
        let open = self.more && !self.is_full() && self.looked_at < LOOKED_AT;
        open.then(|| Page { limit: self.limit + 1, after: self.after.clone() })
    }

    /// So many rows came.
    pub(crate) fn came(&mut self, rows: usize) {
        self.looked_at += rows;
        self.more = rows > self.limit as usize;
    }

    /// Whether nothing more fits; then there is more behind what was put last.
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= self.limit as usize
    }

    /// One row was looked at: it is an item, or not for the caller.
    pub(crate) fn put(&mut self, key: impl std::fmt::Display, item: Option<T>) {
        self.after = Some(key.to_string());
        self.items.extend(item);
    }

    /// A row came that does not fit any more.
    pub(crate) fn overflowed(&mut self) {
        self.more = true;
    }

    /// The items and where the next page begins.
    pub(crate) fn done(self) -> (Vec<T>, Option<String>) {
        let next = self.after.filter(|_| self.more).map(cursor_of);
        (self.items, next)
    }
}

/// A page of what is shown.
pub(crate) fn page<T>(items: Vec<T>, next_cursor: Option<String>) -> axum::Json<types::list::Page<T>> {
    axum::Json(types::list::Page { items, next_cursor })
}

/// Runs through rows until a page is full: `$row` is each row read by `$read` (which sees the [`Page`] as `$page`), kept if `$keep`.
macro_rules! listed {
    ($listing:ident, |$page:ident| $read:expr, |$row:ident| $keep:expr) => {
        while let Some($page) = $listing.wants() {
            let rows = $read.await?;
            $listing.came(rows.len());
            for $row in rows {
                if $listing.is_full() {
                    $listing.overflowed();
                    break;
                }
                let key = $row.id;
                let kept: Option<_> = $keep;
                $listing.put(key, kept);
            }
        }
    };
}
pub(crate) use listed;

#[cfg(test)]
mod tests {
    use super::*;
    use access::reason::Reason;

    /// Pages through the numbers below `n` that `keep` lets through, as the store does: newest first, by key.
    fn through(n: u32, limit: u32, keep: impl Fn(u32) -> bool) -> Vec<Vec<u32>> {
        let mut pages = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut listing = Listing::new::<u32>(Some(limit), cursor.as_deref()).unwrap_or_else(|_| panic!("cursor"));
            while let Some(page) = listing.wants() {
                let after: u32 = page.after.map_or(n, |key| key.parse().unwrap());
                let rows: Vec<u32> = (0..after).rev().take(page.limit as usize).collect();
                listing.came(rows.len());
                for row in rows {
                    if listing.is_full() {
                        listing.overflowed();
                        break;
                    }
                    listing.put(row, keep(row).then_some(row));
                }
            }
            let (items, next) = listing.done();
            pages.push(items);
            match next {
                Some(next) => cursor = Some(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_hold_everything_once_and_end() {
        for (n, limit) in [(0, 3), (1, 3), (3, 3), (4, 3), (10, 3), (9, 1)] {
            let pages = through(n, limit, |_| true);
            assert!(pages.iter().all(|page| page.len() <= limit as usize));
            assert_eq!(pages.concat(), (0..n).rev().collect::<Vec<_>>(), "{n} by {limit}");
            assert_eq!(pages.len(), (n.div_ceil(limit)).max(1) as usize, "{n} by {limit}");
        }
        let even = through(100, 7, |row| row % 2 == 0).concat();
        assert_eq!(even, (0..100).rev().filter(|row| row % 2 == 0).collect::<Vec<_>>());
    }

    #[test]
    fn a_cursor_of_something_else_is_refused() {
        let good = cursor_of(17);
        assert_eq!(key_in::<i64>(&good).ok(), Some(17));
        for wrong in ["", "17", "!!", &cursor_of("seventeen"), &"A".repeat(500)] {
            assert_eq!(key_in::<i64>(wrong).err().map(|e| e.reason()), Some(Reason::Invalid), "{wrong}");
        }
        assert!(limit(Some(0)).is_err() && limit(Some(501)).is_err());
        assert_eq!(limit(None).ok(), Some(50));
    }
}
