//! The gate itself: what stands behind it, its policy, its log, its secrets, and how it does.

use access::reason::Reason;
use policy::{Act as Right, Noun};

use super::things::Thing;
use super::who::{Who, administers, readers, right, sees};
use super::{Act, act, only_api};

pub(super) fn acts() -> Vec<Act> {
    [places(), policy(), log(), beside_it(), itself()].into_iter().flatten().collect()
}

/// Why nothing is pinned by command.
const PINS: &str = "the portal lists them first; a command names its resource";

/// Who sees every resource: who keeps the policy, the secrets or the keys, and who reads the log.
fn places() -> Vec<Act> {
    let keepers = [Noun::Bundle, Noun::Secret, Noun::Keys, Noun::Audit].map(|noun| Who::Permitted(Right::Administer(noun)));
    vec![
        act("list resources", "resources_list", "resource list", readers()),
        act("show a resource", "resources_show", "resource show db-1", sees([Who::Led("db-1")].into_iter().chain(keepers)))
            .on(Thing::Called("db-1")),
        only_api("pin a resource", "pins_pin", PINS, readers()).on(Thing::Called("db-1")),
        only_api("unpin a resource", "pins_unpin", PINS, readers()).on(Thing::Called("db-1")),
    ]
}

fn policy() -> Vec<Act> {
    let history = sees([Who::Permitted(Right::Administer(Noun::Audit)), administers(Noun::Bundle)]);
    let any = |nouns: &[Noun]| Who::Any(nouns.iter().map(|noun| administers(*noun)).collect());
    vec![
        act("see which policy is in force", "policy_show", "policy show", readers()),
        act("list policies that were in force", "policy_history", "policy history", readers()),
        only_api("show what a policy changed", "policy_activation", "`policy diff` compares directories", history).on(Thing::Activation),
        act("put a policy in force", "policy_push", "policy push {dir}/policy", administers(Noun::Bundle)).body(r#"{"files": {files}}"#),
        only_api("compare a policy with the one in force", "policy_diff", "`policy diff` works on directories", administers(Noun::Bundle))
            .body(r#"{"files": {files}}"#),
        act("have an answer explained", "policy_explain", "policy explain build-1 shell", readers())
            .body(r#"{"request": {"resource": "build-1", "role": "shell"}}"#),
        Act {
            name: "have another's answer explained",
            ..act(
                "",
                "policy_explain",
                "policy explain build-1 shell --who frank",
                Who::All(vec![readers(), own_or("frank", Noun::Bundle)]),
            )
        }
        .body(r#"{"who": "frank", "request": {"resource": "build-1", "role": "shell"}}"#),
        act(
            "list policies that decide nothing",
            "policy_noisy",
            "policy noisy",
            Who::All(vec![readers(), any(&[Noun::Bundle, Noun::Audit])]),
        ),
        act(
            "read what to do in an emergency",
            "policy_playbook",
            "policy playbook",
            Who::All(vec![readers(), any(&[Noun::Bundle, Noun::Audit, Noun::Review])]),
        ),
    ]
}

fn own_or(person: &'static str, noun: Noun) -> Who {
    Who::Any(vec![Who::Named(person), administers(noun)])
}

fn log() -> Vec<Act> {
    let audit = || administers(Noun::Audit);
    vec![
        act("read the log", "audit_entries", "audit list", audit()),
        act("take the log out", "audit_export?format=jsonl", "audit export --jsonl", audit()),
        act("get a checkpoint", "audit_checkpoint", "audit checkpoint", readers()),
        act("tell the log again", "audit_replay", "audit replay", audit()),
        act("ask who could", "audit_who_could?resource=db-1", "audit who-could db-1", audit()),
        act("ask who did", "audit_who_did?resource=db-1", "audit who-did db-1", audit()),
        act("erase a text of the log", "audit_erase", "audit erase {id} reason --reason drill", administers(Noun::Text))
            .body(r#"{"text": "reason", "reason": "drill"}"#)
            .on(Thing::Entry)
            .spends(),
        act("see the measures", "measures_measures", "measures", Who::All(vec![readers(), audit()])),
        act("see what shows controls", "compliance_show", "compliance", Who::All(vec![readers(), audit()])),
        act("export a session", "evidence_export", "evidence export {dir}/exported --session {id}", right(Right::Export))
            .body(r#"{"session": "{id}"}"#)
            .on(Thing::Ended),
        Act {
            name: "export what was done at a resource",
            ..act("", "evidence_export", "evidence export {dir}/exported --resource db-1", administers(Noun::Evidence))
        }
        .body(r#"{"resource": "db-1"}"#),
        act("destroy a recording", "evidence_destroy", "evidence destroy {id} --reason drill", administers(Noun::Recording))
            .body(r#"{"reason": "drill"}"#)
            .on(Thing::Ended)
            .spends(),
        act(
            "erase what is kept of somebody",
            "evidence_erase_person",
            "user erase {id} --reason drill",
            Who::All(vec![administers(Noun::Text), administers(Noun::Recording)]),
        )
        .body(r#"{"reason": "drill"}"#)
        .on(Thing::Disabled)
        .spends(),
    ]
}

fn beside_it() -> Vec<Act> {
    let see = || Who::All(vec![readers(), Who::Any(vec![administers(Noun::Audit), administers(Noun::Inventory)])]);
    let keep = || administers(Noun::Inventory);
    let until = r#"{"reason": "drill", "until": "{month}"}"#;
    vec![
        act("list ways beside the gate", "inventory_ways", "inventory list", see()),
        act("see the backlog", "inventory_backlog", "inventory backlog", see()),
        act("see when targets were looked at", "inventory_looks", "inventory drift", see()),
        act("list findings", "inventory_findings", "inventory findings", see()),
        act("import ways", "inventory_import", "inventory import known-hosts {dir}/known_hosts", keep())
            .body(r#"{"kind": "known-hosts", "content": ""}"#),
        act("enter a way", "inventory_add", "inventory add ssh {new}.example.com:22", keep())
            .body(r#"{"reach": "ssh", "target": "{new}.example.com:22"}"#),
        act("close a way", "inventory_close", "inventory close {id} --reason drill", keep())
            .body(r#"{"reason": "drill"}"#)
            .on(Thing::Way)
            .spends(),
        act("accept a way", "inventory_accept", "inventory accept {id} --reason drill --until {month}", keep())
            .body(until)
            .on(Thing::Way)
            .spends(),
        act("take a word on a way back", "inventory_reopen", "inventory reopen {id}", keep()).on(Thing::ClosedWay).spends(),
        act("look at a target", "inventory_look", "inventory drift db-1", keep()).body(r#"{"resource": "db-1"}"#),
        act("accept a finding", "inventory_accept_finding", "inventory accept {id} --reason drill", keep())
            .body(r#"{"reason": "drill"}"#)
            .on(Thing::Called("fnd_00000000000000000000000000"))
            .told(Reason::NotFound),
        act("see how far the gate is taken up", "rollout_rollout", "rollout", see()),
    ]
}

fn itself() -> Vec<Act> {
    let nodes = || administers(Noun::Node);
    let message = Thing::Called("dlv_00000000000000000000000000");
    vec![
        act("see what everybody may know", "gate_facts", "keys list", Who::Anyone),
        only_api("see whether it lives", "gate_healthz", "for who balances load", Who::Anyone),
        only_api("see whether it is ready", "gate_readyz", "for who balances load", Who::Anyone),
        only_api(
            "see it in numbers",
            "gate_metrics",
            "for who scrapes; `measures` is for people",
            Who::All(vec![readers(), administers(Noun::Audit)]),
        ),
        only_api("hear what happens, live", "events_events", "commands that wait hear it", readers()),
        act("list secrets", "secrets_list", "secret list", administers(Noun::Secret)),
        act("set a secret", "secrets_set", "secret set made-secret", administers(Noun::Secret))
            .body(r#"{"value": "opens nothing"}"#)
            .on(Thing::Called("made-secret")),
        act("destroy a secret", "secrets_remove", "secret remove {id}", administers(Noun::Secret)).on(Thing::Secret).spends(),
        act("rotate a key", "secrets_rotate", "keys rotate recording_output", administers(Noun::Keys))
            .body(r#"{"kind": "recording_output"}"#),
        act("put an announced key in use", "secrets_activate", "keys activate ssh_host", administers(Noun::Keys))
            .body(r#"{"kind": "ssh_host"}"#)
            .told(Reason::Invalid),
        act("list messages to the outside", "outbox_list", "outbox list", nodes()),
        act("show a message", "outbox_show", "outbox show {id}", nodes()).on(message).told(Reason::NotFound),
        act("send a message again", "outbox_replay", "outbox replay {id}", nodes()).on(message).told(Reason::NotFound),
        act("see where the log goes", "streams_list", "stream list", nodes()),
    ]
}
