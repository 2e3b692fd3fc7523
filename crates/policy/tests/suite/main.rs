//! The policy engine from outside: the example company, broken directories, and properties.

mod company;
mod example;
