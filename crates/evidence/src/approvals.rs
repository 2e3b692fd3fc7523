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

#[cfg(test)]
mod tests {
    use super::*;
    use access::event::EntryDraft;
    use access::ids::{UserId, VoteId};
    use access::request::Door;
    use access::verdict::Terms;
    use jiff::Timestamp;
    use webauthn::authenticator::{Authenticator, Wish};
    use webauthn::encode;

    fn at() -> Timestamp {
        "2026-03-02T12:00:00Z".parse().unwrap()
    }

    fn terms() -> Terms {
        let stage = serde_json::json!({ "seats": ["leads"], "count": 1, "signed": true });
        serde_json::from_value(serde_json::json!({
            "tier": "prod", "max": "4h", "default": "1h", "approvals": [{ "name": "lead", "stages": [stage] }], "mfa": "none",
            "mfa_within": "12h", "ticket": "none", "reason": true, "record": "content", "durability": "flush", "idle": "15m",
            "activate_within": "8h", "pending_for": "24h", "wait_at_connect": "2m", "host_keys": "pinned", "standing": false,
        }))
        .unwrap()
    }

    /// Ana's request that Ben signs: what the log says of it.
    struct Story {
        ana: PrincipalId,
        ben: PrincipalId,
        request: RequestId,
        passkey: PasskeyId,
        key: Authenticator,
        public_key: Vec<u8>,
        entries: Vec<Entry>,
    }

    impl Story {
        fn new() -> Self {
            let (ana, ben) = (UserId::generate(at()).into(), UserId::generate(at()).into());
            let (request, passkey) = (RequestId::generate(at()), PasskeyId::generate(at()));
            let mut key = Authenticator::es256();
            let party = RelyingParty::of_page("https://gate.example.com").unwrap();
            let (client_data, object) = key.register(b"make", &party, &Wish::default());
            let made = webauthn::verify_registration(&client_data, &object, Expected { challenge: b"make", party: &party }).unwrap();
            let mut story = Self { ana, ben, request, passkey, key, public_key: made.public_key, entries: Vec::new() };
            let public_key = hex::encode(Sha256::digest(&story.public_key));
            story.happens(ben, Event::PasskeyAdded { passkey, person: ben, public_key, row_digest: String::new() }, None);
            let asked = Event::RequestSubmitted {
                request,
                person: ana,
                resource: "db-1".parse().unwrap(),
                role: "shell".parse().unwrap(),
                asked: access::request::Asked::Default,
                limits: access::limits::Limits::default(),
                break_glass: false,
                extends: None,
                mfa: access::identity::Mfa::None,
                claims: None,
                terms: terms(),
                bundle: "b".into(),
                policy: "p".into(),
                expires_at: at(),
                risk: None,
            };
            story.happens(ana, asked, Some("disk is full"));
            story
        }

        fn happens(&mut self, who: PrincipalId, event: Event, reason: Option<&str>) {
            self.entries.push(EntryDraft::new(at(), Actor::Principal(who), Door::Api, event).text("reason", reason).seal());
        }

        fn edited(&mut self) {
            let edited = Event::RequestEdited {
                request: self.request,
                asked: "3h".parse().unwrap(),
                limits: access::limits::Limits::default(),
                mfa: access::identity::Mfa::None,
                terms: terms(),
                bundle: "b".into(),
                policy: "p".into(),
                expires_at: at(),
                risk: None,
            };
            self.happens(self.ana, edited, Some("all of it"));
        }

        /// What somebody is given to sign as the request stands now.
        fn statement(&self, approver: PrincipalId) -> ApprovalStatement {
            let (mut rows, mut digests) = (access::fold::Tables::default(), BTreeMap::new());
            for entry in &self.entries {
                access::fold::apply(&mut rows, entry).unwrap();
                if matches!(entry.event, Event::RequestSubmitted { .. } | Event::RequestEdited { .. }) {
                    digests = text_digests(&entry.leaf().unwrap());
                }
            }
            let row = rows.requests.into_values().next().unwrap();
            ApprovalStatement::of(&row, approver, "https://gate.example.com", "gate.example.com", digests.remove("reason"), None)
        }

        fn signs(&mut self, statement: &ApprovalStatement) -> VoteSignature {
            let text = statement.text().unwrap();
            let party = RelyingParty { id: statement.party.clone(), origin: statement.gate.clone() };
            let answer = self.key.assert(&challenge(&text), &party, &Wish::default());
            VoteSignature {
                passkey: self.passkey,
                credential: answer.credential,
                public_key: encode(&self.public_key),
                statement: text,
                authenticator_data: answer.authenticator_data,
                client_data: answer.client_data,
                signature: answer.signature,
            }
        }

        fn votes(&mut self, voter: PrincipalId, revision: i64, signature: Option<VoteSignature>) {
            let (request, signature) = (self.request, signature.map(Box::new));
            let vote = VoteId::generate(at());
            let (decision, stages, invited_by_asker) = (Decision::Approve, vec![0], false);
            let event = Event::RequestVoted { request, vote, revision, voter, decision, stages, signature, invited_by_asker };
            self.happens(voter, event, None);
        }

        fn verified(&self) -> Result<u64, String> {
            let mut approvals = Approvals::default();
            for entry in &self.entries {
                approvals.hear(entry, &entry.leaf().unwrap());
            }
            let (good, wrong) = approvals.finish();
            wrong.first().map_or(Ok(good), |finding| Err(finding.to_string()))
        }
    }

    /// Ben signs after something was changed about what he signs or how it is kept.
    fn after(change: impl FnOnce(&mut ApprovalStatement), then: impl FnOnce(&mut VoteSignature)) -> Result<u64, String> {
        let mut story = Story::new();
        let mut statement = story.statement(story.ben);
        change(&mut statement);
        let mut signature = story.signs(&statement);
        then(&mut signature);
        story.votes(story.ben, 1, Some(signature));
        story.verified()
    }

    #[track_caller]
    fn fails(found: Result<u64, String>, why: &str) {
        let found = found.expect_err("it verified");
        assert!(found.contains(why), "{found}");
    }

    // covers: OK-7
    #[test]
    fn an_approval_verifies_from_the_log_alone_and_a_changed_one_does_not() {
        assert_eq!(after(|_| {}, |_| {}), Ok(1));
        let changes: [fn(&mut ApprovalStatement); 10] = [
            |s| s.role = "admin".parse().unwrap(),
            |s| s.duration = "4h".parse().unwrap(),
            |s| s.resource = "web-1".parse().unwrap(),
            |s| s.break_glass = true,
            |s| s.reason = None,
            |s| s.reason = Some("0".repeat(64)),
            |s| s.revision = 2,
            |s| s.person = s.approver,
            |s| s.limits.read_only = true,
            |s| s.bundle = "c".into(),
        ];
        for change in changes {
            fails(after(change, |_| {}), "another request was signed");
        }
        fails(after(|s| s.approver = s.person, |_| {}), "somebody else signed it");
        fails(after(|s| s.purpose = "something else".into(), |_| {}), "no statement");
        fails(after(|s| s.party = "evil.example".into(), |_| {}), "not the gate's");
        // What was kept is not what was signed.
        fails(after(|_| {}, |kept| kept.statement = kept.statement.replace(r#""nonce":""#, r#""nonce":"0"#)), "another challenge");
        fails(after(|_| {}, |kept| kept.statement.push(' ')), "no statement");
        fails(after(|_| {}, |kept| kept.signature = kept.credential.clone()), "signature is wrong");
        fails(after(|_| {}, |kept| kept.public_key = encode(b"x")), "not the one that was registered");
        fails(after(|_| {}, |kept| kept.passkey = PasskeyId::generate(at())), "whose passkey it is");
    }

    // covers: OK-7
    #[test]
    fn an_edit_makes_a_signature_worthless_and_none_is_no_signature() {
        let mut story = Story::new();
        let before = story.statement(story.ben);
        let before = story.signs(&before);
        story.edited();
        let now = story.statement(story.ben);
        let now = story.signs(&now);
        let mut right =
            Story { entries: story.entries.clone(), key: Authenticator::es256(), public_key: story.public_key.clone(), ..story };
        right.votes(right.ben, 2, Some(now));
        assert_eq!(right.verified(), Ok(1));
        right.entries.pop();
        right.votes(right.ben, 2, Some(before));
        fails(right.verified(), "another request was signed");
        right.entries.pop();
        right.votes(right.ben, 2, None);
        fails(right.verified(), "it had to be signed");
        // Carla's vote with Ben's signature.
        let mut story = Story::new();
        let statement = story.statement(story.ben);
        let signature = story.signs(&statement);
        story.votes(UserId::generate(at()).into(), 1, Some(signature));
        fails(story.verified(), "somebody else signed it");
    }
}
