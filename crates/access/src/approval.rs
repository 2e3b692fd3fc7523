//! Who agrees: plans of stages and seats, votes, and the rule that one person fills one seat.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Actor, EntryDraft, Event};
use crate::fold::{Tables, apply};
use crate::grant::{Frozen, GrantRow};
use crate::ids::{GrantId, PasskeyId, PrincipalId, RequestId, VoteId};
use crate::names::{GroupName, NameError, PlanName};
use crate::reason::{Reason, Refusal};
use crate::request::{Door, RequestRow};
use crate::time::Span;
use crate::verdict::{Answer, Verdict};

/// Whose members may fill a stage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seat {
    /// A group's.
    Group(GroupName),
    /// Those on call now for a schedule; written `on-call:NAME`.
    OnCall(GroupName),
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => name.fmt(f),
            Self::OnCall(name) => write!(f, "on-call:{name}"),
        }
    }
}

impl FromStr for Seat {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("on-call:") {
            Some(name) => name.parse().map(Self::OnCall),
            None => text.parse().map(Self::Group),
        }
    }
}

impl Serialize for Seat {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seat {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// So many people out of any of these seats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Any of these (OR).
    pub seats: Vec<Seat>,
    /// How many different people.
    pub count: u32,
    /// After this long without them, `escalate_to` may fill the stage too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Who joins then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_to: Option<Seat>,
    /// Whether only approvals count that are signed with the approver's passkey.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
}

impl Stage {
    /// The seats that may fill the stage `since_asked` after the request.
    pub fn seats_after(&self, since_asked: Span) -> impl Iterator<Item = &Seat> {
        let escalated = match (self.timeout, &self.escalate_to) {
            (Some(timeout), Some(seat)) if since_asked >= timeout => Some(seat),
            _ => None,
        };
        self.seats.iter().chain(escalated)
    }
}

/// A named approval plan: all of its stages (AND).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name in `approvals.toml`.
    pub name: PlanName,
    /// Its stages.
    pub stages: Vec<Stage>,
}

codes! {
    /// What somebody says to a request.
    Decision("decision") {
        /// Yes.
        Approve = "approve",
        /// No.
        Deny = "deny",
    }
}

/// Indexes of stages, counted through all plans of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageIndexes(pub Vec<usize>);
json_fields!(StageIndexes);

/// An approver's passkey over the exact request: what was signed, and all that is needed to verify it without the gate.
///
/// The binary parts are base64url without padding, as WebAuthn gives them (Level 3, §5.8.1, §6.1, §6.3.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteSignature {
    /// Which passkey.
    pub passkey: PasskeyId,
    /// The passkey's id, as its authenticator knows it.
    pub credential: String,
    /// Its public key (COSE_Key).
    pub public_key: String,
    /// What was signed: RFC 8785 JSON of a [`crate::statement::ApprovalStatement`]. The challenge is its SHA-256.
    pub statement: String,
    /// `authenticatorData`.
    pub authenticator_data: String,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `signature`.
    pub signature: String,
}
json_fields!(VoteSignature);

row! {
    /// One person's yes or no.
    VoteRow in "votes" {
        /// `vot_…`.
        id: VoteId,
        /// To which request.
        request: RequestId,
        /// To which revision of it.
        revision: i64,
        /// Whose.
        voter: PrincipalId,
        /// Yes or no.
        decision: Decision,
        /// The stages the voter could fill when they clicked.
        stages: StageIndexes,
        /// The voter's passkey over the exact request, if it was signed.
        signature: Option<VoteSignature>,
        /// Why; `None` if nothing was said or it was erased.
        note: Option<String>,
        /// When.
        at: Timestamp,
    }
}

impl VoteRow {
    /// The stages it can fill, of all there are: one that wants a signature is filled by no vote without.
    // INVARIANT: a stage that wants signed approvals is never filled by one that is not.
    #[must_use]
    pub fn fills<'s>(&self, stages: impl IntoIterator<Item = &'s Stage>) -> Vec<usize> {
        let signed = self.signature.is_some();
        let open = |stage: &Stage| signed || !stage.signed;
        stages.into_iter().enumerate().filter(|(i, stage)| self.stages.0.contains(i) && open(stage)).map(|(i, _)| i).collect()
    }
}

/// Proof that everybody who had to agree to a request did.
///
/// Made from a verdict that permits at once, or from the votes that fill every stage; spent on one grant or one extension.
#[must_use]
#[derive(Debug)]
pub struct ApprovedRequest {
    request: RequestRow,
    approvers: Vec<PrincipalId>,
}

impl ApprovedRequest {
    /// Nobody has to agree, and the verdict says so.
    ///
    /// # Errors
    /// If it says anything else.
    pub fn by_policy(request: RequestRow, verdict: Verdict) -> Result<Self, Refusal> {
        match verdict.answer {
            Answer::Permit { terms } if terms.people() == 0 && terms == request.terms => Ok(Self { request, approvers: Vec::new() }),
            Answer::Deny { reason, detail } => Err(Refusal::because(reason, detail)),
            _ => Err(Refusal::of(Reason::Pending)),
        }
    }

    /// The votes for its present revision fill every stage.
    ///
    /// # Errors
    /// With how many people each stage still lacks.
    pub fn by_people(request: RequestRow, votes: &[VoteRow]) -> Result<Self, Vec<u32>> {
        let counted: Vec<&VoteRow> = votes
            .iter()
            .filter(|v| {
                v.request == request.id && v.revision == request.revision && v.decision == Decision::Approve && v.voter != request.person
            })
            .collect();
        let counts: Vec<u32> = request.terms.approvals.iter().flat_map(|p| &p.stages).map(|s| s.count).collect();
        let fillable: Vec<Vec<usize>> = counted.iter().map(|v| v.fills(request.terms.approvals.iter().flat_map(|p| &p.stages))).collect();
        let voters: Vec<&[usize]> = fillable.iter().map(Vec::as_slice).collect();
        let lacking = missing(&counts, &voters);
        if lacking.iter().any(|n| *n > 0) {
            return Err(lacking);
        }
        let approvers = counted.iter().map(|v| v.voter).collect();
        Ok(Self { request, approvers })
    }

    /// The request that was approved.
    #[must_use]
    pub fn request(&self) -> &RequestRow {
        &self.request
    }

    /// Who agreed.
    #[must_use]
    pub fn approvers(&self) -> &[PrincipalId] {
        &self.approvers
    }

    /// The grant it would become now, to ask of it what its use will be asked.
    #[must_use]
    pub fn would_be(&self, length: Option<Span>, frozen: Frozen, now: Timestamp) -> Option<GrantRow> {
        let likewise = Self { request: self.request.clone(), approvers: self.approvers.clone() };
        let created = likewise.into_grant(GrantId::generate(now), length, frozen, now);
        let mut tables = Tables::default();
        apply(&mut tables, &EntryDraft::new(now, Actor::Gate, Door::Gate, created).seal()).ok()?;
        tables.grants.into_values().next()
    }

    /// Becomes a grant of `length` (none: standing) that has to be activated in time.
    #[must_use]
    pub fn into_grant(self, grant: GrantId, length: Option<Span>, frozen: Frozen, now: Timestamp) -> Event {
        let RequestRow { id, person, resource, role, limits, terms, break_glass, bundle, policy, .. } = self.request;
        let activate_by = terms.activate_within.after(now);
        Event::GrantCreated {
            grant,
            request: id,
            person,
            resource,
            role,
            limits,
            terms,
            length,
            break_glass,
            bundle,
            policy,
            approvers: self.approvers,
            frozen,
            activate_by,
        }
    }
}

/// Whether the voters fill all stages, each person at most one seat.
///
/// `counts[i]` people are needed in stage `i`; `voters[v]` lists the stages voter `v` can fill. This is a maximum matching
/// of voters to seats (augmenting paths), so that somebody who fits two stages never stands in the way of somebody who fits one.
#[must_use]
pub fn filled(counts: &[u32], voters: &[&[usize]]) -> bool {
    missing(counts, voters).iter().all(|m| *m == 0)
}

/// How many people each stage still lacks under the best seating.
#[must_use]
pub fn missing(counts: &[u32], voters: &[&[usize]]) -> Vec<u32> {
    let seats: Vec<usize> = counts.iter().enumerate().flat_map(|(stage, n)| std::iter::repeat_n(stage, *n as usize)).collect();
    let mut taken: Vec<Option<usize>> = vec![None; seats.len()];

    fn place(voter: usize, voters: &[&[usize]], seats: &[usize], taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
        for seat in 0..seats.len() {
            if seen[seat] || !voters[voter].contains(&seats[seat]) {
                continue;
            }
            seen[seat] = true;
            let free = match taken[seat] {
                None => true,
                Some(sitting) => place(sitting, voters, seats, taken, seen),
            };
            if free {
                taken[seat] = Some(voter);
                return true;
            }
        }
        false
    }

    for voter in 0..voters.len() {
        let mut seen = vec![false; seats.len()];
        place(voter, voters, &seats, &mut taken, &mut seen);
    }
    let mut lacking = vec![0; counts.len()];
    for (seat, sitting) in taken.iter().enumerate() {
        if sitting.is_none() {
            lacking[seats[seat]] += 1;
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // covers: OK-2, OK-3, C7
    #[test]
    fn one_person_fills_one_seat() {
        assert!(filled(&[], &[]));
        assert!(filled(&[1], &[&[0]]));
        // Ben is on call and in security: he fills one of the two, not both.
        assert!(!filled(&[1, 1], &[&[0, 1]]));
        assert!(filled(&[1, 1], &[&[0, 1], &[0]]));
        assert!(filled(&[1, 1], &[&[0], &[0, 1]]));
        assert_eq!(missing(&[2, 1], &[&[0], &[0, 1]]), vec![0, 1]);
    }

    proptest! {
        #[test]
        fn the_matching_equals_trying_every_seating(
            counts in prop::collection::vec(0u32..3, 1..4),
            voters in prop::collection::vec(prop::collection::vec(0usize..4, 0..4), 0..5),
        ) {
            fn try_all(left: &mut [u32], voters: &[Vec<usize>]) -> bool {
                if left.iter().all(|n| *n == 0) { return true; }
                let Some((first, rest)) = voters.split_first() else { return false };
                if try_all(left, rest) { return true; }
                for stage in first {
                    if left.get(*stage).is_some_and(|n| *n > 0) {
                        left[*stage] -= 1;
                        let done = try_all(left, rest);
                        left[*stage] += 1;
                        if done { return true; }
                    }
                }
                false
            }
            let refs: Vec<&[usize]> = voters.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(filled(&counts, &refs), try_all(&mut counts.clone(), &voters));
        }
    }
}
