use super::*;
use crate::keyring::tests::noon;
use access::ids::{KeyId, PrincipalId, UserId};
use identity::login_ca::LoginCa;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use testkit::sshd::{Sshd, SshdOptions};

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn ca() -> TargetCa {
    TargetCa::new(private(1)).unwrap()
}

const ALL: Extensions = Extensions { pty: true, port_forwarding: true, agent_forwarding: true };

fn parts(credential: SshCredential) -> (String, String) {
    match credential {
        SshCredential::Certificate { private_key, certificate } => (private_key.expose().clone(), certificate),
        other => panic!("{other:?} is no certificate"),
    }
}

fn listed(certificate: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cert.pub");
    std::fs::write(&path, certificate).unwrap();
    let output = Command::new("ssh-keygen").env("TZ", "UTC").arg("-Lf").arg(&path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

// covers: CRED-2 (ssh)
#[test]
fn openssh_reads_what_the_target_ca_signs() {
    let session = SessionId::generate(noon());
    let gate: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let (key, certificate) = parts(ca().permit_credential(session, "deploy", &gate, ALL, noon()).unwrap());
    let text = listed(&certificate);
    for line in [
        "Type: ssh-ed25519-cert-v01@openssh.com user certificate".to_owned(),
        format!("Signing CA: ED25519 {} (using ssh-ed25519)", ca().public().fingerprint(HashAlg::Sha256)),
        format!("Key ID: \"{session}\""),
        "Valid: from 2026-03-02T11:59:30 to 2026-03-02T12:05:00".to_owned(),
        "Principals: \n                deploy\n        Critical".to_owned(),
        "Critical Options: \n                source-address 192.0.2.1,2001:db8::1\n        Ext".to_owned(),
        "Extensions: \n                permit-agent-forwarding\n                permit-port-forwarding\n                permit-pty\n"
            .to_owned(),
    ] {
        assert!(text.contains(&line), "{line:?} is not in\n{text}");
    }
    assert_eq!(text.lines().count(), text.find("permit-pty").map(|at| text[..at].lines().count()).unwrap(), "nothing follows");
    let certified = Certificate::from_openssh(&certificate).unwrap();
    assert_eq!(certified.public_key(), PrivateKey::from_openssh(&key).unwrap().public_key().key_data());

    let (other, bare) = parts(ca().permit_credential(session, "deploy", &[], Extensions::default(), noon()).unwrap());
    assert_ne!(key, other, "a key pair for each session");
    assert!(listed(&bare).contains("Critical Options: (none)\n        Extensions: (none)"));
}

#[test]
fn rights_say_what_the_certificate_lets_through() {
    let none = SshRights { shell: true, ..SshRights::default() };
    assert_eq!(Extensions::from(&none), Extensions::default());
    let some = SshRights { pty: true, remote_forward: vec!["localhost:8080".parse().unwrap()], ..none };
    assert_eq!(Extensions::from(&some), Extensions { agent_forwarding: false, ..ALL });
}

// covers: A3 (ssh), A10 (ssh)
#[test]
fn the_target_ca_signs_no_hostile_login() {
    let sign = |login: &str| ca().permit_credential(SessionId::generate(noon()), login, &[], ALL, noon());
    for good in ["root", "deploy", "_apt", "ana.b", "svc-1", "CORP\\ana", "ana@corp.example", "R2-D2", &"a".repeat(128)] {
        assert!(sign(good).is_ok(), "{good}");
    }
    let hostile = [
        "",
        "*",
        "root,deploy",
        "root deploy",
        " root",
        "root ",
        "root\0",
        "root\n",
        "root\r",
        "\troot",
        "rооt",
        "ｒoot",
        "root\u{200b}",
        "r*",
        "?oot",
        "!root",
        "-oProxyCommand=id",
        ".root",
        "@wheel",
        "%u",
        "$USER",
        "root;id",
        "root:x",
        "root/x",
        "\"root\"",
        "é",
        &"a".repeat(129),
    ];
    for login in hostile {
        assert!(matches!(sign(login), Err(TargetCaError::Login(_))), "{login:?} was signed");
    }
}

proptest! {
    // covers: A3 (ssh)
    #[test]
    fn a_login_that_parses_is_harmless(text in "(?s).{0,140}|[a-z0-9_.@\\\\ ,*\n\0-]{1,20}") {
        match text.parse::<Login>() {
            Ok(login) => {
                prop_assert_eq!(login.as_str(), &text);
                prop_assert!((1..=128).contains(&text.len()) && text.is_ascii());
                prop_assert!(!text.contains([',', ' ', '*', '?', '!', '\0', '\n', '\r', '\t', ':', '/']) && !text.starts_with(['-', '.', '@']));
            }
            Err(told) => prop_assert!(!told.to_string().chars().any(char::is_control)),
        }
    }
}

/// The wall clock: a real `sshd` goes by it.
#[expect(clippy::disallowed_methods, reason = "the certificates are for a real sshd, which reads the wall clock")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

/// The account the tests run under: without privileges `sshd` opens no other.
fn own_login() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

/// Knocks at a target with a key and certificate, as Debian's `ssh`.
fn knock(target: &Sshd, dir: &Path, key: &str, certificate: &str, arguments: &[&str]) -> Output {
    let (key_path, certificate_path, known) = (dir.join("key"), dir.join("key-cert.pub"), dir.join("known_hosts"));
    std::fs::write(&key_path, key).unwrap();
    std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&certificate_path, format!("{certificate}\n")).unwrap();
    std::fs::write(&known, format!("[127.0.0.1]:{} {}\n", target.port(), target.host_key())).unwrap();
    Command::new("ssh")
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "StrictHostKeyChecking=yes",
        ])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known.display()))
        .arg("-o")
        .arg(format!("CertificateFile={}", certificate_path.display()))
        .arg("-i")
        .arg(&key_path)
        .args(["-p", &target.port().to_string(), "-l", &own_login(), "127.0.0.1"])
        .args(arguments)
        .output()
        .unwrap()
}

fn target() -> Sshd {
    Sshd::start(&SshdOptions { trusted_user_ca: Some(ca().authorized_line().unwrap()), ..SshdOptions::default() }).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

// covers: D9 (ssh), CRED-2 (ssh)
#[test]
fn a_target_opens_to_the_sessions_certificate_and_to_no_login_certificate() {
    let (target, dir, now) = (target(), tempfile::tempdir().unwrap(), wall_clock());
    let session = SessionId::generate(now);
    let open = |login: &str, from: &[IpAddr], at: Timestamp| {
        let (key, certificate) = parts(ca().permit_credential(session, login, from, ALL, at).unwrap());
        knock(&target, dir.path(), &key, &certificate, &["echo in"])
    };
    let output = open(&own_login(), &[HERE], now);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n", "{}\n{}", said(&output), target.log());
    assert!(target.log().contains(&session.to_string()), "the target's log names the session");

    let refused = |output: &Output| {
        assert!(!output.status.success() && output.stdout.is_empty() && said(output).contains("Permission denied"), "{}", said(output));
    };
    refused(&open("somebody-else", &[HERE], now));
    refused(&open(&own_login(), &["192.0.2.1".parse().unwrap()], now));
    refused(&open(&own_login(), &[HERE], Timestamp::from_second(now.as_second() - 301).unwrap()));

    // Ana's login certificate, as the login CA signs it …
    let subject = private(3);
    let key = subject.to_openssh(LineEnding::LF).unwrap();
    let person = PrincipalId::User(UserId::generate(now));
    let logins = LoginCa::new(private(2)).unwrap();
    let login = identity::login_ca::issue(&logins, person, KeyId::generate(now), subject.public_key(), Span::hours(1), &[], now).unwrap();
    refused(&knock(&target, dir.path(), &key, &login.to_openssh().unwrap(), &["echo in"]));
    // … and one for the target's login, which it never would sign; the same one by the target CA opens.
    let forged = |ca: &PrivateKey| {
        let seconds = u64::try_from(now.as_second()).unwrap();
        let mut builder = Builder::new(vec![7; 32], subject.public_key(), seconds - 30, seconds + 300).unwrap();
        builder.valid_principal(own_login()).unwrap().key_id("forged").unwrap();
        builder.sign(ca).unwrap().to_openssh().unwrap()
    };
    refused(&knock(&target, dir.path(), &key, &forged(&private(2)), &["echo in"]));
    let output = knock(&target, dir.path(), &key, &forged(&private(1)), &["echo in"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n", "{}", said(&output));
}

// covers: D9 (ssh)
#[test]
fn where_targets_want_principals_of_their_own_a_certificate_for_one_opens_no_other() {
    let (dir, now, session) = (tempfile::tempdir().unwrap(), wall_clock(), SessionId::generate(wall_clock()));
    let wants = |principal: String| {
        let trusted_user_ca = Some(ca().authorized_line().unwrap());
        Sshd::start(&SshdOptions { trusted_user_ca, principals: vec![principal], ..SshdOptions::default() }).unwrap()
    };
    let of = |resource: &str| format!("{}@{resource}", own_login());
    let (first, second) = (wants(of("db-1")), wants(of("db-2")));
    let open = |target: &Sshd, principal: &str| {
        let (key, certificate) = parts(ca().permit_credential(session, principal, &[HERE], ALL, now).unwrap());
        knock(target, dir.path(), &key, &certificate, &["echo in"])
    };
    for (target, name, others) in [(&first, of("db-1"), [of("db-2"), own_login()]), (&second, of("db-2"), [of("db-1"), own_login()])] {
        let output = open(target, &name);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n", "{name}: {}\n{}", said(&output), target.log());
        for other in others {
            let refused = open(target, &other);
            assert!(!refused.status.success() && said(&refused).contains("Permission denied"), "{other}: {}", said(&refused));
        }
    }
}

#[test]
fn a_target_lets_through_what_the_certificate_permits_and_no_more() {
    let (target, dir, now) = (target(), tempfile::tempdir().unwrap(), wall_clock());
    let with = |extensions: Extensions, arguments: &[&str]| {
        let session = SessionId::generate(now);
        let (key, certificate) = parts(ca().permit_credential(session, &own_login(), &[HERE], extensions, now).unwrap());
        knock(&target, dir.path(), &key, &certificate, arguments)
    };
    let only_pty = Extensions { pty: true, ..Extensions::default() };
    let only_forwarding = Extensions { port_forwarding: true, ..Extensions::default() };
    let terminal = ["-tt", "tty"];
    assert!(said(&with(only_pty, &terminal)).contains("/dev/pts/"));
    assert!(said(&with(only_forwarding, &terminal)).contains("PTY allocation request failed"));
    let itself = format!("127.0.0.1:{}", target.port());
    let forward = ["-o", "SessionType=none", "-W", &itself];
    assert!(said(&with(only_forwarding, &forward)).contains("SSH-2.0-"));
    assert!(said(&with(only_pty, &forward)).contains("prohibited"));
}

// covers: G1
#[test]
fn the_ca_and_what_it_makes_show_no_private_key() {
    let credential = ca().permit_credential(SessionId::generate(noon()), "deploy", &[], ALL, noon()).unwrap();
    let shown = format!("{:?} {credential:?}", ca());
    let (key, _) = parts(credential);
    let secret = PrivateKey::from_openssh(&key).unwrap();
    let bytes = secret.key_data().ed25519().unwrap().private.to_bytes();
    assert!(
        !shown.contains("PRIVATE KEY") && !shown.contains(&hex::encode(bytes)) && !shown.contains(key.lines().nth(1).unwrap()),
        "{shown}"
    );
    assert_eq!(ca().authorized_line().unwrap(), format!("{} tidegate target CA", ca().public().to_openssh().unwrap().trim()));
}
