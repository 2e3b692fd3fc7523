//! Collectors of logs: Debian's rsyslog over TLS, S3 as moto has it, OTLP as OpenTelemetry's own messages decode it; and the published
//! schema of OCSF. AWS Secrets Manager is moto's too. Each is a process of its own that ends with the test.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

/// Where Python has what the collectors are made of.
fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/collectors/bin/python")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// A collector that is a script: it says where it is, and answers questions.
#[derive(Debug)]
pub struct Scripted {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What it said of itself when it began.
    pub ready: Value,
}

impl Scripted {
    /// S3 with a bucket `logs`; `ready` has `url`, `access_key`, `secret`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn s3() -> anyhow::Result<Self> {
        Self::start("s3.py", None)
    }

    /// A collector of OTLP; `ready` has `url`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn otlp() -> anyhow::Result<Self> {
        Self::start("otlp.py", None)
    }

    /// AWS Secrets Manager; `ready` has `url`, `access_key`, `secret`. It is asked `{"put": NAME, "text": TEXT}` and `{"delete": NAME}`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn secrets_manager() -> anyhow::Result<Self> {
        Self::start("secrets_manager.py", None)
    }

    pub(crate) fn start(name: &str, dir: Option<&Path>) -> anyhow::Result<Self> {
        let mut child = Command::new(python())
            .arg(script(name))
            .args(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the collectors' Python; run `scripts/packages`")?;
        let asks = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut started = Self { child, asks, answers, ready: Value::Null };
        started.ready = started.hear().with_context(|| format!("{name} does not start"))?;
        Ok(started)
    }

    fn hear(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Asks it something.
    ///
    /// # Errors
    /// If it is gone.
    pub fn ask(&mut self, what: &str) -> anyhow::Result<Value> {
        writeln!(self.asks, "{what}")?;
        self.asks.flush()?;
        self.hear()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Holds events, one to a line, against the published schema of OCSF; how many there are of each class.
///
/// # Errors
/// What is wrong with them.
pub fn validate_ocsf(lines: &str) -> anyhow::Result<Value> {
    let mut child = Command::new(python())
        .arg(script("ocsf.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the collectors' Python; run `scripts/packages`")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let lines = lines.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    let _written = writing.join();
    Ok(serde_json::from_str(said.lines().last().unwrap_or_default())?)
}

/// rsyslog that takes syslog over TLS and writes what it understood to a file. Its driver is `ossl`: `gtls` closes a connection without
/// `close_notify`, and so never says that it took a batch.
#[derive(Debug)]
pub struct Rsyslog {
    child: Option<Child>,
    dir: TempDir,
    port: u16,
}

/// A message as rsyslog understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Facility and severity.
    pub pri: u32,
    /// Its time, RFC 3339.
    pub at: String,
    /// Its host.
    pub host: String,
    /// Its program.
    pub program: String,
    /// Its `MSGID`.
    pub id: String,
    /// Its text.
    pub text: String,
}

impl Rsyslog {
    /// One that is not running yet, with a CA and certificates of its own.
    ///
    /// # Errors
    /// If its files can't be made.
    pub fn prepare() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("rsyslog-").tempdir()?;
        let port = crate::ports::free()?.port();
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate whose issuer is called like its holder is self-signed for OpenSSL.
        ca.distinguished_name.push(DnType::CommonName, "CA of collectors");
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);
        for (name, usage) in [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)] {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
            params.extended_key_usages = vec![usage];
            fs::write(dir.path().join(format!("{name}.pem")), params.signed_by(&key, &issuer)?.pem())?;
            fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem())?;
        }
        fs::write(dir.path().join("ca.pem"), ca_pem)?;
        Ok(Self { child: None, dir, port })
    }

    /// Starts it; with `certificates`, whoever sends has to prove who they are.
    ///
    /// # Errors
    /// What it said, if it does not start.
    pub fn run(&mut self, certificates: bool) -> anyhow::Result<()> {
        let (at, port) = (self.dir.path().display(), self.port);
        let auth = if certificates { "x509/certvalid" } else { "anon" };
        let config = format!(
            "global(workDirectory=\"{at}\" defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{at}/ca.pem\"\n\
             \x20      defaultNetstreamDriverCertFile=\"{at}/server.pem\" defaultNetstreamDriverKeyFile=\"{at}/server.key\")\n\
             module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"{auth}\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             template(name=\"all\" type=\"string\" string=\"%pri%|%timestamp:::date-rfc3339%|%hostname%|%app-name%|%msgid%|%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{at}/messages\" template=\"all\")\n"
        );
        fs::write(self.dir.path().join("rsyslog.conf"), config)?;
        let log = fs::File::create(self.dir.path().join("log"))?;
        let child = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-f"])
            .arg(self.dir.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(self.dir.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start /usr/sbin/rsyslogd; install `rsyslog` and `rsyslog-openssl`")?;
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                bail!("rsyslogd does not start: {}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops it, without a chance to say anything.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One of its files: `ca.pem`, `client.pem`, `client.key`.
    ///
    /// # Errors
    /// If there is none.
    pub fn file(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        Ok(fs::read(self.dir.path().join(name))?)
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has written so far.
    #[must_use]
    pub fn messages(&self) -> Vec<Logged> {
        let text = fs::read_to_string(self.dir.path().join("messages")).unwrap_or_default();
        text.lines().filter_map(logged).collect()
    }
}

fn logged(line: &str) -> Option<Logged> {
    let mut parts = line.splitn(6, '|').map(str::to_owned);
    let pri = parts.next()?.parse().ok()?;
    let [at, host, program, id, text] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    Some(Logged { pri, at, host, program, id, text })
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.kill();
    }
}
