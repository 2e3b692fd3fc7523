//! The first packets of a connection: the gate's greeting, TLS, and the sign-in with a client certificate, or a token as password.
//!
//! Of what comes in clear exactly one packet is read, and nothing of it counts but the wish for TLS: what follows under TLS is read anew.

use std::io;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use wire::Malformed;
use wire::mysql::answer::{AUTOCOMMIT, write_error};
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::{Greeting, LARGEST_LOGIN, Login, NONCE, Reply};
use wire::mysql::{auth, packet, row};

use super::client::{BAD_HANDSHAKE, Client};
use crate::client_certificate::shown as shown_certificate;
use crate::database::wrong;
use crate::threads;

/// How long somebody who is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(2);
/// `ER_SECURE_TRANSPORT_REQUIRED`.
const NO_TLS: (u16, &str) = (3159, "08004");

/// What the gate is said to be.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The version of the server that is mirrored.
    pub(crate) version: String,
    /// The connection's number, for `KILL`.
    pub(crate) connection: u32,
}

/// Somebody who has said who they are, over TLS; not yet believed.
pub(crate) struct Met {
    pub(crate) client: Client,
    pub(crate) login: Login,
    /// The certificate (DER) they showed while TLS began, whose key they hold.
    pub(crate) certificate: Option<Vec<u8>>,
    nonce: [u8; NONCE],
}

/// Meets a client: greeting, TLS, and what it says about itself.
pub(crate) async fn greet(mut stream: TcpStream, tls: &TlsAcceptor, shown: Shown) -> io::Result<Met> {
    let nonce = nonce();
    let greeting = Greeting {
        version: shown.version,
        connection: shown.connection,
        nonce,
        capabilities: Capabilities::RELAYED | Capabilities::SSL,
        charset: row::UTF8MB4 as u8,
        status: AUTOCOMMIT,
        plugin: auth::CACHING_SHA2.into(),
    };
    let mut out = Vec::new();
    packet::write(&mut out, 0, &greeting.write());
    stream.write_all(&out).await?;
    let (first, sequence) = first_packet(&mut stream).await?;
    let refused = match Reply::read(&first) {
        Ok(Reply::Tls(_)) => None,
        Ok(Reply::Login(_)) => {
            let why = "this gate speaks MySQL's protocol over TLS only; connect with `--ssl`, or better with `--ssl-ca` and `--ssl-verify-server-cert`";
            Some((write_error(NO_TLS.0, NO_TLS.1, why), Malformed("no TLS was asked for")))
        }
        Err(error) => Some((write_error(BAD_HANDSHAKE.0, BAD_HANDSHAKE.1, &error.to_string()), error)),
    };
    if let Some((error, why)) = refused {
        let mut out = Vec::new();
        packet::write(&mut out, sequence.wrapping_add(1), &error);
        let said = async {
            stream.write_all(&out).await?;
            stream.shutdown().await
        };
        let _ = tokio::time::timeout(FAREWELL, said).await;
        return Err(wrong(why));
    }
    // What was sent in clear beyond that packet is read as TLS now, and is nonsense if it is none.
    let accepted = threads::accept(tls, stream).await?;
    let certificate = shown_certificate(accepted.get_ref().1);
    let mut client = Client::new(Box::new(accepted), 0);
    let login = match client.message().await.and_then(|message| login(&message)) {
        Ok(login) => login,
        Err(error) => {
            client.refuse_misread(&error).await;
            return Err(error);
        }
    };
    client.capabilities = login.capabilities & Capabilities::RELAYED;
    if !login.capabilities.has(Capabilities::NEEDED) {
        let why = "the client is too old: it cannot be told how to send its password; use one that knows `caching_sha2_password`";
        client.refuse(&Refusal::because(Reason::Invalid, why)).await;
        return Err(wrong(Malformed("a client without pluggable authentication")));
    }
    Ok(Met { client, login, certificate, nonce })
}

impl Met {
    /// Has the client send the password itself: under TLS both ways do.
    pub(crate) async fn password(&mut self) -> io::Result<Secret<String>> {
        if self.login.plugin == auth::CLEAR {
            return text(&self.login.answer);
        }
        if !self.scrambles().await? {
            return Ok(Secret::new(String::new()));
        }
        self.client.send([&auth::more(auth::FULL)[..]]).await?;
        text(&self.client.message().await?)
    }

    /// Does without the password, since the client has proven itself otherwise: it is told that what it gave for one is right.
    pub(crate) async fn without_password(&mut self) -> io::Result<()> {
        if self.login.plugin != auth::CLEAR && self.scrambles().await? {
            self.client.send([&auth::more(auth::FAST_OK)[..]]).await?;
        }
        Ok(())
    }

    /// Has the client take part in `caching_sha2_password`, whichever way it began with; says whether it has a password to prove. Without
    /// one it doesn't expect to be asked for it.
    async fn scrambles(&mut self) -> io::Result<bool> {
        let mut scramble = self.login.answer.clone();
        if self.login.plugin != auth::CACHING_SHA2 {
            self.client.send([&auth::switch(auth::CACHING_SHA2, &self.nonce)[..]]).await?;
            scramble = self.client.message().await?;
        }
        Ok(!matches!(scramble.as_slice(), [] | [0]))
    }
}

fn text(bytes: &[u8]) -> io::Result<Secret<String>> {
    let text = std::str::from_utf8(auth::read_clear(bytes)).map_err(|_| wrong(Malformed("the password is not UTF-8")))?;
    Ok(Secret::new(text.to_owned()))
}

/// Reads one packet, and not a byte more; with its sequence number.
async fn first_packet(stream: &mut TcpStream) -> io::Result<(Vec<u8>, u8)> {
    let mut head = [0; packet::HEAD];
    stream.read_exact(&mut head).await?;
    let head = packet::Head::read(&head).ok_or_else(|| wrong(Malformed("a packet has no head")))?;
    if head.length > LARGEST_LOGIN {
        return Err(wrong(Malformed("a first packet is too large")));
    }
    let mut body = vec![0; head.length];
    stream.read_exact(&mut body).await?;
    Ok((body, head.sequence))
}

/// Random bytes of which none is zero or `$`: some clients take them for a text (MySQL's `generate_user_salt`).
fn nonce() -> [u8; NONCE] {
    std::array::from_fn(|_| match rand::random::<u8>() & 0x7f {
        0 | b'$' => b'x',
        other => other,
    })
}

/// Who somebody says they are, under TLS.
fn login(message: &[u8]) -> io::Result<Login> {
    match Reply::read(message).map_err(wrong)? {
        Reply::Login(login) => Ok(login),
        Reply::Tls(_) => Err(wrong(Malformed("encryption within encryption was asked for"))),
    }
}
