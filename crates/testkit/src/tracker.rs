//! Trackers of tickets, as far as the gate asks them: Jira, GitHub's issues, and one that answers JSON. They check what the originals
//! check and refuse what they refuse.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::web::{Call, Reply, serve};

/// What each of them is asked with.
pub const TOKEN: &str = "ATATT3xFfGF0T5";
/// Whose token that is at Jira.
pub const USER: &str = "gate@example.com";

#[derive(Debug, Default)]
struct State {
    /// By path: what it is.
    tickets: BTreeMap<String, Value>,
    comments: Vec<(String, Value)>,
    trouble: Vec<Reply>,
    down: bool,
    slow: Option<Duration>,
    /// Who waits for the next call, and what lets that go.
    held: Option<(oneshot::Sender<()>, mpsc::Receiver<()>)>,
    calls: Vec<String>,
}

/// A call that is held inside the tracker.
#[derive(Debug)]
pub struct Held {
    came: oneshot::Receiver<()>,
    go: mpsc::Sender<()>,
}

impl Held {
    /// Waits until the call has come. It is answered when what this gives is dropped.
    pub async fn came(self) -> mpsc::Sender<()> {
        // The tracker gone, nothing is held.
        let _gone = self.came.await;
        self.go
    }
}

/// A tracker.
#[derive(Debug, Clone)]
pub struct TrackerServer {
    state: Arc<Mutex<State>>,
    /// Where it is.
    pub url: String,
}

impl TrackerServer {
    /// One without tickets, for all three ways.
    ///
    /// # Errors
    /// If nothing can be listened on.
    pub fn start() -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let inside = Arc::clone(&state);
        let address = serve(move |call| {
            let slow = inside.lock().unwrap_or_else(PoisonError::into_inner).slow;
            if let Some(slow) = slow {
                std::thread::sleep(slow);
            }
            let held = inside.lock().unwrap_or_else(PoisonError::into_inner).held.take();
            if let Some((came, go)) = held {
                let _nobody_waits = came.send(());
                let _let_go = go.recv();
            }
            answer(&mut inside.lock().unwrap_or_else(PoisonError::into_inner), &call)
        })?;
        Ok(Self { state, url: format!("http://{address}") })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jira: an issue, in a status of a category (`new`, `indeterminate`, `done`).
    pub fn jira(&self, key: &str, status: &str, category: &str) {
        let issue = json!({
            "id": "10002", "key": key, "self": format!("{}/rest/api/3/issue/10002", self.url),
            "fields": { "status": { "name": status, "id": "3", "statusCategory": { "id": 4, "key": category, "name": status } } },
        });
        self.state().tickets.insert(format!("/rest/api/3/issue/{key}"), issue);
    }

    /// GitHub: an issue of `owner/repository`, `open` or `closed`, with labels.
    pub fn github(&self, repository: &str, number: u64, state: &str, labels: &[&str]) {
        let labels: Vec<Value> = labels.iter().map(|label| json!({ "name": label, "color": "f29513" })).collect();
        let issue = json!({ "number": number, "state": state, "title": "Found a bug", "labels": labels });
        self.state().tickets.insert(format!("/repos/{repository}/issues/{number}"), issue);
    }

    /// Anything at a path, for whoever has the token as a bearer.
    pub fn json(&self, path: &str, value: Value) {
        self.state().tickets.insert(path.to_owned(), value);
    }

    /// The next calls get these answers, in order.
    pub fn trouble(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state().trouble.extend(replies);
    }

    /// Whether it answers nothing but failures from now on.
    pub fn down(&self, down: bool) {
        self.state().down = down;
    }

    /// How long it thinks before it answers.
    pub fn slow(&self, slow: Option<Duration>) {
        self.state().slow = slow;
    }

    /// Holds the next call until it is let go; those after it are answered meanwhile.
    #[must_use]
    pub fn hold(&self) -> Held {
        let (came, comes) = oneshot::channel();
        let (go, goes) = mpsc::channel();
        self.state().held = Some((came, goes));
        Held { came: comes, go }
    }

    /// What was written to its tickets: where, and what.
    #[must_use]
    pub fn comments(&self) -> Vec<(String, Value)> {
        self.state().comments.clone()
    }

    /// The paths it was asked for so far.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }
}

fn answer(state: &mut State, call: &Call) -> Reply {
    state.calls.push(format!("{} {}", call.method, call.path));
    if !state.trouble.is_empty() {
        return state.trouble.remove(0);
    }
    if state.down {
        return Reply::status(500);
    }
    let refused = |status: u16, message: &str| Reply { status, ..Reply::json(&json!({ "message": message, "errorMessages": [message] })) };
    let (path, _) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let said = |name: &str| call.headers.get(name).map_or("", String::as_str);
    let authorized = if path.starts_with("/rest/api/3/") {
        said("authorization") == format!("Basic {}", base64(&format!("{USER}:{TOKEN}"))) && said("accept") == "application/json"
    } else if path.starts_with("/repos/") {
        // GitHub answers nobody who does not say what they are.
        said("authorization") == format!("Bearer {TOKEN}") && !said("user-agent").is_empty() && said("x-github-api-version") == "2022-11-28"
    } else {
        said("authorization") == format!("Bearer {TOKEN}")
    };
    if !authorized {
        return refused(401, "Bad credentials");
    }
    let ticket = path.strip_suffix("/comment").or_else(|| path.strip_suffix("/comments"));
    match (call.method.as_str(), ticket) {
        ("GET", None) => match state.tickets.get(path) {
            Some(found) => Reply::json(found),
            None => refused(404, "Issue does not exist or you do not have permission to see it."),
        },
        ("POST", Some(ticket)) if state.tickets.contains_key(ticket) => {
            let Ok(body) = serde_json::from_slice::<Value>(&call.body) else { return refused(400, "no JSON") };
            // Jira takes its document format and no text; GitHub a text and no document.
            let fits = if path.starts_with("/rest/") {
                body["body"]["type"] == "doc" && body["body"]["version"] == 1
            } else {
                body["body"].is_string()
            };
            if !fits {
                return refused(422, "Comment body is not valid!");
            }
            state.comments.push((ticket.to_owned(), body));
            Reply { status: 201, ..Reply::json(&json!({ "id": "1" })) }
        }
        ("POST", Some(_)) => refused(404, "Issue does not exist or you do not have permission to see it."),
        _ => refused(405, "Method Not Allowed"),
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
