//! Everything that ends a session against its user's will, at each door.

use std::time::Instant;

use access::session::Protocol;
use serde_json::json;

use super::clients::{Client, Town, client_of};
use super::{ended, falls_asleep, give_back, grant, works};
use crate::demo::{CUT_WITHIN, eventually};
use crate::served::Served;

pub(super) fn cuts_at_the_end(town: &Town, client: &dyn Client) {
    let grant = grant(town, client, "10s");
    let (mut talk, session) = works(town, client);
    falls_asleep(town, client, &mut talk);
    eventually("nothing runs at the target", || (!client.is_asleep(town)).then_some(()));
    assert_ne!(talk.end(), 0, "{}", talk.heard());
    let row = ended(town, &session);
    assert_eq!((&row["end"], &row["confirmed"]), (&json!("expired"), &json!(true)), "{row}");
    let due = town.gate.get("ana", &format!("/api/v1/grants/{grant}"))["ends_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let late = row["ended_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().duration_since(due);
    assert!(late.as_millis() >= 0 && late.as_secs() < 3, "ended {late:?} after its end");
}

pub(super) fn cuts(town: &Town, client: &dyn Client, end: &str, order: fn(&Town, &dyn Client, &str, &str)) {
    let grant = grant(town, client, "10m");
    let (mut talk, session) = works(town, client);
    falls_asleep(town, client, &mut talk);
    let since = Instant::now();
    order(town, client, &grant, &session);
    eventually("nothing runs at the target", || (!client.is_asleep(town)).then_some(()));
    assert!(since.elapsed() < CUT_WITHIN, "{end}: it took {:?}", since.elapsed());
    assert_ne!(talk.end(), 0, "{end}: {}", talk.heard());
    let row = ended(town, &session);
    assert_eq!((&row["end"], &row["confirmed"]), (&json!(end), &json!(true)), "{row}");
    if end == "killed" {
        // The grant stays, and opens again.
        let (mut again, session) = works(town, client);
        again.end();
        ended(town, &session);
        give_back(town, &grant);
    }
}

pub(super) fn revoke(town: &Town, _: &dyn Client, grant: &str, _: &str) {
    let answer = town.gate.post("carla", &format!("/api/v1/grants/{grant}/revoke"), json!({"reason": "drill"}));
    assert_eq!(answer["cut"]["unconfirmed"], json!([]), "{answer}");
}

pub(super) fn kill(town: &Town, _: &dyn Client, _: &str, session: &str) {
    town.gate.cli("carla", &["session", "kill", session, "--reason", "drill"]);
}

pub(super) fn lock(town: &Town, client: &dyn Client, _: &str, _: &str) {
    let set = town.gate.post("carla", "/api/v1/locks", json!({"scope": format!("resource:{}", client.place().0), "reason": "drill"}));
    town.gate.post("carla", &format!("/api/v1/locks/{}/lift", set["lock"]["id"].as_str().unwrap()), json!({}));
}

pub(super) fn cuts_at_return(town: &Town, client: &dyn Client) {
    let first = grant(town, client, "10m");
    let (mut talk, session) = works(town, client);
    let second = grant(town, client, "10m");
    town.gate.post("ana", &format!("/api/v1/grants/{second}/activate"), json!({}));
    falls_asleep(town, client, &mut talk);
    // What another grant covers goes on under that.
    let given = town.gate.post("ana", &format!("/api/v1/grants/{first}/return"), json!({}));
    assert_eq!(given["cut"]["rehomed"], json!([session]), "{given}");
    assert!(client.is_asleep(town) && talk.child.try_wait().unwrap().is_none(), "{}", talk.heard());
    let since = Instant::now();
    give_back(town, &second);
    eventually("nothing runs at the target", || (!client.is_asleep(town)).then_some(()));
    assert!(since.elapsed() < CUT_WITHIN, "it took {:?}", since.elapsed());
    assert_ne!(talk.end(), 0, "{}", talk.heard());
    let row = ended(town, &session);
    assert_eq!((&row["grant"], &row["end"], &row["confirmed"]), (&json!(second), &json!("expired"), &json!(true)), "{row}");
}

/// At every door at once: Ana works there, one act ends it, and `again` puts it right.
pub(super) fn all_cut(town: &Town, end: &str, order: impl FnOnce(&Served), again: impl FnOnce(&Served)) {
    let works_there = |protocol: &Protocol| {
        let client = client_of(*protocol);
        grant(town, client, "10m");
        let (mut talk, session) = works(town, client);
        falls_asleep(town, client, &mut talk);
        (client, talk, session)
    };
    let working: Vec<_> = Protocol::ALL.iter().map(works_there).collect();
    order(&town.gate);
    let since = Instant::now();
    for (client, mut talk, session) in working {
        let (resource, _) = client.place();
        eventually("nothing runs at the target", || (!client.is_asleep(town)).then_some(()));
        assert!(since.elapsed() < CUT_WITHIN, "{resource}: it took {:?}", since.elapsed());
        assert_ne!(talk.end(), 0, "{resource}: {}", talk.heard());
        let row = ended(town, &session);
        assert_eq!((&row["end"], &row["confirmed"]), (&json!(end), &json!(true)), "{row}");
        let grant = town.gate.get("eve", &format!("/api/v1/grants/{}", row["grant"].as_str().unwrap()));
        assert_eq!(grant["state"], "ended", "{grant}");
    }
    again(&town.gate);
}

/// A policy without what follows a mark, and then as it was.
pub(super) fn all_cut_without(town: &Town, file: &str, mark: &str) {
    let whole = std::fs::read_to_string(town.gate.dir().join("policy").join(file)).unwrap();
    let less = whole[..whole.find(mark).unwrap()].to_owned();
    all_cut(town, "withdrawn", |gate| gate.change_policy(file, |_| less), |gate| gate.change_policy(file, |_| whole));
}
