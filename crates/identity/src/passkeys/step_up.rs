//! Proving freshly that it is oneself, where one sits at a terminal: a link leads to a page of the portal, which shows who asks, from
//! where and for what, before the passkey is used; the terminal goes on the moment it was.
//!
//! Seen like RFC 8628, with the difference that the terminal is signed in already: what it gets is no token but that, for a few minutes
//! and for just what was shown, its sign-in counts as freshly verified. In memory and bounded.

use std::collections::VecDeque;
use std::net::IpAddr;

use access::identity::Via;
use access::ids::{PasskeyId, PrincipalId, RequestId};
use access::names::{ResourceName, RoleName};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::opaque::Verifier;

/// For so long a terminal waits.
pub const WAITS: Span = Span::minutes(10);
/// For so long what it waited for counts: time to ask again.
pub const RAISED_FOR: Span = Span::minutes(5);
/// How long a program leaves between two looks, at least.
pub const INTERVAL: Span = Span::seconds(1);
const ROOM: usize = 4096;
/// At most so many of one person wait; the oldest gives way.
const PER_PERSON: usize = 16;
/// RFC 8628 §6.1: no vowels, so that no code is a word, and nothing that is read as something else.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What somebody wants to do, for which they have to prove freshly that it is them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asking {
    /// Ask for access.
    Access {
        /// Where to.
        resource: ResourceName,
        /// As what.
        role: RoleName,
        /// Whether it is an emergency.
        break_glass: bool,
    },
    /// Decide on a request.
    Decide(RequestId),
}

/// Who asks, as the person sees it before they use their passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUpAsker {
    /// Whose sign-in it is.
    pub person: PrincipalId,
    /// What they are signed in with there.
    pub via: Via,
    /// From where.
    pub from: Option<IpAddr>,
    /// With what program or through which door, as the gate knows it.
    pub client: String,
    /// What for.
    pub asking: Asking,
    /// Since when.
    pub at: Timestamp,
}

/// A terminal that waits.
#[derive(Debug, Clone)]
pub struct Begun {
    /// What the person types or follows: `BCDF-GHJK`.
    pub user_code: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// `Some(true)` once it was proved, `Some(false)` if they said that it was not them.
    pub answered: watch::Receiver<Option<bool>>,
}

#[derive(Debug)]
struct Waiting {
    asker: StepUpAsker,
    user_code: String,
    end: Timestamp,
    /// With what, and when.
    proved: Option<(PasskeyId, Timestamp)>,
    answered: watch::Sender<Option<bool>>,
}

/// The terminals that wait, and those that need not any more.
#[derive(Debug, Default)]
pub struct StepUps(VecDeque<Waiting>);

impl StepUps {
    /// A terminal begins to wait. For the same sign-in and the same thing there is one code, however often it asks.
    pub fn begin(&mut self, asker: StepUpAsker, now: Timestamp) -> Begun {
        self.0.retain(|waiting| now < waiting.end);
        let same = |waiting: &&Waiting| {
            waiting.asker.person == asker.person
                && waiting.asker.via == asker.via
                && waiting.asker.from == asker.from
                && waiting.asker.asking == asker.asking
                && waiting.answered.borrow().is_none()
        };
        if let Some(waiting) = self.0.iter().find(same) {
            return Begun { user_code: waiting.user_code.clone(), expires_at: waiting.end, answered: waiting.answered.subscribe() };
        }
        if self.0.iter().filter(|waiting| waiting.asker.person == asker.person).count() >= PER_PERSON
            && let Some(oldest) = self.0.iter().position(|waiting| waiting.asker.person == asker.person)
        {
            self.0.remove(oldest);
        }
        while self.0.len() >= ROOM {
            self.0.pop_front();
        }
        let letters: String = (0..8).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect();
        let user_code = format!("{}-{}", &letters[..4], &letters[4..]);
        let (sender, answered) = watch::channel(None);
        let end = WAITS.after(now);
        self.0.push_back(Waiting { asker, user_code: user_code.clone(), end, proved: None, answered: sender });
        Begun { user_code, expires_at: end, answered }
    }

    /// Who waits under a code, if it is this person's and nobody answered it. Another's is as one that does not exist.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub fn asker(&self, user_code: &str, person: PrincipalId, now: Timestamp) -> Result<StepUpAsker, Refusal> {
        let presented = Verifier::of(&normal(user_code));
        let found = self.0.iter().find(|waiting| presented == Verifier::of(&waiting.user_code));
        found
            .filter(|waiting| now < waiting.end && waiting.asker.person == person && waiting.answered.borrow().is_none())
            .map(|waiting| waiting.asker.clone())
            .ok_or_else(|| Reason::CodeInvalid.into())
    }

    /// The person answers, once: it was proved with this passkey of theirs just now, or it is not them.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub fn answer(
        &mut self,
        user_code: &str,
        person: PrincipalId,
        proved: Option<PasskeyId>,
        now: Timestamp,
    ) -> Result<StepUpAsker, Refusal> {
        let asker = self.asker(user_code, person, now)?;
        let presented = Verifier::of(&normal(user_code));
        if let Some(waiting) = self.0.iter_mut().find(|waiting| presented == Verifier::of(&waiting.user_code)) {
            waiting.proved = proved.map(|with| (with, now));
            waiting.end = RAISED_FOR.after(now);
            waiting.answered.send_replace(Some(proved.is_some()));
        }
        Ok(asker)
    }

    /// A passkey was removed: what was proved with it is not any more.
    pub fn forget(&mut self, passkey: PasskeyId) {
        self.0.retain(|waiting| waiting.proved.is_none_or(|(with, _)| with != passkey));
    }

    /// What the person said last to this sign-in's asking for just this, if it still counts.
    #[must_use]
    pub fn said(&self, person: PrincipalId, via: &Via, from: Option<IpAddr>, asking: &Asking, now: Timestamp) -> Option<bool> {
        let mut found = self.0.iter().rev().filter(|waiting| {
            let asker = &waiting.asker;
            now < waiting.end && asker.person == person && asker.via == *via && asker.from == from && asker.asking == *asking
        });
        found.next().and_then(|waiting| *waiting.answered.borrow())
    }

    /// When it was proved for this sign-in and just this thing that it is them, if it was and still counts.
    #[must_use]
    pub fn proved_at(&self, person: PrincipalId, via: &Via, from: Option<IpAddr>, asking: &Asking, now: Timestamp) -> Option<Timestamp> {
        let found = self.0.iter().filter(|waiting| {
            let asker = &waiting.asker;
            now < waiting.end && asker.person == person && asker.via == *via && asker.from == from && asker.asking == *asking
        });
        found.filter_map(|waiting| waiting.proved.map(|(_, at)| at)).max()
    }
}

/// A code as people type it: in small letters, without the hyphen, with blanks.
fn normal(typed: &str) -> String {
    let letters: String = typed.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).take(9).collect();
    match letters.split_at_checked(4) {
        Some((first, last)) => format!("{first}-{last}"),
        None => letters,
    }
}
