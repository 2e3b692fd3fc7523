//! The journey through the verbs of the workflow, by named people, on a clock that is moved by hand.

#![expect(clippy::unwrap_used, reason = "a helper of tests that fails is a test that fails")]

mod accounts;
mod agreeing;
mod asking;
mod at_the_door;
mod chats_on_duty;
mod chatting;
mod closed;
mod connecting;
mod containing;
mod emergencies;
mod ending;
mod erasing;
mod exporting;
mod history;
mod host_keys;
mod inventory;
mod keeping;
mod keys;
mod mailing;
mod mails_on_duty;
mod measuring;
mod observing;
mod on_call;
mod pipelines;
mod policy_changes;
mod promised;
mod reviewing;
mod risk;
mod searching;
mod standing;
mod streaming;
mod teams;
mod telling;
mod tickets;
mod time;
mod unlinking;
