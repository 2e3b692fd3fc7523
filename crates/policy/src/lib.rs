//! The policy directory: who may ask for what, at what cost, and what may be done with what came of it.
//!
//! A [`Bundle`] is a directory read and checked as a whole: Cedar policies say who may take which path, TOML files state
//! facts and floors. It is immutable, knows no clock and does no input or output once loaded; share it as `Arc<Bundle>`.
//! Only `workflow`, `api` (for reading) and the command line use it; `proxy` and `store` never see it.

mod asker;
mod bundle;
mod cost;
mod decide;
mod engine;
mod facts;
mod leads;
mod may;
mod policies;
mod rights;
mod situation;
mod words;

pub mod cases;
pub mod diff;
pub mod document;
pub mod explain;
pub mod matrix;
pub mod narrow;
pub mod observe;
pub mod paths;
pub mod playbook;
pub mod problem;

pub use asker::Asker;
pub use bundle::Bundle;
pub use facts::people::{Contractor, Elsewhere, Group, People, Schedule};
pub use facts::resources::{AccountMaker, Address, Credential, Kind, Principal, Resource};
pub use facts::roles::Role;
pub use facts::tiers::{LEAST_KEPT, NOTICE, Tier};
pub use facts::windows::Window;
pub use facts::workloads::{IssuerKind, Job, Pattern, TrustedIssuer, Workload, Workloads, several as several_workloads};
pub use may::{About, Act, Noun, Object, Ruling};
pub use problem::{Place, Problem, Problems};
pub use rights::added as rights_added;
pub use situation::{Ask, Situation};
pub use words::SCHEMA;
