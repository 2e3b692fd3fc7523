//! Everything that can happen.
//!
//! One enum, `noun.past`: its fields are ids, codes, times and digests. The entry that says it happened is
//! [`crate::entry::Entry`].
//!
//! What can happen to a noun stands in that noun's file: a line of what it means, its name in the log, its variant, its fields.
//! `gather!` puts these lists together as [`Event`], so that name and variant are written once. The types that they mention
//! are imported here.

#[macro_use]
mod node;
#[macro_use]
mod person;
#[macro_use]
mod identity;
#[macro_use]
mod directory;
#[macro_use]
mod key;
#[macro_use]
mod request;
#[macro_use]
mod grant;
#[macro_use]
mod session;
#[macro_use]
mod recording;
#[macro_use]
mod hold;
#[macro_use]
mod bundle;
#[macro_use]
mod lock;
#[macro_use]
mod account;
#[macro_use]
mod review;
#[macro_use]
mod secret;
#[macro_use]
mod outside;
#[macro_use]
mod inventory;
mod failed;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::approval::{Decision, VoteSignature};
use crate::chat::{ChatService, Told};
use crate::claims::JobClaims;
pub use crate::entry::{Actor, Entry, EntryDraft, LeafError, SaltedText, Texts};
use crate::grant::Frozen;
use crate::hold::HoldScope;
use crate::identity::{KeyKind, Mfa, PasskeyUse, Scope, Via};
use crate::ids::{
    AccountId, BundleId, DeliveryId, DirectoryGroupId, EntryId, FindingId, GrantId, HoldId, KeyId, LockId, PasskeyId, PathId, PrincipalId,
    RecordingId, RequestId, ReviewId, SessionId, TokenId, UserId, VoteId, WebSessionId,
};
use crate::inventory::{Attribution, FindingKind, Issuance, Reach, SourceKind};
use crate::limits::Limits;
use crate::lock::LockScope;
use crate::names::{GroupName, ResourceName, RoleName, SecretName, TierName, Username};
use crate::on_call::OnDuty;
use crate::reason::Reason;
use crate::request::{Asked, Door};
use crate::review::{ReviewKind, ReviewOutcome};
use crate::risk::Risk;
use crate::session::{EndReason, Onward, Protocol};
use crate::signal::{SignalKind, SignalOutcome};
use crate::threshold::{Consequence, Watched};
use crate::time::Span;
use crate::verdict::{RecordLevel, Terms};

/// Progress of one recording: how many whole chunks, and the digest that stands at the chain's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which.
    pub recording: RecordingId,
    /// Whole chunks.
    pub chunks: u64,
    /// SHA-256, hex.
    pub digest: String,
}

/// Asks each noun for its events in turn, then makes the enum of all of them.
macro_rules! gather {
    ({ [$next:ident $($rest:ident)*] [$($before:tt)*] } $($events:tt)*) => { $next! { gather! { [$($rest)*] [$($before)* $($events)*] } } };
    ({ [] [$($before:tt)*] } $($events:tt)*) => { define! { $($before)* $($events)* } };
}

macro_rules! define {
    ($($noun:ident { $($(#[$meaning:meta])* $name:literal $variant:ident { $($fields:tt)* })* })*) => {
        /// What happened. The name is `noun.past`; the fields are ids, codes, times and digests, never free text.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "event")]
        pub enum Event {
            $($(
                $(#[$meaning])*
                #[serde(rename = $name)]
                $variant { $($fields)* },
            )*)*
        }

        /// What an event happens to: the file it stands in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Noun {
            $($noun,)*
        }

        impl Event {
            /// The name of each that there is.
            pub const NAMES: &'static [&'static str] = &[$($($name,)*)*];

            /// `noun.past`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $($(Self::$variant { .. } => $name,)*)*
                }
            }

            /// What it happens to.
            pub(crate) fn noun(&self) -> Noun {
                match self {
                    $($(Self::$variant { .. })|* => Noun::$noun,)*
                }
            }
        }
    };
}

gather! {
    { [
        node_events
        person_events
        identity_events
        directory_events
        key_events
        request_events
        grant_events
        session_events
        recording_events
        hold_events
        bundle_events
        lock_events
        account_events
        review_events
        secret_events
        outside_events
        inventory_events
    ] [] }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: EV-1
    #[test]
    fn every_event_and_every_door_stands_in_the_documentation() {
        let page = include_str!("../../../../docs/audit-log.md");
        let (_, events) = page.split_once("## Events\n").unwrap();
        let (events, _) = events.split_once("\n## ").unwrap();
        let table = events.lines().filter(|line| line.starts_with('|'));
        let named: Vec<&str> = table.flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|name| name.contains('.')).collect();
        for event in Event::NAMES {
            assert_eq!(named.iter().filter(|name| *name == event).count(), 1, "`{event}` stands there once");
        }
        for name in named {
            assert!(Event::NAMES.contains(&name), "there is no `{name}`");
        }
        let doors = page.lines().find(|line| line.starts_with("| `door` |")).unwrap();
        for door in Door::ALL {
            assert!(doors.contains(&format!("`{door}`")), "`{door}`");
        }
    }
}
