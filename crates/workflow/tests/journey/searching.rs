//! What was done is found again by the index, and the answers are those of reading everything.

use access::approval::Decision::Approve;
use access::event::Event;
use access::ids::SessionId;
use access::session::{ClosedSession, EndReason, Protocol};
use evidence::recording::{Direction, Frame, FrameKind};
use store::{EntryFilter, EntryPage, Page, SessionFilter};
use testkit::gate::{TestGate, ask};
use tidegate_workflow::search::Searched;

async fn grant(t: &TestGate) {
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    t.gate.vote(t.person("ben"), request.id, Approve, Some("go ahead".into())).await.unwrap();
}

/// Ana is let in, does something, and leaves if she is to.
async fn session(t: &TestGate, did: &str, shown: &str, ends: bool) -> SessionId {
    let opened = t.gate.open(t.person("ana"), &"db-1".parse().unwrap(), &"debug".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let activity = serde_json::json!({ "kind": "exec", "command": did });
    let frame = |direction, kind, bytes: String| Frame { at_us: 1, channel: 0, direction, kind, bytes: bytes.into_bytes().into() };
    opened.recording.record(frame(Direction::Gate, FrameKind::Activity, activity.to_string())).await.unwrap();
    opened.recording.record(frame(Direction::Output, FrameKind::Bytes, shown.to_owned())).await.unwrap();
    if ends {
        let closed = opened.recording.close("client", 1).await.unwrap();
        let recording = Some((closed.chunks, closed.digest.iter().map(|byte| format!("{byte:02x}")).collect()));
        t.gate.close(ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 1, bytes_down: 2, recording }).await;
    } else {
        // It lives until the test is over.
        std::mem::forget(opened);
    }
    // Sessions of one millisecond have no order.
    t.time.advance(std::time::Duration::from_secs(1));
    session
}

async fn index(t: &TestGate) {
    t.gate.sequence().await.unwrap();
    t.gate.index_activity().await.unwrap();
}

async fn look(t: &TestGate, who: &str, text: &str, page: &Page) -> Searched {
    t.gate.search_sessions(t.person(who), &SessionFilter::default(), Some(text), page).await.unwrap()
}

/// Everything that is found, page by page, with what stands where.
async fn all(t: &TestGate, text: &str, limit: u32) -> Vec<(SessionId, usize, bool)> {
    let mut page = Page::first(limit);
    let mut found = Vec::new();
    loop {
        let searched = look(t, "carla", text, &page).await;
        assert!(searched.found.len() <= limit as usize);
        found.extend(searched.found.iter().map(|one| (one.session.id, one.passages.len(), one.whole)));
        match searched.last {
            Some(last) => page = page.after(last),
            None => return found,
        }
    }
}

/// How many recordings the newest search by text looked into, and how many searches were entered.
async fn looked_into(t: &TestGate) -> (u64, usize) {
    let filter = EntryFilter { name: Some("recordings.searched".into()), ..EntryFilter::default() };
    let entries = t.gate.store().entries(&filter, EntryPage { limit: 500, after: None, newest_first: true }).await.unwrap();
    let Some(Event::RecordingsSearched { looked_into, .. }) = entries.first().map(|logged| logged.entry.event.clone()) else {
        return (0, 0);
    };
    (looked_into, entries.len())
}

// covers: EV-5
#[tokio::test(flavor = "multi_thread")]
async fn the_index_answers_as_reading_does_and_reads_what_it_names() {
    let t = TestGate::start().await.unwrap();
    grant(&t).await;
    let mut sessions = Vec::new();
    for n in 0..12 {
        let shown = if n % 4 == 0 { "Küche: 17 rows\r\n" } else { "nothing\r\n" };
        sessions.push(session(&t, &format!("pg_dump orders-{n} > /tmp/out"), shown, true).await);
    }
    const TEXTS: [&str; 7] = ["orders-7", "PG_DUMP", "küche", "17 rows", "nobody did this", "or", "exec"];
    let mut before = Vec::new();
    for text in TEXTS {
        before.push(all(&t, text, 5).await);
    }
    assert_eq!((before[0].len(), before[1].len(), before[2].len(), before[4].len()), (1, 12, 3, 0));
    assert_eq!(t.gate.index_state().await.unwrap().sessions, 0, "so far everything was read");

    index(&t).await;
    let state = t.gate.index_state().await.unwrap();
    assert_eq!((state.sessions, state.unread, state.waiting, state.trouble), (12, 0, 0, None));
    for (text, before) in TEXTS.iter().zip(&before) {
        for limit in [1, 5, 100] {
            assert_eq!(&all(&t, text, limit).await, before, "{text}");
        }
    }
    look(&t, "carla", "orders-7", &Page::first(5)).await;
    assert_eq!(looked_into(&t).await.0, 1);
    // That nothing was found is entered too.
    let entered = looked_into(&t).await.1;
    look(&t, "carla", "nobody did this", &Page::first(5)).await;
    assert_eq!(looked_into(&t).await, (0, entered + 1));
    // With a filter; and who may read none of it finds none of it.
    let filter = |resource: &str| SessionFilter { resource: resource.parse().ok(), ..SessionFilter::default() };
    let search = async |who: &str, filter: SessionFilter| {
        t.gate.search_sessions(t.person(who), &filter, Some("pg_dump"), &Page::first(50)).await.unwrap().found.len()
    };
    assert_eq!((search("carla", filter("db-1")).await, search("carla", filter("build-1")).await), (12, 0));
    assert_eq!((search("ana", filter("db-1")).await, search("frank", filter("db-1")).await), (12, 0));

    // What happens now is found at once: in a session that lives, in one that the index does not know yet, and in one that ended meanwhile.
    let lives = session(&t, "vacuum orders-7", "", false).await;
    // As soon as its recorder brought it to the file.
    while all(&t, "orders-7", 5).await.len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(all(&t, "orders-7", 5).await, [(lives, 1, true), (sessions[7], 1, true)]);
    index(&t).await;
    assert_eq!(all(&t, "orders-7", 5).await, [(lives, 1, true), (sessions[7], 1, true)]);
    let ended = session(&t, "analyze orders-7", "", true).await;
    let wanted = [(ended, 1, true), (lives, 1, true), (sessions[7], 1, true)];
    assert_eq!(all(&t, "orders-7", 5).await, wanted);
    t.gate.sequence().await.unwrap();
    assert_eq!(all(&t, "orders-7", 5).await, wanted);
    index(&t).await;
    assert_eq!(all(&t, "orders-7", 1).await, wanted);
    assert_eq!(t.gate.index_state().await.unwrap().unread, 1, "the one that lives");
}

// covers: EV-5, EV-7
#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_recording_leaves_the_index_and_a_broken_index_is_made_anew() {
    let t = TestGate::start().await.unwrap();
    grant(&t).await;
    let kept = session(&t, "cat /srv/okapi", "", true).await;
    let gone = session(&t, "cat /srv/okapi", "", true).await;
    index(&t).await;
    assert_eq!(all(&t, "okapi", 5).await, [(gone, 1, true), (kept, 1, true)]);
    t.gate.destroy_recording(t.person("carla"), gone, "they asked for it").await.unwrap();
    // At once nobody reads it, and then nothing of it is left; that it cannot be looked into is said as it was before.
    assert_eq!(all(&t, "okapi", 5).await, [(gone, 0, false), (kept, 1, true)]);
    index(&t).await;
    assert_eq!(t.gate.index_state().await.unwrap().unread, 1);
    assert_eq!(all(&t, "okapi", 5).await, [(gone, 0, false), (kept, 1, true)]);

    // No text of it stands in the files.
    let dir = t.dir().join("index");
    for file in std::fs::read_dir(&dir).unwrap().flatten() {
        assert!(!std::fs::read(file.path()).unwrap().windows(5).any(|window| window == b"okapi"), "{file:?}");
    }

    // Somebody damages the file while the gate is down: searches read, and then it is there again.
    let path = dir.join("activity.db");
    let t = t
        .restart_after(|| {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[100..].iter_mut().for_each(|byte| *byte = 0x5a);
            std::fs::write(&path, bytes).unwrap();
        })
        .await
        .unwrap();
    assert_eq!(all(&t, "okapi", 5).await, [(gone, 0, false), (kept, 1, true)]);
    index(&t).await;
    let state = t.gate.index_state().await.unwrap();
    assert_eq!((state.sessions, state.unread, state.waiting, state.trouble), (2, 1, 0, None));
    assert_eq!(all(&t, "okapi", 5).await, [(gone, 0, false), (kept, 1, true)]);
    assert!(all(&t, "quagga", 5).await.iter().all(|(_, passages, _)| *passages == 0));
}
