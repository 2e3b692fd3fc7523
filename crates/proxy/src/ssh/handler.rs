//! What the SSH library calls for one client: proofs become an identity, channels become tasks of a [`Visit`].
//!
//! Nothing here waits for the client or the target: a callback that waits stops the whole connection.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use access::identity::VerifiedIdentity;
use access::limits::Limits;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use russh::keys::ssh_key::{Algorithm, Signature};
use russh::keys::{Certificate, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio_util::sync::CancellationToken;

use super::browser::{Browser, Round};
use super::channel::Variables;
use super::door::SshDoor;
use super::globals::{Asked, Requests};
use super::host_keys::HostKeys;
use super::session::{Place, Visit};
use super::wire::Shears;
use super::{algorithms, channel, forward, sockets, text};
use crate::gatekeeper::{Answer, Knock, Offer, Presence, Proof};
use crate::strangers::Stranger;

/// What of a connection's proofs was refused: the newest. The door looks at it when the connection is over and nobody signed in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    refusal: Option<Refusal>,
    /// Whether a key that is known was shown and nothing came of it: the library asks nobody about a signature that is wrong.
    unproven: bool,
}

impl Refused {
    fn with<T>(&self, f: impl FnOnce(&mut Shown) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, refusal: Refusal) {
        self.with(|shown| shown.refusal = Some(refusal));
    }

    /// A key or certificate that is known was shown; or what was shown was signed with.
    fn unproven(&self, unproven: bool) {
        self.with(|shown| shown.unproven = unproven);
    }

    pub(crate) fn take(&self) -> Option<Refusal> {
        self.with(|shown| {
            let unproven = std::mem::take(&mut shown.unproven).then(|| {
                let why = "a key that is known was shown and not proved: its signature was wrong, or never came";
                Refusal::because(Reason::NotSignedIn, why)
            });
            shown.refusal.take().or(unproven)
        })
    }
}

/// One client connection, from its first byte.
pub(crate) struct Visitor {
    door: Arc<SshDoor>,
    /// The gate's host keys when it came.
    keys: Arc<HostKeys>,
    from: SocketAddr,
    shears: Shears,
    /// Told when the client has signed in.
    known: CancellationToken,
    /// Told (by the door) when the connection is over.
    gone: CancellationToken,
    stranger: Option<Stranger>,
    /// What the client software calls itself; inert.
    software: String,
    /// Who this is, if they proved it before they came: a console of this process.
    in_person: Option<VerifiedIdentity>,
    /// Whether it is one, whatever becomes of the proof.
    is_console: bool,
    /// Whether somebody is asked in a browser who this is …
    browser: Browser,
    /// … which is told here: they need longer than others.
    asked: CancellationToken,
    proven: Option<(VerifiedIdentity, Selector)>,
    refused: Refused,
    visit: Option<Arc<Visit>>,
    /// What is asked of the whole connection.
    requests: Option<Requests>,
    /// Session channels on which something runs already.
    started: HashSet<ChannelId>,
    /// Variables that were sent for session channels.
    variables: HashMap<ChannelId, Variables>,
}

impl Visitor {
    pub(crate) fn new(
        door: Arc<SshDoor>,
        keys: Arc<HostKeys>,
        from: SocketAddr,
        shears: Shears,
        (known, asked, gone): (CancellationToken, CancellationToken, CancellationToken),
        (stranger, software, refused): (Stranger, String, Refused),
        in_person: Option<VerifiedIdentity>,
    ) -> Self {
        let is_console = in_person.is_some();
        let software = called(software, is_console);
        Self {
            door,
            keys,
            from,
            shears,
            known,
            gone,
            stranger: Some(stranger),
            software,
            in_person,
            is_console,
            browser: Browser::default(),
            asked,
            proven: None,
            refused,
            visit: None,
            requests: None,
            started: HashSet::new(),
            variables: HashMap::new(),
        }
    }

    async fn identify(&mut self, user: &str, proof: Proof) -> Auth {
        self.refused.unproven(false);
        let Ok(selector) = user.parse::<Selector>() else { return Auth::reject() };
        match self.door.gate.identify(proof, self.from).await {
            Ok(who) => {
                self.proven = Some((who, selector));
                Auth::Accept
            }
            Err(refusal) => {
                tracing::info!(from = %self.from, %refusal, "sign-in refused");
                self.refused.keep(refusal);
                Auth::reject()
            }
        }
    }

    /// The visit, and a place for one more channel; `None` when there are too many.
    fn admit(&self) -> Option<(Arc<Visit>, Place)> {
        let visit = self.visit.clone()?;
        let place = visit.place()?;
        Some((visit, place))
    }

    fn start(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        // RFC 4254 section 6.5: only one of shell, exec and subsystem per channel.
        if self.started.insert(id) { session.channel_success(id) } else { session.channel_failure(id) }
    }
}

/// What a security key's signature says (its data ends with flags and a four-byte counter, OpenSSH `PROTOCOL.u2f`).
fn presence(signature: &Signature) -> Presence {
    match signature.algorithm() {
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
            let bytes = signature.as_bytes();
            let flags = bytes.len().checked_sub(5).and_then(|i| bytes.get(i)).copied().unwrap_or(0);
            Presence::SecurityKey { touched: flags & 0x01 != 0, verified: flags & 0x04 != 0 }
        }
        _ => Presence::Unknown,
    }
}

fn exhausted() -> ChannelOpenFailure {
    ChannelOpenFailure::ResourceShortage
}

impl server::Handler for Visitor {
    type Error = russh::Error;

    /// RFC 4252 section 5.4. A refused proof says nothing but that, so what keeps everybody out is said before.
    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.door.gate.trouble().await.map(|refusal| format!("tidegate: {}\r\n", text::inert(&refusal.to_string(), 1024))))
    }

    /// RFC 4252 section 5.2: nothing is shown. It lets in whom this process itself brought, and nobody else.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        match (self.in_person.take(), user.parse::<Selector>()) {
            (Some(who), Ok(to)) => {
                self.proven = Some((who, to));
                Ok(Auth::Accept)
            }
            _ => Ok(Auth::reject()),
        }
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        if user.parse::<Selector>().is_err() || !algorithms::is_sound(offer.algorithm) {
            return Ok(Auth::reject());
        }
        let offered = match offer.certificate {
            Some(certificate) => Offer::Certificate(certificate),
            None => Offer::Key(offer.public_key),
        };
        if !self.door.gate.is_known(offered).await {
            return Ok(Auth::reject());
        }
        self.refused.unproven(true);
        Ok(Auth::Accept)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        if !algorithms::is_sound(key.algorithm) {
            return Ok(Auth::reject());
        }
        let proof = Proof::Key { key: PublicKey::new(key.public_key.key_data().clone(), ""), presence: presence(key.signature) };
        Ok(self.identify(user, proof).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
        signature: &Signature,
    ) -> Result<Auth, Self::Error> {
        if !algorithms::is_sound(&signature.algorithm()) {
            return Ok(Auth::reject());
        }
        let proof = Proof::Certificate { certificate: Box::new(certificate.clone()), presence: presence(signature) };
        Ok(self.identify(user, proof).await)
    }

    /// RFC 4256, with instructions and no question: nothing that anybody could type here lets them in, see [`Browser`]. Until they are in,
    /// nothing else happens on the connection, so this may wait.
    async fn auth_keyboard_interactive<'a>(&'a mut self, user: &str, _: &str, answer: Option<Response<'a>>) -> Result<Auth, Self::Error> {
        let round = match answer {
            None => {
                let (gate, patience) = (self.door.gate.as_ref(), self.door.limits.in_browser);
                let round = self.browser.begin(gate, user, &self.software, self.from, patience).await;
                if self.browser.waits() {
                    self.asked.cancel();
                }
                round
            }
            Some(_) => self.browser.go_on().await,
        };
        match round {
            Round::In(who, to) => {
                self.proven = Some((who, to));
                Ok(Auth::Accept)
            }
            Round::Tell(auth) => Ok(auth),
        }
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Self::Error> {
        let Some((who, to)) = self.proven.take() else {
            return Err(russh::Error::Inconsistent);
        };
        self.stranger = None;
        let client = called(text::inert_bytes(session.remote_sshid(), 255), self.is_console);
        let knock = Knock { who, to, from: self.from, client, limits: Limits::default(), sent: Answer::default() };
        let visit = Visit::new(self.door.clone(), knock, session.handle(), self.shears.clone(), self.gone.clone());
        let connection = session.session_id().unwrap_or_default().to_vec();
        self.requests = Some(Requests::of(&visit, connection, self.keys.clone()));
        self.visit = Some(visit);
        self.known.cancel();
        Ok(())
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        match self.admit() {
            Some((visit, place)) => {
                reply.accept().await;
                visit.clone().spawn(channel::serve(visit, channel, place));
            }
            None => reply.reject(exhausted()).await,
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.admit() {
            Some((visit, place)) => {
                let to = forward::Destination { host: host.to_owned(), port, originator: originator.to_owned(), originator_port };
                visit.clone().spawn(forward::local(visit, channel, to, reply, place));
            }
            None => reply.reject(exhausted()).await,
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.admit() {
            Some((visit, place)) => visit.clone().spawn(sockets::local(visit, channel, path.to_owned(), reply, place)),
            None => reply.reject(exhausted()).await,
        }
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse("x11", "");
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        // Only servers open these.
        self.refuse("forwarded_tcpip", &format!("{host}:{port}"));
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn channel_open_refused(&mut self, kind: &str, _: &mut Session) -> Result<(), Self::Error> {
        self.refuse("channel", kind);
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.started.remove(&channel);
        self.variables.remove(&channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.started.contains(&channel) { session.channel_failure(channel) } else { session.channel_success(channel) }
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse("x11", "");
        session.channel_failure(channel)
    }

    async fn env_request(&mut self, channel: ChannelId, name: &str, value: &str, session: &mut Session) -> Result<(), Self::Error> {
        let kept = self.variables.entry(channel).or_default().take(name, value);
        if !kept && let Some(visit) = &self.visit {
            visit.refuse_once("env", "more variables, or longer ones, than one channel may set".to_owned());
        }
        let allowed = kept
            && !self.started.contains(&channel)
            && (channel::is_for_the_gate(name)
                || self.visit.as_ref().and_then(|v| v.live()).is_none_or(|live| live.rights.allows_env(name)));
        if allowed { session.channel_success(channel) } else { session.channel_failure(channel) }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, session)
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, session)
    }

    async fn subsystem_request(&mut self, channel: ChannelId, _: &str, session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, session)
    }

    async fn agent_request(&mut self, _: ChannelId, _: &mut Session) -> Result<bool, Self::Error> {
        // Before the permit is there nobody knows; the request is only passed on if the rights cover it.
        Ok(self.visit.as_ref().and_then(|v| v.live()).is_none_or(|live| live.rights.agent_forward))
    }

    async fn signal(&mut self, _: ChannelId, _: Sig, _: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn global_request(&mut self, kind: &str, payload: Vec<u8>, wants_reply: bool, _: &mut Session) -> Result<(), Self::Error> {
        let asked = Asked::read(kind, &payload);
        if asked == Asked::Harmless && !wants_reply {
            return Ok(());
        }
        if self.requests.as_ref().is_some_and(|requests| requests.put(asked, wants_reply)) {
            return Ok(());
        }
        self.refuse("global_request", "more of them than may wait for their answers");
        Err(russh::Error::Inconsistent)
    }
}

impl Visitor {
    /// Reports what is refused whatever the rights say.
    fn refuse(&self, what: &'static str, detail: &str) {
        if let Some(visit) = &self.visit {
            visit.refuse(what, text::inert(detail, 1024));
        }
    }
}

/// What client software is said to be, in the log and to whoever is asked about it. Only a console of this process is called one.
fn called(software: String, is_console: bool) -> String {
    if !is_console && software.to_ascii_lowercase().contains("tidegate-console") { format!("says it is `{software}`") } else { software }
}

#[cfg(test)]
mod tests {
    use super::called;

    #[test]
    fn only_a_console_is_called_one() {
        let console = "SSH-2.0-Tidegate-Console".to_owned();
        assert_eq!(called(console.clone(), true), console);
        assert_eq!(called(console.clone(), false), "says it is `SSH-2.0-Tidegate-Console`");
        assert_eq!(called("SSH-2.0-OpenSSH_9.2".to_owned(), false), "SSH-2.0-OpenSSH_9.2");
    }
}
