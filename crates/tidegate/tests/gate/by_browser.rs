//! Sign-in from a browser, for who sits at a terminal and has no key: at npm's `oidc-provider`, and at the page that shows who asks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::oidc::{Browser, CLIENT, OidcProvider};
use tokio::runtime::Runtime;

use crate::demo::{Talk, eventually, lives};
use crate::known::program;
use crate::served::Served;

/// A gate whose people sign in at a provider, and what it takes to be one of them in a browser.
pub(crate) struct Office {
    pub(crate) gate: Served,
    provider: OidcProvider,
    runtime: Runtime,
}

/// Somebody who sits at a browser.
pub(crate) struct Desk<'a> {
    office: &'a Office,
    browser: Browser,
}

impl Office {
    pub(crate) fn open() -> Self {
        // Another test of this process may have done so already.
        let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut gate = Served::start();
        let runtime = Runtime::new().unwrap();
        let api = gate.ready["api"].as_str().unwrap().to_owned();
        let provider = runtime.block_on(OidcProvider::start(&api, "corp")).unwrap();
        gate.stop();
        let file = gate.dir().join("tidegate.toml");
        let text = format!(
            "{}\n[[identity_provider]]\nname = \"corp\"\nissuer = \"{}\"\nclient_id = \"{}\"\nclient_secret_file = \"corp.secret\"\n",
            fs::read_to_string(&file).unwrap(),
            provider.issuer,
            CLIENT.0
        );
        fs::write(file, text).unwrap();
        fs::write(gate.dir().join("corp.secret"), CLIENT.1).unwrap();
        gate.run_again();
        for name in ["ana", "ben"] {
            let linked = json!({ "provider": "corp", "subject": format!("{name}-1") });
            gate.post("dan", &format!("/api/v1/users/{}/identities", gate.id(name)), linked);
        }
        Self { gate, provider, runtime }
    }

    /// Somebody signs in at the provider, on the way to a page of the gate's.
    pub(crate) fn sits_down(&self, name: &str, link: &str) -> Desk<'_> {
        let api = self.api();
        let page = link.strip_prefix(api).unwrap_or_else(|| panic!("{link} is no page of {api}"));
        let begin = format!("{api}/api/v1/sign-in/oidc/corp?then={page}");
        let mut browser = Browser::new().unwrap();
        let arrived = self.runtime.block_on(async {
            self.provider.sign_in_as(&format!("{name}-1"), Some(json!({ "name": name }))).await.unwrap();
            browser.go(&begin, Some(page)).await.unwrap()
        });
        assert_eq!(arrived.url, link, "{}", arrived.text);
        Desk { office: self, browser }
    }

    fn api(&self) -> &str {
        self.gate.ready["api"].as_str().unwrap()
    }
}

impl Desk<'_> {
    /// Who asks, as the page shows it.
    pub(crate) fn sees(&self, code: &str) -> (u16, Value) {
        self.calls("GET", &format!("/device/{code}"), None)
    }

    pub(crate) fn answers(&self, code: &str, agree: bool) -> (u16, Value) {
        self.calls("POST", &format!("/device/{code}"), Some(json!({ "agree": agree })))
    }

    fn calls(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let api = self.office.api();
        let cookie = self.browser.cookie(api, "__Host-tide").unwrap();
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "-X",
            method,
            "-w",
            "\n%{http_code}",
            "-H",
            &format!("Origin: {api}"),
            "-H",
            &format!("Cookie: __Host-tide={cookie}"),
        ]);
        if let Some(body) = body {
            curl.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        let done = curl.arg(format!("{api}/api/v1{path}")).output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&done.stderr)));
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// The link of a device, and its code, in what a terminal shows.
pub(crate) fn link_in(heard: &str) -> Option<(String, String)> {
    let at = heard.find("/device?code=")?;
    let start = heard[..at].rfind("http")?;
    let code: String = heard[at + "/device?code=".len()..].chars().take(9).collect();
    let whole = code.len() == 9 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    whole.then(|| (format!("{}/device?code={code}", &heard[start..at]), code))
}

/// `tidegate login` on a machine of its own, which has these programs first in its path.
fn login(office: &Office, home: &Path, args: &[&str]) -> Command {
    let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(program());
    command.env_clear().env("HOME", home).env("PATH", path).env("TIDEGATE_WAIT", "1");
    command.args(["login", "--url", office.api(), "--ssh-dir"]).arg(home.join("ssh")).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

// covers: WHO-1 (cli), WHO-5 (cli), A8 (cli)
#[test]
fn a_terminal_is_signed_in_from_a_browser() {
    let office = Office::open();
    let machine = tempfile::tempdir().unwrap();
    let home = machine.path();
    fs::create_dir(home.join("bin")).unwrap();
    let opened = home.join("opened");
    let script = format!("#!/bin/sh\nprintf %s \"$1\" > {0}.new && mv {0}.new {0}\n", opened.display());
    fs::write(home.join("bin/xdg-open"), script).unwrap();
    fs::set_permissions(home.join("bin/xdg-open"), fs::Permissions::from_mode(0o755)).unwrap();

    // Where there is a desktop the page opens by itself; Ana comes to it by her provider, sees who asks, and says yes.
    let mut desktop = login(&office, home, &[]);
    desktop.env("DISPLAY", ":0");
    let mut terminal = Talk::start(desktop);
    let link = eventually("the page opens", || fs::read_to_string(&opened).ok());
    terminal.until("Waiting");
    let (printed, code) = link_in(&terminal.heard()).unwrap();
    assert_eq!(printed, link, "what is opened is what is printed");
    let ana = office.sits_down("ana", &link);
    let (status, asker) = ana.sees(&code);
    assert_eq!((status, &asker["address"], &asker["purpose"]), (200, &json!("127.0.0.1"), &json!("the command line")), "{asker}");
    assert!(asker["client"].as_str().unwrap().starts_with("tidegate "), "{asker}");
    assert!(!home.join("ssh/tidegate").exists(), "nobody said yes yet");
    assert_eq!(ana.answers(&code, true).0, 200);
    assert_eq!(terminal.end(), 0, "{}", terminal.heard());
    assert!(terminal.heard().contains("You are ana") && terminal.heard().contains("Signed in until"), "{}", terminal.heard());
    assert!(home.join("ssh/tidegate-cert.pub").exists());
    let token = fs::read_to_string(home.join(".config/tidegate/client.toml")).unwrap();

    // Who is signed in is not asked again, unless they want to: a fresh certificate, and no page.
    fs::remove_file(&opened).unwrap();
    let mut again = Talk::start(login(&office, home, &[]));
    assert_eq!(again.end(), 0, "{}", again.heard());
    assert_eq!(link_in(&again.heard()), None);
    assert_eq!(fs::read_to_string(home.join(".config/tidegate/client.toml")).unwrap(), token);

    // No desktop: no page opens, and the link serves on any machine. Ben says no, and nothing is changed.
    let mut bare = Talk::start(login(&office, home, &["--browser"]));
    bare.until("Waiting");
    let (link, code) = link_in(&bare.heard()).unwrap();
    let ben = office.sits_down("ben", &link);
    assert_eq!(ben.answers(&code, false).0, 200);
    assert_eq!(bare.end(), 77, "{}", bare.heard());
    assert!(bare.heard().contains("somebody said no"), "{}", bare.heard());
    assert!(!opened.exists());
    assert_eq!(fs::read_to_string(home.join(".config/tidegate/client.toml")).unwrap(), token);

    // A token that was revoked is as none: Ben sits there now.
    let tokens = office.gate.get("ana", "/api/v1/tokens");
    let of_terminal = tokens["items"].as_array().unwrap().iter().find(|token| token["label"].to_string().contains("tidegate ")).unwrap();
    assert_eq!(office.gate.api("ana", "DELETE", &format!("/api/v1/tokens/{}", of_terminal["id"].as_str().unwrap()), None).0, 200);
    let mut revoked = Talk::start(login(&office, home, &[]));
    revoked.until("Waiting");
    let (_, code) = link_in(&revoked.heard()).unwrap();
    assert_eq!(ben.answers(&code, true).0, 200);
    assert_eq!(revoked.end(), 0, "{}", revoked.heard());
    assert!(revoked.heard().contains("You are ben"), "{}", revoked.heard());

    // Where nobody is there to read a link, nothing waits for one.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut nobody = login(&office, elsewhere.path(), &[]);
    nobody.env_remove("TIDEGATE_WAIT");
    let mut nobody = Talk::start(nobody);
    assert_eq!(nobody.end(), 77, "{}", nobody.heard());
    assert_eq!(link_in(&nobody.heard()), None);
    office.gate.assert_provable();
}

/// Stock `ssh` of somebody who has no key and no certificate.
fn ssh(office: &Office, selector: &str, command: &str) -> Talk {
    let facts = &office.gate.ready["ssh"];
    let mut ssh = Command::new("ssh");
    ssh.args(["-F/dev/null", "-oIdentityAgent=none", "-oIdentitiesOnly=yes", "-i/dev/null", "-oStrictHostKeyChecking=yes"])
        .arg(format!("-oUserKnownHostsFile={}", facts["known_hosts"].as_str().unwrap()))
        .args(["-oHostKeyAlias=gate", "-oConnectTimeout=20", "-p", &facts["port"].to_string()])
        .arg(format!("{selector}@{}", facts["host"].as_str().unwrap()))
        .arg(command)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Talk::start(ssh)
}

fn asked(terminal: &Talk) -> (String, String) {
    terminal.until("tidegate join");
    link_in(&terminal.heard()).unwrap_or_else(|| panic!("no link: {}", terminal.heard()))
}

// covers: WHO-1 (ssh), WHO-4 (ssh), A8 (ssh)
#[test]
fn ssh_without_a_key_is_let_in_from_a_browser() {
    let office = Office::open();
    let gate = &office.gate;
    let keys = |name: &str| (gate.get(name, "/api/v1/me/keys"), gate.get(name, "/api/v1/tokens"));
    let before = keys("ana");

    // The page says who asks, from where, for what; then she is in, as herself, for this connection and nothing else.
    let mut terminal = ssh(&office, "build-1+shell", "echo pid-$$-; exec sleep 1000");
    let (link, code) = asked(&terminal);
    assert!(terminal.heard().contains(&format!("Code: {code}")), "{}", terminal.heard());
    let ana = office.sits_down("ana", &link);
    let (status, asker) = ana.sees(&code);
    assert_eq!((status, &asker["address"], &asker["connection"]), (200, &json!("127.0.0.1"), &json!("build-1+shell")), "{asker}");
    assert!(asker["client"].as_str().unwrap().starts_with("SSH-2.0-OpenSSH"), "{asker}");
    assert!(!terminal.heard().contains("pid-") && gate.live_session("ana").is_none(), "nobody said yes yet");
    assert_eq!(ana.answers(&code, true).0, 200);
    let pid: u32 = eventually("the shell runs", || terminal.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    assert_eq!(gate.live_session("ana").unwrap()["resource"], "build-1");
    assert_eq!(keys("ana"), before, "nothing is left that could be used again");
    assert_eq!(ana.answers(&code, true).0, 401, "a code is answered once");

    // Another connection is another question, and who says yes is who is there.
    let mut other = ssh(&office, "build-1+shell", "echo inside");
    let (link, code) = asked(&other);
    let ben = office.sits_down("ben", &link);
    assert_eq!(ben.answers(&code, true).0, 200);
    other.until("inside");
    assert_eq!(other.end(), 0, "{}", other.heard());
    let sessions = gate.get("ben", "/api/v1/sessions");
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "{sessions}");

    // A no is a no, said where they wait.
    let mut refused = ssh(&office, "build-1+shell", "echo inside");
    let (_, code) = asked(&refused);
    assert_eq!(ben.answers(&code, false).0, 200);
    assert_eq!(refused.end(), 255, "{}", refused.heard());
    assert!(refused.heard().contains("somebody said no") && !refused.heard().contains("inside"), "{}", refused.heard());

    // Who may not go there is refused as with a key.
    let mut frank = ssh(&office, "ledger-1+shell", "echo inside");
    let (_, code) = asked(&frank);
    assert_eq!(ana.answers(&code, true).0, 200);
    assert_eq!(frank.end(), 77, "{}", frank.heard());
    assert!(!frank.heard().contains("inside"), "{}", frank.heard());

    // Who hung up is asked about no more.
    let mut gone = ssh(&office, "build-1+shell", "echo inside");
    let (_, code) = asked(&gone);
    assert_eq!(ana.sees(&code).0, 200);
    gone.child.kill().unwrap();
    eventually("nobody is shown it any more", || (ana.sees(&code).0 == 401).then_some(()));

    // Signed out in the browser is signed out at the target.
    assert!(lives(pid));
    assert_eq!(ana.calls("POST", "/sign-out", Some(json!({}))).0, 204);
    eventually("the shell at the target is gone", || (!lives(pid)).then_some(()));
    assert_eq!(terminal.end(), 76, "{}", terminal.heard());
    gate.assert_provable();
}
