//! Where people are: chat, mail, webhooks, on-call schedules and trackers of tickets; and where logs are collected.
//!
//! This crate says what is sent and reads what comes back: it signs and verifies, and knows each service's payloads and
//! limits. What a message or an answer means for a request is `workflow`'s alone.

pub mod http;
pub mod mail;
pub mod oncall;
pub mod outcome;
pub mod slack;
pub mod stream;
pub mod teams;
pub mod text;
pub mod tickets;
pub mod webhook;
