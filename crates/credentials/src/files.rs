//! Files that hold keys: private to their owner, replaced whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::keyring::KeyringError;

/// No file of keys is longer.
const LONGEST: u64 = 64 * 1024;

/// Makes a directory that only its owner may enter, unless it is there; refuses one that others own or may write to.
pub(crate) fn own_directory(dir: &Path) -> Result<(), KeyringError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("make the directory", dir))?;
    let meta = std::fs::metadata(dir).map_err(io_error("look at the directory", dir))?;
    if meta.mode() & 0o022 != 0 {
        return Err(KeyringError::SharedDirectory { path: dir.to_owned(), mode: meta.mode() & 0o777 });
    }
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own && meta.uid() != 0 {
        return Err(KeyringError::Foreign { path: dir.to_owned(), owner: meta.uid() });
    }
    Ok(())
}

/// Keeps other processes (`tidegate doctor`, a second start) from the directory until it is dropped; waits for them first.
pub(crate) fn lock(dir: &Path) -> Result<File, KeyringError> {
    let open = File::open(dir).map_err(io_error("open", dir))?;
    rustix::fs::flock(&open, rustix::fs::FlockOperation::LockExclusive).map_err(|error| io_error("lock", dir)(error.into()))?;
    Ok(open)
}

/// Reads a file that only its owner may read, `None` if it is not there.
pub(crate) fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    // Asked of the open file, so that nobody can swap it in between.
    let meta = file.metadata().map_err(io_error("look at", path))?;
    if !meta.is_file() {
        return Err(KeyringError::NotAFile(path.to_owned()));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(KeyringError::Shared { path: path.to_owned(), mode: meta.mode() & 0o777 });
    }
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own && meta.uid() != 0 {
        return Err(KeyringError::Foreign { path: path.to_owned(), owner: meta.uid() });
    }
    read_bounded(file, path).map(Some)
}

/// Reads all there is, up to a bound.
pub(crate) fn read_bounded(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > LONGEST {
        return Err(KeyringError::Malformed(path.to_owned()));
    }
    Ok(bytes)
}

/// Puts a file there, readable by its owner alone, so that after a crash there is the old content or the new and no mixture.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), KeyringError> {
    let temporary = path.with_extension("tmp");
    match std::fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("remove", &temporary)(error)),
    }
    write_new(&temporary, content)?;
    put_in_place(&temporary, path)
}

/// Gives a file another name, in the place of what has it; after a crash one of the two is there.
pub(crate) fn put_in_place(from: &Path, to: &Path) -> Result<(), KeyringError> {
    std::fs::rename(from, to).map_err(io_error("put in place", to))?;
    written();
    sync_parent(to)
}

/// Removes a file for good; that it is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), KeyringError> {
    match std::fs::remove_file(path) {
        Ok(()) => {
            written();
            sync_parent(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("remove", path)(error)),
    }
}

#[cfg(test)]
std::thread_local! {
    /// What a test does after each step on the disk: as if the power went just there.
    pub(crate) static AFTER_EACH_STEP: std::cell::RefCell<Option<Box<dyn FnMut()>>> = const { std::cell::RefCell::new(None) };
}

fn written() {
    #[cfg(test)]
    AFTER_EACH_STEP.with_borrow_mut(|step| {
        if let Some(step) = step {
            step();
        }
    });
}

/// Writes a file that must not be there yet.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), KeyringError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io_error("make", path))?;
    written();
    file.write_all(content).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("write", path))?;
    written();
    Ok(())
}

/// Makes sure that a name which was just made, moved or removed stays so.
pub(crate) fn sync_parent(path: &Path) -> Result<(), KeyringError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(io_error("write", parent))
}

pub(crate) fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyringError {
    let path = path.to_owned();
    move |source| KeyringError::Io { act, path, source }
}
