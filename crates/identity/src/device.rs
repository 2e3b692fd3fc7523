//! Signing in a program or a machine from a browser elsewhere: the device flow (RFC 8628), seen from its server.
//!
//! Who asks gets a long code, which it keeps and polls with, and a short one, which a person types or follows into a browser that is
//! signed in. There they see who asks, from where and for what, before they agree. In memory and bounded; both codes are kept as
//! their SHA-256, end after ten minutes and are good for one answer.
//!
//! A device gets a token. A connection that stands at a door gets in itself, and nothing that could be used anywhere else.

use std::net::IpAddr;

use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::WebSessionId;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::time::Span;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::account::{Account, Proven};
use crate::opaque::{self, Verifier};
use crate::waiting::Waiting;

/// For so long a device waits.
pub const VALID_FOR: Span = Span::minutes(10);
/// How long it leaves between two polls, at least.
pub const INTERVAL: Span = Span::seconds(2);
/// At most so many wait.
const ROOM: usize = 4096;
/// At most so many wait from one source.
const EACH: usize = 32;
/// Of those, so many that are connections at a door.
const EACH_CONNECTION: usize = 24;
const PREFIX: &str = "tg_dev_";
/// RFC 8628 §6.1: no vowels, so that no code is a word, and nothing that is read as something else.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Who asks to be signed in, as the person sees it before they agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// From where.
    pub from: IpAddr,
    /// With what program, in its own words.
    pub client: String,
    /// For what, in its own words.
    pub purpose: String,
    /// The place that a connection at one of the gate's doors wants to reach. It is let in and gets no token.
    pub connection: Option<Selector>,
    /// Since when.
    pub at: Timestamp,
}

/// What a device gets.
#[derive(Debug)]
pub struct Begun {
    /// What it polls with.
    pub device_code: Secret<String>,
    /// What the person types: `BCDF-GHJK`.
    pub user_code: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// Turns true once somebody answered; the sender gone: it waits no more.
    pub answered: watch::Receiver<bool>,
}

/// Somebody who agreed, and to what.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// Who.
    pub who: VerifiedIdentity,
    /// Until when what the device gets may last at the latest.
    pub until: Timestamp,
    /// The browser they agreed in.
    pub browser: WebSessionId,
}

impl Agreed {
    /// Who is at a connection that somebody agreed to, from there: they, by their browser's sign-in. Without its MFA: that a person was
    /// there, they showed elsewhere.
    ///
    /// # Errors
    /// If the account may not sign in, or is not theirs.
    pub fn at_connection(&self, account: Account<'_>, from: IpAddr, now: Timestamp) -> Result<VerifiedIdentity, Refusal> {
        if account.person.id != self.who.id() {
            return Err(Reason::Internal.into());
        }
        let scopes = Scope::ALL.iter().copied().filter(|scope| self.who.may(*scope)).collect();
        account.proven(Proven { mfa: Mfa::None, via: Via::WebSession(self.browser), scopes, claims: None }, Some(from), now)
    }
}

#[derive(Debug)]
enum Answer {
    None,
    Yes(Box<Agreed>),
    No,
    /// A yes that was given, and is not spent yet.
    Given(Box<Agreed>),
}

#[derive(Debug)]
struct Device {
    device: Verifier,
    user: Verifier,
    asker: Asker,
    end: Timestamp,
    polled: Option<Timestamp>,
    answer: Answer,
    answered: watch::Sender<bool>,
}

/// Whether a text has the form of a device's long code, which nobody guesses.
#[must_use]
pub fn is_device_code(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(opaque::is_body)
}

/// The devices that wait.
#[derive(Debug)]
pub struct Devices(Waiting<Device>);

impl Default for Devices {
    fn default() -> Self {
        Self(Waiting::new(ROOM, EACH))
    }
}

impl Devices {
    /// Somebody asks for a device to be signed in.
    ///
    /// # Errors
    /// [`Reason::TooMany`] when too many wait from this address.
    pub fn begin(&mut self, asker: Asker, now: Timestamp) -> Result<Begun, Refusal> {
        self.0.retain(|waiting| now < waiting.end);
        let here = access::source::source(asker.from);
        let connections = self.0.iter().filter(|w| w.asker.connection.is_some() && access::source::source(w.asker.from) == here).count();
        // Connections wait for minutes and prove nothing: they leave room for who runs `tidegate login` behind the same address.
        if self.0.from(asker.from) >= EACH || (asker.connection.is_some() && connections >= EACH_CONNECTION) {
            return Err(Refusal::because(Reason::TooMany, "too many wait for somebody to sign them in from this address"));
        }
        let issued = opaque::issue(PREFIX);
        let user_code = self.fresh_user_code();
        let end = VALID_FOR.after(now);
        let user = Verifier::of(&user_code);
        let (sender, answered) = watch::channel(false);
        let waiting = Device { device: issued.verifier, user, asker, end, polled: None, answer: Answer::None, answered: sender };
        self.0.push(waiting.asker.from, waiting);
        Ok(Begun { device_code: issued.secret, user_code, expires_at: end, answered })
    }

    fn fresh_user_code(&self) -> String {
        loop {
            let letters: String = (0..8).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect();
            let code = format!("{}-{}", &letters[..4], &letters[4..]);
            let verifier = Verifier::of(&code);
            if self.0.iter().all(|waiting| !verifier.matches(waiting.user.as_str())) {
                return code;
            }
        }
    }

    fn asked(&mut self, user_code: &str, now: Timestamp) -> Result<&mut Device, Refusal> {
        let presented = Verifier::of(&normal(user_code));
        let found = self.0.find_mut(|waiting| presented.matches(waiting.user.as_str()));
        found.filter(|waiting| now < waiting.end && matches!(waiting.answer, Answer::None)).ok_or_else(|| Reason::CodeInvalid.into())
    }

    /// Who asks under a code that nobody answered yet.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub fn asker(&mut self, user_code: &str, now: Timestamp) -> Result<Asker, Refusal> {
        self.asked(user_code, now).map(|waiting| waiting.asker.clone())
    }

    /// A person answers, once: with who they are, or with no.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub fn answer(&mut self, user_code: &str, agreed: Option<Agreed>, now: Timestamp) -> Result<Asker, Refusal> {
        let waiting = self.asked(user_code, now)?;
        waiting.answer = agreed.map_or(Answer::No, |agreed| Answer::Yes(Box::new(agreed)));
        waiting.answered.send_replace(true);
        Ok(waiting.asker.clone())
    }

    /// What asked is gone: nobody is shown it any more, and no yes counts.
    pub fn forget(&mut self, device_code: &str) {
        let presented = Verifier::of(device_code);
        self.0.take(|waiting| presented.matches(waiting.device.as_str()));
    }

    /// A yes that was given came to nothing, through no fault of who asked: it is there to be given again.
    pub fn give_back(&mut self, device_code: &str) {
        let presented = Verifier::of(device_code);
        if let Some(waiting) = self.0.find_mut(|waiting| presented.matches(waiting.device.as_str())) {
            waiting.answer = match std::mem::replace(&mut waiting.answer, Answer::None) {
                Answer::Given(agreed) => Answer::Yes(agreed),
                other => other,
            };
        }
    }

    /// A device asks whether somebody agreed. A yes and a no are given once; what a yes is given for is to be spent with [`Self::forget`].
    ///
    /// # Errors
    /// [`Reason::Pending`], [`Reason::TooMany`] when it asks faster than [`INTERVAL`], [`Reason::Denied`], [`Reason::CodeInvalid`].
    pub fn poll(&mut self, device_code: &str, now: Timestamp) -> Result<(Agreed, Asker), Refusal> {
        let presented = Verifier::of(device_code);
        let is_it = |waiting: &Device| presented.matches(waiting.device.as_str());
        let waiting = self.0.find_mut(is_it).ok_or_else(|| Refusal::of(Reason::CodeInvalid))?;
        if now >= waiting.end {
            self.0.take(is_it);
            return Err(Reason::CodeInvalid.into());
        }
        let hurried = waiting.polled.is_some_and(|before| now < INTERVAL.after(before));
        waiting.polled = Some(now);
        if hurried {
            return Err(Refusal::because(Reason::TooMany, format!("ask again after {INTERVAL}, not sooner")));
        }
        if matches!(waiting.answer, Answer::None) {
            return Err(Refusal::because(Reason::Pending, "nobody has answered at the link yet"));
        }
        match &waiting.answer {
            Answer::Yes(agreed) => {
                let given = (Agreed::clone(agreed), waiting.asker.clone());
                waiting.answer = Answer::Given(agreed.clone());
                Ok(given)
            }
            Answer::Given(_) => Err(Reason::CodeInvalid.into()),
            Answer::None | Answer::No => {
                self.0.take(is_it);
                Err(Refusal::because(Reason::Denied, "somebody said no at the link"))
            }
        }
    }
}

/// As people type it: small letters, no dash, spaces.
fn normal(user_code: &str) -> String {
    let letters: String = user_code.chars().filter(char::is_ascii_alphabetic).take(9).map(|c| c.to_ascii_uppercase()).collect();
    if letters.len() == 8 { format!("{}-{}", &letters[..4], &letters[4..]) } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;

    fn asker() -> Asker {
        Asker { from: desk(), client: "tidegate 0.1 on laptop".into(), purpose: "the command line".into(), connection: None, at: noon() }
    }

    fn agreed() -> Agreed {
        let ana = person("ana");
        let who = Account::human(&ana).proven(Proven::in_person(Mfa::None, Via::Provider), Some(desk()), noon()).unwrap();
        Agreed { who, until: VALID_FOR.after(noon()), browser: WebSessionId::generate(noon()) }
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Reason {
        result.unwrap_err().reason
    }

    // covers: A8, A9
    #[test]
    fn a_device_is_signed_in_once_by_who_saw_what_asks() {
        let mut devices = Devices::default();
        let begun = devices.begin(asker(), noon()).unwrap();
        let code = begun.device_code.expose();
        let after = |seconds| Span::seconds(seconds).after(noon());
        assert_eq!(reason(devices.poll(code, noon())), Reason::Pending);
        assert_eq!(reason(devices.poll(code, after(1))), Reason::TooMany);
        assert_eq!(devices.asker(&begun.user_code.to_lowercase().replace('-', " "), noon()).unwrap(), asker());
        assert_eq!(devices.answer(&begun.user_code, Some(agreed()), noon()).unwrap(), asker());
        assert_eq!(reason(devices.answer(&begun.user_code, None, noon())), Reason::CodeInvalid, "answered");
        assert_eq!(devices.poll(code, after(4)).unwrap().0.who.username().as_str(), "ana");
        assert_eq!(reason(devices.poll(code, after(8))), Reason::CodeInvalid, "given");
        // What came to nothing by no fault of theirs is given again, once; what is spent is not.
        devices.give_back(code);
        assert!(devices.poll(code, after(12)).is_ok());
        devices.forget(code);
        devices.give_back(code);
        assert_eq!(reason(devices.poll(code, after(16))), Reason::CodeInvalid);
    }

    // covers: A9
    #[test]
    fn codes_end_and_a_no_is_a_no() {
        let mut devices = Devices::default();
        let (late, no) = (devices.begin(asker(), noon()).unwrap(), devices.begin(asker(), noon()).unwrap());
        devices.answer(&no.user_code, None, noon()).unwrap();
        assert_eq!(reason(devices.poll(no.device_code.expose(), noon())), Reason::Denied);
        assert_eq!(reason(devices.poll(no.device_code.expose(), noon())), Reason::CodeInvalid);
        assert!(devices.asker(&late.user_code, noon()).is_ok());
        assert_eq!(reason(devices.asker(&late.user_code, late.expires_at)), Reason::CodeInvalid);
        assert_eq!(reason(devices.answer(&late.user_code, Some(agreed()), late.expires_at)), Reason::CodeInvalid);
        assert_eq!(reason(devices.poll(late.device_code.expose(), late.expires_at)), Reason::CodeInvalid);
        // The code that people see is not the one that polls.
        let begun = devices.begin(asker(), noon()).unwrap();
        assert_eq!(reason(devices.poll(&begun.user_code, noon())), Reason::CodeInvalid);
        assert_eq!(reason(devices.asker(begun.device_code.expose(), noon())), Reason::CodeInvalid);
    }

    // covers: A8 (ssh), WHO-4 (ssh)
    #[test]
    fn a_connection_gets_no_more_than_the_browser_without_its_mfa() {
        let (ana, ben) = (person("ana"), person("ben"));
        let how = Proven { mfa: Mfa::Verified, via: Via::Provider, scopes: vec![Scope::Read, Scope::Ask], claims: None };
        let who = Account::human(&ana).proven(how, Some("192.0.2.77".parse().unwrap()), noon()).unwrap();
        let agreed = Agreed { who, until: VALID_FOR.after(noon()), browser: WebSessionId::generate(noon()) };
        let here = agreed.at_connection(Account::human(&ana), desk(), noon()).unwrap();
        assert_eq!((here.id(), here.mfa(), here.from()), (ana.id, Mfa::None, Some(desk())));
        assert_eq!(here.via(), &Via::WebSession(agreed.browser));
        assert!(here.may(Scope::Ask) && !here.may(Scope::Approve) && !here.may(Scope::Administer));
        assert!(agreed.at_connection(Account::human(&ben), desk(), noon()).is_err());
    }

    // covers: A8 (ssh)
    #[test]
    fn what_is_gone_is_shown_to_nobody_and_gets_nothing() {
        let mut devices = Devices::default();
        let (gone, stays) = (devices.begin(asker(), noon()).unwrap(), devices.begin(asker(), noon()).unwrap());
        assert!(devices.asker(&gone.user_code, noon()).is_ok());
        devices.forget(gone.device_code.expose());
        assert_eq!(reason(devices.asker(&gone.user_code, noon())), Reason::CodeInvalid);
        assert_eq!(reason(devices.answer(&gone.user_code, Some(agreed()), noon())), Reason::CodeInvalid);
        assert!(gone.answered.has_changed().is_err() && !*stays.answered.borrow());
        devices.answer(&stays.user_code, None, noon()).unwrap();
        assert!(*stays.answered.borrow(), "a no is an answer");
    }

    // covers: E7 (ssh)
    #[test]
    fn connections_that_wait_leave_room_for_programs() {
        let mut devices = Devices::default();
        let connection = || Asker { connection: Some("db-1+shell".parse().unwrap()), ..asker() };
        for _ in 0..EACH_CONNECTION {
            devices.begin(connection(), noon()).unwrap();
        }
        assert_eq!(reason(devices.begin(connection(), noon())), Reason::TooMany);
        devices.begin(asker(), noon()).unwrap();
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut devices = Devices::default();
        for _ in 0..EACH {
            devices.begin(asker(), noon()).unwrap();
        }
        assert_eq!(reason(devices.begin(asker(), noon())), Reason::TooMany);
        devices.begin(Asker { from: "192.0.2.99".parse().unwrap(), ..asker() }, noon()).unwrap();
        let mut through = |n: usize| devices.begin(Asker { from: format!("2001:db8::{n:x}").parse().unwrap(), ..asker() }, noon());
        assert!((0..EACH).all(|n| through(n).is_ok()) && through(EACH).is_err(), "a network of IPv6 is one source");
        devices.begin(asker(), VALID_FOR.after(noon())).unwrap();
    }
}
