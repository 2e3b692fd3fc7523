//! The proxies' port, answered by the workflow's verbs. Nothing is decided here.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use access::identity::VerifiedIdentity;
use access::ids::{RequestId, SessionId};
use access::names::Selector;
use access::reason::Refusal;
use access::request::Door;
use access::secret::Secret;
use access::session::{ClosedSession, Ends, Onward, Protocol};
use access::time::Span;
use async_trait::async_trait;
use identity::client_ca::ClientCertificateProof;
use identity::device::Begun;
use identity::login_ca::{self, CertificateProof};
use identity::ssh_key::KeyProof;
use proxy::gatekeeper::{
    Answer, Denied, Extended, Gatekeeper, InBrowser, Knock, Knocked, News, Offer, Opening, PermitWatch, Presence, Proof, Prove, Question,
    Waiting,
};
use proxy::ssh::HostKeys;
use ssh_key::{HashAlg, PublicKey};
use tokio::sync::watch;
use workflow::knock::{Given, RequestProgress};
use workflow::open::Opened;
use workflow::{Caller, Gate};

/// How long a connection waits at the door for its owner's passkey.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// The port as one of the doors sees it.
#[derive(Debug, Clone)]
pub struct Port {
    gate: Arc<Gate>,
    /// Where people sign in over HTTP.
    api_url: String,
    /// What is spoken at the door.
    protocol: Protocol,
}

impl Port {
    /// The port of a gate whose API answers at `api_url`, for the door where this is spoken.
    #[must_use]
    pub fn new(gate: Arc<Gate>, api_url: String, protocol: Protocol) -> Self {
        Self { gate, api_url, protocol }
    }

    fn door(&self) -> Door {
        match self.protocol {
            Protocol::Ssh => Door::Ssh,
            Protocol::Postgres => Door::Postgres,
            Protocol::Mysql => Door::Mysql,
        }
    }

    fn caller(&self, knock: &Knock) -> Caller {
        Caller { who: knock.who.clone(), door: self.door() }
    }
}

/// A connection that somebody is asked about in a browser, as long as it is there.
struct Asked {
    gate: Arc<Gate>,
    device_code: Secret<String>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.gate.forget_device(self.device_code.expose());
    }
}

#[async_trait]
impl Gatekeeper for Port {
    async fn is_known(&self, offer: Offer<'_>) -> bool {
        match offer {
            Offer::Key(key) => self.gate.knows_key(&key.fingerprint(HashAlg::Sha256).to_string()).await,
            Offer::Certificate(certificate) => login_ca::claims(certificate).is_some(),
            Offer::ClientCertificate(der) => {
                self.gate.knows_client_certificate(&ClientCertificateProof::signature_verified(der.to_vec())).await
            }
        }
    }

    async fn identify(&self, proof: Proof, from: SocketAddr) -> Result<VerifiedIdentity, Refusal> {
        let ip = from.ip().to_canonical();
        match proof {
            Proof::Key { key, presence } => {
                self.gate.identify_key(&KeyProof::signature_verified(key, worth(presence)), ip, Door::Ssh).await
            }
            Proof::Certificate { certificate, presence } => {
                let proof = CertificateProof::signature_verified(*certificate, worth(presence));
                self.gate.identify_certificate(&proof, ip, Door::Ssh).await
            }
            Proof::ClientCertificate { der } => {
                let proof = ClientCertificateProof::signature_verified(der);
                self.gate.identify_client_certificate(&proof, ip, self.door()).await
            }
            Proof::Token(token) => self.gate.identify_token_at(token.expose(), ip, self.door()).await,
        }
    }

    async fn not_signed_in(&self, refusal: Refusal, from: SocketAddr) {
        self.gate.enter_sign_in_refused(&refusal, from.ip().to_canonical(), self.door()).await;
    }

    async fn ask_in_browser(&self, to: &Selector, client: &str, from: SocketAddr) -> Option<InBrowser> {
        let ip = from.ip().to_canonical();
        let Begun { device_code, user_code, mut answered, .. } = self.gate.begin_connection(ip, client, to, self.door()).ok()?;
        let told = format!(
            "You brought no SSH key or certificate that is known here. Open this page in a\n\
             browser, see that it shows your address and this code, and say yes there. Here\n\
             it goes on by itself, for this connection:\n\n  \
             {0}/device?code={user_code}\n\nCode: {user_code}\n\n  \
             for hours?  tidegate login --url {0}\n  \
             invited?    tidegate join {0} CODE",
            self.api_url
        );
        let (asked, door) = (Asked { gate: self.gate.clone(), device_code }, self.door());
        let answer = async move {
            // The sender gone, it waits no more; why is said when it is asked for.
            let _ = answered.wait_for(|answered| *answered).await;
            asked.gate.identify_connection(asked.device_code.expose(), ip, door).await
        };
        Some(InBrowser { told, answer: Box::pin(answer) })
    }

    async fn trouble(&self) -> Option<Refusal> {
        self.gate.trouble().await
    }

    async fn how_to_sign_in(&self, _: SocketAddr) -> String {
        format!(
            "Tidegate knows you by an SSH key or a certificate, and you brought neither.\n\
             Nothing you could type here lets you in. On your own machine:\n\n  \
             invited?          tidegate join {0} CODE\n  \
             key registered?   tidegate login --url {0} --key FILE\n  \
             another key?      tidegate key add FILE.pub\n\n\
             Then connect again. Without an invitation: ask an administrator for one.",
            self.api_url
        )
    }

    fn host_keys(&self) -> Result<HostKeys, Refusal> {
        let (shown, announced) = self.gate.ssh_host_keys()?;
        Ok(HostKeys::new(vec![shown]).announcing(announced.into_iter().collect()))
    }

    async fn knock(&self, knock: &Knock) -> Knocked {
        let given = given(knock, knock.sent.clone());
        let answered = self.gate.knock_saying(&self.caller(knock), &knock.to, given, self.protocol).await;
        self.answered(answered).await
    }

    async fn submit(&self, knock: &Knock, answer: Answer) -> Knocked {
        let given = given(knock, answer);
        let answered = self.gate.knock_with(&self.caller(knock), &knock.to, given, self.protocol).await;
        self.answered(answered).await
    }

    async fn extend(&self, knock: &Knock, more: Option<Span>, reason: Option<String>) -> Extended {
        let submitted = match self.gate.extend_at(&self.caller(knock), &knock.to, more, reason).await {
            Ok(submitted) => submitted,
            Err(refusal) => return Extended::Refused(refusal),
        };
        match submitted.grant.and_then(|grant| grant.ends_at) {
            Some(end) => Extended::Until(end),
            None => match self.waiting(submitted.request.id).await {
                Ok(waiting) => Extended::Waiting(waiting),
                Err(refusal) => Extended::Refused(refusal),
            },
        }
    }

    async fn may_join(&self, knock: &Knock, own: SessionId, host: SessionId) -> Result<(), Refusal> {
        self.gate.may_join(&self.caller(knock), own, host).await
    }

    async fn joined(&self, knock: &Knock, own: SessionId, host: SessionId) -> Result<(), Refusal> {
        self.gate.join_session(&self.caller(knock), own, host).await
    }

    async fn trust_first_host_key(&self, session: SessionId, key: &PublicKey) -> bool {
        let Ok(Some(row)) = self.gate.store().session(session).await else { return false };
        let Ok(text) = key.to_openssh() else { return false };
        let plain: Vec<&str> = text.split(' ').take(2).collect();
        self.gate.trust_first_host_key(&row.resource, plain.join(" "), key.fingerprint(HashAlg::Sha256).to_string()).await
    }

    async fn reached(&self, session: SessionId, ends: Ends) {
        self.gate.reached(session, ends).await;
    }

    async fn onward(&self, session: SessionId, how: Onward, to: &str) {
        self.gate.onward(session, how, to).await;
    }

    async fn refused(&self, session: SessionId, what: Denied) {
        self.gate.denied(session, self.door(), what.what, what.detail).await;
    }

    async fn ended(&self, closed: ClosedSession) {
        self.gate.close(closed).await;
    }
}

impl Port {
    async fn answered(&self, answered: Result<workflow::knock::Knocked, Refusal>) -> Knocked {
        match answered {
            Ok(workflow::knock::Knocked::Open(opened)) => Knocked::Open(Box::new(opening(*opened))),
            Ok(workflow::knock::Knocked::Ask(question)) => Knocked::Ask(worded(&question)),
            Ok(workflow::knock::Knocked::Waiting(request)) => match self.waiting(request).await {
                Ok(waiting) => Knocked::Waiting(waiting),
                Err(refusal) => Knocked::Refused(refusal),
            },
            Ok(workflow::knock::Knocked::Prove { refusal, wait }) => {
                let told = format!(
                    "This needs a fresh proof that it is you. Open this page, see that it shows what you ask for,\n\
                     and use your passkey; here it goes on by itself:\n\n  {}\n\nCode: {}",
                    wait.link, wait.user_code
                );
                Knocked::Prove(Prove { told, refusal, answered: wait.answered, patience: PATIENCE })
            }
            Err(refusal) => Knocked::Refused(refusal),
        }
    }

    async fn waiting(&self, request: RequestId) -> Result<Waiting, Refusal> {
        let mut progress = self.gate.follow(request).await?;
        let (first, limits, patience) = {
            let now = progress.borrow_and_update();
            let limits = if now.limits.is_empty() { String::new() } else { now.limits.to_string() };
            (news(&now), limits, now.wait_at_connect.as_std())
        };
        let (sender, receiver) = watch::channel(first);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    changed = progress.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        sender.send_replace(news(&progress.borrow_and_update()));
                    }
                }
            }
        });
        Ok(Waiting { request, news: receiver, limits, patience })
    }
}

fn given(knock: &Knock, answer: Answer) -> Given {
    let Answer { reason, asked, ticket, break_glass } = answer;
    Given { reason, asked, ticket, limits: knock.limits.clone(), break_glass }
}

fn worth(presence: Presence) -> identity::ssh_key::Presence {
    match presence {
        Presence::Unknown => identity::ssh_key::Presence::Unknown,
        Presence::SecurityKey { touched, verified } => identity::ssh_key::Presence::SecurityKey { touched, verified },
    }
}

fn news(progress: &RequestProgress) -> News {
    News { state: progress.state, asked: progress.asked.clone(), answers: progress.answers.clone() }
}

fn worded(question: &workflow::knock::Question) -> Question {
    let terms = &question.terms;
    let place = format!("{} as {}", question.resource, question.role);
    let stages: Vec<String> = terms
        .approvals
        .iter()
        .flat_map(|plan| &plan.stages)
        .map(|stage| {
            let seats: Vec<String> = stage.seats.iter().map(ToString::to_string).collect();
            format!("{} of {}", stage.count, seats.join(" or "))
        })
        .collect();
    let mut missing = if let Some(refusal) = &question.refused {
        format!("{place}: {}", refusal.to_string().trim_end())
    } else if stages.is_empty() {
        format!("You have no grant for {place}.\nIt opens at once when you say why.")
    } else {
        format!("You have no grant for {place}.\nIt needs the agreement of {}.", stages.join(" and "))
    };
    // Where nobody decides, nobody is told.
    if !stages.is_empty() {
        for line in &question.unusual {
            let _ = write!(missing, "\nThose who decide see: {line}");
        }
    }
    let mut emergency = None;
    if let Some(open) = &question.emergency {
        let review = format!("{} reviews it within {}", open.review.reviewers, open.review.review_within);
        match open.needs {
            None => emergency = Some(format!("In an emergency answer `break glass`: you are in at once, and\n{review}.")),
            Some(mfa) => {
                let _ = write!(missing, "\nIn an emergency you may come in at once, but not with this key: `{mfa}` is needed.");
            }
        }
    }
    Question {
        missing,
        reason: question.needs_reason(),
        ticket: question.needs_ticket(),
        times: format!("{}, at most {}", terms.default.min(terms.max), terms.max),
        refused: question.refused.clone(),
        emergency,
    }
}

fn opening(opened: Opened) -> Opening {
    let watch = PermitWatch::new(opened.standing).hearing(opened.told).counting(opened.traffic);
    let watch = if opened.may_last_longer { watch } else { watch.at_most_this_long() };
    Opening { permit: opened.permit, watch, tape: Box::new(opened.recording) }
}
