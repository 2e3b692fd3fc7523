//! How far streams have come: moved by whoever stands where they are, kept through failures.

use jiff::Timestamp;
use tidegate_store::StreamRow;

on_both! {
    async fn a_stream_is_moved_from_where_it_is_and_from_nowhere_else(stage) {
        let store = &stage.store;
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        assert_eq!(store.stream("siem").await.unwrap(), None);
        let begun = StreamRow { name: "siem".into(), ..StreamRow::default() };
        // Before anything was taken it may fail.
        store.stream_failed("siem", "it is away", at(1), at(6)).await.unwrap();
        store.stream_failed("siem", "it is still away", at(6), at(16)).await.unwrap();
        let failing = store.stream("siem").await.unwrap().unwrap();
        assert_eq!((failing.next, failing.failing_since, failing.due_at), (0, Some(at(1)), Some(at(16))));
        assert_eq!(failing.error.as_deref(), Some("it is still away"));

        assert!(store.move_stream(&begun, "f00d", (3, 2), at(20)).await.unwrap());
        let moved = store.stream("siem").await.unwrap().unwrap();
        assert_eq!((moved.next, moved.line, moved.mark.as_str(), moved.taken_at), (3, 2, "f00d", Some(at(20))));
        assert_eq!((moved.failing_since, moved.due_at, moved.error.as_deref()), (None, None, None));
        // Another one who still believes it to be at its beginning takes nothing back.
        assert!(!store.move_stream(&begun, "f00d", (1, 0), at(21)).await.unwrap());
        store.stream_failed("siem", "away again", at(22), at(27)).await.unwrap();
        let failing = store.stream("siem").await.unwrap().unwrap();
        assert_eq!((failing.next, failing.line, failing.taken_at), (3, 2, Some(at(20))));
        assert!(store.move_stream(&failing, "f00d", (4, 0), at(30)).await.unwrap());
        assert_eq!(store.streams().await.unwrap(), [StreamRow { next: 4, line: 0, taken_at: Some(at(30)), ..moved }]);
    }
}
