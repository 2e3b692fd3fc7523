//! The terminal as a door of its own: what is asked, agreed, bounded and taken away holds for stock `ssh` as it does elsewhere.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use testkit::postgres::Database;

use crate::demo::{CUT_WITHIN, Talk, eventually, lives};
use crate::served::{Plan, Served};

fn told(gate: &Served, person: &str, selector: &str, send: &str) -> (i32, String, String) {
    let send = format!("SetEnv={send}");
    let options: &[&str] = if send == "SetEnv=" { &[] } else { &["-o", &send] };
    let out = gate.ssh(person, selector, options, &["echo inside"]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

fn inside(gate: &Served, person: &str, selector: &str, send: &str) {
    let (status, out, said) = told(gate, person, selector, send);
    assert_eq!((status, out.as_str()), (0, "inside"), "{person} {selector}: {said}");
}

fn outside(gate: &Served, person: &str, selector: &str, send: &str, exit: i32, says: &str) {
    let (status, out, said) = told(gate, person, selector, send);
    assert_eq!((status, out.as_str()), (exit, ""), "{person} {selector}: {said}");
    assert!(said.contains(says), "{person} {selector}: {said}");
}

fn runs(gate: &Served, person: &str, selector: &str) -> (Talk, u32) {
    let talk = Talk::start(gate.ssh(person, selector, &[], &["echo pid-$$-; while :; do echo on; sleep 0.1; done"]));
    let pid = eventually("the target's process", || talk.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    (talk, pid)
}

fn cut(talk: &mut Talk, pid: u32, since: Instant) {
    eventually("the process at the target is gone", || (!lives(pid)).then_some(()));
    assert!(since.elapsed() < CUT_WITHIN, "it took {:?}", since.elapsed());
    assert_eq!(talk.end(), 76, "{}", talk.heard());
}

fn inbox(gate: &Served, person: &str) -> Vec<Value> {
    gate.get(person, "/api/v1/requests?of=inbox")["items"].as_array().unwrap().clone()
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap_or_else(|| panic!("no id: {row}"))
}

// covers: ASK-1 (ssh), ASK-2 (ssh), ASK-7 (ssh), ASK-8 (ssh), OK-1 (ssh), OK-2 (ssh), OK-3 (ssh), C1 (ssh), C3 (ssh), C6 (ssh), C7 (ssh), B2 (ssh), MAY-4 (ssh)
#[test]
fn asking_in_the_terminal_has_the_same_bounds() {
    let hurried =
        "[[tier]]\nname = \"hurried\"\nmax = \"1h\"\ndefault = \"10m\"\napprovals = [\"on-call-or-lead\"]\npending_for = \"3s\"\n";
    let resource = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{login}\"\n\
                    tier = \"hurried\"\nowner = \"payments\"\nhost_keys = [\"{host_key}\"]\n";
    let path = "@id(\"hurried\")\npermit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in \
                Tide::Tier::\"hurried\");\n";
    let gate = Served::with(Plan {
        policy: vec![("tiers.toml", hurried.to_owned()), ("resources.toml", resource.to_owned()), ("access.cedar", path.to_owned())],
        ..Plan::default()
    });
    // At once where nobody has to agree, for the tier's time when none is named.
    inside(&gate, "ana", "build-1+shell", "");
    let grants = gate.get("ana", "/api/v1/grants?state=active");
    assert_eq!((&grants["items"][0]["length"], &grants["items"][0]["policy"]), (&json!("2h"), &json!("engineers-on-build")), "{grants}");
    // Longer than the tier or the path allows, with the longest in the answer.
    outside(&gate, "ana", "db-1+shell", "TIDEGATE_REASON=x TIDEGATE_FOR=5h", 77, "4h");
    inside(&gate, "frank", "build-1+shell", "");
    // What a contractor was not given is as what does not exist.
    let (_, _, unseen) = told(&gate, "frank", "db-1+shell", "TIDEGATE_REASON=x");
    let (status, _, absent) = told(&gate, "frank", "extra-2+shell", "TIDEGATE_REASON=x");
    assert_eq!((status, unseen.replace("db-1", "extra-2")), (77, absent));
    // Who asked does not decide, wherever they asked; two stages are two people; and the door opens when both have agreed.
    outside(&gate, "ana", "ledger-1+debug", "TIDEGATE_REASON=x", 77, "ticket");
    let send = "SetEnv=TIDEGATE_REASON=audit TIDEGATE_TICKET=INC-7 TIDEGATE_WAIT=1";
    let mut waiting = Talk::start(gate.ssh("ben", "ledger-1+shell", &["-o", send], &["echo inside"]));
    waiting.until("waits for approval");
    let request = gate.get("ben", "/api/v1/requests?state=pending")["items"][0].clone();
    let approve = |who: &str| gate.api(who, "POST", &format!("/api/v1/requests/{}/approve", id(&request)), Some(json!({})));
    let (status, answer) = approve("ben");
    assert_eq!((status, &answer["code"]), (403, &json!("self_approval")), "{answer}");
    assert!(approve("dan").1["grant"].is_null());
    let (status, answer) = approve("dan");
    assert_eq!((status, &answer["code"]), (409, &json!("already_voted")), "{answer}");
    assert!(!waiting.heard().contains("inside"));
    assert!(approve("carla").1["grant"].is_object());
    waiting.until("inside");
    assert_eq!(waiting.end(), 0);
    // Nobody answers in time: whoever waits at the door is told.
    let mut waiting = Talk::start(gate.ssh("ana", "extra-1+shell", &["-o", "SetEnv=TIDEGATE_REASON=x TIDEGATE_WAIT=1"], &["echo inside"]));
    waiting.until("waits for approval");
    assert_eq!(waiting.end(), 77, "{}", waiting.heard());
    assert!(waiting.heard().contains("in time") && !waiting.heard().contains("inside"), "{}", waiting.heard());
    // What was asked at the door and edited afterwards needs everybody anew.
    outside(&gate, "ana", "ledger-1+shell", "TIDEGATE_REASON=audit TIDEGATE_TICKET=INC-8", 75, "req_");
    let request = gate.get("ana", "/api/v1/requests?state=pending")["items"][0].clone();
    gate.post("ben", &format!("/api/v1/requests/{}/approve", id(&request)), json!({}));
    gate.cli("ana", &["request", "edit", id(&request), "--reason", "something else"]);
    assert!(gate.post("carla", &format!("/api/v1/requests/{}/approve", id(&request)), json!({}))["grant"].is_null());
    outside(&gate, "ana", "ledger-1+shell", "", 75, "req_");
    gate.post("ben", &format!("/api/v1/requests/{}/approve", id(&request)), json!({}));
    inside(&gate, "ana", "ledger-1+shell", "");
    // What is waited for goes away: said plainly, and nothing opens.
    let mut waiting = Talk::start(gate.ssh("ana", "web-1+shell", &["-o", "SetEnv=TIDEGATE_REASON=x TIDEGATE_WAIT=1"], &["echo inside"]));
    waiting.until("waits for approval");
    let request = inbox(&gate, "dan").iter().find(|r| r["resource"] == "web-1").cloned().unwrap();
    gate.change_policy("resources.toml", |resources| {
        let at = resources.find("[[resource]]\nname = \"web-1\"").unwrap();
        let end = at + 1 + resources[at + 1..].find("[[resource]]").unwrap();
        format!("{}{}", &resources[..at], &resources[end..])
    });
    let (_, answer) = gate.api("dan", "POST", &format!("/api/v1/requests/{}/approve", id(&request)), Some(json!({})));
    assert!(answer["grant"].is_null(), "{answer}");
    assert_eq!(waiting.end(), 77, "{}", waiting.heard());
    assert!(!waiting.heard().contains("inside"));
    gate.assert_provable();
}

// covers: GRANT-1 (ssh), GRANT-4 (ssh), GRANT-5 (ssh), GRANT-6 (ssh), GRANT-8 (ssh), GRANT-9 (ssh), C8 (ssh), D3 (ssh), B4 (ssh), WHO-7 (ssh)
#[test]
fn a_session_lives_as_its_grants_do() {
    lives_as_its_grants_do(None);
}

// covers: GRANT-1 (ssh), GRANT-4 (ssh), GRANT-5 (ssh), GRANT-6 (ssh), EV-1 (ssh), F7 (ssh)
#[test]
fn a_session_lives_as_its_grants_do_on_postgresql() {
    let database = tokio::runtime::Runtime::new().unwrap().block_on(Database::fresh()).unwrap();
    lives_as_its_grants_do(Some(database.url()));
}

fn lives_as_its_grants_do(store: Option<String>) {
    let quiet = "[[tier]]\nname = \"quiet\"\nmax = \"1h\"\ndefault = \"10m\"\napprovals = []\nreason = false\nidle = \"2s\"\n";
    let resource = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{login}\"\n\
                    tier = \"quiet\"\nowner = \"payments\"\nhost_keys = [\"{host_key}\"]\n";
    let path = "@id(\"quiet\")\npermit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in \
                Tide::Tier::\"quiet\");\n";
    let gate = Served::with(Plan {
        policy: vec![("tiers.toml", quiet.to_owned()), ("resources.toml", resource.to_owned()), ("access.cedar", path.to_owned())],
        store,
        ..Plan::default()
    });
    // The clock starts at the first connection.
    let first = gate.grant("ana", "db-1", "shell", "10s");
    let unused = gate.get("ana", &format!("/api/v1/grants/{first}"));
    assert!(unused["starts_at"].is_null() && unused["state"] == "ready", "{unused}");
    let (mut ana, pid) = runs(&gate, "ana", "db-1+shell");
    let started: Timestamp = gate.get("ana", &format!("/api/v1/grants/{first}"))["starts_at"].as_str().unwrap().parse().unwrap();
    // A second grant covers it when the first is over, and an extension of that one drops nothing.
    let second = gate.grant("ana", "db-1", "shell", "10m");
    gate.post("ana", &format!("/api/v1/grants/{second}/activate"), json!({}));
    eventually("the first is over", || (gate.get("ana", &format!("/api/v1/grants/{first}"))["state"] == "ended").then_some(()));
    let ended: Timestamp = gate.get("ana", &format!("/api/v1/grants/{first}"))["ended_at"].as_str().unwrap().parse().unwrap();
    let session = gate.live_session("ana").unwrap();
    assert!(
        ended.duration_since(started).as_secs() >= 10 && lives(pid) && session["grant"] == json!(second),
        "{started} {ended} {session}"
    );
    let asked = gate.post("ana", &format!("/api/v1/grants/{second}/extend"), json!({"duration": "2h", "reason": "still looking"}));
    assert!(asked["grant"].is_null(), "production asks people again: {asked}");
    gate.post("ben", &format!("/api/v1/requests/{}/approve", id(&asked["request"])), json!({}));
    assert!(lives(pid));
    let since = Instant::now();
    gate.post("ana", &format!("/api/v1/grants/{second}/return"), json!({}));
    cut(&mut ana, pid, since);
    outside(&gate, "ana", "db-1+shell", "", 77, "reason");
    // What nobody uses ends by itself.
    let mut idle = Talk::start(gate.ssh("ana", "extra-1+shell", &[], &["sleep 1000"]));
    assert_eq!(idle.end(), 76, "{}", idle.heard());
    eventually("why it ended", || (gate.get("ana", "/api/v1/sessions?resource=extra-1")["items"][0]["end"] == "idle").then_some(()));
    // A machine's standing access, by name; nobody else's.
    let wish = json!({"resource": "build-1", "role": "deploy", "duration": "standing", "reason": "rolls out"});
    let (status, answer) = gate.api("ana", "POST", "/api/v1/requests", Some(wish.clone()));
    assert_eq!((status, &answer["code"]), (403, &json!("not_standing")), "{answer}");
    gate.post("deploy-bot", "/api/v1/requests", wish);
    inside(&gate, "deploy-bot", "build-1+deploy", "");
    let standing = gate.get("deploy-bot", "/api/v1/grants?state=active");
    assert!(standing["items"][0]["ends_at"].is_null() && standing["items"][0]["starts_at"].is_string(), "{standing}");
    // An emergency opens at once where one connects, for those on call, and owes a review.
    outside(&gate, "ana", "db-1+shell", "TIDEGATE_BREAK_GLASS=outage", 77, "emergency");
    inside(&gate, "ben", "db-1+shell", "TIDEGATE_BREAK_GLASS=outage");
    let reviews = gate.get("carla", "/api/v1/reviews");
    assert_eq!(
        reviews["items"][0]["about"]["username"].as_str().or(reviews["items"][0]["person"]["username"].as_str()),
        Some("ben"),
        "{reviews}"
    );
    gate.assert_provable();
}

// covers: WHO-8 (ssh), MAY-8 (ssh), MAY-3 (ssh), GRANT-3 (ssh), OK-4 (ssh), C2 (ssh), CRED-6 (ssh), CRED-6 (api)
#[test]
fn locks_policies_and_keys_change_while_sessions_live() {
    let gate = Served::start();
    inside(&gate, "ana", "build-1+shell", "");
    // Locked: cut, and shut until lifted.
    let (mut ana, pid) = runs(&gate, "ana", "build-1+shell");
    let since = Instant::now();
    let lock = gate.post("carla", "/api/v1/locks", json!({"scope": format!("person:{}", gate.id("ana")), "reason": "drill"}));
    cut(&mut ana, pid, since);
    outside(&gate, "ana", "build-1+shell", "", 77, "locked");
    gate.post("carla", &format!("/api/v1/locks/{}/lift", id(&lock["lock"])), json!({}));
    inside(&gate, "ana", "build-1+shell", "");
    // Waiting at the door while the approver loses the seat: the vote does not count, the door stays shut.
    let mut waiting = Talk::start(gate.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_REASON=x TIDEGATE_WAIT=1"], &["echo inside"]));
    waiting.until("waits for approval");
    let request = inbox(&gate, "ben")[0].clone();
    gate.change_policy("people.toml", |people| {
        people.replace("members = [\"ben\", \"dan\"]", "members = [\"dan\"]").replace("people = [\"ben\"]", "people = [\"ana\"]")
    });
    let (status, answer) = gate.api("ben", "POST", &format!("/api/v1/requests/{}/approve", id(&request)), Some(json!({})));
    assert!(status == 403 || status == 404, "{status} {answer}");
    assert!(!waiting.heard().contains("inside"));
    gate.post("dan", &format!("/api/v1/requests/{}/approve", id(&request)), json!({}));
    waiting.until("inside");
    assert_eq!(waiting.end(), 0);
    // A right that policy takes away is taken from who uses it, and from nobody else.
    let (mut ana, pid) = runs(&gate, "ana", "db-1+shell");
    let (ben, stays) = runs(&gate, "ben", "build-1+shell");
    gate.change_policy("people.toml", |people| people.replace("members = [\"ana\", \"ben\"]", "members = [\"ben\"]"));
    let since = Instant::now();
    cut(&mut ana, pid, since);
    outside(&gate, "ana", "db-1+shell", "TIDEGATE_REASON=x", 77, "");
    assert!(lives(stays));
    // The gate's keys are replaced while ben works: he goes on, targets that trust the new CA open, others do not any more.
    let cas = || {
        let known = gate.get("dan", "/api/v1/gate")["target_cas"].clone();
        let lines: Vec<String> = known.as_array().unwrap().iter().map(|ca| ca["public_key"].as_str().unwrap().to_owned()).collect();
        lines.join("\n")
    };
    let old = cas();
    gate.post("dan", "/api/v1/keys/rotate", json!({"kind": "target_ca"}));
    inside(&gate, "ana", "build-1+shell", "");
    gate.post("dan", "/api/v1/keys/activate", json!({"kind": "target_ca"}));
    outside(&gate, "ana", "build-1+shell", "", 77, "did not accept");
    assert_ne!(cas(), old, "there is another target CA");
    gate.target.trust(&cas()).unwrap();
    inside(&gate, "ana", "build-1+shell", "");
    for kind in ["login_ca", "recording_output", "recording_input", "secrets"] {
        gate.post("dan", "/api/v1/keys/rotate", json!({"kind": kind}));
    }
    inside(&gate, "ana", "build-1+shell", "");
    assert!(lives(stays), "{}", ben.heard());
    let entries = gate.get("eve", "/api/v1/audit/entries?event=keys.rotated");
    assert!(entries["items"].as_array().is_some_and(|rows| rows.len() >= 5), "{entries}");
    gate.assert_provable();
}
