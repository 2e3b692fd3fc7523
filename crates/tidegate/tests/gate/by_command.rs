//! The command line as a door of its own: what holds elsewhere holds here, with an exit status to go by.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::demo::{CUT_WITHIN, Talk, eventually, lives};
use crate::known::program;
use crate::served::{Plan, Served};

/// Exit status, JSON from stdout (if any), stderr.
fn run(gate: &Served, person: &str, args: &[&str]) -> (i32, Value, String) {
    let mut all = args.to_vec();
    all.push("--json");
    let out = gate.tidegate(person, &all);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code().unwrap_or(-1), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), said)
}

/// The problem that was printed, but for the call's own number.
fn problem(said: &str) -> Value {
    let mut problem: Value =
        said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| panic!("no JSON: {said}"));
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}

fn refused(gate: &Served, person: &str, args: &[&str], says: &str) {
    let (status, answer, said) = run(gate, person, args);
    assert_eq!(status, 77, "{person} {args:?}: {answer} {said}");
    // A refusal is JSON too, as the API answered it.
    let problem = problem(&said);
    assert!(problem["code"].is_string() && problem["hint"].is_string() && said.contains(says), "{person} {args:?}: {said}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Asks, and gives the request's id; it waits for people.
fn asks(gate: &Served, person: &str, args: &[&str]) -> String {
    let (status, answer, said) = run(gate, person, &[&["request", "create"], args, &["--reason", "a slow query"]].concat());
    assert_eq!((status, &answer["answer"]), (75, &json!("needs_approval")), "{args:?}: {answer} {said}");
    text(&answer["request"]["id"]).to_owned()
}

/// Asks for what opens at once, and gives the grant.
fn gets(gate: &Served, person: &str, args: &[&str]) -> Value {
    let (status, answer, said) = run(gate, person, &[&["request", "create"], args, &["--reason", "a slow query"]].concat());
    assert_eq!((status, &answer["answer"]), (0, &json!("permit")), "{args:?}: {answer} {said}");
    answer["grant"].clone()
}

// covers: ASK-1 (cli), ASK-2 (cli), ASK-7 (cli), ASK-8 (cli, api), MAY-4 (cli, api), OK-1 (cli), A10 (cli, api), B2 (cli), C3 (cli, api), WHO-4 (cli, api)
#[test]
fn asking() {
    let hurried =
        "[[tier]]\nname = \"hurried\"\nmax = \"1h\"\ndefault = \"10m\"\napprovals = [\"on-call-or-lead\"]\npending_for = \"2s\"\n";
    let resource = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{login}\"\n\
                    tier = \"hurried\"\nowner = \"payments\"\nhost_keys = [\"{host_key}\"]\n";
    let path = "@id(\"hurried\")\npermit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in \
                Tide::Tier::\"hurried\");\n";
    let gate = Served::with(Plan {
        policy: vec![("tiers.toml", hurried.to_owned()), ("resources.toml", resource.to_owned()), ("access.cedar", path.to_owned())],
        ..Plan::default()
    });
    // One answer for machines, with the policies that gave it; a time when none is named.
    let (status, answer, said) = run(&gate, "ana", &["request", "create", "build-1", "shell", "--reason", "x"]);
    assert_eq!((status, &answer["answer"]), (0, &json!("permit")), "{answer} {said}");
    assert!(answer["policies"].to_string().contains("engineers-on-build"), "{answer}");
    assert_eq!(answer["grant"]["length"], json!("2h"), "the tier's default: {answer}");
    assert_eq!(answer["grant"]["person"]["username"], json!("ana"));
    let request = asks(&gate, "ana", &["db-1", "debug"]);
    let shown = gate.cli("ana", &["request", "show", &request]);
    assert!(shown.to_string().contains("team-on-its-own"), "{shown}");
    // Longer than the tier, or than the path, names the longest.
    refused(&gate, "ana", &["request", "create", "build-1", "shell", "--for", "13h", "--reason", "x"], "12h");
    refused(&gate, "ana", &["request", "create", "web-1", "shell", "--for", "5h", "--reason", "x"], "4h");
    refused(&gate, "frank", &["request", "create", "build-1", "shell", "--for", "9h", "--reason", "x"], "8h");
    gets(&gate, "frank", &["build-1", "shell", "--for", "8h"]);
    // What a contractor was not given, and what somebody may not see, is as what does not exist.
    let (_, _, unseen) = run(&gate, "frank", &["request", "create", "db-1", "shell", "--reason", "x"]);
    let (status, _, absent) = run(&gate, "frank", &["request", "create", "db-9", "shell", "--reason", "x"]);
    assert_eq!((status, problem(&unseen.replace("db-1", "db-9"))), (77, problem(&absent)));
    let (_, _, unseen) = run(&gate, "frank", &["request", "show", &request]);
    let (status, _, absent) = run(&gate, "frank", &["request", "show", "req_00000000000000000000000000"]);
    assert_eq!((status, problem(&unseen.replace(&request, "req_00000000000000000000000000"))), (77, problem(&absent)));
    // One spelling of a name.
    assert_ne!(run(&gate, "ana", &["request", "create", "Build-1", "shell", "--reason", "x"]).0, 0);
    assert_ne!(run(&gate, "ana", &["request", "create", "build\u{2010}1", "shell", "--reason", "x"]).0, 0);
    // Nobody answers in time.
    let old = asks(&gate, "ana", &["extra-1", "shell"]);
    eventually("it ages out", || (gate.cli("ana", &["request", "show", &old]).to_string().contains("expired")).then_some(()));
    refused(&gate, "ben", &["request", "approve", &old], "expired");
    // An edit voids what was agreed to before it.
    let ledger = asks(&gate, "ana", &["ledger-1", "debug", "--ticket", "INC-1"]);
    gate.cli("ben", &["request", "approve", &ledger]);
    gate.cli("ana", &["request", "edit", &ledger, "--reason", "something quite different"]);
    let carla = gate.cli("carla", &["request", "approve", &ledger]);
    assert!(carla["grant"].is_null(), "ben agreed to something else: {carla}");
    assert!(gate.cli("ben", &["request", "approve", &ledger])["grant"].is_object());
    gate.assert_provable();
}

// covers: OK-2 (cli, api), OK-3 (cli), OK-4 (cli, api), OK-8 (cli), C1 (cli), C2 (cli, api), C5 (cli), C6 (cli, api), C7 (cli, api), WHO-7 (cli)
#[test]
fn agreeing() {
    let gate = Served::start();
    // Nobody on their own, on their machine's, or without a seat.
    let mine = asks(&gate, "ben", &["db-1", "debug"]);
    refused(&gate, "ben", &["request", "approve", &mine], "their own");
    refused(&gate, "carla", &["request", "approve", &mine], "not among those");
    let machine = asks(&gate, "deploy-bot", &["web-1", "deploy", "--ticket", "CHG-1"]);
    refused(&gate, "dan", &["request", "approve", &machine], "their own");
    assert_eq!(run(&gate, "deploy-bot", &["request", "approve", &mine]).0, 77, "machines don't vote");
    assert!(gate.cli("dan", &["request", "approve", &mine])["grant"].is_object());
    assert!(gate.cli("ben", &["request", "approve", &machine])["grant"].is_object());
    // Two stages are two people.
    let ledger = asks(&gate, "ana", &["ledger-1", "debug", "--ticket", "INC-1"]);
    assert!(gate.cli("ben", &["request", "approve", &ledger])["grant"].is_null());
    refused(&gate, "ben", &["request", "approve", &ledger], "already decided");
    let agreed = gate.cli("carla", &["request", "approve", &ledger]);
    assert_eq!(agreed["grant"]["approvers"].as_array().map(Vec::len), Some(2), "{agreed}");
    // Two decisions at the same moment: one stands, and who was late is told.
    for _ in 0..3 {
        let request = asks(&gate, "ana", &["db-1", "debug"]);
        let (yes, no) = std::thread::scope(|scope| {
            let yes = scope.spawn(|| run(&gate, "ben", &["request", "approve", &request]));
            let no = scope.spawn(|| run(&gate, "dan", &["request", "deny", &request]));
            (yes.join().unwrap(), no.join().unwrap())
        });
        let (state, late) = if yes.0 == 0 { ("approved", &no) } else { ("denied", &yes) };
        assert_eq!((yes.0.min(no.0), late.0), (0, 77), "{yes:?} {no:?}");
        assert!(late.2.contains("in the meantime"), "{late:?}");
        assert_eq!(gate.get("ana", &format!("/api/v1/requests/{request}"))["state"], json!(state));
        for grant in gate.cli("ana", &["grant", "list"])["items"].as_array().unwrap() {
            if grant["state"] != "ended" {
                gate.cli("ana", &["grant", "return", text(&grant["id"])]);
            }
        }
    }
    // The right counts that one has at the click, for things that are still there.
    let (request, gone) = (asks(&gate, "ana", &["db-1", "debug"]), asks(&gate, "ana", &["web-1", "debug"]));
    gate.change_policy("people.toml", |people| {
        people.replace("members = [\"ben\", \"dan\"]", "members = [\"dan\"]").replace("people = [\"ben\"]", "people = [\"ana\"]")
    });
    assert_eq!(run(&gate, "ben", &["request", "approve", &request]).0, 77);
    assert!(gate.cli("dan", &["request", "approve", &request])["grant"].is_object());
    gate.change_policy("resources.toml", |resources| {
        let at = resources.find("[[resource]]\nname = \"web-1\"").unwrap();
        let end = at + 1 + resources[at + 1..].find("[[resource]]").unwrap();
        format!("{}{}", &resources[..at], &resources[end..])
    });
    let (_, answer, said) = run(&gate, "dan", &["request", "approve", &gone]);
    assert!(answer["grant"].is_null(), "{answer} {said}");
    let state = gate.get("ana", &format!("/api/v1/requests/{gone}"))["state"].clone();
    assert_ne!(state, json!("approved"), "{answer} {said}");
    gate.assert_provable();
}

/// Something that runs at the target for as long as it is let.
fn runs(gate: &Served, person: &str, selector: &str) -> (Talk, u32, String) {
    let talk = Talk::start(gate.ssh(person, selector, &[], &["echo pid-$$-; while :; do echo on; sleep 0.1; done"]));
    let pid = eventually("the target's process", || talk.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    let session = text(&gate.cli(person, &["session", "list", "--live"])["items"][0]["id"]).to_owned();
    (talk, pid, session)
}

fn cut(talk: &mut Talk, pid: u32, since: Instant) {
    eventually("the process at the target is gone", || (!lives(pid)).then_some(()));
    assert!(since.elapsed() < CUT_WITHIN, "it took {:?}", since.elapsed());
    assert_eq!(talk.end(), 76, "{}", talk.heard());
}

// covers: GRANT-1 (cli, api), GRANT-2 (cli, api), GRANT-3 (cli), GRANT-4 (cli), GRANT-5 (cli), GRANT-6 (cli, api), D1 (cli, api), D2 (cli), D3 (cli, api), B4 (cli), B5 (cli), SES-1 (cli)
#[test]
fn the_life_of_a_grant() {
    let gate = Served::start();
    // The clock starts when it is told to, and is over when it is over.
    let short = gets(&gate, "ben", &["build-1", "shell", "--for", "10s"]);
    assert!(short["starts_at"].is_null() && short["state"] == "ready", "{short}");
    let activated = Instant::now();
    let short = gate.cli("ben", &["grant", "activate", text(&short["id"])]);
    let (mut talk, pid, session) = runs(&gate, "ben", "build-1+shell");
    eventually("the process at the target is gone", || (!lives(pid)).then_some(()));
    let (lived, length) = (activated.elapsed(), Duration::from_secs(10));
    assert!(lived >= length && lived < length + CUT_WITHIN, "{lived:?}");
    talk.end();
    let row = gate.cli("ben", &["grant", "show", text(&short["id"])]);
    assert!(row["person"]["username"] == "ben" && row["policy"] == "engineers-on-build" && row["bundle"].is_string(), "{row}");
    eventually("its end", || {
        let row = gate.cli("ben", &["session", "show", &session]);
        (row["end"] == "expired").then_some(())
    });
    // Extension is a new decision within the tier, and drops nothing.
    let request = asks(&gate, "ana", &["db-1", "shell", "--for", "10m"]);
    let grant = text(&gate.cli("ben", &["request", "approve", &request])["grant"]["id"]).to_owned();
    let (mut talk, pid, session) = runs(&gate, "ana", "db-1+shell");
    let before = gate.cli("ana", &["grant", "show", &grant])["ends_at"].clone();
    refused(&gate, "ana", &["grant", "extend", &grant, "--for", "5h", "--reason", "more"], "4h");
    let (status, asked, said) = run(&gate, "ana", &["grant", "extend", &grant, "--for", "2h", "--reason", "still looking"]);
    assert_eq!(status, 75, "{asked} {said}");
    assert_eq!(gate.cli("ana", &["grant", "show", &grant])["ends_at"], before, "nobody has agreed yet");
    gate.cli("dan", &["request", "approve", text(&asked["request"]["id"])]);
    let after = gate.cli("ana", &["grant", "show", &grant]);
    assert!(text(&after["ends_at"]) > text(&before) && after["resource"] == "db-1" && after["role"] == "shell", "{after}");
    assert!(lives(pid));
    // Watching is a right, ending another, and who has neither can't know of it.
    refused(&gate, "frank", &["session", "show", &session], "no such thing");
    refused(&gate, "frank", &["session", "watch", &session], "no such thing");
    refused(&gate, "eve", &["session", "kill", &session, "--reason", "x"], "may not");
    let since = Instant::now();
    gate.cli("carla", &["session", "kill", &session, "--reason", "drill"]);
    cut(&mut talk, pid, since);
    // Whom a policy keeps from watching is told which, and why.
    let ledger = asks(&gate, "ana", &["ledger-1", "shell", "--ticket", "INC-1"]);
    gate.cli("ben", &["request", "approve", &ledger]);
    gate.cli("carla", &["request", "approve", &ledger]);
    let (mut talk, pid, session) = runs(&gate, "ana", "ledger-1+shell");
    assert_eq!(gate.cli("ben", &["session", "show", &session])["state"], "live");
    refused(&gate, "ben", &["session", "watch", &session], "only security watches");
    refused(&gate, "ben", &["session", "watch", &session], "\"policies\":[\"ledger-is-watched-by-security-alone\"]");
    let since = Instant::now();
    gate.cli("carla", &["session", "kill", &session, "--reason", "drill"]);
    cut(&mut talk, pid, since);
    // A revocation cuts, and names what still opens the door.
    let (mut talk, pid, _) = runs(&gate, "ana", "db-1+shell");
    let request = asks(&gate, "ana", &["db-1", "shell"]);
    let second = text(&gate.cli("ben", &["request", "approve", &request])["grant"]["id"]).to_owned();
    let since = Instant::now();
    let revoked = gate.cli("carla", &["grant", "revoke", &grant, "--reason", "drill"]);
    cut(&mut talk, pid, since);
    assert_eq!((&revoked["cut"]["unconfirmed"], &revoked["cut"]["still_open"]), (&json!([]), &json!([second])), "{revoked}");
    // Giving back moves what another grant still covers, and ends the rest.
    let (mut talk, pid, session) = runs(&gate, "ana", "db-1+shell");
    let request = asks(&gate, "ana", &["db-1", "shell"]);
    let third = text(&gate.cli("ben", &["request", "approve", &request])["grant"]["id"]).to_owned();
    gate.cli("ana", &["grant", "activate", &third]);
    refused(&gate, "frank", &["grant", "return", &second], "no such thing");
    let given = gate.cli("ana", &["grant", "return", &second]);
    assert!(given["cut"]["rehomed"] == json!([session]) && lives(pid), "{given}");
    let since = Instant::now();
    let given = gate.cli("ana", &["grant", "return", &third]);
    cut(&mut talk, pid, since);
    assert_eq!(given["grant"]["end"], json!("returned"));
    gate.assert_provable();
}

// covers: GRANT-8 (cli, api), GRANT-9 (cli, api), BACK-1 (cli), C8 (cli, api), WHO-8 (cli), GRANT-3 (cli), D2 (cli), G2 (cli)
#[test]
fn standing_access_emergencies_and_locks() {
    let asks_still = "@id(\"asks-still\") @breakglass(\"security, 24h\") @approval(\"security\") permit(principal == Tide::User::\"ana\", \
                      action == Tide::Action::\"request\", resource == Tide::Access::\"web-1+shell\");";
    let gate = Served::with(Plan { policy: vec![("access.cedar", asks_still.to_owned())], ..Plan::default() });
    let counted = |standing: u32| {
        let numbers = gate.get("eve", "/api/v1/metrics")["raw"].as_str().unwrap().to_owned();
        assert!(numbers.lines().any(|line| line == format!("tidegate_grants_standing {standing}")), "{numbers}");
    };
    counted(0);
    // Without an end only by name.
    refused(&gate, "ana", &["request", "create", "build-1", "shell", "--standing", "--reason", "x"], "without an end");
    let standing = gets(&gate, "deploy-bot", &["build-1", "deploy", "--standing"]);
    let standing = gate.cli("deploy-bot", &["grant", "activate", text(&standing["id"])]);
    assert!(standing["state"] == "active" && standing["ends_at"].is_null(), "{standing}");
    counted(1);
    // An emergency asks nobody, tells everybody, and owes a review by somebody else.
    refused(&gate, "ana", &["break-glass", "db-1", "shell", "--reason", "outage"], "no emergency path");
    let (status, emergency, said) = run(&gate, "ben", &["break-glass", "db-1", "shell", "--reason", "outage"]);
    assert!(status == 0 && emergency["grant"]["break_glass"] == true, "{emergency} {said}");
    assert!(said.contains("is recorded as closely as can be"), "{said}");
    let (status, waits, said) = run(&gate, "ana", &["break-glass", "web-1", "shell", "--reason", "outage"]);
    assert!(status == 75 && !said.contains("recorded"), "nothing opened yet: {waits} {said}");
    let inside = gate.ssh("ben", "db-1+shell", &[], &["echo inside"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "inside", "{}", String::from_utf8_lossy(&inside.stderr));
    let reviews = gate.cli("carla", &["review", "list"]);
    let review = text(&reviews["items"][0]["id"]).to_owned();
    assert_eq!(reviews["items"][0]["grant"], emergency["grant"]["id"], "{reviews}");
    assert_eq!(run(&gate, "ben", &["review", "complete", &review, "justified"]).0, 77);
    gate.cli("carla", &["review", "complete", &review, "justified", "--note", "real outage", "--follow-up", "rotate the deploy key"]);
    let listed = gate.tidegate("carla", &["review", "list", "--state", "done"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("real outage; to do: rotate the deploy key"), "{listed}");
    // An auditor gets in nowhere, and sees all that stands behind the gate.
    assert_eq!(gate.cli("eve", &["resource", "list"])["items"], json!([]));
    let all = gate.cli("eve", &["resource", "list", "--all"]);
    assert!(all["items"].as_array().unwrap().iter().any(|one| one["name"] == "ledger-1"), "{all}");
    assert_eq!(gate.cli("frank", &["resource", "list", "--all"]), gate.cli("frank", &["resource", "list"]), "he keeps nothing");
    // A lock shuts everything of theirs and keeps it shut; so does disabling.
    gets(&gate, "ana", &["build-1", "shell"]);
    for what in [["user", "ana"], ["resource", "build-1"], ["role", "shell"]] {
        gets(&gate, "ana", &["build-1", "shell"]);
        let (mut talk, pid, _) = runs(&gate, "ana", "build-1+shell");
        let since = Instant::now();
        let lock = gate.cli("carla", &["lock", "set", what[0], what[1], "--reason", "drill"]);
        cut(&mut talk, pid, since);
        refused(&gate, "ana", &["request", "create", "build-1", "shell", "--reason", "x"], "locked");
        gate.cli("carla", &["lock", "lift", text(&lock["lock"]["id"])]);
    }
    gets(&gate, "ana", &["build-1", "shell"]);
    let (mut talk, pid, _) = runs(&gate, "ana", "build-1+shell");
    let since = Instant::now();
    gate.cli("dan", &["user", "disable", "ana", "--reason", "left"]);
    cut(&mut talk, pid, since);
    assert_ne!(run(&gate, "ana", &["request", "create", "build-1", "shell", "--reason", "x"]).0, 0);
    gate.cli("dan", &["user", "enable", "ana"]);
    // Each of these is a right of its own, and hers is none of them.
    let ben = gate.id("ben");
    for verb in [
        &["lock", "set", "user", &ben, "--reason", "x"][..],
        &["user", "disable", &ben],
        &["user", "invite", "gina"],
        &["grant", "revoke", text(&standing["id"]), "--reason", "x"],
        &["keys", "rotate", "target_ca"],
        &["secret", "list"],
        &["policy", "push", gate.dir().join("policy").to_str().unwrap()],
        &["audit", "replay"],
        &["workload", "add", "gina-bot", "--owner", &gate.id("ana")],
    ] {
        let (status, answer, said) = run(&gate, "ana", verb);
        assert_eq!(status, 77, "{verb:?}: {answer} {said}");
    }
    gate.assert_provable();
}

// covers: MAY-2 (cli), MAY-3 (cli, api), MAY-5 (cli), MAY-8 (cli), MAY-6 (cli, api)
#[test]
fn a_policy_is_checked_tested_compared_and_put_in_force() {
    let gate = Served::start();
    let (old, new) = (gate.dir().join("policy"), gate.dir().join("new"));
    let copy = || {
        let _ = std::fs::remove_dir_all(&new);
        assert!(Command::new("cp").arg("-r").arg(&old).arg(&new).status().unwrap().success());
    };
    let change = |file: &str, what: &str, by: &str| {
        let path = new.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(before.contains(what), "{file} has no {what}");
        std::fs::write(&path, before.replace(what, by)).unwrap();
    };
    let (old, new_dir) = (old.to_str().unwrap(), new.to_str().unwrap());
    assert_eq!((run(&gate, "ana", &["policy", "check", old]).0, run(&gate, "ana", &["policy", "test", old]).0), (0, 0));
    let explained = gate.cli("ana", &["policy", "explain", "db-1", "shell"]);
    assert!(explained.to_string().contains("team-on-its-own"), "{explained}");

    // Every mistake at once; pushed, it leaves the old policy in force.
    copy();
    change("access.cedar", "Tide::Tier::\"prod\"", "Tide::Tier::\"prodd\"");
    change("tiers.toml", "max = \"12h\"", "maxx = \"12h\"");
    let (status, answer, said) = run(&gate, "ana", &["policy", "check", new_dir]);
    let mistakes = format!("{answer}{said}");
    assert!(status != 0 && mistakes.contains("prodd") && mistakes.contains("maxx"), "{mistakes}");
    let before = gate.cli("dan", &["policy", "show"])["digest"].clone();
    assert_ne!(run(&gate, "dan", &["policy", "push", new_dir]).0, 0);
    assert_eq!(gate.cli("dan", &["policy", "show"])["digest"], before);

    // Who gains is said in words, and fails where it is not declared.
    copy();
    change("access.cedar", "principal in Tide::Group::\"engineers\"", "principal is Tide::User");
    let diff = run(&gate, "ana", &["policy", "diff", old, new_dir]);
    assert!(diff.1.to_string().contains("eve") || diff.2.contains("eve"), "{diff:?}");
    assert_ne!(run(&gate, "ana", &["policy", "diff", old, new_dir, "--declared-only"]).0, 0);
    let declared = run(
        &gate,
        "ana",
        &["policy", "diff", old, new_dir, "--declared-only", "--declare", "* build-1+*", "--declare", "* warehouse-db+*"],
    );
    assert_eq!(declared.0, 0, "{declared:?}");

    // What a change withdraws is cut; what it leaves goes on.
    copy();
    for (resource, role) in [("db-1", "shell"), ("web-1", "shell")] {
        let request = asks(&gate, "ana", &[resource, role]);
        gate.cli("ben", &["request", "approve", &request]);
    }
    let (mut talk, pid, _) = runs(&gate, "ana", "db-1+shell");
    let (_kept, stays, _) = runs(&gate, "ana", "web-1+shell");
    change(
        "resources.toml",
        "tags = [\"shop\", \"database\"]\nowner = \"payments\"",
        "tags = [\"shop\", \"database\"]\nowner = \"platform\"",
    );
    let pushed = gate.cli("dan", &["policy", "push", new_dir]);
    let since = Instant::now();
    cut(&mut talk, pid, since);
    assert_eq!(pushed["withdrawn"].as_array().map(Vec::len), Some(1), "{pushed}");
    assert!(lives(stays));
    gate.assert_provable();
}

// covers: D8 (cli), A9 (cli)
#[test]
fn an_invitation_used_twice_at_the_same_moment_lets_one_in() {
    let gate = Served::start();
    for round in 0..3 {
        let invited = gate.cli("dan", &["user", "invite", &format!("gina-{round}")]);
        let join = |home: &str| {
            let home = gate.dir().join(home);
            std::fs::create_dir_all(&home).unwrap();
            let api = gate.ready["api"].as_str().unwrap();
            Command::new(program()).env_clear().env("HOME", &home).args(["join", api, text(&invited["code"])]).output().unwrap()
        };
        let (a, b) = std::thread::scope(|scope| {
            let (a, b) = (scope.spawn(|| join("gina")), scope.spawn(|| join("mallory")));
            (a.join().unwrap(), b.join().unwrap())
        });
        let won = [&a, &b].iter().filter(|out| out.status.success()).count();
        assert_eq!(won, 1, "{}{}", String::from_utf8_lossy(&a.stderr), String::from_utf8_lossy(&b.stderr));
        let lost = if a.status.success() { &b } else { &a };
        assert!(String::from_utf8_lossy(&lost.stderr).contains("was used"), "{}", String::from_utf8_lossy(&lost.stderr));
    }
}
