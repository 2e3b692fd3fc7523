//! What a client asks of its whole connection: that the target listens for it, that the gate proves its host keys, and what nobody here
//! knows.
//!
//! Answers go back in the order of the requests (RFC 4254 section 4), so one task gives them, one after another. A target that takes its
//! time to say whether it listens keeps nothing waiting but those that were asked after it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use russh::keys::signature::Signer as _;
use russh::keys::{PrivateKey, PublicKey};
use tokio::sync::mpsc;

use super::host_keys::HostKeys;
use super::session::Visit;
use super::{forward, sockets, text};

/// Requests that wait for their answers, at most.
const WAITING: usize = 256;
/// Host keys that are proven at once, at most.
const PROVEN: usize = 16;
/// Announces every host key (OpenSSH `PROTOCOL`, section 2.5).
const HOST_KEYS: &str = "hostkeys-00@openssh.com";
/// Asks for proof of those that a client does not know yet.
const PROVE: &str = "hostkeys-prove-00@openssh.com";

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// RFC 4254 section 7.1.
    Listen { address: String, port: u32 },
    /// The same, taken back.
    Stop { address: String, port: u32 },
    /// OpenSSH `PROTOCOL`, section 2.4.
    ListenAt(String),
    /// The same, taken back.
    StopAt(String),
    /// These host keys, each in its wire form, are to be proven.
    Prove(Vec<Vec<u8>>),
    /// Nothing that is done here, and nothing to enter: a question whether somebody is there, or a promise to ask for no more.
    Harmless,
    /// Nobody knows what it means.
    Unknown(String),
}

impl Asked {
    /// Reads a request. What cannot be read is as unknown as what nobody knows.
    pub(crate) fn read(kind: &str, payload: &[u8]) -> Self {
        let unknown = || Self::Unknown(text::inert(kind, 64));
        let mut rest = Payload(payload);
        let read = match kind {
            "tcpip-forward" => rest.text().zip(rest.number()).map(|(address, port)| Self::Listen { address, port }),
            "cancel-tcpip-forward" => rest.text().zip(rest.number()).map(|(address, port)| Self::Stop { address, port }),
            "streamlocal-forward@openssh.com" => rest.text().map(Self::ListenAt),
            "cancel-streamlocal-forward@openssh.com" => rest.text().map(Self::StopAt),
            PROVE => rest.all().map(Self::Prove),
            "no-more-sessions@openssh.com" => return Self::Harmless,
            _ if kind.starts_with("keepalive@") => return Self::Harmless,
            _ => None,
        };
        read.filter(|_| rest.0.is_empty()).unwrap_or_else(unknown)
    }
}

/// The fields of a request (RFC 4251 section 5).
struct Payload<'a>(&'a [u8]);

impl<'a> Payload<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        self.bytes().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
    }

    fn all(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        while !self.0.is_empty() && all.len() < PROVEN {
            all.push(self.bytes()?.to_vec());
        }
        Some(all)
    }
}

/// The requests of one connection that wait for their answers.
#[derive(Debug)]
pub(crate) struct Requests(mpsc::Sender<(Asked, bool)>);

impl Requests {
    /// Answers for a visit, on a connection that has this identifier and was shown these keys.
    pub(crate) fn of(visit: &Arc<Visit>, connection: Vec<u8>, keys: Arc<HostKeys>) -> Self {
        let (sender, mut asked) = mpsc::channel::<(Asked, bool)>(WAITING);
        let answering = visit.clone();
        // Not one of the channels' tasks: it lasts as long as the connection, and no cut waits for it.
        visit.spawn_beside(async move {
            announce(&answering, &keys).await;
            loop {
                let (asked, wants_reply) = tokio::select! {
                    () = answering.gone.cancelled() => return,
                    next = asked.recv() => match next {
                        Some(next) => next,
                        None => return,
                    },
                };
                let answer = tokio::select! {
                    () = answering.gone.cancelled() => return,
                    answer = do_as_asked(&answering, asked, &connection, &keys) => answer,
                };
                if wants_reply && answering.client.answer_global_request(answer).await.is_err() {
                    return;
                }
            }
        });
        Self(sender)
    }

    /// Puts one more in line; whether there was room.
    pub(crate) fn put(&self, asked: Asked, wants_reply: bool) -> bool {
        self.0.try_send((asked, wants_reply)).is_ok()
    }
}

/// Tells a client which keys the gate has, so that it knows the next one before it is shown and forgets the one before.
async fn announce(visit: &Visit, keys: &HostKeys) {
    let mut payload = BytesMut::new();
    for blob in keys.all().filter_map(|key| key.public_key().to_bytes().ok()) {
        put_string(&mut payload, &blob);
    }
    let _ = visit.client.notify(HOST_KEYS.to_owned(), payload.freeze()).await;
}

/// Does what was asked for; the answer to it, if that is not a refusal.
async fn do_as_asked(visit: &Arc<Visit>, asked: Asked, connection: &[u8], keys: &HostKeys) -> Option<Bytes> {
    let done = |done: bool| done.then(Bytes::new);
    match asked {
        Asked::Listen { address, port } => {
            let bound = forward::listen(visit, &address, port).await?;
            // The port is told to who left it open.
            Some(if port == 0 { Bytes::copy_from_slice(&bound.to_be_bytes()) } else { Bytes::new() })
        }
        Asked::Stop { address, port } => done(forward::cancel(visit, &address, port).await),
        Asked::ListenAt(path) => done(sockets::listen(visit, &path).await),
        Asked::StopAt(path) => done(sockets::cancel(visit, &path).await),
        Asked::Prove(wanted) => prove(keys, &wanted, connection),
        Asked::Harmless => None,
        Asked::Unknown(kind) => {
            visit.report_refused("global_request", kind).await;
            None
        }
    }
}

/// A signature of each wanted host key over this connection's identifier; none at all if one of them is not the gate's.
fn prove(keys: &HostKeys, wanted: &[Vec<u8>], connection: &[u8]) -> Option<Bytes> {
    if wanted.is_empty() {
        return None;
    }
    let mut proofs = BytesMut::new();
    for blob in wanted {
        let known = |key: &&PrivateKey| PublicKey::from_bytes(blob).is_ok_and(|wanted| wanted.key_data() == key.public_key().key_data());
        let key = keys.all().find(known)?;
        let mut signed = BytesMut::new();
        for part in [PROVE.as_bytes(), connection, blob] {
            put_string(&mut signed, part);
        }
        let signature = key.try_sign(&signed).ok()?;
        let mut proof = BytesMut::new();
        put_string(&mut proof, signature.algorithm().as_str().as_bytes());
        put_string(&mut proof, signature.as_bytes());
        put_string(&mut proofs, &proof);
    }
    Some(proofs.freeze())
}

fn put_string(to: &mut BytesMut, bytes: &[u8]) {
    to.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    to.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_string(&mut out, bytes);
        out.to_vec()
    }

    // covers: E1 (ssh)
    #[test]
    fn requests_are_read_whole_or_not_at_all() {
        let listen = [string(b"localhost"), 8080u32.to_be_bytes().to_vec()].concat();
        assert_eq!(Asked::read("tcpip-forward", &listen), Asked::Listen { address: "localhost".into(), port: 8080 });
        assert_eq!(Asked::read("streamlocal-forward@openssh.com", &string(b"/run/a")), Asked::ListenAt("/run/a".into()));
        for cut in 0..listen.len() {
            assert_eq!(Asked::read("tcpip-forward", &listen[..cut]), Asked::Unknown("tcpip-forward".into()), "{cut}");
        }
        assert_eq!(Asked::read("tcpip-forward", &[&listen[..], b"x"].concat()), Asked::Unknown("tcpip-forward".into()));
        assert_eq!(Asked::read("tcpip-forward", &[0xff; 8]), Asked::Unknown("tcpip-forward".into()));
        assert_eq!(Asked::read("keepalive@openssh.com", b""), Asked::Harmless);
        assert_eq!(Asked::read("a\x1b[2J", b""), Asked::Unknown("a\\u{1b}[2J".into()));
        let many: Vec<u8> = std::iter::repeat_n(string(b"key"), PROVEN + 1).flatten().collect();
        assert_eq!(Asked::read(PROVE, &many), Asked::Unknown(PROVE.into()));
    }
}
