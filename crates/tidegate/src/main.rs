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
pub mod drift;
pub mod gatekeeper;
pub mod leftovers;
pub mod local;
pub mod login;
pub mod node;
mod on_call;
pub mod output;
mod outside;
pub mod policy_dir;
pub mod serve;
mod streams;
pub mod tls;
mod vaults;

use std::process::ExitCode;

use clap::Parser as _;

/// Statements are read by parsers that go deep; with this much left on it, no stack has to be made for each of them.
const STACK: usize = 16 * 1024 * 1024;

fn main() -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build() {
        Ok(runtime) => runtime.block_on(run()),
        Err(error) => cli::exit::report(&anyhow::Error::new(error).context("no threads can be started"), false).into(),
    }
}

async fn run() -> ExitCode {
    // Fails only where one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let command = cli::Cli::parse();
    let json = command.global.json;
    match Box::pin(cli::run(command)).await {
        Ok(exit) => exit.into(),
        Err(error) => cli::exit::report(&error, json).into(),
    }
}
