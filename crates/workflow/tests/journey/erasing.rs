//! What was kept is erased, and the log still verifies, and the replay still stands.

use std::io::Write as _;

use access::approval::Decision;
use access::event::Event;
use access::hold::HoldScope;
use access::identity::Scope;
use access::ids::{EntryId, SessionId};
use access::reason::Reason;
use access::session::{ClosedSession, EndReason, Protocol};
use access::time::Span;
use evidence::bundle;
use evidence::log::CheckpointVerifier;
use evidence::log::tiles::LogDirectory;
use store::{EntryFilter, EntryPage, Page, SessionFilter};
use testkit::gate::{TestGate, ask};
use tidegate_workflow::erase::ErasedPerson;
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

// covers: EV-7 (api, hold)
#[tokio::test]
async fn all_that_is_kept_of_somebody_who_has_gone_goes_in_one_act_and_the_proof_stands() {
    const OF_HER: &str = "she is ill, says her doctor";
    const OF_BEN: &str = "the report for Ulm hangs";
    const LOOKED_FOR: &str = "my cousin at the bank";
    const LABELS: [&str; 2] = ["the laptop of my late father", "the desk at my doctor's"];
    let t = TestGate::start().await.unwrap();
    let (carla, dan, ana) = (t.person("carla"), t.person("dan"), t.person("ana").who.id());
    let session = ended_session(&t).await;
    let asks = async |who: &str, resource: &str, role: &str, why: &str| {
        let mut wish = ask(resource, role);
        wish.reason = Some(why.to_owned());
        t.gate.submit(t.person(who), wish).await.unwrap().request.id
    };
    let hers = asks("ana", "db-1", "debug", PERSONAL).await;
    t.gate.vote(t.person("ben"), hers, Decision::Deny, Some(OF_HER.into())).await.unwrap();
    let bens = asks("ben", "build-1", "shell", OF_BEN).await;
    t.gate.search_sessions(t.person("ana"), &SessionFilter::default(), Some(LOOKED_FOR), &Page::first(5)).await.unwrap();
    t.gate.pin(t.person("ana"), &"db-1".parse().unwrap()).await.unwrap();
    for label in LABELS {
        t.gate.issue_token(t.person("ana"), ana, vec![Scope::Ask], Span::hours(1), Some(label.to_owned())).await.unwrap();
    }
    let revoked = t.gate.store().tokens_of(ana).await.unwrap()[0].id;
    t.gate.revoke_token(t.person("ana"), revoked).await.unwrap();
    let path = t.gate.recording_path(t.gate.store().session(session).await.unwrap().unwrap().recording);
    let whole = std::fs::read(&path).unwrap();
    let erase = async |who: &str, why: &str| Box::pin(t.gate.erase_person(t.person(who), ana, why)).await;

    // What somebody does is kept; who has gone is erased by who may do both, with a reason, and if nobody has to keep it.
    let refusal = erase("carla", "she asked").await.unwrap_err();
    assert!(refusal.reason == Reason::Invalid && refusal.to_string().contains("user disable ana"), "{refusal}");
    t.gate.disable(dan, ana, Some("she left us".into())).await.unwrap();
    for who in ["admin", "dan", "eve"] {
        assert_eq!(erase(who, "she asked").await.unwrap_err().reason, Reason::NotAllowed, "{who}");
    }
    assert_eq!(erase("carla", " ").await.unwrap_err().reason, Reason::Invalid);
    let hold = t.gate.set_hold(carla, HoldScope::Person(ana), "litigation").await.unwrap();
    assert_eq!(erase("carla", "she asked").await.unwrap_err().reason, Reason::OnHold);
    assert!(is_on_disk(&t, PERSONAL) && is_on_disk(&t, OF_HER) && is_on_disk(&t, LOOKED_FOR));
    assert_eq!(t.gate.store().pins(ana).await.unwrap().len(), 1);
    t.gate.lift_hold(carla, hold.id, "settled").await.unwrap();

    // What a hold on one session keeps stays until it is lifted, and nothing else does.
    let hold = t.gate.set_hold(carla, HoldScope::Session(session), "litigation").await.unwrap();
    let erased = erase("carla", "she asked").await.unwrap();
    assert!(erased.texts > 0 && erased.recordings == 0 && erased.held > 1, "{erased:?}");
    t.gate.read_recording(carla, session, false).await.expect("it is kept");
    let tokens = t.gate.store().tokens_of(ana).await.unwrap();
    assert!(tokens.len() >= LABELS.len() && tokens.iter().all(|token| token.label.is_none()), "{tokens:?}");
    for text in [PERSONAL, OF_HER, "she left us"].into_iter().chain(LABELS) {
        assert!(!is_on_disk(&t, text), "{text}");
    }
    assert!(t.gate.store().pins(ana).await.unwrap().is_empty());
    t.gate.lift_hold(carla, hold.id, "settled").await.unwrap();

    // A recording that cannot be read is said, and keeps nothing else.
    assert!(is_on_disk(&t, LOOKED_FOR));
    std::fs::write(&path, "broken").unwrap();
    let refusal = erase("carla", "she asked").await.unwrap_err();
    assert!(refusal.to_string().contains("cannot be read"), "{refusal}");
    assert!(!is_on_disk(&t, LOOKED_FOR));
    let its_recording = ErasedPerson { recordings: 1, ..ErasedPerson::default() };
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(erase("carla", "she asked").await.unwrap(), its_recording);
    assert_eq!(erase("carla", "she asked").await.unwrap(), ErasedPerson::default());
    // As if its keys could not be destroyed when that was entered: it is not taken for done.
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(erase("carla", "she asked").await.unwrap(), its_recording);
    assert_ne!(std::fs::read(&path).unwrap(), whole);

    // Of her there is who she was and what she did, and no word; of Ben there is all.
    let row = t.gate.store().person(ana).await.unwrap().unwrap();
    assert_eq!((row.username.as_str(), row.display_name), ("ana", None));
    let (hers, bens) = (t.gate.store().request(hers).await.unwrap().unwrap(), t.gate.store().request(bens).await.unwrap().unwrap());
    assert_eq!((hers.reason, bens.reason.as_deref()), (None, Some(OF_BEN)));
    assert!(t.gate.read_recording(carla, session, false).await.err().unwrap().to_string().contains("destroyed"));

    // The log verifies, the replay stands, and so does what is taken away of her.
    t.gate.checkpoint().await.unwrap();
    assert_eq!(evidence::log::verify(&LogDirectory::new(t.dir().join("audit")), &verifier(&t), &[]).findings, []);
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
    let to = t.dir().join("proof.tar");
    t.gate.export(t.person("eve"), Selection::Person(ana), Along { input: false, wrapped_to: None }, to.clone()).await.unwrap();
    assert_eq!(bundle::verify(std::fs::File::open(&to).unwrap(), &verifier(&t)).unwrap().findings, []);
}

// covers: EV-7 (api), C5 (api)
#[tokio::test]
async fn of_two_who_erase_somebody_at_once_one_does_and_the_other_is_told_so() {
    let t = TestGate::start().await.unwrap();
    let (carla, ana) = (t.person("carla"), t.person("ana").who.id());
    let session = ended_session(&t).await;
    t.gate.disable(t.person("dan"), ana, None).await.unwrap();
    let path = t.gate.recording_path(t.gate.store().session(session).await.unwrap().unwrap().recording);
    let (whole, kept, pipe) = (std::fs::read(&path).unwrap(), t.dir().join("kept.tgr"), path.clone());
    // In place of the recording stands a pipe: the first of them is in the midst of it until something comes out of that.
    std::fs::rename(&path, &kept).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let erase = || Box::pin(t.gate.erase_person(carla, ana, "she asked"));
    let (first, ()) = tokio::join!(erase(), async {
        let opened = tokio::task::spawn_blocking(move || std::fs::File::options().write(true).open(pipe).unwrap());
        let mut pipe = opened.await.unwrap();
        let told = erase().await.unwrap_err();
        assert!(told.reason == Reason::AlreadyDecided && told.to_string().contains("just now"), "{told}");
        std::fs::rename(&kept, &path).unwrap();
        // It reads no further than it has to.
        let _rest = pipe.write_all(&whole);
    });
    let first = first.unwrap();
    assert!(first.recordings == 1 && first.texts > 0, "{first:?}");
    assert_eq!(erase().await.unwrap(), ErasedPerson::default());
    assert_ne!(std::fs::read(&path).unwrap(), whole);
}
