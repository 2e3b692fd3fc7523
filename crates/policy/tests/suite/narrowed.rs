//! A role of the example company made narrower in `roles.toml`: only what goes goes, and the rest stays to the letter.

use access::names::RoleName;
use access::rights::{Columns, ExecRights, Rights, SftpRights};
use tidegate_policy::narrow::{ROLES, is_within, rewrite};

use crate::company::example;

fn role(name: &str) -> RoleName {
    name.parse().unwrap()
}

/// What the file loses and gains.
fn changed(name: &str, rights: &Rights) -> Vec<String> {
    let bundle = example();
    let after = rewrite(&bundle, &role(name), rights).unwrap();
    let before = String::from_utf8(bundle.files()[ROLES].clone()).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(&before), lines(&after));
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{line}"));
    gone.chain(new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{line}"))).collect()
}

fn rights(name: &str) -> Rights {
    example().role(&role(name)).unwrap().rights.clone()
}

// covers: MAY-7 (ssh), MAY-7 (postgres)
#[test]
fn only_what_goes_is_changed() {
    let Rights::Ssh(mut shell) = rights("shell") else { panic!("a role for machines") };
    shell.shell = false;
    shell.pty = false;
    shell.exec = ExecRights::Only(vec!["uptime".into()]);
    shell.sftp = SftpRights::Read;
    shell.env = vec!["LANG".into()];
    assert_eq!(
        changed("shell", &Rights::Ssh(shell)),
        [
            "-ssh = { shell = true, pty = true, exec = \"any\", sftp = \"write\", env = [\"LANG\", \"LC_*\", \"TERM\"] }",
            "+ssh = { exec = [\"uptime\"], sftp = \"read\", env = [\"LANG\"] }",
        ]
    );
    let Rights::Ssh(mut admin) = rights("admin") else { panic!("a role for machines") };
    admin.local_forward = vec!["*:5432".parse().unwrap()];
    admin.agent_forward = false;
    assert_eq!(
        changed("admin", &Rights::Ssh(admin)),
        ["-local_forward = [\"*:*\", \"localhost:*\"]", "-agent_forward = true", "+local_forward = [\"*:5432\"]"]
    );
    let Rights::Database(mut orders) = rights("readwrite") else { panic!("a role for databases") };
    orders.tables.retain(|name, _| name.name != "payments");
    for (name, table) in &mut orders.tables {
        match name.name.as_str() {
            "orders" => {
                table.select = Columns::Only(["id", "status"].map(str::to_owned).into());
                table.update = Columns::Only(["note".to_owned()].into());
            }
            "order_lines" => (table.insert, table.delete) = (Columns::None, false),
            _ => {}
        }
    }
    assert_eq!(
        changed("readwrite", &Rights::Database(orders)),
        [
            "-  { name = \"public.orders\", select = true, update = [\"status\", \"note\"] },",
            "-  { name = \"public.order_lines\", select = true, insert = true, update = [\"quantity\"], delete = true },",
            "+  { name = \"public.orders\", select = [\"id\", \"status\"], update = [\"note\"] },",
            "+  { name = \"public.order_lines\", select = true, update = [\"quantity\"] },",
        ]
    );
    for name in ["logs", "readonly", "stock-readwrite"] {
        assert_eq!(changed(name, &rights(name)), Vec::<String>::new());
    }
}

// covers: MAY-7 (ssh), MAY-7 (postgres)
#[test]
fn nothing_that_is_wider_is_written() {
    for (had, wanted) in [("debug", "shell"), ("readonly", "readwrite"), ("logs", "readonly")] {
        assert!(is_within(&rights(had), &rights(had)) && !is_within(&rights(wanted), &rights(had)));
        let why = rewrite(&example(), &role(had), &rights(wanted)).unwrap_err();
        assert!(why.to_string().contains("wider"), "{why}");
    }
    let Rights::Database(mut unmasked) = rights("readonly") else { panic!("a role for databases") };
    unmasked.tables.values_mut().for_each(|table| table.masked.clear());
    assert!(!is_within(&Rights::Database(unmasked), &rights("readonly")));
    let why = rewrite(&example(), &role("nobody"), &rights("logs")).unwrap_err();
    assert!(why.to_string().contains("no role `nobody`"), "{why}");
}
