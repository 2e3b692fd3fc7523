//! Deciding by the link of a mail: as much as a mailbox proves, once, by its owner, and whatever becomes of the mail server.

use std::time::Duration;

use access::approval::Decision::{Approve, Deny};
use access::chat::Told;
use access::outbox::OutboxState;
use access::reason::{Reason, Refusal};
use access::request::{RequestRow, RequestState};
use access::secret::Secret;
use access::time::Span;
use notify::mail::client::{MailClient, MailSettings, Security};
use policy::Bundle;
use store::{EntryFilter, EntryPage, OutboxFilter, OutboxRow, Page};
use testkit::gate::{HERE, TestGate, ask};
use testkit::mail::{FROM, Kind, Mail, MailServer, PASSWORD, USER};
use tidegate_workflow::Caller;
use tidegate_workflow::outbox::{Destinations, KeptSecret, Mail as Server};

use crate::at_the_door::with_security_key;

const PORTAL: &str = "https://gate.example.com";

/// What a link says, and what signs it.
fn halves(code: &str) -> (String, String) {
    let parts: Vec<&str> = code.split('.').collect();
    let (says, signature) = parts.split_at(parts.len() - 2);
    (says.join("."), signature.join("."))
}

/// A gate and a mail server that know each other.
pub(crate) struct Post {
    pub(crate) t: TestGate,
    pub(crate) server: MailServer,
    pub(crate) kind: Kind,
}

pub(crate) fn serve(t: &TestGate, server: &MailServer, kind: Kind) {
    let settings = MailSettings {
        host: "localhost".into(),
        port: server.port,
        security: if kind == Kind::Tls { Security::Tls } else { Security::StartTls },
        user: Some(USER.into()),
        from: FROM.parse().unwrap(),
        alerts: vec!["security@tide.example".parse().unwrap()],
        addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
    };
    let client = MailClient::new(&settings, Some(std::fs::read(server.ca_file()).unwrap())).unwrap();
    let mail = Server { settings, client, password: Some(KeptSecret::Sealed("mail".parse().unwrap())) };
    t.gate.serve_outbox(Destinations { mail: Some(mail), portal: PORTAL.into(), ..Destinations::default() });
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}@tide.example")
}

impl Post {
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::start_with(TestGate::start().await.unwrap(), kind).await
    }

    pub(crate) async fn start_with(t: TestGate, kind: Kind) -> Self {
        t.gate.set_secret(t.person("admin"), "mail".parse().unwrap(), Secret::new(PASSWORD.to_owned())).await.unwrap();
        let server = MailServer::start(kind).unwrap();
        serve(&t, &server, kind);
        Self { t, server, kind }
    }

    async fn browser(&self, name: &str) -> Caller {
        let until = Span::hours(1).after(self.t.gate.now());
        let opened = self.t.gate.open_web_session(self.t.person(name).who.clone(), until, None).await.unwrap();
        let who = self.t.gate.identify_web_session(opened.cookie.expose(), HERE, true).await.unwrap();
        Caller { who, door: access::request::Door::Api }
    }

    /// Somebody says which mailbox is theirs, and opens the link that comes there.
    pub(crate) async fn mailbox(&self, name: &str) {
        let browser = self.browser(name).await;
        self.t.gate.name_mailbox(&browser, &address(name)).await.unwrap();
        self.t.gate.deliver_all().await;
        let mail = self.server.to(&address(name)).pop().unwrap_or_else(|| panic!("no mail: {:?}", self.server.refused()));
        let row = self.t.gate.confirm_mailbox(&browser, &mail.code("mailbox").unwrap()).await.unwrap();
        assert_eq!((row.person, row.address.as_deref()), (browser.who.id(), Some(address(name).as_str())));
    }

    pub(crate) async fn asked(&self, resource: &str) -> RequestRow {
        let request = self.t.gate.submit(self.t.person("ana"), ask(resource, "debug")).await.unwrap().request;
        self.t.gate.deliver_all().await;
        request
    }

    /// The newest mail that asks somebody about a request.
    fn asks(&self, name: &str, request: &RequestRow) -> Option<Mail> {
        let about = format!("<{}@tide.example>", request.id);
        self.server.to(&address(name)).into_iter().rfind(|mail| mail.header("References") == about && mail.code("decide").is_some())
    }

    pub(crate) fn code(&self, name: &str, request: &RequestRow) -> String {
        let mail = self.asks(name, request).unwrap_or_else(|| panic!("{name} got no mail: {:?}", self.server.refused()));
        mail.code("decide").unwrap()
    }

    pub(crate) async fn decide(&self, code: &str, note: Option<&str>, yes: bool) -> Result<RequestState, Refusal> {
        let decision = if yes { Approve } else { Deny };
        self.t.gate.decide_by_mail(code, None, HERE, decision, note.map(str::to_owned)).await.map(|voted| voted.request.state)
    }

    async fn state(&self, request: &RequestRow) -> RequestState {
        self.t.gate.store().request(request.id).await.unwrap().unwrap().state
    }

    /// The newest entry with this name, as its leaf.
    async fn newest(&self, name: &str) -> String {
        let filter = EntryFilter { name: Some(name.to_owned()), ..EntryFilter::default() };
        let page = EntryPage { limit: 1, after: None, newest_first: true };
        let found = self.t.gate.store().entries(&filter, page).await.unwrap();
        found.first().map(|logged| String::from_utf8_lossy(&logged.leaf).into_owned()).unwrap_or_default()
    }

    pub(crate) async fn messages(&self) -> Vec<OutboxRow> {
        self.t.gate.store().outbox(&OutboxFilter::default(), &Page::first(500)).await.unwrap()
    }

    pub(crate) async fn pass(&self, time: Duration) {
        self.t.time.advance(time);
        self.t.gate.deliver_all().await;
    }
}

// covers: OK-5 (mail), OK-4 (mail)
#[tokio::test]
async fn ben_approves_by_the_link_of_a_mail_and_who_asked_and_who_was_asked_are_told() {
    let post = Post::start(Kind::StartTls).await;
    for name in ["ana", "ben", "dan", "eve"] {
        post.mailbox(name).await;
    }
    let request = post.asked("db-1").await;
    let mail = post.asks("ben", &request).unwrap();
    assert!(mail.encrypted && mail.header("From").contains(FROM), "{mail:?}");
    assert!(mail.header("Subject").contains("ana asks for debug on db-1") && mail.text.contains("> checking a slow query"), "{mail:?}");
    assert!(post.asks("dan", &request).is_some(), "a lead, too");
    assert!(post.asks("eve", &request).is_none() && post.asks("ana", &request).is_none(), "who may not decide is not asked");
    // What looks after mailboxes opens links, and whoever reads the mail opens it twice: nothing happens by that.
    let code = post.code("ben", &request);
    for _ in 0..3 {
        let shown = post.t.gate.look_at_mail_link(&code, None, HERE).await.unwrap();
        assert_eq!((shown.request.id, shown.card.who.as_str(), shown.name.as_str()), (request.id, "ana", "ben"));
        assert!(shown.needs_more.is_none() && !shown.changed && shown.card.outcome.is_none());
    }
    assert_eq!(post.state(&request).await, RequestState::Pending);
    assert_eq!(post.decide(&code, Some("go ahead"), true).await.unwrap(), RequestState::Approved);
    assert!(post.newest("request.voted").await.contains("\"door\":\"mail\""));
    post.t.gate.deliver_all().await;
    for name in ["ana", "ben", "dan"] {
        let told = post.server.to(&address(name)).pop().unwrap();
        assert!(told.header("Subject").contains("Approved by ben") && told.text.contains("ben approved: go ahead"), "{name}: {told:?}");
        assert!(told.code("decide").is_none(), "nothing is left to decide");
    }
    assert_eq!(post.server.to(&address("eve")).len(), 1, "her own confirmation and nothing else");
    assert_eq!(post.server.refused(), Vec::<String>::new());
    let replayed = post.t.gate.replay().await.unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

// covers: C4 (mail), D8 (mail), C3 (mail)
#[tokio::test]
async fn a_link_that_is_forged_late_used_sent_on_or_of_an_earlier_revision_decides_nothing() {
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ben").await;
    post.mailbox("dan").await;
    let request = post.asked("db-1").await;
    let code = post.code("ben", &request);
    let dans = post.code("dan", &request);
    let other = post.asked("web-1").await;
    let others = post.code("ben", &other);
    // What it says and what signs it, put together from two good ones; and each field changed.
    let ((says, signature), (others_says, _)) = (halves(&code), halves(&others));
    let swapped = format!("{others_says}.{signature}");
    let renewed = format!("{says}0.{signature}");
    let (bens, dan) = (post.t.person("ben").who.id().to_string(), post.t.person("dan").who.id().to_string());
    for (what, forged) in [
        ("another request's", swapped),
        ("a later end", renewed),
        ("another person", code.replace(&bens, &dan)),
        ("another signature", format!("{}0", code.get(..code.len() - 1).unwrap())),
        ("a mailbox's", code.replacen("tg_mail_", "tg_mailbox_", 1)),
        ("nothing", String::new()),
    ] {
        if forged == code {
            continue;
        }
        let refusal = post.decide(&forged, None, true).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::CodeInvalid, "{what}: {refusal}");
        assert!(post.newest("signin.refused").await.contains("\"door\":\"mail\""), "{what}");
    }
    // Sent on: whoever is signed in where it is opened is somebody else.
    let eve = post.browser("eve").await;
    let looked = post.t.gate.look_at_mail_link(&code, Some(&eve), HERE).await.unwrap_err();
    assert_eq!(looked.reason, Reason::NotAllowed);
    let sent_on = post.t.gate.decide_by_mail(&code, Some(&eve), HERE, Approve, None).await.unwrap_err();
    assert!(sent_on.reason == Reason::NotAllowed && sent_on.to_string().contains("somebody else's mailbox"), "{sent_on}");
    assert!(post.newest("signin.refused").await.contains(&eve.who.id().to_string()), "and it is entered who");
    assert_eq!(post.state(&request).await, RequestState::Pending);
    // Edited: it was shown otherwise.
    let mut wish = ask("db-1", "debug");
    wish.reason = Some("dropping the orders".into());
    post.t.gate.edit(post.t.person("ana"), request.id, wish).await.unwrap();
    let stale = post.decide(&code, None, true).await.unwrap_err();
    assert_eq!(stale.reason, Reason::Stale);
    assert!(post.newest("vote.refused").await.contains("stale"));
    post.t.gate.deliver_all().await;
    let newer = post.code("ben", &request);
    assert_ne!(newer, code);
    // Used: it counts once, and so does everybody.
    let bens = post.browser("ben").await;
    let voted = post.t.gate.decide_by_mail(&newer, Some(&bens), HERE, Approve, None).await.unwrap();
    assert_eq!(voted.request.state, RequestState::Approved);
    let again = post.decide(&newer, None, false).await.unwrap_err();
    assert!(again.reason == Reason::CodeInvalid && again.to_string().contains("used already"), "{again}");
    let restarted = Post { t: post.t.restart().await.unwrap(), ..post };
    serve(&restarted.t, &restarted.server, restarted.kind);
    let again = restarted.decide(&newer, None, false).await.unwrap_err();
    assert!(again.to_string().contains("used already"), "another process knows it: {again}");
    let lost = restarted.decide(&dans, None, true).await.unwrap_err();
    assert_eq!(lost.reason, Reason::Stale, "of the revision before");
    // Late.
    restarted.t.time.advance(Duration::from_secs(9 * 24 * 3600));
    let late = restarted.decide(&others, None, true).await.unwrap_err();
    assert!(late.reason == Reason::CodeInvalid && late.to_string().contains("too old"), "{late}");
}

// covers: D8 (mail)
#[tokio::test]
async fn a_link_used_twice_at_the_same_instant_counts_once() {
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ben").await;
    let request = post.asked("db-1").await;
    let code = post.code("ben", &request);
    let all = futures::future::join_all((0..4).map(|n| post.decide(&code, Some("now"), n % 2 == 0))).await;
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1, "{all:?}");
    assert_eq!(post.t.gate.store().votes(request.id).await.unwrap().len(), 1);
}

// covers: C2 (mail), C1 (mail), OK-4 (mail)
#[tokio::test]
async fn who_lost_the_right_or_the_mailbox_after_the_mail_is_refused() {
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ben").await;
    post.mailbox("dan").await;
    let request = post.asked("db-1").await;
    let (bens, dans) = (post.code("ben", &request), post.code("dan", &request));
    let ben = post.t.person("ben").who.id();
    post.t.gate.disable(post.t.person("admin"), ben, None).await.unwrap();
    assert_eq!(post.decide(&bens, None, true).await.unwrap_err().reason, Reason::Disabled);
    post.t.gate.enable(post.t.person("admin"), ben).await.unwrap();
    // Dan is no lead any more, and not on call.
    let mut files = post.t.gate.bundle().files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    let fewer = people.replace("members = [\"ben\", \"dan\"]", "members = [\"ben\"]").replace("people = [\"dan\"]", "people = [\"eve\"]");
    files.insert("people.toml".into(), fewer.into_bytes());
    post.t.gate.push_bundle(post.t.person("dan"), files).await.unwrap();
    let refusal = post.decide(&dans, None, true).await.unwrap_err();
    assert!(matches!(refusal.reason, Reason::NotApprover | Reason::NotFound), "{refusal}");
    assert!(post.newest("vote.refused").await.contains("\"door\":\"mail\""));
    // Ben gives his mailbox up, and has it again.
    let browser = post.browser("ben").await;
    let mailbox = post.t.gate.chat_accounts(&browser).await.unwrap().remove(0);
    post.t.gate.remove_chat_account(&browser, &mailbox.id).await.unwrap();
    assert_eq!(post.decide(&bens, None, true).await.unwrap_err().reason, Reason::NotSignedIn);
    assert_eq!(post.state(&request).await, RequestState::Pending);
    post.t.time.advance(Duration::from_secs(1));
    post.mailbox("ben").await;
    assert_eq!(post.decide(&bens, None, true).await.unwrap_err().reason, Reason::NotSignedIn, "what was sent to the mailbox before");
    let second = post.asked("web-1").await;
    assert_eq!(post.decide(&post.code("ben", &second), None, true).await.unwrap(), RequestState::Approved, "and this one is his");
    // Nobody is sent a link to decide on what they asked for themselves.
    let own = post.t.gate.submit(post.t.person("ben"), ask("db-1", "debug")).await.unwrap().request;
    post.t.gate.deliver_all().await;
    assert!(post.asks("ben", &own).is_none());
}

async fn with_tier(line: &str) -> TestGate {
    let mut files = Bundle::load(&testkit::gate::example_policy()).unwrap().files().clone();
    let tiers = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let tiers = tiers.replacen("name = \"prod\"\n", &format!("name = \"prod\"\n{line}\n"), 1);
    files.insert("tiers.toml".into(), tiers.into_bytes());
    let t = TestGate::start().await.unwrap();
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    t
}

// covers: OK-5 (mail), OK-7 (mail)
#[tokio::test]
async fn what_needs_a_signature_or_a_second_factor_is_not_approved_by_a_mailbox() {
    for (line, wanted) in [("signed = true", Reason::SignatureRequired), ("mfa = \"verified\"", Reason::MfaRequired)] {
        let post = Post::start_with(with_tier(line).await, Kind::Tls).await;
        post.mailbox("ben").await;
        let ana = with_security_key(&post.t, "ana", HERE).await;
        let request = post.t.gate.submit(&ana, ask("db-1", "debug")).await.unwrap().request;
        post.t.gate.deliver_all().await;
        let mail = post.asks("ben", &request).unwrap();
        assert!(mail.text.contains("takes more than a mailbox"), "{}", mail.text);
        let code = post.code("ben", &request);
        assert!(post.t.gate.look_at_mail_link(&code, None, HERE).await.unwrap().needs_more.is_some());
        let refusal = post.decide(&code, None, true).await.unwrap_err();
        assert_eq!(refusal.reason, wanted, "{line}: {refusal}");
        assert!(post.newest("vote.refused").await.contains(wanted.code()), "{line}");
        assert_eq!(post.state(&request).await, RequestState::Pending, "{line}");
        // A no takes nothing from anybody, and the link is not spent by what was refused.
        assert_eq!(post.decide(&code, Some("not today"), false).await.unwrap(), RequestState::Denied, "{line}");
    }
    // The same without that line is approved by the same link.
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ben").await;
    let request = post.asked("db-1").await;
    assert_eq!(post.decide(&post.code("ben", &request), None, true).await.unwrap(), RequestState::Approved);
}

// covers: OK-3 (mail), WHO-4 (mail)
#[tokio::test]
async fn a_mailbox_is_one_persons_who_named_it_in_person_and_read_what_came_there() {
    let post = Post::start(Kind::Tls).await;
    let (ben, eve) = (post.browser("ben").await, post.browser("eve").await);
    let token = post.t.gate.name_mailbox(post.t.person("ben"), "ben@tide.example").await.unwrap_err();
    assert_eq!(token.reason, Reason::NotAllowed, "a token is no browser that somebody sits at");
    let none = post.t.gate.name_mailbox(&ben, "ben@tide.example\r\nBcc: eve@tide.example").await.unwrap_err();
    assert_eq!(none.reason, Reason::Invalid);
    post.t.gate.name_mailbox(&ben, "Ben@Tide.example").await.unwrap();
    post.t.gate.deliver_all().await;
    let code = post.server.to("ben@tide.example").remove(0).code("mailbox").unwrap();
    // Who reads the mail and is somebody else has nothing of it; nor has a link that decides.
    assert_eq!(post.t.gate.confirm_mailbox(&eve, &code).await.unwrap_err().reason, Reason::NotAllowed);
    assert_eq!(post.decide(&code, None, true).await.unwrap_err().reason, Reason::CodeInvalid);
    post.t.gate.confirm_mailbox(&ben, &code).await.unwrap();
    assert!(post.t.gate.confirm_mailbox(&ben, &code).await.unwrap_err().to_string().contains("used already"));
    // One mailbox for two people would be one hand with two votes.
    post.t.gate.name_mailbox(&eve, "ben@tide.example").await.unwrap();
    post.t.gate.deliver_all().await;
    let second = post.server.to("ben@tide.example").pop().unwrap().code("mailbox").unwrap();
    let taken = post.t.gate.confirm_mailbox(&eve, &second).await.unwrap_err();
    assert!(taken.reason == Reason::NotAllowed && taken.to_string().contains("somebody else's here"), "{taken}");
    // Too late is too late.
    post.t.gate.name_mailbox(&eve, "eve@tide.example").await.unwrap();
    post.t.gate.deliver_all().await;
    let third = post.server.to("eve@tide.example").pop().unwrap().code("mailbox").unwrap();
    post.t.time.advance(Duration::from_secs(24 * 3600));
    let eve = post.browser("eve").await;
    assert_eq!(post.t.gate.confirm_mailbox(&eve, &third).await.unwrap_err().reason, Reason::CodeInvalid);
    // Nobody has strangers sent mails by the dozen, not at once either.
    let strangers: Vec<String> = (0..12).map(|n| format!("stranger{n}@elsewhere.example")).collect();
    let named = futures::future::join_all(strangers.iter().map(|stranger| post.t.gate.name_mailbox(&eve, stranger))).await;
    let refused: Vec<Reason> = named.into_iter().filter_map(|named| named.err().map(|refusal| refusal.reason)).collect();
    assert_eq!(refused, [Reason::TooMany; 7]);
    let many = post.t.gate.name_mailbox(&eve, "stranger6@elsewhere.example").await.unwrap_err();
    assert_eq!(many.reason, Reason::TooMany);
    let replayed = post.t.gate.replay().await.unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

#[tokio::test]
async fn people_choose_what_they_are_told_and_an_erased_address_gets_nothing() {
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ana").await;
    post.mailbox("ben").await;
    post.mailbox("dan").await;
    let dan = post.browser("dan").await;
    let mailbox = access::chat::mailbox_key(dan.who.id());
    let other = post.t.gate.choose_what_is_told(&post.browser("ben").await, &mailbox, Told::Nothing).await;
    assert_eq!(other.unwrap_err().reason, Reason::NotFound);
    post.t.gate.choose_what_is_told(&dan, &mailbox, Told::Own).await.unwrap();
    let named =
        EntryFilter { name: Some("chat_account.linked".into()), actor: Some(post.t.person("ana").actor()), ..EntryFilter::default() };
    let page = EntryPage { limit: 1, after: None, newest_first: true };
    let entry = post.t.gate.store().entries(&named, page).await.unwrap().remove(0).entry.id;
    post.t.gate.erase_text(post.t.person("carla"), entry, "address", "she asked").await.unwrap();
    let before = (post.server.to(&address("ana")).len(), post.server.to(&address("dan")).len());
    let request = post.asked("db-1").await;
    post.decide(&post.code("ben", &request), None, true).await.unwrap();
    post.t.gate.deliver_all().await;
    assert_eq!((post.server.to(&address("ana")).len(), post.server.to(&address("dan")).len()), before);
    assert!(post.server.to(&address("ben")).pop().unwrap().header("Subject").contains("Approved by ben"));
    let replayed = post.t.gate.replay().await.unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

// covers: C8 (mail)
#[tokio::test]
async fn with_the_mail_server_down_the_journey_goes_on_and_each_mail_comes_once() {
    let post = Post::start(Kind::StartTls).await;
    post.mailbox("ana").await;
    post.mailbox("ben").await;
    post.server.down(true);
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    let emergency = post.t.gate.submit(post.t.person("ben"), wish).await.unwrap();
    assert!(emergency.grant.is_some());
    assert_eq!(post.t.gate.store().open_reviews_about(post.t.person("ben").who.id()).await.unwrap().len(), 1);
    let request = post.asked("db-1").await;
    let decided = post.asked("web-1").await;
    post.t.gate.vote(post.t.person("ben"), decided.id, Approve, None).await.unwrap();
    post.t.gate.deliver_all().await;
    let waiting = post.messages().await.into_iter().filter(|row| row.state == OutboxState::Waiting).collect::<Vec<_>>();
    assert!(waiting.iter().any(|row| row.error.as_deref().is_some_and(|why| why.contains("cannot be reached"))), "{waiting:?}");
    // The process ends, too.
    let post = Post { t: post.t.restart().await.unwrap(), ..post };
    serve(&post.t, &post.server, post.kind);
    post.server.down(false);
    post.server.answer_next("RCPT", "451 4.3.0 try again later");
    post.server.answer_next("AUTH", "454 4.7.0 Temporary authentication failure");
    for _ in 0..6 {
        post.pass(Duration::from_secs(60)).await;
    }
    let alarm = post.server.to("security@tide.example");
    assert!(alarm.len() == 1 && alarm[0].header("Subject").contains("Emergency: ben opens db-1 as shell"), "{alarm:?}");
    assert!(post.asks("ben", &request).is_some());
    assert!(post.asks("ben", &decided).is_none(), "what was decided meanwhile is asked of nobody");
    let told = post.server.to(&address("ana")).into_iter().filter(|mail| mail.header("Subject").contains("Approved by ben")).count();
    assert_eq!(told, 1);
    let left = post.messages().await;
    let open: Vec<_> = left.iter().filter(|row| row.state != OutboxState::Delivered && !row.lane.starts_with("later ")).collect();
    assert!(open.is_empty(), "{open:?}");
    let mut ids: Vec<String> = post.server.taken().iter().map(|mail| mail.header("Message-ID").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), post.server.taken().len(), "each once");
}

#[tokio::test]
async fn a_mail_whose_answer_was_lost_comes_again_as_the_same_and_one_refused_for_good_is_given_up() {
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ben").await;
    post.mailbox("dan").await;
    post.server.answer_next("DATA", "250-lost");
    let request = post.asked("db-1").await;
    post.pass(Duration::from_secs(60)).await;
    let asks = |name: &str| post.server.to(&address(name)).into_iter().filter(|mail| mail.code("decide").is_some()).collect::<Vec<_>>();
    let all: Vec<Mail> = [asks("ben"), asks("dan")].concat();
    assert_eq!(all.len(), 3, "{:?}", post.server.refused());
    let mut twice: Vec<(String, Option<String>)> =
        all.iter().map(|mail| (mail.header("Message-ID").to_owned(), mail.code("decide"))).collect();
    twice.sort();
    twice.dedup();
    assert_eq!(twice.len(), 2, "the same id, and the same link");
    post.decide(&post.code("ben", &request), None, true).await.unwrap();
    post.t.gate.deliver_all().await;
    // Refused for good: a dead letter, in the log, that somebody may send again. Others' mails are not held up by it.
    post.server.answer_next("RCPT", "550 5.1.1 User unknown");
    let second = post.asked("web-1").await;
    let dead: Vec<OutboxRow> = post.messages().await.into_iter().filter(|row| row.state == OutboxState::Dead).collect();
    let [dead] = dead.as_slice() else { panic!("{dead:?}") };
    assert!(dead.error.as_deref().is_some_and(|why| why.contains("User unknown")), "{:?}", dead.error);
    assert!(post.newest("delivery.abandoned").await.contains(&dead.id.to_string()));
    assert_eq!([post.asks("ben", &second), post.asks("dan", &second)].iter().flatten().count(), 1);
    post.t.gate.replay_message(post.t.person("admin"), dead.id).await.unwrap();
    post.t.gate.deliver_all().await;
    assert_eq!([post.asks("ben", &second), post.asks("dan", &second)].iter().flatten().count(), 2);
    // A wrong password is about the gate, not about a mail: all wait until it is put right.
    post.t.gate.set_secret(post.t.person("admin"), "mail".parse().unwrap(), Secret::new("guessed".to_owned())).await.unwrap();
    let third = post.t.gate.submit(post.t.person("ben"), ask("web-1", "debug")).await.unwrap().request;
    post.t.gate.deliver_all().await;
    let waits =
        post.messages().await.into_iter().find(|row| row.error.as_deref().is_some_and(|why| why.contains("does not let `gate` in")));
    assert!(waits.is_some_and(|row| row.state == OutboxState::Waiting), "{:?}", post.messages().await);
    post.t.gate.set_secret(post.t.person("admin"), "mail".parse().unwrap(), Secret::new(PASSWORD.to_owned())).await.unwrap();
    post.pass(Duration::from_secs(60)).await;
    assert!(post.asks("dan", &third).is_some());
}

// covers: G3 (mail)
#[tokio::test]
async fn a_server_whose_certificate_is_not_trusted_gets_neither_password_nor_mail() {
    for kind in [Kind::Tls, Kind::StartTls] {
        let post = Post::start(kind).await;
        post.mailbox("ben").await;
        let other = MailServer::start(kind).unwrap();
        let t = post.t.restart().await.unwrap();
        let settings = MailSettings {
            host: "localhost".into(),
            port: other.port,
            security: if kind == Kind::Tls { Security::Tls } else { Security::StartTls },
            user: Some(USER.into()),
            from: FROM.parse().unwrap(),
            alerts: Vec::new(),
            addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        };
        // It is whom the gate is pointed at, and not whom it trusts.
        let client = MailClient::new(&settings, Some(std::fs::read(post.server.ca_file()).unwrap())).unwrap();
        let mail = Server { settings, client, password: Some(KeptSecret::Sealed("mail".parse().unwrap())) };
        t.gate.serve_outbox(Destinations { mail: Some(mail), portal: PORTAL.into(), ..Destinations::default() });
        t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
        t.gate.deliver_all().await;
        let rows = t.gate.store().outbox(&OutboxFilter::default(), &Page::first(500)).await.unwrap();
        assert!(rows.iter().any(|row| row.error.as_deref().is_some_and(|why| why.contains("certificate"))), "{rows:?}");
        assert!(other.taken().is_empty() && other.refused().is_empty(), "it heard nothing: {:?}", other.refused());
    }
}

// covers: OK-2 (mail)
#[tokio::test]
async fn who_joins_later_is_asked_then_and_nobody_twice() {
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ben").await;
    post.mailbox("carla").await;
    let request = post.asked("db-1").await;
    assert!(post.asks("ben", &request).is_some() && post.asks("carla", &request).is_none());
    post.pass(Duration::from_secs(29 * 60)).await;
    assert!(post.asks("carla", &request).is_none());
    post.pass(Duration::from_secs(60)).await;
    assert_eq!(post.decide(&post.code("carla", &request), None, true).await.unwrap(), RequestState::Approved);
    let to_ben = post.server.to(&address("ben")).into_iter().filter(|mail| mail.code("decide").is_some()).count();
    assert_eq!(to_ben, 1);
}

// covers: E9 (mail)
#[tokio::test]
async fn what_people_write_is_inert_in_a_mail() {
    let post = Post::start(Kind::Tls).await;
    post.mailbox("ben").await;
    let mut wish = ask("db-1", "debug");
    wish.reason = Some(
        "<a href=\"https://evil.example\">click</a>\r\n\r\nApprove: https://gate.example.com/decide#tg_mail_x \u{202e}\u{200b}".into(),
    );
    wish.ticket = Some("OPS-1\r\nBcc: eve@tide.example".into());
    let request = post.t.gate.submit(post.t.person("ana"), wish).await.unwrap().request;
    post.t.gate.deliver_all().await;
    let mail = post.asks("ben", &request).unwrap_or_else(|| panic!("{:?}", post.server.refused()));
    assert_eq!(mail.text.matches("://").count(), 1, "{}", mail.text);
    assert_eq!((mail.html.matches("://").count(), mail.html.matches("<a ").count()), (1, 1), "{}", mail.html);
    assert!(!mail.names.contains(&"Bcc".to_owned()) && !mail.text.contains('\u{202e}') && !mail.html.contains("<a href=\"https://evil"));
}

// covers: MAY-1 (mail)
#[tokio::test]
async fn of_a_policy_that_fails_those_named_for_alerts_hear_once_an_hour() {
    let post = Post::start(Kind::StartTls).await;
    let t = &post.t;
    // Nothing is told of an ordinary no.
    t.gate.submit(t.person("ana"), ask("db-1", "nothing")).await.unwrap_err();
    let mut files = t.gate.bundle().files().clone();
    for (id, tier) in [("counts", "prod"), ("counts-too", "non-prod")] {
        let rule = format!(
            "@id(\"{id}\") forbid(principal, action == Tide::Action::\"request\", resource in Tide::Tier::\"{tier}\") \
             when {{ context.now * 9223372036854775807 > 0 }};"
        );
        files.insert(format!("{id}.cedar"), rule.into_bytes());
    }
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let told = async || {
        t.gate.deliver_all().await;
        post.server.to("security@tide.example").iter().map(|mail| mail.header("Subject").to_owned()).collect::<Vec<_>>()
    };
    assert!(told().await.is_empty());
    let refused = async |resource: &str| {
        let role = if resource == "build-1" { "shell" } else { "debug" };
        assert_eq!(t.gate.submit(t.person("ana"), ask(resource, role)).await.unwrap_err().reason, Reason::PolicyError);
    };
    for _ in 0..3 {
        refused("db-1").await;
    }
    assert_eq!(told().await, ["The policy counts fails"]);
    // Another policy is another matter, and after an hour so is the same.
    refused("build-1").await;
    assert_eq!(told().await.len(), 2);
    refused("db-1").await;
    assert_eq!(told().await.len(), 2);
    t.pass(Duration::from_secs(3_601)).await;
    refused("db-1").await;
    assert_eq!(told().await.len(), 3);
    let mail = post.server.to("security@tide.example").pop().unwrap();
    assert!(mail.text.contains("`counts` could not be evaluated") && mail.text.contains("counts.cedar:1"), "{}", mail.text);
}

// covers: MAY-1 (mail)
#[tokio::test]
async fn of_a_policy_that_takes_open_rights_away_by_failing_those_named_for_alerts_hear() {
    let post = Post::start(Kind::StartTls).await;
    let t = &post.t;
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let put = async |rule: &str| {
        let mut files = t.gate.bundle().files().clone();
        files.insert("counts.cedar".into(), rule.into());
        t.gate.push_bundle(t.person("dan"), files).await.unwrap().withdrawn
    };
    let told = async || {
        t.gate.deliver_all().await;
        post.server.to("security@tide.example").iter().map(|mail| mail.header("Subject").to_owned()).collect::<Vec<_>>()
    };
    // One that can be evaluated takes nothing away.
    let rule = |value: &str| {
        format!("@id(\"counts\") forbid(principal, action == Tide::Action::\"request\", resource) when {{ context.now * {value} < 0 }};")
    };
    assert!(put(&rule("1")).await.is_empty() && told().await.is_empty());
    assert_eq!(put(&rule("9223372036854775807")).await, [grant.id]);
    assert_eq!(told().await, ["The policy counts fails"]);
    let mail = post.server.to("security@tide.example").pop().unwrap();
    assert!(mail.text.contains("`counts` could not be evaluated") && mail.text.contains("counts.cedar:1"), "{}", mail.text);
}
