//! Long texts are read on a thread of their own, so that no other session waits for them; and few at once, since each may take some
//! hundred MiB and a good part of a second. Nobody has more than one of these places: whoever sends many waits for themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use access::ids::PrincipalId;
use tokio::sync::Semaphore;

/// How many long texts are read at once, of all sessions together.
static PLACES: Semaphore = Semaphore::const_new(2);
/// Whose text is being read, or waits to be.
static PEOPLE: Mutex<Option<HashMap<PrincipalId, Weak<Semaphore>>>> = Mutex::new(None);

/// The one place of a person.
fn place_of(person: PrincipalId) -> Arc<Semaphore> {
    let mut people = PEOPLE.lock().unwrap_or_else(PoisonError::into_inner);
    let people = people.get_or_insert_default();
    if let Some(place) = people.get(&person).and_then(Weak::upgrade) {
        return place;
    }
    people.retain(|_, place| place.strong_count() > 0);
    let place = Arc::new(Semaphore::new(1));
    people.insert(person, Arc::downgrade(&place));
    place
}

/// Does this aside, in this person's turn. `None` if it failed.
pub(crate) async fn aside<T: Send + 'static>(person: PrincipalId, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let place = place_of(person);
    // Neither is ever closed.
    let turn = place.acquire_owned().await.ok();
    let permit = PLACES.acquire().await.ok();
    let working = tokio::task::spawn_blocking(move || {
        // Held until it is done, also if the session ends meanwhile.
        let _held = (turn, permit);
        work()
    });
    working.await.inspect_err(|failed| tracing::error!(%failed, "what was to judge a long statement failed")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn somebody() -> PrincipalId {
        access::ids::UserId::generate(jiff::Timestamp::UNIX_EPOCH).into()
    }

    /// Something that goes on until it is told.
    fn held(person: PrincipalId) -> (mpsc::Sender<()>, tokio::sync::oneshot::Receiver<()>, tokio::task::JoinHandle<Option<u8>>) {
        let (go, gone) = mpsc::channel::<()>();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let working = tokio::spawn(aside(person, move || {
            let _ = begins.send(());
            let _ = gone.recv();
            7
        }));
        (go, begun, working)
    }

    // covers: E7 (postgres), E7 (mysql)
    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_sends_many_long_texts_waits_for_themselves_and_others_do_not() {
        let [ana, ben] = [(); 2].map(|()| somebody());
        let (first, begun, one) = held(ana);
        begun.await.unwrap();
        let (second, mut begun_second, two) = held(ana);
        let (third, _, three) = held(ana);
        // Two more of Ana's wait, and Ben's turn comes at once.
        let (go, begun, bens) = held(ben);
        begun.await.unwrap();
        assert!(begun_second.try_recv().is_err());
        drop(go);
        assert_eq!(bens.await.unwrap(), Some(7));
        for go in [first, second, third] {
            drop(go);
        }
        for working in [one, two, three] {
            assert_eq!(working.await.unwrap(), Some(7));
        }
    }

    #[tokio::test]
    async fn what_fails_aside_takes_nobody_with_it() {
        let ana = somebody();
        assert_eq!(aside(ana, || -> u8 { panic!("a bug") }).await, None);
        assert_eq!(aside(ana, || 7).await, Some(7));
    }
}
