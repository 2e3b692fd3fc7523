//! Jobs of CI systems through the whole program: they sign in with what their system issues, `tidegate exec` runs what connects, and
//! nothing is left of it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::oidc::ci::{CiIssuer, REQUEST_TOKEN, SignedBy, github, gitlab};
use tokio::runtime::Runtime;

use crate::databases::shop_with;
use crate::demo::eventually;
use crate::known::program;
use crate::mysql::stock_with;
use crate::served::{Plan, Served};

const AUDIENCE: &str = "https://gate.example.com";
const SHOP: (&str, &str) = ("acme/shop", "4711");
const MAIN: &str = "refs/heads/main";

/// A CI system, and what a test says to it.
struct Ci {
    runtime: Runtime,
    issuer: CiIssuer,
}

impl Ci {
    fn start() -> Self {
        let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = Runtime::new().unwrap();
        let issuer = runtime.block_on(CiIssuer::start()).unwrap();
        Self { runtime, issuer }
    }

    fn runs(&self, job: &Value) {
        self.runtime.block_on(self.issuer.runs(job)).unwrap();
    }

    fn token(&self) -> String {
        self.runtime.block_on(self.issuer.token(AUDIENCE, json!({}), SignedBy::Issuer)).unwrap()
    }

    /// What the policy says of it.
    fn trusted(&self, kind: &str, conditions: &str) -> Vec<(&'static str, String)> {
        let workloads = format!(
            "[[issuer]]\nname = \"ci\"\nkind = \"{kind}\"\nurl = \"{}\"\naudience = \"{AUDIENCE}\"\n\
             [[workload]]\nname = \"shop-pipeline\"\nissuer = \"ci\"\nowner = \"dan\"\ngroups = [\"releases\"]\nclaims = {{ {conditions} }}\n",
            self.issuer.issuer
        );
        vec![("workloads.toml", workloads)]
    }
}

const GITHUB: &str =
    "repository_id = \"4711\", ref = [\"refs/heads/main\", \"refs/heads/release/*\"], environment = [\"production\", \"staging\"]";

/// A job's machine: a home and a temporary directory of its own.
struct Runner<'g> {
    gate: &'g Served,
    home: TempDir,
    tmp: TempDir,
}

impl<'g> Runner<'g> {
    fn new(gate: &'g Served) -> Self {
        let dir = |name: &str| tempfile::Builder::new().prefix(name).tempdir().unwrap();
        Self { gate, home: dir("runner-"), tmp: dir("tmp-") }
    }

    fn bare(&self) -> Command {
        self.runs(program())
    }

    /// A program with nothing of the tests' own around it, and the gate's address.
    fn runs(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("TMPDIR", self.tmp.path())
            .env("TIDEGATE_URL", self.gate.ready["api"].as_str().unwrap())
            .env("TIDEGATE_AUDIENCE", AUDIENCE)
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// `tidegate exec` in a job of GitHub's.
    fn exec(&self, ci: &Ci, resource: &str, options: &[&str], command: &[&str]) -> Command {
        let mut all = self.bare();
        all.env("GITHUB_ACTIONS", "true")
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", ci.issuer.request_url())
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
            .args(["exec", "--resource", resource])
            .args(options)
            .arg("--")
            .args(command);
        all
    }

    fn assert_nothing_left(&self) {
        let left: Vec<PathBuf> = fs::read_dir(self.tmp.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Everything of the workload that the log's reader sees at a path.
fn all_of(gate: &Served, path: &str) -> Vec<Value> {
    let users = gate.get("dan", "/api/v1/users?limit=100");
    let bot = users["items"].as_array().unwrap().iter().find(|user| user["username"] == "shop-pipeline").cloned().unwrap();
    let id = bot["id"].as_str().unwrap();
    gate.get("eve", &format!("{path}?all=true&person={id}"))["items"].as_array().unwrap().clone()
}

// covers: WHO-6 (cli, api), WHO-7 (ssh), EV-1 (ssh), GRANT-7 (cli)
#[test]
fn a_job_on_main_deploys_by_ssh_and_leaves_nothing_but_evidence() {
    let ci = Ci::start();
    let gate = Served::with(Plan { policy: ci.trusted("github", GITHUB), ..Plan::default() });
    let runner = Runner::new(&gate);
    ci.runs(&github(SHOP, MAIN, Some("production")));

    // The command's own output and status; its key is its user's alone; nothing that signs in is in its environment.
    let out = runner.exec(&ci, "build-1+deploy", &[], &["ssh", "build-1", "echo rolled out; exit 7"]).output().unwrap();
    assert_eq!((status(&out), String::from_utf8_lossy(&out.stdout).trim()), (7, "rolled out"), "{}", said(&out));
    let look = "stat -c %a $TIDEGATE_SSH_KEY $TIDEGATE_SSH_CONFIG; env | grep -cE 'ACTIONS_ID|TIDEGATE_TOKEN|WORKLOAD_TOKEN|SSH_AUTH_SOCK'";
    let out = runner.exec(&ci, "build-1+deploy", &[], &["sh", "-c", look]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).split_whitespace().collect::<Vec<_>>(), ["600", "600", "0"], "{}", said(&out));
    runner.assert_nothing_left();

    // What comes with ssh works by itself.
    let (from, to) = (runner.home.path().join("release.tar"), runner.home.path().join("there.tar"));
    fs::write(&from, "the release").unwrap();
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let (scp, back) = (format!("scp -q {from} build-1.tide:{to}"), format!("rsync -t build-1:{to} {from}.back && cat {from}.back"));
    let git = format!("git init -q --bare {to}.git && git ls-remote ssh://build-1{to}.git && echo listed");
    let both = format!("set -e; {scp}; {back}; echo; {git}");
    let out = runner.exec(&ci, "build-1+deploy", &[], &["sh", "-c", &both]).output().unwrap();
    assert_eq!((status(&out), said(&out).as_str()), (0, "the release\nlisted"), "{}", said(&out));
    runner.assert_nothing_left();

    // Every grant was given back, every session belongs to the workload and is recorded, and the log says by which claims.
    let grants = all_of(&gate, "/api/v1/grants");
    assert!(grants.len() >= 3 && grants.iter().all(|grant| grant["state"] == "ended" && grant["end"] == "returned"), "{grants:?}");
    assert_eq!(grants[0]["job"]["claims"]["ref"], MAIN);
    let sessions = eventually("every session has ended", || {
        let sessions = gate.get("eve", "/api/v1/sessions?all=true&limit=100")["items"].as_array().unwrap().clone();
        sessions.iter().all(|session| session["state"] == "ended").then_some(sessions)
    });
    assert!(sessions.len() >= 4 && sessions.iter().all(|session| session["person"]["username"] == "shop-pipeline"), "{sessions:?}");
    let recorded: Vec<Value> = sessions.iter().flat_map(|session| gate.activities(session["id"].as_str().unwrap(), "exec")).collect();
    assert!(recorded.iter().any(|exec| exec["command"] == "echo rolled out; exit 7"), "{recorded:?}");
    let log = gate.get("eve", "/api/v1/audit/entries?limit=500").to_string();
    assert!(log.contains("workload.signed_in") && log.contains("4711") && log.contains("token.revoked"), "{log}");
    gate.assert_provable();
}

// covers: WHO-6 (cli), WHO-7 (ssh), OK-1 (cli), C1 (cli)
#[test]
fn to_production_a_job_waits_for_people_and_other_branches_and_forks_do_not_get_that_far() {
    let ci = Ci::start();
    let gate = Served::with(Plan { policy: ci.trusted("github", GITHUB), ..Plan::default() });
    let runner = Runner::new(&gate);
    let deploy = |options: &[&str]| {
        runner.exec(&ci, "web-1", &[&["--role", "deploy", "--reason", "release 7"], options].concat(), &["ssh", "web-1", "echo live"])
    };

    // Without waiting it says that people have to agree; the same job joins the same request, and goes on when they do.
    ci.runs(&github(SHOP, MAIN, Some("production")));
    let out = deploy(&[]).output().unwrap();
    assert_eq!(status(&out), 75, "{}", said(&out));
    let out = deploy(&["--wait", "1s"]).output().unwrap();
    assert_eq!(status(&out), 75, "{}", said(&out));
    assert!(said(&out).contains("Nobody agreed within"), "{}", said(&out));
    let told = tempfile::NamedTempFile::new().unwrap();
    let waiting = deploy(&["--wait", "2m"]).stdout(Stdio::piped()).stderr(told.reopen().unwrap()).spawn().unwrap();
    let told = || std::fs::read_to_string(told.path()).unwrap();
    eventually("the job waits", || told().contains("waits for approval").then_some(()));
    let inbox = gate.get("ben", "/api/v1/requests?of=inbox");
    let request = &inbox["items"][0];
    assert_eq!(inbox["items"].as_array().unwrap().len(), 1, "{inbox}");
    assert_eq!((&request["person"]["username"], &request["job"]["claims"]["ref"]), (&json!("shop-pipeline"), &json!(MAIN)), "{request}");
    let id = request["id"].as_str().unwrap();
    // Who answers for it does not agree to what it asks.
    let (refused, problem) = gate.api("dan", "POST", &format!("/api/v1/requests/{id}/approve"), Some(json!({})));
    assert_eq!((refused, &problem["code"]), (403, &json!("self_approval")), "{problem}");
    gate.post("ben", &format!("/api/v1/requests/{id}/approve"), json!({}));
    let out = waiting.wait_with_output().unwrap();
    assert_eq!((status(&out), String::from_utf8_lossy(&out.stdout).trim()), (0, "live"), "{}", told());
    // A job's session is recorded like a person's.
    let session = eventually("its session has ended", || {
        let sessions = gate.get("eve", "/api/v1/sessions?all=true");
        sessions["items"].as_array().unwrap().first().cloned().filter(|session| session["state"] == "ended")
    });
    assert!(gate.shown(session["id"].as_str().unwrap()).contains("live"));

    for (job, says) in [
        (
            github(SHOP, "refs/heads/try", Some("production")),
            "wants `ref` to be `refs/heads/main` or `refs/heads/release/*`, and it is `refs/heads/try`",
        ),
        (github(SHOP, MAIN, None), "wants `environment` to be"),
        (github(("evil/shop", "666"), MAIN, Some("production")), "no workload here is a job with repository `evil/shop`"),
        (github(("acme/shop", "667"), MAIN, Some("production")), "no workload here is a job with repository `acme/shop`"),
        // A workload, and no path for what it is.
        (github(SHOP, "refs/heads/release/1.2", Some("production")), "no"),
        (github(SHOP, MAIN, Some("staging")), "no"),
    ] {
        ci.runs(&job);
        let out = deploy(&["--wait", "1s"]).output().unwrap();
        assert_eq!(status(&out), 77, "{job}: {}", said(&out));
        assert!(said(&out).contains(says), "{job}: {}", said(&out));
        assert!(out.stdout.is_empty(), "nothing ran");
    }
    runner.assert_nothing_left();
}

// covers: WHO-6 (cli), WHO-8 (cli), A7 (cli)
#[test]
pub(crate) fn signals_statuses_tokens_and_locks_reach_who_they_are_for() {
    let ci = Ci::start();
    let gate = Served::with(Plan { policy: ci.trusted("github", GITHUB), ..Plan::default() });
    let runner = Runner::new(&gate);
    ci.runs(&github(SHOP, MAIN, Some("staging")));
    let run = |command: &[&str]| runner.exec(&ci, "build-1+deploy", &[], command);

    // A signal is the command's; what it ends with is what the job sees.
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = run(&["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(lines.next().unwrap().unwrap(), "got it");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(status(&run(&["sh", "-c", "kill -KILL $$"]).output().unwrap()), 137);
    assert_eq!(status(&run(&["no-such-program"]).output().unwrap()), 127);
    runner.assert_nothing_left();
    assert!(all_of(&gate, "/api/v1/grants").iter().all(|grant| grant["end"] == "returned"));

    // Tokens by file and by a variable of one's own; each does once.
    let (token, file) = (ci.token(), runner.home.path().join("token"));
    fs::write(&file, format!("{token}\n")).unwrap();
    let by_file = || runner.bare().args(["workload", "sign-in", "--token-file", file.to_str().unwrap()]).output().unwrap();
    let out = by_file();
    assert_eq!(status(&out), 0, "{}", said(&out));
    let bearer = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    assert!(bearer.starts_with("tg_wkl_"), "{bearer}");
    let again = by_file();
    assert_eq!(status(&again), 77, "{}", said(&again));
    assert!(said(&again).contains("exchanged before"), "{}", said(&again));
    let named = runner
        .bare()
        .env("MY_ID_TOKEN", ci.token())
        .args(["workload", "sign-in", "--token-env", "MY_ID_TOKEN", "--json"])
        .output()
        .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&named.stdout).unwrap()["workload"], "shop-pipeline");
    // What it got signs it in for a while, asks, and decides nothing.
    let api = gate.ready["api"].as_str().unwrap();
    assert_eq!(crate::known::http(api, Some(&bearer), "GET", "/api/v1/me", None).0, 200);
    let key = json!({"public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti"});
    assert_eq!(crate::known::http(api, Some(&bearer), "POST", "/api/v1/me/keys", Some(key)).0, 403);

    // OAuth's own words, for other clients: each wrong thing once.
    let exchange = |form: &str| {
        let out = Command::new("curl")
            .args(["-s", "-w", "\n%{http_code}", "--data", form, &format!("{api}/api/v1/oauth/token")])
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let (body, code) = text.rsplit_once('\n').unwrap();
        (code.parse::<u16>().unwrap(), serde_json::from_str::<Value>(body).unwrap_or_else(|_| panic!("{text}")))
    };
    let grant_type = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
    let kind = "subject_token_type=urn:ietf:params:oauth:token-type:id_token";
    let (code, good) = exchange(&format!("{grant_type}&{kind}&subject_token={}&scope=read", ci.token()));
    assert_eq!(
        (code, &good["token_type"], &good["scope"], &good["expires_in"]),
        (200, &json!("Bearer"), &json!("read"), &json!(1800)),
        "{good}"
    );
    assert_eq!(good["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let fresh = ci.token();
    for (form, error) in [
        (format!("grant_type=client_credentials&{kind}&subject_token={fresh}"), "unsupported_grant_type"),
        (format!("{grant_type}&{kind}"), "invalid_request"),
        (format!("{grant_type}&{grant_type}&{kind}&subject_token={fresh}"), "invalid_request"),
        (format!("{grant_type}&subject_token_type=urn:ietf:params:oauth:token-type:saml2&subject_token={fresh}"), "invalid_request"),
        (format!("{grant_type}&{kind}&subject_token={fresh}&actor_token=x"), "invalid_request"),
        (format!("{grant_type}&{kind}&subject_token={fresh}&scope=administer"), "invalid_scope"),
        (format!("{grant_type}&{kind}&subject_token={fresh}&audience=https://other.example"), "invalid_target"),
        (format!("{grant_type}&{kind}&subject_token=a.b.c"), "invalid_request"),
    ] {
        let (code, answer) = exchange(&form);
        assert_eq!((code, &answer["error"]), (400, &json!(error)), "{form}: {answer}");
        let described = answer["error_description"].as_str().unwrap();
        assert!(described.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'), "{described}");
    }
    assert_eq!(exchange(&format!("{grant_type}&{kind}&subject_token={fresh}")).0, 200, "none of these used it up");

    // Locked, it is nobody; a person is not locked as a workload.
    let wrong = gate.tidegate("carla", &["lock", "set", "workload", "ana", "--reason", "looks odd"]);
    assert!(!wrong.status.success() && said(&wrong).contains("is a person"), "{}", said(&wrong));
    gate.cli("carla", &["lock", "set", "workload", "shop-pipeline", "--reason", "looks odd"]);
    let out = run(&["true"]).output().unwrap();
    assert_eq!(status(&out), 77, "{}", said(&out));
    assert!(said(&out).contains("locked"), "{}", said(&out));
    let (code, _) = crate::known::http(api, Some(&bearer), "GET", "/api/v1/me", None);
    assert_eq!(code, 403, "what it got before is worth nothing either");
}

// covers: WHO-6 (cli), WHO-5 (cli)
#[test]
fn people_run_commands_like_that_too_and_keep_the_grants_they_had() {
    let gate = Served::start();
    let runner = Runner::new(&gate);
    let exec = |command: &[&str]| {
        let mut all = runner.bare();
        all.env("TIDEGATE_TOKEN", gate.person("ana")["token"].as_str().unwrap()).args([
            "exec",
            "--resource",
            "build-1",
            "--role",
            "shell",
            "--",
        ]);
        all.args(command).output().unwrap()
    };
    let out = exec(&["ssh", "build-1", "echo hers"]);
    assert_eq!((status(&out), said(&out).as_str()), (0, "hers"));
    let grants = gate.get("ana", "/api/v1/grants");
    assert_eq!(grants["items"][0]["end"], "returned", "asked for by this, given back by this");
    let held = gate.grant("ana", "build-1", "shell", "10m");
    assert_eq!(said(&exec(&["ssh", "build-1.tide", "echo hers again"])), "hers again");
    assert_eq!(gate.get("ana", &format!("/api/v1/grants/{held}"))["state"], "active", "it was hers before");
    let keys = gate.get("ana", "/api/v1/me/keys");
    let left = keys["items"].as_array().unwrap().iter().filter(|key| key["state"] == "active" && key["kind"] != "registered").count();
    assert_eq!(left, 0, "{keys}");
    runner.assert_nothing_left();
}

/// What the jobs of an example run by `tidegate exec`, line by line as it stands there.
fn commands_of(example: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pipelines").join(example);
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(str::trim).filter_map(|line| line.strip_prefix("run: ").or_else(|| line.strip_prefix("- ")));
    lines.filter(|line| line.starts_with("tidegate exec ")).map(str::to_owned).collect()
}

// covers: WHO-6 (cli)
#[test]
fn what_the_examples_of_pipelines_run_runs_as_it_stands_there() {
    let ci = Ci::start();
    let gate = Served::with(Plan { policy: ci.trusted("github", GITHUB), ..Plan::default() });
    let runner = Runner::new(&gate);
    let home = runner.home.path();
    fs::create_dir(home.join("bin")).unwrap();
    symlink(program(), home.join("bin/tidegate")).unwrap();
    let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap());
    fs::write(home.join("release.tar"), "the release").unwrap();
    let deploy = "#!/bin/sh\nset -e\nscp -q release.tar \"$1\":\"$PWD/there.tar\"\nssh \"$1\" \"cat $PWD/there.tar\"\n";
    fs::write(home.join("deploy.sh"), deploy).unwrap();
    fs::set_permissions(home.join("deploy.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    let job = |command: &str| {
        let mut job = runner.runs("sh");
        job.args(["-ec", command]).env("PATH", &path).stdout(Stdio::piped()).stderr(Stdio::piped());
        job
    };
    let of_github = |command: &str| {
        let mut job = job(command);
        job.env("GITHUB_ACTIONS", "true").env("TIDEGATE_REASON", "release 7 by kim");
        job.env("ACTIONS_ID_TOKEN_REQUEST_URL", ci.issuer.request_url()).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN);
        job
    };
    let done = |out: &Output| assert_eq!((status(out), String::from_utf8_lossy(&out.stdout).trim()), (0, "the release"), "{}", said(out));

    let [staging, production] = <[String; 2]>::try_from(commands_of("github-actions.yml")).unwrap();
    ci.runs(&github(SHOP, MAIN, Some("staging")));
    done(&of_github(&staging).output().unwrap());
    ci.runs(&github(SHOP, MAIN, Some("production")));
    let waiting = of_github(&production).spawn().unwrap();
    let request = eventually("somebody is asked", || gate.get("ben", "/api/v1/requests?of=inbox")["items"].get(0).cloned());
    assert_eq!(request["reason"], "release 7 by kim", "{request}");
    gate.post("ben", &format!("/api/v1/requests/{}/approve", request["id"].as_str().unwrap()), json!({}));
    done(&waiting.wait_with_output().unwrap());
    runner.assert_nothing_left();

    // Of GitLab's each is understood, and without the token that it names says which one is missing.
    let of_gitlab = commands_of("gitlab-ci.yml");
    assert_eq!(of_gitlab.len(), 4, "{of_gitlab:?}");
    for command in of_gitlab {
        let out = job(&command).env("GITLAB_CI", "true").output().unwrap();
        let told = said(&out);
        assert!(matches!(status(&out), 1 | 77) && told.contains("name it under `id_tokens:`"), "{command}: {} {told}", status(&out));
    }
}

// covers: WHO-6 (psql), WHO-7 (psql), WHO-6 (mysql), WHO-7 (mysql)
#[test]
fn a_job_of_gitlab_s_reaches_databases_by_what_their_clients_read() {
    let ci = Ci::start();
    let conditions = "project_id = \"22\", ref_protected = \"true\"";
    let path = |role: &str| {
        format!(
            "@id(\"pipeline-on-{role}\")\npermit(principal is Tide::Workload in Tide::Group::\"releases\", action == Tide::Action::\"request\", \
             resource in Tide::Tier::\"non-prod\") when {{ resource.role == Tide::Role::\"{role}\" && principal.claims has project_path && \
             principal.claims.project_path == \"acme/shop\" }};\n"
        )
    };
    ci.runs(&gitlab(("acme/shop", "22"), "main", None));
    let exec = |runner: &Runner<'_>, resource: &str, command: &str| {
        let mut all = runner.bare();
        all.env("GITLAB_CI", "true").env("TIDEGATE_WORKLOAD_TOKEN", ci.token()).args([
            "exec",
            "--resource",
            resource,
            "--",
            "sh",
            "-c",
            command,
        ]);
        all.output().unwrap()
    };

    let runtime = Runtime::new().unwrap();
    let database = runtime.block_on(testkit::postgres::Database::fresh()).unwrap();
    let mut policy = ci.trusted("gitlab", conditions);
    policy.push(("access.cedar", path("clerk")));
    let gate = shop_with(&database, policy);
    let runner = Runner::new(&gate);
    let sql = format!("psql -X -q -A -t -d {} -c 'SELECT * FROM customers'", database.name());
    let out = exec(&runner, "sales-db+clerk", &sql);
    assert_eq!((status(&out), said(&out).as_str()), (0, "Kim|****"), "{}", said(&out));
    assert!(all_of(&gate, "/api/v1/grants").iter().all(|grant| grant["end"] == "returned"));
    runner.assert_nothing_left();
    gate.assert_provable();

    let database = runtime.block_on(testkit::mariadb::Database::fresh()).unwrap();
    let mut policy = ci.trusted("gitlab", conditions);
    policy.push(("access.cedar", path("picker")));
    let gate = stock_with(&database, policy);
    let runner = Runner::new(&gate);
    let sql = format!(
        "mariadb -N -B {} -e 'SELECT id, status FROM orders' && mysql -N -B {} -e 'SELECT name FROM customers'",
        database.name(),
        database.name()
    );
    let out = exec(&runner, "stock-db+picker", &sql);
    assert_eq!((status(&out), String::from_utf8_lossy(&out.stdout).trim()), (0, "1\tnew\nKim"), "{}", said(&out));
    assert!(all_of(&gate, "/api/v1/grants").iter().all(|grant| grant["end"] == "returned"));
    runner.assert_nothing_left();
}
