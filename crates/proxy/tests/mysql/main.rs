//! Sessions through the MySQL door with a real MariaDB behind it and stock clients in front. Only the gatekeeper is the tests' own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests that fails is a test that fails")]

mod asking;
mod clients;
mod cuts;
#[path = "../databases/gate.rs"]
mod databases;
mod disguises;
mod gate;
#[path = "../databases/half_said.rs"]
mod half_said;
mod hidden;
mod restricted;
mod signing_in;
mod strain;
mod suite;
mod target;
