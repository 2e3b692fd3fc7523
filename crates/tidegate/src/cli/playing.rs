//! What passed in a session, shown in this terminal: live, as the gate replays it, or out of an exported file.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use api::types::sessions::{Direction, Frame, FrameKind, RecordingLine};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;

use crate::output::player::{Player, RESET};
use crate::output::{Output, note};

use super::exit::Exit;

/// How to play a recording.
#[derive(Debug, Args)]
pub(super) struct Pace {
    /// How many times as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// No pause longer than this, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = pause)]
    idle_limit: f64,
    /// Save it as asciicast v2 instead; `-` is stdout
    #[arg(long, value_name = "FILE")]
    pub(super) asciicast: Option<PathBuf>,
    /// Only this channel of the session, counted from 0; for asciicast the first without it
    #[arg(long, value_name = "N")]
    pub(super) channel: Option<u32>,
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.01..=1000.0).contains(n)).ok_or_else(|| "write a number from 0.01 to 1000".to_owned())
}

fn pause(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=86_400.0).contains(n)).ok_or_else(|| "write seconds from 0 to 86400".to_owned())
}

/// A recording that is played.
pub(super) struct Playing<'a> {
    pace: &'a Pace,
    screen: Screen<'a>,
    paced: bool,
    last: u64,
    damaged: bool,
}

impl<'a> Playing<'a> {
    pub(super) fn new(output: &'a Output, pace: &'a Pace) -> Self {
        let paced = output.is_terminal() && !output.is_json();
        Self { pace, screen: Screen::new(output), paced, last: 0, damaged: false }
    }

    /// Shows what comes next, when it is time; `false` if whoever watches has seen enough.
    pub(super) async fn show(&mut self, line: RecordingLine) -> anyhow::Result<bool> {
        let frame = match line {
            RecordingLine::Frame(frame) => frame,
            RecordingLine::Damage { damage } => {
                note(format!("A part of this recording cannot be read: {damage}"));
                self.damaged = true;
                return Ok(true);
            }
        };
        if self.pace.channel.is_some_and(|channel| channel != frame.channel) {
            return Ok(true);
        }
        if self.paced {
            let gap = Duration::from_micros(frame.at_us.saturating_sub(self.last)).div_f64(self.pace.speed);
            self.last = frame.at_us;
            tokio::select! {
                () = tokio::time::sleep(gap.min(Duration::from_secs_f64(self.pace.idle_limit))) => {}
                _ = tokio::signal::ctrl_c() => return Ok(false),
            }
        }
        self.screen.show(&frame)?;
        Ok(true)
    }

    pub(super) fn close(self) -> anyhow::Result<Exit> {
        self.screen.close()?;
        Ok(if self.damaged { Exit::Failed } else { Exit::Done })
    }
}

/// A terminal that shows somebody else's session, and is put back as it was.
pub(super) struct Screen<'a> {
    output: &'a Output,
    player: Player,
    drawn: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, player: Player::default(), drawn: false }
    }

    pub(super) fn show(&mut self, frame: &Frame) -> anyhow::Result<()> {
        if self.output.is_json() {
            self.output.raw(format!("{}\n", serde_json::to_string(frame)?).as_bytes())?;
            return Ok(());
        }
        match frame.kind {
            FrameKind::Bytes | FrameKind::Stderr if frame.direction != Direction::Input => {
                let bytes = BASE64_STANDARD.decode(frame.data.as_deref().unwrap_or_default()).context("a frame is not in base64")?;
                let drawing = self.player.play(&bytes);
                self.drawn |= !drawing.is_empty();
                self.output.raw(&drawing)?;
            }
            FrameKind::Activity => {
                if let Some(activity) = &frame.activity {
                    note(format!("[{}] {activity}", seconds(frame.at_us)));
                }
            }
            FrameKind::Bytes | FrameKind::Stderr | FrameKind::Resize => {}
        }
        Ok(())
    }

    pub(super) fn close(self) -> io::Result<()> {
        if self.drawn && self.output.is_terminal() && !self.output.is_json() { self.output.raw(RESET) } else { Ok(()) }
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{}s", micros / 1_000_000, micros / 100_000 % 10)
}
