//! Tidegate: the gate, and the command line that speaks to it.
//!
//! `serve` and `demo` run the gate; everything else is a client of its HTTP API, or works on files alone. Results go to
//! stdout, everything else to stderr; errors are printed once, here, with what caused them.

pub mod cli;
pub mod client;
pub mod config;
pub mod consoles;
pub mod demo;
pub mod doctor;
pub mod gatekeeper;
pub mod leftovers;
pub mod local;
pub mod login;
pub mod node;
pub mod output;
pub mod policy_dir;
pub mod serve;
pub mod tls;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only where one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let command = cli::Cli::parse();
    let json = command.global.json;
    match cli::run(command).await {
        Ok(exit) => exit.into(),
        Err(error) => cli::exit::report(&error, json).into(),
    }
}
