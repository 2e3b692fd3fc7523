//! Libraries that stand between a program and the system, by `LD_PRELOAD`: a clock that is set while it runs, a slow disk, a watched one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Debian's libfaketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A wall clock of its own for whoever is started with [`WallClock::environment`]; `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` stay true.
#[derive(Debug, Clone)]
pub struct WallClock {
    file: PathBuf,
    library: PathBuf,
}

impl WallClock {
    /// One that is right, kept in a directory.
    ///
    /// # Errors
    /// If Debian's `libfaketime` is not installed.
    pub fn right(dir: &Path) -> anyhow::Result<Self> {
        let library = PathBuf::from(FAKETIME);
        ensure!(library.exists(), "there is no {FAKETIME}; install `libfaketime`, or run `make setup`");
        let clock = Self { file: dir.join("wall-clock"), library };
        clock.set("+0")?;
        Ok(clock)
    }

    /// Sets it, for everything that runs by it: `-1h`, `+3600`, `+0`.
    ///
    /// # Errors
    /// If its file can't be written.
    pub fn set(&self, to: &str) -> anyhow::Result<()> {
        // Whole or not at all: a half-written file would be a time of its own.
        let draft = self.file.with_extension("draft");
        fs::write(&draft, format!("{to}\n"))?;
        fs::rename(&draft, &self.file).context("cannot set the wall clock")
    }

    /// What makes a program run by it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A disk that is slow where and while a test wants it.
#[derive(Debug, Clone)]
pub struct SlowDisk {
    library: PathBuf,
    switch: PathBuf,
    part: String,
    milliseconds: u32,
}

impl SlowDisk {
    /// Makes each write and sync of files with `part` in their path take so much longer, once it is switched on.
    ///
    /// # Errors
    /// If there is no C compiler.
    pub fn build(dir: &Path, part: &str, milliseconds: u32) -> anyhow::Result<Self> {
        let library = compile(dir, "slow_disk", include_str!("c/slow_disk.c"), &["-ldl"])?;
        Ok(Self { library, switch: dir.join("slow"), part: part.to_owned(), milliseconds })
    }

    /// Switches it on or off.
    ///
    /// # Errors
    /// If its file can't be made.
    pub fn slow(&self, on: bool) -> anyhow::Result<()> {
        if on {
            fs::write(&self.switch, "")?
        } else {
            fs::remove_file(&self.switch)?
        }
        Ok(())
    }

    /// What puts a program on it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("SLOW_PATH", self.part.clone()),
            ("SLOW_WHILE", self.switch.display().to_string()),
            ("SLOW_MS", self.milliseconds.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A disk that says what was written to it, and what it was told to keep.
#[derive(Debug, Clone)]
pub struct WatchedDisk {
    library: PathBuf,
    log: PathBuf,
    part: String,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Something was written, which a crash of the machine may take.
    Written,
    /// What was written until then is on the disk.
    Synced,
}

impl WatchedDisk {
    /// Watches files with `part` in their path.
    ///
    /// # Errors
    /// If there is no C compiler.
    pub fn build(dir: &Path, part: &str) -> anyhow::Result<Self> {
        let library = compile(dir, "watched_disk", include_str!("c/watched_disk.c"), &["-ldl"])?;
        Ok(Self { library, log: dir.join("watched"), part: part.to_owned() })
    }

    /// What was done to files with this in their path, in order.
    ///
    /// # Errors
    /// If what was noted can't be read.
    pub fn done(&self, part: &str) -> anyhow::Result<Vec<Done>> {
        let noted = fs::read_to_string(&self.log).context("nothing was written to the watched disk")?;
        let lines = noted.lines().filter_map(|line| line.split_once(' ')).filter(|(_, path)| path.contains(part));
        Ok(lines.map(|(what, _)| if what == "s" { Done::Synced } else { Done::Written }).collect())
    }

    /// What puts a program on it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("WATCHED_PATH", self.part.clone()),
            ("WATCHED_LOG", self.log.display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// Compiles a C library into a directory.
pub(crate) fn compile(dir: &Path, name: &str, source: &str, with: &[&str]) -> anyhow::Result<PathBuf> {
    let (code, library) = (dir.join(format!("{name}.c")), dir.join(format!("lib{name}.so")));
    fs::write(&code, source)?;
    let made = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&code)
        .args(with)
        .output()
        .context("cannot run gcc; install `gcc`, or run `make setup`")?;
    ensure!(made.status.success(), "gcc: {}", String::from_utf8_lossy(&made.stderr));
    Ok(library)
}
