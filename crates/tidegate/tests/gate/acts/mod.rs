//! Every act there is, at every door, by everybody: what the API answers is what the command line says, and both are what policy says.
//!
//! An act is a row of [`all`]: its operation in the API's document, its words on the command line, the other doors where it is done, and who
//! may do it. An operation or a command that is in no row fails here, so a verb that is added to one door alone is seen.

/// The name of a test, which has to be there.
macro_rules! by {
    ($test:path) => {{
        const _: fn() = $test;
        stringify!($test)
    }};
}

mod beside;
mod gate;
mod people;
mod things;
mod who;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use access::reason::Reason;
use access::request::Door;
use serde_json::Value;
use testkit::sshd::{keypair, public_half};

use crate::demo::Talk;
use crate::known::{http, program};
use crate::served::Served;
use things::{Thing, Things};
use who::{Policy, Who};

/// Everybody, and what they are in the example: a requester, an approver on call, security, an administrator, an auditor, a contractor, a
/// pipeline whose token may read and ask, and somebody who has not signed in.
const EVERYBODY: &[&str] = &["ana", "ben", "carla", "dan", "eve", "frank", "deploy-bot", STRANGER];
const STRANGER: &str = "stranger";

/// Where an act is done, or why not there.
enum At {
    /// In these words; `{id}` is what it is done to, and `{…}` as [`Stage::fill`] has it.
    Here(&'static str),
    /// It is there under this name, and a test of its own goes there.
    Proved(&'static str, &'static str),
    /// It is not there.
    NotThere(&'static str),
}

/// Something people do.
struct Act {
    /// What it is.
    name: &'static str,
    /// Its operation in the API's document, with a query if it needs one.
    api: At,
    /// What is sent along.
    body: &'static str,
    /// Its words on the command line.
    cli: At,
    /// Other doors, each with the test that goes there.
    doors: Vec<(Door, &'static str)>,
    /// Who may.
    who: Who,
    /// What it is done to.
    on: Thing,
    /// Whether it can be done to the same thing once only.
    spends: bool,
    /// What who may is told all the same, since there is no such thing here.
    told: Option<Reason>,
}

/// An act that only looks; its body is empty.
fn act(name: &'static str, api: &'static str, cli: &'static str, who: Who) -> Act {
    Act { name, api: At::Here(api), body: "", cli: At::Here(cli), doors: Vec::new(), who, on: Thing::Nothing, spends: false, told: None }
}

/// An act of the API that no command is for.
fn only_api(name: &'static str, api: &'static str, why: &'static str, who: Who) -> Act {
    Act { cli: At::NotThere(why), ..act(name, api, "", who) }
}

impl Act {
    fn body(self, body: &'static str) -> Self {
        Self { body, ..self }
    }
    fn on(self, on: Thing) -> Self {
        Self { on, ..self }
    }
    fn spends(self) -> Self {
        Self { spends: true, ..self }
    }
    fn told(self, told: Reason) -> Self {
        Self { told: Some(told), ..self }
    }
    fn cli(self, cli: At) -> Self {
        Self { cli, ..self }
    }
    /// A test of its own goes to the API.
    fn proved(self, by: &'static str) -> Self {
        match self.api {
            At::Here(operation) => Self { api: At::Proved(operation, by), ..self },
            _ => self,
        }
    }
    fn also(mut self, door: Door, by: &'static str) -> Self {
        self.doors.push((door, by));
        self
    }

    /// The operation and its query.
    fn operation(&self) -> Option<(&'static str, &'static str)> {
        match self.api {
            At::Here(text) | At::Proved(text, _) => Some(text.split_once('?').unwrap_or((text, ""))),
            At::NotThere(_) => None,
        }
    }

    /// The command without its arguments, as the tree of commands has it.
    fn command(&self, tree: &BTreeSet<String>) -> Option<String> {
        let (At::Here(words) | At::Proved(words, _)) = self.cli else { return None };
        let words: Vec<&str> = words.split_whitespace().collect();
        let named = (1..=words.len()).rev().map(|many| words[..many].join(" ")).find(|name| tree.contains(name));
        Some(named.unwrap_or_else(|| panic!("`{}`: `tidegate {}` is no command", self.name, words.join(" "))))
    }
}

/// Every act.
fn all() -> Vec<Act> {
    [work::acts(), people::acts(), gate::acts()].into_iter().flatten().collect()
}

/// Why an act is not done at a door unless its row says so; a new door has to say it here.
fn lacks(door: Door) -> &'static str {
    match door {
        Door::Ssh | Door::Postgres | Door::Mysql => "one connects there: asks, waits, is let in, joins, and asks for more time",
        Door::Api => "every act has a row of its own for this",
        Door::Chat => "what people are told there they can answer: ask, agree, say no",
        Door::Mail => "what people are told there they can answer: agree, say no",
        Door::Socket => "for who is at the gate's own machine and locked out: `recover`, `policy rollback`, `clock accept`",
        Door::Gate => "nobody is there but the gate itself",
    }
}

/// An answer, whichever door it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    PeopleAreAsked,
    No(Reason),
}

impl Answer {
    /// In a column of the table.
    fn word(self) -> &'static str {
        match self {
            Self::Done => "yes",
            Self::PeopleAreAsked => "asks",
            Self::No(Reason::ScopeMissing) => "scope",
            Self::No(Reason::NotSignedIn) => "sign in",
            Self::No(reason) => match reason.http() {
                404 => "hidden",
                403 => "no",
                _ => reason.code(),
            },
        }
    }

    fn is_yes(self) -> bool {
        matches!(self, Self::Done | Self::PeopleAreAsked)
    }
}

/// How a command ends that was told this.
fn exit_of(reason: Reason) -> i32 {
    match reason {
        Reason::Internal | Reason::TargetUnreachable | Reason::RecorderFailed => 1,
        Reason::Invalid => 2,
        reason if reason.ssh_exit() == 75 => 75,
        _ => 77,
    }
}

fn reason_in(problem: &Value) -> Option<Reason> {
    problem["code"].as_str().and_then(|code| code.parse().ok())
}

/// A gate with everybody in it, and its own document.
struct Stage {
    gate: Served,
    document: BTreeMap<String, (String, String)>,
    /// What needs no sign-in.
    open: BTreeSet<String>,
    things: Things,
    made: std::cell::Cell<u32>,
}

impl Stage {
    /// What is meant by the places in words and bodies.
    fn fill(&self, text: &str, id: &str) -> String {
        let mut text = text.replace("{id}", id);
        if text.contains("{new}") {
            self.made.set(self.made.get() + 1);
            text = text.replace("{new}", &format!("made-{}", self.made.get()));
        }
        if text.contains("{key}") {
            self.made.set(self.made.get() + 1);
            let key = keypair(self.gate.dir(), &format!("made-{}", self.made.get())).unwrap();
            text = text.replace("{key}", public_half(&key).unwrap().trim());
        }
        if text.contains("{keyfile}") {
            self.made.set(self.made.get() + 1);
            let key = keypair(self.gate.dir(), &format!("made-{}", self.made.get())).unwrap();
            text = text.replace("{keyfile}", key.with_extension("pub").to_str().unwrap());
        }
        if text.contains("{month}") {
            #[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
            let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(30 * 24);
            text = text.replace("{month}", &then.to_string());
        }
        if text.contains("{files}") {
            text = text.replace("{files}", &self.files().to_string());
        }
        for person in EVERYBODY.iter().filter(|person| **person != STRANGER) {
            let place = format!("{{{person}}}");
            if text.contains(&place) {
                text = text.replace(&place, &self.gate.id(person));
            }
        }
        text.replace("{dir}", self.gate.dir().to_str().unwrap())
    }

    /// The policy directory as it is pushed.
    fn files(&self) -> Value {
        use base64::Engine as _;
        let mut files = serde_json::Map::new();
        gather(&self.gate.dir().join("policy"), "", &mut |path, bytes| {
            files.insert(path, base64::prelude::BASE64_STANDARD.encode(bytes).into());
        });
        Value::Object(files)
    }

    fn token(&self, person: &str) -> Option<String> {
        (person != STRANGER).then(|| self.gate.person(person)["token"].as_str().unwrap().to_owned())
    }

    fn by_api(&self, act: &Act, person: &str, id: &str) -> Answer {
        let (operation, query) = act.operation().unwrap();
        let (method, path) = &self.document[operation];
        let path = path.replace("{id}", id).replace("{name}", id).replace("{schedule}", id).replace("{code}", id);
        let query = if query.is_empty() { String::new() } else { format!("?{}", self.fill(query, id)) };
        let body = self.fill(act.body, id);
        let body = (!body.is_empty()).then(|| serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")));
        let token = self.token(person);
        let base = self.gate.ready["api"].as_str().unwrap();
        let (status, answer) = if act.name.ends_with(", live") {
            things::began(base, token.as_deref(), method, &path)
        } else {
            http(base, token.as_deref(), method, &format!("{path}{query}"), body)
        };
        match status {
            202 if operation != "mail_name" => Answer::PeopleAreAsked,
            200..300 => Answer::Done,
            _ => match reason_in(&answer) {
                Some(reason) if reason.http() == status || status == 400 => Answer::No(reason),
                _ => panic!("{} by {person}: {status} {answer}", act.name),
            },
        }
    }

    fn by_cli(&self, act: &Act, words: &str, person: &str, id: &str) -> Answer {
        let mut command = Command::new(program());
        command.env("TIDEGATE_URL", self.gate.ready["api"].as_str().unwrap()).env("HOME", self.gate.dir().join("nobody's"));
        command.env_remove("TIDEGATE_TOKEN").env_remove("XDG_CONFIG_HOME");
        if let Some(token) = self.token(person) {
            command.env("TIDEGATE_TOKEN", token);
        }
        command.args(words.split_whitespace().map(|word| self.fill(word, id))).arg("--json");
        let (code, said) = if act.name.ends_with(", live") {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            things::watched(Talk::start(command))
        } else {
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // Who is asked for a secret reads it here.
            let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"from stdin");
            let output = child.wait_with_output().unwrap();
            if matches!(output.status.code(), Some(0 | 75)) {
                assert_json(words, &output.stdout);
            }
            (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let problem = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        match (code, reason_in(&problem)) {
            (0, _) => Answer::Done,
            (75, None) => Answer::PeopleAreAsked,
            // Who was refused sees it by the status alone.
            (code, Some(reason)) if code == exit_of(reason) => Answer::No(reason),
            _ => panic!("{} by {person}: tidegate {words}: {code} {said}", act.name),
        }
    }
}

/// Commands whose answer is a line for each thing; so none, if there is no such thing.
const A_LINE_EACH: [&str; 3] = ["session replay", "session statements", "audit export"];

/// What a command answers with `--json` is JSON and nothing else.
fn assert_json(words: &str, stdout: &[u8]) {
    let said: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(stdout).into_iter::<Value>().collect();
    let said = said.unwrap_or_else(|error| panic!("tidegate {words} --json: {error}: {}", String::from_utf8_lossy(stdout)));
    let by_lines = A_LINE_EACH.iter().any(|command| words.starts_with(command));
    assert!(by_lines || said.len() == 1, "tidegate {words} --json: {} values", said.len());
}

fn gather(dir: &Path, below: &str, take: &mut impl FnMut(String, Vec<u8>)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            gather(&entry.path(), &format!("{path}/"), take);
        } else {
            take(path, std::fs::read(entry.path()).unwrap());
        }
    }
}

/// Operation to method and path, of all that the document has; and those that need no sign-in.
fn document() -> (BTreeMap<String, (String, String)>, BTreeSet<String>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let (mut operations, mut open) = (BTreeMap::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            if operation["security"] == serde_json::json!([{}]) {
                open.insert(name.clone());
            }
            operations.insert(name, (method.to_uppercase(), path.clone()));
        }
    }
    (operations, open)
}

/// Every command that does something, in full, as the program itself tells shells.
fn commands() -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new(program()).arg("man").arg(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pages: BTreeSet<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap().trim_end_matches(".1").to_owned())
        .collect();
    // A page whose name begins others is a noun. A name with a hyphen is one word of a command's, where there is no such noun.
    let tree = known_tree();
    let named: BTreeSet<String> = tree.iter().map(|command| format!("tidegate-{}", command.replace(' ', "-"))).collect();
    let nouns: BTreeSet<String> = tree.iter().filter_map(|c| c.split_once(' ').map(|(noun, _)| format!("tidegate-{noun}"))).collect();
    let known: BTreeSet<String> = named.into_iter().chain(nouns).chain(["tidegate".to_owned()]).collect();
    assert_eq!(known, pages, "the snapshot of the tree of commands is not what the program has");
    tree
}

/// The leaves of the tree of commands, as its snapshot has it.
fn known_tree() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/snapshots/tidegate__cli__tests__tree.snap");
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<(usize, &str)> = text
        .lines()
        .skip_while(|line| *line != "tidegate")
        .skip(1)
        .map(|line| (line.len() - line.trim_start().len(), line.split_whitespace().next().unwrap_or_default()))
        .filter(|(_, word)| !word.is_empty())
        .collect();
    let mut leaves = BTreeSet::new();
    let mut noun = "";
    for (at, (depth, word)) in lines.iter().enumerate() {
        let has_below = lines.get(at + 1).is_some_and(|(below, _)| below > depth);
        match depth {
            2 if has_below => noun = word,
            2 => drop(leaves.insert((*word).to_owned())),
            _ => drop(leaves.insert(format!("{noun} {word}"))),
        }
    }
    leaves
}

// covers: B8 (api), B8 (cli)
#[test]
fn every_operation_and_every_command_is_an_act() {
    let ((document, _), tree) = (document(), commands());
    let (mut operations, mut leaves, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for act in all() {
        assert!(names.insert(act.name), "two acts are called `{}`", act.name);
        if let Some((operation, _)) = act.operation() {
            assert!(document.contains_key(operation), "`{}`: there is no operation `{operation}`", act.name);
            operations.insert(operation.to_owned());
        }
        if let Some(command) = act.command(&tree) {
            leaves.insert(command);
        }
        // No row says what `lacks` says for it, and a door is named once.
        let doors: BTreeSet<&str> = act.doors.iter().map(|(door, _)| door.code()).collect();
        assert_eq!(doors.len(), act.doors.len(), "{}", act.name);
        assert!(!doors.contains(Door::Api.code()) && !doors.contains(Door::Gate.code()), "{}: {}", act.name, lacks(Door::Api));
    }
    // What is no act of its own says why; and nothing is both.
    for (command, _) in beside::ON_FILES.iter().chain(beside::OF_SEVERAL) {
        assert!(leaves.insert((*command).to_owned()), "`{command}` is an act");
    }
    for (operation, _) in beside::BY_PROOF {
        assert!(operations.insert((*operation).to_owned()), "`{operation}` is an act");
    }
    assert_eq!(operations, document.keys().cloned().collect(), "an operation of the API that is no act");
    assert_eq!(leaves, tree, "a command that is no act");
    for door in Door::ALL {
        assert!(lacks(*door).len() > 10, "{door}");
    }
}

// covers: MAY-1 (api), MAY-1 (cli), B8 (api), B8 (cli), WHO-7 (api), WHO-7 (cli)
#[test]
fn what_everybody_may_do_is_the_same_by_api_by_command_and_by_policy() {
    compare(false);
}

#[test]
#[ignore = "full scale: scripts/soak"]
fn what_everybody_may_do_is_the_same_by_every_command_of_everybody() {
    compare(true);
}

/// Does every act as everybody by the API; by command as one of those who are told the same, or as everybody.
fn compare(everybody_by_command: bool) {
    let gate = Served::start();
    let policy = Policy::of(&gate);
    let (document, open) = document();
    let stage = Stage { document, open, things: Things::default(), gate, made: 0.into() };
    let mut table = String::new();
    let mut wrong = Vec::new();
    let mut elsewhere = String::new();
    write!(table, "{:44}", "").unwrap();
    for person in EVERYBODY {
        write!(table, "{person:<11}").unwrap();
    }
    table.push_str("doors\n");
    for act in all() {
        elsewhere.push_str(&where_else(&act));
        let At::Here(_) = act.api else { continue };
        let mut thing = None;
        let (mut row, mut said) = (Vec::new(), Vec::new());
        for person in EVERYBODY {
            let mut on_fresh = |answer: &dyn Fn(&str) -> Answer| {
                let id = thing.take().unwrap_or_else(|| stage.things.make(act.on, &stage));
                let answer = answer(&id);
                if !(act.spends && answer.is_yes()) {
                    thing = Some(id);
                }
                answer
            };
            let api = on_fresh(&|id| stage.by_api(&act, person, id));
            // A command asks the API: somebody for each of its answers shows what becomes of that.
            let is_new = !said.contains(&api);
            said.push(api);
            if let At::Here(words) = act.cli
                && (is_new || everybody_by_command)
            {
                let cli = on_fresh(&|id| stage.by_cli(&act, words, person, id));
                if cli != api {
                    wrong.push(format!("{} by {person}: {api:?} by the API, {cli:?} by command", act.name));
                }
            }
            let may = policy.allows(&act.who, person, act.on);
            let yes = match act.told {
                Some(told) => api == Answer::No(told),
                None => api.is_yes(),
            };
            // Who has not signed in, or whose sign-in is not for this, is told so, and nobody else is.
            let because = match api {
                Answer::No(Reason::NotSignedIn) => *person == STRANGER,
                Answer::No(Reason::ScopeMissing) => *person == "deploy-bot",
                _ => *person != STRANGER || may,
            };
            if may != yes || !because {
                wrong.push(format!("{} by {person}: policy says {may}, the API {api:?}", act.name));
            }
            row.push(if yes { "yes" } else { api.word() }.replace("yes", if api == Answer::PeopleAreAsked { "asks" } else { "yes" }));
        }
        write!(table, "{:44}", act.name).unwrap();
        for word in &row {
            write!(table, "{word:<11}").unwrap();
        }
        let mut doors = vec!["api"];
        doors.extend(matches!(act.cli, At::Here(_) | At::Proved(..)).then_some("cli"));
        doors.extend(beside::in_portal(&stage.document[act.operation().unwrap().0]).then_some("portal"));
        doors.extend(act.doors.iter().map(|(door, _)| door.code()));
        writeln!(table, "{}", doors.join(" ")).unwrap();
        // A row in which everybody is told the same proves nothing of who they are; the stranger at least is told something else.
        let told: BTreeSet<&String> = row.iter().collect();
        if told.len() < 2 && !matches!(act.who, Who::Anyone) {
            wrong.push(format!("{}: everybody is told {told:?}", act.name));
        }
    }
    assert!(wrong.is_empty(), "{}\n{table}", wrong.join("\n"));
    insta::assert_snapshot!("who_may_do_what", format!("{table}\n{elsewhere}"));
    // Nor does anything answer somebody who has not signed in, unless the document says that it needs none.
    for (operation, (method, path)) in &stage.document {
        if !stage.open.contains(operation) {
            let (status, answer) = things::began(stage.gate.ready["api"].as_str().unwrap(), None, method, &path.replace(['{', '}'], ""));
            assert_eq!((status, reason_in(&answer)), (401, Some(Reason::NotSignedIn)), "{operation}: {answer}");
        }
    }
    stage.things.end();
    stage.gate.assert_provable();
}

/// Where an act is done that no column of the table is about, and why it is not done somewhere.
fn where_else(act: &Act) -> String {
    let mut text = String::new();
    for (door, at) in [("api", &act.api), ("cli", &act.cli)] {
        match at {
            At::Here(_) => {}
            At::Proved(name, by) => writeln!(text, "{}: {door} `{name}`, {by}", act.name).unwrap(),
            At::NotThere(why) => writeln!(text, "{}: not by {door}: {why}", act.name).unwrap(),
        }
    }
    for (door, by) in &act.doors {
        writeln!(text, "{}: {door}, {by}", act.name).unwrap();
    }
    text
}

/// What stands for an answer that a test reads again.
fn field(answer: &Value, path: &str) -> String {
    let found = path.split('.').fold(answer, |value, name| match name.parse::<usize>() {
        Ok(at) => &value[at],
        Err(_) => &value[name],
    });
    found.as_str().unwrap_or_else(|| panic!("no {path}: {answer}")).to_owned()
}
