//! What names and addresses give away.

use access::inventory::{Attribution, Issuance, Reach};

/// Accounts that come with systems and images: whoever uses one is not told from the others who do.
const SHARED: &[&str] = &[
    "root",
    "admin",
    "administrator",
    "ubuntu",
    "debian",
    "centos",
    "fedora",
    "rocky",
    "almalinux",
    "ec2-user",
    "azureuser",
    "opc",
    "core",
    "cloud-user",
    "bitnami",
    "vagrant",
    "pi",
    "git",
    "deploy",
    "deployer",
    "ansible",
    "jenkins",
    "postgres",
    "mysql",
    "mariadb",
    "oracle",
    "sa",
    "dba",
    "rdsadmin",
    "cloudsqladmin",
    "azure_superuser",
    "masteruser",
    "superuser",
    "support",
    "operator",
    "service",
    "shared",
    "team",
    "ops",
];

/// Whether an account is one that several people use, going by its name.
pub(crate) fn is_shared(account: &str) -> bool {
    SHARED.contains(&account.to_ascii_lowercase().as_str())
}

/// Whether what `holder` does in `account` is theirs alone.
pub(crate) fn attributed(account: Option<&str>, holder: Option<&str>) -> Attribution {
    match (account, holder) {
        (Some(account), _) if is_shared(account) => Attribution::Shared,
        (Some(account), Some(holder)) if holder.split('@').next() == account.split('@').next() => Attribution::Person,
        _ => Attribution::Unknown,
    }
}

/// `host` or `host:port`, with the port that is usual; IPv6 addresses in brackets, names in lower case.
pub(crate) fn address(text: &str, port: u16) -> String {
    let text = text.trim().to_ascii_lowercase();
    let bare = text.trim_matches(['[', ']']);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{bare}]:{port}");
    }
    match text.rsplit_once(':') {
        Some((host, given)) if !host.is_empty() && given.parse::<u16>().is_ok_and(|port| port != 0) => format!("{host}:{given}"),
        _ if text.is_empty() => String::new(),
        _ => format!("{}:{port}", text.trim_end_matches(':')),
    }
}

/// The host of an `https://host[:port]/…`, with its port.
pub(crate) fn of_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        "postgres" | "postgresql" => 5432,
        "mysql" => 3306,
        "ssh" => 22,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before `@` may be a password.
    let host = authority.rsplit('@').next().unwrap_or_default();
    (!host.is_empty()).then(|| address(host, usual))
}

/// Whether an address is the gate's.
pub(crate) fn is_gate(target: &str, gate_hosts: &[String]) -> bool {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host).trim_matches(['[', ']']);
    gate_hosts.iter().any(|gate| gate.eq_ignore_ascii_case(host))
}

/// What a name of a secret, such as `PROD_DB_PASSWORD`, gives away.
pub(crate) fn of_secret(name: &str) -> (Reach, Issuance) {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part));
    let reach = if has(&["ssh", "deploy", "bastion", "rsa", "ed25519"]) {
        Reach::Ssh
    } else if has(&["pg", "postgres", "postgresql", "pgpassword"]) {
        Reach::Postgres
    } else if has(&["mysql", "mariadb"]) {
        Reach::Mysql
    } else if has(&["kube", "kubeconfig", "k8s", "kubernetes"]) {
        Reach::Kubernetes
    } else if has(&["aws", "gcp", "google", "azure", "arm", "gcloud", "cloud"]) {
        Reach::Cloud
    } else if has(&["vpn", "wireguard", "openvpn"]) {
        Reach::Vpn
    } else {
        Reach::Other
    };
    let issuance = if has(&["password", "passwd", "pass", "pwd", "pgpassword"]) {
        Issuance::Password
    } else if has(&["token", "secret", "apikey", "pat", "credentials", "kubeconfig", "kube"]) || (reach == Reach::Cloud && has(&["key"])) {
        Issuance::Token
    } else if has(&["key", "ssh", "rsa", "ed25519"]) {
        Issuance::Key
    } else if has(&["cert", "certificate", "crt"]) {
        Issuance::Certificate
    } else {
        Issuance::Unknown
    };
    (reach, issuance)
}

/// The port that a protocol usually has; 0 where what leads there is no address.
pub(crate) fn usual_port(reach: Reach) -> u16 {
    match reach {
        Reach::Ssh => 22,
        Reach::Postgres => 5432,
        Reach::Mysql => 3306,
        Reach::Kubernetes | Reach::Web => 443,
        Reach::Vpn | Reach::Cloud | Reach::Other => 0,
    }
}

/// A target as it is compared: addresses in lower case and with their port, anything else as it was written.
#[must_use]
pub fn target(reach: Reach, text: &str) -> String {
    let port = usual_port(reach);
    let text = crate::clean(text);
    if port == 0 || text.contains(char::is_whitespace) { text } else { address(&text, port) }
}
