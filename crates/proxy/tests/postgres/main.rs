//! Sessions through the PostgreSQL door with a real server behind it and stock clients in front. Only the gatekeeper is the tests' own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests that fails is a test that fails")]

mod asking;
mod clients;
mod cuts;
#[path = "../databases/gate.rs"]
mod databases;
mod disguises;
mod drivers;
mod gate;
#[path = "../databases/half_said.rs"]
mod half_said;
mod hidden;
mod judged;
mod limits;
mod masks;
mod pipelines;
mod regress;
mod restricted;
mod signing_in;
mod strain;
mod tap;
mod target;
mod tools;
