//! What needs a fresh proof that it is oneself: the link is shown, the passkey is used in a browser, and the command goes on by itself.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use access::reason::Reason;
use api::types::passkeys::{BegunStepUp, NewStepUp, StepUpProgress, StepUpState};

use crate::client::{Client, ClientError, Reply};
use crate::output::note;

/// How long a link is good for, as the gate has it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Whether a command may wait for somebody: they see what it says, or said that it shall.
pub(crate) fn may_wait() -> bool {
    io::stderr().is_terminal() || std::env::var("TIDEGATE_WAIT").is_ok_and(|value| value == "1")
}

/// Sends something; if nothing is missing but a fresh proof, says where to give it, waits for it, and sends it again.
///
/// # Errors
/// As sending it; also when the proof was refused or nobody gave it in time.
pub(crate) async fn proved<T>(
    client: &Client,
    what: NewStepUp,
    wait: bool,
    send: impl AsyncFn() -> Result<Reply<T>, ClientError>,
) -> anyhow::Result<Reply<T>> {
    let missing = match send().await {
        Err(ClientError::Refused(problem)) if problem.code == Reason::MfaRequired => ClientError::Refused(problem),
        sent => return Ok(sent?),
    };
    let what = NewStepUp { client: format!("tidegate on {}", hostname()), ..what };
    let begun: BegunStepUp = match client.post("/step-ups", &what).await {
        Ok(Reply { value, .. }) => value,
        // Why it cannot be proved that way says more than that it is missing.
        Err(ClientError::Refused(problem)) if problem.code == Reason::MfaRequired => return Err(ClientError::Refused(problem).into()),
        Err(_) => return Err(missing.into()),
    };
    note(format!("This needs a fresh proof that it is you. Use your passkey here (code {}):\n\n  {}\n", begun.user_code, begun.link));
    if !wait && !may_wait() {
        return Err(missing.into());
    }
    note("Waiting for it; Ctrl-C leaves.");
    let until = tokio::time::Instant::now() + PATIENCE;
    let interval = Duration::from_secs(begun.interval.max(1));
    loop {
        tokio::time::sleep(interval).await;
        let progress: Reply<StepUpProgress> = client.post("/step-ups/progress", &what).await?;
        match progress.value.state {
            StepUpState::Proved => {
                note("It is you. Going on.");
                return Ok(send().await?);
            }
            StepUpState::Refused => anyhow::bail!("whoever opened the link said that it is not them; nothing was asked for"),
            StepUpState::Open if tokio::time::Instant::now() >= until => return Err(missing.into()),
            StepUpState::Open => {}
        }
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
