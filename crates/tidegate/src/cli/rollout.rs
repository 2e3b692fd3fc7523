//! `tidegate rollout`: how far the gate has been taken up, phase by phase, in numbers.

use api::types::rollout::{Progress, Rollout};

use crate::client::Reply;
use crate::output::{Field, Tone, note};

use super::Context;
use super::exit::Exit;

/// Prints it.
pub async fn run(context: &Context) -> anyhow::Result<Exit> {
    let reply: Reply<Rollout> = context.client()?.get("/rollout", &()).await?;
    context.print(&reply, |output, rollout| {
        let mut rows = Vec::new();
        for phase in &rollout.phases {
            let progress = match phase.progress {
                Progress::NotBegun => Field::toned("not begun", Tone::Bad),
                Progress::UnderWay => Field::toned("under way", Tone::Waiting),
                Progress::Done => Field::toned("done", Tone::Good),
            };
            let mut first = Some((phase.name.clone(), progress));
            for step in &phase.steps {
                let (name, progress) = first.take().unwrap_or_else(|| (String::new(), Field::from("")));
                rows.push(vec![name.into(), progress, step.says.clone().into()]);
            }
        }
        output.table(&["phase", "", "how far"], rows, "Nothing to show.")?;
        for tier in &rollout.observed {
            let when = format!("{} to {}", output.at(tier.from), output.at(tier.until));
            note(match tier.now {
                true => format!(
                    "`{}` is only observed until {}: what no path allows is let through and counted as standing.",
                    tier.tier,
                    output.at(tier.until)
                ),
                false => format!("`{}` is observed from {when}, and not now.", tier.tier),
            });
        }
        note(format!(
            "{} sessions of the last 30 days were let through by an observed tier; {} rights have no end.",
            rollout.observed_sessions, rollout.standing
        ));
        Ok(())
    })
}
