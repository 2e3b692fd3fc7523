//! The policy engine from outside: the example company, broken directories, changes, and properties.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod alike;
mod broken;
mod change;
mod company;
mod decide;
mod example;
mod narrowed;
mod observe;
mod on_call;
mod paths;
mod properties;
mod unusual;
mod workloads;
