//! Standing access: only where policy says so by name.

use access::grant::GrantState;
use access::reason::Reason;
use access::request::{Asked, Door};
use access::time::Span;
use testkit::gate::{HERE, TestGate, ask};

// covers: GRANT-8, WHO-7 (api)
#[tokio::test]
async fn standing_access_is_possible_only_by_name() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("build-1", "shell");
    wish.asked = Asked::Standing;
    let refusal = t.gate.submit(t.person("ana"), wish).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotStanding);

    let access::ids::PrincipalId::User(dan) = t.person("dan").who.id() else { panic!("dan is a person") };
    let bot = t.gate.add_workload(t.person("admin"), "deploy-bot".parse().unwrap(), dan, None).await.unwrap();
    let token =
        t.gate.issue_token(t.person("admin"), bot.id, access::identity::Scope::OF_PEOPLE.to_vec(), Span::hours(1), None).await.unwrap();
    let who = t.gate.identify_token(token.token.expose(), HERE).await.unwrap();
    let bot = tidegate_workflow::Caller { who, door: Door::Api };
    let mut wish = ask("build-1", "deploy");
    wish.asked = Asked::Standing;
    let grant = t.gate.submit(&bot, wish).await.unwrap().grant.unwrap();
    let active = t.gate.activate(&bot, grant.id).await.unwrap();
    assert_eq!((active.state, active.ends_at, active.length), (GrantState::Active, None, None));
}
