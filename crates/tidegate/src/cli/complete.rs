//! `tidegate completion` and `tidegate man`: what is made from the command tree itself.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::output::{Output, note};

use super::Cli;
use super::exit::Exit;

/// Completions for a shell.
#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

impl Completion {
    /// Prints them.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "tidegate", &mut script);
        output.raw(&script)?;
        Ok(Exit::Done)
    }
}

/// The manual pages.
#[derive(Debug, Args)]
pub struct Man {
    /// Where to write all of them; without it the first page is printed
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl Man {
    /// Writes them.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn run(self, output: &Output) -> anyhow::Result<Exit> {
        match self.dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
                clap_mangen::generate_to(Cli::command(), &dir)
                    .with_context(|| format!("cannot write manual pages to `{}`", dir.display()))?;
                note(format!("The manual pages are in {}; read the first with `man {0}/tidegate.1`.", dir.display()));
            }
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(Cli::command()).render(&mut page)?;
                output.raw(&page)?;
            }
        }
        Ok(Exit::Done)
    }
}
