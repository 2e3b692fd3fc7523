//! What was kept is erased, and the log still verifies, and the replay still stands.

use access::event::Event;
use access::ids::{EntryId, SessionId};
use access::reason::Reason;
use access::session::{ClosedSession, EndReason, Protocol};
use evidence::bundle;
use evidence::log::CheckpointVerifier;
use evidence::log::tiles::LogDirectory;
use store::{EntryFilter, EntryPage};
use testkit::gate::{TestGate, ask};
use tidegate_workflow::export::{Along, Selection};

const PERSONAL: &str = "my doctor says it hurts";

async fn entry_of(t: &TestGate, event: &str) -> EntryId {
    let filter = EntryFilter { name: Some(event.into()), ..EntryFilter::default() };
    let page = EntryPage { limit: 1, after: None, newest_first: true };
    t.gate.store().entries(&filter, page).await.unwrap().remove(0).entry.id
}

fn verifier(t: &TestGate) -> CheckpointVerifier {
    CheckpointVerifier::parse(&t.gate.public_keys().checkpoint_verifier.unwrap()).unwrap()
}

/// Whether a text stands anywhere below the gate's directory.
fn is_on_disk(t: &TestGate, text: &str) -> bool {
    std::fs::read_dir(t.dir()).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_file()).any(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|w| w == text.as_bytes())
    })
}

// covers: EV-7 (api)
#[tokio::test]
async fn a_personal_text_is_erased_from_log_row_and_disk() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("db-1", "debug");
    wish.reason = Some(PERSONAL.into());
    let request = t.gate.submit(t.person("ana"), wish).await.unwrap().request;
    t.gate.checkpoint().await.unwrap();
    let entry = entry_of(&t, "request.submitted").await;
    assert!(is_on_disk(&t, PERSONAL));

    // A right of its own: an administrator who keeps the gate has it not.
    let refusal = t.gate.erase_text(t.person("admin"), entry, "reason", "she asked").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    let security = t.person("carla");
    let why = t.gate.erase_text(security, entry, "reason", " ").await.unwrap_err();
    assert_eq!(why.reason, Reason::Invalid);
    let other = t.gate.erase_text(security, entry, "note", "she asked").await.unwrap_err();
    assert!(other.to_string().contains("just from, reason"), "{other}");
    t.gate.erase_text(security, entry, "reason", "she asked").await.unwrap();

    assert_eq!(t.gate.store().request(request.id).await.unwrap().unwrap().reason, None);
    assert_eq!(t.gate.store().entry(entry).await.unwrap().unwrap().entry.text("reason"), None);
    assert!(!is_on_disk(&t, PERSONAL), "not in the store, nor in its journal");
    assert!(t.gate.erase_text(security, entry, "reason", "again").await.is_err());
    let erased = t.gate.store().entry(entry_of(&t, "text.erased").await).await.unwrap().unwrap().entry;
    assert_eq!((erased.event.clone(), erased.text("reason")), (Event::TextErased { entry, name: "reason".into() }, Some("she asked")));
    // The request goes on, the log verifies, the replay stands.
    t.gate.vote(t.person("ben"), request.id, access::approval::Decision::Approve, None).await.unwrap();
    t.gate.checkpoint().await.unwrap();
    let report = evidence::log::verify(&LogDirectory::new(t.dir().join("audit")), &verifier(&t), &[]);
    assert_eq!(report.findings, []);
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
}

async fn ended_session(t: &TestGate) -> SessionId {
    let ana = t.person("ana");
    t.gate.submit(ana, ask("build-1", "shell")).await.unwrap();
    let opened = t.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let live = t.gate.destroy_recording(t.person("carla"), session, "too early").await.unwrap_err();
    assert!(live.to_string().contains("end it first"), "{live}");
    let closed = opened.recording.close("client", 1).await.unwrap();
    let digest = closed.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let recording = Some((closed.chunks, digest));
    t.gate.close(ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording }).await;
    session
}

// covers: EV-7 (api)
#[tokio::test]
async fn a_destroyed_recording_is_read_by_nobody_and_its_proof_stands() {
    let t = TestGate::start().await.unwrap();
    let session = ended_session(&t).await;
    let carla = t.person("carla");
    t.gate.read_recording(carla, session, false).await.expect("she may read it");
    assert_eq!(t.gate.destroy_recording(t.person("eve"), session, "no").await.unwrap_err().reason, Reason::NotAllowed);
    let recording = t.gate.destroy_recording(carla, session, "nobody may keep it").await.unwrap();
    let refusal = t.gate.read_recording(carla, session, false).await.err().unwrap();
    assert!(refusal.to_string().contains("destroyed"), "{refusal}");
    assert!(t.gate.destroy_recording(carla, session, "again").await.unwrap_err().to_string().contains("already"));

    let to = t.dir().join("proof.tar");
    let along = Along { input: false, wrapped_to: None };
    t.gate.export(t.person("eve"), Selection::Session(session), along, to.clone()).await.unwrap();
    let report = bundle::verify(std::fs::File::open(&to).unwrap(), &verifier(&t)).unwrap();
    assert_eq!(report.findings, []);
    let shown = &report.recordings[0];
    assert_eq!((&shown.recording, shown.destroyed, shown.frames), (&recording.to_string(), true, None));
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
}

// covers: EV-7 (api)
#[tokio::test]
async fn a_destruction_that_was_entered_and_not_done_is_done_at_the_next_start() {
    let t = TestGate::start().await.unwrap();
    let session = ended_session(&t).await;
    let row = t.gate.store().session(session).await.unwrap().unwrap();
    let path = t.gate.recording_path(row.recording);
    let whole = std::fs::read(&path).unwrap();
    t.gate.destroy_recording(t.person("carla"), session, "nobody may keep it").await.unwrap();
    let destroyed = std::fs::read(&path).unwrap();
    assert_ne!(destroyed, whole);
    // As if the gate had died between the entry and the act.
    std::fs::write(&path, whole).unwrap();
    let t = t.restart().await.unwrap();
    assert_eq!(std::fs::read(t.gate.recording_path(row.recording)).unwrap(), destroyed);
}

// covers: EV-4 (api), F3 (recording)
#[tokio::test]
async fn a_recording_whose_end_was_cut_off_is_not_read_as_if_it_were_whole() {
    let t = TestGate::start().await.unwrap();
    let session = ended_session(&t).await;
    let carla = t.person("carla");
    let (row, reader) = t.gate.read_recording(carla, session, false).await.unwrap();
    assert!(reader.map(|frame| frame.map(drop)).collect::<Result<Vec<_>, _>>().is_ok(), "it is whole");
    // The closing chunk goes, as if the gate had died before it.
    let path = t.dir().join("recordings").join(format!("{}.tgr", row.recording));
    let bytes = std::fs::read(&path).unwrap();
    let last = bytes.windows(4).rposition(|bytes| bytes == b"TGc1").unwrap();
    std::fs::write(&path, &bytes[..last]).unwrap();
    let (_, reader) = t.gate.read_recording(carla, session, false).await.unwrap();
    let wrong: Vec<String> = reader.filter_map(Result::err).map(|error| error.to_string()).collect();
    assert!(wrong.len() == 1 && wrong[0].contains("missing"), "{wrong:?}");
}
