//! Terraform and OpenTofu states, version 4: <https://developer.hashicorp.com/terraform/internals/json-format> tells of their resources;
//! the state file itself holds `resources[].instances[].attributes`. Passwords and keys stand in it in the clear; none is read.

use access::inventory::{Issuance, Reach};
use serde::Deserialize;
use serde_json::Value;

use crate::names::{address, of_url};
use crate::{Found, Sink};

#[derive(Debug, Deserialize)]
struct State {
    version: u64,
    #[serde(default)]
    resources: Vec<Declared>,
}

#[derive(Debug, Deserialize)]
struct Declared {
    #[serde(default)]
    module: Option<String>,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
struct Instance {
    #[serde(default)]
    attributes: Value,
}

pub(crate) fn state(text: &str, sink: &mut Sink) {
    let state: State = match serde_json::from_str(text) {
        Ok(state) => state,
        Err(error) => {
            return sink.wrong(
                u64::try_from(error.line()).unwrap_or(0),
                "this cannot be read as a Terraform state; `terraform state pull` prints one",
            );
        }
    };
    if state.version != 4 {
        return sink.wrong(1, format!("this is a state of version {}, and only version 4 is understood", state.version));
    }
    for declared in &state.resources {
        if declared.mode != "managed" {
            sink.skip();
            continue;
        }
        let at = match &declared.module {
            Some(module) => format!("{module}.{}.{}", declared.kind, declared.name),
            None => format!("{}.{}", declared.kind, declared.name),
        };
        for instance in &declared.instances {
            match way(&declared.kind, &instance.attributes) {
                Some(Way { target, .. }) if target.is_empty() => sink.skip(),
                Some(way) => sink.put(Found {
                    line: 0,
                    reach: way.reach,
                    target: way.target,
                    attribution: crate::names::attributed(way.account.as_deref(), None),
                    account: way.account,
                    holder: None,
                    fingerprint: None,
                    issuance: way.issuance,
                    detail: vec![at.clone()],
                }),
                None => sink.skip(),
            }
        }
    }
}

struct Way {
    reach: Reach,
    target: String,
    account: Option<String>,
    issuance: Issuance,
}

fn way(kind: &str, at: &Value) -> Option<Way> {
    let text = |path: &str| text_at(at, path);
    let first = |paths: &[&str]| paths.iter().find_map(|path| text(path));
    let port = |usual: u16| {
        at.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0).unwrap_or(usual)
    };
    let of = |reach, host: Option<String>, usual, account, issuance| {
        Some(Way { reach, target: host.map(|host| address(&host, usual)).unwrap_or_default(), account, issuance })
    };
    match kind {
        "aws_instance" | "aws_spot_instance_request" => {
            let issuance = if text("key_name").is_some() { Issuance::Key } else { Issuance::Unknown };
            of(Reach::Ssh, first(&["private_ip", "public_ip", "private_dns"]), 22, None, issuance)
        }
        "aws_db_instance" => database(&first(&["engine"])?, first(&["address", "endpoint"]), first(&["username"]), &port),
        "aws_rds_cluster" => database(&first(&["engine"])?, text("endpoint"), first(&["master_username"]), &port),
        "aws_eks_cluster" | "google_container_cluster" => {
            let endpoint = text("endpoint")?;
            of(Reach::Kubernetes, of_url(&endpoint).or(Some(endpoint)), 443, None, Issuance::Sso)
        }
        "aws_iam_access_key" => cloud(first(&["user"]), "AWS"),
        "google_service_account_key" => cloud(first(&["service_account_id", "name"]), "Google Cloud"),
        "azuread_application_password" | "azuread_service_principal_password" => {
            cloud(first(&["display_name", "application_id", "service_principal_id"]), "Azure")
        }
        "google_compute_instance" => of(
            Reach::Ssh,
            first(&["network_interface.0.network_ip", "network_interface.0.access_config.0.nat_ip"]),
            22,
            None,
            Issuance::Unknown,
        ),
        "google_sql_database_instance" => database(
            &first(&["database_version"])?,
            first(&["private_ip_address", "public_ip_address", "ip_address.0.ip_address"]),
            None,
            &port,
        ),
        "azurerm_linux_virtual_machine" | "azurerm_virtual_machine" => {
            let issuance = match at.get("disable_password_authentication").and_then(Value::as_bool) {
                Some(false) => Issuance::Password,
                _ => Issuance::Key,
            };
            of(Reach::Ssh, first(&["private_ip_address", "public_ip_address"]), 22, first(&["admin_username"]), issuance)
        }
        "azurerm_windows_virtual_machine" => {
            of(Reach::Other, first(&["private_ip_address", "public_ip_address"]), 3389, first(&["admin_username"]), Issuance::Password)
        }
        "azurerm_postgresql_flexible_server" | "azurerm_postgresql_server" => {
            of(Reach::Postgres, text("fqdn"), 5432, first(&["administrator_login"]), Issuance::Password)
        }
        "azurerm_mysql_flexible_server" | "azurerm_mysql_server" | "azurerm_mariadb_server" => {
            of(Reach::Mysql, text("fqdn"), 3306, first(&["administrator_login"]), Issuance::Password)
        }
        "azurerm_mssql_server" => {
            of(Reach::Other, text("fully_qualified_domain_name"), 1433, first(&["administrator_login"]), Issuance::Password)
        }
        "azurerm_kubernetes_cluster" => of(Reach::Kubernetes, first(&["fqdn", "private_fqdn"]), 443, None, Issuance::Sso),
        "digitalocean_droplet" => {
            of(Reach::Ssh, first(&["ipv4_address_private", "ipv4_address"]), 22, Some("root".to_owned()), Issuance::Key)
        }
        "digitalocean_database_cluster" => database(&first(&["engine"])?, first(&["private_host", "host"]), first(&["user"]), &port),
        "hcloud_server" => of(Reach::Ssh, first(&["ipv4_address", "ipv6_address"]), 22, Some("root".to_owned()), Issuance::Key),
        "openstack_compute_instance_v2" => of(Reach::Ssh, first(&["access_ip_v4", "access_ip_v6"]), 22, None, Issuance::Key),
        _ => None,
    }
}

fn database(engine: &str, host: Option<String>, account: Option<String>, port: &dyn Fn(u16) -> u16) -> Option<Way> {
    let engine = engine.to_ascii_lowercase();
    let (reach, usual) = match () {
        () if engine.contains("postgres") || engine == "pg" => (Reach::Postgres, 5432),
        () if engine.contains("mysql") || engine.contains("mariadb") => (Reach::Mysql, 3306),
        () => (Reach::Other, 0),
    };
    let target = host.map(|host| address(&host, port(usual))).unwrap_or_default();
    Some(Way { reach, target, account, issuance: Issuance::Password })
}

/// A credential of a cloud: it leads to all that its account may do.
fn cloud(account: Option<String>, of: &str) -> Option<Way> {
    Some(Way { reach: Reach::Cloud, target: of.to_owned(), account: Some(account?), issuance: Issuance::Token })
}

/// The text at a path of names and places in lists.
fn text_at(value: &Value, path: &str) -> Option<String> {
    let mut here = value;
    for step in path.split('.') {
        here = match step.parse::<usize>() {
            Ok(place) => here.get(place)?,
            Err(_) => here.get(step)?,
        };
    }
    here.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
