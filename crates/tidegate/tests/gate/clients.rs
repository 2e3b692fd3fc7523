//! Stock clients that know nothing of Tidegate, through the gate: each signs in with Ana's registered key.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::demo::Demo;

/// What `make setup` installed from PyPI.
fn tool(name: &str) -> PathBuf {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin")).join(name);
    assert!(path.exists(), "`{name}` is not there; run `make setup`");
    path
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

struct Reach {
    host: String,
    port: String,
    key: String,
}

fn reach(demo: &Demo) -> Reach {
    Reach {
        host: demo.ready["ssh"]["host"].as_str().unwrap().to_owned(),
        port: demo.ready["ssh"]["port"].to_string(),
        key: demo.person("ana")["key"].as_str().unwrap().to_owned(),
    }
}

const PARAMIKO: &str = r#"
import paramiko, sys
host, port, user, key, path = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(host, int(port), username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key), allow_agent=False, look_for_keys=False)
stdin, out, _ = client.exec_command("cat; echo done-$((40+2))")
stdin.write("into-stdin\n"); stdin.channel.shutdown_write()
print(out.read().decode(), out.channel.recv_exit_status())
sftp = client.open_sftp()
with sftp.open(path, "wb") as f: f.write(b"x" * 1_000_000)
print("size", sftp.stat(path).st_size, len(sftp.open(path, "rb").read()))
client.close()
"#;

const ASYNCSSH: &str = r#"
import asyncio, asyncssh, sys
host, port, user, key, path = sys.argv[1:]
async def main():
    async with asyncssh.connect(host, int(port), username=user, client_keys=[key], known_hosts=None, agent_path=None) as c:
        many = await asyncio.gather(*(c.run(f"echo channel-{i}", check=True) for i in range(8)))
        print("".join(r.stdout for r in many))
        async with c.start_sftp_client() as sftp:
            await sftp.put(key + ".pub", path)
            print("size", await sftp.getsize(path))
        print("exit", (await c.run("exit 5")).exit_status)
asyncio.run(main())
"#;

fn digest(file: &Path) -> String {
    let out = Command::new("sha256sum").arg(file).output().unwrap();
    text(&out).split(' ').next().unwrap().to_owned()
}

/// What Ana's sessions so far left in their recordings, of one kind.
fn recorded(demo: &Demo, kind: &str) -> Vec<Value> {
    demo.ended_sessions("ana").iter().flat_map(|session| demo.activities(session["id"].as_str().unwrap(), kind)).collect()
}

fn commands(demo: &Demo) -> Vec<String> {
    recorded(demo, "exec").iter().map(|exec| exec["command"].as_str().unwrap().to_owned()).collect()
}

/// A file was written there, whole, and its digest stands in the recording.
fn assert_written(demo: &Demo, path: &Path) {
    let files = recorded(demo, "sftp");
    let wanted = (json!(path), json!(digest(path)));
    let found = files.iter().any(|file| file["act"] == "file" && (&file["path"], &file["written"]["sha256"]) == (&wanted.0, &wanted.1));
    assert!(found, "{wanted:?} is not among {files:?}");
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[test]
fn paramiko_and_asyncssh_work_unmodified() {
    let demo = Demo::start();
    let Reach { host, port, key } = reach(&demo);
    let dir = tempfile::tempdir().unwrap();
    for (name, script, wanted) in [
        ("paramiko", PARAMIKO, &["into-stdin", "done-42", "size 1000000 1000000"][..]),
        ("asyncssh", ASYNCSSH, &["channel-0", "channel-7", "size ", "exit 5"][..]),
    ] {
        let file = dir.path().join(name);
        let out = Command::new(tool("python")).args(["-c", script, &host, &port, "build-1+shell", &key]).arg(&file).output().unwrap();
        for text_wanted in wanted {
            assert!(text(&out).contains(text_wanted), "{name}: {text_wanted:?} is missing in:\n{}", text(&out));
        }
        assert_written(&demo, &file);
    }
    let commands = commands(&demo);
    assert!(commands.contains(&"cat; echo done-$((40+2))".to_owned()) && commands.contains(&"exit 5".to_owned()), "{commands:?}");
    assert!((0..8).all(|i| commands.contains(&format!("echo channel-{i}"))), "{commands:?}");
    let sent = dir.path().join("sent");
    std::fs::write(&sent, "into-stdin\n").unwrap();
    let streams = recorded(&demo, "channel.closed");
    assert!(streams.iter().any(|closed| closed["in"]["sha256"] == digest(&sent)), "{streams:?}");
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[test]
fn ansible_works_unmodified() {
    let demo = Demo::start();
    let Reach { host, port, key } = reach(&demo);
    let home = tempfile::tempdir().unwrap();
    let out = Command::new(tool("ansible"))
        .env("ANSIBLE_HOME", home.path())
        // As it comes, but for the connection it keeps for a minute.
        .env("ANSIBLE_SSH_ARGS", "-C -o ControlMaster=auto -o ControlPersist=2s")
        .env("ANSIBLE_LOCAL_TEMP", home.path().join("local"))
        .env("ANSIBLE_REMOTE_TEMP", home.path().join("remote"))
        .env("HOME", home.path())
        .args(["all", "-i", "gate,", "-m", "command", "-a", "echo through-the-gate"])
        .args(["-e", &format!("ansible_host={host}"), "-e", &format!("ansible_port={port}"), "-e", "ansible_user=build-1+shell"])
        .args(["-e", &format!("ansible_ssh_private_key_file={key}"), "-e", "ansible_python_interpreter=/usr/bin/python3"])
        .args(["-e", "ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes'"])
        .output()
        .unwrap();
    assert!(out.status.success() && text(&out).contains("through-the-gate"), "{}", text(&out));
    // The module it carries over, and that it ran there.
    let files = recorded(&demo, "sftp");
    let module = |file: &Value| file["path"].as_str().is_some_and(|path| path.ends_with("AnsiballZ_command.py"));
    assert!(files.iter().any(|file| module(file) && file["written"]["sha256"].is_string()), "{files:?}");
    let commands = commands(&demo);
    assert!(
        commands.iter().any(|command| command.contains("/usr/bin/python3") && command.contains("AnsiballZ_command.py")),
        "{commands:?}"
    );
}

// covers: SSH-1 (ssh), SSH-2 (ssh)
#[test]
fn putty_s_tools_work_unmodified() {
    let demo = Demo::start();
    let Reach { host, port, key } = reach(&demo);
    let dir = tempfile::tempdir().unwrap();
    let ppk = dir.path().join("key.ppk");
    let made = Command::new("puttygen").arg(&key).args(["-O", "private", "-o"]).arg(&ppk).output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let known = std::fs::read_to_string(demo.ready["ssh"]["known_hosts"].as_str().unwrap()).unwrap();
    let line = known.lines().next().unwrap().split_once(' ').unwrap().1;
    let public = dir.path().join("host.pub");
    std::fs::write(&public, line).unwrap();
    let shown = Command::new("ssh-keygen").args(["-l", "-f"]).arg(&public).output().unwrap();
    let fingerprint = text(&shown).split(' ').nth(1).unwrap().to_owned();
    let common = ["-batch", "-P", &port, "-l", "build-1+shell", "-hostkey", &fingerprint, "-i"];
    let plink = Command::new("plink").arg("-ssh").args(common).arg(&ppk).args([host.as_str(), "echo plink-$((6*7))"]).output().unwrap();
    assert!(text(&plink).contains("plink-42"), "{}", text(&plink));
    let script = dir.path().join("batch");
    let (local, remote) = (dir.path().join("local"), dir.path().join("remote"));
    std::fs::write(&local, "carried").unwrap();
    std::fs::write(&script, format!("put {} {}\nquit\n", local.display(), remote.display())).unwrap();
    let psftp = Command::new("psftp").args(common).arg(&ppk).arg("-b").arg(&script).arg(&host).output().unwrap();
    assert_eq!(std::fs::read_to_string(&remote).unwrap_or_default(), "carried", "{}", text(&psftp));
    assert_written(&demo, &remote);
    let commands = commands(&demo);
    assert_eq!(commands, ["echo plink-$((6*7))"]);
}

// covers: A6 (ssh), SSH-1 (ssh)
#[test]
fn ssh_audit_finds_nothing_to_fail() {
    let demo = Demo::start();
    let Reach { host, port, .. } = reach(&demo);
    let out = Command::new(tool("ssh-audit")).args(["--no-colors", "-p", &port, &host]).output().unwrap();
    assert!(text(&out).contains("(kex)"), "{}", text(&out));
    let failed: Vec<String> = text(&out).lines().filter(|line| line.contains("[fail]")).map(str::to_owned).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(text(&out).contains("kex-strict-s-v00@openssh.com"), "strict key exchange is not offered");
}
