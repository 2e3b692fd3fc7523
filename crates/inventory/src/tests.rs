//! Each kind of list, well-formed and hostile.

use access::inventory::{Attribution, Issuance, SourceKind};
use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILVuHvSEZnVnFZHgp0wBJrIyIbmO0Mg0nSrb4B7L8AD";

fn about() -> About {
    About {
        on: Some("db-1.internal".into()),
        account: Some("root".into()),
        of: Some("ana".into()),
        gate_hosts: vec!["gate.example".into()],
        ..About::default()
    }
}

fn found(kind: SourceKind, text: &str) -> Vec<Found> {
    read(kind, text.as_bytes(), &about()).unwrap().found
}

/// What is told of a way, in one line.
fn line(found: &Found) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    format!("{} {} {} {} {} {}", found.reach, found.target, part(&found.account), part(&found.holder), found.issuance, found.attribution)
}

fn lines(kind: SourceKind, text: &str) -> Vec<String> {
    found(kind, text).iter().map(line).collect()
}

// covers: BACK-3
#[test]
fn an_ssh_configuration_is_read_as_ssh_reads_it() {
    let text = "User early\nHost db-1 db-2\n  HostName %h.internal\n  User root\nHost web !web-2\n  Port=2222\nHost *.tide\n  ProxyJump gate.example\n\
                Host app.tide\nMatch host x\n  User never\nHost *\n  IdentityFile ~/.ssh/id_rsa\n  User late\n";
    assert_eq!(
        lines(SourceKind::SshConfig, text),
        [
            "ssh db-1.internal:22 early ana key unknown",
            "ssh db-2.internal:22 early ana key unknown",
            "ssh web:2222 early ana key unknown",
            "ssh app.tide:22 early ana gate person",
        ],
        "the first value counts, as ssh has it"
    );
    let root = found(SourceKind::SshConfig, "Host db-1\n  User root\n  CertificateFile x-cert.pub\n");
    assert_eq!((root[0].issuance, root[0].attribution), (Issuance::Certificate, Attribution::Shared));
    let notes = read(SourceKind::SshConfig, b"Include other\nHost a\n", &about()).unwrap().notes;
    assert!(notes[0].contains("Include"), "{notes:?}");
}

// covers: BACK-3
#[test]
fn known_hosts_are_ways_and_hashed_ones_are_known_by_their_key() {
    let text = format!("db-1.internal,10.0.0.7 {KEY}\n[bastion]:2222 {KEY} somebody\n|1|abc=|def= {KEY}\n@revoked old {KEY}\n");
    let reading = read(SourceKind::KnownHosts, text.as_bytes(), &about()).unwrap();
    let told: Vec<String> = reading.found.iter().map(line).collect();
    assert_eq!(
        told,
        [
            "ssh db-1.internal:22 - ana unknown unknown",
            "ssh 10.0.0.7:22 - ana unknown unknown",
            "ssh bastion:2222 - ana unknown unknown",
            "ssh a hashed host - ana unknown unknown",
        ]
    );
    assert!(reading.found[3].fingerprint.as_deref().unwrap().starts_with("SHA256:"));
    assert_eq!(reading.skipped, 1);
}

// covers: BACK-3
#[test]
fn authorized_keys_are_read_with_options_that_hold_blanks() {
    let text = format!("{KEY} ana@laptop\nno-pty,command=\"a \\\" b, c\" {} ben\n", KEY.replace("8AD", "8AE"));
    let keys: Vec<_> = authorized_key_lines(&text).collect();
    assert_eq!(keys.len(), 2);
    let ben = keys[1].clone().unwrap();
    assert_eq!((ben.options, ben.comment.as_deref()), (vec!["no-pty".to_owned(), "command".to_owned()], Some("ben")));
    let shared = found(SourceKind::AuthorizedKeys, &text);
    assert!(shared.iter().all(|way| way.attribution == Attribution::Shared && way.issuance == Issuance::Key));
    let gate = About { gate_keys: vec![keys[0].clone().unwrap().fingerprint], ..about() };
    let text = format!("cert-authority {KEY} the gate\n");
    let taken = read(SourceKind::AuthorizedKeys, text.as_bytes(), &gate).unwrap().found;
    assert_eq!(taken[0].issuance, Issuance::Gate);
    assert_eq!(found(SourceKind::AuthorizedKeys, &text)[0].issuance, Issuance::Certificate);
}

// covers: BACK-3
#[test]
fn a_hostile_ssh_configuration_of_the_largest_size_is_refused_while_it_is_read() {
    let filled = |line: &str| line.repeat(MOST_BYTES / line.len());
    let wrong = |text: &str| match read(SourceKind::SshConfig, text.as_bytes(), &about()) {
        Err(ReadError::Wrong(mistakes)) => mistakes[0].says.clone(),
        other => panic!("{other:?}"),
    };
    // Names times blocks would be 7 * 10^11 comparisons, for each setting.
    assert!(wrong(&filled("Host a\n")).contains("more than 5000 names"));
    assert!(wrong(&filled("Host *\n")).contains("blocks"));
    assert!(wrong(&format!("Host {}", "a ".repeat(3_000_000))).contains("at most 64 names and patterns"));
    assert!(wrong(&filled("=\n")).contains("no setting of ssh"));
    // Within every bound, and still more than a core should be kept for: patterns that fit only at their very end, if at all.
    let names: String = (0..4_000).map(|n| format!("Host {}{n}\n", "a".repeat(200))).collect();
    let patterns = format!("Host {}\n User x\n", "*aaaaaaaab ".repeat(24)).repeat(1_000);
    assert!(wrong(&format!("{names}{patterns}")).contains("too long"));
    // As many hosts as are taken, each with a block of its own, are.
    let many: String = (0..MOST_PATHS).map(|n| format!("Host h{n}\n User u{n}\n Port 22\n User never\n")).collect();
    let ways = found(SourceKind::SshConfig, &many);
    assert_eq!((ways.len(), ways.last().unwrap().account.as_deref()), (MOST_PATHS, Some("u4999")));
}

// covers: BACK-3
#[test]
fn a_hostile_kubeconfig_of_the_largest_size_is_refused_before_it_is_resolved() {
    let list = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let cluster = |n: usize| format!(r#"{{"name":"c{n}","cluster":{{"server":"https://h"}}}}"#);
    let context = |n: usize| format!(r#"{{"name":"x{n}","context":{{"cluster":"c{n}","user":"u{n}"}}}}"#);
    let user = |n: usize| format!(r#"{{"name":"u{n}","user":{{"token":""}}}}"#);
    let config = |contexts: usize, others: usize| {
        let (clusters, contexts, users) = (list(others, &cluster), list(contexts, &context), list(others, &user));
        format!(r#"{{"clusters":[{clusters}],"contexts":[{contexts}],"users":[{users}]}}"#)
    };
    let hostile = config(40_000, 40_000);
    assert!(hostile.len() > 5 << 20 && hostile.len() <= MOST_BYTES, "{}", hostile.len());
    match read(SourceKind::Kubeconfig, hostile.as_bytes(), &about()) {
        Err(ReadError::Wrong(mistakes)) => assert!(mistakes[0].says.contains("more than 5000 contexts"), "{mistakes:?}"),
        other => panic!("{other:?}"),
    }
    // What stands behind each name is found without looking through all of them.
    assert_eq!(found(SourceKind::Kubeconfig, &config(MOST_PATHS, 40_000)).len(), MOST_PATHS);
}

// covers: BACK-3
#[test]
fn a_kubeconfig_says_how_each_context_is_opened_and_keeps_no_secret() {
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: prod\nclusters:\n- name: prod\n  cluster:\n    server: https://k8s.internal:6443\n\
                contexts:\n- name: prod\n  context: {cluster: prod, user: admin, namespace: shop}\n- name: sso\n  context: {cluster: prod, user: ana}\n\
                users:\n- name: admin\n  user:\n    client-certificate-data: Q0VSVA==\n    client-key-data: U0VDUkVUS0VZ\n- name: ana\n  user:\n    exec: {command: /usr/bin/kubelogin}\n";
    let ways = found(SourceKind::Kubeconfig, text);
    assert_eq!(
        ways.iter().map(line).collect::<Vec<_>>(),
        ["kubernetes k8s.internal:6443 admin ana certificate shared", "kubernetes k8s.internal:6443 ana ana sso person"]
    );
    let told = format!("{ways:?}");
    assert!(told.contains("a private key stands in the file") && !told.contains("U0VDUkVU") && !told.contains("Q0VSVA"), "{told}");
}

// covers: BACK-3
#[test]
fn roles_and_users_of_databases_are_accounts_and_the_gate_s_own_are_inside() {
    let gate = access::account::login_of(access::ids::AccountId::generate(jiff()));
    let csv = format!(
        "rolname,rolcanlogin,rolsuper,rolvaliduntil\npostgres,t,t,\napp,t,f,NULL\nreaders,f,f,\npg_monitor,f,f,\n{gate},t,f,2026-01-01\n"
    );
    let knows = About { gate_accounts: vec![gate.clone()], ..about() };
    let told = |kind, text: &str, about: &About| read(kind, text.as_bytes(), about).unwrap().found.iter().map(line).collect::<Vec<_>>();
    assert_eq!(
        told(SourceKind::PostgresRoles, &csv, &knows),
        [
            "postgres db-1.internal:5432 postgres - password shared".to_owned(),
            "postgres db-1.internal:5432 app - password unknown".to_owned(),
            format!("postgres db-1.internal:5432 {gate} - gate person"),
        ]
    );
    // Whoever may make accounts may call one so: only what the gate says it made is the gate's.
    let lookalike = found(SourceKind::PostgresRoles, &csv).pop().unwrap();
    assert_eq!((lookalike.issuance, lookalike.attribution), (Issuance::Password, Attribution::Unknown));
    assert!(lookalike.detail.contains(&"called like the gate's, and none of them".to_owned()), "{lookalike:?}");
    let longer = format!("rolname,rolcanlogin\n{gate}@x,t\n");
    assert_eq!(told(SourceKind::PostgresRoles, &longer, &knows), [format!("postgres db-1.internal:5432 {gate}@x - password unknown")]);
    let hosts = format!("User,Host\n{gate},%\n{gate},10.0.0.7\n");
    assert_eq!(
        told(SourceKind::MysqlUsers, &hosts, &knows),
        [format!("mysql db-1.internal:3306 {gate} - gate person"), format!("mysql db-1.internal:3306 {gate}@10.0.0.7 - password unknown"),]
    );
    let json = r#"[{"rolname":"app","rolcanlogin":true,"rolpassword":"SCRAM-SHA-256$4096:x"},{"rolname":"off","rolcanlogin":false}]"#;
    let ways = found(SourceKind::PostgresRoles, json);
    assert_eq!(ways.len(), 1);
    assert!(!format!("{ways:?}").contains("SCRAM"));
    let mysql = "User\tHost\tplugin\tSuper_priv\n".to_owned() + "root\tlocalhost\tunix_socket\tY\napp\t%\tmysql_native_password\tN\n";
    assert_eq!(
        lines(SourceKind::MysqlUsers, &mysql),
        ["mysql db-1.internal:3306 root@localhost - unknown shared", "mysql db-1.internal:3306 app - password unknown"]
    );
}

fn jiff() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

// covers: BACK-3
#[test]
fn secrets_of_ci_and_profiles_of_vpns_are_ways_and_their_values_are_not_read() {
    let secrets = r#"[{"name":"PROD_PGPASSWORD","updatedAt":"2024-01-01","repository":"shop/api"},{"key":"AWS_SECRET_ACCESS_KEY","value":"hunter2"}]"#;
    let about = About::default();
    let reading = read(SourceKind::CiSecrets, secrets.as_bytes(), &about).unwrap();
    assert_eq!(
        reading.found.iter().map(line).collect::<Vec<_>>(),
        [
            "postgres whatever PROD_PGPASSWORD opens PROD_PGPASSWORD shop/api password shared",
            "cloud whatever AWS_SECRET_ACCESS_KEY opens AWS_SECRET_ACCESS_KEY - token shared",
        ]
    );
    assert!(!format!("{reading:?}").contains("hunter2") && reading.notes.len() == 1);
    let vpn = read(SourceKind::Vpn, b"user;network;auth\nana;10.0.0.0/8;sso\nold-laptop;10.0.0.0/8;wireguard\n", &about).unwrap();
    assert_eq!(
        vpn.found.iter().map(line).collect::<Vec<_>>(),
        ["vpn 10.0.0.0/8 ana ana sso person", "vpn 10.0.0.0/8 old-laptop old-laptop key person"]
    );
}

// covers: BACK-3
#[test]
fn a_terraform_state_is_read_without_what_it_holds_in_the_clear() {
    let state = r#"{"version":4,"resources":[
        {"mode":"managed","type":"aws_instance","name":"web","instances":[{"attributes":{"private_ip":"10.0.0.9","key_name":"ops"}}]},
        {"mode":"managed","type":"aws_db_instance","name":"orders","module":"module.shop","instances":[{"attributes":{"engine":"postgres","address":"orders.rds","port":5433,"username":"masteruser","password":"hunter2"}}]},
        {"mode":"managed","type":"google_sql_database_instance","name":"g","instances":[{"attributes":{"database_version":"MYSQL_8_0","ip_address":[{"ip_address":"10.1.1.1"}]}}]},
        {"mode":"managed","type":"azurerm_linux_virtual_machine","name":"vm","instances":[{"attributes":{"private_ip_address":"10.2.0.4","admin_username":"azureuser","disable_password_authentication":false}}]},
        {"mode":"managed","type":"aws_iam_access_key","name":"ci","instances":[{"attributes":{"user":"ci","secret":"hunter2"}}]},
        {"mode":"managed","type":"aws_vpc","name":"v","instances":[{"attributes":{}}]},
        {"mode":"data","type":"aws_ami","name":"a","instances":[]}]}"#;
    let reading = read(SourceKind::Terraform, state.as_bytes(), &About::default()).unwrap();
    assert_eq!(
        reading.found.iter().map(line).collect::<Vec<_>>(),
        [
            "ssh 10.0.0.9:22 - - key unknown",
            "postgres orders.rds:5433 masteruser - password shared",
            "mysql 10.1.1.1:3306 - - password unknown",
            "ssh 10.2.0.4:22 azureuser - password shared",
            "cloud AWS ci - token unknown",
        ]
    );
    assert_eq!(reading.skipped, 2);
    assert!(!format!("{reading:?}").contains("hunter2"));
    let old = read(SourceKind::Terraform, br#"{"version":3}"#, &About::default()).unwrap_err().to_string();
    assert!(old.contains("version 3"), "{old}");
}

// covers: BACK-3
#[test]
fn what_is_wrong_is_said_with_its_line_and_nothing_is_taken() {
    let wrong = |kind, text: &str| read(kind, text.as_bytes(), &about()).unwrap_err().to_string();
    assert_eq!(
        wrong(SourceKind::Csv, "reach,target\nssh,db-1\nfax,db-2\nssh\n"),
        "nothing was taken: line 4: this has 1 columns, and the header 2"
    );
    assert!(wrong(SourceKind::Csv, "reach,target\nssh,db-1\nfax,db-2\n").contains("line 3: `fax` is no "));
    assert!(wrong(SourceKind::Csv, "reach,target\nssh,db-1\nssh,\n").contains("line 3: `target` is missing here"));
    assert!(wrong(SourceKind::AuthorizedKeys, &format!("{KEY}\nssh-ed25519 AAAA\n")).contains("line 2"));
    assert!(wrong(SourceKind::KnownHosts, "db-1 ssh-ed25519\n").contains("line 1"));
    assert!(wrong(SourceKind::SshConfig, "Host \"db-1\n").contains("line 1: a quote is not closed here"));
    let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n";
    assert!(wrong(SourceKind::SshConfig, pem).contains("a private key stands here"));
    assert!(!wrong(SourceKind::SshConfig, pem).contains("b3Bl"));
    assert!(wrong(SourceKind::Kubeconfig, "a: [").contains("kubeconfig"));
    assert!(wrong(SourceKind::Kubeconfig, "clusters: []\n").contains("contexts"));
    assert!(wrong(SourceKind::Terraform, "{\n\n!").contains("line 3"));
    let alone = About::default();
    assert!(matches!(read(SourceKind::PostgresRoles, b"rolname\na\n", &alone), Err(ReadError::Missing(_))));
    assert_eq!(read(SourceKind::Csv, &[0xff, 0xfe], &alone), Err(ReadError::NoText));
    assert!(matches!(read(SourceKind::Csv, &vec![b'a'; MOST_BYTES + 1], &alone), Err(ReadError::TooLarge { .. })));
    let many: String = std::iter::once("target\n".to_owned()).chain((0..=MOST_PATHS).map(|n| format!("db-{n}\n"))).collect();
    assert!(matches!(read(SourceKind::Csv, many.as_bytes(), &alone), Err(ReadError::TooMany)));
}

#[test]
fn a_reader_stops_when_it_is_told_that_it_takes_too_long() {
    let too_long = Arc::new(AtomicBool::new(false));
    let lists = [(SourceKind::SshConfig, "Host a\n"), (SourceKind::KnownHosts, "a ssh-ed25519 AAAA\n"), (SourceKind::Csv, "target\na\n")];
    for (kind, text) in lists {
        too_long.store(false, Ordering::Relaxed);
        assert_ne!(read_unless(kind, text.as_bytes(), &about(), &too_long), Err(ReadError::TooLong));
        too_long.store(true, Ordering::Relaxed);
        assert_eq!(read_unless(kind, text.as_bytes(), &about(), &too_long), Err(ReadError::TooLong), "{kind}");
    }
}

#[test]
fn a_pattern_of_stars_takes_no_longer_than_any_other() {
    let text = format!("Host {}b {}\n  User x\n", "a*".repeat(2_000), "a".repeat(2_000));
    assert_eq!(found(SourceKind::SshConfig, &text).len(), 1);
    // Deep nesting is refused, and does not end the gate.
    let deep = format!("{}1", "[".repeat(200_000));
    assert!(read(SourceKind::Kubeconfig, deep.as_bytes(), &about()).is_err());
    assert!(read(SourceKind::Terraform, format!("{{\"a\":{deep}").as_bytes(), &about()).is_err());
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nclusters: [*g,*g,*g,*g]\n";
    assert!(read(SourceKind::Kubeconfig, bomb.as_bytes(), &about()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic_or_keep_control_characters(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "(?s)[ -~\\n\\t]{0,300}") {
        for kind in SourceKind::ALL {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(reading) = read(*kind, bytes, &about()) {
                    for way in reading.found {
                        let kept = [Some(way.target), way.account, way.holder].into_iter().flatten().chain(way.detail);
                        prop_assert!(kept.into_iter().all(|text| !text.chars().any(char::is_control)));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_read_twice_has_the_same_keys(hosts in prop::collection::vec("[a-z]{1,8}", 1..20)) {
        let text: String = std::iter::once("target\n".to_owned()).chain(hosts.iter().map(|host| format!("{host}\n"))).collect();
        let keys = |found: Vec<Found>| found.iter().map(Found::key).collect::<Vec<_>>();
        let once = keys(found(SourceKind::Csv, &text));
        prop_assert_eq!(&once, &keys(found(SourceKind::Csv, &text)));
        let mut different = once.clone();
        different.sort();
        different.dedup();
        prop_assert_eq!(different.len(), once.len());
    }
}
