//! `tidegate compliance`: controls of SOC 2 and ISO/IEC 27001, each with the live queries that show it.

use api::types::compliance::Compliance;
use clap::Args;

use crate::client::Reply;
use crate::output::Tone;

use super::Context;
use super::exit::Exit;

/// Which controls.
#[derive(Debug, Args)]
pub struct ComplianceArgs {
    /// Only this control, as `CC6.1` or `A.8.15`
    #[arg(value_name = "CONTROL")]
    control: Option<String>,
}

impl ComplianceArgs {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let reply: Reply<Compliance> = context.client()?.get("/compliance", &()).await?;
        context.print(&reply, |output, found| {
            let wanted = |id: &str| self.control.as_deref().is_none_or(|control| control.eq_ignore_ascii_case(id));
            let mut any = false;
            for control in found.controls.iter().filter(|control| wanted(&control.id)) {
                any = true;
                output.line(format!("{} {}: {}", control.framework, control.id, control.title))?;
                output.line(format!("  {}", control.says))?;
                for evidence in &control.evidence {
                    let line = format!("  - {}: {}", evidence.command, evidence.says);
                    if evidence.attention { output.toned(line, Tone::Bad)? } else { output.line(line)? }
                }
                output.line("")?;
            }
            if !any {
                output.line("There is no such control here; without a name all are shown.")?;
            }
            Ok(())
        })
    }
}
