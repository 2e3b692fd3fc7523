//! The gate's own keys are replaced, and nothing that they signed or sealed is lost.

use access::event::{Actor, EntryDraft, Event};
use access::reason::Reason;
use access::request::Door;
use access::session::{EndReason, Protocol};
use access::time::Span;
use credentials::keyring::{KeyKind, Keyring};
use credentials::sealing::SealingSource;
use evidence::log::tiles::LogDirectory;
use evidence::log::{CheckpointKey, CheckpointVerifier, OtherCheckpoint, verify};
use testkit::gate::{TestGate, ask};
use tidegate_workflow::keys::GateKey;

fn first_key(t: &TestGate) -> CheckpointVerifier {
    CheckpointVerifier::parse(&t.gate.public_keys().checkpoint_verifier.unwrap()).unwrap()
}

/// The gate's keyring as another process would open it.
fn on_disk(t: &TestGate) -> Keyring {
    Keyring::open_or_create(&t.dir().join("keys"), &SealingSource::File(t.dir().join("sealing.key")), t.gate.now()).unwrap()
}

/// The log as an auditor sees it: a copy of the directory, the published checkpoints, and one public key.
fn audited(t: &TestGate, key: &CheckpointVerifier) -> Vec<String> {
    let published = OtherCheckpoint {
        source: "elsewhere".into(),
        notes: std::fs::read(t.dir().join("outside/checkpoints")).map_err(|e| e.to_string()),
    };
    let report = verify(&LogDirectory::new(t.dir().join("audit")), key, &[published]);
    assert!(report.not_consulted.is_empty(), "{:?}", report.not_consulted);
    report.findings.iter().map(ToString::to_string).collect()
}

async fn replayed(t: &TestGate) -> Vec<String> {
    t.gate.replay().await.unwrap().differences.iter().map(ToString::to_string).collect()
}

// covers: CRED-6, EV-2, F7 (api)
#[tokio::test]
async fn every_key_is_replaced_and_the_log_still_proves_itself_to_who_holds_the_first() {
    let t = TestGate::start().await.unwrap();
    let admin = t.person("admin");
    let first = first_key(&t);
    t.gate.set_secret(admin, "db-1-root".parse().unwrap(), access::secret::Secret::new("hunter2".into())).await.unwrap();
    t.gate.checkpoint().await.unwrap();
    for round in 0..2 {
        for kind in KeyKind::ALL.into_iter().filter(|kind| !kind.is_announced_first()) {
            let replaced = t.gate.rotate_key(admin, GateKey::Of(kind)).await.unwrap();
            assert!(replaced.in_use && replaced.old != replaced.new, "{kind}");
        }
        // What was committed under the key before is still told from what somebody changed.
        assert_eq!(replayed(&t).await, Vec::<String>::new(), "round {round}");
        t.gate.set_secret(admin, "web-1-root".parse().unwrap(), access::secret::Secret::new("hunter3".into())).await.unwrap();
        t.gate.checkpoint().await.unwrap();
        assert_eq!(audited(&t, &first), Vec::<String>::new(), "round {round}");
    }
    assert_ne!(first_key(&t), first, "what everybody may know is the key of now");
    let names = t.entries().await.unwrap();
    assert_eq!(names.iter().filter(|name| *name == "keys.rotated").count(), 12);

    // And after a start on what is left.
    let t = t.restart().await.unwrap();
    t.gate.checkpoint().await.unwrap();
    assert_eq!((audited(&t, &first), replayed(&t).await), (Vec::new(), Vec::new()));
}

// covers: CRED-6, G2 (api)
#[tokio::test]
async fn only_who_keeps_the_keys_replaces_them() {
    let t = TestGate::start().await.unwrap();
    t.gate.rotate_key(t.person("admin"), GateKey::Of(KeyKind::Secrets)).await.expect("an administrator may");
    let before = t.gate.keyring().describe();
    let refusal = t.gate.rotate_key(t.person("ana"), GateKey::Of(KeyKind::Secrets)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    let refusal = t.gate.activate_key(t.person("ana"), KeyKind::TargetCa, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    assert_eq!(t.gate.keyring().describe(), before);
}

// covers: CRED-6 (api)
#[tokio::test]
async fn a_key_is_entered_before_it_is_used_and_a_crash_in_between_is_settled() {
    let t = TestGate::start().await.unwrap();
    // The gate dies after it made a key and before it entered it: the key never was.
    let unentered = on_disk(&t).prepare(KeyKind::LoginCa, t.gate.now()).unwrap();
    let t = t.restart().await.unwrap();
    assert!(t.gate.keyring().describe().iter().all(|key| key.id != unentered.id));
    assert_eq!(t.entries().await.unwrap().iter().filter(|name| name.starts_with("keys.")).count(), 0);

    // It dies after it entered the key and before it used it: the next start uses it.
    let first = first_key(&t);
    let kinds = [KeyKind::LoginCa, KeyKind::Audit, KeyKind::RowDigest];
    for kind in kinds {
        let mut keyring = on_disk(&t);
        let old = keyring.describe().into_iter().find(|key| key.kind == kind.code()).unwrap().id.to_string();
        let new = keyring.prepare(kind, t.gate.now()).unwrap();
        let public = match kind {
            KeyKind::Audit => {
                let seed = keyring.announced_audit_seed().unwrap();
                let key = CheckpointKey::from_seed(&t.gate.settings().origin(), seed.expose()).unwrap();
                Some(key.verifier().to_string())
            }
            _ => new.public,
        };
        let event = Event::KeysRotated { key: kind.to_string(), old, new: new.id.to_string(), public, trusted_until: None };
        let draft = EntryDraft::new(t.gate.now(), Actor::Gate, Door::Gate, event);
        t.gate.store().commit(store::Change::new(draft)).await.unwrap();
    }
    let t = t.restart().await.unwrap();
    assert!(KeyKind::ALL.into_iter().all(|kind| t.gate.keyring().announced(kind).is_none()));
    let described = t.gate.keyring().describe();
    for kind in kinds {
        assert_eq!(described.iter().filter(|key| key.kind == kind.code()).count(), 2, "{kind}: what was entered is done");
    }
    assert_ne!(first_key(&t), first);
    t.gate.checkpoint().await.unwrap();
    assert_eq!((audited(&t, &first), replayed(&t).await), (Vec::new(), Vec::new()));
}

// covers: CRED-6 (api)
#[tokio::test]
async fn a_target_ca_is_announced_then_used_and_the_old_one_is_trusted_for_as_long_as_said() {
    let t = TestGate::start().await.unwrap();
    let admin = t.person("admin");
    let published = || t.gate.public_keys().target_cas.into_iter().map(|key| key.id.to_string()).collect::<Vec<_>>();
    let refusal = t.gate.activate_key(admin, KeyKind::TargetCa, None).await.unwrap_err();
    assert!(refusal.to_string().contains("keys rotate target_ca"), "{refusal}");
    let announced = t.gate.rotate_key(admin, GateKey::Of(KeyKind::TargetCa)).await.unwrap();
    assert!(!announced.in_use);
    assert_eq!(published(), [announced.old.clone(), announced.new.clone()]);
    let again = t.gate.rotate_key(admin, GateKey::Of(KeyKind::TargetCa)).await.unwrap_err();
    assert!(again.to_string().contains("keys activate target_ca"), "{again}");
    let t = t.restart().await.unwrap();
    let admin = t.person("admin");
    let published = || t.gate.public_keys().target_cas.into_iter().map(|key| key.id.to_string()).collect::<Vec<_>>();
    assert_eq!(published(), [announced.old.clone(), announced.new.clone()], "a start forgets nothing that was announced");

    let activated = t.gate.activate_key(admin, KeyKind::TargetCa, Some(Span::hours(2))).await.unwrap();
    assert_eq!((activated.in_use, &activated.new), (true, &announced.new));
    assert_eq!(published(), [announced.new.clone(), announced.old.clone()]);
    t.pass(std::time::Duration::from_secs(2 * 3600)).await;
    assert_eq!(published(), std::slice::from_ref(&announced.new));
    let names = t.entries().await.unwrap();
    assert!(names.contains(&"keys.announced".to_owned()) && names.contains(&"keys.rotated".to_owned()));
}

// covers: CRED-6, G1 (api)
#[tokio::test]
async fn the_sealing_key_is_replaced_while_the_gate_runs_and_old_recordings_open() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    t.gate.submit(ana, ask("build-1", "shell")).await.unwrap();
    let opened = t.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    opened.recording.close(EndReason::Client.code(), 1).await.unwrap();
    drop(opened);
    let before = std::fs::read(t.dir().join("sealing.key")).unwrap();
    let replaced = t.gate.rotate_key(t.person("admin"), GateKey::Sealing).await.unwrap();
    assert_ne!(replaced.old, replaced.new);
    assert_ne!(std::fs::read(t.dir().join("sealing.key")).unwrap(), before);
    assert!(!t.dir().join("sealing.key.next").exists());
    for file in std::fs::read_dir(t.dir().join("keys")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(&replaced.old), "nothing is sealed by the old one any more");
    }
    let t = t.restart().await.unwrap();
    t.gate.read_recording(t.person("carla"), session, false).await.expect("what was sealed before is read");
    t.gate.rotate_key(t.person("admin"), GateKey::Of(KeyKind::Secrets)).await.expect("and keys are replaced under the new one");
    t.restart().await.unwrap();
}
