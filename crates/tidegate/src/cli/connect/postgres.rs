//! PostgreSQL at a port of this machine: a start-up in clear, told on to the gate under TLS with the token.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wire::postgres::back::{Severity, Writer};
use wire::postgres::front;
use wire::postgres::startup::{First, Startup, first, ssl_request, startup_packet};

use super::{BUFFER, LOCAL_USER, Way, stranger};

/// The largest message that is read before a session stands.
const LARGEST: usize = 64 * 1024;

/// One connection of a tool, from its first byte to its last.
pub(super) async fn relay(mut tool: TcpStream, way: &Way) -> anyhow::Result<()> {
    let startup = loop {
        match first_packet(&mut tool).await? {
            First::Ssl | First::Gss => tool.write_all(b"N").await?,
            First::Cancel(key) => {
                let mut gate = encrypted(way).await?;
                gate.write_all(&key.request()).await?;
                gate.shutdown().await?;
                return Ok(());
            }
            First::Startup(startup) => break startup,
            First::OtherVersion(_) => bail!("the tool speaks another version of PostgreSQL's protocol"),
        }
    };
    let mut out = Writer::default();
    out.ask_password();
    tool.write_all(&out.into_bytes()).await?;
    let (kind, body) = message(&mut tool).await?;
    let password = if kind == b'p' { front::password(&body).ok() } else { None };
    if !password.is_some_and(|given| way.is_password(given.as_bytes())) {
        let mut out = Writer::default();
        out.say(Severity::Fatal, "28P01", "this is not the password of this port; `tidegate connect` prints it", None);
        tool.write_all(&out.into_bytes()).await?;
        return stranger();
    }
    let mut gate = encrypted(way).await?;
    gate.write_all(&told_on(&startup, &way.user)).await?;
    // Up to the question for the password everything is the tool's own; the answer is given here.
    loop {
        let (kind, body) = message(&mut gate).await?;
        match kind {
            b'R' if body.first_chunk::<4>() == Some(&3_u32.to_be_bytes()) => break,
            b'E' => {
                tool.write_all(&whole(kind, &body)).await?;
                return Ok(());
            }
            _ => tool.write_all(&whole(kind, &body)).await?,
        }
    }
    let token = way.token.expose().as_bytes();
    gate.write_all(&whole(b'p', &[token, &[0]].concat())).await?;
    copy_bidirectional_with_sizes(&mut tool, &mut gate, BUFFER, BUFFER).await?;
    Ok(())
}

async fn encrypted(way: &Way) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut stream = way.dial().await?;
    stream.write_all(&ssl_request()).await?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await.context("the gate closed the connection")?;
    if answer != *b"S" {
        bail!("what answers at the gate's address speaks no TLS");
    }
    way.encrypt(stream).await
}

/// The tool's start-up with the gate's user in it. The database that is called as the local user is none: tools fill it in.
fn told_on(startup: &Startup, user: &str) -> Vec<u8> {
    let local = startup.get("user").unwrap_or_default();
    let own = |name: &str, value: &str| name == "user" || name == "database" && (value == local || value == LOCAL_USER || value.is_empty());
    let kept = startup.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(name, value)| !own(name, value));
    let mut packet = startup_packet(std::iter::once(("user", user)).chain(kept));
    if let Some(version) = packet.get_mut(4..8) {
        version.copy_from_slice(&startup.version.to_be_bytes());
    }
    packet
}

async fn first_packet(stream: &mut TcpStream) -> anyhow::Result<First> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).await?;
    first(&bytes).map_err(|e| anyhow::anyhow!("the tool speaks no PostgreSQL: {}", e.0))?;
    let length = bytes.first_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b)) as usize;
    bytes.resize(length, 0);
    stream.read_exact(bytes.get_mut(4..).unwrap_or_default()).await?;
    match first(&bytes) {
        Ok(Some((first, _))) => Ok(first),
        Ok(None) => bail!("the tool's first packet is not whole"),
        Err(error) => bail!("the tool speaks no PostgreSQL: {}", error.0),
    }
}

/// One message: letter and body.
async fn message<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> anyhow::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await? as usize;
    if !(4..=LARGEST).contains(&length) {
        bail!("a message before the session is malformed");
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

fn whole(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(kind);
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_up_is_told_on_with_the_gates_user() {
        let startup = |parameters: &[(&str, &str)]| Startup {
            version: wire::postgres::startup::VERSION_3_2,
            parameters: parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        let told = |parameters: &[(&str, &str)]| match first(&told_on(&startup(parameters), "orders-db+readonly")).unwrap().unwrap().0 {
            First::Startup(startup) => startup,
            other => panic!("{other:?}"),
        };
        let plain = told(&[("user", "tidegate"), ("database", "tidegate"), ("application_name", "a tool")]);
        assert_eq!((plain.get("user"), plain.get("database"), plain.version), (Some("orders-db+readonly"), None, 0x0003_0002));
        assert_eq!(plain.get("application_name"), Some("a tool"));
        assert_eq!(told(&[("user", "ana"), ("database", "shop")]).get("database"), Some("shop"));
    }
}
