//! The proxies' port, answered by the workflow's verbs. Nothing is decided here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use access::identity::VerifiedIdentity;
use access::ids::{RequestId, SessionId};
use access::reason::Refusal;
use access::request::Door;
use access::session::{ClosedSession, EndReason, Protocol};
use async_trait::async_trait;
use evidence::recording::{self, FrameKind, RecordingHandle};
use identity::login_ca::{self, CertificateProof};
use identity::ssh_key::KeyProof;
use proxy::gatekeeper::{Answer, Denied, Gatekeeper, Knock, Knocked, News, Offer, Opening, PermitWatch, Presence, Proof, Question, Waiting};
use proxy::tape::{Frame, Kind, Tape, TapeFailed};
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
    let tape = RecordingTape { recording: opened.recording, started: Instant::now() };
    Opening { permit: opened.permit, watch: PermitWatch::new(opened.standing), tape: Box::new(tape) }
}

/// The recorder of one session.
#[derive(Debug)]
struct RecordingTape {
    recording: RecordingHandle,
    started: Instant,
}

#[async_trait]
impl Tape for RecordingTape {
    async fn record(&self, frame: Frame) -> Result<(), TapeFailed> {
        self.recording.record(translated(frame)).await.map_err(|error| {
            tracing::error!(%error, "a session ends because it can't be recorded");
            TapeFailed
        })
    }

    async fn failed(&self) {
        self.recording.failed().await;
    }

    async fn close(&self, end: EndReason) -> Option<(u64, String)> {
        let at_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match self.recording.close(end.code(), at_us).await {
            Ok(closed) => Some((closed.chunks, hex::encode(closed.digest))),
            Err(error) => {
                tracing::error!(%error, "a recording could not be closed; it is valid to its last whole chunk");
                None
            }
        }
    }
}

/// A relay's frame as a recording has it.
fn translated(frame: Frame) -> recording::Frame {
    let Frame { channel, direction, kind, at_us, bytes } = frame;
    if kind == Kind::Activity
        && let Some((columns, rows)) = resized(&bytes)
    {
        return recording::Frame::resize(at_us, channel, columns, rows);
    }
    let (direction, kind) = match (kind, direction) {
        (Kind::Activity, _) => (recording::Direction::Gate, FrameKind::Activity),
        (Kind::Output, _) => (recording::Direction::Output, FrameKind::Bytes),
        (Kind::ErrorOutput, _) => (recording::Direction::Output, FrameKind::Stderr),
        (Kind::TerminalInput | Kind::Input, _) => (recording::Direction::Input, FrameKind::Bytes),
    };
    recording::Frame { at_us, channel, direction, kind, bytes }
}

/// The new size of a terminal, if that is what an activity is.
fn resized(activity: &[u8]) -> Option<(u32, u32)> {
    #[derive(serde::Deserialize)]
    struct Resize<'a> {
        r#do: &'a str,
        columns: u32,
        rows: u32,
    }
    let resize: Resize<'_> = serde_json::from_slice(activity).ok()?;
    (resize.r#do == "resize").then_some((resize.columns, resize.rows))
}
