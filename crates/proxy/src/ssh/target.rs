//! The other side: dialling a target with what a permit gives, and knowing that it is the right one.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::session::{EndReason, Ends, SessionFacts, SshCredential, SshDial};
use access::verdict::HostKeyRule;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::ssh_key::HashAlg;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelMsg, Disconnect, SshId};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::door::{PACKET, QUEUE, SshDoor, WINDOW};
use super::leftovers::Cleared;
use super::session::{Place, Visit, lock};
use super::turns::Turns;
use super::wire::{self, Shears};
use super::{algorithms, forward, leftovers, looks, sockets, text};

/// How long reaching and convincing a target may take.
const DIAL: Duration = Duration::from_secs(15);

/// Kills what the server's process for this connection still runs, and says when nothing is left.
///
/// INVARIANT: it touches no other connection's processes. Its parent is the server's process for this one, unless that died just now: then
/// the parent is some init, whose children are everything.
const KILL: &str = "exec sh -c 'exec 2>/dev/null; s=$PPID; [ $s -gt 1 ] || exit 2; \
                    case $(cat /proc/$s/comm || ps -o comm= -p $s) in sshd|sshd-session|dropbear) ;; *) exit 2;; esac; \
                    n=0; while [ $n -lt 8 ]; do n=$((n+1)); \
                    c=$(cat /proc/$s/task/$s/children || ps -o pid= --ppid $s); \
                    case \" \"$(echo $c)\" \" in *\" $$ \"*) ;; *) exit 2;; esac; l=; \
                    for p in $c; do [ $p = $$ ] || { l=1; kill -9 -$p || kill -9 $p; }; done; \
                    [ $l ] || { echo tidegate: none left; exit; }; sleep .03; done; exit 1'";

/// How long one connection may look for what others left.
const LOOKS_FOR_OTHERS: Duration = Duration::from_secs(5);

/// The command that kills, under way or done: whether nothing is left; `None` if it never got so far.
type Killing = Shared<BoxFuture<'static, Option<bool>>>;

/// An open connection to a target.
pub(crate) struct Target {
    handle: Arc<client::Handle<Guest>>,
    shears: Shears,
    gone: CancellationToken,
    killing: Mutex<Option<Killing>>,
    door: Arc<SshDoor>,
    /// Where it is, and as whom.
    reached: (String, u16, String),
    /// Both ends of the connection.
    ends: Option<Ends>,
    since: Instant,
}

impl Target {
    /// The library's handle: opens channels and forwards.
    pub(crate) fn handle(&self) -> &client::Handle<Guest> {
        &self.handle
    }

    /// Resolves when the connection is over, whoever ended it.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Who goes first where many are cut at once.
    pub(crate) fn turns(&self) -> &Turns {
        &self.door.turns
    }

    /// Kills what this connection still runs at the target, by a command of the gate's own, once; whether the target said that nothing is
    /// left of it. Where it is not `needed` any more when its turn comes, it is not run, and says nothing.
    ///
    /// What a server starts for a channel is a child of its process for the connection and leads a process group. The command finds itself
    /// among those children, or it could not see them and says nothing.
    pub(crate) async fn kill_processes(&self, needed: impl Fn() -> bool + Send + 'static) -> bool {
        let killing = {
            let mut killing = lock(&self.killing);
            // A try that never got so far must not bar the next.
            let under_way = killing.take().filter(|killing| killing.peek() != Some(&None));
            killing.insert(under_way.unwrap_or_else(|| self.begin_killing(needed))).clone()
        };
        killing.await == Some(true)
    }

    /// A task of its own: whoever gives up waiting does not stop it, and whoever comes next waits for the same.
    fn begin_killing(&self, needed: impl Fn() -> bool + Send + 'static) -> Killing {
        let (handle, door) = (self.handle.clone(), self.door.clone());
        let task = tokio::spawn(async move {
            let _turn = door.turns.kill().await;
            if !needed() {
                return None;
            }
            answer_of(&handle, KILL).await.ok().map(|said| said.ends_with(b"tidegate: none left\n"))
        });
        async move { task.await.ok().flatten() }.boxed().shared()
    }

    /// Kills whatever carries both ends of this connection and has begun since it was made, daemons too; whether the target said that nothing
    /// is left of it. Of sessions that are cut together at one login of one machine, one looks for all that wait.
    pub(crate) async fn kill_what_carries_its_ends(&self) -> bool {
        self.killing_is_over().await;
        let Some(ends) = self.ends else { return self.look_for_its_own().await == Some(Cleared::NoneLeft) };
        let (host, port, login) = self.reached.clone();
        let place = self.door.looks.at((host, port, login, ends.target));
        loop {
            let mut answer = place.wait_for(ends, self.since);
            let lead = tokio::select! {
                biased;
                answered = &mut answer => match answered {
                    Ok(none_left) => return none_left,
                    // Whoever looked was stopped.
                    Err(_) => continue,
                },
                lead = place.turn() => lead,
            };
            let _turn = self.door.turns.look().await;
            let others = lead.others(ends);
            let looked = match &others[..] {
                [] => self.look_for_its_own().await,
                others => {
                    let connections = looks::connections(ends, self.since, others);
                    // One that hangs gives the others back.
                    timeout(LOOKS_FOR_OTHERS, leftovers::of_these(&self.handle, ends, &connections)).await.unwrap_or(None)
                }
            };
            match looked {
                Some(Cleared::SeenOtherwise) if !others.is_empty() => lead.each_alone(others),
                None => {
                    lead.give_back(others);
                    return false;
                }
                Some(cleared) => {
                    let none_left = cleared == Cleared::NoneLeft;
                    looks::answer(others, none_left);
                    return none_left;
                }
            }
        }
    }

    /// The command that kills takes for left behind whatever else runs over this connection, one that looks too.
    async fn killing_is_over(&self) {
        let under_way = lock(&self.killing).clone();
        if let Some(killing) = under_way {
            killing.await;
        }
    }

    async fn look_for_its_own(&self) -> Option<Cleared> {
        leftovers::of_this_connection(&self.handle, self.since.elapsed()).await
    }

    /// Whether another connection leads to the same machine and account. What a resource and a role stand for may have changed between them.
    pub(crate) fn is_where(&self, other: &Self) -> bool {
        let machine = |target: &Self| target.ends.map(|ends| ends.target);
        self.reached == other.reached && machine(self) == machine(other)
    }

    /// Both ends of the connection.
    pub(crate) fn ends(&self) -> Option<Ends> {
        self.ends
    }

    /// Ends the connection at once.
    pub(crate) fn sever(&self) {
        self.shears.sever();
    }

    /// Whether an address is that of the target, or of the gate itself on the way to it.
    pub(crate) fn is_at(&self, address: IpAddr) -> bool {
        self.ends.is_some_and(|ends| [ends.gate, ends.target].iter().any(|end| end.ip() == address))
    }

    /// Says goodbye and closes; whether the target was seen to close its end within `patience`.
    pub(crate) async fn hang_up(&self, end: EndReason, patience: Duration) -> bool {
        let bye = self.handle.disconnect(Disconnect::ByApplication, end.sentence(), "en");
        let confirmed = timeout(patience, async {
            let _ = bye.await;
            self.gone.cancelled().await;
            self.shears.peer_closes().await;
        })
        .await
        .is_ok();
        self.shears.sever();
        confirmed
    }
}

/// What a command of the gate's own says at a target, as far as it is short.
pub(super) async fn answer_of(handle: &client::Handle<Guest>, command: &str) -> Result<Vec<u8>, russh::Error> {
    answer_within(handle, command, 4096).await
}

/// The same, up to so many bytes and a packet.
pub(super) async fn answer_within(handle: &client::Handle<Guest>, command: &str, most: usize) -> Result<Vec<u8>, russh::Error> {
    let mut channel = handle.channel_open_session().await?;
    channel.exec(false, command).await?;
    let mut said = Vec::new();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if said.len() < most => said.extend_from_slice(&data),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    Ok(said)
}

/// Lets what a target opens by itself (forwarded connections, the agent) find its session, which is made after the dialling.
#[derive(Clone, Default)]
pub(crate) struct Link(Arc<OnceLock<Weak<Visit>>>);

impl Link {
    pub(crate) fn connect(&self, visit: &Arc<Visit>) {
        let _ = self.0.set(Arc::downgrade(visit));
    }

    fn visit(&self) -> Option<Arc<Visit>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

/// What the gate is at the target: its guest. Verifies host keys and guards against what a target might open.
pub(crate) struct Guest {
    trust: Trust,
    /// Why the host key was not trusted.
    complaint: Arc<Mutex<Option<Refusal>>>,
    link: Link,
    gone: CancellationToken,
}

/// Which host keys are trusted.
struct Trust {
    pinned: Vec<PublicKey>,
    authorities: Vec<PublicKey>,
    host: String,
    rule: HostKeyRule,
    now: u64,
    session: access::ids::SessionId,
    door: Arc<SshDoor>,
}

impl Trust {
    fn of(dial: &SshDial, facts: &SessionFacts, door: &Arc<SshDoor>) -> Result<Self, Refusal> {
        let mut trust = Self {
            pinned: Vec::new(),
            authorities: Vec::new(),
            host: dial.host.clone(),
            rule: dial.host_key_rule,
            now: u64::try_from(facts.opened_at.as_second()).unwrap_or(0),
            session: facts.session,
            door: door.clone(),
        };
        for line in &dial.host_keys {
            let line = line.trim();
            let (list, key) = match line.strip_prefix("@cert-authority ") {
                Some(key) => (&mut trust.authorities, key),
                None => (&mut trust.pinned, line),
            };
            let key = PublicKey::from_openssh(key.trim()).map_err(|e| {
                Refusal::because(
                    Reason::HostKeyUnknown,
                    format!("`{}` in `host_keys` is no OpenSSH public key: {e}", text::inert(line, 60)),
                )
            })?;
            list.push(key);
        }
        Ok(trust)
    }

    async fn trusts(&self, shown: &PublicKeyOrCertificate) -> Result<(), Refusal> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                if self.pinned.iter().any(|k| k.key_data() == key.key_data()) {
                    return Ok(());
                }
                if self.rule == HostKeyRule::FirstUse
                    && self.pinned.is_empty()
                    && self.door.gate.trust_first_host_key(self.session, key).await
                {
                    return Ok(());
                }
                let print = key.fingerprint(HashAlg::Sha256);
                Err(Refusal::because(Reason::HostKeyUnknown, format!("{} showed {} {print}", self.host, key.algorithm())))
            }
            PublicKeyOrCertificate::Certificate(certificate) => self.trusts_certificate(certificate),
        }
    }

    /// A host certificate (OpenSSH `PROTOCOL.certkeys`): signed by a pinned CA, of type host, for this host, valid now.
    fn trusts_certificate(&self, certificate: &Certificate) -> Result<(), Refusal> {
        let authorities: Vec<_> = self.authorities.iter().map(|k| k.fingerprint(HashAlg::Sha256)).collect();
        let wrong = |why: &str| Err(Refusal::because(Reason::HostKeyUnknown, format!("{} showed a host certificate {why}", self.host)));
        if certificate.validate_at(self.now, &authorities).is_err() {
            return wrong("that no pinned authority signed, or that is not valid now");
        }
        if certificate.cert_type() != CertType::Host || !certificate.critical_options().is_empty() {
            return wrong("that is not one for hosts");
        }
        if !certificate.valid_principals().iter().any(|p| p.eq_ignore_ascii_case(&self.host)) {
            return wrong("for another host");
        }
        Ok(())
    }
}

impl Guest {
    /// The session, and a place for one more channel that the target opens. Dropping the reply to it refuses.
    fn place(&self) -> Option<(Arc<Visit>, Place)> {
        let visit = self.link.visit()?;
        let place = visit.place()?;
        Some((visit, place))
    }

    /// The target opened something that no target may.
    fn refuse(&self, kind: &str) {
        if let Some(visit) = self.link.visit() {
            visit.refuse("target_channel", text::inert(kind, 64));
        }
    }
}

impl client::Handler for Guest {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        match self.trust.trusts(shown).await {
            Ok(()) => Ok(true),
            Err(refusal) => {
                *lock(&self.complaint) = Some(refusal);
                Ok(false)
            }
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some((visit, place)) = self.place() {
            let from = forward::Destination { host: address.to_owned(), port, originator: originator.to_owned(), originator_port };
            visit.clone().spawn(forward::remote(visit, channel, from, reply, place));
        }
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some((visit, place)) = self.place() {
            visit.clone().spawn(forward::agent(visit, channel, reply, place));
        }
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some((visit, place)) = self.place() {
            visit.clone().spawn(sockets::remote(visit, channel, path.to_owned(), reply, place));
        }
        Ok(())
    }

    // A target opens nothing else: dropping the reply refuses.

    async fn server_channel_open_session(&mut self, _: Channel<Msg>, _: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        self.refuse("session");
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse("direct-tcpip");
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse("direct-streamlocal");
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse("x11");
        Ok(())
    }

    async fn should_accept_unknown_server_channel(&mut self, _: ChannelId, kind: &str) -> bool {
        self.refuse(kind);
        false
    }

    async fn disconnected(&mut self, _: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        self.gone.cancel();
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

/// Spends a permit's dial: connects, verifies the host key, signs in.
///
/// # Errors
/// A refusal that says what failed and, for an operator, what to try.
pub(crate) async fn dial(dial: SshDial, facts: &SessionFacts, door: &Arc<SshDoor>, link: Link) -> Result<Target, Refusal> {
    match timeout(DIAL, connect(dial, facts, door, link)).await {
        Ok(dialled) => dialled,
        Err(_) => Err(Refusal::because(Reason::TargetUnreachable, format!("no answer within {} seconds", DIAL.as_secs()))),
    }
}

async fn connect(dial: SshDial, facts: &SessionFacts, door: &Arc<SshDoor>, link: Link) -> Result<Target, Refusal> {
    let trust = Trust::of(&dial, facts, door)?;
    let config = Arc::new(config(&trust, door));
    let since = Instant::now();
    let stream = reach(&dial).await?;
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let ends = match (stream.local_addr(), stream.peer_addr()) {
        (Ok(gate), Ok(target)) => Some(Ends { gate: plain(gate), target: plain(target) }),
        _ => None,
    };
    let (wire, shears) = wire::severable(stream);
    let gone = CancellationToken::new();
    let complaint = Arc::new(Mutex::new(None));
    let guest = Guest { trust, complaint: complaint.clone(), link, gone: gone.clone() };
    let mut handle = client::connect_stream(config, wire, guest).await.map_err(|error| {
        lock(&complaint)
            .take()
            .unwrap_or_else(|| Refusal::because(Reason::TargetUnreachable, format!("no SSH at {}:{}: {error}", dial.host, dial.port)))
    })?;
    sign_in(&mut handle, &dial).await?;
    Ok(Target {
        handle: Arc::new(handle),
        shears,
        gone,
        killing: Mutex::default(),
        door: door.clone(),
        reached: (dial.host, dial.port, dial.login),
        ends,
        since,
    })
}

fn config(trust: &Trust, door: &SshDoor) -> client::Config {
    let mut preferred = algorithms::preferred();
    if !trust.authorities.is_empty() {
        preferred.host_key_certificates = preferred.key.clone();
    }
    if !trust.pinned.is_empty() {
        // Ask for a host key of a kind that is pinned: a target shows just one, and it must be one we know.
        let (mut keys, rest): (Vec<_>, Vec<_>) = preferred
            .key
            .iter()
            .cloned()
            .partition(|a| trust.pinned.iter().any(|k| k.algorithm() == *a || (k.algorithm().is_rsa() && a.clone().is_rsa())));
        keys.extend(rest);
        preferred.key = keys.into();
    }
    client::Config {
        client_id: SshId::Standard(super::greeting::VERSION.into()),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: QUEUE,
        preferred,
        inactivity_timeout: None,
        keepalive_interval: Some(door.limits.keepalive),
        keepalive_max: 3,
        nodelay: true,
        manual_window: true,
        ..client::Config::default()
    }
}

/// A TCP connection to the target: the name is resolved once, here, and only addresses that may be dialled are tried.
async fn reach(dial: &SshDial) -> Result<TcpStream, Refusal> {
    let at = format!("{}:{}", dial.host, dial.port);
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host((dial.host.as_str(), dial.port))
        .await
        .map_err(|e| Refusal::because(Reason::TargetUnreachable, format!("cannot resolve {}: {e}", dial.host)))?
        .collect();
    let allowed: Vec<SocketAddr> = resolved.iter().copied().filter(|a| dial.allows_address(a.ip())).collect();
    if allowed.is_empty() && !resolved.is_empty() {
        return Err(Refusal::because(Reason::TargetForbidden, at));
    }
    let mut last = None;
    for address in allowed {
        match timeout(Duration::from_secs(5), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error.to_string()),
            Err(_) => last = Some("no answer".to_owned()),
        }
    }
    Err(Refusal::because(Reason::TargetUnreachable, format!("{at}: {}", last.unwrap_or_else(|| "no address".to_owned()))))
}

async fn sign_in(handle: &mut client::Handle<Guest>, dial: &SshDial) -> Result<(), Refusal> {
    let broken = |e: &dyn std::fmt::Display| {
        Refusal::because(Reason::TargetRefused, format!("the credential for {} cannot be used: {e}", dial.host))
    };
    let result = match &dial.credential {
        SshCredential::Certificate { private_key, certificate } => {
            let key = PrivateKey::from_openssh(private_key.expose()).map_err(|e| broken(&e))?;
            let certificate = Certificate::from_openssh(certificate).map_err(|e| broken(&e))?;
            handle.authenticate_openssh_cert(&dial.login, Arc::new(key), certificate).await
        }
        SshCredential::Key(key) => {
            let key = PrivateKey::from_openssh(key.expose()).map_err(|e| broken(&e))?;
            let hash = if key.algorithm().is_rsa() { Some(HashAlg::Sha512) } else { None };
            handle.authenticate_publickey(&dial.login, PrivateKeyWithHashAlg::new(Arc::new(key), hash)).await
        }
        SshCredential::Password(password) => handle.authenticate_password(&dial.login, password.expose().as_str()).await,
    };
    match result {
        Ok(answer) if answer.success() => Ok(()),
        Ok(_) => Err(Refusal::because(Reason::TargetRefused, format!("{}@{}", dial.login, dial.host))),
        Err(error) => Err(Refusal::because(Reason::TargetUnreachable, format!("{} hung up while signing in: {error}", dial.host))),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    // covers: D2 (ssh)
    #[test]
    fn the_command_that_kills_touches_nothing_but_the_children_of_an_ssh_server() {
        // Here its parent is this test: a stranger's process, as an init is when the server has died.
        let mut bystander = Command::new("sleep").arg("100").spawn().unwrap();
        let out = Command::new("sh").args(["-c", KILL]).output().unwrap();
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(2), &b""[..]));
        assert!(bystander.try_wait().unwrap().is_none(), "it killed what is not its own");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
