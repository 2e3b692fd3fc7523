//! The directory: where a tile of hashes or a bundle of entries lies, and how one is read and written.
//!
//! ```text
//! checkpoint                      the newest signed checkpoint
//! tile/<level>/<number>[.p/<w>]   hashes, 32 bytes each; 256, or w at the right edge
//! tile/entries/<number>[.p/<w>]   the leaves under one level-0 tile
//! ```
//!
//! Numbers are written three digits at a time, all but the last group with an `x` before: `x001/x234/067`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::tree::{Hash, TILE_WIDTH, TileSource};

/// The longest bundle of entries: 256 leaves of the longest kind.
const LONGEST_BUNDLE: u64 = (TILE_WIDTH * (2 + super::leaves::LONGEST_LEAF)) as u64;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileKind {
    /// Hashes at this tile level.
    Hashes(u8),
    /// Leaves.
    Entries,
}

/// The path of a tile below the log's directory; `width` 0 or 256 means full.
#[must_use]
pub fn tile_path(kind: TileKind, number: u64, width: u16) -> PathBuf {
    let mut groups = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        groups = format!("x{:03}/{groups}", rest % 1000);
        rest /= 1000;
    }
    let folder = match kind {
        TileKind::Hashes(level) => level.to_string(),
        TileKind::Entries => "entries".into(),
    };
    if width == 0 || usize::from(width) == TILE_WIDTH {
        format!("tile/{folder}/{groups}").into()
    } else {
        format!("tile/{folder}/{groups}.p/{width}").into()
    }
}

/// Writes a file so that a reader sees all of it or nothing: beside its place first, then moved there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    fs::rename(&beside, path)?;
    Ok(file)
}

/// Reads a file of at most `longest` bytes.
pub(crate) fn read_at_most(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!("it is longer than the {longest} bytes it may be")));
    }
    Ok(bytes)
}

/// A log directory, for reading.
#[derive(Debug, Clone)]
pub struct LogDirectory {
    path: PathBuf,
}

impl LogDirectory {
    /// Looks at nothing yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a tile that holds at least `width` hashes or leaves: the one of just this width, else the full
    /// one, else a wider one.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read(&self, kind: TileKind, number: u64, width: u16) -> io::Result<Vec<u8>> {
        let longest = match kind {
            TileKind::Hashes(_) => (TILE_WIDTH * 32) as u64,
            TileKind::Entries => LONGEST_BUNDLE,
        };
        let exact = self.path.join(tile_path(kind, number, width));
        let first = read_at_most(&exact, longest);
        let Err(error) = first else { return first };
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
        let full = self.path.join(tile_path(kind, number, 0));
        if let Ok(bytes) = read_at_most(&full, longest) {
            return Ok(bytes);
        }
        for wider in (width + 1)..TILE_WIDTH as u16 {
            let path = self.path.join(tile_path(kind, number, wider));
            if path.exists() {
                return read_at_most(&path, longest);
            }
        }
        Err(error)
    }

    /// The first `width` hashes of a tile.
    ///
    /// # Errors
    /// When there is no such tile, or it is not whole hashes, or too few of them.
    pub fn hashes(&self, level: u8, number: u64, width: u16) -> io::Result<Vec<Hash>> {
        let bytes = self.read(TileKind::Hashes(level), number, width)?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() < usize::from(width) {
            return Err(io::Error::other(format!("it holds {} bytes where {width} hashes of 32 bytes were expected", bytes.len())));
        }
        Ok(hashes[..usize::from(width)].to_vec())
    }
}

impl LogDirectory {
    /// The leaves under one level-0 tile of a log of `size` entries: 256, or fewer at the right edge. They are as the
    /// file has them; nothing is verified.
    ///
    /// # Errors
    /// When the bundle cannot be read, or holds fewer leaves or other bytes.
    pub fn group(&self, number: u64, size: u64) -> io::Result<Vec<Vec<u8>>> {
        let (edge, width) = super::tree::edge_tile(size, 0);
        let width = if number < edge { TILE_WIDTH as u16 } else { width };
        let bytes = self.read(TileKind::Entries, number, width)?;
        let (leaves, rest) = super::leaves::split(&bytes);
        if rest > 0 || leaves.len() < usize::from(width) {
            return Err(io::Error::other(format!("bundle {number} does not hold {width} whole entries")));
        }
        Ok(leaves.into_iter().take(usize::from(width)).map(<[u8]>::to_vec).collect())
    }

    /// Every leaf of a log of `size` entries, with its index, in order; nothing is verified.
    pub fn leaves(&self, size: u64) -> impl Iterator<Item = io::Result<(u64, Vec<u8>)>> + '_ {
        (0..size.div_ceil(TILE_WIDTH as u64)).flat_map(move |number| match self.group(number, size) {
            Ok(leaves) => {
                let first = number << 8;
                leaves.into_iter().enumerate().map(|(i, leaf)| Ok((first + i as u64, leaf))).collect()
            }
            Err(e) => vec![Err(e)],
        })
    }
}

impl TileSource for LogDirectory {
    fn tile(&self, level: u8, number: u64, width: u16) -> Result<Vec<Hash>, String> {
        self.hashes(level, number, width)
            .map_err(|e| format!("cannot read `{}`: {e}", tile_path(TileKind::Hashes(level), number, width).display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let path = |kind, number, width| tile_path(kind, number, width).display().to_string();
        assert_eq!(path(TileKind::Hashes(0), 0, 0), "tile/0/000");
        assert_eq!(path(TileKind::Hashes(2), 1_234_067, 0), "tile/2/x001/x234/067");
        assert_eq!(path(TileKind::Hashes(1), 5, 112), "tile/1/005.p/112");
        assert_eq!(path(TileKind::Entries, 273, 256), "tile/entries/273");
        assert_eq!(path(TileKind::Entries, 70_000, 1), "tile/entries/x070/000.p/1");
    }

    #[test]
    fn a_giant_tile_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tile/0");
        fs::create_dir_all(&path).unwrap();
        File::create(path.join("000")).unwrap().set_len(1 << 40).unwrap();
        let error = LogDirectory::new(dir.path()).hashes(0, 0, 0).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than the 8192 bytes it may be");
    }
}
