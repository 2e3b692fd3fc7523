//! Tickets, through the whole program: with a closed one nothing is asked of anybody, with an open one the door opens.

use serde_json::{Value, json};
use testkit::tracker::{TOKEN, TrackerServer, USER};
use testkit::web::Reply;

use crate::demo::{Talk, eventually};
use crate::served::{Plan, Served};

fn plan(server: &TrackerServer) -> Plan {
    let tier = "[[tier]]\nname = \"changes\"\nmax = \"1h\"\ndefault = \"10m\"\napprovals = [\"on-call-or-lead\"]\nticket = \"open\"\n";
    let resource = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{login}\"\n\
                    tier = \"changes\"\nowner = \"payments\"\nhost_keys = [\"{host_key}\"]\n";
    let path = "@id(\"changes\")\npermit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in \
                Tide::Tier::\"changes\");\n";
    let settings = format!(
        "[[tracker]]\nname = \"jira\"\nkind = \"jira\"\nurl = \"{}\"\nprojects = [\"OPS\"]\nuser = \"{USER}\"\ntoken_file = \"jira.token\"\n\
         addresses = [\"127.0.0.1\"]\n",
        server.url
    );
    Plan {
        policy: vec![("tiers.toml", tier.to_owned()), ("resources.toml", resource.to_owned()), ("access.cedar", path.to_owned())],
        settings,
        files: vec![("jira.token", format!("{TOKEN}\n"))],
        ..Plan::default()
    }
}

// covers: ASK-5 (ssh, cli, api)
#[test]
fn a_closed_ticket_is_refused_and_an_open_one_opens_the_door() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    server.jira("OPS-2", "Done", "done");
    let gate = Served::with(plan(&server));
    let asks = |ticket: &str| {
        let asked = gate.tidegate("ana", &["request", "create", "extra-1+shell", "--reason", "a rollout", "--ticket", ticket, "--json"]);
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        (asked.status.code().unwrap(), serde_json::from_slice::<Value>(&asked.stdout).unwrap_or(Value::Null), said)
    };
    let (status, _, said) = asks("OPS-2");
    assert!(status == 77 && said.contains("ticket_not_open") && said.contains("`OPS-2` is `Done`"), "{status} {said}");
    let (status, _, said) = asks("OPS-2/../OPS-1");
    assert!(status == 77 && said.contains("is no ticket like `OPS-123`"), "{status} {said}");
    server.down(true);
    let (status, _, said) = asks("OPS-1");
    assert!(status == 75 && said.contains("tracker_unreachable") && said.contains("HTTP 500"), "{status} {said}");
    server.down(false);
    let (status, asked, said) = asks("OPS-1");
    assert_eq!((status, &asked["answer"]), (75, &json!("needs_approval")), "{said}");
    assert_eq!(asked["request"]["ticket_url"], json!(format!("{}/browse/OPS-1", server.url)), "{asked}");
    let request = asked["request"]["id"].as_str().unwrap();

    // Closed before Ben looks: he can't agree; open again: he can, and her shell opens.
    server.jira("OPS-1", "Done", "done");
    let refused = gate.tidegate("ben", &["request", "approve", request]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("`OPS-1` is `Done`"), "{refused:?}");
    server.jira("OPS-1", "In Progress", "indeterminate");
    assert!(gate.tidegate("ben", &["request", "approve", request]).status.success());
    server.jira("OPS-1", "Done", "done");
    let shut = gate.ssh("ana", "extra-1+shell", &[], &["echo in"]).output().unwrap();
    assert!(!shut.status.success() && String::from_utf8_lossy(&shut.stderr).contains("`OPS-1` is `Done`"), "{shut:?}");
    server.jira("OPS-1", "In Progress", "indeterminate");
    let mut ana = Talk::start(gate.ssh("ana", "extra-1+shell", &["-tt"], &[]));
    eventually("her session", || gate.live_session("ana"));
    ana.say("echo in-$((6*7))\r");
    ana.until("in-42");
    // Nobody is thrown out because somebody closes the ticket.
    server.jira("OPS-1", "Done", "done");
    ana.say("echo still-$((6*7))\r");
    ana.until("still-42");
    ana.say("exit\r");
    ana.end();
    gate.assert_provable();
}

// covers: ASK-5 (cli), GRANT-1 (cli)
#[test]
fn a_grant_whose_clock_does_not_start_is_told_of_all_the_same() {
    let server = TrackerServer::start().unwrap();
    // One that takes no comments: it is asked, and nothing else.
    let open = json!({ "result": { "state": "implement" } });
    server.json("/api/changes/CHG-1", open.clone());
    let mut plan = plan(&server);
    plan.policy[0].1 = plan.policy[0].1.replace("\"on-call-or-lead\"", "");
    plan.settings = format!(
        "[[tracker]]\nname = \"changes\"\nkind = \"json\"\nurl = \"{}/api/changes/{{id}}\"\nprefixes = [\"CHG\"]\n\
         pointer = \"/result/state\"\nopen = [\"implement\"]\ntoken_file = \"jira.token\"\naddresses = [\"127.0.0.1\"]\n",
        server.url
    );
    let gate = Served::with(plan);
    let asks = || {
        let wish = ["request", "create", "extra-1+shell", "--reason", "a rollout", "--ticket", "CHG-1", "--activate", "--json"];
        let asked = gate.tidegate("ana", &wish);
        (asked.status.code().unwrap(), serde_json::from_slice::<Value>(&asked.stdout).unwrap())
    };
    let (status, asked) = asks();
    assert_eq!((status, &asked["grant"]["state"], &asked["not_activated"]), (0, &json!("active"), &Value::Null), "{asked}");
    gate.post("ana", &format!("/api/v1/grants/{}/return", asked["grant"]["id"].as_str().unwrap()), json!({}));
    // The tracker falls silent between the question and the start of the clock.
    server.trouble([Reply::json(&open), Reply::status(500)]);
    let (status, asked) = asks();
    assert_eq!((status, &asked["grant"]["state"]), (77, &json!("ready")), "{asked}");
    assert!(asked["not_activated"].as_str().unwrap().contains("HTTP 500"), "{asked}");
    let id = asked["grant"]["id"].as_str().unwrap();
    assert_eq!(gate.post("ana", &format!("/api/v1/grants/{id}/activate"), json!({}))["state"], "active");
}
