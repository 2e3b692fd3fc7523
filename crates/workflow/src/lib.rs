//! The only place that sequences the stages of the journey: a verb per file, each a method of [`Gate`].
//!
//! Every door (ssh, HTTP, the local socket) calls these same verbs, so a rule holds on all of them or on none.
//! Each verb's file opens with three lines: what it *takes*, what it *proves*, and to whom it *hands* what it made.

pub mod accounts;
pub mod clock;
pub mod counts;
pub mod gate;
mod key_cache;
pub mod live;
pub mod seen;
pub mod timings;

pub mod activate;
pub mod approve;
pub mod campaign;
pub mod chat;
pub mod close;
pub mod connect_token;
pub mod contain;
pub mod decide;
pub mod extend;
pub mod join;
pub mod judge;
pub mod knock;
pub mod leftovers;
pub mod lock;
pub mod mail;
pub mod on_call;
pub mod open;
pub mod outbox;
pub mod redecide;
pub mod review;
pub mod revoke;
pub mod risk;
pub mod sign;
pub mod sign_in;
pub mod start;
pub mod step_up;
pub mod submit;
pub mod sweep;
pub mod tickets;

pub mod compliance;
pub mod drift;
pub mod erase;
pub mod export;
pub mod history;
pub mod hold;
pub mod index;
pub mod inventory;
pub mod keys;
pub mod measure;
pub mod noise;
pub mod pin;
pub mod retain;
pub mod rollout;
pub mod saved_search;
pub mod search;
pub mod streams;

pub mod accept_clock;
pub mod authorize;
pub mod client_certificate;
pub mod device;
pub mod directory;
pub mod exchange;
pub mod passkeys;
pub mod people;
pub mod providers;
pub mod recover;
pub mod reload;
pub mod secrets;
pub mod sequence;
pub mod signals;
pub mod tokens;
pub mod watch;
mod watchdog;
pub mod web_session;

pub use gate::{Caller, Gate};

/// What reads through [`Gate::store`] are asked with and answered by. Writes go through the verbs alone.
pub mod read {
    pub use store::{
        Difference, EntryFilter, EntryPage, FindingFilter, GrantFilter, HostKeyRow, InvitationRow, LoggedEntry, OutboxCount, OutboxFilter,
        OutboxRow, Page, PasskeyRow, PathFilter, Replay, RequestFilter, SavedSearch, SecretRow, SessionFilter, Store, StoreError,
        StreamRow, TokenRow, WebSessionRow,
    };
}
