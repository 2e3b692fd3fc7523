//! MySQL at a port of this machine: the gate's greeting is passed on without TLS, the sign-in told on under TLS with the token.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use wire::mysql::answer::write_error;
use wire::mysql::auth;
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::{Greeting, LARGEST_LOGIN, Login, Reply, tls_request};
use wire::mysql::packet::{self, Head};

use super::{BUFFER, LOCAL_USER, Way, stranger};

/// `ER_ACCESS_DENIED_ERROR`.
const DENIED: (u16, &str) = (1045, "28000");

/// One connection of a tool, from its first byte to its last.
pub(super) async fn relay(mut tool: TcpStream, way: &Way) -> anyhow::Result<()> {
    let mut gate = way.dial().await?;
    let (greeting, _) = read(&mut gate).await?;
    let greeting = Greeting::read(&greeting).context("what answers at the gate's address speaks no MySQL")?;
    let plain = Capabilities(greeting.capabilities.0 & !Capabilities::SSL.0);
    let shown = Greeting { capabilities: plain, plugin: auth::NATIVE.to_owned(), ..greeting.clone() };
    send(&mut tool, 0, &shown.write()).await?;
    let (login, sequence) = read(&mut tool).await?;
    let Reply::Login(login) = Reply::read(&login).context("the tool speaks no MySQL")? else {
        bail!("the tool wants TLS, which this port has none of")
    };
    let Some(mut sequence) = checked(&mut tool, &login, &shown, sequence, way).await? else {
        return stranger();
    };

    let wanted = Capabilities(login.capabilities.0 | Capabilities::SSL.0 | Capabilities::PLUGIN_AUTH.0);
    send(&mut gate, 1, &tls_request(wanted, login.max_packet, login.charset)).await?;
    let mut gate = way.encrypt(gate).await?;
    let told = Login {
        capabilities: wanted,
        user: way.user.clone(),
        answer: auth::clear(way.token.expose().as_bytes()).to_vec(),
        database: login.database.filter(|name| *name != LOCAL_USER),
        plugin: auth::CLEAR.to_owned(),
        ..login
    };
    send(&mut gate, 2, &told.write()).await?;
    // The packets of the sign-in are numbered on each side by itself; what follows begins anew.
    let (answer, _) = read(&mut gate).await?;
    sequence = sequence.wrapping_add(1);
    send(&mut tool, sequence, &answer).await?;
    copy_bidirectional_with_sizes(&mut tool, &mut gate, BUFFER, BUFFER).await?;
    Ok(())
}

/// Whether the tool knows the port's password; the number of the last packet, if it does.
async fn checked(tool: &mut TcpStream, login: &Login, shown: &Greeting, sequence: u8, way: &Way) -> anyhow::Result<Option<u8>> {
    let password = way.password.expose().as_bytes();
    let (mut plugin, mut answer, mut sequence) = (login.plugin.clone(), login.answer.clone(), sequence);
    if plugin != auth::NATIVE {
        // What it answered was to another question than this port's.
        let known = if plugin == auth::CACHING_SHA2 { auth::CACHING_SHA2 } else { auth::NATIVE };
        send(tool, sequence.wrapping_add(1), &auth::switch(known, &shown.nonce)).await?;
        (answer, sequence) = read(tool).await?;
        plugin = known.to_owned();
    }
    let expected = if plugin == auth::NATIVE { auth::native(password, &shown.nonce) } else { auth::caching_sha2(password, &shown.nonce) };
    let same = answer.len() == expected.len() && answer.iter().zip(&expected).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0;
    if !same {
        let why = write_error(DENIED.0, DENIED.1, "this is not the password of this port; `tidegate connect` prints it");
        send(tool, sequence.wrapping_add(1), &why).await?;
        return Ok(None);
    }
    if plugin == auth::CACHING_SHA2 {
        sequence = sequence.wrapping_add(1);
        send(tool, sequence, &auth::more(auth::FAST_OK)).await?;
    }
    Ok(Some(sequence))
}

/// One packet and its number.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> anyhow::Result<(Vec<u8>, u8)> {
    let mut head = [0; packet::HEAD];
    stream.read_exact(&mut head).await.context("the connection ended in the sign-in")?;
    let head = Head::read(&head).context("a packet has no head")?;
    if head.length > LARGEST_LOGIN {
        bail!("a packet of the sign-in is too large");
    }
    let mut body = vec![0; head.length];
    stream.read_exact(&mut body).await?;
    Ok((body, head.sequence))
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, sequence: u8, body: &[u8]) -> anyhow::Result<()> {
    let mut out = Vec::with_capacity(body.len() + packet::HEAD);
    packet::write(&mut out, sequence, body);
    stream.write_all(&out).await?;
    stream.flush().await?;
    Ok(())
}
