//! Clients that mean harm: no stock client does what these do.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::session::EndReason;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, client};
use tidegate_proxy::ssh::DoorLimits;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::gate::{Setup, everything};
use crate::town::Town;

pub(crate) struct Trusting;
impl client::Handler for Trusting {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// Ana, signed in.
pub(crate) async fn ana(town: &Town) -> client::Handle<Trusting> {
    let mut ana = client::connect(Arc::default(), ("127.0.0.1", town.port), Trusting).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(PrivateKey::read_openssh_file(&town.ana).unwrap()), None);
    assert!(ana.authenticate_publickey("db-1", key).await.unwrap().success());
    ana
}

/// Runs a command to its end; what it said on either stream.
pub(crate) async fn output(mut channel: Channel<client::Msg>) -> String {
    let mut said = Vec::new();
    let reading = async {
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } = message {
                said.extend_from_slice(&data);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("the channel does not end");
    String::from_utf8(said).unwrap()
}

pub(crate) async fn run(ana: &client::Handle<Trusting>, command: &str) -> String {
    let channel = ana.channel_open_session().await.unwrap();
    channel.exec(true, command).await.unwrap();
    output(channel).await
}

fn refused(town: &Town, what: &str) -> usize {
    town.gate.refused.borrow().iter().filter(|r| r.what == what).count()
}

// covers: E7 (ssh), B1 (ssh)
#[tokio::test]
async fn a_flood_of_refused_channels_ends_the_connection_with_one_entry() {
    let town = Town::open(everything()).await;
    let ana = ana(&town).await;
    let held = ana.channel_open_session().await.unwrap();
    held.exec(true, "cat").await.unwrap();
    let begun = Instant::now();
    // A few are refused, entered one by one, and the session goes on.
    for _ in 0..3 {
        assert!(ana.channel_open_x11("127.0.0.1", 6000).await.is_err());
    }
    assert_eq!(run(&ana, "echo in").await, "in\n");
    assert_eq!(refused(&town, "x11"), 3);
    let flooding = async {
        while !ana.is_closed() {
            let _ = ana.channel_open_x11("127.0.0.1", 6000).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flooding).await.expect("the flood goes on");
    assert_eq!(town.gate.ended().await.end, EndReason::Error);
    // 64 at once, and one for each tenth of a second that passed.
    let tenths = usize::try_from(begun.elapsed().as_millis() / 100).unwrap();
    assert!((64..=64 + tenths).contains(&refused(&town, "x11")), "{} in {tenths} tenths", refused(&town, "x11"));
    assert_eq!((refused(&town, "flood"), refused(&town, "refusals")), (1, 1));
    drop(held);
}

// covers: E7 (ssh)
#[tokio::test]
async fn too_many_channels_are_entered_once() {
    let door = DoorLimits { channels: 3, ..DoorLimits::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    let ana = ana(&town).await;
    let held = ana.channel_open_session().await.unwrap();
    held.exec(true, "cat").await.unwrap();
    assert_eq!(run(&ana, "echo in").await, "in\n");
    let two = (ana.channel_open_session().await.unwrap(), ana.channel_open_session().await.unwrap());
    for _ in 0..50 {
        assert!(ana.channel_open_session().await.is_err());
        assert!(ana.channel_open_direct_tcpip("127.0.0.1", 9, "127.0.0.1", 9).await.is_err());
    }
    drop(two);
    held.eof().await.unwrap();
    output(held).await;
    ana.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
    town.gate.ended().await;
    assert_eq!((refused(&town, "channels"), refused(&town, "refusals")), (1, 1));
}

// covers: B1 (ssh)
#[tokio::test]
async fn channels_and_requests_of_every_other_kind_are_refused_and_the_session_goes_on() {
    let town = Town::open(everything()).await;
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python");
    let script = r#"
import paramiko, sys
t = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
t.connect(username="db-1", pkey=paramiko.Ed25519Key.from_private_key_file(sys.argv[2]))
held = t.open_session(); held.exec_command("cat")
for kind in ["tun@openssh.com", "auth-agent@openssh.com", "session@nowhere", "a\x1b[2Jb\nc"]:
    try:
        t.open_channel(kind)
        print("opened", kind)
    except paramiko.SSHException:
        print("refused")
for kind in ["no-more-sessions@openssh.com", "hostkeys-prove-00@openssh.com", "tunnel@nowhere"]:
    print("granted" if t.global_request(kind, (), wait=True) else "refused")
s = t.open_session(); s.exec_command("echo in"); print(s.recv(100).decode().strip())
try:
    s = t.open_session(); s.invoke_subsystem("netconf"); print(s.recv_stderr(100).decode().strip(), s.recv_exit_status())
except paramiko.SSHException:
    print("refused")
t.close()
"#;
    let out = tokio::process::Command::new(python)
        .args(["-c", script, &town.port.to_string()])
        .arg(&town.ana)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.get(..7), Some(&["refused"; 7][..]), "{out:?}");
    assert_eq!(lines[7], "in");
    assert!(lines[8].contains("Your role does not include this") && lines[8].ends_with("77"), "{said}");
    town.gate.ended().await;
    let refused: Vec<_> = town.gate.refused.borrow().iter().map(|r| (r.what, r.detail.clone())).collect();
    for kind in ["tun@openssh.com", "auth-agent@openssh.com", "a\\u{1b}[2Jb\\u{a}c"] {
        assert!(refused.contains(&("channel", kind.to_owned())), "{kind}: {refused:?}");
    }
    assert!(refused.contains(&("subsystem", "netconf".to_owned())), "{refused:?}");
    // Of requests about the whole connection just those that mean nothing here: what every client says is no entry.
    let global: Vec<_> = refused.iter().filter(|(what, _)| *what == "global_request").map(|(_, detail)| detail.as_str()).collect();
    assert_eq!(global, ["tunnel@nowhere"]);
}

// covers: E1 (ssh), F6 (ssh)
#[tokio::test]
async fn a_lie_about_the_length_of_content_ends_the_session_with_a_sentence() {
    let town = Town::open(everything()).await;
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python");
    let script = r#"
import paramiko, struct, sys
port, key, path, said = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode(), int(sys.argv[4])
t = paramiko.Transport(("127.0.0.1", port))
t.connect(username="db-1", pkey=paramiko.Ed25519Key.from_private_key_file(key))
c = t.open_session(); c.invoke_subsystem("sftp")
s = lambda b: struct.pack(">I", len(b)) + b
send = lambda kind, body: c.sendall(struct.pack(">IB", len(body) + 1, kind) + body)
def answer():
    have = b""
    while len(have) < 4 or len(have) < 4 + struct.unpack(">I", have[:4])[0]:
        more = c.recv(4096)
        if not more:
            print("closed:", c.recv_stderr(1000).decode().strip()); sys.exit()
        have += more
    return have[5:]
send(1, struct.pack(">I", 3)); answer()
send(3, struct.pack(">I", 1) + s(path) + struct.pack(">II", 0x1a, 0)); handle = answer()[8:12]
send(6, struct.pack(">I", 2) + s(handle) + struct.pack(">QI", 0, said) + b"hello"); answer()
send(4, struct.pack(">I", 3) + s(handle)); answer()
print("written")
t.close()
"#;
    let write = async |said: u32| {
        let out = tokio::process::Command::new(python)
            .args(["-c", script, &town.port.to_string()])
            .args([&town.ana, &town.target.dir().join("put")])
            .arg(said.to_string())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!(write(5).await, "written\n");
    assert_eq!(town.gate.ended().await.end, EndReason::Client);
    let told = write(3).await;
    assert!(
        told.starts_with("closed: tidegate: This session was closed") && told.contains("says that 3 bytes of a file follow, and 5 do"),
        "{told}"
    );
    let mut ended = town.gate.ended.subscribe();
    let ended = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|e| e.len() == 2)).await.unwrap().unwrap().clone();
    assert_eq!(ended[1].end, EndReason::Error);
    assert_eq!(town.gate.activities("sftp.unreadable").len(), 1);
}

// covers: E7 (ssh), SSH-3 (ssh)
#[tokio::test]
async fn tiny_packets_towards_a_target_that_reads_nothing_hold_up_nothing_else() {
    let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
    let ana = ana(&town).await;
    let stuck = ana.channel_open_session().await.unwrap();
    stuck.exec(true, "exec sleep 1000").await.unwrap();
    // Fills what the target takes, and more: from here on nothing is passed on.
    stuck.data(&vec![0u8; 3 << 20][..]).await.unwrap();
    let many = async {
        for _ in 0..10_000 {
            stuck.data(&b"x"[..]).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(180), many).await.expect("held back although the window is open");
    assert_eq!(run(&ana, "echo in").await, "in\n");
    drop(stuck);
}

// covers: E7 (ssh), B7 (ssh)
#[tokio::test]
async fn variables_are_counted_and_measured() {
    let town = Town::open(everything()).await;
    let ana_ = ana(&town).await;
    let some = ana_.channel_open_session().await.unwrap();
    for n in 0..500 {
        some.set_env(false, "GREETING", n.to_string()).await.unwrap();
    }
    some.exec(true, "echo $GREETING").await.unwrap();
    assert_eq!(output(some).await, "63\n", "the first 64 are kept");
    let long = ana_.channel_open_session().await.unwrap();
    long.set_env(false, "GREETING", "short").await.unwrap();
    long.set_env(false, "LC_X", "x".repeat(60_000)).await.unwrap();
    long.set_env(false, "GREETING", "x".repeat(30_000)).await.unwrap();
    long.set_env(false, "LC_A=b LD_PRELOAD", "x").await.unwrap();
    long.exec(true, "echo $GREETING ${#LC_X}; env | grep -c LD_PRELOAD").await.unwrap();
    let told = output(long).await;
    assert!(told.starts_with("short ") && told.ends_with("\n0\n"), "what is too long is left out, and what hides in a name: {told}");
    assert_eq!(refused(&town, "env"), 1);
    // Ten thousand are a flood.
    let many = ana_.channel_open_session().await.unwrap();
    for _ in 0..10_000 {
        if many.set_env(false, "GREETING", "x").await.is_err() {
            break;
        }
    }
    assert_eq!(town.gate.ended().await.end, EndReason::Error);
    assert_eq!((refused(&town, "env"), refused(&town, "flood")), (1, 1));
}

// covers: E7 (ssh)
#[tokio::test]
async fn a_channel_on_which_nothing_is_started_is_closed() {
    let door = DoorLimits { grace: Duration::from_secs(4), ..DoorLimits::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    let ana = ana(&town).await;
    assert_eq!(run(&ana, "sleep 5; echo in").await, "in\n");
    let idle = ana.channel_open_session().await.unwrap();
    let start = Instant::now();
    assert!(output(idle).await.contains("Nothing was started on this channel for 4 s."));
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(run(&ana, "echo on").await, "on\n");
}

// covers: E7 (ssh)
#[tokio::test]
async fn a_slow_target_that_is_overtaken_is_dialled_once() {
    let town = Town::open(everything()).await;
    // In front of the target: a listener that keeps the first connection waiting for longer than a remote forward waits.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap().port();
    let (target, key) = (town.target.port(), town.target.host_key().to_owned());
    town.gate.setup.lock().unwrap().instead = Some((slow, key));
    let dialled = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = dialled.clone();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(11_500)).await;
                let mut to = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let ana = ana(&town).await;
    assert!(ana.tcpip_forward("127.0.0.1", 0).await.is_err(), "it waits ten seconds at most");
    assert_eq!(run(&ana, "echo in").await, "in\n");
    assert_eq!(dialled.load(std::sync::atomic::Ordering::Acquire), 1);
    assert_eq!(town.gate.standings.lock().unwrap().len(), 1, "one session");
    ana.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
    town.gate.ended().await;
    assert_eq!(town.gate.ended.borrow().len(), 1);
}

/// A connection to the gate from an address of one's own.
async fn from(last: u8, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, last], 0).into())?;
    socket.connect(([127, 0, 0, 1], port).into()).await
}

// covers: E7 (ssh)
#[tokio::test]
async fn hundreds_of_half_open_connections_disturb_nobody() {
    half_open(300, DoorLimits { strangers: 64, strangers_per_address: 16, grace: Duration::from_secs(8), ..DoorLimits::default() }).await;
}

// covers: E7 (ssh)
#[tokio::test(flavor = "multi_thread")]
#[ignore = "full scale, and takes 12,000 open files; `make soak` runs it"]
async fn ten_thousand_half_open_connections_disturb_nobody() {
    half_open(10_000, DoorLimits::default()).await;
}

/// So many connections from forty addresses say half of a greeting, or nothing, and go on a byte at a time; meanwhile somebody works, and
/// others come in.
async fn half_open(connections: u16, door: DoorLimits) {
    let (most, grace) = (door.strangers, door.grace);
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    let mut works = town.ssh(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut lines) = (works.stdin.take().unwrap(), BufReader::new(works.stdout.take().unwrap()).lines());
    input.write_all(b"before\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "before");
    let mut lingering = Vec::new();
    for n in 0..connections {
        // One that is turned away at once was no lesser attempt; one that this test's own machine refuses was none.
        let mut stream = from(10 + u8::try_from(n % 40).unwrap(), town.port).await.expect("more open files are needed: `ulimit -n 20000`");
        // Half of them say a part of the banner, and then a byte at a time.
        if n % 2 == 0 {
            let _ = stream.write_all(b"SSH-").await;
        }
        lingering.push(stream);
    }
    assert_eq!(lingering.len(), usize::from(connections));
    assert!(lingering.len() > most, "more than the door holds");
    let until = std::time::Instant::now() + grace + Duration::from_secs(4);
    let dripping = tokio::spawn(async move {
        while std::time::Instant::now() < until {
            for stream in &mut lingering {
                let _ = stream.write_all(b"x").await;
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        let all_by = tokio::time::Instant::now() + Duration::from_secs(10);
        let mut open = 0;
        for stream in &mut lingering {
            let mut rest = Vec::new();
            open += usize::from(tokio::time::timeout_at(all_by, stream.read_to_end(&mut rest)).await.is_err());
        }
        open
    });
    for round in 0..5 {
        let out =
            tokio::time::timeout(Duration::from_secs(30), town.ssh(&["echo in"]).output()).await.expect("the door is blocked").unwrap();
        assert_eq!(out.stdout, b"in\n", "{out:?}");
        input.write_all(format!("line {round}\n").as_bytes()).await.unwrap();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), format!("line {round}"));
    }
    input.write_all(b"after\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "after");
    assert_eq!(dripping.await.unwrap(), 0, "all of them are gone after the grace time");
}

// covers: A6 (ssh)
#[tokio::test]
async fn a_packet_put_in_before_the_keys_are_new_ends_the_connection() {
    let packet = |payload: &[u8]| {
        let padding = 8 - (payload.len() + 5) % 8 + 8;
        let mut packet = u32::try_from(payload.len() + padding + 1).unwrap().to_be_bytes().to_vec();
        packet.push(u8::try_from(padding).unwrap());
        packet.extend(payload);
        packet.extend(vec![0; padding]);
        packet
    };
    let mut kexinit = vec![20];
    kexinit.extend([7; 16]);
    let kex = "curve25519-sha256,kex-strict-c-v00@openssh.com";
    for list in [kex, "ssh-ed25519", "aes256-gcm@openssh.com", "aes256-gcm@openssh.com", "", "", "none", "none", "", ""] {
        kexinit.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
        kexinit.extend(list.as_bytes());
    }
    kexinit.extend([0; 5]);
    let town = Town::open(everything()).await;
    for (inserted, stays) in [(&[][..], true), (&[2, 0, 0, 0, 0][..], false)] {
        let mut stream = TcpStream::connect(("127.0.0.1", town.port)).await.unwrap();
        stream.write_all(b"SSH-2.0-Test\r\n").await.unwrap();
        stream.write_all(&packet(&kexinit)).await.unwrap();
        if !inserted.is_empty() {
            stream.write_all(&packet(inserted)).await.unwrap();
        }
        let mut heard = Vec::new();
        let reading = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut heard)).await;
        assert!(heard.windows(28).any(|w| w == b"kex-strict-s-v00@openssh.com"), "strict key exchange is offered");
        assert_eq!(reading.is_err(), stays, "SSH_MSG_IGNORE before SSH_MSG_NEWKEYS");
    }
}
