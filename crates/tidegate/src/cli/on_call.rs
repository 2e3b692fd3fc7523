//! `tidegate oncall`: who is on call, by which source, and how fresh that is.

use std::io;

use access::names::GroupName;
use api::types::on_call::{Duties, Duty};
use clap::Subcommand;

use crate::client::Reply;
use crate::output::{Output, Tone};

use super::Context;
use super::exit::Exit;

/// What to do with on-call schedules.
#[derive(Debug, Subcommand)]
pub enum OnCallCommand {
    /// Say who is on call, for every schedule of the policy
    List,
    /// Say who is on call for one schedule, how fresh that is, and what is wrong
    Show {
        /// As policy calls it
        #[arg(value_name = "SCHEDULE")]
        schedule: GroupName,
    },
}

impl OnCallCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List => {
                let reply: Reply<Duties> = client.get("/oncall", &()).await?;
                context.print(&reply, |output, duties| {
                    let rows = duties.items.iter().map(|duty| {
                        vec![
                            duty.schedule.to_string().into(),
                            people(output, duty).into(),
                            duty.source.as_ref().map_or_else(|| "policy".to_owned(), ToString::to_string).into(),
                            output.maybe_at(duty.seen_at).into(),
                            duty.trouble.clone().or_else(|| duty.unknown.clone()).unwrap_or_default().into(),
                        ]
                    });
                    output.table(&["schedule", "on call", "source", "as of", "trouble"], rows.collect(), "No on-call schedules.")
                })
            }
            Self::Show { schedule } => {
                let reply: Reply<Duty> = client.get(&format!("/oncall/{schedule}"), &()).await?;
                context.print(&reply, show)
            }
        }
    }
}

fn show(output: &Output, duty: &Duty) -> io::Result<()> {
    output.facts(&[
        ("schedule", duty.schedule.to_string()),
        ("source", duty.source.as_ref().map_or_else(|| "the policy directory".to_owned(), ToString::to_string)),
        ("service", duty.service.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("up to level", duty.level.map(|level| level.to_string()).unwrap_or_default()),
        ("on call", people(output, duty)),
        ("as of", output.maybe_at(duty.seen_at)),
        ("counts until", output.maybe_at(duty.good_until)),
    ])?;
    for says in duty.unknown.iter().chain(&duty.trouble) {
        output.toned(says, Tone::Bad)?;
    }
    for unmapped in &duty.unmapped {
        output.toned(format!("nobody here is mapped to {unmapped}; name them under `[oncall.people]` if they are"), Tone::Waiting)?;
    }
    Ok(())
}

/// Who is, as one line; `unknown` if that is not known.
pub(super) fn people(output: &Output, duty: &Duty) -> String {
    if !duty.known {
        return "unknown".to_owned();
    }
    let person = |on_duty: &api::types::on_call::OnDuty| {
        let level = on_duty.level.map(|level| format!(" (level {level})")).unwrap_or_default();
        let until = on_duty.until.map(|until| format!(" until {}", output.at(until))).unwrap_or_default();
        format!("{}{level}{until}", on_duty.username)
    };
    match duty.people.as_slice() {
        [] => "nobody".to_owned(),
        people => people.iter().map(person).collect::<Vec<_>>().join(", "),
    }
}
