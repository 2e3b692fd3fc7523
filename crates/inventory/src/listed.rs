//! Lists that people and tools export: secrets of CI systems, VPN profiles, and plain tables of ways.

use access::inventory::{Attribution, Issuance, Reach};

use crate::names::{attributed, of_secret};
use crate::table::rows;
use crate::{About, Found, Sink};

/// Names of secrets, as `gh secret list --json name,updatedAt`, GitLab's `/projects/:id/variables`, or a table with `name`.
pub(crate) fn ci_secrets(text: &str, about: &About, sink: &mut Sink) {
    let Some(rows) = rows(text, &["name", "key", "secret"], sink) else { return };
    for row in rows {
        let Some(name) = row.text(&["name", "key", "secret"]) else { continue };
        let (reach, issuance) = of_secret(&name);
        let mut detail = vec![format!("the secret {name}")];
        if row.get(&["value"]).is_some() {
            sink.note("values of secrets stood in the list; none was read, but whoever has the file has them");
        }
        if let Some(at) = row.get(&["updatedat", "updated_at", "updated", "created_at"]) {
            detail.push(format!("set {at}"));
        }
        if let Some(scope) = row.get(&["environment_scope", "environment", "visibility"]) {
            detail.push(format!("for {scope}"));
        }
        let holder = row.text(&["repository", "project", "repo", "owner", "pipeline"]).or_else(|| about.of.clone());
        let target = row.text(&["target", "address", "host"]).map(|host| crate::target(reach, &host));
        sink.put(Found {
            line: row.line,
            reach,
            target: target.or_else(|| about.on.clone()).unwrap_or_else(|| format!("whatever {name} opens")),
            account: Some(name),
            holder,
            fingerprint: None,
            issuance,
            // Whoever may change the pipeline can use it.
            attribution: Attribution::Shared,
            detail,
        });
    }
}

/// Profiles of a VPN: `user`, and maybe `network`, `auth`, `last_seen`.
pub(crate) fn vpn(text: &str, about: &About, sink: &mut Sink) {
    let Some(rows) = rows(text, &["user", "username", "name", "common_name", "email", "peer"], sink) else { return };
    for row in rows {
        let Some(user) = row.text(&["user", "username", "common_name", "email", "peer", "name"]) else { continue };
        let target = row.text(&["network", "target", "profile", "gateway", "server", "allowed_ips"]).or_else(|| about.on.clone());
        let issuance = match row.get(&["auth", "authentication", "method", "issuance"]).map(str::to_ascii_lowercase).as_deref() {
            Some("sso" | "saml" | "oidc" | "oauth") => Issuance::Sso,
            Some("certificate" | "cert" | "tls") => Issuance::Certificate,
            Some("key" | "wireguard" | "psk" | "publickey") => Issuance::Key,
            Some("password" | "ldap" | "radius") => Issuance::Password,
            _ => Issuance::Unknown,
        };
        let mut detail = Vec::new();
        if let Some(seen) = row.get(&["last_seen", "lastseen", "latest_handshake", "last_login"]) {
            detail.push(format!("last seen {seen}"));
        }
        if ["private_key", "privatekey", "password", "preshared_key"].iter().any(|column| row.get(&[column]).is_some()) {
            sink.note("keys or passwords stood in the list; none was read, but whoever has the file has them");
        }
        sink.put(Found {
            line: row.line,
            reach: Reach::Vpn,
            target: target.unwrap_or_else(|| "the VPN".to_owned()),
            attribution: attributed(Some(&user), Some(&user)),
            account: Some(user.clone()),
            holder: Some(user),
            fingerprint: None,
            issuance,
            detail,
        });
    }
}

/// A table with `reach`, `target` and what else is known, in the words of this program.
pub(crate) fn plain(text: &str, sink: &mut Sink) {
    let Some(rows) = rows(text, &["target"], sink) else { return };
    for row in rows {
        let Some(target) = row.text(&["target"]) else { continue };
        let reach: Reach = match row.get(&["reach"]).map(str::parse).transpose() {
            Ok(reach) => reach.unwrap_or(Reach::Other),
            Err(error) => {
                sink.wrong(row.line, error.to_string());
                continue;
            }
        };
        let issuance: Issuance = match row.get(&["issuance"]).map(str::parse).transpose() {
            Ok(issuance) => issuance.unwrap_or(Issuance::Unknown),
            Err(error) => {
                sink.wrong(row.line, error.to_string());
                continue;
            }
        };
        let (account, holder) = (row.text(&["account"]), row.text(&["holder", "who"]));
        let attribution: Attribution = match row.get(&["attribution"]).map(str::parse).transpose() {
            Ok(said) => said.unwrap_or_else(|| attributed(account.as_deref(), holder.as_deref())),
            Err(error) => {
                sink.wrong(row.line, error.to_string());
                continue;
            }
        };
        let target = crate::target(reach, &target);
        let detail = row.text(&["note", "detail"]).into_iter().collect();
        sink.put(Found { line: row.line, reach, target, account, holder, fingerprint: None, issuance, attribution, detail });
    }
}
