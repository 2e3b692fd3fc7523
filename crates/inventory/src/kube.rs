//! `kubeconfig`: <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>, as YAML or JSON.

use std::collections::BTreeMap;

use access::inventory::{Attribution, Issuance, Reach};
use serde::Deserialize;
use serde_json::Value;

use crate::names::{attributed, is_gate, of_url};
use crate::{About, Found, Sink};

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    clusters: Vec<Named>,
    #[serde(default)]
    users: Vec<Named>,
    #[serde(default)]
    contexts: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    #[serde(default, alias = "context", alias = "user")]
    cluster: Value,
}

/// Each context is a way: a cluster with a user.
pub(crate) fn config(text: &str, about: &About, sink: &mut Sink) {
    let config: Config = if text.trim_start().starts_with('{') {
        match serde_json::from_str(text) {
            Ok(config) => config,
            Err(error) => return sink.wrong(u64::try_from(error.line()).unwrap_or(0), "this cannot be read as a kubeconfig in JSON"),
        }
    } else {
        match serde_saphyr::from_str(text) {
            Ok(config) => config,
            Err(error) => {
                let line = error.location().map_or(0, |at| at.line());
                return sink.wrong(line, "this cannot be read as a kubeconfig");
            }
        }
    };
    if config.contexts.is_empty() {
        return sink.wrong(0, "it names no `contexts`, so it leads nowhere");
    }
    if config.contexts.len() > crate::MOST_PATHS {
        return sink.wrong(0, format!("it has more than {} contexts; split it", crate::MOST_PATHS));
    }
    let (clusters, users) = (by_name(&config.clusters), by_name(&config.users));
    for context in &config.contexts {
        let (Some(cluster), Some(user)) = (text_of(&context.cluster, "cluster"), text_of(&context.cluster, "user")) else {
            sink.wrong(0, format!("the context `{}` names no cluster or no user", crate::clean(&context.name)));
            continue;
        };
        let Some(server) = clusters.get(cluster.as_str()).and_then(|cluster| text_of(cluster, "server")) else {
            sink.wrong(0, format!("the context `{}` names a cluster that has no `server` here", crate::clean(&context.name)));
            continue;
        };
        let Some(target) = of_url(&server) else {
            sink.wrong(0, format!("the server of the context `{}` is no address", crate::clean(&context.name)));
            continue;
        };
        let (mut issuance, mut detail) = issued(users.get(user.as_str()).copied().unwrap_or(&Value::Null));
        if is_gate(&target, &about.gate_hosts) {
            issuance = Issuance::Gate;
        }
        if let Some(namespace) = text_of(&context.cluster, "namespace") {
            detail.push(format!("namespace {namespace}"));
        }
        detail.push(format!("context {}", context.name));
        let attribution = match issuance {
            Issuance::Sso | Issuance::Gate => Attribution::Person,
            _ => attributed(Some(&user), about.of.as_deref()),
        };
        sink.put(Found {
            line: 0,
            reach: Reach::Kubernetes,
            target,
            account: Some(user),
            holder: about.of.clone(),
            fingerprint: None,
            issuance,
            attribution,
            detail,
        });
    }
}

/// Of those that are called the same, the first.
fn by_name(list: &[Named]) -> BTreeMap<&str, &Value> {
    list.iter().rev().map(|named| (named.name.as_str(), &named.cluster)).collect()
}

/// How a user of a kubeconfig proves who they are. INVARIANT: names of fields, never what stands in them.
fn issued(user: &Value) -> (Issuance, Vec<String>) {
    let has = |field: &str| user.get(field).is_some_and(|value| !value.is_null());
    let mut detail = Vec::new();
    for (field, says) in [
        ("client-key-data", "a private key stands in the file"),
        ("client-key", "a private key lies in a file beside it"),
        ("token", "a token stands in the file"),
        ("tokenFile", "a token lies in a file beside it"),
        ("password", "a password stands in the file"),
    ] {
        if has(field) {
            detail.push(says.to_owned());
        }
    }
    let issuance = match () {
        () if has("exec") || has("auth-provider") => Issuance::Sso,
        () if has("client-certificate-data") || has("client-certificate") => Issuance::Certificate,
        () if has("token") || has("tokenFile") => Issuance::Token,
        () if has("password") => Issuance::Password,
        () => Issuance::Unknown,
    };
    if let Some(command) = user.get("exec").and_then(|exec| text_of(exec, "command")) {
        let name = command.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        detail.push(format!("by the command {name}"));
    }
    (issuance, detail)
}

fn text_of(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}
