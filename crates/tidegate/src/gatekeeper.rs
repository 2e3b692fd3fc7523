//! The proxies' port, answered by the workflow's verbs. Nothing is decided here.

use std::net::SocketAddr;
use std::sync::Arc;

use access::identity::VerifiedIdentity;
use access::ids::{RequestId, SessionId};
use access::reason::Refusal;
use access::request::Door;
use access::session::{ClosedSession, Protocol};
use async_trait::async_trait;
use identity::login_ca::{self, CertificateProof};
use identity::ssh_key::KeyProof;
use proxy::gatekeeper::{
    Answer, Denied, Gatekeeper, Knock, Knocked, News, Offer, Opening, PermitWatch, Presence, Proof, Question, Waiting,
};
use ssh_key::{HashAlg, PublicKey};
use tokio::sync::watch;
use workflow::knock::{Given, RequestProgress};
use workflow::open::Opened;
use workflow::{Caller, Gate};

/// The port as the SSH door sees it.
#[derive(Debug, Clone)]
pub struct Port(pub Arc<Gate>);

#[async_trait]
impl Gatekeeper for Port {
    async fn is_known(&self, offer: Offer<'_>) -> bool {
        match offer {
            Offer::Key(key) => self.0.knows_key(&key.fingerprint(HashAlg::Sha256).to_string()).await,
            Offer::Certificate(certificate) => login_ca::claims(certificate).is_some(),
        }
    }

    async fn identify(&self, proof: Proof, from: SocketAddr) -> Result<VerifiedIdentity, Refusal> {
        let ip = from.ip().to_canonical();
        match proof {
            Proof::Key { key, presence } => self.0.identify_key(&KeyProof::signature_verified(key, worth(presence)), ip, Door::Ssh).await,
            Proof::Certificate { certificate, presence } => {
                let proof = CertificateProof::signature_verified(*certificate, worth(presence));
                self.0.identify_certificate(&proof, ip, Door::Ssh).await
            }
        }
    }

    async fn knock(&self, knock: &Knock) -> Knocked {
        let answered = self.0.knock(&caller(knock), &knock.to, Protocol::Ssh).await;
        self.answered(answered).await
    }

    async fn submit(&self, knock: &Knock, answer: Answer) -> Knocked {
        let given = Given { reason: answer.reason, asked: answer.asked, ticket: answer.ticket };
        let answered = self.0.knock_with(&caller(knock), &knock.to, given, Protocol::Ssh).await;
        self.answered(answered).await
    }

    async fn trust_first_host_key(&self, session: SessionId, key: &PublicKey) -> bool {
        let Ok(Some(row)) = self.0.store().session(session).await else { return false };
        let Ok(text) = key.to_openssh() else { return false };
        let plain: Vec<&str> = text.split(' ').take(2).collect();
        self.0.trust_first_host_key(&row.resource, plain.join(" "), key.fingerprint(HashAlg::Sha256).to_string()).await
    }

    async fn refused(&self, session: SessionId, what: Denied) {
        self.0.denied(session, what.what, what.detail).await;
    }

    async fn ended(&self, closed: ClosedSession) {
        self.0.close(closed).await;
    }
}

impl Port {
    async fn answered(&self, answered: Result<workflow::knock::Knocked, Refusal>) -> Knocked {
        match answered {
            Ok(workflow::knock::Knocked::Open(opened)) => Knocked::Open(Box::new(opening(*opened))),
            Ok(workflow::knock::Knocked::Ask(question)) => Knocked::Ask(worded(&question)),
            Ok(workflow::knock::Knocked::Waiting(request)) => self.waiting(request).await,
            Err(refusal) => Knocked::Refused(refusal),
        }
    }

    async fn waiting(&self, request: RequestId) -> Knocked {
        let mut progress = match self.0.follow(request).await {
            Ok(progress) => progress,
            Err(refusal) => return Knocked::Refused(refusal),
        };
        let first = news(&progress.borrow_and_update());
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
        Knocked::Waiting(Waiting { request, news: receiver })
    }
}

fn caller(knock: &Knock) -> Caller {
    Caller { who: knock.who.clone(), door: Door::Ssh }
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
    let missing = if stages.is_empty() {
        format!("You have no grant for {place}. It opens at once when you say why.")
    } else {
        format!("You have no grant for {place}. It needs the agreement of {}.", stages.join(" and "))
    };
    Question {
        missing,
        reason: question.needs_reason(),
        ticket: question.needs_ticket(),
        times: format!("{}, at most {}", terms.default.min(terms.max), terms.max),
    }
}

fn opening(opened: Opened) -> Opening {
    Opening { permit: opened.permit, watch: PermitWatch::new(opened.standing), tape: Box::new(opened.recording) }
}
