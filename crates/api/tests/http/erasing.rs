//! Somebody who has gone is erased over HTTP, which may take long.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use access::session::{ClosedSession, EndReason};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::sessions::open;
use crate::{Served, read};

/// Somebody who has gone, and a pipe in place of a recording of theirs: who erases them is in the midst of it until something comes out of it.
struct Midst {
    erase: String,
    path: PathBuf,
    kept: PathBuf,
}

impl Midst {
    async fn of_ana(served: &Served) -> Self {
        let (ana, gate) = (served.test.person("ana").who.id(), &served.test.gate);
        let opened = open(served).await;
        let session = opened.permit.facts().session;
        opened.recording.close("client", 1).await.unwrap();
        let end = EndReason::Client;
        gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
        gate.disable(served.test.person("dan"), ana, None).await.unwrap();
        let path = gate.recording_path(gate.store().session(session).await.unwrap().unwrap().recording);
        let kept = served.test.dir().join("kept.tgr");
        std::fs::rename(&path, &kept).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self { erase: format!("/users/{ana}/erase"), path, kept }
    }

    /// Once somebody reads the recording.
    async fn begun(&self) -> std::fs::File {
        let pipe = self.path.clone();
        let opened = tokio::task::spawn_blocking(move || std::fs::File::options().write(true).open(pipe).unwrap());
        tokio::time::timeout(Duration::from_secs(60), opened).await.unwrap().unwrap()
    }

    /// What was recorded is there again, and comes out of the pipe.
    fn goes_on(&self, mut pipe: std::fs::File) {
        let whole = std::fs::read(&self.kept).unwrap();
        std::fs::rename(&self.kept, &self.path).unwrap();
        // It reads no further than it has to.
        let _rest = pipe.write_all(&whole);
    }
}

// covers: EV-7 (api)
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_goes_on_to_its_end_though_who_asked_for_it_leaves() {
    let served = Served::start().await;
    let (carla, midst) = (served.person("carla").await, Box::pin(Midst::of_ana(&served)).await);
    let why = json!({ "reason": "she asked" });
    let asking = tokio::spawn(carla.call(Method::POST, &midst.erase).json(&why).send());
    let pipe = midst.begun().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    midst.goes_on(pipe);
    // Who asks again is told that it is being done, and then that nothing is left.
    let again = async {
        loop {
            let (status, answer) = carla.post(&midst.erase, why.clone()).await;
            if status == StatusCode::OK {
                return answer;
            }
            assert_eq!(answer["code"], "already_decided", "{answer}");
        }
    };
    let left = tokio::time::timeout(Duration::from_secs(60), again).await.expect("it does not end");
    assert_eq!(left, json!({ "texts": 0, "recordings": 0, "held": 0 }));
}

// covers: EV-7 (api)
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_goes_no_further_once_who_asked_for_it_is_locked() {
    let served = Served::start().await;
    let (carla, midst) = (served.person("carla").await, Box::pin(Midst::of_ana(&served)).await);
    let (dan, carla_id) = (served.test.person("dan"), served.test.person("carla").who.id());
    let why = json!({ "reason": "she asked" });
    let asking = tokio::spawn(carla.call(Method::POST, &midst.erase).json(&why).send());
    let pipe = midst.begun().await;
    let scope = access::lock::LockScope::Person(carla_id);
    let (lock, _) = served.test.gate.lock(dan, scope, None, Some("laptop lost".into())).await.unwrap();
    midst.goes_on(pipe);
    let (status, refused) = read(asking.await.unwrap().unwrap()).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("locked")), "{refused}");
    // Done again it does what is left.
    served.test.gate.lift(dan, lock.id).await.unwrap();
    let (status, left) = served.person("carla").await.post(&midst.erase, why).await;
    assert_eq!(status, StatusCode::OK, "{left}");
    assert!(left["texts"].as_u64().unwrap() > 0 && left["recordings"] == 0, "{left}");
}
