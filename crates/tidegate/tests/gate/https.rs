//! A gate as it is installed: TLS by its own CA, whose root clients are given, and nothing in plain text.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::demo::PATIENCE;
use crate::known::program;

struct Gate {
    child: Child,
    dir: TempDir,
    api: SocketAddr,
    postgres: SocketAddr,
    mysql: SocketAddr,
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

impl Gate {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("https-").tempdir().unwrap();
        assert!(
            Command::new("cp").arg("-r").arg(testkit::gate::example_policy()).arg(dir.path().join("policy")).status().unwrap().success()
        );
        let free = || testkit::ports::free().unwrap();
        let [api, ssh, postgres, mysql] = std::array::from_fn(|_| free());
        let config = format!(
            "node = \"one\"\ndata_dir = \"data\"\npolicy_dir = \"policy\"\n[listen]\napi = \"{api}\"\nssh = \"{ssh}\"\npostgres = \"{postgres}\"\nmysql = \"{mysql}\"\n"
        );
        fs::write(dir.path().join("tidegate.toml"), config).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(program())
            .args(["serve", "--config"])
            .arg(dir.path().join("tidegate.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let gate = Self { child, dir, api, postgres, mysql };
        let deadline = Instant::now() + PATIENCE;
        while !gate.said().contains("The gate serves") {
            assert!(Instant::now() < deadline, "the gate does not start:\n{}", gate.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        gate
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn url(&self) -> String {
        self.said().lines().find_map(|line| line.strip_prefix("API  ")).unwrap().to_owned()
    }

    /// The line that the gate printed for its first administrator, as it stands there.
    fn join(&self) -> Vec<String> {
        let said = self.said();
        let line = said.lines().find(|line| line.contains("tidegate join")).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    }

    fn tidegate(&self, args: &[&str]) -> Output {
        Command::new(program()).env_clear().env("HOME", self.dir.path()).args(args).output().unwrap()
    }
}

fn curl(ca: &Path, args: &[&str]) -> Output {
    Command::new("curl").args(["--silent", "--show-error", "--cacert"]).arg(ca).args(args).output().unwrap()
}

// covers: G3 (api, cli)
#[test]
fn the_first_administrator_joins_over_tls_by_the_line_that_was_printed() {
    let gate = Gate::start();
    let url = gate.url();
    assert!(url.starts_with("https://"), "{url}");

    // The root is served, and is the one that the certificate stands on.
    let root = gate.dir.path().join("data/ca.pem");
    let served = curl(&root, &[&format!("{url}/ca.pem")]);
    assert_eq!(served.stdout, fs::read(&root).unwrap(), "{}", String::from_utf8_lossy(&served.stderr));
    let version = curl(&root, &["--http2", "--output", "/dev/null", "--write-out", "%{http_version}", &format!("{url}/healthz")]);
    assert_eq!(version.stdout, b"2");
    let old = curl(&root, &["--tls-max", "1.1", &format!("{url}/healthz")]);
    assert!(!old.status.success(), "TLS 1.1 is spoken");

    // Who does not trust the root is told so and sends nothing.
    let join = gate.join();
    let code = join.last().unwrap();
    let untrusted = gate.tidegate(&["join", &url, code]);
    let why = String::from_utf8_lossy(&untrusted.stderr).into_owned();
    assert!(!untrusted.status.success() && why.contains("--ca-file"), "{why}");
    // In plain text nobody answers.
    let address = url.strip_prefix("https://").unwrap();
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut nothing = Vec::new();
    let _reset = plain.read_to_end(&mut nothing);
    assert!(!nothing.starts_with(b"HTTP"), "{nothing:?}");

    let joined = gate.tidegate(&join.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    // From now on the gate and its root are known.
    let me = gate.tidegate(&["user", "show", "--json"]);
    let me: Value = serde_json::from_slice(&me.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&me.stderr)));
    assert_eq!(me["user"]["username"].as_str().or(me["username"].as_str()), Some("admin"), "{me}");
}

/// What SSLyze finds out about a listener.
fn sslyze(gate: &Gate, at: SocketAddr, more: &[&str]) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/sslyze/bin/sslyze");
    assert!(program.is_file(), "SSLyze is not here; run `scripts/packages`");
    let report = gate.dir.path().join(format!("sslyze.{}.json", at.port()));
    let output = Command::new(program).arg(format!("--json_out={}", report.display())).args(more).arg(at.to_string()).output().unwrap();
    let text = fs::read_to_string(&report).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let report: Value = serde_json::from_str(&text).unwrap();
    let scan = report["server_scan_results"][0].clone();
    assert_eq!(scan["scan_status"], "COMPLETED", "{report}");
    scan["scan_result"].clone()
}

/// The names of what a listener accepts of a version.
fn suites(scan: &Value, version: &str) -> Vec<String> {
    let found = &scan[format!("{version}_cipher_suites")];
    assert_eq!(found["status"], "COMPLETED", "{version}: {found}");
    let accepted = found["result"]["accepted_cipher_suites"].as_array().unwrap();
    accepted.iter().map(|one| one["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sslyze_finds_modern_tls_and_nothing_else() {
    let gate = Gate::start();
    for (what, at, more) in [("api", gate.api, &[][..]), ("postgres", gate.postgres, &["--starttls=postgres"][..])] {
        let scan = sslyze(&gate, at, more);
        for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
            assert_eq!(suites(&scan, old), Vec::<String>::new(), "{what}: {old}");
        }
        assert!(!suites(&scan, "tls_1_3").is_empty(), "{what} does not speak TLS 1.3");
        // Forward secret, with a cipher that authenticates.
        for suite in suites(&scan, "tls_1_2") {
            let modern = suite.starts_with("TLS_ECDHE_") && (suite.contains("_GCM_") || suite.contains("_CHACHA20_POLY1305_"));
            assert!(modern, "{what}: {suite}");
        }
        for (test, field) in [
            ("heartbleed", "is_vulnerable_to_heartbleed"),
            ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection"),
            ("tls_compression", "supports_compression"),
            ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"),
        ] {
            assert_eq!(scan[test]["result"][field], false, "{what}: {test}: {}", scan[test]);
        }
        assert!(scan["robot"]["result"]["robot_result"].as_str().unwrap().starts_with("NOT_VULNERABLE"), "{what}: {}", scan["robot"]);
        let curves = scan["elliptic_curves"]["result"]["supported_curves"].as_array().unwrap();
        let known = ["X25519", "secp256r1", "secp384r1", "secp521r1"];
        assert!(curves.iter().all(|curve| known.contains(&curve["name"].as_str().unwrap())), "{what}: {curves:?}");
        let leaf = &scan["certificate_info"]["result"]["certificate_deployments"][0]["received_certificate_chain"][0];
        assert_ne!(leaf["signature_hash_algorithm"]["name"], "sha1", "{what}");
    }
    // SSLyze does not know how MySQL begins; OpenSSL's own client does.
    let speaks = |version: &str| {
        let at = gate.mysql.to_string();
        let client = ["s_client", "-connect", &at, "-starttls", "mysql", version, "-cipher", "ALL:@SECLEVEL=0"];
        let output = Command::new("openssl").args(client).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("Cipher is TLS_")
            || String::from_utf8_lossy(&output.stdout).contains("Cipher is ECDHE-")
    };
    assert_eq!(["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"].map(speaks), [false, false, true, true], "mysql");
}
