//! `Idempotency-Key`: the same POST twice has one effect, and both times the same answer.
//!
//! In memory and bounded: forgetting a key costs a client nothing but the answer to a late repetition. A refused POST gives its
//! key back. An answer that shows a secret once is not kept, so it can't be shown twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use access::time::Span;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::caller::SignedIn;
use crate::extract::whole;
use crate::problem::Refused;
use crate::state::ApiState;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key.
const LONGEST_KEY: usize = 200;
/// How many keys are remembered …
const ROOM: usize = 4096;
/// … and how many of one person's.
const EACH: usize = 256;
/// The longest answer that is kept, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
/// How long a key is remembered.
const REMEMBERED: Span = Span::hours(24);

/// Marks an answer that shows a secret: it is given once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownOnce;

/// Who, by which sign-in, under which key: what one sign-in was answered is not for another, which may do less.
type Key = (PrincipalId, String, String);
type Asked = [u8; 32];

#[derive(Debug, Clone)]
enum Outcome {
    Running,
    Kept { status: StatusCode, headers: HeaderMap, body: Bytes },
    NotKept,
}

#[derive(Debug)]
struct Known {
    asked: Asked,
    at: Timestamp,
    outcome: Outcome,
}

/// The answers to repeat.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    known: HashMap<Key, Known>,
    /// Oldest first; may name keys that were given back.
    order: VecDeque<(Key, Timestamp)>,
}

impl Repeats {
    fn with<T>(&self, f: impl FnOnce(&mut Remembered) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a key, or says what came of the first that took it.
    fn begin(self: &Arc<Self>, key: Key, asked: Asked, now: Timestamp) -> Result<Taken, Result<Outcome, Refusal>> {
        self.with(|all| {
            all.forget(now);
            match all.known.get(&key) {
                Some(known) if known.asked != asked => Err(Err(Refusal::of(Reason::KeyReused))),
                Some(known) => Err(Ok(known.outcome.clone())),
                None => {
                    all.make_room(key.0);
                    all.known.insert(key.clone(), Known { asked, at: now, outcome: Outcome::Running });
                    all.order.push_back((key.clone(), now));
                    Ok(Taken { repeats: Arc::clone(self), key: Some(key) })
                }
            }
        })
    }
}

impl Remembered {
    /// Forgets what is too old.
    fn forget(&mut self, now: Timestamp) {
        while let Some((key, at)) = self.order.front() {
            if REMEMBERED.after(*at) > now {
                return;
            }
            if self.known.get(key).is_some_and(|known| known.at == *at) {
                self.known.remove(key);
            }
            self.order.pop_front();
        }
    }

    /// Forgets the oldest of somebody who has too many, else the oldest of all; never what still runs.
    fn make_room(&mut self, who: PrincipalId) {
        let known = &self.known;
        self.order.retain(|(key, at)| known.get(key).is_some_and(|known| known.at == *at));
        let theirs = self.order.iter().filter(|(key, _)| key.0 == who).count();
        if theirs < EACH && self.order.len() < ROOM {
            return;
        }
        let settled = |key: &Key| self.known.get(key).is_some_and(|known| !matches!(known.outcome, Outcome::Running));
        let goes = self.order.iter().position(|(key, _)| (theirs < EACH || key.0 == who) && settled(key));
        if let Some((key, _)) = goes.and_then(|at| self.order.remove(at)) {
            self.known.remove(&key);
        }
    }
}

/// A key that was taken; given back unless it is settled.
#[derive(Debug)]
struct Taken {
    repeats: Arc<Repeats>,
    key: Option<Key>,
}

impl Taken {
    fn settle(mut self, outcome: Outcome) {
        let Some(key) = self.key.take() else { return };
        self.repeats.with(|all| {
            if let Some(known) = all.known.get_mut(&key) {
                known.outcome = outcome;
            }
        });
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.repeats.with(|all| all.known.remove(&key));
        }
    }
}

/// The layer: lets a POST with a key through once.
pub(crate) async fn once(State(state): State<ApiState>, request: Request, next: Next) -> Result<Response, Refused> {
    // What a directory sends names itself what it means: by ids, names and entity tags.
    if request.uri().path().starts_with(crate::routes::SCIM) {
        return Ok(next.run(request).await);
    }
    let Some(key) = key_of(&request)? else { return Ok(next.run(request).await) };
    // 1. Who asks for what?
    let (mut parts, body) = request.into_parts();
    let SignedIn(caller) = SignedIn::from_request_parts(&mut parts, &state).await?;
    let body = whole(Request::from_parts(parts.clone(), body), &state).await?;
    let asked = digest(&parts.method, &parts.uri, &body);
    // 2. For the first time?
    let taken = match state.repeats.begin((caller.who.id(), format!("{:?}", caller.who.via()), key), asked, state.gate.now()) {
        Ok(taken) => taken,
        Err(known) => return repeated(known?),
    };
    // 3. Then do it, and keep what came of it.
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    kept(taken, response).await
}

fn key_of(request: &Request) -> Result<Option<String>, Refused> {
    let Some(value) = request.headers().get(KEY) else { return Ok(None) };
    if request.method() != Method::POST || !presents_something(request.headers()) {
        return Ok(None);
    }
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let key = key.ok_or_else(|| Refused::invalid(format!("`Idempotency-Key` has to be 1 to {LONGEST_KEY} printable characters")))?;
    Ok(Some(key.to_owned()))
}

fn presents_something(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE)
}

fn digest(method: &Method, uri: &axum::http::Uri, body: &[u8]) -> Asked {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), uri.to_string().as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn repeated(outcome: Outcome) -> Result<Response, Refused> {
    match outcome {
        Outcome::Running => Err(Refusal::because(Reason::TooMany, "the first call under this idempotency key still runs").into()),
        Outcome::NotKept => Err(Refusal::because(Reason::KeyReused, "it was done, and what it answered is not shown twice").into()),
        Outcome::Kept { status, mut headers, body } => {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
            Ok((status, headers, body).into_response())
        }
    }
}

async fn kept(taken: Taken, response: Response) -> Result<Response, Refused> {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json || response.extensions().get::<ShownOnce>().is_some() {
        taken.settle(Outcome::NotKept);
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(_) => {
            taken.settle(Outcome::NotKept);
            return Err(Reason::Internal.into());
        }
    };
    taken.settle(if body.len() > LONGEST_ANSWER {
        Outcome::NotKept
    } else {
        Outcome::Kept { status: parts.status, headers: parts.headers.clone(), body: body.clone() }
    });
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::ids::UserId;

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn asked(body: &str) -> Asked {
        digest(&Method::POST, &"/api/v1/requests".parse().unwrap(), body.as_bytes())
    }

    fn answer(body: &'static str) -> Outcome {
        Outcome::Kept { status: StatusCode::CREATED, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn the_first_is_done_and_the_second_is_answered_alike() {
        let repeats = Arc::new(Repeats::default());
        let ana: PrincipalId = UserId::generate(noon()).into();
        let ben: PrincipalId = UserId::generate(noon()).into();
        let key = |who| (who, "token".to_owned(), "k-1".to_owned());

        let taken = repeats.begin(key(ana), asked("a"), noon()).expect("fresh");
        let running = repeats.begin(key(ana), asked("a"), noon()).expect_err("taken");
        assert!(matches!(running, Ok(Outcome::Running)));
        taken.settle(answer("first"));

        let again = repeats.begin(key(ana), asked("a"), noon()).expect_err("taken");
        assert!(matches!(again, Ok(Outcome::Kept { body, .. }) if body == "first"));
        let other = repeats.begin(key(ana), asked("b"), noon()).expect_err("taken");
        assert_eq!(other.err().map(|refusal| refusal.reason), Some(Reason::KeyReused));
        assert!(repeats.begin(key(ben), asked("b"), noon()).is_ok(), "keys of two people never meet");
        let elsewhere = (ana, "another token".to_owned(), "k-1".to_owned());
        assert!(repeats.begin(elsewhere, asked("a"), noon()).is_ok(), "nor those of two sign-ins");

        let tomorrow = Span::hours(25).after(noon());
        assert!(repeats.begin(key(ana), asked("b"), tomorrow).is_ok(), "a day later it is forgotten");
    }

    #[test]
    fn what_came_to_nothing_can_be_tried_again() {
        let repeats = Arc::new(Repeats::default());
        let ana: PrincipalId = UserId::generate(noon()).into();
        let key = (ana, "token".to_owned(), "k-1".to_owned());
        drop(repeats.begin(key.clone(), asked("a"), noon()));
        assert!(repeats.begin(key, asked("b"), noon()).is_ok());
    }

    // covers: E7 (api)
    #[test]
    fn memory_stays_bounded_and_nobody_makes_it_forget_what_others_did_or_what_runs() {
        let repeats = Arc::new(Repeats::default());
        let who = || PrincipalId::from(UserId::generate(noon()));
        let (ana, ben) = (who(), who());
        let key = |who, n: usize| (who, "token".to_owned(), n.to_string());
        let first = repeats.begin(key(ana, 0), asked("a"), noon()).expect("fresh");
        let bens = repeats.begin(key(ben, 0), asked("a"), noon()).expect("fresh");
        bens.settle(answer("Ben's"));
        for n in 1..3 * EACH {
            repeats.begin(key(ana, n), asked("a"), noon()).expect("fresh").settle(answer("x"));
        }
        repeats.with(|all| assert!(all.known.len() <= EACH + 1 && all.order.len() <= EACH + 1));
        assert!(matches!(repeats.begin(key(ana, 0), asked("a"), noon()), Err(Ok(Outcome::Running))), "it still runs");
        assert!(matches!(repeats.begin(key(ben, 0), asked("a"), noon()), Err(Ok(Outcome::Kept { .. }))), "it is another's");
        drop(first);
        for n in 0..ROOM + 100 {
            repeats.begin(key(who(), n), asked("a"), noon()).expect("fresh").settle(answer("x"));
        }
        repeats.with(|all| assert!(all.known.len() <= ROOM && all.order.len() <= ROOM));
    }
}
