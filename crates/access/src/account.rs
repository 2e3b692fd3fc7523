//! Accounts that the gate makes in databases: one for a grant, gone with its last session.

use jiff::Timestamp;

use crate::ids::{AccountId, GrantId};
use crate::names::ResourceName;

codes! {
    /// Whether an account may still be at its target.
    AccountState("account state") {
        /// It was made, or is about to be.
        Made = "made",
        /// It is gone.
        Dropped = "dropped",
    }
}

row! {
    /// An account as it is kept.
    AccountRow in "accounts" {
        /// `acc_…`.
        id: AccountId,
        /// For which grant.
        grant: GrantId,
        /// On which resource.
        resource: ResourceName,
        /// The node that made it and drops it.
        node: String,
        /// Whether it may still be there.
        state: AccountState,
        /// Since when.
        created_at: Timestamp,
        /// Since when it is gone.
        dropped_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

/// What names of accounts at targets start with.
pub const PREFIX: &str = "tg_";

/// The name an account has at its target: `tg_` and the digits of its id, 29 letters, which every database takes.
#[must_use]
pub fn login_of(id: AccountId) -> String {
    let text = id.to_string();
    format!("{PREFIX}{}", text.rsplit('_').next().unwrap_or_default())
}
