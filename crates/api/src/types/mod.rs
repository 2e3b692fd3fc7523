//! What the API says and hears: the bodies of requests and responses, one file per noun.
//!
//! Nothing here knows of a web server, so that a client uses the same types. Free texts that people wrote stand as they were
//! written: whoever shows them escapes them.

pub mod schema;

pub mod problem;
pub mod list;
pub mod who;

pub mod requests;
pub mod grants;
pub mod sessions;
pub mod resources;

pub mod users;
pub mod keys;
pub mod tokens;

pub mod locks;
pub mod reviews;
pub mod audit;
pub mod events;
pub mod evidence;
pub mod policy;
pub mod secrets;
pub mod gate;
