//! Deciding in Microsoft Teams: the same verbs, the same walls, whoever is down.

use std::sync::Arc;
use std::time::Duration;

use access::approval::Decision::Approve;
use access::lock::LockScope;
use access::outbox::OutboxState;
use access::reason::{Reason, Refusal};
use access::request::{Asked, RequestRow, RequestState};
use access::secret::Secret;
use access::time::Span;
use notify::teams::client::{TeamsClient, TeamsSettings};
use serde_json::{Value, json};
use store::{EntryFilter, EntryPage, OutboxFilter, Page};
use testkit::gate::{HERE, TestGate, ask};
use testkit::teams::{APP, APP_PASSWORD, CHANNEL, Posted, TENANT, Teams};
use testkit::web::Reply;
use tidegate_workflow::Caller;
use tidegate_workflow::chat::FromTeams;
use tidegate_workflow::outbox::{Destinations, KeptSecret, Teams as Tenant};

const PORTAL: &str = "https://gate.example.com";
const ANA: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const BEN: &str = "bbbbbbbb-0000-4000-8000-000000000002";
const EVE: &str = "eeeeeeee-0000-4000-8000-000000000003";
const FRANK: &str = "ffffffff-0000-4000-8000-000000000004";

pub(crate) struct Chat {
    pub(crate) t: TestGate,
    pub(crate) teams: Teams,
}

fn serve(t: &TestGate, teams: &Teams) {
    let settings = TeamsSettings {
        login: teams.login(),
        service: teams.service(),
        metadata: teams.metadata(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        ..TeamsSettings::usual(TENANT, APP, CHANNEL)
    };
    let tenant = Tenant {
        client: Arc::new(TeamsClient::new(&settings, None).unwrap()),
        settings,
        app_password: KeptSecret::Sealed("teams".parse().unwrap()),
    };
    t.gate.serve_outbox(Destinations { teams: Some(tenant), portal: PORTAL.into(), ..Destinations::default() });
}

impl Chat {
    pub(crate) async fn start() -> Self {
        let t = TestGate::start().await.unwrap();
        t.gate.set_secret(t.person("admin"), "teams".parse().unwrap(), Secret::new(APP_PASSWORD.to_owned())).await.unwrap();
        let teams = Teams::start().unwrap();
        serve(&t, &teams);
        Self { t, teams }
    }

    async fn call(&self, activity: &Value) -> Result<Value, Refusal> {
        let authorization = self.teams.authorization(&Teams::claims(self.t.gate.now().as_second()));
        self.call_as(Some(&authorization), activity).await
    }

    async fn call_as(&self, authorization: Option<&str>, activity: &Value) -> Result<Value, Refusal> {
        let body = activity.to_string();
        let incoming = self.t.gate.take_from_teams(FromTeams { authorization, body: body.as_bytes(), from: HERE }).await?;
        Ok(self.t.gate.do_in_teams(incoming).await)
    }

    fn pressed(&self, who: &str, verb: &str, card: &Posted, note: Option<&str>) -> Value {
        self.teams.press(who, verb, card, note, self.t.gate.now())
    }

    async fn press(&self, who: &str, verb: &str, card: &Posted, note: Option<&str>) -> String {
        let answer = self.call(&self.pressed(who, verb, card, note)).await.unwrap();
        assert_eq!(answer["statusCode"], 200);
        answer.to_string()
    }

    async fn browser(&self, name: &str) -> Caller {
        let until = Span::hours(1).after(self.t.gate.now());
        let opened = self.t.gate.open_web_session(self.t.person(name).who.clone(), until, None).await.unwrap();
        let who = self.t.gate.identify_web_session(opened.cookie.expose(), HERE, true).await.unwrap();
        Caller { who, door: access::request::Door::Api }
    }

    /// Somebody presses a button, is asked who they are, and says so where they are signed in.
    pub(crate) async fn link(&self, object: &str, name: &str, card: &Posted) {
        let said = self.press(object, "tide_approve", card, None).await;
        let code = said.split("/chat?code=").nth(1).unwrap_or_else(|| panic!("no link in {said}")).split('"').next().unwrap().to_owned();
        let account = self.t.gate.link_chat_account(&self.browser(name).await, &code).await.unwrap();
        assert_eq!((account.team.as_str(), account.account.as_str()), (TENANT, object));
    }

    pub(crate) async fn asked(&self, resource: &str) -> (RequestRow, Posted) {
        let request = self.t.gate.submit(self.t.person("ana"), ask(resource, "debug")).await.unwrap().request;
        self.t.gate.deliver_all().await;
        (request.clone(), self.card(&request))
    }

    pub(crate) fn card(&self, request: &RequestRow) -> Posted {
        let all = self.teams.cards(CHANNEL);
        let found = all.into_iter().rfind(|posted| posted.card.to_string().contains(&request.id.to_string()));
        found.unwrap_or_else(|| panic!("no card: {:?}", self.teams.refused()))
    }

    async fn state(&self, request: &RequestRow) -> RequestState {
        self.t.gate.store().request(request.id).await.unwrap().unwrap().state
    }

    async fn newest(&self, name: &str) -> String {
        let filter = EntryFilter { name: Some(name.to_owned()), ..EntryFilter::default() };
        let page = EntryPage { limit: 1, after: None, newest_first: true };
        let found = self.t.gate.store().entries(&filter, page).await.unwrap();
        found.first().map(|logged| String::from_utf8_lossy(&logged.leaf).into_owned()).unwrap_or_default()
    }
}

// covers: OK-5 (teams), OK-4 (teams)
#[tokio::test]
async fn ben_approves_with_a_button_and_the_card_says_so() {
    let chat = Chat::start().await;
    let (request, card) = chat.asked("db-1").await;
    assert!(card.card.to_string().contains("ana asks for debug on db-1") && card.summary.contains("ana asks for debug on db-1"));
    chat.link(BEN, "ben", &card).await;
    chat.link(ANA, "ana", &card).await;
    assert_eq!(chat.state(&request).await, RequestState::Pending, "saying who one is decides nothing");
    let answer = chat.press(BEN, "tide_approve", &card, Some("go ahead")).await;
    assert!(answer.contains("Approved by ben") && !answer.contains("tide_approve"), "{answer}");
    assert_eq!(chat.state(&request).await, RequestState::Approved);
    assert!(chat.newest("request.voted").await.contains("\"door\":\"chat\""));
    chat.t.gate.deliver_all().await;
    let after = chat.card(&request);
    assert_eq!(after.activity, card.activity, "the same card");
    assert!(after.card.to_string().contains("Approved by ben") && after.card.to_string().contains("ben approved: go ahead"));
    assert!(!after.card.to_string().contains("tide_approve"));
    let told = chat.teams.cards(ANA);
    assert!(told.len() == 1 && told[0].card.to_string().contains("Approved by ben"), "{told:?}");
    let replayed = chat.t.gate.replay().await.unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

// covers: OK-5 (teams), C1 (teams), OK-3 (teams), C2 (teams)
#[tokio::test]
async fn a_no_needs_its_reason_and_nobody_decides_for_themselves_or_without_the_right() {
    let chat = Chat::start().await;
    let (request, card) = chat.asked("db-1").await;
    for (object, name) in [(ANA, "ana"), (BEN, "ben"), (EVE, "eve")] {
        chat.link(object, name, &card).await;
    }
    assert!(chat.press(ANA, "tide_approve", &card, None).await.contains("Nobody decides on their own request"));
    assert!(chat.newest("vote.refused").await.contains("self_approval"));
    chat.press(EVE, "tide_approve", &card, None).await;
    assert!(chat.press(BEN, "tide_deny", &card, Some("  ")).await.contains("A no needs its reason"));
    let ben = chat.t.person("ben").who.id();
    chat.t.gate.disable(chat.t.person("admin"), ben, None).await.unwrap();
    chat.press(BEN, "tide_deny", &card, Some("not today")).await;
    assert_eq!(chat.state(&request).await, RequestState::Pending);
    chat.t.gate.enable(chat.t.person("admin"), ben).await.unwrap();
    chat.press(BEN, "tide_deny", &card, Some("not <at>everyone</at> today")).await;
    assert_eq!(chat.state(&request).await, RequestState::Denied);
    chat.t.gate.deliver_all().await;
    assert!(chat.card(&request).card.to_string().contains("ben denied: not <at>everyone</at> today"), "literal, in a run of text");
}

// covers: C4 (teams)
#[tokio::test]
async fn forged_late_and_repeated_calls_are_refused_and_entered() {
    let chat = Chat::start().await;
    let (request, card) = chat.asked("db-1").await;
    chat.link(BEN, "ben", &card).await;
    let now = chat.t.gate.now();
    let second = now.as_second();
    let activity = chat.pressed(BEN, "tide_approve", &card, None);
    let claims = |name: &str, value: Value| {
        let mut claims = Teams::claims(second);
        claims[name] = value;
        claims
    };
    let good = chat.teams.authorization(&Teams::claims(second));
    let forger = Teams::start().unwrap();
    let with = |pointer: &str, value: Value| {
        let mut changed = activity.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    let elsewhere = "https://evil.example/";
    let (early, late) = (now + jiff::SignedDuration::from_secs(301), now - jiff::SignedDuration::from_secs(301));
    let mut foreign = with("/channelData/tenant/id", json!("99999999-86f1-41af-91ab-2d7cd011db47"));
    foreign["conversation"]["tenantId"] = json!("99999999-86f1-41af-91ab-2d7cd011db47");
    for (what, authorization, activity, wanted) in [
        ("no token", None, activity.clone(), Reason::NotSignedIn),
        ("another's signature", Some(forger.authorization(&Teams::claims(second))), activity.clone(), Reason::NotSignedIn),
        ("another bot's", Some(chat.teams.authorization(&claims("aud", json!("x")))), activity.clone(), Reason::NotSignedIn),
        ("another issuer's", Some(chat.teams.authorization(&claims("iss", json!(elsewhere)))), activity.clone(), Reason::NotSignedIn),
        ("a token that ended", Some(chat.teams.authorization(&claims("exp", json!(second - 301)))), activity.clone(), Reason::NotSignedIn),
        ("another service", Some(good.clone()), with("/serviceUrl", json!(elsewhere)), Reason::NotSignedIn),
        ("another channel", Some(good.clone()), with("/channelId", json!("webchat")), Reason::NotAllowed),
        ("a channel the key does not speak for", Some(good.clone()), with("/channelId", json!("slack")), Reason::NotSignedIn),
        ("too early", Some(good.clone()), with("/timestamp", json!(early.to_string())), Reason::NotSignedIn),
        ("too late", Some(good.clone()), with("/timestamp", json!(late.to_string())), Reason::NotSignedIn),
        ("another tenant", Some(good.clone()), foreign, Reason::NotAllowed),
    ] {
        // What is refused for what it says may have been looked at: each has an id of its own.
        let mut own = activity;
        own["id"] = json!(format!("f:{what}"));
        let refusal = chat.call_as(authorization.as_deref(), &own).await.unwrap_err();
        assert_eq!(refusal.reason, wanted, "{what}: {refusal}");
        assert!(chat.newest("signin.refused").await.contains(wanted.code()), "{what}");
        assert_eq!(chat.state(&request).await, RequestState::Pending, "{what}");
    }
    // Without a good token it does not matter what else is wrong, and it is entered from where it came.
    for (what, authorization) in
        [("no token", None), ("no good one", Some("Bearer x")), ("nothing to hold it against", Some(good.as_str()))]
    {
        let refusal = chat.t.gate.take_from_teams(FromTeams { authorization, body: b"x", from: HERE }).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::NotSignedIn, "{what}: {refusal}");
    }
    let filter = EntryFilter { name: Some("signin.refused".to_owned()), ..EntryFilter::default() };
    let entered = chat.t.gate.store().entries(&filter, EntryPage { limit: 1, after: None, newest_first: true }).await.unwrap();
    assert_eq!(entered[0].entry.text("from"), Some(HERE.to_string().as_str()));
    chat.call_as(Some(&good), &activity).await.expect("the real one is taken");
    assert_eq!(chat.state(&request).await, RequestState::Approved);
    let again = chat.call_as(Some(&good), &activity).await.unwrap_err();
    assert!(again.to_string().contains("it came before"), "{again}");
    // Nor on another node, or by a process that began since.
    let Chat { t, teams } = chat;
    let t = t.restart().await.unwrap();
    serve(&t, &teams);
    let chat = Chat { t, teams };
    let after = chat.call_as(Some(&good), &activity).await.unwrap_err();
    assert!(after.to_string().contains("it came before"), "{after}");
}

#[tokio::test]
async fn keys_are_read_anew_when_they_change_and_nothing_counts_while_they_cannot_be_read() {
    let chat = Chat::start().await;
    chat.teams.keys_down(true);
    let (request, card) = chat.asked("db-1").await;
    let refusal = chat.call(&chat.pressed(BEN, "tide_approve", &card, None)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ChatUnreachable);
    chat.teams.keys_down(false);
    // A look that failed is not done again for each call.
    let refusal = chat.call(&chat.pressed(BEN, "tide_approve", &card, None)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ChatUnreachable);
    chat.t.time.advance(Duration::from_secs(61));
    chat.link(BEN, "ben", &card).await;
    chat.teams.rotate("k2", &["msteams"]);
    chat.t.time.advance(Duration::from_secs(61));
    assert!(chat.press(BEN, "tide_approve", &card, None).await.contains("Approved by ben"));
    assert_eq!(chat.state(&request).await, RequestState::Approved);
    chat.teams.rotate("k3", &["webchat"]);
    chat.t.time.advance(Duration::from_secs(61));
    let unendorsed = chat.call(&chat.pressed(BEN, "tide_approve", &card, None)).await.unwrap_err();
    assert!(unendorsed.to_string().contains("does not speak for Teams"), "{unendorsed}");
}

// covers: B2 (teams)
#[tokio::test]
async fn a_card_is_shown_where_it_stands_and_to_who_may_see_it_anyway() {
    let chat = Chat::start().await;
    let (request, card) = chat.asked("db-1").await;
    let shown = "ana asks for debug on db-1";
    // In the channel everybody sees it, known or not.
    assert!(chat.press(EVE, "tide_approve", &card, None).await.contains(shown));
    // Whoever knows the id alone writes it into a call of their own.
    let elsewhere = Posted { conversation: "a:eve".into(), ..card.clone() };
    let said = chat.press(EVE, "tide_approve", &elsewhere, None).await;
    assert!(said.contains("/chat?code=") && !said.contains(shown), "{said}");
    let no_entry = chat.newest("vote.refused").await;
    chat.link(EVE, "eve", &card).await;
    chat.link(BEN, "ben", &card).await;
    let said = chat.press(BEN, "tide_deny", &elsewhere, None).await;
    assert!(said.contains("A no needs its reason") && said.contains(shown), "Ben may see it: {said}");
    assert_eq!((no_entry.as_str(), chat.state(&request).await), ("", RequestState::Pending));
    // What was never posted stands nowhere.
    let quiet = chat.t.gate.submit(chat.t.person("ana"), ask("build-1", "shell")).await.unwrap().request;
    assert!(chat.teams.cards(CHANNEL).iter().all(|posted| !posted.card.to_string().contains(&quiet.id.to_string())));
    let mut forged = chat.pressed(FRANK, "tide_approve", &card, None);
    forged["value"]["action"]["data"]["about"] = json!({ "request": quiet.id.to_string(), "revision": quiet.revision });
    let said = chat.call(&forged).await.unwrap().to_string();
    assert!(!said.contains("ana asks for shell on build-1"), "{said}");
}

// covers: OK-5 (teams), ASK-1 (teams), ASK-4 (teams), C4 (teams)
#[tokio::test]
async fn ana_asks_by_a_message_and_is_answered_alone() {
    let chat = Chat::start().await;
    let wrote = async |who: &str, text: &str| {
        let answer = chat.call(&chat.teams.write(who, text, chat.t.gate.now())).await.unwrap();
        assert_eq!(answer, json!({}), "a message has no answer of its own");
    };
    let told = || chat.teams.cards(ANA).last().map(|posted| posted.card.to_string()).unwrap_or_default();
    wrote(ANA, "hello").await;
    assert_eq!(told(), "");
    wrote(ANA, "ask db-1+debug for 1h the orders query is slow").await;
    let said = told();
    let code = said.split("/chat?code=").nth(1).unwrap_or_else(|| panic!("no link in {said}")).split('"').next().unwrap();
    chat.t.gate.link_chat_account(&chat.browser("ana").await, code).await.unwrap();
    assert!(chat.t.gate.store().pending_requests().await.unwrap().is_empty(), "saying who one is asks nothing");

    let asks = chat.teams.write(ANA, "<at>Tidegate</at>&nbsp;ask db-1+debug for 1h the orders query is slow", chat.t.gate.now());
    chat.call(&asks).await.unwrap();
    let request = chat.t.gate.store().pending_requests().await.unwrap().remove(0);
    assert_eq!((request.person, request.role.as_str()), (chat.t.person("ana").who.id(), "debug"));
    assert_eq!((request.asked, request.reason.as_deref()), (Asked::For(Span::hours(1)), Some("the orders query is slow")));
    assert!(chat.newest("request.submitted").await.contains("\"door\":\"chat\""));
    assert!(told().contains("You asked for debug on db-1"), "{}", told());
    let again = chat.call(&asks).await.unwrap_err();
    assert!(again.to_string().contains("it came before"), "{again}");

    chat.t.gate.deliver_all().await;
    chat.link(BEN, "ben", &chat.card(&request)).await;
    assert!(chat.press(BEN, "tide_approve", &chat.card(&request), None).await.contains("Approved by ben"));
    assert_eq!(chat.state(&request).await, RequestState::Approved);

    wrote(ANA, "ask").await;
    assert!(told().contains("Say what you need and why"), "{}", told());
    wrote(ANA, "ask nowhere-1+shell to see").await;
    assert!(chat.newest("request.refused").await.contains("nowhere-1"));
    // Who is locked asks nothing here either.
    let ana = chat.t.person("ana").who.id();
    chat.t.gate.lock(chat.t.person("carla"), LockScope::Person(ana), None, Some("lost".into())).await.unwrap();
    wrote(ANA, "ask build-1+shell to see").await;
    assert!(chat.newest("signin.refused").await.contains("locked"), "{}", told());
}

// covers: MAY-9 (api), C4 (teams)
#[tokio::test]
async fn who_was_contained_has_no_linked_account_no_mailbox_and_no_invitation_afterwards() {
    let chat = Chat::start().await;
    let (gate, carla) = (&chat.t.gate, chat.t.person("carla"));
    let (request, card) = chat.asked("db-1").await;
    chat.link(BEN, "ben", &card).await;
    let ben = chat.t.person("ben").who.id();
    let invited = gate.invite_again(chat.t.person("admin"), ben).await.unwrap();
    assert_eq!(gate.chat_accounts_of(chat.t.person("admin"), ben).await.unwrap().len(), 1);
    let done = gate.contain(carla, LockScope::Person(ben), "his browser was stolen").await.unwrap();
    assert!(done.credentials >= 2 && done.passkeys.is_empty(), "{done:?}");
    assert_eq!(done.browsers, 1, "the one he linked it in");
    let again = gate.contain(carla, LockScope::Person(ben), "once more").await.unwrap();
    assert_eq!((again.credentials, again.browsers), (0, 0), "nothing was left over");
    gate.release(carla, done.lock.id, "it was found again").await.unwrap();
    assert!(gate.chat_accounts_of(chat.t.person("admin"), ben).await.unwrap().is_empty());
    let said = chat.press(BEN, "tide_approve", &card, None).await;
    assert!(said.contains("/chat?code="), "the account is nobody's: {said}");
    assert_eq!(chat.state(&request).await, RequestState::Pending);
    assert_eq!(gate.accept_invitation(invited.code.expose(), HERE).await.unwrap_err().reason, Reason::CodeInvalid);
    let anew = gate.invite_again(chat.t.person("admin"), ben).await.unwrap();
    gate.accept_invitation(anew.code.expose(), HERE).await.expect("one that was made afterwards lets him in");
    assert!(gate.replay().await.unwrap().differences.is_empty());
}

// covers: C3 (teams)
#[tokio::test]
async fn a_button_counts_for_the_revision_it_was_shown_with() {
    let chat = Chat::start().await;
    let (request, card) = chat.asked("db-1").await;
    chat.link(BEN, "ben", &card).await;
    let mut wish = ask("db-1", "debug");
    wish.reason = Some("dropping the orders".into());
    chat.t.gate.edit(chat.t.person("ana"), request.id, wish).await.unwrap();
    let said = chat.press(BEN, "tide_approve", &card, None).await;
    assert!(said.contains("was changed after this message was sent") && !said.contains("dropping the orders"), "{said}");
    assert_eq!(chat.state(&request).await, RequestState::Pending);
    chat.t.gate.deliver_all().await;
    let newer = chat.card(&request);
    assert!(newer.activity == card.activity && newer.card.to_string().contains("dropping the orders"));
    chat.press(BEN, "tide_approve", &newer, None).await;
    assert_eq!(chat.state(&request).await, RequestState::Approved);
}

// covers: C8 (teams)
#[tokio::test]
async fn with_teams_down_the_journey_goes_on_and_the_cards_follow() {
    let chat = Chat::start().await;
    chat.teams.down(true);
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    let emergency = chat.t.gate.submit(chat.t.person("ben"), wish).await.unwrap();
    assert!(emergency.grant.is_some());
    assert_eq!(chat.t.gate.store().open_reviews_about(chat.t.person("ben").who.id()).await.unwrap().len(), 1);
    let request = chat.t.gate.submit(chat.t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    chat.t.gate.deliver_all().await;
    chat.t.gate.vote(chat.t.person("ben"), request.id, Approve, None).await.unwrap();
    assert!(chat.teams.cards(CHANNEL).is_empty());
    chat.teams.down(false);
    chat.teams.troubled(vec![Reply::status(429).with("retry-after", 7), Reply::status(502)]);
    for _ in 0..6 {
        chat.t.time.advance(Duration::from_secs(60));
        chat.t.gate.deliver_all().await;
    }
    let alarm = chat.card(&emergency.request);
    assert!(alarm.summary.contains("Emergency: ben opens db-1 as shell") && !alarm.card.to_string().contains("tide_approve"));
    chat.card(&request);
    assert_eq!(chat.teams.cards(CHANNEL).len(), 2, "each once");
    let left = chat.t.gate.store().outbox(&OutboxFilter::default(), &Page::default()).await.unwrap();
    assert!(left.iter().all(|row| row.state == OutboxState::Delivered), "{left:?}");
    // A token that was taken back is asked for anew; a card that was deleted is posted anew.
    chat.teams.revoke_tokens();
    let second = chat.t.gate.submit(chat.t.person("ana"), ask("web-1", "debug")).await.unwrap().request;
    chat.t.gate.deliver_all().await;
    assert!(chat.teams.refused().iter().any(|why| why.starts_with("401")), "{:?}", chat.teams.refused());
    chat.t.time.advance(Duration::from_secs(60));
    chat.t.gate.deliver_all().await;
    let posted = chat.card(&second);
    chat.teams.delete(&posted.activity);
    chat.t.gate.vote(chat.t.person("ben"), second.id, Approve, None).await.unwrap();
    chat.t.gate.deliver_all().await;
    let anew = chat.card(&second);
    assert!(anew.activity != posted.activity && anew.card.to_string().contains("Approved by ben"));
}
