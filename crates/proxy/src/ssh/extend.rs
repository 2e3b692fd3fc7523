//! More time for what is open, asked for where one connects: `ssh -s HOST extend 30m WHY`.
//!
//! It is a subsystem on a channel of its own, of any connection of the same person: nothing typed into a shell, and nothing a target
//! prints, can be taken for it, and no command of a target is hidden by it. What comes of it is shown here and in the sessions it is
//! about. See `docs/adr/0012-more-time-is-a-subsystem.md`.

use std::sync::Arc;

use access::reason::{Reason, Refusal};
use access::request::RequestState;
use access::time::Span;

use super::ask::{self, Left, show_to};
use super::channel::{Wishes, leave, refuse};
use super::relay::ClientSide;
use super::session::{Visit, clock};
use crate::gatekeeper::{Extended, Waiting};

/// The subsystem's name; no role can list it as one of a target's.
const NAME: &str = "extend";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct More {
    /// How long from now; `None`: as long as usual.
    time: Option<Span>,
    reason: Option<String>,
}

/// Reads the name of a subsystem; `None` if it is none of the gate's.
pub(crate) fn asked(subsystem: &str) -> Option<Result<More, Refusal>> {
    let rest = subsystem.strip_prefix(NAME)?;
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim();
    let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    if !first.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(Ok(More { time: None, reason: some(rest) }));
    }
    Some(match first.parse::<Span>() {
        Ok(time) => Ok(More { time: Some(time), reason: some(after) }),
        Err(error) => Err(Refusal::because(Reason::Invalid, format!("{error}; write it like `ssh -s HOST extend 30m 'why'`"))),
    })
}

/// Asks for it, waits if that is wanted, and says what came of it.
pub(crate) async fn serve(visit: &Arc<Visit>, mut client: ClientSide, mut wishes: Wishes, more: Result<More, Refusal>) {
    let has_terminal = wishes.terminal.is_some();
    match more_time(visit, &mut client, &mut wishes, more).await {
        Ok(line) => leave(&client, has_terminal, &line, 0).await,
        Err(Left::Refused(refusal)) => refuse(&client, has_terminal, &refusal).await,
        Err(Left::Waiting(line)) => leave(&client, has_terminal, &line, Reason::Pending.ssh_exit()).await,
        Err(Left::Gone) => {
            let _ = client.tx.close().await;
        }
    }
}

async fn more_time(visit: &Arc<Visit>, client: &mut ClientSide, wishes: &mut Wishes, more: Result<More, Refusal>) -> Result<String, Left> {
    let More { time, reason } = more?;
    let mut reason = reason.or_else(|| wishes.told("TIDEGATE_REASON").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()));
    loop {
        match visit.door.gate.extend(&visit.knock, time, reason.clone()).await {
            Extended::Until(end) => return Ok(format!("{} is open until {}.", visit.knock.to, clock(end))),
            Extended::Waiting(waiting) => return wait(client, wishes, waiting).await,
            Extended::Refused(refusal) if refusal.reason == Reason::ReasonRequired && reason.is_none() && wishes.terminal.is_some() => {
                show_to(client, true, "More time needs a reason.").await;
                reason = Some(ask::question_line(client, wishes, "Reason: ").await?);
            }
            Extended::Refused(refusal) if refusal.reason == Reason::ReasonRequired => {
                let how = format!("say it: ssh -s {}.tide extend {} 'why'", visit.knock.to, time.unwrap_or(Span::minutes(30)));
                return Err(Refusal::because(Reason::ReasonRequired, how).into());
            }
            Extended::Refused(refusal) => return Err(refusal.into()),
        }
    }
}

async fn wait(client: &mut ClientSide, wishes: &mut Wishes, waiting: Waiting) -> Result<String, Left> {
    let request = waiting.request;
    let no = |reason| Err(Left::Refused(Refusal::of(reason).about(request)));
    match ask::wait(client, wishes, waiting).await? {
        RequestState::Approved => Ok("Your sessions there go on.".to_owned()),
        RequestState::Denied => no(Reason::Denied),
        RequestState::Cancelled => no(Reason::Cancelled),
        RequestState::Expired => no(Reason::AgedOut),
        RequestState::Pending => no(Reason::Stopping),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: GRANT-5 (ssh)
    #[test]
    fn more_time_is_asked_for_in_one_line() {
        let more =
            |time: Option<u64>, reason: Option<&str>| Some(Ok(More { time: time.map(Span::minutes), reason: reason.map(str::to_owned) }));
        assert_eq!(asked("extend"), more(None, None));
        assert_eq!(asked("extend 30m"), more(Some(30), None));
        assert_eq!(asked("extend 1h still restoring"), more(Some(60), Some("still restoring")));
        assert_eq!(asked("extend still restoring"), more(None, Some("still restoring")));
        assert!(asked("extend 30 minutes").is_some_and(|asked| asked.is_err()));
        for other in ["sftp", "extended", "extend\t30m", " extend", "Extend"] {
            assert_eq!(asked(other), None, "{other:?}");
        }
    }
}
