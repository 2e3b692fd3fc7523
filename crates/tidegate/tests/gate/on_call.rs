//! On call, through the whole program: Ben may approve only while PagerDuty has him on call, and nobody while it is not known.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use testkit::on_call::{OnCallServer, TOKEN};

use crate::demo::{Talk, eventually};
use crate::known::program;
use crate::served::{Plan, Served};

/// A tier of one machine where those on call for `shop` agree, and nobody else.
pub(crate) fn shop_policy() -> Vec<(&'static str, String)> {
    let schedule = "[[on_call]]\nname = \"shop\"\nsource = \"pager\"\nlevel = 1\n";
    let plan = "[[plan]]\nname = \"shop-on-call\"\n[[plan.stage]]\nseats = [\"on-call:shop\"]\n";
    let tier = "[[tier]]\nname = \"shop\"\nmax = \"1h\"\ndefault = \"10m\"\napprovals = [\"shop-on-call\"]\n";
    let resource = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{login}\"\n\
                    tier = \"shop\"\nowner = \"payments\"\non_call = \"shop\"\nhost_keys = [\"{host_key}\"]\n";
    let path = "@id(\"shop\")\npermit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in \
                Tide::Tier::\"shop\");\n";
    vec![
        ("people.toml", schedule.to_owned()),
        ("approvals.toml", plan.to_owned()),
        ("tiers.toml", tier.to_owned()),
        ("resources.toml", resource.to_owned()),
        ("access.cedar", path.to_owned()),
    ]
}

fn settings(server: &OnCallServer) -> String {
    format!(
        "[[oncall]]\nname = \"pager\"\nkind = \"pagerduty\"\nurl = \"{}\"\naddresses = [\"127.0.0.1\"]\ntoken_file = \"pager.token\"\n\
         refresh = \"5s\"\nstale_after = \"15s\"\n[[oncall.schedule]]\nservice = \"shop\"\nescalation_policy = \"PSHOP\"\n\
         [oncall.people]\n\"PBEN\" = \"ben\"\n\"carla@example.com\" = \"carla\"\n",
        server.url
    )
}

/// Waits until this is who is on call, or nobody knows.
fn on_call(gate: &Served, who: Option<&str>) -> Value {
    eventually("who is on call is as the source says", || {
        let shown = gate.cli("ana", &["oncall", "show", "shop"]);
        let is = match who {
            Some(who) => shown["people"][0]["username"] == who,
            // A moment after its last answer is too old, why there is no newer one is said too.
            None => shown["known"] == false && shown["unknown"].as_str().is_some_and(|why| why.contains("HTTP 500")),
        };
        is.then_some(shown)
    })
}

// covers: OK-6 (ssh, cli, api), OK-4 (cli), MAY-3 (ssh)
#[test]
fn ben_approves_only_while_he_is_on_call() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PSHOP", 1, "PCARLA", "carla@example.com"), ("PSHOP", 2, "PBEN", "ben@example.com")]);
    let gate = Served::with(Plan {
        policy: shop_policy(),
        settings: settings(&server),
        files: vec![("pager.token", format!("{TOKEN}\n"))],
        ..Plan::default()
    });
    on_call(&gate, Some("carla"));
    let mut ana = Talk::start(gate.ssh("ana", "extra-1+shell", &["-tt"], &[]));
    ana.until("Reason: ");
    ana.say("the disk is full\r");
    ana.until("For how long");
    ana.say("\r");
    ana.until("waits for approval");
    let request = eventually("her request", || gate.get("ana", "/api/v1/requests?of=mine")["items"][0]["id"].as_str().map(str::to_owned));
    let shown = gate.get("ana", &format!("/api/v1/requests/{request}"));
    assert_eq!(shown["on_call"][0]["people"][0]["username"], json!("carla"), "{shown}");
    let words = gate.tidegate("ana", &["request", "show", &request]);
    assert!(String::from_utf8_lossy(&words.stdout).contains("on call for shop: carla (level 1)"), "{words:?}");

    // The second level does not count here.
    let refused = gate.tidegate("ben", &["request", "approve", &request]);
    assert!(!refused.status.success(), "{refused:?}");
    // They change over: now it is he, and not she.
    server.on_call(&[("PSHOP", 1, "PBEN", "ben@example.com")]);
    on_call(&gate, Some("ben"));
    let refused = gate.tidegate("carla", &["request", "approve", &request]);
    assert!(!refused.status.success(), "{refused:?}");
    let agreed = gate.tidegate("ben", &["request", "approve", &request]);
    assert!(agreed.status.success(), "{agreed:?}");
    eventually("her session", || gate.live_session("ana"));
    ana.say("echo in-$((6*7))\r");
    ana.until("in-42");

    // The source goes away: first it is said, then nobody is on call; the session goes on.
    server.down(true);
    let unknown = on_call(&gate, None);
    assert!(unknown["unknown"].as_str().unwrap().contains("HTTP 500"), "{unknown}");
    ana.say("echo still-$((6*7))\r");
    ana.until("still-42");
    ana.say("exit\r");
    ana.end();
    gate.post("ana", &format!("/api/v1/grants/{}/return", grant_of(&gate, &request)), json!({}));
    let asked = gate.tidegate("ana", &["request", "create", "extra-1+shell", "--reason", "again", "--json"]);
    let asked: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let again = asked["request"]["id"].as_str().unwrap();
    let shown = gate.get("ana", &format!("/api/v1/requests/{again}"));
    assert!(shown["on_call"][0]["unknown"].as_str().unwrap().contains("HTTP 500"), "{shown}");
    let refused = gate.tidegate("ben", &["request", "approve", again]);
    assert!(!refused.status.success(), "{refused:?}");

    // The log says what was believed when; the doctor says what is wrong.
    let entries = gate.get("eve", "/api/v1/audit/entries?event=oncall.changed");
    assert!(entries["items"].as_array().unwrap().len() >= 3, "{entries}");
    let doctor = || {
        let said = Command::new(program()).args(["doctor", "--config"]).arg(gate.dir().join("tidegate.toml")).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    assert!(doctor().contains("fail  on call: `pager`, `shop`: it answered with HTTP 500"), "{}", doctor());
    server.down(false);
    assert!(doctor().contains("ok    on call: `pager`, `shop`: 1 on call"), "{}", doctor());
    let config = fs::read_to_string(gate.dir().join("tidegate.toml")).unwrap();
    fs::write(gate.dir().join("tidegate.toml"), config.replace("service = \"shop\"", "service = \"shopp\"")).unwrap();
    assert!(doctor().contains("did you mean `shopp`?"), "{}", doctor());
    on_call(&gate, Some("ben"));
    assert!(gate.tidegate("ben", &["request", "approve", again]).status.success());
    gate.assert_provable();
}

fn grant_of(gate: &Served, request: &str) -> String {
    let shown = gate.get("ana", &format!("/api/v1/requests/{request}"));
    shown["grant"]["id"].as_str().unwrap_or_else(|| panic!("no grant: {shown}")).to_owned()
}
