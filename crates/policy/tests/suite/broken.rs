//! Broken directories: every mistake at once, with its place and the nearest right name; and nothing loads by half.

use std::collections::BTreeMap;

use tidegate_policy::Bundle;

use crate::company::{directory, files};

fn broken(file: &str, text: &str) -> String {
    let mut files: BTreeMap<String, Vec<u8>> = files();
    files.insert(file.into(), text.as_bytes().to_vec());
    Bundle::from_files(files).err().unwrap_or_else(|| panic!("{file} loaded:\n{text}")).to_string()
}

fn added(file: &str, more: &str) -> String {
    let mut text = String::from_utf8(files()[file].clone()).unwrap();
    text.push_str(more);
    broken(file, &text)
}

// covers: MAY-2, MAY-8
#[test]
fn all_mistakes_come_at_once_with_place_and_nearest_name() {
    let mut all = files();
    let mut edit = |file: &str, from: &str, to: &str| {
        let text = String::from_utf8(all[file].clone()).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        all.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
    };
    edit("tiers.toml", "max = \"12h\"", "max = \"12 hours\"");
    edit("tiers.toml", "record = \"content\"", "recrod = \"content\"");
    edit("tiers.toml", "approvals = [\"on-call-or-lead\"]", "approvals = [\"on-call-or-leed\"]");
    edit("resources.toml", "tier = \"regulated\"", "tier = \"regualted\"");
    edit("resources.toml", "address = \"10.20.0.11:22\"", "address = \"10.20.0.11\"");
    edit("roles.toml", "sftp = \"read\"", "sftp = \"some\"");
    edit("approvals.toml", "\"leads\"]", "\"leeds\"]");
    edit("people.toml", "resources = [\"build-1\"]", "resources = [\"biuld-1\"]");
    edit("windows.toml", "Europe/Berlin", "Europe/Belrin");
    edit("access.cedar", "Tide::Group::\"engineers\"", "Tide::Group::\"enginers\"");
    edit("access.cedar", "@max_duration(\"30m\")", "@max_durations(\"30m\")");
    edit("access.cedar", "@window(\"maintenance\")", "@window(\"maintenence\")");
    edit("access.cedar", "contains(\"year-end-freeze\")", "contains(\"year-end-freze\")");
    edit("oversight.cedar", "principal.contractor", "principal.contracter");
    let problems = Bundle::from_files(all).unwrap_err();
    insta::assert_snapshot!("mistakes", problems.to_string());
}

// covers: MAY-2
#[test]
fn annotations_are_a_closed_typed_set() {
    let path =
        |notes: &str| added("access.cedar", &format!("\n{notes} permit(principal, action == Tide::Action::\"request\", resource);\n"));
    for (notes, says) in [
        ("@approvals(\"security\")", "`@approvals` is no annotation of a path; did you mean `@approval`?"),
        ("@approval", "is not a approval plan name"),
        ("@approval(\"security,security\")", "the plan `security` is named twice"),
        ("@approval(\"nobody\")", "there is no approval plan `nobody`"),
        ("@max_duration(\"soon\")", "`soon` is not a length of time"),
        ("@max_duration(\"0s\")", "a path of no length leads nowhere"),
        ("@mfa(\"strong\")", "`strong` is no MFA kind"),
        ("@mfa(\"verified, 5m, now\")", "write a kind"),
        ("@ticket(\"yes\")", "`yes` is no ticket rule"),
        ("@record(\"all\")", "`all` is no recording level"),
        ("@window(\"lunch\")", "there is no window `lunch`"),
        ("@standing(\"yes\")", "it takes no value; write `@standing`"),
        ("@breakglass", "write who reviews it and within which time"),
        ("@breakglass(\"security\")", "write who reviews it and within which time"),
        ("@breakglass(\"nobody, 1h\")", "there is no group `nobody`"),
        ("@reason(\"x\")", "`@reason` is what somebody is told whom a `forbid` stops"),
        ("@id(\"emergency\")", "the policy id `emergency` is already used in access.cedar:"),
        ("@record(\"events\") @record(\"content\")", "duplicate annotation"),
    ] {
        let problems = path(notes);
        assert!(problems.contains(says), "{notes}: {problems}");
    }
    let elsewhere = added("access.cedar", "\n@max_duration(\"1h\") forbid(principal, action == Tide::Action::\"request\", resource);\n");
    assert!(elsewhere.contains("`@max_duration` says what a path costs; only a `permit` on `request` is one"), "{elsewhere}");
    let elsewhere = added("oversight.cedar", "\n@ticket(\"named\") permit(principal, action == Tide::Action::\"watch\", resource);\n");
    assert!(elsewhere.contains("`@ticket` says what a path costs"), "{elsewhere}");
}

// covers: MAY-2
#[test]
fn an_account_for_each_grant_is_asked_for_where_nothing_is_judged() {
    let role = |database: &str| {
        let text = String::from_utf8(files()["roles.toml"].clone()).unwrap();
        let more = format!(
            "\n[[role]]\nname = \"keeper\"\ndescription = \"All.\"\nkind = \"postgres\"\nlogin = \"app\"\ndatabase = {{ {database} }}\n"
        );
        let mut files: BTreeMap<String, Vec<u8>> = files();
        files.insert("roles.toml".into(), (text + &more).into_bytes());
        Bundle::from_files(files).map(|_| ()).map_err(|problems| problems.to_string())
    };
    assert_eq!(role("unrestricted = true, own_account = true, row_limit = 5"), Ok(()));
    let tables = "tables = [{ name = \"public.orders\", select = true }]";
    assert_eq!(role(tables), Ok(()));
    let said = role(&format!("own_account = true, {tables}")).unwrap_err();
    assert!(said.contains("a restricted role has an account for each grant anyway"), "{said}");
    let said = role(&format!("unrestricted = true, own_account = true, {tables}")).unwrap_err();
    assert!(said.contains("only `own_account`, `row_limit` and `statement_timeout` can stand beside it"), "{said}");
}

// covers: MAY-2, MAY-6
#[test]
fn only_roles_permit_inside_a_session() {
    for (policy, says) in [
        (
            "permit(principal, action == Tide::Action::\"ssh:shell\", resource);",
            "`ssh:shell` is a right inside a session; `roles.toml` alone gives these",
        ),
        ("permit(principal, action, resource);", "a `permit` has to say for which action"),
        (
            "permit(principal, action in [Tide::Action::\"request\", Tide::Action::\"ssh:pty\"], resource);",
            "`ssh:pty` is a right inside a session",
        ),
        ("permit(principal == ?principal, action == Tide::Action::\"request\", resource);", "has slots"),
        ("permit(principal, action == Tide::Action::\"reqest\", resource);", "reqest"),
        ("permit(principal, action == Tide::Action::\"request\", resource) when { resource.colour == \"red\" };", "colour"),
        (
            "permit(principal, action == Tide::Action::\"request\", resource) when { context.network.isInRange(ip(\"10.0.0.0/8\")) };",
            "network",
        ),
        ("permit(principal, action == Tide::Action::\"request\", resource", "unexpected end of input"),
    ] {
        let problems = added("access.cedar", &format!("\n{policy}\n"));
        assert!(problems.contains(says), "{policy}: {problems}");
        assert!(problems.contains("access.cedar:"), "{problems}");
    }
}

// covers: MAY-2
#[test]
fn missing_and_absurd_files_are_said_plainly() {
    let nothing = Bundle::load(&directory().join("nowhere")).unwrap_err().to_string();
    assert!(nothing.contains("cannot read") && nothing.contains("nowhere"), "{nothing}");
    let empty = Bundle::from_files(BTreeMap::new()).unwrap_err().to_string();
    insta::assert_snapshot!(empty, @r"
    the policy directory has 3 mistakes:
      .: there is no `.cedar` file, so nobody could do anything; a policy directory needs at least one
      roles.toml: the file is missing; a policy directory needs it
      tiers.toml: the file is missing; a policy directory needs it
    ");
    for (file, text) in [
        ("tiers.toml", "[[tier]\nname"),
        ("tiers.toml", "tier = 3"),
        ("tiers.toml", "[[tier]]\nname = \"x\"\nmax = \"1h\"\ndefault = \"2h\"\napprovals = []"),
        ("approvals.toml", "[[plan]]\nname = \"security\""),
        ("approvals.toml", "[[plan]]\nname = \"security\"\n[[plan.stage]]\nseats = [\"security\"]\ncount = 0"),
        ("people.toml", "[[group]]\nname = \"a\"\n[[group]]\nname = \"a\""),
        ("windows.toml", "[[window]]\nname = \"maintenance\""),
        ("resources.toml", "[[resource]]\nname = \"x\"\nkind = \"ssh\"\naddress = \"h:22\"\nhost_keys = [\"ssh-ed25519 nonsense\"]"),
        ("resources.toml", "[[resource]]\nname = \"x\"\nkind = \"telnet\"\naddress = \"h:22\""),
        (
            "roles.toml",
            "[[role]]\nname = \"x\"\nkind = \"ssh\"\nlogin = \"a b\"\ndescription = \"\"\nssh = { exec = \"rm\", env = [\"LD_PRELOAD\"] }",
        ),
        ("tests/access.toml", "[[case]]\nname = \"x\"\nwho = \"ana\"\nask = \"web-1\"\nexpect = \"yes\""),
    ] {
        let problems = broken(file, text);
        assert!(problems.contains(&format!("{file}:")), "{file}: {problems}");
    }
    let mut bytes = files();
    bytes.insert("access.cedar".into(), vec![0xff, 0xfe]);
    assert!(Bundle::from_files(bytes).unwrap_err().to_string().contains("access.cedar: the file is not UTF-8 text from byte 0 on"));
}

// covers: MAY-8
#[test]
fn a_bundle_is_its_content() {
    let one = crate::company::example();
    let mut other = files();
    assert_eq!(Bundle::from_files(other.clone()).unwrap().digest(), one.digest());
    other.insert("README.md".into(), b"not policy".to_vec());
    assert_eq!(Bundle::from_files(other.clone()).unwrap().digest(), one.digest());
    other.get_mut("tiers.toml").unwrap().push(b'\n');
    assert_ne!(Bundle::from_files(other).unwrap().digest(), one.digest());
}

// covers: CRED-2
#[test]
fn a_production_tier_trusts_no_host_key_that_nobody_named() {
    let tier = |lines: &str| format!("\n[[tier]]\nname = \"lab\"\nmax = \"1h\"\ndefault = \"1h\"\napprovals = []\n{lines}\n");
    let mut sound = files();
    sound.get_mut("tiers.toml").unwrap().extend_from_slice(tier("production = false\nhost_keys = \"first-use\"").as_bytes());
    Bundle::from_files(sound).unwrap();
    for lines in ["host_keys = \"first-use\"", "production = true\nhost_keys = \"first-use\""] {
        let problems = added("tiers.toml", &tier(lines));
        assert!(
            problems.contains("a production tier trusts no host key that nobody named") && problems.starts_with("tiers.toml:"),
            "{problems}"
        );
    }
}

// covers: D9
#[test]
fn a_principal_names_its_account() {
    let machine =
        |lines: &str| format!("\n[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"extra-1:22\"\ntier = \"prod\"\n{lines}\n");
    for good in ["{login}@{resource}", "{resource}.{login}", "{login}", "eu-{login}"] {
        let mut sound = files();
        sound.get_mut("resources.toml").unwrap().extend_from_slice(machine(&format!("principal = \"{good}\"")).as_bytes());
        let bundle = Bundle::from_files(sound).unwrap();
        let resource = bundle.resource(&"extra-1".parse().unwrap()).unwrap();
        assert_eq!(resource.principal("deploy"), good.replace("{login}", "deploy").replace("{resource}", "extra-1"));
    }
    let long = format!("{{login}}{}", "x".repeat(97));
    for wrong in ["", "db-1", "{resource}", "{login},root", "{login}@*", "{login} root", "@{login}", "{login}{role}", long.as_str()] {
        let problems = added("resources.toml", &machine(&format!("principal = \"{wrong}\"")));
        assert!(problems.contains("is no principal; write one like `{login}@{resource}`"), "{wrong}: {problems}");
    }
    let sealed = "credential = \"secret:router-key\"\n";
    let problems = added("resources.toml", &machine(&format!("{sealed}principal = \"{{login}}@{{resource}}\"")));
    assert!(problems.contains("where a sealed secret opens the target there are none"), "{problems}");
}

// covers: MAY-8
#[test]
fn what_looks_like_policy_and_is_left_out_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &[u8]| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    files().iter().for_each(|(path, content)| write(path, content));
    let sound = Bundle::load(dir.path()).unwrap();
    assert!(sound.left_out().is_empty());
    for path in ["teams/shop.cedar", "policy.ceder", "Tiers.toml", "resources/eu/db.toml", "extra.toml", "tests/more.cedar"] {
        write(path, b"forbid(principal, action, resource);");
    }
    for path in ["README.md", ".taplo.toml", ".git/x.cedar", "access.cedar.orig"] {
        write(path, b"-");
    }
    let bundle = Bundle::load(dir.path()).unwrap();
    let said: Vec<String> = bundle.left_out().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"));
    assert!(bundle.left_out().iter().all(|problem| bundle.warnings().contains(problem)));
    assert_eq!(bundle.digest(), sound.digest(), "and nothing in it counts");
}

// covers: GRANT-9
#[test]
fn an_emergency_path_without_a_fresh_proof_is_warned_of() {
    let warned = |files: BTreeMap<String, Vec<u8>>| {
        let bundle = Bundle::from_files(files).unwrap();
        bundle.warnings().iter().any(|warning| warning.says.contains("the path `emergency` opens in an emergency without a fresh proof"))
    };
    let edited = |file: &str, from: &str, to: &str| {
        let mut files = files();
        let text = String::from_utf8(files[file].clone()).unwrap();
        assert!(text.contains(from), "{from}");
        files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
        files
    };
    assert!(warned(files()));
    assert!(!warned(edited("access.cedar", "@breakglass(", "@mfa(\"verified, 15m\")\n@breakglass(")));
    assert!(!warned(edited("tiers.toml", "break_glass = true\n", "break_glass = true\nmfa = \"verified\"\n")));
    assert!(!warned(edited("access.cedar", "@breakglass(\"security, 24h\")\n", "")));
}

// covers: MAY-8
#[test]
fn what_opens_a_target_is_sealed_here_or_kept_in_a_vault() {
    let resource = |credential: &str| {
        format!(
            "\n[[resource]]\nname = \"ledger-2\"\nkind = \"postgres\"\naddress = \"10.20.9.9:5432\"\ndatabase = \"ledger\"\n\
             credential = \"{credential}\"\naccounts = {{ login = \"maker\", credential = \"{credential}\" }}\n"
        )
    };
    for good in ["secret:ledger", "vault:corp/kv/data/databases/ledger#password", "vault:aws-eu/prod/ledger"] {
        let mut all = files();
        all.get_mut("resources.toml").unwrap().extend_from_slice(resource(good).as_bytes());
        let bundle = Bundle::from_files(all).unwrap();
        let read = bundle.resource(&"ledger-2".parse().unwrap()).unwrap();
        assert_eq!((read.credential.to_string(), read.accounts.as_ref().unwrap().secret.to_string()), (good.to_owned(), good.to_owned()));
    }
    for (wrong, says) in [
        ("sceret:ledger", "`sceret:ledger` is no credential; write `target-ca`, `secret:NAME` or `vault:NAME/PATH#FIELD`"),
        ("vault:corp", "`vault:corp` says no path in that vault"),
        ("vault:corp/kv/../sys/seal#x", "`..`"),
        ("vault:corp/kv/ledger?version=1#x", "has a query in it"),
        ("vault:corp/kv/ledger#", "no field stands behind it"),
        (
            "target-ca",
            "a database is opened by a password; write `credential = \"secret:NAME\"` or `credential = \"vault:NAME/PATH#FIELD\"`",
        ),
        ("target-ca", "the account that makes others is opened by a password"),
    ] {
        let problems = added("resources.toml", &resource(wrong));
        assert!(problems.contains(says), "{wrong}: {problems}");
    }
}
