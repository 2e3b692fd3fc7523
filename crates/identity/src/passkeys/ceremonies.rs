//! The challenges that wait for a passkey. In memory and bounded: losing them costs a second try.

use std::net::IpAddr;

use access::ids::{PrincipalId, RequestId, WebSessionId};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use crate::waiting::Waiting;

/// For so long a challenge may be answered: time to find the phone.
pub const VALID_FOR: Span = Span::minutes(5);
/// At most so many of those wait that anybody may begin, and as many of people who are signed in …
const ROOM: usize = 8192;
/// … and so many from one network, or of one person; their own oldest gives way, nobody else's.
const EACH: usize = 64;

/// What a challenge was given out for. An answer is good for that and for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Whoever has a passkey signs in.
    SignIn,
    /// A person adds one.
    Register(PrincipalId),
    /// A person proves freshly that it is them, for the browser they are signed in with …
    StepUp(PrincipalId, WebSessionId),
    /// … or for a terminal that waits, known by what they were shown of it.
    Terminal(PrincipalId, String),
    /// A person signs an approval.
    Approve {
        /// Who.
        person: PrincipalId,
        /// Of what.
        request: RequestId,
        /// The statement; the challenge is its digest.
        statement: String,
    },
}

impl Purpose {
    /// Whose it is, of somebody who is signed in.
    fn person(&self) -> Option<PrincipalId> {
        match self {
            Self::SignIn => None,
            Self::Register(person) | Self::StepUp(person, _) | Self::Terminal(person, _) | Self::Approve { person, .. } => Some(*person),
        }
    }
}

/// A challenge that was given out, taken back to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceremony {
    /// What for.
    pub purpose: Purpose,
    /// Its bytes.
    pub challenge: Vec<u8>,
    end: Timestamp,
}

/// The challenges that wait: those of whoever wants to sign in, by network, and apart from them those of people who are signed in.
#[derive(Debug)]
pub struct Ceremonies {
    strangers: Waiting<Ceremony>,
    people: Waiting<Ceremony>,
}

impl Default for Ceremonies {
    fn default() -> Self {
        Self { strangers: Waiting::new(ROOM, EACH), people: Waiting::new(ROOM, EACH) }
    }
}

impl Ceremonies {
    /// A new challenge: 32 random bytes.
    pub fn begin(&mut self, purpose: Purpose, from: IpAddr, now: Timestamp) -> Vec<u8> {
        self.begin_with(rand::random::<[u8; 32]>().to_vec(), purpose, from, now)
    }

    /// A challenge that says what is signed; it has to be of a text that is never made twice.
    pub fn begin_with(&mut self, challenge: Vec<u8>, purpose: Purpose, from: IpAddr, now: Timestamp) -> Vec<u8> {
        let ceremony = Ceremony { purpose, challenge: challenge.clone(), end: VALID_FOR.after(now) };
        let person = ceremony.purpose.person();
        let all = if person.is_some() { &mut self.people } else { &mut self.strangers };
        all.retain(|waiting| now < waiting.end);
        match person {
            Some(person) => all.push(person, ceremony),
            None => all.push(from, ceremony),
        }
        challenge
    }

    /// Takes a challenge back; it is gone with the first answer, right or wrong.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] when it was never given out, was answered before or is too old.
    pub fn take(&mut self, challenge: &[u8], now: Timestamp) -> Result<Ceremony, Refusal> {
        let is_it = |waiting: &Ceremony| -> bool { waiting.challenge.ct_eq(challenge).into() };
        let taken = self.people.take(is_it).or_else(|| self.strangers.take(is_it)).filter(|ceremony| now < ceremony.end);
        taken.ok_or_else(|| Refusal::because(Reason::CodeInvalid, "the passkey answered too late, or a second time; try once more"))
    }
}
