//! Schedules that are kept elsewhere: who is on call is passed in, and unknown is nobody.

use std::sync::Arc;

use access::approval::Seat;
use access::names::GroupName;
use access::on_call::{Belief, OnDuty, Roster};
use access::verdict::Answer;
use jiff::Timestamp;
use tidegate_policy::diff::diff;
use tidegate_policy::{Ask, Bundle, Situation, cases};

use crate::company::{ask, example, files, monday, who};

/// The example, where those on call for `payments` are told by `pager`, and whoever is on call for a resource may restart it.
fn company() -> Bundle {
    with_level("level = 2\n")
}

fn with_level(level: &str) -> Bundle {
    Bundle::from_files(edited(level)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn edited(level: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = files();
    let mut edit = |file: &str, from: &str, to: &str| {
        let text = String::from_utf8(files[file].clone()).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        files.insert(file.into(), text.replacen(from, to, 1).into_bytes());
    };
    edit(
        "people.toml",
        "name = \"payments\"\npeople = [\"ben\"]\n[[on_call.shift]]\nperson = \"ana\"\nfrom = 2028-12-24T18:00\nto = 2028-12-27T09:00\n",
        &format!("name = \"payments\"\nsource = \"pager\"\nservice = \"shop\"\n{level}"),
    );
    edit("resources.toml", "name = \"db-1\"\n", "name = \"db-1\"\non_call = \"payments\"\n");
    edit(
        "access.cedar",
        "// An emergency asks",
        "@id(\"on-call-here\")\npermit(principal, action == Tide::Action::\"request\", resource in Tide::Tier::\"prod\")\n\
         when { resource has on_call && principal in resource.on_call && resource.role == Tide::Role::\"debug\" };\n// An emergency asks",
    );
    files
}

fn roster(people: &[(&Situation, u32)], good_until: Timestamp) -> Arc<Roster> {
    let mut roster = Roster::default();
    let people = people.iter().map(|(who, level)| OnDuty { person: who.id, level: *level, until: None }).collect();
    roster.believe(name("pager"), name("shop"), Belief::Known { people, seen_at: monday(), good_until });
    Arc::new(roster)
}

fn name(text: &str) -> GroupName {
    text.parse().unwrap()
}

// covers: OK-6, MAY-3
#[test]
fn on_call_for_this_service_now_up_to_a_level() {
    let bundle = company();
    let (eve, carla) = (who(&bundle, "eve"), who(&bundle, "carla"));
    let soon = "2026-11-23T09:05:00Z".parse().unwrap();
    let roster = roster(&[(&eve, 2), (&carla, 3)], soon);
    let eve = Situation { roster: Arc::clone(&roster), ..eve };
    let carla = Situation { roster, ..carla };
    let open = |who: &Situation| matches!(bundle.decide(who, &ask("db-1+debug")).answer(), Answer::NeedsApproval { .. });
    let seat = Seat::OnCall(name("payments"));
    assert!(open(&eve) && bundle.seated(&eve, &seat));
    assert!(!open(&carla) && !bundle.seated(&carla, &seat), "the third level is not asked");
    assert!(!matches!(bundle.decide(&eve, &ask("web-1+debug")).answer(), Answer::NeedsApproval { .. }), "it is another resource");

    // What is too old, unknown or not configured is nobody's duty, and the explanation says so.
    let later = Situation { now: soon, mfa_at: soon, ..eve.clone() };
    let mut unknown = Roster::default();
    unknown.believe(name("pager"), name("shop"), Belief::Unknown { because: "it answered with HTTP 500".into() });
    let unknown = Situation { roster: Arc::new(unknown), ..eve.clone() };
    let bare = Situation { roster: Arc::default(), ..eve.clone() };
    for (shut, why) in [(&later, "too long ago"), (&unknown, "HTTP 500"), (&bare, "maps nothing to the service `shop`")] {
        assert!(!open(shut) && !bundle.seated(shut, &seat), "{why}");
        let explained = bundle.explain(shut, &ask("db-1+debug")).to_string();
        assert!(explained.contains(why), "{explained}");
    }
    // Who decides is handed who is on call, too.
    let supposed = Situation { on_call: Some(vec![name("payments")]), ..bare };
    assert!(open(&supposed) && bundle.seated(&supposed, &seat));
}

// covers: MAY-2, OK-6 (cli)
#[test]
fn cases_say_who_is_on_call() {
    let mut files = edited("");
    let case = |name: &str, on_call: &str, expect: &str| {
        format!(
            "[[case]]\nname = \"{name}\"\nwho = \"eve\"\nask = \"db-1+debug\"\nat = \"2026-11-23T10:00:00Z\"\n{on_call}expect = \"{expect}\"\n"
        )
    };
    let text = case("on duty", "on_call = [\"payments\"]\n", "needs_approval") + &case("off duty", "on_call = []\n", "deny");
    files.insert("tests/on_call.toml".into(), text.into_bytes());
    files.retain(|file, _| !file.starts_with("tests/") || file == "tests/on_call.toml");
    let bundle = Bundle::from_files(files.clone()).unwrap_or_else(|problems| panic!("{problems}"));
    let report = cases::run(&bundle, monday());
    assert!(report.passed() && report.outcomes.len() == 2, "{report}");

    files.insert("tests/on_call.toml".into(), case("odd", "on_call = [\"paymets\"]\n", "deny").into_bytes());
    let problems = Bundle::from_files(files).unwrap_err().to_string();
    assert!(problems.contains("`paymets`") && problems.contains("did you mean `payments`?"), "{problems}");
}

// covers: MAY-1, RUN-3 (cli)
#[test]
fn mistakes_in_schedules_kept_elsewhere_are_named() {
    let broken = |from: &str, to: &str| {
        let mut files = edited("level = 2\n");
        for text in files.values_mut() {
            let replaced = String::from_utf8(text.clone()).unwrap().replacen(from, to, 1);
            *text = replaced.into_bytes();
        }
        Bundle::from_files(files).map(|_| ()).unwrap_err().to_string()
    };
    assert!(broken("level = 2", "level = 0").contains("the first escalation level is 1"));
    assert!(broken("level = 2", "levle = 2").contains("did you mean `level`?"));
    assert!(broken("level = 2", "people = [\"ben\"]").contains("is kept there, so `people` has no place here"));
    assert!(broken("source = \"pager\"", "source = \"Pager Duty\"").contains("`on_call.source`"));
    assert!(broken("on_call = \"payments\"", "on_call = \"paymets\"").contains("did you mean `payments`?"));
}

// covers: MAY-5, OK-6 (cli)
#[test]
fn a_diff_tells_what_whoever_is_on_call_gains() {
    let now = monday();
    let said = diff(&example(), &company(), &[], now).to_string();
    assert!(said.contains("+ `on-call.payments`") && said.contains("`db-1`"), "{said}");
    let asks = Ask::plain("db-1".parse().unwrap(), "debug".parse().unwrap());
    assert!(matches!(company().decide(&who(&company(), "eve"), &asks).answer(), Answer::Deny { .. }), "by herself she gains nothing");
}
