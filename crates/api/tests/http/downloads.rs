//! What takes long to read: the log and recordings, by who reads slowly and is shut out meanwhile.

use std::time::Duration;

use access::event::{Actor, EntryDraft, Event};
use access::reason::Reason;
use access::request::Door;
use access::session::{ClosedSession, EndReason};
use evidence::recording::{Direction, Frame, FrameKind};
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::{Person, Served};

/// Somebody who has the first KiB of something, and reads on when they like. No more than a little of it is on its way to them.
async fn slowly(who: &Person<'_>, path: &str) -> TcpStream {
    let address = who.served.url.strip_prefix("http://").unwrap();
    let head = format!("GET /api/v1{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\r\n", who.token);
    let begin = async {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(128 * 1024).unwrap();
            let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut begun = [0; 1024];
            stream.read_exact(&mut begun[..16]).await.unwrap();
            // What they read before gives its share back a moment after its last byte.
            if !begun.starts_with(b"HTTP/1.1 429 ") {
                assert!(begun.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&begun));
                stream.read_exact(&mut begun[16..]).await.unwrap();
                return stream;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), begin).await.unwrap()
}

/// How much more comes, and whether it comes to its end.
async fn rest(mut stream: TcpStream) -> (usize, bool) {
    let (mut read, mut tail, mut part) = (0, Vec::new(), vec![0; 64 * 1024]);
    let all = async {
        loop {
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => return (read, false),
                Ok(n) => {
                    read += n;
                    tail.extend_from_slice(&part[..n]);
                    tail.drain(..tail.len().saturating_sub(7));
                    if tail == b"\r\n0\r\n\r\n" {
                        return (read, true);
                    }
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap()
}

// covers: B5 (api), E7 (api)
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_log_breaks_off_when_its_reader_is_locked_and_is_one_at_a_time() {
    let served = Served::start().await;
    let eve = served.person("eve").await;
    let now = served.test.gate.now();
    let refused = |n: usize| {
        let event = Event::ActionRefused {
            action: "drill".into(),
            object: n.to_string(),
            reason: Reason::NotAllowed,
            bundle: None,
            policies: Vec::new(),
        };
        EntryDraft::new(now, Actor::Gate, Door::Gate, event).text("detail", Some("x".repeat(6_000)))
    };
    let many = store::Change::new(refused(0)).and_all((1..3_000).map(refused));
    served.test.gate.store().commit(many).await.unwrap();

    let (whole, ended) = rest(slowly(&eve, "/audit/export?format=jsonl").await).await;
    assert!(ended && whole > 3_000 * 6_000, "{whole} bytes");

    let slow = slowly(&eve, "/audit/export?format=jsonl").await;
    let (status, problem) = eve.get("/audit/export?format=jsonl").await;
    assert_eq!((status, &problem["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("too_many")));
    let scope = access::lock::LockScope::Person(served.test.person("eve").who.id());
    served.test.gate.lock(served.test.person("dan"), scope, None, Some("laptop lost".into())).await.unwrap();
    let (got, ended) = rest(slow).await;
    assert!(!ended && got < whole, "{got} of {whole} bytes");
}

// covers: B5 (api)
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_breaks_off_when_its_reader_may_read_it_no_more() {
    let served = Served::start().await;
    let carla = served.person("carla").await;
    let opened = crate::sessions::open(&served).await;
    let session = opened.permit.facts().session;
    let text = bytes::Bytes::from(vec![b'x'; 32 * 1024]);
    for at_us in 0..512 {
        let frame = Frame { at_us, channel: 0, direction: Direction::Output, kind: FrameKind::Bytes, bytes: text.clone() };
        opened.recording.record(frame).await.unwrap();
    }
    opened.recording.close("client", 512).await.unwrap();
    let closed = ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 1, bytes_down: 1, recording: None };
    served.test.gate.close(closed).await;

    let path = format!("/sessions/{session}/recording");
    let (whole, ended) = rest(slowly(&carla, &path).await).await;
    assert!(ended && whole > 512 * 32 * 1024, "{whole} bytes");

    let slow = slowly(&carla, &path).await;
    let mut files = served.test.gate.bundle().files().clone();
    let rule = "@id(\"carla-reads-nothing\")\n@reason(\"a drill\")\nforbid (principal == Tide::User::\"carla\", action == Tide::Action::\"read\", resource);\n";
    files.insert("drill.cedar".into(), rule.as_bytes().to_vec());
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    let (got, ended) = rest(slow).await;
    assert!(!ended && got < whole, "{got} of {whole} bytes");
}
