//! `tidegate policy suggest`: a narrower role, from what sessions as it really did. Their recordings say what that was.
//!
//! What is proposed never allows more than the role does, and allows everything that the recordings show. So it needs all of them: of a
//! session that cannot be read, or that the caller may not see, nobody here knows what it took.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use access::event::Event;
use access::ids::SessionId;
use access::names::RoleName;
use access::rights::Rights;
use access::time::Span;
use anyhow::{Context as _, bail};
use api::types::audit::{AuditEntry, AuditQuery};
use api::types::policy::Policy;
use api::types::sessions::{FoundSession, RecordingLine, RecordingQuery, SearchQuery, Session};
use clap::Args;
use jiff::Timestamp;
use policy::problem::nearest;
use policy::{Bundle, Kind, Role, narrow};
use serde_json::{Map, Value, json};
use similar::TextDiff;
use sql::{Language, Narrowing, Ran};

use crate::client::lines::Lines;
use crate::client::{Client, ClientError, Reply};
use crate::output::time::now;
use crate::output::{Output, note};

use super::Context;
use super::exit::Exit;
use super::statements::Table;

/// Which role, and from how long a time.
#[derive(Debug, Args)]
#[command(after_help = "What is printed is a diff of DIR, for `patch -p1 -d DIR` or `git apply --directory=DIR`; look it over first. \
                        It takes the right to read every recording of the role, which leaves an entry for each in the audit log, and \
                        the right to read that log: it says which sessions there were. Named statements, forwards, files and \
                        commands count as used when somebody tried them and was let.")]
pub struct Suggest {
    /// The policy directory that holds the role
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The role
    #[arg(long, value_name = "NAME")]
    role: RoleName,
    /// How far to look back
    #[arg(long, value_name = "TIME", default_value = "30d")]
    since: Span,
    /// Suggest also if some recordings cannot be read; what only they show would be refused
    #[arg(long)]
    partial: bool,
}

/// How many sessions are listed at most.
const MOST: u32 = u32::MAX;

impl Suggest {
    /// Prints the diff, and says what nobody used.
    pub async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        // 1. The role as it stands.
        let bundle = Bundle::load(&self.dir).with_context(|| {
            format!(
                "`{}` is no sound policy directory; name it, as in `tidegate policy suggest policy --role {}`",
                self.dir.display(),
                self.role
            )
        })?;
        let role = role_of(&bundle, &self.role, &self.dir)?;
        let mut using = Using::of(role)?;
        self.compare_with_force(client, &bundle).await?;
        // 2. What was done as it.
        let begin = now().checked_sub(self.since.as_std()).context("that is longer ago than time goes back")?;
        let (sessions, all_listed) = sessions_of(client, &self.role, begin).await?;
        let mut missing = unseen(client, &self.role, begin, &sessions).await?;
        if !all_listed {
            missing.push(Missing { session: None, why: "the gate's list of sessions broke off before its end".to_owned() });
        }
        if sessions.is_empty() && missing.is_empty() {
            bail!(
                "nobody had a session as `{}` since {begin:.0}, so there is nothing to suggest from; if nobody needs the role, take it out of `{}`",
                self.role,
                narrow::ROLES
            );
        }
        for session in &sessions {
            if let Err(why) = read(client, session.id, &mut using).await? {
                missing.push(Missing { session: Some(session.id), why });
            }
        }
        // 3. What it takes.
        let done = using.done;
        let (rights, unclear) = using.finish(role);
        let found = Found { sessions: sessions.len(), done, unclear, missing, unused: narrow::unused(&role.rights, &rights) };
        if !found.missing.is_empty() && !self.partial {
            return found.refuse(&context.output, &self.role);
        }
        let nothing = match &rights {
            Rights::Database(rights) => rights.is_nothing(),
            Rights::Ssh(_) => rights.is_nothing(),
        };
        if nothing {
            bail!(
                "nothing of `{}` was used in {} since {begin:.0}; take it out of `{}`, or look further back",
                self.role,
                many(found.sessions, "session"),
                narrow::ROLES
            );
        }
        let diff = if rights == role.rights { String::new() } else { diff(&bundle, &narrow::rewrite(&bundle, &self.role, &rights)?) };
        found.show(&context.output, &self.role, begin, &diff)
    }

    /// Says so if the directory is not what sessions are held to now.
    async fn compare_with_force(&self, client: &Client, bundle: &Bundle) -> anyhow::Result<()> {
        let force: Reply<Policy> = client.get("/policy", &()).await?;
        if force.value.digest != bundle.digest() {
            note(format!(
                "`{}` is not the policy in force (bundle {}); what follows is about the directory",
                self.dir.display(),
                force.value.digest
            ));
        }
        Ok(())
    }
}

fn role_of<'b>(bundle: &'b Bundle, name: &RoleName, dir: &Path) -> anyhow::Result<&'b Role> {
    if let Some(role) = bundle.role(name) {
        return Ok(role);
    }
    let names: Vec<&str> = bundle.roles().map(|role| role.name.as_str()).collect();
    match nearest(name.as_str(), names.iter().copied()) {
        Some(near) => bail!("`{}` has no role `{name}`; did you mean `{near}`?", dir.display()),
        None => bail!("`{}` has no role `{name}`; it has {}", dir.display(), names.join(", ")),
    }
}

/// The sessions as a role that lived at some time since then, as far as the caller may see them.
///
/// Also whether these are all.
async fn sessions_of(client: &Client, role: &RoleName, begin: Timestamp) -> anyhow::Result<(Vec<Session>, bool)> {
    let query = SearchQuery { role: Some(role.clone()), ..SearchQuery::default() };
    let found = client.list::<FoundSession>("/sessions/search", &query, MOST).await?;
    let all = found.value.next_cursor.is_none();
    let lived = found.value.items.into_iter().map(|found| found.session);
    Ok((lived.filter(|session| session.ended_at.is_none_or(|end| end >= begin)).collect(), all))
}

/// Something that nobody here knows.
#[derive(Debug)]
struct Missing {
    session: Option<SessionId>,
    why: String,
}

/// Sessions that the log knows of and the caller does not see.
async fn unseen(client: &Client, role: &RoleName, begin: Timestamp, seen: &[Session]) -> anyhow::Result<Vec<Missing>> {
    let query =
        AuditQuery { event: Some("session.opened".to_owned()), about: Some(role.to_string()), since: Some(begin), ..AuditQuery::default() };
    let entries = match client.list::<AuditEntry>("/audit/entries", &query, MOST).await {
        Ok(entries) if entries.value.next_cursor.is_none() => entries.value.items,
        Ok(_) => return Ok(vec![Missing { session: None, why: "the gate's list of audit entries broke off before its end".to_owned() }]),
        Err(ClientError::Refused(problem)) if problem.status == 403 => {
            let why = "you may not read the audit log, so nobody can say whether there were sessions that you do not see".to_owned();
            return Ok(vec![Missing { session: None, why }]);
        }
        Err(error) => return Err(error.into()),
    };
    let seen: BTreeSet<SessionId> = seen.iter().map(|session| session.id).collect();
    let opened = entries.into_iter().filter_map(|entry| match entry.data {
        Event::SessionOpened { session, role: as_role, .. } if as_role == *role && !seen.contains(&session) => Some(session),
        _ => None,
    });
    Ok(opened.map(|session| Missing { session: Some(session), why: "you may not see it".to_owned() }).collect())
}

/// What was used so far.
struct Using {
    kind: What,
    done: u64,
}

enum What {
    Ssh(Box<narrow::Done>),
    Database(Box<Narrowing>),
}

impl Using {
    fn of(role: &Role) -> anyhow::Result<Self> {
        let kind = match &role.rights {
            Rights::Ssh(_) => What::Ssh(Box::default()),
            Rights::Database(rights) if rights.unrestricted => bail!(
                "`{}` is unrestricted: no statement as it was judged, so none says what it needs; name its tables in `{}` first",
                role.name,
                narrow::ROLES
            ),
            Rights::Database(rights) => {
                let language = if role.kind == Kind::Mysql { Language::Mysql } else { Language::Postgres };
                What::Database(Box::new(Narrowing::new(language, rights.clone())))
            }
        };
        Ok(Self { kind, done: 0 })
    }

    /// The rights that all of it takes, and how much of it could not be judged.
    fn finish(self, role: &Role) -> (Rights, u64) {
        match (self.kind, &role.rights) {
            (What::Ssh(done), Rights::Ssh(had)) => (Rights::Ssh(narrow::ssh(had, &done)), 0),
            (What::Database(narrowing), _) => {
                let narrowed = narrowing.finish();
                (Rights::Database(narrowed.rights), narrowed.unclear)
            }
            (What::Ssh(_), rights) => (rights.clone(), 0),
        }
    }
}

/// Reads a recording. The inner error says why it cannot be read to its end.
async fn read(client: &Client, session: SessionId, using: &mut Using) -> anyhow::Result<Result<(), String>> {
    let response = match client.download(&format!("/sessions/{session}/recording"), &RecordingQuery::default()).await {
        Ok(response) => response,
        Err(ClientError::Refused(problem)) => return Ok(Err(problem.detail.clone().unwrap_or_else(|| problem.title.clone()))),
        Err(error) => return Err(error.into()),
    };
    let mut lines = Lines::new(response);
    let mut table = Table::default();
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match serde_json::from_slice(&line).context("the gate sent something that is no frame of a recording")? {
            RecordingLine::Frame(frame) => match &mut using.kind {
                What::Ssh(done) => {
                    if let Some(activity) = &frame.activity {
                        using.done += 1;
                        if !done.take(activity) {
                            return Ok(Err(format!("it holds something that is not known here: {activity}")));
                        }
                    }
                }
                What::Database(narrowing) => table.take(frame).iter().for_each(|row| using.done += statement(narrowing, row)),
            },
            RecordingLine::Damage { damage } => return Ok(Err(damage)),
        }
    }
    if let What::Database(narrowing) = &mut using.kind {
        table.rest().iter().for_each(|row| using.done += statement(narrowing, row));
    }
    Ok(Ok(()))
}

/// Hands on a statement with what came of it. Says how many it was.
fn statement(narrowing: &mut Narrowing, row: &Map<String, Value>) -> u64 {
    if row.contains_key("refused") {
        return 0;
    }
    let text = row.get("text").and_then(Value::as_str);
    match (text, how(row, text.unwrap_or_default(), narrowing)) {
        (_, None) => return 0,
        (Some(text), Some(ran)) => narrowing.take(text, ran),
        (None, Some(_)) => narrowing.take_unknown(),
    }
    1
}

/// Whether a statement was carried out; `None`: it was not.
fn how(row: &Map<String, Value>, text: &str, narrowing: &Narrowing) -> Option<Ran> {
    let several = text.trim_end().trim_end_matches(';').contains(';');
    let state = row.get("sqlstate").and_then(Value::as_str);
    match state.and_then(|state| state.get(..2)) {
        // Nothing came of it: the session was cut, or it was no statement.
        None if !row.contains_key("micros") => Some(Ran::Unsure),
        None => Some(Ran::Done),
        // The server did not understand it, or did not know a name in it, or said no; of a function, its body may have been in the middle.
        Some("42") if !several => narrowing.runs_own(text).then_some(Ran::Unsure),
        // It was understood, and failed by what is in the tables.
        Some("22" | "23") if !several => Some(Ran::Done),
        Some(_) => Some(Ran::Unsure),
    }
}

/// What came out.
struct Found {
    sessions: usize,
    done: u64,
    unclear: u64,
    missing: Vec<Missing>,
    unused: Vec<String>,
}

impl Found {
    /// Suggests nothing, since not all is known.
    fn refuse(&self, output: &Output, role: &RoleName) -> anyhow::Result<Exit> {
        if output.is_json() {
            output.json(&json!({ "role": role, "sessions": self.sessions, "missing": self.missing_json(), "diff": null }))?;
        }
        self.note_missing();
        note(format!(
            "so what `{role}` needs is not known whole, and nothing is suggested; whoever may read all of it can ask again, or `--partial` \
             suggests from the rest"
        ));
        Ok(Exit::Failed)
    }

    fn show(&self, output: &Output, role: &RoleName, begin: Timestamp, diff: &str) -> anyhow::Result<Exit> {
        if output.is_json() {
            output.json(&json!({
                "role": role, "since": begin, "sessions": self.sessions, "acts": self.done, "unclear": self.unclear,
                "missing": self.missing_json(), "unused": self.unused, "diff": diff,
            }))?;
            return Ok(Exit::Done);
        }
        self.note_missing();
        if !self.missing.is_empty() {
            note(format!("incomplete: what only these show would be refused as the `{role}` that follows"));
        }
        let acts = usize::try_from(self.done).unwrap_or(usize::MAX);
        note(format!("`{role}`: {} since {begin:.0}, {} looked at", many(self.sessions, "session"), many(acts, "act")));
        if self.unclear > 0 {
            let unclear = usize::try_from(self.unclear).unwrap_or(usize::MAX);
            note(format!("{} could not be judged without the target, so whatever is named there is kept", many(unclear, "statement")));
        }
        if diff.is_empty() {
            note("all that it allows was used; there is nothing to narrow");
            return Ok(Exit::Done);
        }
        self.unused.iter().for_each(|right| note(format!("nobody used: {right}")));
        output.raw(diff.as_bytes())?;
        Ok(Exit::Done)
    }

    fn note_missing(&self) {
        for missing in &self.missing {
            match missing.session {
                Some(session) => note(format!("not read: {session}: {}", missing.why)),
                None => note(format!("not known: {}", missing.why)),
            }
        }
    }

    fn missing_json(&self) -> Vec<Value> {
        self.missing.iter().map(|missing| json!({ "session": missing.session, "why": missing.why })).collect()
    }
}

fn many(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn diff(bundle: &Bundle, changed: &str) -> String {
    let old = bundle.files().get(narrow::ROLES).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    let (before, after) = (format!("a/{}", narrow::ROLES), format!("b/{}", narrow::ROLES));
    TextDiff::from_lines(old.as_ref(), changed).unified_diff().context_radius(3).header(&before, &after).to_string()
}

#[cfg(test)]
mod tests {
    use access::rights::DatabaseRights;

    use super::*;

    // covers: MAY-7 (cli)
    #[test]
    fn what_the_server_did_not_do_was_not_used() {
        let had = DatabaseRights { functions: ["public.ship".parse().unwrap()].into(), ..DatabaseRights::default() };
        let narrowing = Narrowing::new(Language::Postgres, had);
        let of = |row: Value, text: &str| how(row.as_object().unwrap(), text, &narrowing);
        assert_eq!(of(json!({"micros": 1}), "select 1"), Some(Ran::Done));
        assert_eq!(of(json!({}), "select 1"), Some(Ran::Unsure));
        assert_eq!(of(json!({"micros": 1, "sqlstate": "42703"}), "select statsu from orders;"), None);
        assert_eq!(of(json!({"micros": 1, "sqlstate": "42703"}), "select 1; select statsu from orders"), Some(Ran::Unsure));
        assert_eq!(of(json!({"micros": 1, "sqlstate": "23505"}), "insert into orders (id) values (1)"), Some(Ran::Done));
        assert_eq!(of(json!({"micros": 1, "sqlstate": "25P02"}), "select x"), Some(Ran::Unsure));
        // What stands in a function may have failed in its middle.
        for text in ["select ship(1)", "CALL Ship()", "execute s"] {
            assert_eq!(of(json!({"micros": 1, "sqlstate": "42P01"}), text), Some(Ran::Unsure), "{text}");
        }
    }
}
