//! `tidegate clock`: the gate's time, at its own machine.

use clap::{Args, Subcommand};

use crate::config::Environment;
use crate::local::{AcceptedClock, Question, ask};
use crate::output::{Output, Tone, note};

use super::config::ConfigFile;
use super::exit::Exit;

/// What to do with the clock.
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Take this machine's clock for right, though the log has run ahead of it
    Accept(Accept),
}

/// Which gate.
#[derive(Debug, Args)]
#[command(
    after_help = "For a clock that once ran ahead: the log has reached that time, and until it comes nothing opens. Set the clock right \
                        first. It cuts every session, ends every grant that has an end and every request, and revokes what was issued in \
                        the time that never was; everybody asks again. It speaks to the running gate through the socket in its data \
                        directory, which root and the gate's own user alone may use, and leaves an entry in the audit log: \
                        `clock.accepted`. Restart the gate afterwards."
)]
pub struct Accept {
    #[command(flatten)]
    file: ConfigFile,
}

impl ClockCommand {
    /// Does it.
    ///
    /// # Errors
    /// If no gate runs on that configuration, or it refuses.
    pub async fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let Self::Accept(Accept { file }) = self;
        let config = file.load(&Environment::of_process())?;
        let done: AcceptedClock = ask(&config.data_dir, &Question::AcceptClock).await?;
        if output.is_json() {
            output.json(&done)?;
            return Ok(Exit::Done);
        }
        let AcceptedClock { wall, mark, sessions, grants, requests } = done;
        output.toned(format!("It is {} again; the log had reached {}.", output.at(wall), output.at(mark)), Tone::Good)?;
        output.line(format!("Ended: {sessions} sessions, {grants} grants, {requests} requests."))?;
        note("This is entered in the audit log as `clock.accepted`. Restart the gate, so that nothing it remembers is of the time before.");
        Ok(Exit::Done)
    }
}
