//! Forwarded connections and the forwarded agent.

use std::process::Stdio;
use std::time::Duration;

use access::rights::SshRights;
use access::session::Onward;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::gate::everything;
use crate::town::Town;

/// A service that answers each connection with what it got, reversed, and closes.
async fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await.unwrap();
                got.reverse();
                stream.write_all(&got).await.unwrap();
            });
        }
    });
    port
}

pub(crate) fn free_port() -> u16 {
    testkit::ports::free().unwrap().port()
}

/// Connects as soon as somebody listens.
pub(crate) async fn connect(port: u16) -> TcpStream {
    let trying = async {
        loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), trying).await.expect("nobody listens")
}

async fn reversed(mut stream: TcpStream) -> Vec<u8> {
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got).await;
    got
}

// covers: SSH-1 (ssh), SSH-2 (ssh), MAY-9 (ssh), B1 (ssh)
#[tokio::test]
async fn local_forwards_lead_only_where_the_role_says() {
    let service = service().await;
    let allowed = |to: String| SshRights { local_forward: vec![to.parse().unwrap()], ..everything() };
    for (rights, expected) in [
        (allowed(format!("127.0.0.1:{service}")), &b"cba"[..]),
        (allowed(format!("127.0.0.1:{}", service ^ 1)), b""),
        (allowed("*:*".into()), b""),
        (SshRights { local_forward: Vec::new(), ..everything() }, b""),
    ] {
        let shown = format!("{:?}", rights.local_forward);
        let town = Town::open(rights).await;
        let port = free_port();
        let _ssh = town.ssh_with(&["-N", "-L", &format!("{port}:127.0.0.1:{service}")], &[]).spawn().unwrap();
        assert_eq!(reversed(connect(port).await).await, expected, "{shown}");
        if expected.is_empty() {
            assert_eq!(town.gate.refused.borrow()[0].what, "local_forward");
            assert!(town.gate.onward.lock().unwrap().is_empty());
        } else {
            assert_eq!(*town.gate.onward.lock().unwrap(), [(Onward::Forward, format!("127.0.0.1:{service}"))]);
            assert_eq!(town.gate.activities("forward.local")[0]["to"], format!("127.0.0.1:{service}"));
            let mut refreshed = 0;
            while town.gate.activities("channel.closed").is_empty() {
                refreshed += 1;
                assert!(refreshed < 6_000);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(town.gate.activities("channel.closed")[0]["out"]["bytes"], 3);
        }
    }
}

// covers: F1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn a_long_forward_says_how_far_it_has_come() {
    let much = 70 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { stream.write_all(&vec![0; much]).await });
        }
    });
    let town = Town::open(everything()).await;
    let port = free_port();
    let _ssh = town.ssh_with(&["-N", "-L", &format!("{port}:127.0.0.1:{service}")], &[]).spawn().unwrap();
    let mut got = Vec::new();
    connect(port).await.read_to_end(&mut got).await.unwrap();
    assert_eq!(got.len(), much);
    let told = town.gate.activities("channel.under_way");
    assert!(told.iter().any(|told| told["out"]["bytes"].as_u64().unwrap() > 0), "{told:?}");
}

// covers: SSH-1 (ssh), B1 (ssh)
#[tokio::test]
async fn remote_forwards_need_the_right_to_them() {
    let service = service().await;
    let town = Town::open(everything()).await;
    let port = free_port();
    let remote = format!("127.0.0.1:{port}:127.0.0.1:{service}");
    let _ssh = town.ssh_with(&["-N", "-oExitOnForwardFailure=yes", "-R", &remote], &[]).spawn().unwrap();
    assert_eq!(reversed(connect(port).await).await, b"cba");
    assert_eq!(town.gate.activities("forward.listening")[0]["port"], port);
    assert_eq!(town.gate.activities("forward.remote").len(), 1);
    // It leads from the target to its user, and not on.
    assert!(town.gate.onward.lock().unwrap().is_empty());

    let town = Town::open(SshRights { remote_forward: Vec::new(), ..everything() }).await;
    let out = town.ssh_with(&["-N", "-oExitOnForwardFailure=yes", "-R", &remote], &[]).output().await.unwrap();
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("remote port forwarding failed"), "{out:?}");
    assert_eq!(town.gate.refused.borrow()[0].what, "remote_forward");
}

// covers: B1 (ssh)
#[tokio::test]
async fn sockets_are_not_forwarded() {
    let service = service().await;
    let town = Town::open(everything()).await;
    let port = free_port();
    let _ssh = town.ssh_with(&["-N", "-L", &format!("{port}:127.0.0.1:{service}")], &[]).spawn().unwrap();
    assert_eq!(reversed(connect(port).await).await, b"cba");
    let port = free_port();
    let _ssh = town.ssh_with(&["-N", "-L", &format!("{port}:/run/some.sock")], &[]).spawn().unwrap();
    assert_eq!(reversed(connect(port).await).await, b"");
    let socket = town.path("sock");
    let remote = format!("{}:127.0.0.1:{service}", socket.display());
    let out = town.ssh_with(&["-N", "-oExitOnForwardFailure=yes", "-R", &remote], &[]).output().await.unwrap();
    assert!(!out.status.success() && !socket.exists(), "{out:?}");
}

// covers: SSH-1 (ssh), MAY-9 (ssh), B1 (ssh)
#[tokio::test]
async fn the_agent_is_reached_only_by_a_role_that_says_so() {
    for (agent_forward, expected) in [(true, "ssh-ed25519"), (false, "")] {
        let town = Town::open(SshRights { agent_forward, ..everything() }).await;
        let socket = town.path("agent");
        let mut agent = tokio::process::Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let added = tokio::process::Command::new("ssh-add")
            .arg("-q")
            .arg(&town.ana)
            .env("SSH_AUTH_SOCK", &socket)
            .stderr(Stdio::null())
            .status()
            .await
            .unwrap();
        assert!(added.success());
        let mut ssh = town.tool("ssh", &[]);
        let mut plain = tokio::process::Command::new("ssh");
        let options: Vec<_> = town.options().into_iter().filter(|o| !o.contains("IdentityAgent")).collect();
        plain
            .args(options)
            .args(["-A", "-p", &town.port.to_string(), "db-1@127.0.0.1", "ssh-add -L"])
            .env("SSH_AUTH_SOCK", &socket)
            .stdin(Stdio::null());
        let out = plain.output().await.unwrap();
        assert!(String::from_utf8_lossy(&out.stdout).starts_with(expected), "{out:?}");
        assert_eq!(out.stdout.is_empty(), expected.is_empty(), "{out:?}");
        assert_eq!(town.gate.activities("agent.used").len(), usize::from(agent_forward));
        let onward = town.gate.onward.lock().unwrap().clone();
        assert_eq!(onward, if agent_forward { vec![(Onward::Agent, String::new())] } else { Vec::new() });
        let _ = (ssh.kill_on_drop(true), agent.start_kill());
    }
}

// covers: B6 (ssh)
#[tokio::test]
async fn a_wildcard_covers_no_name_that_leads_to_the_gate_or_the_target_itself() {
    // A name of this machine that does not look like one: here it is the gate's, and the target's.
    let out = tokio::process::Command::new("hostname").output().await.unwrap();
    let name = String::from_utf8(out.stdout).unwrap().trim().to_lowercase();
    assert!(!access::rights::is_guarded(&name), "the host name {name} says by itself where it leads");
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let reached = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = reached.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            let _ = stream.write_all(b"here").await;
        }
    });
    for (right, reaches) in [(format!("{name}:{port}"), true), (format!("*:{port}"), false)] {
        let town = Town::open(SshRights { local_forward: vec![right.parse().unwrap()], ..everything() }).await;
        let out = town.ssh_with(&["-W", &format!("{name}:{port}")], &[]).output().await.unwrap();
        assert_eq!(out.stdout, if reaches { &b"here"[..] } else { b"" }, "{right}: {out:?}");
        if reaches {
            // What is named goes to the target as it is.
            assert_eq!(town.gate.activities("forward.local")[0]["addresses"], serde_json::Value::Null);
        } else {
            let refused = town.gate.refused.borrow().clone();
            assert!(
                refused[0].what == "local_forward" && refused[0].detail.contains(&format!("{name}:{port}, which leads to ")),
                "{refused:?}"
            );
        }
    }
    assert_eq!(reached.load(std::sync::atomic::Ordering::Acquire), 1);
}
