//! Whether access is getting better, in numbers that follow from the audit log alone.
//!
//! `docs/measures.md` defines each number: what is counted, out of what, by which clock, from which entries. Here the log's leaves are folded
//! one by one into a [`Projection`], which is the same whether it was kept and went on, or begins again at the first leaf. Nothing else goes
//! into it: no table, no clock, no text that could have been erased since.
//!
//! - [`projection`]: what has to be known of the past to understand the next leaf.
//! - [`day`]: what is counted of one day (UTC).
//! - [`durations`]: many lengths of time, small enough to keep.
//! - [`report`]: days put together to weeks or months.

pub mod day;
pub mod durations;
pub mod projection;
pub mod report;

#[cfg(test)]
mod tests;

pub use day::{Day, PolicyDay};
pub use durations::Durations;
pub use projection::{CannotHear, Projection};
pub use report::{By, Period, Report};
