//! `tidegate break-glass`: emergency access, at once.

use access::names::{RoleName, Selector};
use access::time::Span;
use api::types::requests::NewRequest;
use clap::Args;

use crate::output::note;

use super::Context;
use super::exit::Exit;
use super::request::{Wanted, submit};

/// An emergency: nobody has to agree, everybody is told, and a review is owed.
#[derive(Debug, Args)]
pub struct BreakGlass {
    /// Where to: `RESOURCE` or `RESOURCE+ROLE`
    #[arg(value_name = "RESOURCE")]
    resource: Selector,
    /// As what; without it the one role that is open to you
    #[arg(value_name = "ROLE")]
    role: Option<RoleName>,
    /// What the emergency is
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long; without it the tier's default
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Span>,
    /// The incident it belongs to
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
}

impl BreakGlass {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let wanted = Wanted {
            resource: self.resource,
            role: self.role,
            length: self.length,
            standing: false,
            reason: Some(self.reason),
            ticket: self.ticket,
            command: None,
            read_only: false,
            table: Vec::new(),
            statement: Vec::new(),
        };
        let request = NewRequest { break_glass: true, activate: true, ..wanted.into_request()? };
        let exit = submit(context, &context.client()?, &request, false).await?;
        // Only where it opened: what waits or was refused is no emergency.
        if exit == Exit::Done {
            note("This was announced, is recorded as closely as can be, and will be reviewed: `tidegate review list`.");
        }
        Ok(exit)
    }
}
