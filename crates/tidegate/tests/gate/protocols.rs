//! What every door does, whatever is spoken at it: one list of duties, and each protocol there is goes through all of it with its own stock
//! client, against a real target. A protocol without a client here does not compile; a duty that one can't have says why.

mod clients;
mod cuts;

use std::process::{Command, Output, Stdio};

use access::session::Protocol;
use serde_json::{Value, json};
use testkit::{mariadb, postgres};

use self::clients::{Client, Town, client_of};
use self::cuts::{all_cut, all_cut_without, cuts, cuts_at_return, cuts_at_the_end, kill, lock, revoke};
use crate::contained::shop_in;
use crate::demo::{Talk, eventually};
use crate::disks::Mounted;
use crate::served::Served;

/// What a door has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// It refuses who may not, and lets who may ask, within bounds.
    RefusesAndAsks,
    /// It opens once it is agreed to.
    OpensWhenAgreed,
    /// What is done there is recorded, searched for, and exported as proof.
    RecordsAndProves,
    /// Who may, watches it live.
    IsWatched,
    /// It warns before the end.
    Warns,
    /// More time drops nothing.
    Extends,
    /// It cuts at the end of the grant, …
    CutsAtTheEnd,
    /// … at its revocation, …
    CutsAtRevocation,
    /// … when somebody ends the session, …
    CutsAtKill,
    /// … at a lock, …
    CutsAtLock,
    /// … and when the grant is given back, unless another covers it.
    CutsAtReturn,
}

const DUTIES: &[Duty] = &[
    Duty::RefusesAndAsks,
    Duty::OpensWhenAgreed,
    Duty::RecordsAndProves,
    Duty::IsWatched,
    Duty::Warns,
    Duty::Extends,
    Duty::CutsAtTheEnd,
    Duty::CutsAtRevocation,
    Duty::CutsAtKill,
    Duty::CutsAtLock,
    Duty::CutsAtReturn,
];

/// What is done about a duty.
enum Done {
    By(fn(&Town, &dyn Client)),
    /// The protocol has no place for it.
    NotThere(&'static str),
}

fn done(duty: Duty, protocol: Protocol) -> Done {
    match (duty, protocol) {
        (Duty::RefusesAndAsks, _) => Done::By(refuses_and_asks),
        (Duty::OpensWhenAgreed, _) => Done::By(opens_when_agreed),
        (Duty::RecordsAndProves, _) => Done::By(records_and_proves),
        (Duty::IsWatched, _) => Done::By(is_watched),
        (Duty::Warns, Protocol::Ssh | Protocol::Postgres) => Done::By(warns),
        (Duty::Warns, Protocol::Mysql) => Done::NotThere("a server says nothing there that it was not asked for"),
        (Duty::Extends, _) => Done::By(extends),
        (Duty::CutsAtTheEnd, _) => Done::By(cuts_at_the_end),
        (Duty::CutsAtRevocation, _) => Done::By(|town, client| cuts(town, client, "revoked", revoke)),
        (Duty::CutsAtKill, _) => Done::By(|town, client| cuts(town, client, "killed", kill)),
        (Duty::CutsAtLock, _) => Done::By(|town, client| cuts(town, client, "locked", lock)),
        (Duty::CutsAtReturn, _) => Done::By(cuts_at_return),
    }
}

/// The one live session at a place, with its id.
fn live(town: &Town, client: &dyn Client) -> Option<String> {
    let (resource, _) = client.place();
    let sessions = town.gate.get("eve", &format!("/api/v1/sessions?all=true&state=live&resource={resource}"));
    sessions["items"].as_array().unwrap().first().map(|row| row["id"].as_str().unwrap().to_owned())
}

fn ended(town: &Town, session: &str) -> Value {
    eventually("its end is entered", || {
        let row = town.gate.get("eve", &format!("/api/v1/sessions/{session}"));
        (row["state"] == "ended").then_some(row)
    })
}

/// Ana's grant there, agreed to by Ben.
fn grant(town: &Town, client: &dyn Client, time: &str) -> String {
    let (resource, role) = client.place();
    town.gate.grant("ana", resource, role, time)
}

fn give_back(town: &Town, grant: &str) {
    town.gate.post("ana", &format!("/api/v1/grants/{grant}/return"), json!({}));
}

/// Ana sits down, and the target answers her; gives her session too.
fn works(town: &Town, client: &dyn Client) -> (Talk, String) {
    let mut talk = Talk::start(client.sits(town, "ana"));
    says(&mut talk, client, "begun");
    let session = eventually("her session", || live(town, client));
    (talk, session)
}

fn says(talk: &mut Talk, client: &dyn Client, word: &str) {
    talk.say(&client.line(word).0);
    talk.until(&format!("{word}-42"));
}

/// The target is busy for her.
fn falls_asleep(town: &Town, client: &dyn Client, talk: &mut Talk) {
    talk.say(&client.sleeps(town));
    eventually("it runs at the target", || client.is_asleep(town).then_some(()));
}

fn refuses_and_asks(town: &Town, client: &dyn Client) {
    let (resource, role) = client.place();
    let requests = || town.gate.get("ana", &format!("/api/v1/requests?resource={resource}"))["items"].as_array().unwrap().clone();
    // Who has no path there cannot tell it from what is not there, an auditor no more than a contractor who was not given it.
    for person in ["eve", "frank"] {
        let refused = client.sits(town, person).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            said.contains("There is no such resource") && refused.stdout.is_empty(),
            "{person} {resource}: {:?} {said}",
            refused.status
        );
    }
    // Longer than its tier names the longest.
    let long = client.asks(town, Some("9h"));
    long.until("longer than this access may last");
    long.until("2h");
    drop(long);
    assert!(requests().is_empty(), "{resource}");
    // Without a time it is the tier's; asked twice it is one request, and nobody is in meanwhile.
    for _ in 0..2 {
        let asked = client.asks(town, None);
        asked.until("waits for approval");
        eventually("it is asked", || (requests().len() == 1).then_some(()));
        assert!(live(town, client).is_none(), "{resource}");
    }
    let request = &requests()[0];
    assert_eq!((&request["state"], &request["reason"], &request["role"]), (&json!("pending"), &json!("slow"), &json!(role)), "{request}");
    let door = request["door"].as_str().unwrap();
    assert!(Protocol::ALL.iter().any(|protocol| protocol.code() == door), "{request}");
}

fn opens_when_agreed(town: &Town, client: &dyn Client) {
    let (resource, role) = client.place();
    let pending = town.gate.get("ana", &format!("/api/v1/requests?state=pending&resource={resource}"))["items"][0]["id"].clone();
    let agreed = town.gate.post("ben", &format!("/api/v1/requests/{}/approve", pending.as_str().unwrap()), json!({}));
    let grant = agreed["grant"]["id"].as_str().unwrap().to_owned();
    let row = || town.gate.get("ana", &format!("/api/v1/grants/{grant}"));
    assert!(row()["starts_at"].is_null() && row()["length"] == "1h", "its clock begins where one connects: {}", row());
    let (mut talk, session) = works(town, client);
    let open = row();
    assert!(open["state"] == "active" && open["starts_at"].is_string() && open["ends_at"].is_string(), "{open}");
    assert_eq!((&open["resource"], &open["role"], &open["approvers"][0]["username"]), (&json!(resource), &json!(role), &json!("ben")));
    talk.end();
    let row = ended(town, &session);
    assert_eq!((&row["grant"], &row["end"]), (&json!(grant), &json!("client")), "{row}");
    give_back(town, &grant);
    // One log has all of it.
    let (_, log) = town.gate.api("eve", "GET", &format!("/api/v1/audit/entries?about={session}&limit=100"), None);
    for event in ["session.opened", "session.ended"] {
        assert!(log.to_string().contains(event), "{event}: {log}");
    }
}

fn records_and_proves(town: &Town, client: &dyn Client) {
    let grant = grant(town, client, "10m");
    let (mut talk, session) = works(town, client);
    let (line, shown) = client.line("kept");
    talk.say(&line);
    talk.until("kept-42");
    talk.end();
    let row = ended(town, &session);
    give_back(town, &grant);
    assert!(row["recording_digest"].is_string() && row["recording_chunks"].as_u64() > Some(0), "{row}");
    // Nobody reads it in the file, who may does through the gate, and to others there is none.
    let file = town.gate.dir().join(format!("data/recordings/{}.tgr", row["recording"].as_str().unwrap()));
    let bytes = std::fs::read(file).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"kept"), "it can be read");
    let replayed = town.gate.tidegate("carla", &["session", "replay", &session]);
    let heard = String::from_utf8_lossy(&replayed.stdout).into_owned() + &String::from_utf8_lossy(&replayed.stderr);
    assert!(replayed.status.success() && heard.contains(&shown), "{heard}");
    let path = format!("/api/v1/sessions/{session}/recording");
    assert_eq!((town.gate.api("ana", "GET", &path, None).0, town.gate.api("frank", "GET", &path, None).0), (200, 404));
    let other = town.gate.api("dan", "GET", &path, None).0;
    assert_eq!(other, 403, "an administrator sees that there is one, and reads none");
    // One file proves it.
    let proof = town.gate.dir().join(format!("{session}.proof"));
    // The gate writes one export of somebody's at a time, and the other protocols have theirs.
    let export = |person: &str| {
        eventually("the others are done", || {
            let done = town.gate.tidegate(person, &["evidence", "export", "--session", &session, proof.to_str().unwrap()]);
            (done.status.code() != Some(75)).then_some(done)
        })
    };
    let exported = export("eve");
    assert!(exported.status.success(), "{exported:?}");
    let verify = |file: &std::path::Path| -> Output {
        let key = town.gate.ready["checkpoint_verifier"].as_str().unwrap();
        Command::new(crate::known::program()).env_clear().args(["evidence", "verify"]).arg(file).args(["--key", key]).output().unwrap()
    };
    let good = verify(&proof);
    assert!(good.status.success(), "{good:?}");
    let mut whole = std::fs::read(&proof).unwrap();
    let at = whole.windows(16).position(|window| window == b"\"session.opened\"").unwrap() + 4;
    whole[at] ^= 1;
    std::fs::write(&proof, &whole).unwrap();
    assert!(!verify(&proof).status.success(), "a flipped byte");
    assert_eq!(export("ben").status.code(), Some(77));
}

fn is_watched(town: &Town, client: &dyn Client) {
    let grant = grant(town, client, "10m");
    let (mut ana, session) = works(town, client);
    let watch = |person: &str| {
        let mut watch = Command::new(crate::known::program());
        watch.env("TIDEGATE_URL", town.gate.ready["api"].as_str().unwrap()).env("HOME", town.gate.dir());
        watch.env("TIDEGATE_TOKEN", town.gate.person(person)["token"].as_str().unwrap()).args(["session", "watch", &session]);
        watch.stdout(Stdio::piped()).stderr(Stdio::piped());
        Talk::start(watch)
    };
    let carla = watch("carla");
    carla.until("Watching");
    let shown = client.line("seen").1;
    eventually("carla sees what ana does", || {
        says(&mut ana, client, "seen");
        carla.heard().contains(&shown).then_some(())
    });
    // To whom it is nothing there is nothing, and who may watch neither types nor ends.
    assert_eq!(watch("frank").end(), 77);
    let kill = town.gate.api("eve", "POST", &format!("/api/v1/sessions/{session}/kill"), Some(json!({"reason": "x"})));
    assert_eq!(kill.0, 403, "{kill:?}");
    says(&mut ana, client, "still");
    ana.end();
    ended(town, &session);
    give_back(town, &grant);
}

fn warns(town: &Town, client: &dyn Client) {
    let grant = grant(town, client, "30s");
    let (mut talk, session) = works(town, client);
    eventually("it says when it ends", || {
        // What a database says beside its answers comes with the next of them.
        says(&mut talk, client, "anything");
        talk.heard().to_lowercase().contains("this session ends in ").then_some(())
    });
    talk.end();
    ended(town, &session);
    give_back(town, &grant);
}

fn extends(town: &Town, client: &dyn Client) {
    let (resource, role) = client.place();
    let grant = grant(town, client, "15s");
    let (mut talk, session) = works(town, client);
    let row = || town.gate.get("ana", &format!("/api/v1/grants/{grant}"));
    let before: jiff::Timestamp = row()["ends_at"].as_str().unwrap().parse().unwrap();
    // A new decision at the present cost, for the same and no more.
    let asked = town.gate.tidegate("ana", &["grant", "extend", &grant, "--for", "10m", "--reason", "more", "--json"]);
    assert_eq!(asked.status.code(), Some(75), "{asked:?}");
    let asked: Value = serde_json::from_slice(&asked.stdout).unwrap();
    town.gate.post("ben", &format!("/api/v1/requests/{}/approve", asked["request"]["id"].as_str().unwrap()), json!({}));
    let after = row();
    assert!(after["ends_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() > before, "{after}");
    assert_eq!((&after["resource"], &after["role"]), (&json!(resource), &json!(role)), "{after}");
    #[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
    let now = jiff::Timestamp::now;
    eventually("the first end is past", || (now() > before).then_some(()));
    says(&mut talk, client, "longer");
    assert_eq!(live(town, client).as_ref(), Some(&session), "the same session");
    talk.end();
    ended(town, &session);
    give_back(town, &grant);
}

/// What is asked there, and its request.
fn asked(town: &Town, client: &dyn Client) -> String {
    let (resource, _) = client.place();
    client.asks(town, None).until("waits for approval");
    let pending = town.gate.get("ana", &format!("/api/v1/requests?state=pending&resource={resource}"));
    pending["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{resource}: {pending}")).to_owned()
}

/// What nobody answers is over, and opens nothing to whoever agrees too late.
fn forgets_the_unanswered(town: &Town, client: &dyn Client) {
    let request = asked(town, client);
    eventually("its time is over", || (town.gate.get("ana", &format!("/api/v1/requests/{request}"))["state"] == "expired").then_some(()));
    let (status, answer) = town.gate.api("ben", "POST", &format!("/api/v1/requests/{request}/approve"), Some(json!({})));
    assert!(status == 409 && answer["grant"].is_null(), "{status} {answer}");
    // Whoever comes back is told so while that is fresh, or asks anew; in they are not.
    let back = client.asks(town, None);
    eventually("an answer", || ["waits for approval", "in time"].iter().any(|said| back.heard().contains(said)).then_some(()));
    assert!(live(town, client).is_none());
}

/// What is edited is agreed to anew, by everybody.
fn forgets_who_agreed_to_something_else(town: &Town, client: &dyn Client) {
    let request = asked(town, client);
    let agrees = |who: &str| town.gate.post(who, &format!("/api/v1/requests/{request}/approve"), json!({}))["grant"]["id"].clone();
    assert!(agrees("ben").is_null(), "it takes two");
    town.gate.cli("ana", &["request", "edit", &request, "--reason", "something else"]);
    assert!(agrees("carla").is_null(), "ben agreed to something else");
    assert_eq!(asked(town, client), request);
    let grant = agrees("ben");
    let (mut talk, session) = works(town, client);
    talk.end();
    ended(town, &session);
    give_back(town, grant.as_str().unwrap());
}

// covers: ASK-1 (psql, mysql), ASK-2 (psql, mysql), ASK-8 (psql, mysql), GRANT-1 (psql, mysql), GRANT-2 (psql, mysql), GRANT-3 (psql, mysql)
// covers: GRANT-4 (psql, mysql), GRANT-5 (psql, mysql), GRANT-6 (psql, mysql), B2 (psql, mysql), B4 (psql, mysql), B5 (psql, mysql)
// covers: MAY-8 (psql, mysql), WHO-7 (psql, mysql), ASK-7 (psql, mysql), C3 (psql, mysql), D1 (psql, mysql), D2 (psql, mysql), EV-1 (psql, mysql), EV-3 (psql, mysql), EV-4 (psql, mysql), SES-1 (psql, mysql), F4 (psql, mysql), F6 (psql, mysql)
#[test]
pub(crate) fn every_door_does_what_every_door_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let orders = runtime.block_on(postgres::Database::fresh()).unwrap();
    let stock = runtime.block_on(mariadb::Database::fresh()).unwrap();
    let gate = shop_in(&orders, &stock, "approvals = [\"on-call-or-lead\"]\nrecord = \"content\"\nwait_at_connect = \"1s\"");
    let town = Town { gate, orders, stock };
    std::thread::scope(|scope| {
        for protocol in Protocol::ALL {
            let town = &town;
            scope.spawn(move || {
                for duty in DUTIES {
                    match done(*duty, *protocol) {
                        Done::By(does) => {
                            let client = client_of(*protocol);
                            let what = std::panic::AssertUnwindSafe(|| does(town, client));
                            let held = std::panic::catch_unwind(what).is_ok();
                            assert!(held, "{} {duty:?}\n{}", protocol.code(), town.gate.log());
                        }
                        Done::NotThere(why) => assert!(why.len() > 20, "{} {duty:?}", protocol.code()),
                    }
                }
            });
        }
    });
    // The path, and then the resource, goes out of the policy; and Ana herself is disabled.
    all_cut_without(&town, "access.cedar", "@id(\"engineers-on-watched\")");
    all_cut_without(&town, "resources.toml", "[[resource]]\nname = \"sales-db\"");
    let account = |act: &str| format!("/api/v1/users/{}/{act}", town.gate.id("ana"));
    let disabled = |gate: &Served| drop(gate.post("dan", &account("disable"), json!({"reason": "drill"})));
    all_cut(&town, "locked", disabled, |gate| drop(gate.post("dan", &account("enable"), json!({}))));
    // What cannot be recorded does not open, and then it does.
    for protocol in Protocol::ALL {
        grant(&town, client_of(*protocol), "10m");
    }
    let shut = Mounted::read_only(&town.gate.dir().join("data/recordings"));
    for protocol in Protocol::ALL {
        let mut talk = Talk::start(client_of(*protocol).sits(&town, "ana"));
        talk.until("cannot be recorded");
        assert_ne!(talk.end(), 0, "{}", protocol.code());
    }
    drop(shut);
    for protocol in Protocol::ALL {
        let client = client_of(*protocol);
        let (mut talk, session) = works(&town, client);
        talk.end();
        give_back(&town, ended(&town, &session)["grant"].as_str().unwrap());
    }
    let tier = |said: &str, now: &str| {
        town.gate.change_policy("tiers.toml", |tiers| {
            let (others, watched) = tiers.split_at(tiers.find("name = \"watched\"").unwrap());
            assert!(watched.contains(said), "{watched}");
            format!("{others}{}", watched.replace(said, now))
        });
    };
    tier("\"on-call-or-lead\"", "\"lead-and-security\"");
    for protocol in Protocol::ALL {
        forgets_who_agreed_to_something_else(&town, client_of(*protocol));
    }
    tier("wait_at_connect", "pending_for = \"6s\"\nwait_at_connect");
    for protocol in Protocol::ALL {
        forgets_the_unanswered(&town, client_of(*protocol));
    }
    town.gate.assert_provable();
}
