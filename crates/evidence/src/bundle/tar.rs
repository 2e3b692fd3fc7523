//! The container: POSIX ustar, written in exactly one way and read strictly.
//!
//! Any `tar` unpacks it. Owner, time and mode are fixed; names longer than 100 bytes are split into prefix and name;
//! sizes of 8 GiB and more are written in base 256, as GNU and POSIX tars read them.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// The unit of the container.
pub const BLOCK: u64 = 512;
const LARGEST_OCTAL: u64 = 0o77_777_777_777;

/// One part of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name; `None` if its header is damaged.
    pub name: Option<String>,
    /// Where its content starts.
    pub offset: u64,
    /// How long its content is; of a damaged one, up to the next header.
    pub bytes: u64,
}

/// Something in a container that is not as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The byte at which it starts.
    pub offset: u64,
    /// The index of the part it belongs to, or how many there are if it is the end.
    pub part: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// The header of a part; `None` if the name does not fit.
#[must_use]
pub fn header(name: &str, bytes: u64) -> Option<[u8; BLOCK as usize]> {
    let (prefix, short) = split_name(name)?;
    let mut block = [0u8; BLOCK as usize];
    block[..short.len()].copy_from_slice(short.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    if bytes <= LARGEST_OCTAL {
        block[124..135].copy_from_slice(format!("{bytes:011o}").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&bytes.to_be_bytes());
    }
    block[136..147].copy_from_slice(b"00000000000");
    block[148..156].copy_from_slice(b"        ");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[329..336].copy_from_slice(b"0000000");
    block[337..344].copy_from_slice(b"0000000");
    block[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

fn split_name(name: &str) -> Option<(&str, &str)> {
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    if name.len() <= 100 {
        return Some(("", name));
    }
    let slash = name.bytes().enumerate().position(|(i, b)| b == b'/' && name.len() - i - 1 <= 100)?;
    let (prefix, rest) = (name.get(..slash)?, name.get(slash + 1..)?);
    (prefix.len() <= 155 && !rest.is_empty()).then_some((prefix, rest))
}

fn parse_header(block: &[u8; BLOCK as usize]) -> Option<(String, u64)> {
    let text = |from: usize, to: usize| {
        let field = block[from..to].split(|b| *b == 0).next()?;
        std::str::from_utf8(field).ok()
    };
    let bytes = if block[124] == 0x80 {
        u64::from_be_bytes(block[128..136].try_into().ok()?)
    } else {
        u64::from_str_radix(text(124, 136)?, 8).ok()?
    };
    let (prefix, short) = (text(345, 500)?, text(0, 100)?);
    let name = if prefix.is_empty() { short.to_owned() } else { format!("{prefix}/{short}") };
    (header(&name, bytes)? == *block).then_some((name, bytes))
}

fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK) - bytes
}

/// Writes parts one after another.
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Starts a container.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes one part of exactly `bytes` bytes.
    ///
    /// # Errors
    /// When the name does not fit, the content is shorter, or writing fails.
    pub fn part(&mut self, name: &str, bytes: u64, content: impl Read) -> io::Result<()> {
        let header = header(name, bytes).ok_or_else(|| io::Error::other(format!("the name `{name}` is too long")))?;
        self.out.write_all(&header)?;
        let copied = io::copy(&mut content.take(bytes), &mut self.out)?;
        if copied != bytes {
            return Err(io::Error::other(format!("`{name}` became shorter while it was copied")));
        }
        self.out.write_all(&vec![0; padding(bytes) as usize])
    }

    /// Writes the end.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The parts of a container and everything about it that is not as it is written. After a damaged header it goes on
/// with the next good one.
///
/// # Errors
/// When the file cannot be read.
pub fn scan(file: &mut (impl Read + Seek)) -> io::Result<(Vec<Part>, Vec<Flaw>)> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut parts: Vec<Part> = Vec::new();
    let mut flaws = Vec::new();
    let mut at = 0;
    loop {
        let part = parts.len();
        let Some(block) = block_at(file, at, length)? else {
            flaws.push(Flaw { offset: at, part, reason: "it ends without the mark of its end" });
            return Ok((parts, flaws));
        };
        if block == [0; BLOCK as usize] {
            check_end(file, at, length, part, &mut flaws)?;
            return Ok((parts, flaws));
        }
        let offset = at + BLOCK;
        match parse_header(&block) {
            Some((name, bytes)) if offset.checked_add(bytes).is_some_and(|end| end <= length) => {
                let pad = padding(bytes);
                if pad > 0 && !is_zero(file, offset + bytes, pad.min(length - offset - bytes))? {
                    flaws.push(Flaw { offset: offset + bytes, part, reason: "its padding is not empty" });
                }
                at = offset + bytes + pad;
                parts.push(Part { name: Some(name), offset, bytes });
            }
            other => {
                let reason = if other.is_some() { "it is cut off" } else { "its header is not as it is written" };
                flaws.push(Flaw { offset: at, part, reason });
                let next = next_header(file, offset, length)?;
                parts.push(Part { name: other.map(|(name, _)| name), offset, bytes: next.saturating_sub(offset) });
                at = next;
                if at >= length {
                    return Ok((parts, flaws));
                }
            }
        }
    }
}

fn check_end(file: &mut (impl Read + Seek), at: u64, length: u64, part: usize, flaws: &mut Vec<Flaw>) -> io::Result<()> {
    if length != at + 2 * BLOCK {
        flaws.push(Flaw { offset: at, part, reason: "the file does not end where it should" });
    } else if !is_zero(file, at, 2 * BLOCK)? {
        flaws.push(Flaw { offset: at, part, reason: "the mark of its end is not empty" });
    }
    Ok(())
}

fn block_at(file: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Option<[u8; BLOCK as usize]>> {
    if at + BLOCK > length {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut block = [0; BLOCK as usize];
    file.read_exact(&mut block)?;
    Ok(Some(block))
}

fn is_zero(file: &mut (impl Read + Seek), at: u64, bytes: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(at))?;
    let mut content = Vec::new();
    file.by_ref().take(bytes).read_to_end(&mut content)?;
    Ok(content.iter().all(|b| *b == 0))
}

/// The next block that is a good header, or the two empty blocks at the end.
fn next_header(file: &mut (impl Read + Seek), from: u64, length: u64) -> io::Result<u64> {
    let mut at = from;
    while let Some(block) = block_at(file, at, length)? {
        let ends = block == [0; BLOCK as usize] && at + 2 * BLOCK == length;
        if ends || parse_header(&block).is_some() {
            return Ok(at);
        }
        at += BLOCK;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn archive(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, content) in parts {
            writer.part(name, content.len() as u64, &content[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parts_survive_being_packed(parts in prop::collection::vec(("[a-z]{1,40}(/[a-z.]{1,80}){0,2}", prop::collection::vec(any::<u8>(), 0..1500)), 0..5)) {
            let bytes = archive(&parts);
            let (read, flaws) = scan(&mut Cursor::new(&bytes)).unwrap();
            prop_assert_eq!(flaws, []);
            let read: Vec<_> = read
                .into_iter()
                .map(|p| (p.name.unwrap(), bytes[p.offset as usize..(p.offset + p.bytes) as usize].to_vec()))
                .collect();
            prop_assert_eq!(read, parts);
        }

        #[test]
        fn no_bytes_make_the_reader_stumble(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let (_, flaws) = scan(&mut Cursor::new(&bytes)).unwrap();
            prop_assert!(!flaws.is_empty());
        }
    }

    #[test]
    fn every_flipped_byte_outside_the_contents_is_a_flaw() {
        let bytes = archive(&[("a".into(), vec![1; 700]), ("b/c".into(), vec![2; 512]), ("d".into(), vec![])]);
        let (parts, _) = scan(&mut Cursor::new(&bytes)).unwrap();
        for i in 0..bytes.len() {
            if parts.iter().any(|p| (p.offset..p.offset + p.bytes).contains(&(i as u64))) {
                continue;
            }
            for bit in [1, 0x20, 0x80] {
                let mut flipped = bytes.clone();
                flipped[i] ^= bit;
                let (_, flaws) = scan(&mut Cursor::new(&flipped)).unwrap();
                assert_eq!(flaws.len(), 1, "byte {i}: {flaws:?}");
            }
        }
    }

    #[test]
    fn the_tar_of_the_system_lists_it() {
        let long = format!("policy/{}/{}.toml", "a".repeat(64), "b".repeat(60));
        let bytes = archive(&[("manifest.json".into(), vec![1; 700]), (long.clone(), vec![2; 3])]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        std::fs::write(&path, bytes).unwrap();
        let listed = std::process::Command::new("tar").arg("-tf").arg(&path).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), format!("manifest.json\n{long}\n"));
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_are_read_back() {
        for bytes in [0, LARGEST_OCTAL, LARGEST_OCTAL + 1, u64::MAX] {
            let block = header("recordings/rec_1.tgr", bytes).unwrap();
            assert_eq!(parse_header(&block), Some(("recordings/rec_1.tgr".into(), bytes)));
        }
    }
}
