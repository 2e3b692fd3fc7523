//! `[[vault]]`: where secrets of targets are fetched from, and how the gate signs in there. No secret stands here, only where it is.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use access::names::VaultName;
use credentials::vault::{AwsSettings, HashicorpSettings, SignIn, VaultKind, VaultSettings};
use policy::document::{At, Document, Table};
use policy::problem::shown;
use reqwest::Url;

use super::parts;

/// A vault as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawVault {
    name: Option<At<VaultName>>,
    kind: Option<At<String>>,
    address: Option<At<String>>,
    ca_file: Option<At<String>>,
    namespace: Option<At<String>>,
    token_file: Option<At<String>>,
    approle: Option<RawSignIn>,
    jwt: Option<RawSignIn>,
    region: Option<At<String>>,
    endpoint: Option<At<String>>,
}

/// A way to sign in that takes a table: who the gate is, what proves it, and where the method is mounted.
#[derive(Debug)]
struct RawSignIn {
    who: Option<At<String>>,
    file: Option<At<String>>,
    mount: Option<At<String>>,
}

/// A vault, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultConfig {
    /// What it is.
    pub settings: VaultSettings,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Vault,
    Aws,
}

const KINDS: [(&str, Kind); 2] = [("vault", Kind::Vault), ("aws-secrets-manager", Kind::Aws)];

impl RawVault {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let approle = table.table("approle").if_there().map(|table| {
            let raw = RawSignIn { who: table.text("role_id"), file: table.text("secret_id_file"), mount: table.text("mount") };
            table.missing("role_id", "`vault read auth/approle/role/NAME/role-id` shows it");
            table.missing("secret_id_file", "name the file that only the gate may read, with the secret id in it");
            table.finish();
            raw
        });
        let jwt = table.table("jwt").if_there().map(|table| {
            let raw = RawSignIn { who: table.text("role"), file: table.text("jwt_file"), mount: table.text("mount") };
            table.missing("role", "name the role of the method that the gate signs in as");
            table.missing("jwt_file", "name the file with the token, as in `/var/run/secrets/kubernetes.io/serviceaccount/token`");
            table.missing("mount", "say where the method is mounted, as in `kubernetes` or `jwt`");
            table.finish();
            raw
        });
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            kind: table.text("kind"),
            address: table.text("address"),
            ca_file: table.text("ca_file"),
            namespace: table.text("namespace"),
            token_file: table.text("token_file"),
            approle,
            jwt,
            region: table.text("region"),
            endpoint: table.text("endpoint"),
        };
        table.missing("name", "policy names it, as in `vault:NAME/PATH#FIELD`");
        table.missing("kind", "it is `vault` (HashiCorp Vault, OpenBao) or `aws-secrets-manager`");
        table.finish();
        raw
    }
}

/// Checks all of them. Paths are below `base`.
pub(crate) fn check(all: Vec<RawVault>, document: &Document<'_>, base: &Path) -> Vec<VaultConfig> {
    let mut vaults: Vec<VaultConfig> = Vec::new();
    for raw in all {
        let (Some(name), Some(kind)) = (raw.name.clone(), &raw.kind) else { continue };
        let Some(kind) = parts::kind(kind, &KINDS, "vault.kind", "vault", document) else { continue };
        if vaults.iter().any(|other| other.settings.name == name.value) {
            document.reject(&name, format!("`vault.name`: `{}` stands here twice", name.value));
            continue;
        }
        refuse_keys_of_the_other(&raw, kind, document);
        let ca_file = raw.ca_file.as_ref().map(|file| base.join(&file.value));
        let kind = match kind {
            Kind::Vault => hashicorp(raw, &name, document, base).map(VaultKind::Hashicorp),
            Kind::Aws => aws(raw, &name, document).map(VaultKind::Aws),
        };
        vaults.extend(kind.map(|kind| VaultConfig { settings: VaultSettings { name: name.value, kind }, ca_file }));
    }
    vaults
}

fn refuse_keys_of_the_other(raw: &RawVault, kind: Kind, document: &Document<'_>) {
    let place = |sign_in: &Option<RawSignIn>| {
        sign_in.as_ref().and_then(|table| table.who.clone().or_else(|| table.file.clone()).or_else(|| table.mount.clone()))
    };
    let keys = [
        ("address", raw.address.clone(), Kind::Vault),
        ("ca_file", raw.ca_file.clone(), Kind::Vault),
        ("namespace", raw.namespace.clone(), Kind::Vault),
        ("token_file", raw.token_file.clone(), Kind::Vault),
        ("approle", place(&raw.approle), Kind::Vault),
        ("jwt", place(&raw.jwt), Kind::Vault),
        ("region", raw.region.clone(), Kind::Aws),
        ("endpoint", raw.endpoint.clone(), Kind::Aws),
    ];
    for (key, at, whose) in keys {
        if let Some(at) = at.filter(|_| whose != kind) {
            let code = |of: Kind| KINDS.iter().find(|(_, kind)| *kind == of).map_or("", |(code, _)| *code);
            document.reject(&at, format!("`vault.{key}` is for `{}`, and this is `{}`", code(whose), code(kind)));
        }
    }
}

fn hashicorp(raw: RawVault, name: &At<VaultName>, document: &Document<'_>, base: &Path) -> Option<HashicorpSettings> {
    let address = match &raw.address {
        Some(at) => url(at, "vault.address", document),
        None => {
            document
                .reject(name, format!("`vault.address` is missing; say where `{}` is, as in `https://vault.example.com:8200`", name.value));
            None
        }
    };
    if let (Some(at), Some(address)) = (&raw.address, &address)
        && address.path().trim_end_matches('/').ends_with("/v1")
    {
        document.reject(at, "`vault.address`: leave `/v1` out; the gate adds it");
    }
    let namespace = raw.namespace.and_then(|at| {
        let good = (1..=255).contains(&at.value.len()) && at.value.bytes().all(|b| b.is_ascii_graphic());
        if !good {
            document.reject(&at, format!("`vault.namespace`: `{}` is no namespace", shown(&at.value)));
        }
        good.then_some(at.value)
    });
    let mut ways: Vec<Option<SignIn>> = Vec::new();
    ways.extend(raw.token_file.map(|file| Some(SignIn::TokenFile(base.join(file.value)))));
    ways.extend(raw.approle.map(|table| {
        let mount = match &table.mount {
            Some(at) => mount(at, "approle.mount", document)?,
            None => "approle".to_owned(),
        };
        Some(SignIn::AppRole { role_id: table.who?.value, secret_id_file: base.join(table.file?.value), mount })
    }));
    ways.extend(raw.jwt.map(|table| {
        let mount = mount(&table.mount?, "jwt.mount", document)?;
        Some(SignIn::Jwt { role: table.who?.value, jwt_file: base.join(table.file?.value), mount })
    }));
    if ways.len() != 1 {
        let says = format!("say in one way how the gate signs in to `{}`: by `token_file`, `approle` or `jwt`", name.value);
        document.reject(name, says);
        return None;
    }
    Some(HashicorpSettings { address: address?, namespace, sign_in: ways.pop()?? })
}

fn aws(raw: RawVault, name: &At<VaultName>, document: &Document<'_>) -> Option<AwsSettings> {
    let endpoint = raw.endpoint.as_ref().and_then(|at| url(at, "vault.endpoint", document));
    let Some(region) = raw.region else {
        document.reject(name, format!("`vault.region` is missing; say where `{}` is, as in `eu-central-1`", name.value));
        return None;
    };
    let good =
        (1..=32).contains(&region.value.len()) && region.value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !good {
        document.reject(&region, format!("`vault.region`: `{}` is no region like `eu-central-1`", shown(&region.value)));
    }
    good.then_some(AwsSettings { region: region.value, endpoint })
}

/// Where something is called. What opens targets is sent back from there: over TLS, or not beyond this machine.
fn url(at: &At<String>, what: &str, document: &Document<'_>) -> Option<Url> {
    let bare = |url: &Url| url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let url = Url::parse(&at.value).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host() && bare(url));
    let Some(url) = url else {
        document.reject(at, format!("`{what}` is not a URL like `https://vault.example.com:8200`, with no user, query or fragment in it"));
        return None;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if url.scheme() == "http" && !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
        document.reject(
            at,
            format!("`{what}`: `{}` is not `https://`; without TLS only an address of this machine is called", shown(&at.value)),
        );
        return None;
    }
    Some(url)
}

/// Where a method of signing in is mounted.
fn mount(at: &At<String>, what: &str, document: &Document<'_>) -> Option<String> {
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if at.value.len() <= 255 && at.value.split('/').all(part) {
        return Some(at.value.clone());
    }
    document.reject(at, format!("`{what}`: `{}` is no mount like `approle`; leave `auth/` and slashes at the ends out", shown(&at.value)));
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n";
    const CORP: &str = "[[vault]]\nname = 'corp'\nkind = 'vault'\naddress = 'https://vault.example.com:8200'\n";
    const APPROLE: &str = "approle = { role_id = '8c1b', secret_id_file = 'corp.secret-id' }\n";
    const JWT: &str = "jwt = { role = 'tidegate', jwt_file = '/run/token', mount = 'kubernetes' }\n";
    const AWS: &str = "[[vault]]\nname = 'aws-eu'\nkind = 'aws-secrets-manager'\nregion = 'eu-central-1'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    fn sign_in(text: &str) -> SignIn {
        let config = parse(text).unwrap();
        let VaultKind::Hashicorp(vault) = config.vaults[0].settings.kind.clone() else { panic!("{text}") };
        vault.sign_in
    }

    #[test]
    fn vaults_are_read() {
        let of = SignIn::AppRole { role_id: "8c1b".into(), secret_id_file: "/etc/tidegate/corp.secret-id".into(), mount: "approle".into() };
        assert_eq!(sign_in(&format!("{CORP}{APPROLE}")), of);
        let of = SignIn::Jwt { role: "tidegate".into(), jwt_file: "/run/token".into(), mount: "kubernetes".into() };
        assert_eq!(sign_in(&format!("{CORP}{JWT}")), of);
        assert_eq!(sign_in(&format!("{CORP}token_file = '/run/vault-token'\n")), SignIn::TokenFile("/run/vault-token".into()));
        let config = parse(&format!("{CORP}{APPROLE}ca_file = 'corp.pem'\nnamespace = 'ops/prod'\n{AWS}")).unwrap();
        assert_eq!(config.vaults.len(), 2);
        assert_eq!(config.vaults[0].ca_file.as_deref(), Some(Path::new("/etc/tidegate/corp.pem")));
        let aws = VaultKind::Aws(AwsSettings { region: "eu-central-1".into(), endpoint: None });
        assert_eq!(config.vaults[1].settings.kind, aws);
        parse(&format!("{AWS}endpoint = 'https://vpce-1.secretsmanager.eu-central-1.vpce.amazonaws.com'\n")).unwrap();
        parse(&format!("{CORP}{APPROLE}").replace("https://vault.example.com", "http://127.0.0.1")).unwrap();
        assert!(parse("").unwrap().vaults.is_empty());
    }

    // covers: RUN-3 (cli)
    #[test]
    fn mistakes_in_vaults_are_named() {
        let corp = format!("{CORP}{APPROLE}");
        for (text, wanted) in [
            (corp.replace("name = 'corp'\n", ""), "`vault.name` is missing"),
            (corp.replace("kind = 'vault'\n", ""), "`vault.kind` is missing"),
            (corp.replace("'vault'\n", "'valut'\n"), "did you mean `vault`?"),
            (corp.replace("'corp'\n", "'Corp'\n"), "is not a name"),
            (corp.replace("address = 'https://vault.example.com:8200'\n", ""), "`vault.address` is missing"),
            (corp.replace("https://", "http://"), "is not `https://`"),
            (corp.replace("https://vault", "https://user:pass@vault"), "is not a URL"),
            (corp.replace(":8200'", ":8200/v1/'"), "leave `/v1` out"),
            (CORP.to_owned(), "say in one way how the gate signs in to `corp`"),
            (format!("{corp}{JWT}"), "say in one way"),
            (format!("{corp}token_file = 'x'\n"), "say in one way"),
            (corp.replace("role_id = '8c1b', ", ""), "`approle.role_id` is missing"),
            (corp.replace(", secret_id_file = 'corp.secret-id'", ""), "`approle.secret_id_file` is missing"),
            (corp.replace("secret_id_file", "secret_id_fiel"), "did you mean `secret_id_file`?"),
            (format!("{CORP}{JWT}").replace(", mount = 'kubernetes'", ""), "`jwt.mount` is missing"),
            (format!("{CORP}{JWT}").replace("'kubernetes'", "'auth/../sys'"), "is no mount"),
            (format!("{corp}namespace = 'a b'\n"), "is no namespace"),
            (format!("{corp}region = 'eu-central-1'\n"), "`vault.region` is for `aws-secrets-manager`, and this is `vault`"),
            (format!("{AWS}{APPROLE}"), "`vault.approle` is for `vault`, and this is `aws-secrets-manager`"),
            (format!("{AWS}ca_file = 'x'\n"), "`vault.ca_file` is for `vault`"),
            (AWS.replace("region = 'eu-central-1'\n", ""), "`vault.region` is missing"),
            (AWS.replace("eu-central-1", "Frankfurt"), "is no region"),
            (format!("{AWS}endpoint = 'http://10.0.0.7'\n"), "is not `https://`"),
            (format!("{corp}{corp}"), "stands here twice"),
            (format!("{corp}token = 'hvs.x'\n"), "`token` means nothing in `[vault]`"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
