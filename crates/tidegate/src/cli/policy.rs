//! `tidegate policy`: who may do what. `check`, `test`, `diff`, and `explain --dir` work on directories alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use access::ids::BundleId;
use access::names::{GroupName, RoleName, Selector, Username};
use access::request::Asked;
use access::time::Span;
use anyhow::{Context as _, bail};
use api::types::policy::{Activated, Activation, Explain, Explained, Noise, NoisyPolicies, NoisyQuery, Policy, PolicyFiles};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use policy::diff::{Declaration, Whom};
use policy::{Ask, Bundle};
use serde_json::json;
use similar::TextDiff;

use crate::client::{Client, Reply};
use crate::config::Environment;
use crate::local::{Question, ask};
use crate::output::time::now;
use crate::output::{Output, Tone, note};

use super::config::ConfigFile;
use super::exit::Exit;
use super::request::Wanted;
use super::suggest::Suggest;
use super::{Context, Shown, note_more};

/// What to do with policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Name every mistake in a policy directory, or none
    Check {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Run a directory's own cases
    Test {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Say in words who gains and who loses what
    Diff(Diff),
    /// Say why a request gets the answer it gets
    Explain(Box<ExplainArgs>),
    /// Propose a narrower role, from what sessions as it really did
    Suggest(Suggest),
    /// List policies that decide nothing: approved nearly always, denied nearly always, or never used
    Noisy(Noisy),
    /// Write what to do in an emergency out of a policy directory: who may declare one where, how, and what follows
    Playbook {
        /// The directory; without it the policy in force
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Which policy is in force
    Show,
    /// Put a directory in force, all of it or nothing
    Push {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// List what was in force when
    History(History),
    /// Put a policy back that was in force before; works at the gate's own machine
    Rollback(Rollback),
}

/// Two directories.
#[derive(Debug, Args)]
pub struct Diff {
    /// The old directory
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new directory
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Fail if somebody gains what no `--declare` names
    #[arg(long)]
    declared_only: bool,
    /// A gain the change owns up to: `WHO WHAT`, as in `ana web-1+shell` or `* build-1+*`
    #[arg(long = "declare", value_name = "WHO WHAT", requires = "declared_only")]
    declarations: Vec<Declaration>,
    /// Only about these people; without it everybody that either directory names
    #[arg(long = "who", value_name = "USER")]
    people: Vec<Username>,
}

/// A question.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Where to: `RESOURCE` or `RESOURCE+ROLE`
    #[arg(value_name = "RESOURCE")]
    resource: Selector,
    /// As what
    #[arg(value_name = "ROLE")]
    role: Option<RoleName>,
    /// Who would ask; without it yourself
    #[arg(long, value_name = "USER")]
    who: Option<Username>,
    /// For how long
    #[arg(long = "for", value_name = "TIME", conflicts_with = "standing")]
    length: Option<Span>,
    /// Without an end
    #[arg(long)]
    standing: bool,
    /// With this ticket
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    /// As an emergency
    #[arg(long)]
    break_glass: bool,
    /// Suppose that they are on call for this schedule, and no other than those named so
    #[arg(long = "on-call", value_name = "SCHEDULE", requires = "who")]
    on_call: Vec<GroupName>,
    /// By this directory, without a gate: somebody imagined, with no second factor
    #[arg(long, value_name = "DIR", requires = "who")]
    dir: Option<PathBuf>,
}

/// How far to look back, and whether to change something.
#[derive(Debug, Args)]
pub struct Noisy {
    /// How far to look back
    #[arg(long, value_name = "TIME", default_value = "90d")]
    since: Span,
    /// Print the proposal for this policy as a diff of the directory, for `patch -p1 -d DIR` or `git apply --directory=DIR`
    #[arg(long, value_name = "POLICY")]
    diff: Option<String>,
}

/// How much history.
#[derive(Debug, Args)]
pub struct History {
    #[command(flatten)]
    shown: Shown,
}

/// Which policy to put back.
#[derive(Debug, Args)]
#[command(after_help = "It speaks to the running gate through the socket in its data directory, which root and the gate's own user alone \
                        may use, and leaves an entry in the audit log. It stays in force until the policy directory changes, \
                        somebody pushes another, or the gate is told to read the directory (SIGHUP).")]
pub struct Rollback {
    /// That of this activation (see `policy history`); without it the one before
    #[arg(long, value_name = "ACTIVATION")]
    to: Option<BundleId>,
    #[command(flatten)]
    file: ConfigFile,
}

impl PolicyCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let output = &context.output;
        match self {
            Self::Check { dir } => check(output, &dir),
            Self::Test { dir } => test(output, &dir),
            Self::Diff(diff) => diff.run(output),
            Self::Explain(explain) => match explain.dir.clone() {
                Some(dir) => explain.offline(output, &dir),
                None => explain.run(context, &context.client()?).await,
            },
            Self::Suggest(suggest) => suggest.run(context, &context.client()?).await,
            Self::Noisy(noisy) => noisy.run(context).await,
            Self::Playbook { dir } => {
                let written = match dir {
                    Some(dir) => policy::playbook::write(&Bundle::load(&dir)?, now()),
                    None => context.client()?.download("/policy/playbook", &()).await?.text().await?,
                };
                if output.is_json() {
                    output.json(&json!({ "playbook": written }))?;
                } else {
                    output.raw(written.as_bytes())?;
                }
                Ok(Exit::Done)
            }
            Self::Show => {
                let reply: Reply<Policy> = context.client()?.get("/policy", &()).await?;
                context.print(&reply, |output, policy| {
                    let since = policy.activated_at.map_or_else(|| "the gate's start".to_owned(), |at| output.at(at));
                    output.facts(&[("bundle", policy.digest.clone()), ("since", since)])
                })
            }
            Self::Push { dir } => push(context, &context.client()?, &dir).await,
            Self::Rollback(rollback) => {
                let config = rollback.file.load(&Environment::of_process())?;
                let activated: Activated = ask(&config.data_dir, &Question::RollBackPolicy { to: rollback.to }).await?;
                if output.is_json() {
                    output.json(&activated)?;
                } else {
                    show_activated(output, &activated)?;
                }
                Ok(Exit::Done)
            }
            Self::History(history) => {
                let reply = context.client()?.list::<Activation>("/policy/history", &(), history.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|activation| {
                        vec![activation.id.into(), output.at(activation.activated_at).into(), activation.digest.clone().into()]
                    });
                    output.table(&["activation", "when", "bundle"], rows.collect(), "No policy was put in force yet.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
        }
    }
}

fn check(output: &Output, dir: &Path) -> anyhow::Result<Exit> {
    match Bundle::load(dir) {
        Ok(bundle) if output.is_json() => {
            output.json(&json!({ "digest": bundle.digest(), "mistakes": [], "warnings": bundle.warnings() }))?;
            Ok(Exit::Done)
        }
        Ok(bundle) => {
            for warning in bundle.warnings() {
                note(format!("warning: {warning}"));
            }
            output.toned(format!("{}: sound. Bundle {}.", dir.display(), bundle.digest()), Tone::Good)?;
            Ok(Exit::Done)
        }
        Err(problems) => {
            if output.is_json() {
                output.json(&json!({ "mistakes": problems }))?;
            } else {
                note(problems);
            }
            Ok(Exit::Failed)
        }
    }
}

fn test(output: &Output, dir: &Path) -> anyhow::Result<Exit> {
    let report = policy::cases::run(&Bundle::load(dir)?, now());
    if output.is_json() {
        output.json(&report)?;
    } else {
        output.toned(&report, if report.passed() { Tone::Good } else { Tone::Bad })?;
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Failed })
}

impl Diff {
    fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let load = |dir: &Path| Bundle::load(dir).with_context(|| format!("`{}` is no policy directory", dir.display()));
        let people: Vec<Whom> = self.people.into_iter().map(Whom::from).collect();
        let diff = policy::diff::diff(&load(&self.old)?, &load(&self.new)?, &people, now());
        if output.is_json() {
            output.json(&diff)?;
        } else {
            output.line(&diff)?;
        }
        if !self.declared_only {
            return Ok(Exit::Done);
        }
        let undeclared = diff.undeclared_grants(&self.declarations);
        for change in &undeclared {
            note(format!("not declared: {}; if it is meant, add `--declare '{} {}'`", change.says, change.whom(), change.what));
        }
        Ok(if undeclared.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

impl Noisy {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let query = NoisyQuery { time: Some(self.since) };
        let reply: Reply<NoisyPolicies> = context.client()?.get("/policy/noisy", &query).await?;
        let Some(wanted) = self.diff else {
            return context.print(&reply, |output, found| {
                let rows = found.items.iter().map(|noisy| {
                    let what = match noisy.noise {
                        Noise::Approved => "approved nearly always",
                        Noise::Denied => "denied nearly always",
                        Noise::Unused => "never used",
                    };
                    let diff = if noisy.change.is_some() { "yes" } else { "-" };
                    vec![
                        noisy.policy.clone().into(),
                        what.into(),
                        noisy.asked.into(),
                        noisy.approved.into(),
                        noisy.denied.into(),
                        diff.into(),
                        noisy.proposal.clone().into(),
                    ]
                });
                let header = ["policy", "is", "asked", "approved", "denied", "diff", "proposal"];
                output.table(&header, rows.collect(), "Every policy decides something.")
            });
        };
        let Some(noisy) = reply.value.items.iter().find(|noisy| noisy.policy == wanted) else {
            bail!("`{wanted}` is none of the policies that decide nothing; `tidegate policy noisy` lists them");
        };
        let Some(change) = &noisy.change else {
            bail!("there is no diff for `{wanted}`: {}", noisy.proposal);
        };
        let (before, after) = (change.before.as_deref().unwrap_or_default(), change.after.as_deref().unwrap_or_default());
        let (old, new) = (format!("a/{}", change.path), format!("b/{}", change.path));
        let diff = TextDiff::from_lines(before, after).unified_diff().context_radius(3).header(&old, &new).to_string();
        if context.output.is_json() {
            context.output.json(&json!({ "policy": wanted, "proposal": noisy.proposal, "diff": diff }))?;
            return Ok(Exit::Done);
        }
        context.output.raw(diff.as_bytes())?;
        note(&noisy.proposal);
        Ok(Exit::Done)
    }
}

impl ExplainArgs {
    fn asked(&self) -> Asked {
        match (self.length, self.standing) {
            (Some(length), _) => Asked::For(length),
            (None, true) => Asked::Standing,
            (None, false) => Asked::Default,
        }
    }

    fn offline(self, output: &Output, dir: &Path) -> anyhow::Result<Exit> {
        let bundle = Bundle::load(dir)?;
        let asked = self.asked();
        let Some(role) = self.resource.role.or(self.role) else {
            bail!("name the role as well, as in `{}+ROLE`", self.resource.resource);
        };
        let Some(mut who) = self.who.and_then(|who| bundle.imagine(&who, now())) else {
            bail!("name who would ask with `--who`");
        };
        who.on_call = (!self.on_call.is_empty()).then_some(self.on_call);
        let ask = Ask { asked, ticket: self.ticket, break_glass: self.break_glass, ..Ask::plain(self.resource.resource, role) };
        let explanation = bundle.explain(&who, &ask);
        if output.is_json() {
            output.json(&explanation)?;
        } else {
            output.line(explanation)?;
        }
        Ok(Exit::Done)
    }

    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let wanted = Wanted {
            resource: self.resource,
            role: self.role,
            length: self.length,
            standing: self.standing,
            reason: Some("a question".to_owned()),
            ticket: self.ticket,
            command: None,
            read_only: false,
            table: Vec::new(),
            statement: Vec::new(),
        };
        let request = api::types::requests::NewRequest { break_glass: self.break_glass, ..wanted.into_request()? };
        let on_call = (!self.on_call.is_empty()).then_some(self.on_call);
        let reply: Reply<Explained> = client.post("/policy/explain", &Explain { who: self.who, on_call, request }).await?;
        context.print(&reply, |output, explained| output.line(&explained.text))
    }
}

async fn push(context: &Context, client: &Client, dir: &Path) -> anyhow::Result<Exit> {
    // Checked here first, so that a mistake is named with its place on this machine.
    let bundle = Bundle::load(dir)?;
    let files: BTreeMap<String, String> =
        bundle.files().iter().map(|(path, bytes)| (path.clone(), BASE64_STANDARD.encode(bytes))).collect();
    let reply: Reply<Activated> = client.post("/policy/push", &PolicyFiles { files }).await?;
    context.print(&reply, show_activated)
}

fn show_activated(output: &Output, activated: &Activated) -> io::Result<()> {
    if !activated.changed {
        return output.line(format!("Bundle {} was in force already.", activated.digest));
    }
    if !activated.diff.is_empty() {
        output.line(&activated.diff)?;
    }
    for grant in &activated.withdrawn {
        output.toned(format!("{grant} is withdrawn; its sessions are cut"), Tone::Waiting)?;
    }
    output.toned(format!("Bundle {} is in force.", activated.digest), Tone::Good)
}
