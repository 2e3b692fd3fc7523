//! What was counted from the log: kept, replaced by what follows from more of it, and forgotten.

on_both! {
    async fn a_projection_only_grows_unless_it_is_of_another_version(stage) {
        let store = &stage.store;
        assert_eq!(store.projection("measures").await.unwrap(), None);
        store.keep_projection("measures", 1, 10, "ten".into()).await.unwrap();
        // Another node that is behind takes nothing away.
        store.keep_projection("measures", 1, 9, "nine".into()).await.unwrap();
        assert_eq!(store.projection("measures").await.unwrap().as_deref(), Some("ten"));
        store.keep_projection("measures", 1, 11, "eleven".into()).await.unwrap();
        assert_eq!(store.projection("measures").await.unwrap().as_deref(), Some("eleven"));
        store.keep_projection("measures", 2, 3, "anew".into()).await.unwrap();
        assert_eq!(store.projection("measures").await.unwrap().as_deref(), Some("anew"));
        store.forget_projection("measures").await.unwrap();
        assert_eq!(store.projection("measures").await.unwrap(), None);
    }
}
