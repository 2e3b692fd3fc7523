//! Agreeing: who may, who may not, one seat each, and one result whatever races.

use access::approval::Decision::{Approve, Deny};
use access::reason::Reason;
use access::request::RequestState;
use access::time::Span;
use testkit::gate::{TestGate, ask};

// covers: OK-1, OK-3 (api)
#[tokio::test]
async fn ben_approves_and_the_grant_names_him() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
    assert!(request.grant.is_none());
    let voted = t.gate.vote(t.person("ben"), request.request.id, Approve, Some("go ahead".into())).await.unwrap();
    assert_eq!(voted.request.state, RequestState::Approved);
    let grant = voted.grant.expect("his was the one that was needed");
    assert_eq!(grant.approvers.0, vec![t.person("ben").who.id()]);
}

// covers: C1, OK-3 (api)
#[tokio::test]
async fn nobody_decides_on_their_own_request() {
    let t = TestGate::start().await.unwrap();
    // Ben is a lead and on call: he could approve this for anybody else.
    let for_ana = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    t.gate.vote(t.person("ben"), for_ana.id, Approve, None).await.expect("for somebody else");
    let own = t.gate.submit(t.person("ben"), ask("db-1", "debug")).await.unwrap().request;
    let refusal = t.gate.vote(t.person("ben"), own.id, Approve, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SelfApproval);
    assert_eq!(t.entries().await.unwrap().last().map(String::as_str), Some("vote.refused"));
    assert_eq!(t.gate.store().request(own.id).await.unwrap().unwrap().state, RequestState::Pending);
}

// covers: C1, OK-3, WHO-7 (api)
#[tokio::test]
async fn a_machine_s_owner_does_not_decide_for_it() {
    let t = TestGate::start().await.unwrap();
    let access::ids::PrincipalId::User(dan) = t.person("dan").who.id() else { panic!("dan is a person") };
    let bot = t.gate.add_workload(t.person("admin"), "deploy-bot".parse().unwrap(), dan, None).await.unwrap();
    let token =
        t.gate.issue_token(t.person("admin"), bot.id, access::identity::Scope::OF_PEOPLE.to_vec(), Span::hours(1), None).await.unwrap();
    let who = t.gate.identify_token(token.token.expose(), testkit::gate::HERE).await.unwrap();
    let bot = tidegate_workflow::Caller { who, door: access::request::Door::Api };
    let mut wish = ask("web-1", "deploy");
    wish.ticket = Some("CHG-7".into());
    let request = t.gate.submit(&bot, wish).await.unwrap().request;
    let refusal = t.gate.vote(t.person("dan"), request.id, Approve, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SelfApproval);
    t.gate.vote(t.person("ben"), request.id, Approve, None).await.expect("somebody else may");
}

// covers: OK-2, C7 (api)
#[tokio::test]
async fn a_lead_and_security_are_two_people() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("ledger-1", "debug");
    wish.ticket = Some("INC-1".into());
    let request = t.gate.submit(t.person("ana"), wish).await.unwrap().request;
    let first = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap();
    assert!(first.grant.is_none(), "security is missing");
    let again = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap_err();
    assert_eq!(again.reason, Reason::AlreadyVoted);
    let second = t.gate.vote(t.person("carla"), request.id, Approve, None).await.unwrap();
    assert_eq!(second.grant.unwrap().approvers.0.len(), 2);
}

// covers: OK-4, C2 (api)
#[tokio::test]
async fn the_right_is_checked_at_the_click() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let mut files = t.gate.bundle().files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    // Ben leaves the leads and is no longer on call between seeing the request and clicking.
    let people = people.replace("members = [\"ben\", \"dan\"]", "members = [\"dan\"]").replace("people = [\"ben\"]", "people = [\"ana\"]");
    files.insert("people.toml".into(), people.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let refusal = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap_err();
    assert!(matches!(refusal.reason, Reason::NotApprover | Reason::NotFound), "{refusal}");
    t.gate.vote(t.person("dan"), request.id, Approve, None).await.expect("dan still is one");
}

// covers: MAY-1 (api), OK-3 (api), EV-1 (api)
#[tokio::test]
async fn a_policy_about_agreeing_that_fails_or_forbids_is_named_to_who_was_asked() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let whole = t.gate.bundle().files().clone();
    let overflow = "context.now * 9223372036854775807 > 0";
    for (when, reason, says) in [
        (overflow, Reason::PolicyError, "`no-leads` (more.cedar:1"),
        ("resource.person == \"ana\"", Reason::Forbidden, "`no-leads`: not before the audit is over"),
    ] {
        let mut files = whole.clone();
        let rule = format!(
            "@id(\"no-leads\") @reason(\"not before the audit is over\") \
             forbid(principal, action == Tide::Action::\"approve\", resource) when {{ {when} }};\n\
             @id(\"all-is-seen\") permit(principal in Tide::Group::\"leads\", action == Tide::Action::\"read\", resource);\n"
        );
        files.insert("more.cedar".into(), rule.into_bytes());
        t.gate.push_bundle(t.person("dan"), files).await.unwrap();
        let refusal = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.policies()), (reason, vec!["no-leads".to_owned()]), "{refusal}");
        assert!(refusal.detail.as_ref().is_some_and(|detail| detail.contains(says)), "{refusal}");
        let page = store::EntryPage { limit: 1, after: None, newest_first: true };
        let newest = t.gate.store().entries(&store::EntryFilter::default(), page).await.unwrap().remove(0).entry;
        assert_eq!((newest.event.name(), newest.text("detail")), ("vote.refused", refusal.detail.as_deref()));
        let access::event::Event::VoteRefused { bundle, policies, .. } = &newest.event else { panic!("{newest:?}") };
        assert_eq!((bundle.as_deref(), policies), (Some(t.gate.bundle().digest()), &vec!["no-leads".to_owned()]));
        // Who has no seat and sees nothing of it learns nothing.
        let refusal = t.gate.vote(t.person("frank"), request.id, Approve, None).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.detail), (Reason::NotFound, None));
    }
    t.gate.push_bundle(t.person("dan"), whole).await.unwrap();
    assert!(t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.is_some());
}

// covers: ASK-7, C3 (api)
#[tokio::test]
async fn an_edited_request_loses_its_approvals() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("ledger-1", "debug");
    wish.ticket = Some("INC-1".into());
    let request = t.gate.submit(t.person("ana"), wish.clone()).await.unwrap().request;
    t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap();
    wish.reason = Some("something quite different".into());
    t.gate.edit(t.person("ana"), request.id, wish).await.unwrap();
    let carla = t.gate.vote(t.person("carla"), request.id, Approve, None).await.unwrap();
    assert!(carla.grant.is_none(), "ben agreed to something else");
    let ben = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap();
    assert!(ben.grant.is_some());
}

// covers: OK-8, C5 (api)
#[tokio::test]
async fn two_decisions_at_the_same_moment_give_one_result() {
    let t = TestGate::start().await.unwrap();
    for round in 0..10 {
        let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
        let (a, b) =
            tokio::join!(t.gate.vote(t.person("ben"), request.id, Approve, None), t.gate.vote(t.person("dan"), request.id, Deny, None));
        let state = t.gate.store().request(request.id).await.unwrap().unwrap().state;
        let grants = t.gate.store().open_grants_of(t.person("ana").who.id()).await.unwrap();
        let from_this = grants.iter().filter(|g| g.request == request.id).count();
        match (&a, &b) {
            (Ok(_), Err(late)) => {
                assert_eq!((late.reason, state, from_this), (Reason::AlreadyDecided, RequestState::Approved, 1), "round {round}");
            }
            (Err(late), Ok(_)) => {
                assert_eq!((late.reason, state, from_this), (Reason::AlreadyDecided, RequestState::Denied, 0), "round {round}");
            }
            other => panic!("round {round}: {other:?}"),
        }
        for grant in grants {
            t.gate.give_back(t.person("ana"), grant.id).await.unwrap();
        }
    }
}

// covers: OK-2 (api)
#[tokio::test]
async fn a_stage_nobody_fills_is_escalated() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let early = t.gate.vote(t.person("carla"), request.id, Approve, None).await.unwrap_err();
    assert_eq!(early.reason, Reason::NotApprover);
    t.pass(std::time::Duration::from_secs(31 * 60)).await;
    let voted = t.gate.vote(t.person("carla"), request.id, Approve, None).await.unwrap();
    assert!(voted.grant.is_some());
}

// covers: OK-2, ASK-7, C3 (api)
#[tokio::test]
async fn who_is_asked_first_has_their_time_for_what_is_asked_now() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("db-1", "debug");
    let request = t.gate.submit(t.person("ana"), wish.clone()).await.unwrap().request;
    t.pass(std::time::Duration::from_secs(29 * 60)).await;
    wish.reason = Some("something quite different".into());
    t.gate.edit(t.person("ana"), request.id, wish).await.unwrap();
    t.pass(std::time::Duration::from_secs(29 * 60)).await;
    let early = t.gate.vote(t.person("carla"), request.id, Approve, None).await.unwrap_err();
    assert_eq!(early.reason, Reason::NotApprover, "an edit gives those who are asked first their time again");
    t.pass(std::time::Duration::from_secs(2 * 60)).await;
    assert!(t.gate.vote(t.person("carla"), request.id, Approve, None).await.unwrap().grant.is_some());
}

// covers: C5 (api)
#[tokio::test]
async fn a_yes_at_the_moment_a_request_ages_out_gives_a_grant_or_none_and_the_request_says_which() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..24 {
        let request = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
        // At its end, so shortly before that it passes meanwhile, and a little sooner.
        let left = [0, 1, 3][round % 3];
        let until = std::time::Duration::from_secs(Span::between(t.gate.now(), request.expires_at).as_seconds() - left);
        t.time.advance(until);
        let aged = async {
            t.time.advance(std::time::Duration::from_secs(2));
            t.gate.sweep_store().await;
        };
        let vote = t.gate.vote(t.person("ben"), request.id, Approve, None);
        let voted = if round % 2 == 0 { tokio::join!(vote, aged).0 } else { tokio::join!(aged, vote).1 };
        t.gate.sweep_store().await;
        let state = t.gate.store().request(request.id).await.unwrap().unwrap().state;
        let grants = t.gate.store().open_grants_of(ana.who.id()).await.unwrap();
        let from_this = grants.iter().filter(|grant| grant.request == request.id).count();
        match &voted {
            Ok(voted) => assert_eq!((voted.grant.is_some(), state, from_this), (true, RequestState::Approved, 1), "round {round}"),
            Err(late) => {
                assert!(matches!(late.reason, Reason::AgedOut | Reason::AlreadyDecided), "round {round}: {late}");
                assert_eq!((state, from_this), (RequestState::Expired, 0), "round {round}");
            }
        }
        seen.insert(voted.is_ok());
        for grant in grants {
            t.gate.give_back(ana, grant.id).await.unwrap();
        }
    }
    assert_eq!(seen.len(), 2, "each came first sometimes");
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}

// covers: C6 (api)
#[tokio::test]
async fn what_goes_away_while_a_request_waits_gives_no_grant_and_that_is_said() {
    const RESOURCE: &str = "\n[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"10.20.0.99:22\"\ntier = \"prod\"\n\
                            owner = \"payments\"\nhost_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\"]\n";
    const ROLE: &str =
        "\n[[role]]\nname = \"probe\"\ndescription = \"To look.\"\nkind = \"ssh\"\nlogin = \"app\"\nssh = { exec = \"any\" }\n";
    let t = TestGate::start().await.unwrap();
    let before = t.gate.bundle().files().clone();
    let with = |changes: &[(&str, &dyn Fn(String) -> String)]| {
        let mut files = before.clone();
        for (file, change) in changes {
            let text = String::from_utf8(files[*file].clone()).unwrap();
            let changed = change(text.clone());
            assert_ne!(changed, text, "{file}");
            files.insert((*file).to_owned(), changed.into_bytes());
        }
        files
    };
    let no_path = |text: String| {
        let admin = "resource.role == Tide::Role::\"admin\" };";
        text.replace(admin, "resource.role == Tide::Role::\"admin\" || resource.role == Tide::Role::\"debug\" };")
    };
    t.gate
        .push_bundle(t.person("dan"), with(&[("resources.toml", &|text| text + RESOURCE), ("roles.toml", &|text| text + ROLE)]))
        .await
        .unwrap();
    let mut asked = Vec::new();
    for (resource, role, reason) in [
        ("db-1", "logs", None),
        ("extra-1", "shell", Some(Reason::UnknownResource)),
        ("db-1", "probe", Some(Reason::UnknownRole)),
        ("db-1", "debug", Some(Reason::NoPath)),
    ] {
        asked.push((role, t.gate.submit(t.person("ana"), ask(resource, role)).await.unwrap().request.id, reason));
    }
    // The resource, the role, and the policy that led in go away; what one of them stands on stays.
    t.gate.push_bundle(t.person("dan"), with(&[("access.cedar", &no_path)])).await.unwrap();
    for (what, request, reason) in asked {
        let voted = t.gate.vote(t.person("ben"), request, Approve, None).await.unwrap();
        let Some(reason) = reason else {
            assert!(voted.grant.is_some(), "nothing is gone");
            continue;
        };
        assert_eq!((voted.request.state, voted.grant), (RequestState::Denied, None), "{what}");
        let page = store::EntryPage { limit: 1, after: None, newest_first: true };
        let newest = t.gate.store().entries(&store::EntryFilter::default(), page).await.unwrap().remove(0).entry;
        assert!(
            matches!(
                &newest.event,
                access::event::Event::RequestDenied { request: denied, reason: why, .. } if *denied == request && *why == reason
            ),
            "{what}: {newest:?}"
        );
    }
    assert_eq!(t.gate.store().open_grants_of(t.person("ana").who.id()).await.unwrap().len(), 1);
}

// covers: C6 (api)
#[tokio::test]
async fn a_request_whose_asker_is_disabled_is_denied_when_it_is_decided() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    t.gate.disable(t.person("dan"), t.person("ana").who.id(), None).await.unwrap();
    let voted = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap();
    assert_eq!((voted.request.state, voted.grant.is_none()), (RequestState::Denied, true));
}

// covers: C1, OK-3 (api)
#[tokio::test]
async fn who_made_somebody_s_sign_in_anew_does_not_get_their_vote() {
    let t = TestGate::start().await.unwrap();
    let first = t.gate.submit(t.person("dan"), ask("db-1", "logs")).await.unwrap().request;
    t.gate.vote(t.person("ben"), first.id, Approve, None).await.expect("Ben signed in by himself");
    // Dan, an administrator, invites Ben anew and uses the code himself.
    let again = t.gate.invite_again(t.person("dan"), t.person("ben").who.id()).await.unwrap();
    let (who, _) = t.gate.accept_invitation(again.code.expose(), testkit::gate::HERE).await.unwrap();
    let as_ben = tidegate_workflow::Caller { who, door: access::request::Door::Api };
    let own = t.gate.submit(t.person("dan"), ask("web-1", "logs")).await.unwrap().request;
    assert_eq!(t.gate.vote(&as_ben, own.id, Approve, None).await.unwrap_err().reason, Reason::SelfApproval);
    assert_eq!(t.gate.store().request(own.id).await.unwrap().unwrap().state, RequestState::Pending);
}

// covers: C1, OK-3 (api)
#[tokio::test]
async fn who_gave_a_machine_its_token_does_not_decide_for_it_however_long_ago() {
    let t = TestGate::start().await.unwrap();
    let access::ids::PrincipalId::User(ana) = t.person("ana").who.id() else { panic!("ana is a person") };
    let bot = t.gate.add_workload(t.person("admin"), "deploy-bot".parse().unwrap(), ana, None).await.unwrap();
    let wish = |resource: &str| {
        let mut wish = ask(resource, "deploy");
        wish.ticket = Some("CHG-7".into());
        wish
    };
    // It rotates its token by itself, each hour, for weeks.
    let issued = |by: access::ids::PrincipalId| {
        let event = access::event::Event::TokenIssued {
            token: access::ids::TokenId::generate(t.gate.now()),
            person: bot.id,
            scopes: access::identity::Scope::OF_PEOPLE.to_vec(),
            grant: None,
            expires_at: Span::hours(1).after(t.gate.now()),
            row_digest: String::new(),
        };
        access::event::EntryDraft::new(t.gate.now(), access::event::Actor::Principal(by), access::request::Door::Api, event)
    };
    let rotate = async || {
        let rotations = store::Change::new(issued(bot.id)).and_all((0..1_100).map(|_| issued(bot.id)));
        t.gate.store().commit(rotations).await.unwrap();
    };
    rotate().await;
    let token =
        t.gate.issue_token(t.person("admin"), bot.id, access::identity::Scope::OF_PEOPLE.to_vec(), Span::hours(1), None).await.unwrap();
    let who = t.gate.identify_token(token.token.expose(), testkit::gate::HERE).await.unwrap();
    let bot = tidegate_workflow::Caller { who, door: access::request::Door::Api };
    let first = t.gate.submit(&bot, wish("web-1")).await.unwrap().request;
    t.gate.vote(t.person("dan"), first.id, Approve, None).await.expect("Dan has nothing to do with it yet");

    // Dan makes one for it, and it rotates on.
    t.gate.issue_token(t.person("dan"), bot.who.id(), vec![access::identity::Scope::Ask], Span::hours(1), None).await.unwrap();
    rotate().await;
    let second = t.gate.submit(&bot, wish("db-1")).await.unwrap().request;
    assert_eq!(t.gate.vote(t.person("dan"), second.id, Approve, None).await.unwrap_err().reason, Reason::SelfApproval);
    t.gate.vote(t.person("ben"), second.id, Approve, None).await.expect("somebody else may");
}

// covers: OK-3, B2 (api)
#[tokio::test]
async fn who_made_a_sign_in_anew_learns_of_no_request_by_that() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let mut files = t.gate.bundle().files().clone();
    let mut oversight = String::from_utf8(files["oversight.cedar"].clone()).unwrap();
    oversight.push_str(
        "@id(\"hr\")\npermit(principal, action == Tide::Action::\"administer:person\", resource) when { principal.name == \"gina\" };\n",
    );
    files.insert("oversight.cedar".into(), oversight.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let invited = t.gate.invite(t.person("dan"), "gina".parse().unwrap(), None).await.unwrap();
    let (who, _) = t.gate.accept_invitation(invited.code.expose(), testkit::gate::HERE).await.unwrap();
    let gina = tidegate_workflow::Caller { who, door: access::request::Door::Api };
    t.gate.invite_again(&gina, ana.who.id()).await.unwrap();
    let request = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    let nowhere: access::ids::RequestId = access::ids::RequestId::generate(t.gate.now());
    for id in [request.id, nowhere] {
        let refusal = t.gate.vote(&gina, id, Approve, None).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.detail), (Reason::NotFound, None), "{id}");
    }
    // The log knows why.
    let filter = store::EntryFilter { name: Some("vote.refused".into()), ..store::EntryFilter::default() };
    let page = store::EntryPage { limit: 1, after: None, newest_first: true };
    let entry = t.gate.store().entries(&filter, page).await.unwrap().remove(0).entry;
    assert!(
        matches!(entry.event, access::event::Event::VoteRefused { request: of, reason: Reason::SelfApproval, .. } if of == request.id),
        "{entry:?}"
    );
}
