//! Slack: what the gate posts there, and what people do there with buttons, windows and a command.
//!
//! What comes from Slack counts only under its signature, soon, and once ([`signature`]); what goes there names each text as what it
//! is, so that nobody's words mention, link or look like the gate's own ([`blocks`]).

pub mod blocks;
pub mod client;
pub mod incoming;
pub mod signature;
