//! What a statement does, by the database's own grammar, and whether a role may do it.
//!
//! The judge is the second wall. The first is the account that is made at the target for each grant and holds just the role's
//! rights; this one sees what no GRANT can say (masks, named statements, functions open to everybody) and answers before a byte
//! reaches the target. It is pure: what it has to know of the target stands in a [`catalog::Catalog`] that the relay reads once at
//! the start of a session.
//!
//! One rule runs through it: what is not understood is refused. A name that could mean several things has to be allowed under each
//! of its meanings.

pub mod catalog;
mod concealed;
pub mod judge;
mod mentioned;
pub mod mysql;
pub mod narrow;
pub mod postgres;
pub mod verdict;

pub use catalog::Catalog;
pub use concealed::Concealed;
pub use judge::Judge;
pub use mentioned::Language;
pub use narrow::{Narrowed, Narrowing, Ran};
pub use verdict::{Allowed, Hidden, Outcome, Refused, Use, Verdict};
