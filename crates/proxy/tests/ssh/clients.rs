//! What stock clients do, does.

use std::process::Stdio;
use std::time::Duration;

use russh::ChannelMsg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gate::{Setup, everything};
use crate::hostile_clients::ana;
use crate::town::{Town, random_file, sha256};

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn a_command_has_its_output_errors_and_exit_status() {
    let town = Town::open(everything()).await;
    let out = town.ssh(&["echo out; echo err >&2; exit 7"]).output().await.unwrap();
    assert_eq!((out.stdout.as_slice(), out.stderr.as_slice(), out.status.code()), (&b"out\n"[..], &b"err\n"[..], Some(7)));
    let closed = town.gate.ended().await;
    assert!(closed.confirmed);
    assert_eq!(closed.end, access::session::EndReason::Client);
    assert_eq!((town.gate.output(), town.gate.errors()), ("out\n".into(), "err\n".into()));
    assert_eq!(town.gate.activities("exec")[0]["command"], "echo out; echo err >&2; exit 7");
    assert_eq!(town.gate.activities("channel.closed")[0]["exit"]["status"], 7);
}

// covers: CRED-2 (ssh)
#[tokio::test]
async fn a_target_that_trusts_only_the_ca_is_reached_by_certificate() {
    let town = Town::new(Setup { certificate_only: true, ..Setup::default() }).await;
    let out = town.ssh(&["echo in"]).output().await.unwrap();
    assert_eq!(out.stdout, b"in\n", "{out:?}\n{}", town.target.log());
}

// covers: SSH-1 (ssh)
#[tokio::test]
async fn sixty_four_mebibytes_go_there_and_back() {
    let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
    let (sent, received) = (town.path("sent"), town.path("received"));
    random_file(&sent, 64 << 20, 7);
    let status = town
        .ssh(&["cat"])
        .stdin(Stdio::from(std::fs::File::open(&sent).unwrap()))
        .stdout(Stdio::from(std::fs::File::create(&received).unwrap()))
        .status()
        .await
        .unwrap();
    assert!(status.success());
    assert_eq!(sha256(&sent), sha256(&received));
    town.gate.ended().await;
    let closed = &town.gate.activities("channel.closed")[0];
    assert_eq!(closed["in"]["sha256"], sha256(&sent));
    assert_eq!(closed["out"]["sha256"], sha256(&sent));
}

// covers: SSH-3 (ssh)
#[tokio::test]
async fn both_directions_full_do_not_wait_for_each_other() {
    // What the target sends back is read only after everything was sent: each direction must wait by itself.
    let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
    let mut ssh = town.ssh(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let total: usize = 48 << 20;
    let writer = tokio::spawn(async move {
        let block = vec![7u8; 1 << 16];
        let mut sent = 0;
        while sent < total {
            input.write_all(&block).await.unwrap();
            sent += block.len();
        }
    });
    // A reader that begins when the writer is stuck.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut received = 0;
    let mut block = vec![0u8; 1 << 16];
    let reading = async {
        while received < total {
            let n = output.read(&mut block).await.unwrap();
            assert_ne!(n, 0);
            received += n;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), reading).await.expect("the relay waits for itself");
    writer.await.unwrap();
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn a_shell_in_a_terminal() {
    let town = Town::open(everything()).await;
    let mut ssh = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = ssh.stdin.take().unwrap();
    input.write_all(b"tty; echo two$((1+1)); exit 3\n").await.unwrap();
    let out = ssh.wait_with_output().await.unwrap();
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(shown.contains("/dev/pts/") && shown.contains("two2"), "{shown}");
    assert_eq!(out.status.code(), Some(3));
    town.gate.ended().await;
    assert_eq!(town.gate.output(), shown);
    assert!(town.gate.input().starts_with("tty; echo"));
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn files_by_scp_in_both_forms_sftp_and_rsync() {
    let town = Town::open(everything()).await;
    let sent = town.path("sent");
    random_file(&sent, 3 << 20, 11);
    let digest = sha256(&sent);
    let port = town.port.to_string();
    for form in ["-O", "-s"] {
        let (there, back) = (town.target.dir().join(format!("there{form}")), town.path(&format!("back{form}")));
        let remote = format!("db-1@127.0.0.1:{}", there.display());
        let up = town.tool("scp", &[form, "-P", &port, sent.to_str().unwrap(), &remote]).output().await.unwrap();
        assert!(up.status.success(), "{up:?}");
        assert_eq!(sha256(&there), digest);
        let down = town.tool("scp", &[form, "-P", &port, &remote, back.to_str().unwrap()]).output().await.unwrap();
        assert!(down.status.success(), "{down:?}");
        assert_eq!(sha256(&back), digest);
    }
    let there = town.target.dir().join("there-sftp");
    let mut sftp =
        town.tool("sftp", &["-b", "-", "-P", &port, "db-1@127.0.0.1"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let batch =
        format!("put {} {}\nrename {} {}2\nrm {}2\n", sent.display(), there.display(), there.display(), there.display(), there.display());
    sftp.stdin.take().unwrap().write_all(batch.as_bytes()).await.unwrap();
    assert!(sftp.wait().await.unwrap().success());
    let (there, back) = (town.target.dir().join("there-rsync"), town.path("back-rsync"));
    for (from, to) in [
        (sent.display().to_string(), format!("db-1@127.0.0.1:{}", there.display())),
        (format!("db-1@127.0.0.1:{}", there.display()), back.display().to_string()),
    ] {
        let out = tokio::process::Command::new("rsync").args(["-e", &town.ssh_line(), &from, &to]).output().await.unwrap();
        assert!(out.status.success(), "{out:?}");
    }
    assert_eq!(sha256(&back), digest);
    let files: Vec<_> = town.gate.activities("sftp").into_iter().filter(|a| a["act"] == "file").collect();
    let written: Vec<_> =
        files.iter().filter(|f| f["written"]["sha256"] == *digest).map(|f| f["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(written.len(), 2, "one by scp, one by sftp: {files:?}");
    assert!(files.iter().any(|f| f["read"]["sha256"] == *digest), "{files:?}");
    let acts: Vec<_> = town.gate.activities("sftp").iter().map(|a| a["act"].as_str().unwrap().to_owned()).collect();
    assert!(acts.contains(&"rename".to_owned()) && acts.contains(&"remove".to_owned()), "{acts:?}");
    let commands: Vec<_> = town.gate.activities("exec").iter().map(|a| a["command"].as_str().unwrap().to_owned()).collect();
    assert!(commands.iter().any(|c| c.starts_with("scp -t")) && commands.iter().any(|c| c.starts_with("rsync --server")), "{commands:?}");
}

/// `ssh` in between, that keeps what passes: what a client sent and received, to compare with what was recorded. What comes when its client
/// listens no more is kept as well.
fn tapped(town: &Town) -> String {
    let script = town.path("tapped-ssh");
    let dir = town.dir.path().display();
    let text = format!("#!/bin/bash\nexec {} \"$@\" < <(tee {dir}/tap-in.$$) > >(tee -p {dir}/tap-out.$$)\n", town.ssh_line());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script.display().to_string()
}

/// What went in and out of each channel by the recording is what went in and out of each client: bytes and digest, for so many of them.
async fn recorded_as_tapped(town: &Town, channels: usize) {
    let mut ended = town.gate.ended.subscribe();
    let all = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|ended| ended.len() >= channels)).await;
    all.expect("not all sessions ended").unwrap();
    let sizes = |kind: &str| {
        let closed = town.gate.activities("channel.closed");
        let mut recorded: Vec<_> = closed
            .iter()
            .map(|closed| (closed[kind]["bytes"].as_u64().unwrap(), closed[kind]["sha256"].as_str().unwrap().to_owned()))
            .collect();
        recorded.sort();
        let files = std::fs::read_dir(town.dir.path()).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with(&format!("tap-{kind}.")));
        let mut passed: Vec<_> = files.map(|file| (std::fs::metadata(&file).unwrap().len(), sha256(&file))).collect();
        passed.sort();
        (recorded, passed)
    };
    // What is kept in between may be written a moment after it was passed on.
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while ["in", "out"].iter().any(|kind| sizes(kind).0 != sizes(kind).1) && std::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ((sent, passed), (received, returned)) = (sizes("in"), sizes("out"));
    assert_eq!((&sent, &received), (&passed, &returned));
    assert_eq!((sent.len(), received.len()), (channels, channels));
    assert!(sent.iter().chain(&received).all(|(size, _)| *size > 0), "{sent:?} {received:?}");
}

// covers: SSH-2 (ssh)
#[tokio::test]
async fn of_rsync_both_streams_are_recorded_by_size_and_digest() {
    let town = Town::open(everything()).await;
    let (sent, there, back) = (town.path("sent"), town.target.dir().join("there"), town.path("back"));
    random_file(&sent, 1 << 20, 17);
    for (from, to) in [
        (sent.display().to_string(), format!("db-1@127.0.0.1:{}", there.display())),
        (format!("db-1@127.0.0.1:{}", there.display()), back.display().to_string()),
    ] {
        // What taps its output would otherwise be given one that does not wait.
        let out = tokio::process::Command::new("rsync").args(["--blocking-io", "-e", &tapped(&town), &from, &to]).output().await.unwrap();
        assert!(out.status.success(), "{out:?}");
    }
    assert_eq!(sha256(&back), sha256(&sent));
    recorded_as_tapped(&town, 2).await;
}

// covers: SSH-2 (ssh), SES-3 (ssh)
#[tokio::test]
async fn what_is_only_called_like_a_file_transfer_does_not_go_unrecorded() {
    let tools = tempfile::tempdir().unwrap();
    let scp = tools.path().join("scp");
    std::fs::write(&scp, "#!/bin/sh\nexec sh\n").unwrap();
    std::fs::set_permissions(&scp, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("SetEnv PATH={}:/usr/bin:/bin", tools.path().display());
    for direction in ["-t", "-f"] {
        let town = Town::new(Setup { sshd: vec![path.clone()], ..Setup::default() }).await;
        let mut shell = town.ssh(&[&format!("scp {direction} x")]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let noise = "x".repeat(70_000);
        let script = format!(": {noise}\necho done | tr a-z A-Z; echo {noise}\necho still$((40+2))\nexit\n");
        shell.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
        let said = String::from_utf8(shell.wait_with_output().await.unwrap().stdout).unwrap();
        assert!(said.contains("DONE") && said.contains("still42"), "it is a shell");
        town.gate.ended().await;
        // The side that would carry no file is kept whole, of the other the beginning.
        let (typed, shown) = (town.gate.input(), town.gate.output());
        let whole = if direction == "-t" { shown.contains("DONE") && shown.contains("still42") } else { typed == script };
        assert!(whole, "{direction}");
        assert!(typed.starts_with(": xxx") && shown.starts_with("DONE"), "{direction}");
    }
}

// covers: SSH-1 (ssh)
#[tokio::test]
async fn keys_are_exchanged_anew_under_way() {
    let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
    let (sent, received) = (town.path("sent"), town.path("received"));
    random_file(&sent, 24 << 20, 13);
    let status = town
        .ssh_with(&["-oRekeyLimit=2M"], &["cat"])
        .stdin(Stdio::from(std::fs::File::open(&sent).unwrap()))
        .stdout(Stdio::from(std::fs::File::create(&received).unwrap()))
        .status()
        .await
        .unwrap();
    assert!(status.success());
    assert_eq!(sha256(&sent), sha256(&received));
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn git_clones_and_pushes() {
    let town = Town::open(everything()).await;
    let git = |dir: &std::path::Path, arguments: &[&str]| {
        let mut git = tokio::process::Command::new("git");
        git.current_dir(dir)
            .args(["-c", "user.name=Ana", "-c", "user.email=ana@example.org", "-c", "init.defaultBranch=main"])
            .args(arguments);
        git.env("GIT_SSH_COMMAND", tapped(&town)).env("GIT_SSH_VARIANT", "simple").env("HOME", town.dir.path());
        git
    };
    let far = town.target.dir().to_owned();
    assert!(git(&far, &["init", "-q", "--bare", "far.git"]).status().await.unwrap().success());
    let url = format!("db-1@127.0.0.1:{}/far.git", far.display());
    let out = git(town.dir.path(), &["clone", "-q", &url, "near"]).output().await.unwrap();
    assert!(out.status.success(), "{out:?}");
    let near = town.path("near");
    std::fs::write(near.join("file"), "content").unwrap();
    for arguments in [&["add", "file"][..], &["commit", "-qm", "one"], &["push", "-q", "origin", "HEAD:main"]] {
        let out = git(&near, arguments).output().await.unwrap();
        assert!(out.status.success(), "{arguments:?}: {out:?}");
    }
    let commands: Vec<_> = town.gate.activities("exec").iter().map(|a| a["command"].as_str().unwrap().to_owned()).collect();
    assert!(commands.iter().any(|c| c.starts_with("git-receive-pack")), "{commands:?}");
    assert!(commands.iter().any(|c| c.starts_with("git-upload-pack")), "{commands:?}");
    recorded_as_tapped(&town, 2).await;
}

// covers: SSH-1 (ssh)
#[tokio::test]
async fn dropbear_and_putty_come_in_too() {
    let town = Town::open(everything()).await;
    let port = town.port.to_string();
    let converted = town.path("ana.dropbear");
    let status = tokio::process::Command::new("dropbearconvert")
        .args(["openssh", "dropbear"])
        .args([&town.ana, &converted])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(status.success());
    // Both close as soon as nothing more is said, and hear how a program ended only before that.
    let out = tokio::process::Command::new("dbclient")
        .args([
            "-y",
            "-y",
            "-p",
            &port,
            "-i",
            converted.to_str().unwrap(),
            "db-1@127.0.0.1",
            "echo dropbear; exec >&- 2>&-; sleep 0.2; exit 4",
        ])
        .env("HOME", town.dir.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert_eq!((out.stdout.as_slice(), out.status.code()), (&b"dropbear\n"[..], Some(4)), "{out:?}");

    let ppk = town.path("ana.ppk");
    let status = tokio::process::Command::new("puttygen").arg(&town.ana).arg("-o").arg(&ppk).status().await.unwrap();
    assert!(status.success());
    let host = testkit::sshd::public_half(&town.path("gate_host")).unwrap();
    std::fs::write(town.path("host.pub"), format!("{host}\n")).unwrap();
    let print = tokio::process::Command::new("ssh-keygen").arg("-lf").arg(town.path("host.pub")).output().await.unwrap();
    let print = String::from_utf8(print.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let out = tokio::process::Command::new("plink")
        .args([
            "-batch",
            "-ssh",
            "-P",
            &port,
            "-hostkey",
            &print,
            "-i",
            ppk.to_str().unwrap(),
            "db-1@127.0.0.1",
            "echo putty; exec >&- 2>&-; sleep 0.2; exit 5",
        ])
        .env("HOME", town.dir.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert_eq!((out.stdout.as_slice(), out.status.code()), (&b"putty\n"[..], Some(5)), "{out:?}");
    // Both stand in their recordings.
    let mut ended = town.gate.ended.subscribe();
    tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|ended| ended.len() >= 2)).await.expect("not both ended").unwrap();
    assert_eq!(town.gate.output(), "dropbear\nputty\n");
    let commands: Vec<_> = town.gate.activities("exec").iter().map(|a| a["command"].as_str().unwrap().to_owned()).collect();
    assert_eq!(commands, ["echo dropbear; exec >&- 2>&-; sleep 0.2; exit 4", "echo putty; exec >&- 2>&-; sleep 0.2; exit 5"]);
    let exits: Vec<_> = town.gate.activities("channel.closed").iter().map(|closed| closed["exit"]["status"].clone()).collect();
    assert_eq!(exits, [4, 5]);
}

// covers: SSH-2 (ssh)
#[tokio::test]
async fn a_client_that_closes_first_leaves_in_the_recording_how_its_program_ended() {
    let town = Town::open(everything()).await;
    let ana = ana(&town).await;
    let mut channel = ana.channel_open_session().await.unwrap();
    channel.exec(true, "echo in; cat; exit 6").await.unwrap();
    while !matches!(channel.wait().await.unwrap(), ChannelMsg::Data { .. }) {}
    channel.close().await.unwrap();
    assert_eq!(town.gate.activity("channel.closed").await["exit"], serde_json::json!({"status": 6}));
}

// covers: EV-4 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn the_recording_holds_what_the_client_received() {
    use evidence::recording::{Direction, FrameKind, RecordingReader};
    let town = Town::new(Setup { real_recorder: true, ..Setup::default() }).await;
    let mut ssh = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    ssh.stdin.take().unwrap().write_all(b"echo two$((1+1)); seq 2000; exit\n").await.unwrap();
    let out = ssh.wait_with_output().await.unwrap();
    let closed = town.gate.ended().await;
    let (chunks, digest) = closed.recording.expect("the recording is closed");
    assert!(chunks > 0 && digest.len() == 64);
    let file = std::fs::read_dir(town.path("recordings")).unwrap().next().unwrap().unwrap().path();
    let reader = RecordingReader::open(std::fs::File::open(file).unwrap(), &town.gate.auditor).unwrap();
    let frames: Vec<_> = reader.map(Result::unwrap).collect();
    let shown: Vec<u8> =
        frames.iter().filter(|f| f.direction == Direction::Output && f.kind == FrameKind::Bytes).flat_map(|f| f.bytes.to_vec()).collect();
    assert_eq!(shown, out.stdout);
    assert!(frames.iter().any(|f| f.kind == FrameKind::Activity));
}

/// AsyncSSH, from PyPI, does what `script` says on a connection `c` as Ana; what it printed.
async fn asyncssh(town: &Town, script: &str) -> String {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python");
    let body: String = script.lines().map(|line| format!("        {line}\n")).collect();
    let program = format!(
        "import asyncio, asyncssh, sys\n\
         async def until(stream, text):\n    got = ''\n    while text not in got:\n        more = await stream.read(1)\n        \
         assert more, got\n        got += more\n    return got\n\
         async def main():\n    async with asyncssh.connect('127.0.0.1', {}, username='db-1', client_keys=[{:?}], known_hosts=None, agent_path=None) as c:\n{body}\
         asyncio.run(asyncio.wait_for(main(), 40))\n",
        town.port,
        town.ana.to_str().unwrap()
    );
    let out = tokio::process::Command::new(python).args(["-c", &program]).stdin(Stdio::null()).output().await;
    let out = out.expect("`make setup` installs AsyncSSH");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn a_window_that_changes_its_size_does_so_at_the_target_and_in_the_recording() {
    use evidence::recording::FrameKind;
    let town = Town::open(everything()).await;
    let said = asyncssh(
        &town,
        "p = await c.create_process('trap \"stty size; exit 6\" WINCH; stty size; while :; do sleep 0.05; done', term_type='xterm', term_size=(80, 24))\n\
         print('first', (await until(p.stdout, '24 80')).strip())\n\
         p.change_terminal_size(132, 50)\n\
         print('then', (await until(p.stdout, '50 132')).strip())\n\
         print('exit', (await p.wait()).exit_status)",
    )
    .await;
    assert!(said.contains("first 24 80") && said.contains("then 50 132") && said.contains("exit 6"), "{said}");
    town.gate.ended().await;
    let sizes: Vec<(u32, u32)> = {
        let frames = town.gate.frames.lock().unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        frames.iter().filter(|f| f.kind == FrameKind::Resize).map(|f| (number(&f.bytes[..4]), number(&f.bytes[4..]))).collect()
    };
    assert_eq!(sizes, [(80, 24), (132, 50)]);
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn an_end_by_a_signal_is_one_for_the_client_too() {
    let town = Town::open(everything()).await;
    let said = asyncssh(&town, "r = await c.run('kill -SEGV $$')\nprint('signal', r.exit_signal[0], r.exit_status)").await;
    assert!(said.contains("signal SEGV"), "{said}");
    town.gate.ended().await;
    assert_eq!(town.gate.activities("channel.closed")[0]["exit"], serde_json::json!({"signal": "SEGV"}));
}

/// A server that says which signal it is sent and ends with status 9. OpenSSH's passes none on to what runs as its own user.
const TOLD_BY_SIGNALS: &str = "
import asyncio, asyncssh, sys
class Anybody(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False
async def handle(process):
    process.stdout.write('ready\\n')
    try:
        await process.stdin.read()
    except asyncssh.SignalReceived as signal:
        process.stdout.write('got-' + signal.signal + '\\n')
        process.exit(9)
async def main():
    server = await asyncssh.listen('127.0.0.1', 0, server_factory=Anybody, server_host_keys=[sys.argv[1]], process_factory=handle)
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
";

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[tokio::test]
async fn a_signal_reaches_the_target() {
    let town = Town::open(everything()).await;
    let host_key = testkit::sshd::keypair(town.dir.path(), "signalled_host").unwrap();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python");
    let mut server = tokio::process::Command::new(python);
    server.args(["-c", TOLD_BY_SIGNALS]).arg(&host_key).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = server.spawn().expect("`make setup` installs AsyncSSH");
    let mut port = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut tokio::io::BufReader::new(server.stdout.take().unwrap()), &mut port).await.unwrap();
    let port = port.trim().parse().unwrap();
    town.gate.setup.lock().unwrap().instead = Some((port, testkit::sshd::public_half(&host_key).unwrap()));
    let said = asyncssh(
        &town,
        "p = await c.create_process('work')\n\
         await until(p.stdout, 'ready')\n\
         p.send_signal('TERM')\n\
         r = await p.wait()\n\
         print('exit', r.exit_status, r.stdout.strip())",
    )
    .await;
    assert!(said.contains("exit 9 got-TERM"), "{said}");
    town.gate.ended().await;
    let signals: Vec<_> = town.gate.activities("signal").iter().map(|a| a["signal"].as_str().unwrap().to_owned()).collect();
    assert_eq!(signals, ["TERM"]);
    assert_eq!(town.gate.activities("channel.closed")[0]["exit"]["status"], 9);
}

// covers: SSH-1 (ssh), SES-3 (ssh)
#[tokio::test]
async fn a_client_that_answers_no_more_is_gone_and_one_that_is_only_quiet_is_not() {
    let door = tidegate_proxy::ssh::DoorLimits { keepalive: Duration::from_millis(500), ..Default::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    // Quiet for much longer than three questions take.
    let out = town.ssh(&["sleep 4; echo still"]).output().await.unwrap();
    assert_eq!((out.stdout.as_slice(), out.status.code()), (&b"still\n"[..], Some(0)), "{out:?}");
    town.gate.ended().await;
    let mut ssh = town.ssh(&["echo in; exec sleep 60"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut tokio::io::BufReader::new(ssh.stdout.take().unwrap()), &mut line).await.unwrap();
    assert_eq!(line, "in\n");
    // Its machine sleeps: the connection stands, and nobody answers on it.
    let pid = ssh.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    let mut ended = town.gate.ended.subscribe();
    let second = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|ended| ended.len() == 2)).await;
    let closed = second.expect("its session goes on").unwrap()[1].clone();
    assert_eq!((closed.end, closed.confirmed), (access::session::EndReason::Client, true));
    assert!(ssh.try_wait().unwrap().is_none(), "it was told nothing, as it listens to nothing");
    assert!(std::process::Command::new("kill").args(["-CONT", &pid]).status().unwrap().success());
    assert!(!ssh.wait().await.unwrap().success());
}
