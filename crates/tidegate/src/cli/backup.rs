//! `tidegate backup`: a copy of what the gate keeps, made while it runs.
//!
//! Copied in this order: published checkpoints, audit log, store, recordings. What comes later holds at least what the one before it
//! speaks of, so that the copy is one that a gate starts on.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use credentials::keyring::Keyring;
use credentials::sealing::SealingSource;
use evidence::log::tiles::LogDirectory;
use evidence::log::{OtherCheckpoint, verify};
use serde::Serialize;
use store::{Store, StoreOptions, StoreUrl};

use crate::config::{Config, Environment};
use crate::node::first_verifier;
use crate::output::{Output, Tone, note};

use super::config::ConfigFile;
use super::exit::Exit;

/// How often the log is copied again if it was written meanwhile so that the copy does not prove itself.
const TRIES: usize = 5;
/// What a copy of the published checkpoints is called.
const PUBLISHED: &str = "checkpoints.published";

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct Backup {
    /// A directory that is not there yet, or is empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Copy the gate's sealed keys too; never the key that seals them
    #[arg(long)]
    with_keys: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// What was copied.
#[derive(Debug, Serialize)]
struct Copied {
    dir: PathBuf,
    /// Entries of the copied store that have their place in the log; none for a store on a server.
    entries: Option<u64>,
    recordings: u64,
    keys: bool,
    /// Whether the copied log was verified, and is sound.
    verified: bool,
}

impl Backup {
    /// Does it.
    ///
    /// # Errors
    /// Says what can't be read or written. What was copied by then stays, and is no backup.
    pub async fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let config = self.file.load(&Environment::of_process())?;
        empty_dir(&self.dir)?;
        let mut tries = 0;
        let verified = loop {
            tries += 1;
            copy_log(&config, &self.dir)?;
            match sound(&config, &self.dir) {
                None => break false,
                Some(findings) if findings.is_empty() => break true,
                Some(findings) if tries == TRIES => {
                    bail!("the audit log does not prove itself, nor does its copy: {}", findings.join("; "))
                }
                Some(_) => {
                    fs::remove_dir_all(self.dir.join("audit"))?;
                    fs::remove_file(self.dir.join(PUBLISHED)).or_else(absent)?;
                }
            }
        };
        let entries = match &config.store {
            StoreUrl::Sqlite(path) => Some(copy_store(path, &self.dir.join("store.db")).await?),
            StoreUrl::Postgres(_) => None,
        };
        let recordings = copy_dir(&config.data_dir.join("recordings"), &self.dir.join("recordings"), &|_| true)?;
        copy_file(&config.data_dir.join("ca.pem"), &self.dir.join("ca.pem")).or_else(absent)?;
        if self.with_keys {
            let sealing = match &config.sealing {
                SealingSource::File(path) => fs::canonicalize(path).ok(),
                SealingSource::Descriptor(_) => None,
            };
            copy_dir(&config.data_dir.join("keys"), &self.dir.join("keys"), &|path| fs::canonicalize(path).ok() != sealing)?;
        }
        let copied = Copied { dir: self.dir, entries, recordings, keys: self.with_keys, verified };
        said(output, &copied)?;
        Ok(Exit::Done)
    }
}

fn said(output: &Output, copied: &Copied) -> anyhow::Result<()> {
    if output.is_json() {
        output.json(copied)?;
        return Ok(());
    }
    let store = copied.entries.map_or_else(|| "no store".to_owned(), |entries| format!("a store of {entries} entries"));
    let log = if copied.verified { "the audit log, which proves itself" } else { "the audit log" };
    output.toned(format!("{}: {log}, {store}, {} recordings.", copied.dir.display(), copied.recordings), Tone::Good)?;
    if copied.entries.is_none() {
        note("The store is PostgreSQL: take it now with `pg_dump`, after this, so that it is not older than the log.");
    }
    if !copied.verified {
        note("The log was not verified, since the gate's keys cannot be opened here: `tidegate audit verify DIR/audit --key …` does it.");
    }
    if copied.keys {
        note("The keys in it are sealed. The key that seals them is not in it; keep that elsewhere.");
    } else {
        note("The gate's keys are not in it (`--with-keys`); without them nothing sealed or recorded can be read.");
    }
    Ok(())
}

fn empty_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::read_dir(dir) {
        Ok(mut there) => ensure!(there.next().is_none(), "`{}` is not empty; name a directory that is not there yet", dir.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot look into `{}`", dir.display())),
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| format!("cannot make `{}`", dir.display()))
}

/// The published checkpoints first: the log only grows.
fn copy_log(config: &Config, to: &Path) -> anyhow::Result<()> {
    copy_file(&config.checkpoints, &to.join(PUBLISHED)).or_else(absent)?;
    let audit = config.data_dir.join("audit");
    // The newest checkpoint before the tiles it is about.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to.join("audit"))?;
    copy_file(&audit.join("checkpoint"), &to.join("audit/checkpoint")).or_else(absent)?;
    copy_dir(&audit, &to.join("audit"), &|path| path != audit.join("checkpoint"))?;
    Ok(())
}

/// What is wrong with the copied log; `None` if the gate's keys can't be opened here.
fn sound(config: &Config, to: &Path) -> Option<Vec<String>> {
    if matches!(config.sealing, SealingSource::Descriptor(_)) {
        return None;
    }
    let keyring = Keyring::open(&config.data_dir.join("keys"), &config.sealing).ok()?;
    let first = first_verifier(&format!("tidegate/{}", config.node), &keyring).ok()?;
    let published = to.join(PUBLISHED);
    let others: Vec<OtherCheckpoint> = match fs::read(&published) {
        Ok(notes) => vec![OtherCheckpoint { source: PUBLISHED.to_owned(), notes: Ok(notes) }],
        Err(_) => Vec::new(),
    };
    let report = verify(&LogDirectory::new(to.join("audit")), &first, &others);
    Some(report.findings.iter().map(ToString::to_string).collect())
}

async fn copy_store(from: &Path, to: &Path) -> anyhow::Result<u64> {
    ensure!(from.exists(), "there is no store at `{}`", from.display());
    store::copy(from, to).await?;
    // A copy that can't be opened is none.
    let url: StoreUrl = format!("sqlite:{}", to.display()).parse()?;
    let copy = Store::open(&url, StoreOptions { connections: 1, ..StoreOptions::default() }).await?;
    let entries = copy.sequenced().await;
    copy.close().await;
    Ok(entries?)
}

/// Copies every file below a directory that is wanted; how many there were. What goes meanwhile is left out.
fn copy_dir(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) -> anyhow::Result<u64> {
    let mut count = 0;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).with_context(|| format!("cannot make `{}`", to.display()))?;
    let there = match fs::read_dir(from) {
        Ok(there) => there,
        Err(error) => return absent(anyhow::Error::from(error)).map(|()| 0),
    };
    for entry in there {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if !wanted(&path) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            count += copy_dir(&path, &to, wanted)?;
        } else if entry.file_type()?.is_file() {
            copy_file(&path, &to).map(|()| count += 1).or_else(absent)?;
        }
    }
    Ok(count)
}

/// Copies one file, for its owner alone, to the disk.
fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut file = fs::File::open(from).with_context(|| format!("cannot read `{}`", from.display()))?;
    let written = fs::File::options().write(true).create_new(true).mode(0o600).open(to).and_then(|mut copy| {
        io::copy(&mut file, &mut copy)?;
        copy.sync_all()
    });
    // Said in words of its own, so that nobody takes a directory that is gone for a file that need not be there.
    written.map_err(|error| anyhow::anyhow!("cannot write `{}`: {error}", to.display()))
}

/// What is not there need not be copied.
fn absent(error: impl Into<anyhow::Error>) -> anyhow::Result<()> {
    let error = error.into();
    match error.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
