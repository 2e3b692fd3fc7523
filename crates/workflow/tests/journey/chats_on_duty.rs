//! Who owes a review is told where they chat, and the channel what an emergency still owes.

use std::time::Duration;

use access::ids::ReviewId;
use access::request::AccessRequest;
use access::review::ReviewOutcome;
use testkit::gate::{TestGate, ask};
use testkit::slack::CHANNEL;

use crate::chatting::{Chat as Slack, shown};
use crate::teams::{BEN, Chat as Teams};

const CARLA: &str = "cccccccc-0000-4000-8000-000000000005";
const DAN: &str = "dddddddd-0000-4000-8000-000000000006";

fn emergency(resource: &str) -> AccessRequest {
    let mut wish = ask(resource, "shell");
    wish.break_glass = true;
    wish
}

/// The review that Ben's emergency owes.
async fn owed(t: &TestGate) -> ReviewId {
    t.gate.store().open_reviews_about(t.person("ben").who.id()).await.unwrap().remove(0).id
}

// covers: BACK-1 (chat), GRANT-9 (chat), C8 (chat)
#[tokio::test]
async fn who_owes_a_review_is_told_in_slack_and_the_channel_when_it_is_late() {
    let chat = Slack::start().await;
    for (user, name) in [("UBEN", "ben"), ("UCARLA", "carla"), ("UDAN", "dan"), ("UEVE", "eve")] {
        chat.link(user, name).await;
    }
    let first = chat.t.gate.submit(chat.t.person("ben"), emergency("db-1")).await.unwrap().request;
    let told = async || {
        chat.t.gate.deliver_all().await;
        ["UCARLA", "UDAN", "UBEN", "UEVE", CHANNEL].map(|to| chat.slack.messages(to).len())
    };
    assert_eq!(told().await, [1, 0, 0, 0, 1], "{:?}", chat.slack.refused());
    let asked = chat.slack.messages("UCARLA").remove(0);
    assert!(asked.text.contains("An emergency of ben, shell on db-1, is to be reviewed") && shown(&asked).contains("/inbox"), "{asked:?}");
    assert!(shown(&chat.message(&first)).contains("for `security` to answer"), "{}", shown(&chat.message(&first)));
    // Three quarters of its time are over: she is reminded, once, and so is the channel.
    chat.t.pass(Duration::from_secs(18 * 3600)).await;
    assert_eq!(told().await, [2, 0, 0, 0, 2]);
    chat.t.pass(Duration::from_secs(3600)).await;
    assert_eq!(told().await, [2, 0, 0, 0, 2]);
    // Overdue: administrators may answer it, too, and what follows from it is said.
    chat.t.pass(Duration::from_secs(6 * 3600)).await;
    assert_eq!(told().await, [3, 1, 0, 0, 3]);
    let late = chat.slack.messages(CHANNEL).pop().unwrap().text;
    assert!(late.contains("they declare no other emergency") && late.contains("for `security` or `administrators` to answer"), "{late}");
    assert!(shown(&chat.message(&first)).contains("overdue since"), "{}", shown(&chat.message(&first)));
    chat.t.gate.complete_review(chat.t.person("carla"), owed(&chat.t).await, ReviewOutcome::Justified).await.unwrap();
    assert_eq!(told().await, [3, 1, 0, 0, 3], "the message changes, and nobody is told that it is owed");
    assert!(shown(&chat.message(&first)).contains("justified, says carla"), "{}", shown(&chat.message(&first)));
    // Answered before it could be told.
    chat.slack.down(true);
    let second = chat.t.gate.submit(chat.t.person("ben"), emergency("web-1")).await.unwrap().request;
    chat.t.gate.deliver_all().await;
    chat.t.gate.complete_review(chat.t.person("carla"), owed(&chat.t).await, ReviewOutcome::Justified).await.unwrap();
    chat.slack.down(false);
    chat.t.time.advance(Duration::from_secs(60));
    assert_eq!(told().await, [3, 1, 0, 0, 4]);
    assert!(shown(&chat.message(&second)).contains("justified, says carla"));
}

// covers: BACK-1 (chat)
#[tokio::test]
async fn who_wants_to_be_told_nothing_there_or_took_their_account_back_is_not_told() {
    use access::chat::{ChatService, Told, key};
    use testkit::slack::TEAM;
    let chat = Slack::start().await;
    chat.link("UCARLA", "carla").await;
    let (carla, account) = (chat.t.person("carla"), key(ChatService::Slack, TEAM, "UCARLA"));
    let told = async |resource: &str| {
        let grant = chat.t.gate.submit(chat.t.person("ben"), emergency(resource)).await.unwrap().grant.unwrap();
        chat.t.gate.give_back(chat.t.person("ben"), grant.id).await.unwrap();
        chat.t.gate.deliver_all().await;
        chat.slack.messages("UCARLA").len()
    };
    assert_eq!(told("db-1").await, 1);
    chat.t.gate.choose_what_is_told(carla, &account, Told::Own).await.unwrap();
    assert_eq!(told("web-1").await, 1);
    chat.t.gate.choose_what_is_told(carla, &account, Told::Asks).await.unwrap();
    chat.t.gate.remove_chat_account(carla, &account).await.unwrap();
    assert_eq!(told("web-1").await, 1);
}

// covers: BACK-1 (teams), GRANT-9 (teams)
#[tokio::test]
async fn who_owes_a_review_is_told_in_teams_and_the_channel_when_it_is_late() {
    let chat = Teams::start().await;
    let (_, card) = chat.asked("web-1").await;
    for (object, name) in [(BEN, "ben"), (CARLA, "carla"), (DAN, "dan")] {
        chat.link(object, name, &card).await;
    }
    let request = chat.t.gate.submit(chat.t.person("ben"), emergency("db-1")).await.unwrap().request;
    let told = async || {
        chat.t.gate.deliver_all().await;
        [CARLA, DAN, BEN, testkit::teams::CHANNEL].map(|to| chat.teams.cards(to).len())
    };
    assert_eq!(told().await, [1, 0, 0, 2], "{:?}", chat.teams.refused());
    let asked = chat.teams.cards(CARLA).remove(0).card.to_string();
    assert!(asked.contains("An emergency of ben, shell on db-1, is to be reviewed") && asked.contains("/inbox"), "{asked}");
    chat.t.pass(Duration::from_secs(18 * 3600)).await;
    assert_eq!(told().await, [2, 0, 0, 3]);
    chat.t.pass(Duration::from_secs(7 * 3600)).await;
    assert_eq!(told().await, [3, 1, 0, 4]);
    assert!(chat.teams.cards(testkit::teams::CHANNEL).pop().unwrap().summary.contains("should have been reviewed by now"));
    chat.t.gate.complete_review(chat.t.person("dan"), owed(&chat.t).await, ReviewOutcome::Justified).await.unwrap();
    assert_eq!(told().await, [3, 1, 0, 4]);
    let after = chat.card(&request).card.to_string();
    assert!(after.contains("justified, says dan"), "{after}");
}
