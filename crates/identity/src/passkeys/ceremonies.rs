//! The challenges that wait for a passkey. In memory and bounded: losing them costs a second try.

use std::collections::VecDeque;
use std::net::IpAddr;

use access::ids::{PrincipalId, RequestId, WebSessionId};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

/// For so long a challenge may be answered: time to find the phone.
pub const VALID_FOR: Span = Span::minutes(5);
/// At most so many wait …
const ROOM: usize = 8192;
/// … and so many from one address; its own oldest gives way, nobody else's.
const PER_ADDRESS: usize = 64;

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

/// A challenge that was given out, taken back to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceremony {
    /// What for.
    pub purpose: Purpose,
    /// Its bytes.
    pub challenge: Vec<u8>,
    from: IpAddr,
    end: Timestamp,
}

/// The challenges that wait.
#[derive(Debug, Default)]
pub struct Ceremonies(VecDeque<Ceremony>);

impl Ceremonies {
    /// A new challenge: 32 random bytes.
    pub fn begin(&mut self, purpose: Purpose, from: IpAddr, now: Timestamp) -> Vec<u8> {
        self.begin_with(rand::random::<[u8; 32]>().to_vec(), purpose, from, now)
    }

    /// A challenge that says what is signed; it has to be of a text that is never made twice.
    pub fn begin_with(&mut self, challenge: Vec<u8>, purpose: Purpose, from: IpAddr, now: Timestamp) -> Vec<u8> {
        self.0.retain(|waiting| now < waiting.end);
        if self.0.iter().filter(|waiting| waiting.from == from).count() >= PER_ADDRESS
            && let Some(oldest) = self.0.iter().position(|waiting| waiting.from == from)
        {
            self.0.remove(oldest);
        }
        while self.0.len() >= ROOM {
            self.0.pop_front();
        }
        self.0.push_back(Ceremony { purpose, challenge: challenge.clone(), from, end: VALID_FOR.after(now) });
        challenge
    }

    /// Takes a challenge back; it is gone with the first answer, right or wrong.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] when it was never given out, was answered before or is too old.
    pub fn take(&mut self, challenge: &[u8], now: Timestamp) -> Result<Ceremony, Refusal> {
        let at = self.0.iter().position(|waiting| waiting.challenge.ct_eq(challenge).into());
        let taken = at.and_then(|at| self.0.remove(at)).filter(|ceremony| now < ceremony.end);
        taken.ok_or_else(|| Refusal::because(Reason::CodeInvalid, "the passkey answered too late, or a second time; try once more"))
    }
}
