//! Legal holds, and what is destroyed at the same moment somewhere else.

use access::event::Event;
use access::hold::HoldScope;
use access::ids::{HoldId, RecordingId, SessionId};
use tidegate_store::{Change, CommitError};

use crate::story::*;

fn destroys() -> Change {
    let event = Event::RecordingDestroyed { recording: RecordingId::generate(at(1)), session: SessionId::generate(at(1)) };
    Change::new(by(somebody(), 2, event))
}

fn sets_hold() -> Change {
    let event = Event::HoldSet { hold: HoldId::generate(at(1)), scope: HoldScope::Person(somebody()) };
    Change::new(by(somebody(), 1, event)).set_hold()
}

on_both! {
    // covers: EV-7 (hold), G2 (holds)
    async fn what_was_looked_at_before_a_hold_was_set_destroys_nothing_after_it(stage) {
        // As two nodes, each with a look of its own.
        let store = &stage.store;
        let before = store.holds_now().await.unwrap();
        assert_eq!(before.set, []);
        store.commit(destroys().held_as(&before)).await.unwrap();
        store.commit(destroys().held_as(&before)).await.unwrap();
        store.commit(sets_hold()).await.unwrap();
        let late = store.commit(destroys().held_as(&before)).await.unwrap_err();
        assert!(matches!(late, CommitError::Conflict { table: "holds", .. }), "{late:?}");

        let now = store.holds_now().await.unwrap();
        assert_eq!(now.set.len(), 1);
        store.commit(destroys().held_as(&now)).await.unwrap();
        store.commit(sets_hold()).await.unwrap();
        store.commit(destroys().held_as(&now)).await.unwrap_err();
        store.commit(destroys().held_as(&store.holds_now().await.unwrap())).await.unwrap();
    }
}
