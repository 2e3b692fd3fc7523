//! What was done in sessions, found again by a text: in one recording by reading it, and among all of them by an index.
//!
//! [`passages`] reads a recording and says where a text stands in it; that alone is an answer. [`index`] says in which recordings it is worth
//! looking: it may name one too many, and never leaves one out. It is derived data: whoever loses it loses time, and it is made anew from the
//! recordings. It holds no text, only keyed marks of it ([`grams`]); `docs/adr/0021-search-index.md` says why.
//!
//! Nothing here knows who may read what: that is asked for each recording, before it is read.

pub mod grams;
pub mod index;
pub mod passages;

mod pieces;
mod shown;

pub use grams::{GramKey, Needle};
pub use index::{ActivityIndex, Batch, Candidates, IndexError, Made, Sealer};
pub use passages::{Passage, passages};
