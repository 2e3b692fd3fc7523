//! The whole program from outside: the demo's server as it is built, driven by stock clients and named people through its ready
//! file alone.

#![expect(clippy::unwrap_used, reason = "a helper of tests that fails is a test that fails")]

mod demo;
mod demo_databases;
mod known;
mod served;

mod acts;
mod backups;
mod bad_input;
mod by_browser;
mod by_command;
mod chats;
mod clients;
mod clocks;
mod consoles;
mod contained;
mod crash;
mod crashes;
mod database_clients;
mod databases;
mod demo_ends;
mod directories;
mod disks;
mod document;
mod doors;
mod evidence;
mod https;
mod inventory;
mod joining;
mod journey;
mod json;
mod keys;
mod local;
mod mails;
mod matrix;
mod measures;
mod mysql;
mod on_call;
mod pages;
mod pipelines;
mod policy_directory;
mod protocols;
mod security_keys;
mod signals;
mod starts;
mod store_away;
mod stored;
mod streams;
mod suggest;
mod teams;
mod terminal;
mod tickets;
mod vaults;
mod where_one_connects;
