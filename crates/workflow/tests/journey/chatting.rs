//! Asking and deciding where people chat: the same verbs, the same walls, whoever is down.

use std::time::Duration;

use access::approval::Decision::Approve;
use access::reason::{Reason, Refusal};
use access::request::{RequestRow, RequestState};
use access::secret::Secret;
use notify::slack::client::{SlackClient, SlackSettings};
use serde_json::Value;
use store::{EntryFilter, EntryPage, OutboxFilter, Page};
use testkit::gate::{HERE, TestGate, ask};
use testkit::slack::{BOT_TOKEN, CHANNEL, Message, SIGNING_SECRET, Slack, TEAM, signed};
use testkit::web::Reply;
use tidegate_workflow::Caller;
use tidegate_workflow::chat::{FromSlack, SlackCall};
use tidegate_workflow::outbox::{Destinations, KeptSecret, Slack as Workspace};

const PORTAL: &str = "https://gate.example.com";

/// A gate and a workspace that know each other.
pub(crate) struct Chat {
    pub(crate) t: TestGate,
    pub(crate) slack: Slack,
}

fn serve(t: &TestGate, slack: &Slack) {
    let settings = SlackSettings {
        team: TEAM.into(),
        channel: CHANNEL.into(),
        command: "/tidegate".into(),
        api: slack.api(),
        hooks: slack.hooks(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
    };
    let workspace = Workspace {
        client: SlackClient::new(&settings, None).unwrap(),
        settings,
        bot_token: KeptSecret::Sealed("slack-bot".parse().unwrap()),
        signing_secret: KeptSecret::Sealed("slack-signing".parse().unwrap()),
    };
    t.gate.serve_outbox(Destinations { webhooks: Vec::new(), slack: Some(workspace), teams: None, mail: None, portal: PORTAL.into() });
}

impl Chat {
    pub(crate) async fn start() -> Self {
        let t = TestGate::start().await.unwrap();
        for (name, value) in [("slack-bot", BOT_TOKEN), ("slack-signing", SIGNING_SECRET)] {
            t.gate.set_secret(t.person("admin"), name.parse().unwrap(), Secret::new(value.to_owned())).await.unwrap();
        }
        let slack = Slack::start().unwrap();
        serve(&t, &slack);
        Self { t, slack }
    }

    /// Slack calls, and the gate does what it is asked for.
    async fn call(&self, call: SlackCall, body: &str) -> Result<(), Refusal> {
        let (timestamp, signature) = signed(SIGNING_SECRET, self.t.gate.now().as_second(), body);
        self.call_as(call, &timestamp, &signature, body).await
    }

    async fn call_as(&self, call: SlackCall, timestamp: &str, signature: &str, body: &str) -> Result<(), Refusal> {
        let came = FromSlack { call, timestamp: Some(timestamp), signature: Some(signature), body: body.as_bytes(), from: HERE };
        if let Some(incoming) = self.t.gate.take_from_slack(came).await? {
            self.t.gate.do_in_slack(incoming).await;
        }
        Ok(())
    }

    async fn press(&self, user: &str, action: &str, message: &Message) -> Result<(), Refusal> {
        // No two calls of Slack are the same to the byte.
        self.call(SlackCall::Interaction, &self.slack.press(user, action, message)).await
    }

    /// The link that somebody was shown, opened by a person who is signed in in a browser.
    pub(crate) async fn link(&self, user: &str, name: &str) {
        self.call(SlackCall::Command, &self.slack.command(user, "/tidegate", "db-1 why")).await.unwrap();
        let code = code_in(self.slack.whispers(user).last().unwrap());
        let browser = self.browser(name).await;
        let account = self.t.gate.link_chat_account(&browser, &code).await.unwrap();
        assert_eq!((account.person, account.account.as_str()), (browser.who.id(), user));
    }

    async fn browser(&self, name: &str) -> Caller {
        let opened =
            self.t.gate.open_web_session(self.t.person(name).who.clone(), access::time::Span::hours(1).after(self.t.gate.now()), None);
        let cookie = opened.await.unwrap().cookie;
        let who = self.t.gate.identify_web_session(cookie.expose(), HERE, true).await.unwrap();
        Caller { who, door: access::request::Door::Api }
    }

    /// Ana's request, and its message.
    async fn asked(&self, resource: &str) -> (RequestRow, Message) {
        let request = self.t.gate.submit(self.t.person("ana"), ask(resource, "debug")).await.unwrap().request;
        self.t.gate.deliver_all().await;
        (request.clone(), self.message(&request))
    }

    pub(crate) fn message(&self, request: &RequestRow) -> Message {
        let all = self.slack.messages(CHANNEL);
        let found = all.into_iter().find(|message| message.blocks.to_string().contains(&request.id.to_string()));
        found.unwrap_or_else(|| panic!("no message: {:?}", self.slack.refused()))
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
}

fn code_in(said: &Value) -> String {
    let text = said.to_string();
    let code = text.split(&format!("{PORTAL}/chat?code=")).nth(1).unwrap_or_else(|| panic!("no link in {text}"));
    code.split('|').next().unwrap().to_owned()
}

pub(crate) fn shown(message: &Message) -> String {
    message.blocks.to_string()
}

// covers: OK-5 (chat), OK-4 (chat)
#[tokio::test]
async fn ben_approves_with_a_button_and_the_message_says_so() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    let (request, message) = chat.asked("db-1").await;
    assert!(shown(&message).contains("ana asks for debug on db-1") && shown(&message).contains("checking a slow query"));
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Approved);
    assert!(chat.slack.whispers("UBEN").last().unwrap().to_string().contains("Approved by ben"));
    assert!(chat.newest("request.voted").await.contains("\"door\":\"chat\""));
    chat.t.gate.deliver_all().await;
    let after = chat.message(&request);
    assert_eq!(after.ts, message.ts, "the same message");
    assert!(shown(&after).contains("Approved by ben") && !shown(&after).contains("tide_approve"), "{}", shown(&after));
    assert_eq!(chat.slack.messages(CHANNEL).len(), 1);
}

// covers: OK-5 (chat)
#[tokio::test]
async fn a_no_is_given_with_its_reason_in_a_window_and_its_asker_is_told() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    chat.link("UANA", "ana").await;
    let (request, message) = chat.asked("db-1").await;
    chat.press("UBEN", "tide_deny", &message).await.unwrap();
    let window = chat.slack.windows().pop().unwrap_or_else(|| panic!("no window: {:?}", chat.slack.refused()));
    assert_eq!(chat.state(&request).await, RequestState::Pending, "a window decides nothing");
    let bare = chat.call(SlackCall::Interaction, &chat.slack.submit("UBEN", &window, None)).await.unwrap_err();
    assert_eq!(bare.reason, Reason::Invalid);
    chat.call(SlackCall::Interaction, &chat.slack.submit("UBEN", &window, Some("not <!here> today"))).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Denied);
    chat.t.gate.deliver_all().await;
    let after = chat.message(&request);
    assert!(shown(&after).contains("ben denied: not <!here> today") && shown(&after).contains("rich_text"));
    assert!(!after.text.contains('<'));
    let told = chat.slack.messages("UANA");
    assert!(told.len() == 1 && told[0].text.contains("Denied by ben"), "{told:?}");
}

#[tokio::test]
async fn a_window_that_comes_too_late_is_said_and_nothing_is_decided() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    let (request, message) = chat.asked("db-1").await;
    chat.press("UBEN", "tide_deny", &message).await.unwrap();
    assert_eq!(chat.slack.windows().len(), 1, "in time it opens");
    let late = chat.slack.pressed("UBEN", "tide_deny", &message, Duration::from_secs(4));
    chat.call(SlackCall::Interaction, &late).await.unwrap();
    assert_eq!((chat.slack.windows().len(), chat.slack.refused()), (1, vec!["views.open: expired_trigger_id".to_owned()]));
    assert!(chat.slack.whispers("UBEN").last().unwrap().to_string().contains("press the button again, or decide in the portal"));
    assert_eq!(chat.state(&request).await, RequestState::Pending);
}

// covers: ASK-1 (chat), ASK-4 (chat)
#[tokio::test]
async fn ana_asks_with_the_command_and_is_told_how_it_ended() {
    let chat = Chat::start().await;
    chat.link("UANA", "ana").await;
    chat.call(SlackCall::Command, &chat.slack.command("UANA", "/tidegate", "db-1+debug for 30m the orders query is slow")).await.unwrap();
    let pending = chat.t.gate.store().pending_requests().await.unwrap();
    let [request] = pending.as_slice() else { panic!("{:?}", chat.slack.whispers("UANA")) };
    assert_eq!(request.reason.as_deref(), Some("the orders query is slow"));
    assert_eq!(request.asked, access::request::Asked::For(access::time::Span::minutes(30)));
    assert!(chat.slack.whispers("UANA").last().unwrap().to_string().contains("You asked for debug on db-1"));
    chat.t.gate.vote(chat.t.person("ben"), request.id, Approve, None).await.unwrap();
    chat.t.gate.deliver_all().await;
    assert!(chat.slack.messages("UANA").last().unwrap().text.contains("Approved by ben"));
    for (text, wanted) in [
        ("", "Say what you need"),
        ("nowhere-1 because", "There is no such resource"),
        ("db-1+debug for 1x why", "is not a length of time"),
    ] {
        chat.call(SlackCall::Command, &chat.slack.command("UANA", "/tidegate", text)).await.unwrap();
        let said = chat.slack.whispers("UANA").pop().unwrap().to_string();
        assert!(said.contains(wanted), "{text}: {said}");
    }
}

// covers: C1 (chat), OK-3 (chat)
#[tokio::test]
async fn nobody_approves_their_own_request_by_a_button() {
    let chat = Chat::start().await;
    chat.link("UANA", "ana").await;
    chat.link("UBEN", "ben").await;
    let (for_ana, message) = chat.asked("db-1").await;
    let own = chat.t.gate.submit(chat.t.person("ben"), ask("db-1", "debug")).await.unwrap().request;
    chat.t.gate.deliver_all().await;
    chat.press("UBEN", "tide_approve", &chat.message(&own)).await.unwrap();
    assert_eq!(chat.state(&own).await, RequestState::Pending);
    assert!(chat.newest("vote.refused").await.contains("self_approval"));
    assert!(chat.slack.whispers("UBEN").last().unwrap().to_string().contains("Nobody decides on their own request"));
    chat.press("UANA", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&for_ana).await, RequestState::Pending);
    // For somebody else he may.
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&for_ana).await, RequestState::Approved);
}

// covers: C2 (chat), OK-4 (chat)
#[tokio::test]
async fn who_lost_the_right_before_the_click_is_refused() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    chat.link("UEVE", "eve").await;
    let (request, message) = chat.asked("db-1").await;
    // Eve may not approve this; Ben may, until he is disabled.
    chat.press("UEVE", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Pending);
    let ben = chat.t.person("ben").who.id();
    chat.t.gate.disable(chat.t.person("admin"), ben, None).await.unwrap();
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Pending);
    assert!(chat.newest("signin.refused").await.contains("disabled"));
    chat.t.gate.enable(chat.t.person("admin"), ben).await.unwrap();
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Approved);
}

// covers: C4 (chat)
#[tokio::test]
async fn forged_late_and_repeated_calls_are_refused_and_entered() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    let (request, message) = chat.asked("db-1").await;
    let body = chat.slack.press("UBEN", "tide_approve", &message);
    let now = chat.t.gate.now().as_second();
    let foreign = body.replace(TEAM, "T0THEM");
    let (time, good) = signed(SIGNING_SECRET, now, &body);
    for (what, (timestamp, signature), body, wanted) in [
        ("another secret", signed("guessed", now, &body), &body, Reason::NotSignedIn),
        ("another body", (time.clone(), good.clone()), &format!("{body}&x=1"), Reason::NotSignedIn),
        ("too late", signed(SIGNING_SECRET, now - 301, &body), &body, Reason::NotSignedIn),
        ("too early", signed(SIGNING_SECRET, now + 301, &body), &body, Reason::NotSignedIn),
        ("no signature", (time.clone(), String::new()), &body, Reason::NotSignedIn),
        ("another workspace", signed(SIGNING_SECRET, now, &foreign), &foreign, Reason::NotAllowed),
    ] {
        let refusal = chat.call_as(SlackCall::Interaction, &timestamp, &signature, body).await.unwrap_err();
        assert_eq!(refusal.reason, wanted, "{what}: {refusal}");
        assert!(chat.newest("signin.refused").await.contains(wanted.code()), "{what}");
        assert_eq!(chat.state(&request).await, RequestState::Pending, "{what}");
    }
    chat.call_as(SlackCall::Interaction, &time, &good, &body).await.expect("the real one is taken");
    assert_eq!(chat.state(&request).await, RequestState::Approved);
    let votes = chat.t.gate.store().votes(request.id).await.unwrap().len();
    let again = chat.call_as(SlackCall::Interaction, &time, &good, &body).await.unwrap_err();
    assert!(again.to_string().contains("it came before"), "{again}");
    assert_eq!(chat.t.gate.store().votes(request.id).await.unwrap().len(), votes);
    // Nor by another process: what came is known where all of them look.
    chat.t.time.advance(Duration::from_secs(30));
    let Chat { t, slack } = chat;
    let t = t.restart().await.unwrap();
    serve(&t, &slack);
    let chat = Chat { t, slack };
    let after = chat.call_as(SlackCall::Interaction, &time, &good, &body).await.unwrap_err();
    assert!(after.to_string().contains("it came before"), "{after}");
}

// covers: C3 (chat)
#[tokio::test]
async fn a_button_counts_for_the_revision_it_was_shown_with() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    let (request, message) = chat.asked("db-1").await;
    let mut wish = ask("db-1", "debug");
    wish.reason = Some("dropping the orders".into());
    chat.t.gate.edit(chat.t.person("ana"), request.id, wish).await.unwrap();
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Pending);
    assert!(chat.newest("vote.refused").await.contains("stale"));
    assert!(chat.slack.whispers("UBEN").last().unwrap().to_string().contains("was changed after this message was sent"));
    chat.t.gate.deliver_all().await;
    let newer = chat.message(&request);
    assert!(newer.ts == message.ts && shown(&newer).contains("dropping the orders"));
    chat.press("UBEN", "tide_approve", &newer).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Approved);
}

// covers: C1 (chat)
#[tokio::test]
async fn who_has_not_said_who_they_are_decides_nothing_and_says_it_once_signed_in() {
    let chat = Chat::start().await;
    let (request, message) = chat.asked("db-1").await;
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Pending);
    let code = code_in(chat.slack.whispers("UBEN").last().unwrap());
    let asker = chat.t.gate.chat_asker(&code).await.unwrap();
    assert_eq!((asker.account.as_str(), asker.name.as_str()), ("UBEN", "uben"));
    // A token is no browser that somebody sits at.
    let refusal = chat.t.gate.link_chat_account(chat.t.person("ben"), &code).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    let browser = chat.browser("ben").await;
    let account = chat.t.gate.link_chat_account(&browser, &code).await.unwrap();
    assert_eq!(chat.t.gate.link_chat_account(&browser, &code).await.unwrap_err().reason, Reason::CodeInvalid, "once");
    assert!(chat.newest("chat_account.linked").await.contains("UBEN"));
    // It is his: nobody else takes it from him.
    chat.t.time.advance(Duration::from_secs(1));
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&request).await, RequestState::Approved);
    assert_eq!(chat.t.gate.remove_chat_account(chat.t.person("ana"), &account.id).await.unwrap_err().reason, Reason::NotFound);
    chat.t.gate.remove_chat_account(&browser, &account.id).await.unwrap();
    let (second, message) = chat.asked("web-1").await;
    chat.press("UBEN", "tide_approve", &message).await.unwrap();
    assert_eq!(chat.state(&second).await, RequestState::Pending, "nobody's again");
    let replayed = chat.t.gate.replay().await.unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

// covers: C8 (chat)
#[tokio::test]
async fn with_slack_down_the_journey_goes_on_and_the_messages_follow() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    chat.slack.down(true);
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    let emergency = chat.t.gate.submit(chat.t.person("ben"), wish).await.unwrap();
    assert!(emergency.grant.is_some());
    assert_eq!(chat.t.gate.store().open_reviews_about(chat.t.person("ben").who.id()).await.unwrap().len(), 1);
    let request = chat.t.gate.submit(chat.t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    chat.t.gate.deliver_all().await;
    chat.t.gate.vote(chat.t.person("ben"), request.id, access::approval::Decision::Deny, Some("wait".into())).await.unwrap();
    assert!(chat.slack.messages(CHANNEL).is_empty());
    chat.slack.down(false);
    chat.slack.troubled(vec![Reply::status(429).with("retry-after", 7)]);
    for _ in 0..5 {
        chat.t.time.advance(Duration::from_secs(30));
        chat.t.gate.deliver_all().await;
    }
    let alarm = chat.message(&emergency.request);
    assert!(alarm.text.contains("Emergency: ben opens db-1 as shell") && !shown(&alarm).contains("tide_approve"));
    chat.message(&request);
    assert_eq!(chat.slack.messages(CHANNEL).len(), 2, "each once");
    let left = chat.t.gate.store().outbox(&OutboxFilter::default(), &Page::default()).await.unwrap();
    assert!(left.iter().all(|row| row.state == access::outbox::OutboxState::Delivered), "{left:?}");
}

#[tokio::test]
async fn a_message_somebody_deleted_is_posted_anew_and_low_risk_is_not_announced() {
    let chat = Chat::start().await;
    let (request, message) = chat.asked("db-1").await;
    chat.slack.delete(&message.ts);
    chat.t.gate.vote(chat.t.person("ben"), request.id, Approve, None).await.unwrap();
    chat.t.gate.deliver_all().await;
    let after = chat.message(&request);
    assert!(after.ts != message.ts && shown(&after).contains("Approved by ben"));
    chat.t.gate.submit(chat.t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.expect("at once");
    chat.t.gate.deliver_all().await;
    assert_eq!(chat.slack.messages(CHANNEL).len(), 1);
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_not_posted_twice() {
    let chat = Chat::start().await;
    chat.slack.lose_answers(1);
    let request = chat.t.gate.submit(chat.t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    chat.t.gate.deliver_all().await;
    assert_eq!(chat.slack.messages(CHANNEL).len(), 1, "it was posted, and the gate does not know");
    chat.t.time.advance(Duration::from_secs(30));
    chat.t.gate.deliver_all().await;
    chat.t.gate.vote(chat.t.person("ben"), request.id, Approve, None).await.unwrap();
    chat.t.gate.deliver_all().await;
    let all = chat.slack.messages(CHANNEL);
    assert_eq!(all.len(), 1, "{:?}", chat.slack.refused());
    assert!(shown(&all[0]).contains("Approved by ben"));
}

// covers: C4 (chat), D8 (chat)
#[tokio::test]
async fn two_nodes_take_a_call_once_between_them() {
    let chat = Chat::start().await;
    chat.link("UBEN", "ben").await;
    let (request, message) = chat.asked("db-1").await;
    // Two callers at the same instant, as two nodes behind a balancer are: what they share is the store.
    let body = chat.slack.press("UBEN", "tide_approve", &message);
    let (time, good) = signed(SIGNING_SECRET, chat.t.gate.now().as_second(), &body);
    let came =
        FromSlack { call: SlackCall::Interaction, timestamp: Some(&time), signature: Some(&good), body: body.as_bytes(), from: HERE };
    let (one, other) = tokio::join!(chat.t.gate.take_from_slack(came), chat.t.gate.take_from_slack(came));
    assert_eq!([one.is_ok(), other.is_ok()].into_iter().filter(|taken| *taken).count(), 1);
    assert_eq!(chat.state(&request).await, RequestState::Pending);
}
