//! A running `tidegate demo`, known only by its ready file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::preload::WallClock;

pub(crate) use crate::known::http;
use crate::known::{Known, program};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A generous upper bound from an order, or the end of a grant, to nothing running at the target; nothing else would end it as soon.
pub(crate) const CUT_WITHIN: Duration = Duration::from_secs(5);

/// The demo; its server and target are ended when dropped.
pub(crate) struct Demo {
    child: Child,
    dir: Arc<TempDir>,
    known: Known,
}

impl Demo {
    /// Starts one and waits until everything answers.
    pub(crate) fn start() -> Self {
        for _ in 0..3 {
            match Self::try_in(Arc::new(tempfile::Builder::new().prefix("demo-").tempdir().unwrap())) {
                Ok(demo) => return demo,
                // Somebody else took a port between its choice and its use.
                Err(said) => assert!(said.contains("Address already in use"), "{said}"),
            }
        }
        panic!("no demo found free ports three times");
    }

    fn start_in(dir: Arc<TempDir>) -> Self {
        Self::try_in(dir).unwrap_or_else(|said| panic!("{said}"))
    }

    /// # Errors
    /// What it said, if it ended by itself.
    fn try_in(dir: Arc<TempDir>) -> Result<Self, String> {
        Self::try_with(dir, Vec::new())
    }

    fn try_with(dir: Arc<TempDir>, environment: Vec<(String, String)>) -> Result<Self, String> {
        let ready_file = dir.path().join("ready.json");
        let _ = fs::remove_file(&ready_file);
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.path().join("server.log")).unwrap();
        let mut child = Command::new(program())
            .args(["demo", "--dir"])
            .arg(dir.path().join("demo"))
            .arg("--ready-file")
            .arg(&ready_file)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !ready_file.exists() {
            if let Some(status) = child.try_wait().unwrap() {
                return Err(format!("the demo ended with {status}:\n{}", fs::read_to_string(dir.path().join("server.log")).unwrap()));
            }
            assert!(Instant::now() < deadline, "the demo is not ready:\n{}", fs::read_to_string(dir.path().join("server.log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        let ready = serde_json::from_slice(&fs::read(&ready_file).unwrap()).unwrap();
        Ok(Self { child, known: Known { ready, home: dir.path().to_owned() }, dir })
    }

    /// Kills the server as nobody should (`kill -9`) and starts it again on what it left.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let dir = Arc::clone(&self.dir);
        drop(self);
        Self::start_in(dir)
    }

    /// Stops it in order and starts it again by another clock.
    pub(crate) fn restart_by(self, clock: &WallClock) -> Self {
        let dir = Arc::clone(&self.dir);
        drop(self);
        Self::try_with(dir, clock.environment()).unwrap_or_else(|said| panic!("{said}"))
    }

    /// Stops the server in order, changes something in its directory, and starts it again.
    pub(crate) fn restart_after(self, change: impl FnOnce(&Path)) -> Self {
        let dir = Arc::clone(&self.dir);
        drop(self);
        change(&dir.path().join("demo"));
        Self::start_in(dir)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What Ctrl-C does, and how it ends then; what it made stays as long as the directory is held.
    pub(crate) fn interrupt(mut self) -> (Option<i32>, Arc<TempDir>) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = eventually("the demo has ended", || self.child.try_wait().unwrap());
        (status.code(), Arc::clone(&self.dir))
    }

    /// The directory of the demo.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().join("demo")
    }
}

impl std::ops::Deref for Demo {
    type Target = Known;
    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        end_target(&self.dir.path().join("demo"));
    }
}

/// Ends the targets of a demo that could not do it itself.
fn end_target(dir: &Path) {
    let [config, postgres, mariadb] =
        ["/target/sshd_config", "/postgres/data", "/mariadb/data"].map(|below| format!("{}{below}", dir.display()));
    let mariadb = format!("--datadir={mariadb}");
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if arguments.split(|b| *b == 0).any(|argument| [&config, &postgres, &mariadb].iter().any(|ours| argument == ours.as_bytes())) {
            let _ = Command::new("kill").args(["-KILL", &process.file_name().to_string_lossy()]).status();
        }
    }
}

/// A process whose output is read line by line while it runs.
pub(crate) struct Talk {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    heard: Arc<Mutex<String>>,
}

impl Talk {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let heard = Arc::new(Mutex::new(String::new()));
        let readers: [Box<dyn std::io::Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut reader in readers {
            let heard = Arc::clone(&heard);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n) = reader.read(&mut buffer) {
                    if n == 0 {
                        break;
                    }
                    heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
                }
            });
        }
        Self { stdin: child.stdin.take(), child, heard }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until this was heard.
    pub(crate) fn until(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.heard().contains(text) {
            assert!(Instant::now() < deadline, "never heard {text:?}, but:\n{}", self.heard());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it ends; gives its exit status.
    pub(crate) fn end(&mut self) -> i32 {
        self.stdin = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.heard());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process lives on this machine, which is the target's too.
pub(crate) fn lives(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'),
        Err(_) => false,
    }
}
