//! Signing in without a key: keyboard-interactive (RFC 4256) shows a link, and somebody says in a browser who is here.
//!
//! The client is asked nothing. It is sent instructions with no question in them, which clients answer by themselves, and then, as long
//! as nobody answered in the browser, empty requests of the same kind: each answer says that the client is still there.

use std::net::SocketAddr;
use std::time::Duration;

use access::identity::VerifiedIdentity;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use russh::server::Auth;
use russh::{MethodKind, MethodSet};
use tokio::time::Instant;

use super::text;
use crate::gatekeeper::{Gatekeeper, InBrowser};

/// How long a client is left alone until it is asked whether it is still there.
const ROUND: Duration = Duration::from_secs(5);
const TITLE: &str = "Tidegate";

/// How far one connection has come with it.
#[derive(Default)]
pub(super) enum Browser {
    /// Nobody was asked.
    #[default]
    NotAsked,
    /// Somebody is.
    Waits {
        /// As what the client wants to be let in where.
        to: Selector,
        asked: InBrowser,
        until: Instant,
    },
    /// Everything was said.
    Over,
}

/// What comes of one round.
pub(super) enum Round {
    /// They are here.
    In(VerifiedIdentity, Selector),
    /// The client is told this.
    Tell(Auth),
}

impl Browser {
    /// Whether somebody is asked at the moment.
    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Waits { .. })
    }

    /// The client wants to sign in by keyboard: somebody is asked, once per connection. For so long they may think.
    pub(super) async fn begin(&mut self, gate: &dyn Gatekeeper, user: &str, client: &str, from: SocketAddr, patience: Duration) -> Round {
        if !matches!(self, Self::NotAsked) {
            return self.end();
        }
        *self = Self::Over;
        if let Ok(to) = user.parse::<Selector>()
            && let Some(asked) = gate.ask_in_browser(&to, client, from).await
        {
            let told = tell(&asked.told);
            *self = Self::Waits { to, asked, until: Instant::now() + patience };
            return told;
        }
        tell(&gate.how_to_sign_in(from).await)
    }

    /// The client answered, so it is still there.
    pub(super) async fn go_on(&mut self) -> Round {
        let Self::Waits { asked, until, .. } = self else { return self.end() };
        let round = (Instant::now() + ROUND).min(*until);
        let answer = match tokio::time::timeout_at(round, &mut asked.answer).await {
            Ok(answer) => answer,
            Err(_) if Instant::now() < *until => return tell(""),
            Err(_) => Err(Refusal::because(Reason::NotSignedIn, "nobody said in a browser who you are, in the time there was")),
        };
        let Self::Waits { to, .. } = std::mem::replace(self, Self::Over) else { return self.end() };
        match answer {
            Ok(who) => Round::In(who, to),
            Err(refusal) => tell(&refusal.to_string()),
        }
    }

    fn end(&mut self) -> Round {
        *self = Self::Over;
        let methods = MethodSet::from([MethodKind::PublicKey].as_slice());
        Round::Tell(Auth::Reject { proceed_with_methods: Some(methods), partial_success: false })
    }
}

/// Instructions, and no question.
fn tell(lines: &str) -> Round {
    let lines: Vec<String> = lines.lines().map(|line| text::inert(line, 200)).collect();
    let name = if lines.is_empty() { "" } else { TITLE };
    Round::Tell(Auth::Partial { name: name.into(), instructions: lines.join("\n").into(), prompts: Vec::new().into() })
}
