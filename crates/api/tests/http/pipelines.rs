//! Jobs of one workload: each lists what is its own, and what its pipeline's other runs have.

use access::identity::Scope;
use access::request::Door;
use access::session::Protocol;
use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::gate::HERE;
use testkit::oidc::ci::{CiIssuer, SignedBy, github};
use workflow::Caller;

use crate::{Person, Served};

const GATE: &str = "https://gate.example.com";
const MAIN: &str = "refs/heads/main";

/// Signs in as a job of the shop.
async fn job<'s>(served: &'s Served, ci: &CiIssuer, reference: &str) -> Person<'s> {
    ci.runs(&github(("acme/shop", "4711"), reference, Some("production"))).await.unwrap();
    let now = served.test.gate.now().as_second();
    let shown = ci.token(GATE, json!({ "iat": now, "nbf": now, "exp": now + 300 }), SignedBy::Issuer).await.unwrap();
    let (_, issued) = Box::pin(served.test.gate.exchange(&shown, &[Scope::Read, Scope::Ask], HERE)).await.unwrap();
    Person { served, token: issued.token.expose().clone() }
}

// covers: WHO-6, WHO-7 (api)
#[tokio::test]
async fn a_job_lists_what_its_pipeline_has_and_nothing_of_another_one() {
    let served = Served::start().await;
    let gate = &served.test.gate;
    let ci = CiIssuer::start().await.unwrap();
    let workloads = format!(
        "[[issuer]]\nname = \"ci\"\nkind = \"github\"\nurl = \"{}\"\naudience = \"{GATE}\"\nalgorithms = [\"RS256\"]\n\
         [[workload]]\nname = \"shop-release\"\nissuer = \"ci\"\nowner = \"dan\"\ngroups = [\"releases\"]\n\
         claims = {{ repository_id = \"4711\", ref = [\"refs/heads/main\", \"refs/heads/release/*\"] }}\n",
        ci.issuer
    );
    let mut files = gate.bundle().files().clone();
    files.insert("workloads.toml".into(), workloads.into_bytes());
    files.remove("tests/workloads.toml");
    gate.push_bundle(served.test.person("dan"), files).await.unwrap();

    let main = job(&served, &ci, MAIN).await;
    let next_run = job(&served, &ci, MAIN).await;
    let release = job(&served, &ci, "refs/heads/release/1.2").await;
    let (status, asked) = main.post("/requests", json!({ "resource": "build-1", "role": "deploy", "reason": "a release" })).await;
    assert_eq!(status, StatusCode::CREATED, "{asked}");
    let caller = Caller { who: gate.identify_token(&main.token, HERE).await.unwrap(), door: Door::Api };
    let opened = Box::pin(gate.open(&caller, &"build-1".parse().unwrap(), &"deploy".parse().unwrap(), Protocol::Ssh)).await.unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let (status, certified) = main.post("/certificates", json!({ "public_key": key })).await;
    assert_eq!(status, StatusCode::CREATED, "{certified}");

    // Each has a token of its own besides.
    for (path, of_the_pipeline, of_another) in [
        ("/requests", 1, 0),
        ("/requests?of=all", 1, 0),
        ("/grants", 1, 0),
        ("/grants?all=true", 1, 0),
        ("/sessions", 1, 0),
        ("/sessions?all=true", 1, 0),
        ("/me/keys", 1, 0),
        ("/tokens", 2, 1),
    ] {
        for (who, many) in [(&main, of_the_pipeline), (&next_run, of_the_pipeline), (&release, of_another)] {
            let (status, listed) = who.get(path).await;
            assert_eq!((status, listed["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(many)), "{path}: {listed}");
        }
    }
    let recording = format!("/sessions/{}/recording", opened.permit.facts().session);
    let status = async |who: &Person<'_>| who.call(Method::GET, &recording).send().await.unwrap().status();
    assert_eq!((status(&next_run).await, status(&release).await), (StatusCode::OK, StatusCode::NOT_FOUND));
}
