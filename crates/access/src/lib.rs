//! The journey as types: who asks, what policy answers, who agrees, the bounded right, the session, and the events of all that.
//!
//! Pure: no input or output, no clock, no SQL. Everything else in Tidegate speaks in these words. Modules stand in the
//! order a request travels.

#[macro_use]
pub mod row;

pub mod ids;
pub mod inert;
pub mod names;
pub mod secret;
pub mod source;
pub mod time;

pub mod account;
pub mod approval;
pub mod bundle;
pub mod chat;
pub mod claims;
pub mod directory;
pub mod grant;
pub mod hold;
pub mod identity;
pub mod inventory;
pub mod limits;
pub mod lock;
pub mod on_call;
pub mod outbox;
pub mod request;
pub mod review;
pub mod rights;
pub mod risk;
pub mod session;
pub mod signal;
pub mod statement;
pub mod threshold;
pub mod vault;
pub mod verdict;

pub mod entry;
pub mod event;
pub mod fold;
pub mod mint;
pub mod reason;
pub mod transition;
