//! The policy engine from outside: the example company, broken directories, changes, and properties.

mod broken;
mod change;
mod company;
mod decide;
mod example;
mod properties;
