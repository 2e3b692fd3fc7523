//! `[[identity_provider]]`: where people sign in. Who of them may do what is not said here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use access::names::GroupName;
use access::time::Span;
use identity::oidc::provider::{ClientSecret, GroupsFrom, Provider, is_private_url};
use policy::document::{At, Document, Table};
use policy::problem::shown;
use workflow::outbox::KeptSecret;

use super::parts::RawSecret;

/// How long a provider's word on groups counts if nothing is said.
const GROUPS_LAST: Span = Span::hours(12);

/// A provider as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawProvider {
    name: Option<At<GroupName>>,
    title: Option<At<String>>,
    issuer: Option<At<String>>,
    client_id: Option<At<String>>,
    client_secret: RawSecret,
    ca_file: Option<At<String>>,
    scopes: Vec<At<String>>,
    groups_claim: Option<At<String>>,
    groups_from: Option<At<String>>,
    groups_last: Option<At<Span>>,
    provision: Option<At<bool>>,
    groups: Vec<(String, At<GroupName>)>,
}

/// A provider, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// What it is.
    pub provider: Provider,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawProvider {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let groups = table.table("groups");
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            title: table.text("title"),
            issuer: table.text("issuer"),
            client_id: table.text("client_id"),
            client_secret: RawSecret::read(&table, "client_secret", "client_secret_file"),
            ca_file: table.text("ca_file"),
            scopes: table.list("scopes", "a scope"),
            groups_claim: table.text("groups_claim"),
            groups_from: table.text("groups_from"),
            groups_last: table.read("groups_last"),
            provision: table.flag("provision"),
            groups: groups.pairs("a group's name: 1 to 63 of a-z, 0-9, `.` and `-`"),
        };
        table.missing("name", "it stands in the address where the provider sends browsers back: `/api/v1/sign-in/oidc/NAME/callback`");
        table.missing("issuer", "the provider's documentation says it; `ISSUER/.well-known/openid-configuration` has to be there");
        table.missing("client_id", "the provider gave it to you when you registered the gate there");
        table.finish();
        raw
    }
}

/// Checks all of them. Paths are below `base`.
pub(crate) fn check(all: Vec<RawProvider>, document: &Document<'_>, base: &Path) -> Vec<ProviderConfig> {
    let mut providers: Vec<ProviderConfig> = Vec::new();
    for raw in all {
        let (Some(name), Some(issuer), Some(client_id)) = (raw.name, raw.issuer, raw.client_id) else { continue };
        if !is_private_url(&issuer.value) {
            let says = format!("`identity_provider.issuer`: `{}` is not a URL like `https://login.example.com`", shown(&issuer.value));
            document.reject(&issuer, says);
            continue;
        }
        if providers.iter().any(|other| other.provider.name == name.value.as_str() || other.provider.issuer == issuer.value) {
            document.reject(&name, format!("`identity_provider.name`: `{}` or its issuer stands here twice", name.value));
            continue;
        }
        let client_secret = match raw.client_secret.check("identity_provider.client_secret", document, base) {
            Some(KeptSecret::Sealed(name)) => ClientSecret::Sealed(name),
            Some(KeptSecret::File(path)) => ClientSecret::File(path),
            None => ClientSecret::Public,
        };
        let groups_from = match raw.groups_from.as_ref().map(|from| from.value.as_str()) {
            None | Some("id_token") => GroupsFrom::IdToken,
            Some("userinfo") => GroupsFrom::UserInfo,
            Some(other) => {
                let says = format!("`identity_provider.groups_from`: `{}` is neither `id_token` nor `userinfo`", shown(other));
                if let Some(from) = &raw.groups_from {
                    document.reject(from, says);
                }
                continue;
            }
        };
        let title = raw.title.map_or_else(|| name.value.to_string(), |title| title.value);
        let groups: BTreeMap<String, GroupName> = raw.groups.into_iter().map(|(theirs, ours)| (theirs, ours.value)).collect();
        providers.push(ProviderConfig {
            provider: Provider {
                name: name.value.to_string(),
                title,
                issuer: issuer.value,
                client_id: client_id.value,
                client_secret,
                scopes: raw.scopes.into_iter().map(|scope| scope.value).collect(),
                groups_claim: raw.groups_claim.map_or_else(|| "groups".to_owned(), |claim| claim.value),
                groups_from,
                groups,
                groups_last: raw.groups_last.map_or(GROUPS_LAST, |span| span.value),
                provision: raw.provision.is_some_and(|p| p.value),
            },
            ca_file: raw.ca_file.map(|file| base.join(file.value)),
        });
    }
    providers
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_provider_is_issuer_client_and_what_its_groups_mean() {
        let config = parse(
            "[[identity_provider]]\nname = 'corp'\ntitle = 'Corp'\nissuer = 'https://login.example.com'\nclient_id = 'tidegate'\n\
             client_secret_file = 'corp.secret'\nscopes = ['profile', 'groups']\ngroups_last = '8h'\ngroups_from = 'userinfo'\n\
             [identity_provider.groups]\n'Platform Team' = 'platform'\n\
             [[identity_provider]]\nname = 'partners'\nissuer = 'https://id.partner.example'\nclient_id = 'x'\nclient_secret = 'partner-oidc'\nprovision = true\n",
        )
        .unwrap();
        let [corp, partners] = config.identity_providers.as_slice() else { panic!("two providers") };
        assert_eq!(corp.provider.client_secret, ClientSecret::File("/etc/tidegate/corp.secret".into()));
        assert_eq!(corp.provider.local_groups(&["Platform Team".into(), "platform".into()]), ["platform".parse().unwrap()]);
        assert_eq!((corp.provider.groups_last, corp.provider.provision), (Span::hours(8), false));
        assert_eq!((corp.provider.groups_from, partners.provider.groups_from), (GroupsFrom::UserInfo, GroupsFrom::IdToken));
        assert_eq!(partners.provider.client_secret, ClientSecret::Sealed("partner-oidc".parse().unwrap()));
        assert_eq!((partners.provider.groups_last, partners.provider.provision), (Span::hours(12), true));
        assert!(partners.provider.local_groups(&["administrators".into()]).is_empty());
    }

    #[test]
    fn mistakes_in_providers_are_named() {
        let good = "[[identity_provider]]\nname = 'corp'\nissuer = 'https://login.example.com'\nclient_id = 'tidegate'\n";
        parse(good).unwrap();
        for (text, wanted) in [
            (good.replace("https://", "http://"), "is not a URL like"),
            (good.replace("'corp'", "'Corp SSO'"), "a name: 1 to 63"),
            (good.replace("client_id", "clientid"), "`identity_provider.client_id` is missing"),
            (format!("{good}{good}"), "stands here twice"),
            (format!("{good}client_secret = 'a'\nclient_secret_file = 'b'\n"), "not both"),
            (format!("{good}groups_from = 'saml'\n"), "`saml` is neither"),
            (format!("{good}groups_last = 'long'\n"), "`identity_provider.groups_last`"),
            (format!("{good}[identity_provider.groups]\n'Platform' = 'Platform Team'\n"), "a group's name"),
            ("identity_provider = 'corp'\n".to_owned(), "has to be a list of tables"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
