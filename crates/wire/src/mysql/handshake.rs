//! How a connection begins: the server's greeting, the client's wish for TLS, and its sign-in.

use super::capability::Capabilities;
use crate::{Malformed, Reader};

/// Bytes of random data in a greeting.
pub const NONCE: usize = 20;
/// The most a client's sign-in may take: names, an answer, and 64 KiB of attributes.
pub const LARGEST_LOGIN: usize = 128 << 10;

/// A server's greeting (`HandshakeV10`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// As in `10.11.6-MariaDB` or `8.0.36`.
    pub version: String,
    /// The connection's number, which `KILL` takes.
    pub connection: u32,
    /// Random data for the answer.
    pub nonce: [u8; NONCE],
    /// What the server can do.
    pub capabilities: Capabilities,
    /// The server's default character set, by number.
    pub charset: u8,
    /// Its status flags.
    pub status: u16,
    /// The way to sign in that it proposes.
    pub plugin: String,
}

impl Greeting {
    /// Reads one.
    ///
    /// # Errors
    /// If it is malformed or of another version of the protocol.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        if reader.u8()? != 10 {
            return Err(Malformed("the server greets in a version of the protocol that is not 10"));
        }
        let version = lossy(reader.c_bytes()?);
        let connection = reader.u32_le()?;
        let first = reader.take(8)?;
        reader.take(1)?;
        let low = reader.u16_le()?;
        let charset = reader.u8()?;
        let status = reader.u16_le()?;
        let high = reader.u16_le()?;
        let capabilities = Capabilities(u32::from(low) | u32::from(high) << 16);
        let length = usize::from(reader.u8()?);
        reader.take(10)?;
        // The second part is at least 13 bytes: the rest of the nonce and a zero.
        let second = reader.take(length.saturating_sub(8).max(13))?;
        let mut nonce = [0; NONCE];
        nonce[..8].copy_from_slice(first);
        nonce[8..].copy_from_slice(second.get(..12).ok_or(Malformed("the server's nonce is too short"))?);
        let plugin = if capabilities.has(Capabilities::PLUGIN_AUTH) {
            // Some servers leave the last zero out.
            lossy(reader.rest().split(|b| *b == 0).next().unwrap_or_default())
        } else {
            super::auth::NATIVE.to_owned()
        };
        Ok(Self { version, connection, nonce, capabilities, charset, status, plugin })
    }

    /// Writes it.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = vec![10];
        text(&mut out, &self.version);
        out.extend_from_slice(&self.connection.to_le_bytes());
        out.extend_from_slice(&self.nonce[..8]);
        out.push(0);
        let [a, b, c, d] = self.capabilities.0.to_le_bytes();
        out.extend_from_slice(&[a, b, self.charset]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[c, d, NONCE as u8 + 1]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(&self.nonce[8..]);
        out.push(0);
        text(&mut out, &self.plugin);
        out
    }
}

/// What a client answers a greeting with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `SSLRequest`: TLS first. What it can do already stands here; only what follows under TLS counts.
    Tls(Capabilities),
    /// `HandshakeResponse41`.
    Login(Login),
}

/// Who a client says it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// What it can do and wants.
    pub capabilities: Capabilities,
    /// The largest packet it takes, in bytes.
    pub max_packet: u32,
    /// Its character set, by number.
    pub charset: u8,
    /// The user's name.
    pub user: String,
    /// Its answer to the nonce, by `plugin`.
    pub answer: Vec<u8>,
    /// The database it wants, if it names one.
    pub database: Option<String>,
    /// The way of signing in that its answer follows.
    pub plugin: String,
    /// What it says of itself: `program_name`, `_client_name`, `tide_reason` ….
    pub attributes: Vec<(String, String)>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("capabilities", &self.capabilities)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("plugin", &self.plugin)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

impl Reply {
    /// Reads one.
    ///
    /// # Errors
    /// If it is malformed, or from a client from before MySQL 4.1.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let capabilities = Capabilities(reader.u32_le()?);
        if !capabilities.has(Capabilities::PROTOCOL_41) {
            return Err(Malformed("the client speaks the protocol from before MySQL 4.1"));
        }
        let max_packet = reader.u32_le()?;
        let charset = reader.u8()?;
        reader.take(23)?;
        if reader.is_empty() {
            if !capabilities.has(Capabilities::SSL) {
                return Err(Malformed("it ends before the user's name"));
            }
            return Ok(Self::Tls(capabilities));
        }
        let user = utf8(reader.c_bytes()?)?;
        let answer = if capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            reader.lenenc_bytes()?.to_vec()
        } else if capabilities.has(Capabilities::SECURE_CONNECTION) {
            let length = usize::from(reader.u8()?);
            reader.take(length)?.to_vec()
        } else {
            reader.c_bytes()?.to_vec()
        };
        let database = if capabilities.has(Capabilities::CONNECT_WITH_DB) && !reader.is_empty() {
            let name = utf8(reader.c_bytes()?)?;
            (!name.is_empty()).then_some(name)
        } else {
            None
        };
        let plugin = if capabilities.has(Capabilities::PLUGIN_AUTH) && !reader.is_empty() {
            utf8(reader.c_bytes()?)?
        } else {
            super::auth::NATIVE.to_owned()
        };
        let mut attributes = Vec::new();
        if capabilities.has(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            let mut inner = Reader::new(reader.lenenc_bytes()?);
            while !inner.is_empty() {
                let name = lossy(inner.lenenc_bytes()?);
                attributes.push((name, lossy(inner.lenenc_bytes()?)));
            }
        }
        Ok(Self::Login(Login { capabilities, max_packet, charset, user, answer, database, plugin, attributes }))
    }
}

/// Writes an `SSLRequest`.
#[must_use]
pub fn tls_request(capabilities: Capabilities, max_packet: u32, charset: u8) -> Vec<u8> {
    let mut out = (capabilities | Capabilities::SSL).0.to_le_bytes().to_vec();
    out.extend_from_slice(&max_packet.to_le_bytes());
    out.push(charset);
    out.extend_from_slice(&[0; 23]);
    out
}

impl Login {
    /// The attribute of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Writes it; which of its fields go along is said by `capabilities`.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = self.capabilities.0.to_le_bytes().to_vec();
        out.extend_from_slice(&self.max_packet.to_le_bytes());
        out.push(self.charset);
        out.extend_from_slice(&[0; 23]);
        text(&mut out, &self.user);
        if self.capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            lenenc_bytes(&mut out, &self.answer);
        } else {
            out.push(self.answer.len().min(255) as u8);
            out.extend(self.answer.iter().take(255));
        }
        if self.capabilities.has(Capabilities::CONNECT_WITH_DB) {
            text(&mut out, self.database.as_deref().unwrap_or_default());
        }
        if self.capabilities.has(Capabilities::PLUGIN_AUTH) {
            text(&mut out, &self.plugin);
        }
        if self.capabilities.has(Capabilities::CONNECT_ATTRS) {
            let mut inner = Vec::new();
            for (name, value) in &self.attributes {
                lenenc_bytes(&mut inner, name.as_bytes());
                lenenc_bytes(&mut inner, value.as_bytes());
            }
            lenenc_bytes(&mut out, &inner);
        }
        out
    }
}

/// A text and a zero; zeros inside are left out.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|b| *b != 0));
    out.push(0);
}

/// A length-encoded integer.
pub fn lenenc(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_le_bytes();
    match number {
        0..=0xfa => out.push(bytes[0]),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Bytes with their length before them.
pub fn lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    lenenc(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn utf8(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("a name is not UTF-8"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
