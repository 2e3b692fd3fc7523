//! Sessions through the SSH door with a real OpenSSH server behind it and stock clients in front. Only the gatekeeper is the tests' own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests that fails is a test that fails")]

mod asking;
mod asking_further;
mod clients;
mod cuts;
mod dialling;
mod documented;
mod forwards;
mod gate;
mod host_keys;
mod hostile_clients;
mod hostile_targets;
mod in_browser;
mod meddling;
mod refusals;
mod signing_in;
mod strain;
mod tape;
mod town;
