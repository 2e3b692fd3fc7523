//! A receiver of webhooks that checks what Standard Webhooks 1.0.0 says a receiver checks: signature, time, and that each id counts once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::web::{Call, Reply, hmac_sha256, serve};

/// A message that was taken.
#[derive(Debug, Clone)]
pub struct Received {
    /// `webhook-id`.
    pub id: String,
    /// The body.
    pub body: Value,
}

#[derive(Debug, Default)]
struct State {
    secrets: Vec<String>,
    /// What the clock says, in seconds.
    now: i64,
    taken: Vec<Received>,
    refused: Vec<String>,
    /// Answers to give before it takes anything again.
    trouble: Vec<Reply>,
    calls: usize,
}

/// A receiver.
#[derive(Debug, Clone)]
pub struct Receiver {
    state: Arc<Mutex<State>>,
    /// Where it is.
    pub url: String,
}

impl Receiver {
    /// A receiver that knows these secrets, on a clock.
    ///
    /// # Errors
    /// If nothing can be listened on.
    pub fn start(secrets: &[&str], now: i64) -> std::io::Result<Self> {
        let state = State { secrets: secrets.iter().map(|s| (*s).to_owned()).collect(), now, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let own = Arc::clone(&state);
        let address = serve(move |call| own.lock().unwrap_or_else(PoisonError::into_inner).answer(&call))?;
        Ok(Self { state, url: format!("http://{address}/hook") })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets its clock.
    pub fn at(&self, now: i64) {
        self.state().now = now;
    }

    /// The next calls get these answers, whatever they say.
    pub fn troubled(&self, replies: Vec<Reply>) {
        self.state().trouble = replies;
    }

    /// It knows other secrets from now on.
    pub fn knows(&self, secrets: &[&str]) {
        self.state().secrets = secrets.iter().map(|s| (*s).to_owned()).collect();
    }

    /// What was taken, in the order in which it came; the same id twice stands there twice.
    #[must_use]
    pub fn taken(&self) -> Vec<Received> {
        self.state().taken.clone()
    }

    /// Why calls were refused.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// How many calls came.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Reply {
        self.calls += 1;
        if !self.trouble.is_empty() {
            return self.trouble.remove(0);
        }
        match self.check(call) {
            Ok(received) => {
                self.taken.push(received);
                Reply::status(204)
            }
            Err(why) => {
                self.refused.push(why.to_owned());
                Reply::status(401)
            }
        }
    }

    fn check(&self, call: &Call) -> Result<Received, &'static str> {
        let header = |name: &str| call.headers.get(name).map(String::as_str).ok_or("a header is missing");
        let (id, timestamp, signatures) = (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
        if call.method != "POST" || header("content-type")? != "application/json" || id.contains('.') {
            return Err("not as the specification says");
        }
        let at: i64 = timestamp.parse().map_err(|_| "no time")?;
        if (at - self.now).abs() > 300 {
            return Err("too old or too new");
        }
        let signed = [format!("{id}.{timestamp}.").as_bytes(), &call.body].concat();
        let good = self.secrets.iter().any(|secret| {
            let key = secret.strip_prefix("whsec_").and_then(|key| BASE64_STANDARD.decode(key).ok()).unwrap_or_default();
            let wanted = format!("v1,{}", BASE64_STANDARD.encode(hmac_sha256(&key, &signed)));
            signatures.split(' ').any(|signature| signature == wanted)
        });
        if !good {
            return Err("the signature is wrong");
        }
        let body: Value = serde_json::from_slice(&call.body).map_err(|_| "the body is no JSON")?;
        if !["type", "timestamp", "data"].iter().all(|key| body.get(key).is_some()) {
            return Err("the body is not as the specification says");
        }
        Ok(Received { id: id.to_owned(), body })
    }
}
