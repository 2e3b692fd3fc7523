//! What the API says and hears: the bodies of requests and responses, one file per noun.
//!
//! Nothing here knows of a web server, so that a client uses the same types. Free texts that people wrote stand as they were
//! written: whoever shows them escapes them.

pub mod schema;

pub mod list;
pub mod problem;
pub mod who;

pub mod grants;
pub mod requests;
pub mod resources;
pub mod saved_searches;
pub mod sessions;
pub mod signals;
pub mod terms;

pub mod consoles;
pub mod containments;

pub mod chat;
pub mod device;
pub mod directories;
pub mod keys;
pub mod oauth;
pub mod passkeys;
pub mod providers;
pub mod tokens;
pub mod users;
pub mod web_sessions;

pub mod audit;
pub mod compliance;
pub mod events;
pub mod evidence;
pub mod gate;
pub mod holds;
pub mod inventory;
pub mod locks;
pub mod mail;
pub mod measures;
pub mod on_call;
pub mod outbox;
pub mod policy;
pub mod reviews;
pub mod risk;
pub mod rollout;
pub mod secrets;
pub mod streams;

pub use gate::{DatabaseFacts, GateFacts, SshFacts};
pub use problem::Problem;
