//! The PostgreSQL front-end/back-end protocol, versions 3.0 and 3.2 (PostgreSQL documentation, chapter "Frontend/Backend Protocol").

pub mod auth;
pub mod back;
pub mod front;
mod head;
pub mod scram;
pub mod startup;
#[cfg(test)]
mod tests;

pub use head::{Head, LARGEST, Side, head};
