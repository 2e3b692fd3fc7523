//! Decisions one by one: each refusal is preceded by the same question with only the tested thing put right.

use access::identity::Mfa;
use access::names::GroupName;
use access::reason::Reason;
use access::request::Asked;
use access::time::Span;
use access::verdict::{Answer, RecordLevel, Terms};
use tidegate_policy::{Ask, Bundle, Kind, Situation};

use crate::company::{ask, at, example, monday, plus, user, who, with};

fn denied(bundle: &Bundle, who: &Situation, ask: &Ask) -> (Reason, String) {
    match bundle.decide(who, ask).answer() {
        Answer::Deny { reason, detail } => (*reason, detail.clone()),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn open(bundle: &Bundle, who: &Situation, ask: &Ask) -> Terms {
    match bundle.decide(who, ask).answer() {
        Answer::Permit { terms } | Answer::NeedsApproval { terms } => terms.clone(),
        other => panic!("expected an open path, got {other:?}"),
    }
}

// covers: MAY-1
#[test]
fn without_a_tier_the_answer_is_no_and_says_which_resource() {
    let bundle = example();
    let ana = who(&bundle, "ana");
    open(&bundle, &ana, &ask("build-1+shell"));
    let bundle = with("resources.toml", "tier = \"non-prod\"\n", "");
    assert_eq!(denied(&bundle, &ana, &ask("build-1+shell")), (Reason::NoTier, "`build-1` has none".into()));
    assert!(
        bundle
            .warnings()
            .iter()
            .any(|warning| warning.to_string().contains("`build-1` has no `tier`: every request for it will be denied"))
    );
}

#[test]
fn pins_where_accounts_are_made_are_warned_of() {
    let warned =
        |bundle: &Bundle| bundle.warnings().iter().any(|warning| warning.to_string().contains("`orders-db` has `accounts` and `tls_pins`"));
    assert!(!warned(&example()));
    let pins = format!("database = \"orders\"\ntls_pins = [\"sha256:{}\"]\n", "0a".repeat(32));
    let bundle = with("resources.toml", "database = \"orders\"\n", &pins);
    assert!(warned(&bundle), "{:?}", bundle.warnings());
}

// covers: MAY-1
#[test]
fn what_nobody_permits_is_denied_by_name() {
    let bundle = example();
    let (ana, eve) = (who(&bundle, "ana"), who(&bundle, "eve"));
    open(&bundle, &ana, &ask("build-1+shell"));
    assert_eq!(
        denied(&bundle, &eve, &ask("build-1+shell")),
        (Reason::NoPath, "no path leads `eve` to `shell` on `build-1`: the conditions of `contractors-on-build` are not met".into())
    );
    assert_eq!(denied(&bundle, &ana, &ask("buld-1+shell")), (Reason::UnknownResource, "`buld-1`; did you mean `build-1`?".into()));
    let (reason, detail) = denied(&bundle, &ana, &ask("build-1+shel"));
    assert_eq!((reason, detail.as_str()), (Reason::UnknownRole, "`shel` on `build-1`; it has `admin`, `debug`, `deploy`, `logs`, `shell`"));
}

// covers: MAY-1
#[test]
fn a_policy_that_errors_denies_and_is_named() {
    // Cedar's numbers end at 2^63: strictly valid, and yet it fails when it is asked.
    let broken = "@id(\"overflows\") permit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in Tide::Tier::\"non-prod\") \
                  when { context.now * 9223372036854775807 > 0 };";
    let bundle = example();
    let (ana, dan) = (who(&bundle, "ana"), who(&bundle, "dan"));
    open(&bundle, &ana, &ask("build-1+shell"));
    for effect in ["permit", "forbid"] {
        let bundle = plus("access.cedar", &broken.replace("permit", effect));
        let (reason, detail) = denied(&bundle, &ana, &ask("build-1+shell"));
        assert_eq!(reason, Reason::PolicyError);
        assert!(detail.contains("`overflows` (access.cedar:") && detail.contains("overflow"), "{detail}");
        // Whom it is not about, it doesn't touch; nor another resource.
        open(&bundle, &dan, &ask("build-1+shell"));
        open(&bundle, &ana, &ask("web-1+shell"));
    }
    let bundle = plus(
        "oversight.cedar",
        "@id(\"fails\") forbid(principal, action == Tide::Action::\"approve\", resource) when { context.now * 9223372036854775807 > 0 };",
    );
    let request = tidegate_policy::Object::Request(tidegate_policy::About {
        person: ana.id,
        username: user("ana"),
        owner: None,
        resource: "web-1".parse().unwrap(),
        role: "shell".parse().unwrap(),
        break_glass: false,
        claims: None,
    });
    let ruling = bundle.may(&who(&bundle, "ben"), tidegate_policy::Act::Approve, &request);
    assert!(!ruling.allowed && ruling.errors[0].contains("`fails`"), "{ruling:?}");
    assert_eq!(ruling.policies, ["fails"]);
    assert!(example().may(&who(&bundle, "ben"), tidegate_policy::Act::Approve, &request).allowed);
}

// covers: MAY-3
#[test]
fn policies_speak_of_time_network_ticket_tags_and_length() {
    let bundle = plus(
        "access.cedar",
        r#"
        @id("eve-sometimes")
        permit(principal == Tide::User::"eve", action == Tide::Action::"request", resource in Tide::Environment::"build")
        when {
          ["mon", "tue"].contains(context.weekday) && context.hour >= 9 && context.hour < 17 &&
          context has network && context.network.isInRange(ip("10.0.0.0/8")) &&
          context.seconds <= 3600 && context.ticket && context.reason && resource.tags.contains("ci") &&
          context.mfa.age < 600
        };"#,
    );
    let right = Situation { network: Some("10.1.2.3".parse().unwrap()), ..who(&bundle, "eve") };
    let question = Ask { ticket: Some("CHG-1".into()), asked: Asked::For(Span::hours(1)), ..ask("build-1+shell") };
    open(&bundle, &right, &question);
    let shut = |who: &Situation, ask: &Ask| matches!(bundle.decide(who, ask).answer(), Answer::Deny { reason: Reason::NoPath, .. });
    assert!(shut(&Situation { network: Some("192.0.2.1".parse().unwrap()), ..right.clone() }, &question));
    assert!(shut(&Situation { network: None, ..right.clone() }, &question));
    let evening = at("2026-11-23T17:00:00Z");
    assert!(shut(&Situation { now: evening, mfa_at: evening, ..right.clone() }, &question));
    let sunday = at("2026-11-22T09:00:00Z");
    assert!(shut(&Situation { now: sunday, mfa_at: sunday, ..right.clone() }, &question));
    assert!(shut(&right, &Ask { asked: Asked::For(Span::seconds(3601)), ..question.clone() }));
    assert!(shut(&right, &Ask { reason_given: false, ..question.clone() }));
    // What the asker can still supply is asked for rather than refused.
    let verdict = bundle.decide(&right, &Ask { ticket: None, ..question.clone() });
    assert!(matches!(verdict.answer(), Answer::StepUp { needs, .. } if needs.ticket), "{verdict:?}");
    let old = Situation { mfa: Mfa::Verified, mfa_at: at("2026-11-23T08:00:00Z"), ..right };
    let verdict = bundle.decide(&old, &question);
    assert!(matches!(verdict.answer(), Answer::StepUp { needs, .. } if needs.mfa == Some(Mfa::Verified) && !needs.ticket), "{verdict:?}");
}

// covers: MAY-4
#[test]
fn no_path_goes_under_its_tier() {
    let generous = r#"
        @id("generous") @max_duration("30d") @mfa("none, 30d") @ticket("none") @record("events") @standing
        permit(principal == Tide::User::"ana", action == Tide::Action::"request", resource == Tide::Access::"ledger-1+debug");"#;
    let bundle = plus("access.cedar", generous);
    let terms = open(&bundle, &who(&bundle, "ana"), &ask("ledger-1+debug"));
    let floor = bundle.tier(&terms.tier).unwrap();
    assert_eq!((terms.max, terms.default, terms.record), (floor.max, floor.default, floor.record));
    assert_eq!(terms.approvals.iter().map(|p| p.name.clone()).collect::<Vec<_>>(), floor.approvals);
    assert!(terms.reason && !terms.standing && terms.break_glass.is_none() && terms.mfa_within == floor.mfa_within);
    let forever = Ask { asked: Asked::Standing, ..ask("ledger-1+debug") };
    assert_eq!(denied(&bundle, &who(&bundle, "ana"), &forever).0, Reason::NotStanding);
}

// covers: MAY-4, OK-2
#[test]
fn approvals_of_path_and_tier_add_up() {
    let bundle =
        with("windows.toml", "days = [\"sat\"], from = \"20:00\", to = \"02:00\"", "days = [\"mon\"], from = \"00:00\", to = \"24:00\"");
    let dan = Situation { mfa: Mfa::Verified, ..who(&bundle, "dan") };
    let terms = open(&bundle, &dan, &ask("web-1+admin"));
    assert_eq!(terms.approvals.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["on-call-or-lead", "security"]);
    assert_eq!(terms.people(), 2);
    let stage = &terms.approvals[0].stages[0];
    assert_eq!(stage.seats_after(Span::minutes(29)).count(), 3);
    assert_eq!(stage.seats_after(Span::minutes(30)).map(ToString::to_string).last().as_deref(), Some("security"));
}

// covers: ASK-1, ASK-2
#[test]
fn the_verdict_names_its_path_and_why_every_other_lost() {
    let more = r#"
        @id("slower") @approval("security") permit(principal == Tide::User::"ana", action == Tide::Action::"request", resource in Tide::Tier::"prod");
        @id("shorter") @max_duration("1h") permit(principal == Tide::User::"ana", action == Tide::Action::"request", resource in Tide::Tier::"prod");
        @id("a-twin") permit(principal == Tide::User::"ana", action == Tide::Action::"request", resource in Tide::Tier::"prod");"#;
    let bundle = plus("access.cedar", more);
    let verdict = bundle.decide(&who(&bundle, "ana"), &ask("web-1+shell"));
    assert_eq!(verdict.answer().code(), "needs_approval");
    assert_eq!(verdict.bundle(), bundle.digest());
    let told: Vec<String> = verdict.paths().iter().map(|p| format!("{}: {}", p.policy, p.outcome)).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    a-twin: chosen
    team-on-its-own: open at the same cost; `a-twin` comes first by name
    shorter: open, but it lasts 1h where `a-twin` lasts 4h
    slower: open, but it needs 2 people where `a-twin` needs 1 person
    emergency: not open: its conditions are not met
    pipeline-on-production: not open: it is for machines among members of `pipelines`
    platform-looks: not open: it is for the team `platform`
    platform-maintains: not open: it is for the team `platform`
    release-to-production: not open: it is for machines among members of `releases`
    ");
    // What is asked for narrows the choice before cost does.
    let long = Ask { asked: Asked::For(Span::hours(5)), ..ask("web-1+shell") };
    assert_eq!(denied(&bundle, &who(&bundle, "ana"), &long), (Reason::TooLong, "at most 4h, and 5h was asked for".into()));
}

// covers: MAY-4
#[test]
fn fewest_people_goes_before_no_step_up() {
    let more = r#"
        @id("with-key") @mfa("key_with_touch, 5m") permit(principal == Tide::User::"eve", action == Tide::Action::"request", resource in Tide::Tier::"non-prod");
        @id("with-people") @approval("security") permit(principal == Tide::User::"eve", action == Tide::Action::"request", resource in Tide::Tier::"non-prod");"#;
    let bundle = plus("access.cedar", more);
    let eve = who(&bundle, "eve");
    let verdict = bundle.decide(&eve, &ask("build-1+shell"));
    assert!(matches!(verdict.answer(), Answer::StepUp { needs, .. } if needs.mfa == Some(Mfa::KeyWithTouch)), "{verdict:?}");
    let verdict = bundle.decide(&Situation { mfa: Mfa::Verified, ..eve }, &ask("build-1+shell"));
    assert_eq!((verdict.answer().code(), verdict.policies()), ("permit", ["with-key".to_owned()].as_slice()));
}

// covers: MAY-3
#[test]
fn a_machine_is_never_asked_for_a_second_factor() {
    let path = |mfa: &str| {
        format!(
            "@id(\"m\") {mfa} permit(principal is Tide::Workload, action == Tide::Action::\"request\", resource == Tide::Access::\"build-1+logs\");"
        )
    };
    let bundle = plus("access.cedar", &path(""));
    open(&bundle, &who(&bundle, "deploy-bot"), &ask("build-1+logs"));
    let bundle = plus("access.cedar", &path("@mfa(\"verified\")"));
    assert_eq!(denied(&bundle, &who(&bundle, "deploy-bot"), &ask("build-1+logs")).0, Reason::MfaRequired);
}

// covers: ASK-8
#[test]
fn a_contract_ends_for_people_and_for_their_machines() {
    let bundle = example();
    let before = bundle.imagine(&user("frank"), at("2029-06-30T21:59:59Z")).unwrap();
    let after = bundle.imagine(&user("frank"), at("2029-06-30T22:00:00Z")).unwrap();
    open(&bundle, &before, &ask("build-1+shell"));
    assert_eq!(bundle.open_roles(&before, &"build-1".parse().unwrap()).len(), 2);
    let (reason, detail) = denied(&bundle, &after, &ask("build-1+shell"));
    assert_eq!(reason, Reason::Forbidden);
    assert!(detail.starts_with("the contract of `frank` ended at 2029-06-30T22:00:00Z"), "{detail}");
    assert!(bundle.open_roles(&after, &"build-1".parse().unwrap()).is_empty());
    // To him there is no other machine, and no near name of one.
    assert_eq!(denied(&bundle, &before, &ask("web-1+shell")), (Reason::UnknownResource, "`web-1`".into()));
    let bot = Situation { owner: Some(user("frank")), ..bundle.imagine(&user("deploy-bot"), after.now).unwrap() };
    assert_eq!(denied(&bundle, &bot, &ask("build-1+deploy")).0, Reason::Forbidden);
    let ours = Situation { owner: Some(user("dan")), ..bot };
    open(&bundle, &ours, &ask("build-1+deploy"));
}

// covers: MAY-6
#[test]
fn roles_alone_give_rights_inside_and_policies_take_some_away() {
    let bundle = example();
    let (role, host) = ("shell".parse().unwrap(), "build-1".parse().unwrap());
    let access::rights::Rights::Ssh(ana) = bundle.rights(&who(&bundle, "ana"), &role, &host).unwrap() else {
        panic!("rights on a machine")
    };
    let access::rights::Rights::Ssh(frank) = bundle.rights(&who(&bundle, "frank"), &role, &host).unwrap() else {
        panic!("rights on a machine")
    };
    assert_eq!(ana.sftp, access::rights::SftpRights::Write);
    assert_eq!(frank.sftp, access::rights::SftpRights::None);
    assert_eq!((ana.shell, ana.exec.clone()), (frank.shell, frank.exec));
    assert!(bundle.rights(&who(&bundle, "ana"), &"tunnel".parse().unwrap(), &host).is_none(), "`tunnel` is no role of build-1");
    // A forbid that cannot be evaluated takes the right away too.
    let bundle = plus(
        "access.cedar",
        "forbid(principal, action == Tide::Action::\"ssh:pty\", resource) when { context.now * 9223372036854775807 > 0 };",
    );
    let access::rights::Rights::Ssh(left) = bundle.rights(&who(&bundle, "ana"), &role, &host).unwrap() else {
        panic!("rights on a machine")
    };
    assert!(left.shell && !left.pty);
}

// covers: OK-2
#[test]
fn seats_are_groups_and_duty() {
    let bundle = example();
    let seated = |name: &str, seat: &str| bundle.seated(&who(&bundle, name), &seat.parse().unwrap());
    assert!(seated("ben", "on-call:payments") && seated("ben", "leads") && seated("carla", "security"));
    assert!(!seated("ana", "on-call:payments") && !seated("ana", "leads"));
    let christmas = bundle.imagine(&user("ana"), at("2028-12-25T03:00:00Z")).unwrap();
    assert!(bundle.seated(&christmas, &"on-call:payments".parse().unwrap()));
    let zoe =
        Situation { store_groups: vec!["administrators".parse::<GroupName>().unwrap()], ..bundle.imagine(&user("zoe"), monday()).unwrap() };
    assert!(bundle.seated(&zoe, &"administrators".parse().unwrap()));
}

// covers: C1
#[test]
fn nobody_decides_on_their_own_not_even_through_a_machine() {
    let bundle = plus("oversight.cedar", "@id(\"all\") permit(principal, action == Tide::Action::\"approve\", resource);");
    let about = |name: &str, owner: Option<&str>| {
        let person = bundle.imagine(&user(name), monday()).unwrap();
        tidegate_policy::Object::Request(tidegate_policy::About {
            person: person.id,
            username: user(name),
            owner: owner.map(user),
            resource: "web-1".parse().unwrap(),
            role: "deploy".parse().unwrap(),
            break_glass: false,
            claims: None,
        })
    };
    let may = |who: &Situation, on| bundle.may(who, tidegate_policy::Act::Approve, &on);
    let (ben, dan) = (who(&bundle, "ben"), who(&bundle, "dan"));
    let bot = Situation { owner: Some(user("dan")), ..who(&bundle, "deploy-bot") };
    assert!(
        may(&ben, about("dan", None)).allowed
            && may(&ben, about("deploy-bot", Some("dan"))).allowed
            && may(&bot, about("ben", None)).allowed
    );
    for (who, on) in [
        (&dan, about("dan", None)),
        (&dan, about("deploy-bot", Some("dan"))),
        (&bot, about("dan", None)),
        (&bot, about("deploy-bot", Some("dan"))),
    ] {
        let refusal = may(who, on).ok().unwrap_err();
        assert_eq!(refusal.reason, Reason::SelfApproval);
    }
}

// covers: MAY-3
#[test]
fn policies_speak_of_every_kind_of_resource() {
    for (kind, person, selector) in [
        (Kind::Ssh, "ana", "web-1+shell"),
        (Kind::Postgres, "ana", "orders-db+readonly"),
        (Kind::Mysql, "ana", "warehouse-db+stock-readonly"),
    ] {
        let bundle = example();
        open(&bundle, &who(&bundle, person), &ask(selector));
        let shut = format!(
            "@id(\"no-{kind}\") @reason(\"not today\") forbid(principal, action == Tide::Action::\"request\", resource in Tide::Kind::\"{kind}\");"
        );
        let bundle = plus("access.cedar", &shut);
        assert_eq!(denied(&bundle, &who(&bundle, person), &ask(selector)), (Reason::Forbidden, format!("`no-{kind}`: not today")));
        for other in ["web-1+shell", "orders-db+readonly", "warehouse-db+stock-readonly"].into_iter().filter(|other| *other != selector) {
            open(&bundle, &who(&bundle, person), &ask(other));
        }
    }
    assert_eq!(Kind::ALL.len(), 3, "one of each is tried here");
}

// covers: MAY-3, GRANT-8
#[test]
fn access_without_an_end_is_longer_than_whatever_a_policy_compares_it_with() {
    let bundle = plus(
        "access.cedar",
        "@id(\"short\") forbid(principal, action == Tide::Action::\"request\", resource in Tide::Tier::\"non-prod\") when { context.seconds > 14400 };",
    );
    let bot = Situation { owner: Some(user("dan")), ..who(&bundle, "deploy-bot") };
    let of = |asked| Ask { asked, ..ask("build-1+deploy") };
    open(&example(), &bot, &of(Asked::Standing));
    open(&bundle, &bot, &of(Asked::For(Span::hours(4))));
    assert_eq!(denied(&bundle, &bot, &of(Asked::For(Span::seconds(14401)))).0, Reason::Forbidden);
    assert_eq!(denied(&bundle, &bot, &of(Asked::Standing)).0, Reason::Forbidden);
}

// covers: GRANT-9
#[test]
fn an_emergency_is_recorded_as_closely_as_can_be() {
    let bundle = plus(
        "access.cedar",
        "@id(\"quiet\") @breakglass(\"security, 24h\") @record(\"events\") permit(principal == Tide::User::\"ana\", action == Tide::Action::\"request\", resource == Tide::Access::\"web-1+shell\");",
    );
    let ana = who(&bundle, "ana");
    assert_eq!(open(&bundle, &ana, &ask("web-1+shell")).record, RecordLevel::Content);
    assert_eq!(open(&bundle, &ana, &Ask { break_glass: true, ..ask("web-1+shell") }).record, RecordLevel::Results);
}
