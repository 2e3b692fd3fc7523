//! The first packet of a connection, which has no letter: start-up, cancel, or a wish for encryption.

use crate::{Malformed, Reader};

/// The largest first packet (`MAX_STARTUP_PACKET_LENGTH`).
const LARGEST: u32 = 10_000;
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// Version 3.0.
pub const VERSION_3_0: u32 = 3 << 16;
/// Version 3.2: longer cancel keys.
pub const VERSION_3_2: u32 = (3 << 16) | 2;

/// A first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// `SSLRequest`.
    Ssl,
    /// `GSSENCRequest`.
    Gss,
    /// `CancelRequest`.
    Cancel(CancelKey),
    /// `StartupMessage`.
    Startup(Startup),
    /// A start-up of a major version that is not 3.
    OtherVersion(u32),
}

/// What lets one cancel what a session does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// The process.
    pub pid: u32,
    /// Its secret: 4 bytes in version 3.0, up to 256 in 3.2.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl CancelKey {
    /// The secret out of a `BackendKeyData` or `CancelRequest` after its process id.
    ///
    /// # Errors
    /// If it is shorter than 4 bytes or longer than 256.
    pub fn new(pid: u32, secret: &[u8]) -> Result<Self, Malformed> {
        if (4..=256).contains(&secret.len()) {
            Ok(Self { pid, secret: secret.to_vec() })
        } else {
            Err(Malformed("a cancel key has 4 to 256 bytes"))
        }
    }

    /// The packet that asks for the cancel.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + self.secret.len());
        out.extend_from_slice(&(12 + self.secret.len() as u32).to_be_bytes());
        out.extend_from_slice(&CANCEL.to_be_bytes());
        out.extend_from_slice(&self.pid.to_be_bytes());
        out.extend_from_slice(&self.secret);
        out
    }
}

/// What a client wants its session to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The version it speaks: 3 in the upper half, the minor version in the lower.
    pub version: u32,
    /// Its parameters in the order they came; no name twice.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    /// A parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The version and the unknown options a `NegotiateProtocolVersion` has to name; `None` if there is nothing to negotiate.
    #[must_use]
    pub fn negotiate(&self) -> Option<(u32, Vec<&str>)> {
        let unknown: Vec<&str> = self.parameters.iter().map(|(n, _)| n.as_str()).filter(|n| n.starts_with("_pq_.")).collect();
        let minor = self.spoken();
        (self.version != minor || !unknown.is_empty()).then_some((minor, unknown))
    }

    /// The version that is spoken with it: its own if known, else the newest below it.
    #[must_use]
    pub fn spoken(&self) -> u32 {
        // 3.1 was never used.
        if self.version >= VERSION_3_2 { VERSION_3_2 } else { VERSION_3_0 }
    }
}

/// The first packet of `bytes` and how many bytes it takes; `None` while it is not whole.
///
/// # Errors
/// If it is none.
pub fn first(bytes: &[u8]) -> Result<Option<(First, usize)>, Malformed> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if !(8..=LARGEST).contains(&length) {
        return Err(Malformed("the length of a first packet is between 8 and 10,000"));
    }
    let total = length as usize;
    let Some(packet) = bytes.get(4..total) else { return Ok(None) };
    let mut reader = Reader::new(packet);
    let first = match reader.u32()? {
        SSL => {
            reader.end()?;
            First::Ssl
        }
        GSS => {
            reader.end()?;
            First::Gss
        }
        CANCEL => {
            let pid = reader.u32()?;
            First::Cancel(CancelKey::new(pid, reader.rest())?)
        }
        version if version >> 16 == 3 => First::Startup(Startup { version, parameters: parameters(reader)? }),
        version => First::OtherVersion(version),
    };
    Ok(Some((first, total)))
}

fn parameters(mut reader: Reader<'_>) -> Result<Vec<(String, String)>, Malformed> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    loop {
        let name = reader.c_str()?;
        if name.is_empty() {
            reader.end()?;
            return Ok(parameters);
        }
        let value = reader.c_str()?;
        if parameters.iter().any(|(known, _)| known == name) {
            return Err(Malformed("a start-up parameter is there twice"));
        }
        parameters.push((name.to_owned(), value.to_owned()));
    }
}

/// A start-up packet of version 3.0.
///
/// A text with a zero in it ends there, as it would for the server.
#[must_use]
pub fn startup_packet<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(&VERSION_3_0.to_be_bytes());
    for (name, value) in parameters {
        for text in [name, value] {
            out.extend(text.bytes().take_while(|b| *b != 0));
            out.push(0);
        }
    }
    out.push(0);
    let length = (out.len() as u32).to_be_bytes();
    out[..4].copy_from_slice(&length);
    out
}

/// The packet that asks a server for TLS; it answers `S` or `N`.
#[must_use]
pub fn ssl_request() -> [u8; 8] {
    let [a, b, c, d] = SSL.to_be_bytes();
    [0, 0, 0, 8, a, b, c, d]
}

/// The settings in the `options` parameter: `-c name=value` and `--name=value`, blanks and backslashes escaped by a backslash
/// (PostgreSQL's `pg_split_opts`). Names in lower case, `-` read as `_`.
///
/// # Errors
/// If anything else stands there.
pub fn options(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let mut words: Vec<String> = Vec::new();
    let mut chars = text.chars();
    let mut word: Option<String> = None;
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => {
                let next = chars.next().ok_or(Malformed("`options` ends in a backslash"))?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or(Malformed("`options` has a `-c` without a setting"))?
        } else if let Some(setting) = word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            setting.to_owned()
        } else {
            return Err(Malformed("`options` takes only settings, as in `-c name=value`"));
        };
        let (name, value) = setting.split_once('=').ok_or(Malformed("a setting in `options` has no `=`"))?;
        if name.is_empty() {
            return Err(Malformed("a setting in `options` has no name"));
        }
        settings.push((name.to_ascii_lowercase().replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}
