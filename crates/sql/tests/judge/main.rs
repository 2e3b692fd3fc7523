//! The judge of statements, by itself and against a real server.

#![expect(clippy::unwrap_used, reason = "a helper of tests that fails is a test that fails")]

mod disguises;
mod hidden;
mod masks;
mod mysql;
mod mysql_spellings;
mod narrowed;
mod people;
mod spellings;
