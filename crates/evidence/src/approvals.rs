//! Signed approvals, verified without the gate: that the approver's passkey signed just the request that the log says was asked.
//!
//! What it takes stands in the log itself: the request as it was submitted or edited, whose passkey it is, and with the vote the statement,
//! the assertion and the public key (WebAuthn Level 3, §7.2). The same code verified the signature when it was given.

use std::collections::{BTreeMap, HashMap};

use access::approval::{Decision, Stage, VoteSignature};
use access::event::{Actor, Entry, Event};
use access::ids::{PasskeyId, PrincipalId, RequestId};
use access::statement::{ApprovalStatement, challenge, text_digests};
use sha2::{Digest as _, Sha256};
use webauthn::{Assertion, Expected, PublicKey, RelyingParty, decode, verify_assertion};

use crate::finding::Finding;

/// What one revision of a request is, as far as it is signed.
struct Asked {
    /// A statement of it by nobody in particular.
    said: Said,
    stages: Vec<Stage>,
}

/// The fields of a statement that follow from the request.
#[derive(PartialEq)]
struct Said(serde_json::Value);

impl Said {
    fn of(statement: &ApprovalStatement) -> Option<Self> {
        let mut value = serde_json::to_value(statement).ok()?;
        let fields = value.as_object_mut()?;
        for other in ["purpose", "gate", "party", "approver", "nonce"] {
            fields.remove(other);
        }
        Some(Self(value))
    }
}

struct Vote {
    request: RequestId,
    revision: i64,
    voter: PrincipalId,
    actor: Actor,
    stages: Vec<usize>,
    signature: Option<Box<VoteSignature>>,
}

/// The approvals that entries speak of, heard in the order of the log.
#[derive(Default)]
pub(crate) struct Approvals {
    requests: HashMap<RequestId, Vec<Asked>>,
    passkeys: BTreeMap<PasskeyId, (PrincipalId, String)>,
    votes: Vec<Vote>,
}

impl Approvals {
    /// Notes what an entry says, and the leaf it stands in.
    pub(crate) fn hear(&mut self, entry: &Entry, leaf: &[u8]) {
        match &entry.event {
            Event::PasskeyAdded { passkey, person, public_key, .. } => {
                self.passkeys.insert(*passkey, (*person, public_key.clone()));
            }
            Event::RequestSubmitted { request, .. } => {
                let mut rows = access::fold::Tables::default();
                if access::fold::apply(&mut rows, entry).is_ok()
                    && let Some(row) = rows.requests.into_values().next()
                {
                    self.requests.entry(*request).or_default().extend(asked(&row, leaf));
                }
            }
            Event::RequestEdited { request, asked: duration, limits, terms, bundle, .. } => {
                let Some(revisions) = self.requests.get_mut(request) else { return };
                let Some(Said(mut said)) = revisions.last().map(|asked| Said(asked.said.0.clone())) else { return };
                let digests = text_digests(leaf);
                if let Some(fields) = said.as_object_mut() {
                    fields.insert("revision".into(), (revisions.len() + 1).into());
                    fields.insert("duration".into(), serde_json::json!(duration));
                    fields.insert("limits".into(), serde_json::json!(limits));
                    fields.insert("bundle".into(), serde_json::json!(bundle));
                    for name in ["reason", "ticket"] {
                        fields.remove(name);
                        fields.extend(digests.get(name).map(|digest| (name.to_owned(), digest.clone().into())));
                    }
                }
                let stages = terms.approvals.iter().flat_map(|plan| plan.stages.clone()).collect();
                revisions.push(Asked { said: Said(said), stages });
            }
            Event::RequestVoted { request, revision, voter, decision: Decision::Approve, stages, signature, .. } => self.votes.push(Vote {
                request: *request,
                revision: *revision,
                voter: *voter,
                actor: entry.actor,
                stages: stages.clone(),
                signature: signature.clone(),
            }),
            _ => {}
        }
    }

    /// How many approvals are signed and verify, and what is wrong with the others.
    pub(crate) fn finish(self) -> (u64, Vec<Finding>) {
        let (mut good, mut wrong) = (0, Vec::new());
        for vote in &self.votes {
            let verified = match &vote.signature {
                Some(signature) => self.verify(vote, signature).map(|()| good += 1),
                None => self.needs_none(vote),
            };
            if let Err(reason) = verified {
                wrong.push(Finding::ApprovalUnproved { request: vote.request.to_string(), voter: vote.voter.to_string(), reason });
            }
        }
        (good, wrong)
    }

    fn revision(&self, vote: &Vote) -> Option<&Asked> {
        let at = usize::try_from(vote.revision).ok()?.checked_sub(1)?;
        self.requests.get(&vote.request)?.get(at)
    }

    /// An approval without a signature fills no stage that wants one.
    fn needs_none(&self, vote: &Vote) -> Result<(), String> {
        let stages = self.revision(vote).map_or(&[][..], |asked| &asked.stages);
        let wants = stages.iter().enumerate().any(|(i, stage)| stage.signed && vote.stages.contains(&i));
        if wants { Err("it had to be signed, and it is not".into()) } else { Ok(()) }
    }

    fn verify(&self, vote: &Vote, signature: &VoteSignature) -> Result<(), String> {
        let statement = ApprovalStatement::read(&signature.statement).ok_or("what was signed is no statement in its one form")?;
        if statement.approver != vote.voter || vote.actor != Actor::Principal(vote.voter) {
            return Err("somebody else signed it".into());
        }
        let asked = self.revision(vote).ok_or("the request is not among the entries")?;
        if Said::of(&statement).as_ref() != Some(&asked.said) {
            return Err("another request was signed than the one that was asked".into());
        }
        let key = decode(&signature.public_key, "the public key").map_err(|flaw| flaw.to_string())?;
        match self.passkeys.get(&signature.passkey) {
            None => return Err("no entry says whose passkey it is".into()),
            Some((owner, _)) if *owner != vote.voter => return Err("the passkey is somebody else's".into()),
            Some((_, digest)) if *digest != hex::encode(Sha256::digest(&key)) => {
                return Err("its public key is not the one that was registered".into());
            }
            Some(_) => {}
        }
        let party = RelyingParty { id: statement.party.clone(), origin: statement.gate.clone() };
        if RelyingParty::of_page(&statement.gate).as_ref() != Some(&party) {
            return Err("the page it was signed on is not the gate's".into());
        }
        let assertion = Assertion {
            credential: signature.credential.clone(),
            client_data: signature.client_data.clone(),
            authenticator_data: signature.authenticator_data.clone(),
            signature: signature.signature.clone(),
        };
        let key = PublicKey::read(&key).map_err(|flaw| flaw.to_string())?;
        let expected = Expected { challenge: &challenge(&signature.statement), party: &party };
        verify_assertion(&assertion, &key, expected).map(drop).map_err(|flaw| flaw.to_string())
    }
}

fn asked(row: &access::request::RequestRow, leaf: &[u8]) -> Option<Asked> {
    let mut digests = text_digests(leaf);
    let (reason, ticket) = (digests.remove("reason"), digests.remove("ticket"));
    let said = Said::of(&ApprovalStatement::of(row, row.person, "", "", reason, ticket))?;
    Some(Asked { said, stages: row.terms.approvals.iter().flat_map(|plan| plan.stages.clone()).collect() })
}
