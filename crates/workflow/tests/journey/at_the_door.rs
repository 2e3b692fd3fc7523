//! What a door answers: limits that never widen, the address one comes from, emergencies with a key that verifies, which role is
//! meant, and more time where one connects.

use std::net::IpAddr;
use std::time::Duration;

use access::approval::Decision::{Approve, Deny};
use access::identity::{Mfa, Via};
use access::limits::Limits;
use access::names::Selector;
use access::reason::Reason;
use access::request::{Asked, Door, RequestState};
use access::rights::{ExecRights, Rights, SftpRights, SshRights};
use access::session::{ClosedSession, EndReason, Protocol, Standing};
use access::time::Span;
use identity::ssh_key::{KeyProof, Presence};
use ssh_key::PublicKey;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::{KeyData, SkEd25519};
use testkit::gate::{HERE, TestGate, ask};
use tidegate_workflow::Caller;
use tidegate_workflow::knock::{Given, Knocked};
use tidegate_workflow::open::Opened;

/// A gate whose policy has further text in some files.
async fn with(more: &[(&str, &str)]) -> TestGate {
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    for (file, text) in more {
        let before = String::from_utf8(files[*file].clone()).unwrap();
        files.insert((*file).to_owned(), format!("{before}\n{text}").into_bytes());
    }
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    t
}

fn selector(text: &str) -> Selector {
    text.parse().unwrap()
}

fn open(knocked: Knocked) -> Opened {
    match knocked {
        Knocked::Open(opened) => *opened,
        other => panic!("not open: {other:?}"),
    }
}

fn ssh(opened: &Opened) -> SshRights {
    match &opened.permit.facts().rights {
        Rights::Ssh(ssh) => ssh.clone(),
        other @ Rights::Database(_) => panic!("{other:?}"),
    }
}

fn only(command: &str) -> Limits {
    Limits { command: Some(command.to_owned()), ..Limits::default() }
}

fn read_only() -> Limits {
    Limits { read_only: true, ..Limits::default() }
}

/// Somebody who signs in with a security key of theirs that checked who holds it, from somewhere.
pub(super) async fn with_security_key(t: &TestGate, name: &str, from: IpAddr) -> Caller {
    let seed = [u8::try_from(name.len()).unwrap(); 32];
    let key = PublicKey::from(KeyData::SkEd25519(SkEd25519::new(Ed25519Keypair::from_seed(&seed).public, "ssh:")));
    let person = t.person(name);
    let _ = t.gate.add_key(person, person.who.id(), &key.to_openssh().unwrap(), None).await;
    let proof = KeyProof::signature_verified(key, Presence::SecurityKey { touched: true, verified: true });
    Caller { who: t.gate.identify_key(&proof, from, Door::Ssh).await.unwrap(), door: Door::Ssh }
}

/// The same person, somewhere else.
async fn elsewhere(t: &TestGate, name: &str, from: &str) -> Caller {
    let seed = [100 + u8::try_from(name.len()).unwrap(); 32];
    let key = PublicKey::from(KeyData::Ed25519(Ed25519Keypair::from_seed(&seed).public));
    let person = t.person(name);
    let _ = t.gate.add_key(person, person.who.id(), &key.to_openssh().unwrap(), None).await;
    let proof = KeyProof::signature_verified(key, Presence::Unknown);
    Caller { who: t.gate.identify_key(&proof, from.parse().unwrap(), Door::Ssh).await.unwrap(), door: Door::Ssh }
}

// covers: MAY-8, MAY-6 (ssh)
#[tokio::test]
async fn what_was_true_when_a_session_opened_counts_for_it_until_it_ends() {
    let condition = "unless { context.mfa.level >= 2 && context has network && context.network.isInRange(ip(\"10.0.0.0/8\")) };";
    let forbid = |condition: &str| {
        format!("@id(\"only-verified\") forbid(principal, action == Tide::Action::\"ssh:sftp-write\", resource) {condition}")
    };
    let t = with(&[("access.cedar", &forbid(condition))]).await;
    let ana = with_security_key(&t, "ana", "10.1.2.3".parse().unwrap()).await;
    t.gate.submit(&ana, ask("build-1", "shell")).await.unwrap();
    let verified = open(t.gate.knock(&ana, &selector("build-1+shell"), Protocol::Ssh).await.unwrap());
    assert_eq!(ssh(&verified).sftp, SftpRights::Write);
    let plain = elsewhere(&t, "ana", "192.0.2.1").await;
    let unverified = open(t.gate.knock(&plain, &selector("build-1+shell"), Protocol::Ssh).await.unwrap());
    assert_eq!(ssh(&unverified).sftp, SftpRights::Read, "the policy does close it");
    // Decided anew, with nobody there: what was frozen stands.
    t.gate.redecide_all().await;
    for opened in [&verified, &unverified] {
        assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }), "{:?}", opened.standing.borrow());
    }
    // Once it is forbidden whoever asks, it is cut.
    let mut files = t.gate.bundle().files().clone();
    let access = String::from_utf8(files["access.cedar"].clone()).unwrap().replace(condition, ";");
    files.insert("access.cedar".into(), access.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    assert!(matches!(*verified.standing.borrow(), Standing::Cut(EndReason::Withdrawn)));
    assert!(matches!(*unverified.standing.borrow(), Standing::Open { .. }), "it lost nothing by that");
}

// covers: A4, B8, GRANT-3, GRANT-5 (ssh)
#[tokio::test]
async fn a_key_that_was_taken_away_asks_for_nothing_more_and_what_it_opened_is_cut() {
    let t = TestGate::start().await.unwrap();
    let (stolen, other) = (with_security_key(&t, "ana", HERE).await, elsewhere(&t, "ana", "192.0.2.1").await);
    t.gate.submit(&stolen, ask("build-1", "shell")).await.unwrap();
    let opened = open(t.gate.knock(&stolen, &selector("build-1+shell"), Protocol::Ssh).await.unwrap());
    let kept = open(t.gate.knock(&other, &selector("build-1+shell"), Protocol::Ssh).await.unwrap());
    let more = async |who: &Caller| t.gate.extend_at(who, &selector("build-1+shell"), Some(Span::minutes(30)), Some("more".into())).await;
    more(&stolen).await.expect("as long as the key stands");

    let Via::SshKey(key) = *stolen.who.via() else { panic!("{:?}", stolen.who.via()) };
    let gate = t.gate.clone();
    let session = opened.permit.facts().session;
    let (removed, ()) = tokio::join!(t.gate.remove_key(t.person("ana"), key), async {
        let mut standing = opened.standing.clone();
        standing.wait_for(|standing| matches!(standing, Standing::Cut(EndReason::Revoked))).await.expect("nobody cuts it");
        let end = EndReason::Revoked;
        gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
    });
    removed.unwrap();
    assert!(matches!(*kept.standing.borrow(), Standing::Open { .. }), "it was opened with another key");
    assert_eq!(more(&stolen).await.unwrap_err().reason, Reason::NotSignedIn);
    let asked = t.gate.submit(&stolen, ask("db-1", "debug")).await.unwrap_err();
    assert_eq!(asked.reason, Reason::NotSignedIn);
    assert_eq!(t.entries().await.unwrap().last().map(String::as_str), Some("request.refused"));
    more(&other).await.expect("the other key stands");
}

// covers: ASK-6, B4 (api, ssh)
#[tokio::test]
async fn what_is_renounced_stays_renounced_from_the_request_to_the_session() {
    let t = TestGate::start().await.unwrap();
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let mut wish = ask("db-1", "shell");
    wish.limits = only("uptime");
    let request = t.gate.submit(ana, wish.clone()).await.unwrap().request;
    // Asking for the whole role does not silently join the smaller question, nor replace it.
    let wider = t.gate.submit(ana, ask("db-1", "shell")).await.unwrap_err();
    assert_eq!((wider.reason, wider.request), (Reason::AlreadyAsked, Some(request.id)));
    assert_eq!(t.gate.submit(ana, wish.clone()).await.unwrap().request.id, request.id);
    let grant = t.gate.vote(ben, request.id, Approve, None).await.unwrap().grant.unwrap();
    assert_eq!(grant.limits, only("uptime"));

    let opened = open(t.gate.knock(ana, &selector("db-1+shell"), Protocol::Ssh).await.unwrap());
    let rights = ssh(&opened);
    assert_eq!(rights.exec, ExecRights::Only(vec!["uptime".into()]));
    assert!(!rights.shell && rights.sftp == SftpRights::None && !rights.forwards());
    // What is renounced at the door on top of that has to fit in; another command needs another request.
    let other =
        t.gate.knock_saying(ana, &selector("db-1+shell"), Given { limits: only("id"), ..Given::default() }, Protocol::Ssh).await.unwrap();
    assert!(matches!(other, Knocked::Ask(_)), "{other:?}");

    // Neither an edit of an extension nor an extension widens.
    let asked = t.gate.extend(ana, grant.id, Span::hours(2), Some("more".into())).await.unwrap().request;
    assert_eq!(asked.limits, only("uptime"));
    let mut edit = ask("db-1", "shell");
    edit.asked = Asked::For(Span::hours(2));
    assert_eq!(t.gate.edit(ana, asked.id, edit).await.unwrap_err().reason, Reason::Invalid);
    let longer = t.gate.vote(ben, asked.id, Approve, None).await.unwrap().grant.unwrap();
    assert_eq!((longer.id, longer.limits), (grant.id, only("uptime")));
}

// covers: ASK-6 (ssh)
#[tokio::test]
async fn a_session_can_be_less_than_its_grant_and_never_more() {
    let t = TestGate::start().await.unwrap();
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let whole = t.gate.submit(ana, ask("db-1", "shell")).await.unwrap().request;
    t.gate.vote(ben, whole.id, Approve, None).await.unwrap();
    let reading = open(
        t.gate.knock_saying(ana, &selector("db-1+shell"), Given { limits: read_only(), ..Given::default() }, Protocol::Ssh).await.unwrap(),
    );
    let rights = ssh(&reading);
    assert!(!rights.shell && rights.exec == ExecRights::None && rights.sftp == SftpRights::Read);
    assert_eq!(reading.permit.facts().limits, read_only());
    let all = open(t.gate.knock(ana, &selector("db-1+shell"), Protocol::Ssh).await.unwrap());
    assert!(ssh(&all).shell);
}

// covers: ASK-6 (api, ssh)
#[tokio::test]
async fn limits_that_leave_nothing_are_refused_when_asked() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("db-1", "logs");
    wish.limits = only("journalctl -u app --no-pager -n 200");
    assert_eq!(t.gate.submit(t.person("ana"), wish.clone()).await.unwrap().request.state, RequestState::Pending);
    wish.role = "logs".parse().unwrap();
    for nothing in [only("rm -rf /"), read_only(), Limits { read_only: true, ..only("journalctl -u app --no-pager -n 200") }] {
        let mut wish = wish.clone();
        wish.resource = "web-1".parse().unwrap();
        wish.limits = nothing;
        let refusal = t.gate.submit(t.person("ana"), wish).await.unwrap_err();
        assert!(refusal.reason == Reason::NotInRole && refusal.to_string().contains("nothing is left"), "{refusal}");
    }
}

// covers: MAY-3 (api, ssh)
#[tokio::test]
async fn the_address_one_asked_from_counts_until_approval_and_the_one_of_then_at_the_door() {
    let office = "@id(\"logs-from-the-office\")\npermit(principal in Tide::Group::\"auditors\", action == Tide::Action::\"request\", \
                  resource == Tide::Access::\"db-1+debug\") when { context has network && context.network.isInRange(ip(\"10.1.0.0/16\")) };\n";
    let t = with(&[("access.cedar", office)]).await;
    let (here, there) = (elsewhere(&t, "eve", "10.1.2.3").await, elsewhere(&t, "eve", "198.51.100.7").await);
    assert_eq!(t.gate.submit(&there, ask("db-1", "debug")).await.unwrap_err().reason, Reason::UnknownResource);
    let request = t.gate.submit(&here, ask("db-1", "debug")).await.unwrap().request;
    assert_eq!(request.network, Some("10.1.2.3".parse().unwrap()));
    // Ben approves from somewhere else, and it is still hers from the office that counts.
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.expect("as it was asked");
    assert_eq!(grant.frozen.network, Some("10.1.2.3".parse().unwrap()));
    t.gate.activate(&there, grant.id).await.expect("the clock may be started from anywhere");
    assert!(t.gate.redecide_all().await.is_empty());

    let refusal = t.gate.knock(&there, &selector("db-1+debug"), Protocol::Ssh).await.unwrap_err();
    assert!(refusal.reason == Reason::Forbidden && refusal.to_string().contains("198.51.100.7"), "{refusal}");
    // The entry names the policy whose condition shut the door, and its bundle.
    let page = store::EntryPage { limit: 1, after: None, newest_first: true };
    let newest = t.gate.store().entries(&store::EntryFilter::default(), page).await.unwrap().remove(0).entry.event;
    let access::event::Event::SessionRefused { bundle, policies, .. } = &newest else { panic!("{newest:?}") };
    assert_eq!((bundle.as_deref(), policies), (Some(t.gate.bundle().digest()), &refusal.policies()));
    assert!(policies.contains(&"logs-from-the-office".to_owned()), "{policies:?}");
    open(t.gate.knock(&here, &selector("db-1+debug"), Protocol::Ssh).await.unwrap());
    // What was asked is rebuilt from the log, address and all.
    let replayed = t.gate.replay().await.unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

// covers: GRANT-4 (ssh), MAY-3 (ssh)
#[tokio::test]
async fn where_the_better_grant_may_not_be_used_another_one_opens() {
    let paths = "@id(\"from-the-office\")\npermit(principal in Tide::Group::\"auditors\", action == Tide::Action::\"request\", \
                 resource == Tide::Access::\"build-1+shell\") when { context has network && context.network.isInRange(ip(\"10.1.0.0/16\")) };\n\
                 @id(\"from-anywhere\")\n@approval(\"on-call-or-lead\")\n@max_duration(\"1h\")\npermit(principal in Tide::Group::\"auditors\", \
                 action == Tide::Action::\"request\", resource == Tide::Access::\"build-1+shell\");\n";
    let t = with(&[("access.cedar", paths)]).await;
    let (office, home, train) =
        (elsewhere(&t, "eve", "10.1.2.3").await, elsewhere(&t, "eve", "192.0.2.1").await, elsewhere(&t, "eve", "198.51.100.7").await);
    let long = t.gate.submit(&office, ask("build-1", "shell")).await.unwrap().grant.expect("nobody has to agree");
    t.gate.activate(&office, long.id).await.unwrap();
    let knock = async |who: &Caller| t.gate.knock(who, &selector("build-1+shell"), Protocol::Ssh).await;
    assert_eq!(open(knock(&office).await.unwrap()).permit.facts().grant, long.id);
    // From the train it is shut, until Ben agrees to what counts from anywhere; the office goes on with what lasts longest.
    let refusal = knock(&train).await.unwrap_err();
    assert!(refusal.reason == Reason::Forbidden && refusal.to_string().contains("198.51.100.7"), "{refusal}");
    let request = t.gate.submit(&home, ask("build-1", "shell")).await.unwrap().request;
    let short = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    assert_eq!(open(knock(&train).await.unwrap()).permit.facts().grant, short.id);
    assert_eq!(open(knock(&office).await.unwrap()).permit.facts().grant, long.id);
}

const VERIFIED_EMERGENCY: &str = "@id(\"ledger-emergency\")\n@breakglass(\"security, 24h\")\n@mfa(\"verified, 15m\")\n@max_duration(\"1h\")\n\
    permit(principal in Tide::Group::\"auditors\", action == Tide::Action::\"request\", resource == Tide::Access::\"db-1+debug\");\n";

// covers: GRANT-9, C8 (ssh)
#[tokio::test]
async fn an_emergency_that_wants_a_verified_key_is_open_to_who_has_one() {
    let t = with(&[("access.cedar", VERIFIED_EMERGENCY)]).await;
    let eve = Caller { door: Door::Ssh, ..t.person("eve").clone() };
    let given = || Given { reason: Some("the database is down".into()), break_glass: true, ..Given::default() };
    // With a plain sign-in she is told what would open, and nothing opens.
    let told = t.gate.knock(&eve, &selector("db-1+debug"), Protocol::Ssh).await.unwrap_err();
    assert!(told.to_string().contains("in an emergency `verified`"), "{told}");
    assert_eq!(t.gate.knock_with(&eve, &selector("db-1+debug"), given(), Protocol::Ssh).await.unwrap_err().reason, Reason::MfaRequired);

    let strong = with_security_key(&t, "eve", HERE).await;
    assert_eq!(strong.who.mfa(), Mfa::Verified);
    let Knocked::Ask(question) = t.gate.knock(&strong, &selector("db-1+debug"), Protocol::Ssh).await.unwrap() else {
        panic!("she may declare one")
    };
    assert!(question.refused.is_some() && question.emergency.is_some_and(|e| e.needs.is_none()));
    let opened = open(t.gate.knock_with(&strong, &selector("db-1+debug"), given(), Protocol::Ssh).await.unwrap());
    assert!(!opened.may_last_longer, "an emergency is not made longer");
    let reviews = t.gate.store().open_reviews_about(strong.who.id()).await.unwrap();
    assert_eq!(reviews.len(), 1);
    // Coming again declares no second emergency.
    open(t.gate.knock_with(&strong, &selector("db-1+debug"), given(), Protocol::Ssh).await.unwrap());
    assert_eq!(t.gate.store().open_reviews_about(strong.who.id()).await.unwrap().len(), 1);
    let longer = t.gate.extend_at(&strong, &selector("db-1"), None, Some("more".into())).await.unwrap_err();
    assert_eq!(longer.reason, Reason::NotBreakGlass);

    // Unreviewed in time, the next one is blocked at this door as at any other.
    t.pass(Duration::from_secs(25 * 3600)).await;
    let strong = with_security_key(&t, "eve", HERE).await;
    let blocked = t.gate.knock_with(&strong, &selector("db-1+debug"), given(), Protocol::Ssh).await.unwrap_err();
    assert_eq!(blocked.reason, Reason::BreakGlassBlocked);
}

// covers: GRANT-9 (ssh)
#[tokio::test]
async fn a_pending_question_does_not_stand_before_an_emergency() {
    let t = TestGate::start().await.unwrap();
    let ben = t.person("ben");
    let Knocked::Ask(question) = t.gate.knock(ben, &selector("db-1+shell"), Protocol::Ssh).await.unwrap() else { panic!("he has to ask") };
    assert!(question.refused.is_none() && question.emergency.is_some(), "he is on call");
    let Knocked::Ask(question) = t.gate.knock(t.person("ana"), &selector("db-1+shell"), Protocol::Ssh).await.unwrap() else { panic!() };
    assert!(question.emergency.is_none(), "she is not");
    let pending = t.gate.submit(ben, ask("db-1", "shell")).await.unwrap().request;
    let given = Given { reason: Some("checkout is down".into()), break_glass: true, ..Given::default() };
    open(t.gate.knock_with(ben, &selector("db-1+shell"), given, Protocol::Ssh).await.unwrap());
    assert_eq!(t.gate.store().request(pending.id).await.unwrap().unwrap().state, RequestState::Cancelled);
}

// covers: ASK-3, ASK-4, C5 (ssh)
#[tokio::test]
async fn what_was_agreed_to_while_one_answers_opens_and_is_not_asked_for_again() {
    let t = TestGate::start().await.unwrap();
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let to = selector("db-1+shell");
    let given = || Given { reason: Some("looking".into()), ..Given::default() };
    // With no yes meanwhile, the answer is a request.
    let Knocked::Ask(_) = t.gate.knock(ana, &to, Protocol::Ssh).await.unwrap() else { panic!("she has to ask") };
    let Knocked::Waiting(first) = t.gate.knock_with(ana, &to, given(), Protocol::Ssh).await.unwrap() else { panic!("people are asked") };
    let grant = t.gate.vote(ben, first, Approve, None).await.unwrap().grant.unwrap();
    // And the same answer again, as from another window where the question still stands.
    let opened = open(t.gate.knock_with(ana, &to, given(), Protocol::Ssh).await.unwrap());
    assert_eq!(opened.permit.facts().grant, grant.id);
    assert_eq!(t.gate.store().pending_requests().await.unwrap(), []);
}

// covers: GRANT-5, B4 (ssh)
#[tokio::test]
async fn more_time_is_asked_for_by_place_and_told_in_the_session() {
    let t = TestGate::start().await.unwrap();
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let nothing = t.gate.extend_at(ana, &selector("db-1"), None, Some("more".into())).await.unwrap_err();
    assert!(nothing.to_string().contains("nothing of yours is open on `db-1`"), "{nothing}");
    let request = t.gate.submit(ana, ask("db-1", "shell")).await.unwrap().request;
    let grant = t.gate.vote(ben, request.id, Approve, None).await.unwrap().grant.unwrap();
    let mut opened = open(t.gate.knock(ana, &selector("db-1+shell"), Protocol::Ssh).await.unwrap());
    let before = opened.permit.facts().ends_at.unwrap();
    t.pass(Duration::from_secs(56 * 60)).await;
    assert!(matches!(*opened.standing.borrow_and_update(), Standing::Warned { .. }));

    let told = |opened: &mut Opened| opened.told.borrow_and_update().clone().map(|text| text.to_string()).unwrap_or_default();
    // No: she is told there, by whom and why, and nothing moves.
    let asked = t.gate.extend_at(ana, &selector("db-1"), Some(Span::minutes(30)), Some("still looking".into())).await.unwrap().request;
    assert!(told(&mut opened).contains("waits for approval"));
    t.gate.vote(ben, asked.id, Deny, Some("come home".into())).await.unwrap();
    assert_eq!(told(&mut opened), "No more time. ben denied your request: come home");
    assert!(matches!(&*opened.standing.borrow(), Standing::Warned { ends_at, .. } if *ends_at == before));
    // Nobody else asks for her, and the role she names counts.
    assert_eq!(t.gate.extend_at(ben, &selector("db-1"), None, Some("x".into())).await.unwrap_err().reason, Reason::GrantExpired);
    assert_eq!(t.gate.extend_at(ana, &selector("db-1+debug"), None, Some("x".into())).await.unwrap_err().reason, Reason::GrantExpired);
    // Too much is refused by the policy as it always is.
    let much = t.gate.extend_at(ana, &selector("db-1"), Some(Span::hours(9)), Some("x".into())).await.unwrap_err();
    assert_eq!(much.reason, Reason::TooLong);

    // Yes: the deadline moves, the session lives on.
    let asked = t.gate.extend_at(ana, &selector("db-1"), Some(Span::minutes(30)), Some("still looking".into())).await.unwrap().request;
    assert_eq!(asked.extends, Some(grant.id));
    t.gate.vote(ben, asked.id, Approve, None).await.unwrap();
    let after = match &*opened.standing.borrow_and_update() {
        Standing::Open { ends_at: Some(end) } => *end,
        other => panic!("{other:?}"),
    };
    assert!(after > before && after <= Span::minutes(30).after(t.gate.now()));
    t.pass(Duration::from_secs(5 * 60)).await;
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. } | Standing::Warned { .. }), "past its first end");
    // Nobody answers: she is told that too.
    let asked = t.gate.extend_at(ana, &selector("db-1"), None, Some("again".into())).await.unwrap().request;
    t.gate.cancel(ana, asked.id).await.unwrap();
    assert!(told(&mut opened).contains("took your request"), "{opened:?}");
}

// covers: SSH-1 (ssh)
#[tokio::test]
async fn without_a_role_the_one_in_use_counts_then_the_granted_then_the_asked_for() {
    let t = TestGate::start().await.unwrap();
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let meant =
        async || t.gate.resolve(ana, &selector("db-1")).await.map(|(_, role)| role.to_string()).map_err(|refusal| refusal.to_string());
    let several = meant().await.unwrap_err();
    assert!(several.contains("`db-1+shell`") && several.contains("`db-1+logs`"), "{several}");
    let debug = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    assert_eq!(meant().await.as_deref(), Ok("debug"), "asked for");
    t.gate.vote(ben, debug.id, Approve, None).await.unwrap();
    let shell = t.gate.submit(ana, ask("db-1", "shell")).await.unwrap().request;
    assert_eq!(meant().await.as_deref(), Ok("debug"), "granted, where the other is only asked for");
    let shell = t.gate.vote(ben, shell.id, Approve, None).await.unwrap().grant.unwrap();
    let both = meant().await.unwrap_err();
    assert!(both.contains("`db-1+debug`, `db-1+shell`") && !both.contains("logs"), "{both}");
    t.gate.activate(ana, shell.id).await.unwrap();
    assert_eq!(meant().await.as_deref(), Ok("shell"), "in use");
    t.gate.give_back(ana, shell.id).await.unwrap();
    assert_eq!(meant().await.as_deref(), Ok("debug"), "given back");
}

// covers: ASK-2 (ssh)
#[tokio::test]
async fn what_is_said_beforehand_counts_where_nobody_has_to_be_asked() {
    let t = TestGate::start().await.unwrap();
    let frank = t.person("frank");
    let said = |time| Given { asked: Asked::For(time), ..Given::default() };
    let longer = t.gate.knock_saying(frank, &selector("build-1+shell"), said(Span::hours(9)), Protocol::Ssh).await.unwrap_err();
    assert_eq!(longer.reason, Reason::TooLong);
    let opened = open(t.gate.knock_saying(frank, &selector("build-1+shell"), said(Span::minutes(5)), Protocol::Ssh).await.unwrap());
    assert_eq!(opened.permit.facts().ends_at, Some(Span::minutes(5).after(t.gate.now())));
}
