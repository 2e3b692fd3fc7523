use super::*;
use crate::account::people::*;
use access::identity::{PersonRow, PersonState};
use access::ids::{RequestId, WebSessionId};
use webauthn::authenticator::{Authenticator, Wish};

fn gate() -> RelyingParty {
    RelyingParty::of_page("https://gate.example.com").unwrap()
}

/// Ana's passkey as the gate keeps it.
struct Kept {
    id: PasskeyId,
    credential: String,
    public_key: String,
    counter: u32,
}

impl Kept {
    fn facts(&self, person: &PersonRow) -> PasskeyFacts<'_> {
        let Self { id, credential, public_key, counter } = self;
        PasskeyFacts { id: *id, person: person.id, credential, public_key, counter: *counter, removed: false }
    }
}

fn registered(key: &mut Authenticator) -> Kept {
    let (client_data, object) = key.register(b"make", &gate(), &Wish::default());
    let made = verify_new(&encode(&client_data), &encode(&object), (&gate(), b"make")).unwrap();
    let id = PasskeyId::generate(noon());
    Kept { id, credential: encode(&made.credential), public_key: encode(&made.public_key), counter: made.counter }
}

// covers: WHO-2, A5, A8, A9
#[test]
fn a_passkey_signs_its_owner_in_and_nothing_else_does() {
    let (ana, ben) = (person("ana"), person("ben"));
    let mut key = Authenticator::es256();
    let kept = registered(&mut key);
    let handle = user_handle(ana.id);
    let verify = |assertion: &Assertion, user_handle: Option<&str>, facts: &PasskeyFacts<'_>, account: &PersonRow| {
        let answered = Answered { assertion, user_handle };
        verify_passkey(&answered, facts, Account::human(account), (&gate(), b"use"), desk(), noon())
    };

    let good = key.assert(b"use", &gate(), &Wish::default());
    let used = verify(&good, Some(&handle), &kept.facts(&ana), &ana).unwrap();
    assert_eq!((used.who.id(), used.who.mfa(), used.who.via()), (ana.id, Mfa::Verified, &Via::Passkey(kept.id)));
    assert_eq!((used.who.at(), used.counter), (noon(), 2));

    let refused = |assertion: &Assertion, why: &str| {
        let refusal = verify(assertion, Some(&handle), &kept.facts(&ana), &ana).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotSignedIn);
        assert!(refusal.to_string().contains(why), "{refusal}");
    };
    let mut assert = |challenge: &[u8], party: &RelyingParty, wish: Wish| key.assert(challenge, party, &wish);
    refused(&assert(b"other", &gate(), Wish::default()), "another challenge");
    refused(&assert(b"use", &RelyingParty { origin: "https://evil.example".into(), ..gate() }, Wish::default()), "another page");
    refused(&assert(b"use", &RelyingParty { id: "evil.example".into(), ..gate() }, Wish::default()), "another name");
    refused(&assert(b"use", &gate(), Wish { verified: false, ..Wish::default() }), "did not check who it was");
    refused(&assert(b"use", &gate(), Wish { present: false, ..Wish::default() }), "nobody was there");
    // The counter of a copy: it was at 2 when the other was used last.
    let behind = assert(b"use", &gate(), Wish { counter: Some(kept.counter), ..Wish::default() });
    refused(&behind, "counter went back");

    // Ben's account with Ana's passkey, a passkey that says it is Ben's, one that was removed, an account that is disabled.
    assert_eq!(verify(&good, Some(&handle), &kept.facts(&ana), &ben).unwrap_err(), unknown());
    assert_eq!(verify(&good, Some(&user_handle(ben.id)), &kept.facts(&ana), &ana).unwrap_err(), unknown());
    let removed = PasskeyFacts { removed: true, ..kept.facts(&ana) };
    assert_eq!(verify(&good, Some(&handle), &removed, &ana).unwrap_err(), unknown());
    let gone = PersonRow { state: PersonState::Disabled, ..ana.clone() };
    assert_eq!(verify(&good, Some(&handle), &kept.facts(&ana), &gone).unwrap_err().reason, Reason::Disabled);
    // Another passkey's answer under this one's id.
    let mut other = Authenticator::es256();
    let forged = Assertion { credential: kept.credential.clone(), ..other.assert(b"use", &gate(), &Wish::default()) };
    refused(&forged, "signature is wrong");
}

// covers: WHO-2
#[test]
fn a_passkey_that_checks_nobody_is_not_added() {
    let mut key = Authenticator::ed25519();
    let (client_data, object) = key.register(b"make", &gate(), &Wish { verified: false, ..Wish::default() });
    let refusal = verify_new(&encode(&client_data), &encode(&object), (&gate(), b"make")).unwrap_err();
    assert!(refusal.to_string().contains("PIN, a fingerprint or a face"), "{refusal}");
    assert!(verify_new("not base64!", &encode(&object), (&gate(), b"make")).is_err());
}

// covers: A9, D8
#[test]
fn a_challenge_is_answered_once_and_soon() {
    let mut open = Ceremonies::default();
    let challenge = open.begin(Purpose::SignIn, desk(), noon());
    assert_eq!(open.take(b"never given out", noon()).unwrap_err().reason, Reason::CodeInvalid);
    assert_eq!(open.take(&challenge, noon()).unwrap().purpose, Purpose::SignIn);
    assert_eq!(open.take(&challenge, noon()).unwrap_err().reason, Reason::CodeInvalid);
    let late = open.begin(Purpose::SignIn, desk(), noon());
    assert_eq!(open.take(&late, VALID_FOR.after(noon())).unwrap_err().reason, Reason::CodeInvalid);
}

// covers: A9, E7
#[test]
fn who_begins_many_challenges_pushes_out_nobody_elses() {
    let mut open = Ceremonies::default();
    let ana = person("ana");
    let mine = open.begin(Purpose::SignIn, desk(), noon());
    let step_up = Purpose::StepUp(ana.id, WebSessionId::generate(noon()));
    // She sits in the very network the others come from: she is known, they are not.
    let proof = open.begin(step_up.clone(), "2001:db8::1".parse().unwrap(), noon());
    for n in 0..8_400 {
        open.begin(Purpose::SignIn, format!("2001:db8::{n:x}").parse().unwrap(), noon());
        // From many networks, too: whoever has the most gives way.
        open.begin(Purpose::SignIn, format!("2001:db8:{:x}::1", n % 1000).parse().unwrap(), noon());
    }
    assert_eq!(open.take(&mine, noon()).unwrap().purpose, Purpose::SignIn);
    assert_eq!(open.take(&proof, noon()).unwrap().purpose, step_up);
    // And nobody who is signed in pushes out what others of them began.
    let proof = open.begin(step_up, desk(), noon());
    let mallory = person("mallory");
    for _ in 0..200 {
        open.begin(Purpose::Register(mallory.id), desk(), noon());
    }
    assert!(open.take(&proof, noon()).is_ok());
}

fn asker(person: PrincipalId, asking: Asking) -> StepUpAsker {
    let via = Via::Invitation;
    StepUpAsker { person, via, from: Some(desk()), client: "ssh".into(), asking, at: noon() }
}

// covers: WHO-2, A8, A9, D8
#[test]
fn a_terminal_goes_on_when_its_owner_proved_it_for_just_that() {
    let (ana, ben) = (person("ana"), person("ben"));
    let access = |role: &str| Asking::Access { resource: "db-1".parse().unwrap(), role: role.parse().unwrap(), break_glass: false };
    let mut waiting = StepUps::default();
    let begun = waiting.begin(asker(ana.id, access("debug")), noon());
    assert_eq!(waiting.begin(asker(ana.id, access("debug")), noon()).user_code, begun.user_code, "one code for the same");
    let proved = |waiting: &StepUps, asking: &Asking, at| waiting.proved_at(ana.id, &Via::Invitation, Some(desk()), asking, at);

    assert_eq!(waiting.asker(&begun.user_code, ben.id, noon()).unwrap_err().reason, Reason::CodeInvalid, "Ben sees nothing of it");
    let key = PasskeyId::generate(noon());
    assert_eq!(waiting.answer(&begun.user_code, ben.id, Some(key), noon()).unwrap_err().reason, Reason::CodeInvalid);
    assert_eq!(proved(&waiting, &access("debug"), noon()), None);
    let typed = begun.user_code.to_lowercase().replace('-', " ");
    waiting.answer(&typed, ana.id, Some(key), noon()).unwrap();
    assert_eq!(*begun.answered.borrow(), Some(true));
    assert_eq!(waiting.answer(&begun.user_code, ana.id, Some(key), noon()).unwrap_err().reason, Reason::CodeInvalid, "once");

    assert_eq!(proved(&waiting, &access("debug"), noon()), Some(noon()));
    // Not for anything else, not for another sign-in of hers, not from elsewhere, not for Ben, not for long.
    assert_eq!(proved(&waiting, &access("shell"), noon()), None);
    assert_eq!(proved(&waiting, &Asking::Decide(RequestId::generate(noon())), noon()), None);
    assert_eq!(waiting.proved_at(ana.id, &Via::LocalSocket, Some(desk()), &access("debug"), noon()), None);
    assert_eq!(waiting.proved_at(ana.id, &Via::Invitation, None, &access("debug"), noon()), None);
    assert_eq!(waiting.proved_at(ben.id, &Via::Invitation, Some(desk()), &access("debug"), noon()), None);
    assert_eq!(proved(&waiting, &access("debug"), RAISED_FOR.after(noon())), None);
    // Nor once the passkey is gone; another's going takes nothing away.
    waiting.forget(PasskeyId::generate(noon()));
    assert_eq!(proved(&waiting, &access("debug"), noon()), Some(noon()));
    waiting.forget(key);
    assert_eq!(proved(&waiting, &access("debug"), noon()), None);

    // It is not her: nothing is proved, and the terminal is told.
    let begun = waiting.begin(asker(ana.id, access("shell")), noon());
    waiting.answer(&begun.user_code, ana.id, None, noon()).unwrap();
    assert_eq!((*begun.answered.borrow(), proved(&waiting, &access("shell"), noon())), (Some(false), None));
}
