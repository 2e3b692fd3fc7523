//! Accounts of databases, as `pg_roles` and `mysql.user` list them. The queries stand in `docs/inventory.md`.

use access::inventory::{Attribution, Issuance, Reach};

use crate::names::{address, is_shared};
use crate::table::{Row, rows};
use crate::{About, Found, ReadError, Sink};

const WHERE: ReadError = ReadError::Missing("say where the list was taken, as in `--on db-1.internal:5432`");

/// Names of the roles that PostgreSQL brings with it begin so, and nobody signs in as one.
const PREDEFINED: &str = "pg_";

/// Rows of `pg_roles` (or `pg_authid`, whose passwords are not read).
pub(crate) fn postgres(text: &str, about: &About, sink: &mut Sink) -> Result<(), ReadError> {
    let on = address(about.on.as_deref().ok_or(WHERE)?, 5432);
    let Some(rows) = rows(text, &["rolname", "usename", "name"], sink) else { return Ok(()) };
    for row in rows {
        let Some(name) = row.text(&["rolname", "usename", "name"]) else { continue };
        let enters = row.get(&["rolcanlogin"]).is_none() || row.is("rolcanlogin");
        if !enters || name.starts_with(PREDEFINED) {
            sink.skip();
            continue;
        }
        let powers = [
            ("rolsuper", "superuser"),
            ("rolcreaterole", "makes roles"),
            ("rolcreatedb", "makes databases"),
            ("rolreplication", "replicates"),
            ("rolbypassrls", "passes row security"),
        ];
        let mut detail: Vec<String> = powers.into_iter().filter(|(column, _)| row.is(column)).map(|(_, says)| says.to_owned()).collect();
        if let Some(until) = row.get(&["rolvaliduntil"]).filter(|until| *until != "infinity") {
            detail.push(format!("valid until {until}"));
        }
        if let Some(members) = row.get(&["memberof", "member_of"]) {
            detail.push(format!("member of {members}"));
        }
        let gate = about.gate_accounts.contains(&name);
        sink.put(belongs(account(row.line, Reach::Postgres, &on, name.clone(), Issuance::Password, detail), &name, gate));
    }
    Ok(())
}

/// Rows of `mysql.user`, or of `mysql.global_priv` as `information_schema` shows them.
pub(crate) fn mysql(text: &str, about: &About, sink: &mut Sink) -> Result<(), ReadError> {
    let on = address(about.on.as_deref().ok_or(WHERE)?, 3306);
    let Some(rows) = rows(text, &["user"], sink) else { return Ok(()) };
    for row in rows {
        let Some(name) = row.text(&["user"]) else { continue };
        if row.is("account_locked")
            || row.is("is_role")
            || matches!(name.as_str(), "mysql.sys" | "mysql.session" | "mysql.infoschema" | "mariadb.sys")
        {
            sink.skip();
            continue;
        }
        let mut detail = powers(&row);
        let host = row.get(&["host"]).unwrap_or("%");
        detail.push(if host == "%" { "from anywhere".to_owned() } else { format!("from {host}") });
        let issuance = match row.get(&["plugin"]) {
            Some("unix_socket" | "auth_socket") => Issuance::Unknown,
            Some("authentication_ldap_simple" | "authentication_ldap_sasl" | "pam" | "authentication_pam" | "AWSAuthenticationPlugin") => {
                Issuance::Sso
            }
            _ => Issuance::Password,
        };
        if let Some(plugin) = row.get(&["plugin"]) {
            detail.push(format!("by {plugin}"));
        }
        // One name from two hosts is two accounts.
        let shown = if host == "%" { name.clone() } else { format!("{name}@{host}") };
        // Those of the gate's are made for any host.
        let gate = host == "%" && about.gate_accounts.contains(&name);
        sink.put(belongs(account(row.line, Reach::Mysql, &on, shown, issuance, detail), &name, gate));
    }
    Ok(())
}

fn powers(row: &Row) -> Vec<String> {
    [("super_priv", "SUPER"), ("grant_priv", "GRANT OPTION"), ("create_user_priv", "makes accounts"), ("file_priv", "FILE")]
        .into_iter()
        .filter(|(column, _)| row.is(column))
        .map(|(_, says)| says.to_owned())
        .collect()
}

/// An account of a database.
fn account(line: u64, reach: Reach, on: &str, name: String, issuance: Issuance, detail: Vec<String>) -> Found {
    Found {
        line,
        reach,
        target: on.to_owned(),
        account: Some(name),
        holder: None,
        fingerprint: None,
        issuance,
        attribution: Attribution::Unknown,
        detail,
    }
}

/// Whose an account is. INVARIANT: the gate's are those that the gate says it has there; what anybody may call theirs proves nothing.
fn belongs(mut found: Found, user: &str, gate: bool) -> Found {
    match () {
        () if gate => (found.issuance, found.attribution) = (Issuance::Gate, Attribution::Person),
        () if user.starts_with(access::account::PREFIX) => found.detail.push("called like the gate's, and none of them".to_owned()),
        () if is_shared(user) => found.attribution = Attribution::Shared,
        () => {}
    }
    found
}
