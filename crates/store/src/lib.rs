//! What is kept: SQLite for one node, PostgreSQL for many, one SQL text for both.
//!
//! A write is [`Store::commit`] of a [`Change`], and a change starts with an audit entry: there is no other way to write a
//! row that matters. In one transaction the store checks what the change expects, folds its entries over the rows they
//! touch ([`access::fold`]), and writes rows and entries, all or nothing. [`Store::replay`] does the same fold over the
//! whole log and names every column that differs.
//!
//! Reads stand in one file per noun. Policy, clocks and people's rights are not known here.

mod change;
mod commit;
mod committed;
mod copy;
mod database;
mod error;
mod log;
mod mentions;
mod replay;
mod schema;
mod select;
mod store;
mod table;
mod url;
mod writer;

mod accounts;
mod bundles;
mod chat_accounts;
mod directory;
mod entries;
mod grants;
mod holds;
mod idempotency;
mod identities;
mod inventory;
mod invitations;
mod keys;
mod locks;
mod meta;
mod once;
mod outbox;
mod passkeys;
mod people;
mod pins;
#[cfg(test)]
mod plans;
mod projections;
mod requests;
mod reviews;
mod risk;
mod rollout;
mod saved_searches;
mod secrets;
mod sessions;
mod streams;
mod tokens;
mod totals;
mod votes;
mod web_sessions;

pub use bundles::BundleFile;
pub use change::Change;
pub use commit::Committed;
pub use committed::{HostKeyRow, InvitationRow, PasskeyRow, Scopes, SecretRow, TokenRow, WebSessionRow, digestible};
pub use copy::copy;
pub use directory::DirectoryCounts;
pub use entries::{EntryFilter, EntryPage, LoggedEntry};
pub use error::{CommitError, StoreError, Unique};
pub use grants::GrantFilter;
pub use holds::Holds;
pub use idempotency::Begun;
pub use inventory::{FindingFilter, PathFilter};
pub use log::Sequenced;
pub use once::ChatLink;
pub use outbox::{Attempted, OutboxCount, OutboxFilter, OutboxRow, Telling};
pub use replay::{Difference, Replay};
pub use requests::RequestFilter;
pub use rollout::RolloutCounts;
pub use saved_searches::SavedSearch;
pub use select::Page;
pub use sessions::SessionFilter;
pub use store::{Store, StoreOptions};
pub use streams::StreamRow;
pub use totals::Totals;
pub use url::{StoreUrl, StoreUrlError};
