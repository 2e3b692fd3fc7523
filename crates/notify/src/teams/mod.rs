//! Microsoft Teams: what the gate posts there as a bot, and what people do there with buttons.
//!
//! What comes from Teams counts only with a token that Microsoft's Bot Connector signed for this bot, soon, and once ([`token`]); what
//! goes there is shown as plain runs of text, so that nobody's words mention, link or look like the gate's own ([`card`]).

pub mod card;
pub mod client;
pub mod incoming;
pub mod token;
