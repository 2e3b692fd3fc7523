//! Policies that cannot be evaluated: whoever is told of emergencies is told of them, of each policy once an hour at most.
//!
//! Every refusal that such a policy leads to, and every right that it takes away, adds one message to a lane of its own; whom to tell, and
//! whether they heard an hour ago, is found out when it is delivered, one after the other, so that two nodes tell nobody twice.

use access::event::Event;
use access::reason::Refusal;
use access::time::Span;
use notify::mail::address::Address;
use notify::mail::letter::Letter;
use notify::outcome::Outcome;
use store::OutboxRow;

use super::chats::Chat;
use super::letters::{Mail, message};
use crate::gate::{Gate, unavailable};

/// What is said, and the lane in which it is found out to whom.
pub(super) const FAILING: &str = "failing";
/// For the channel of a chat.
const CHANNEL: &str = "channel";
/// For so long the same is not told again.
const QUIET: Span = Span::hours(1);

/// The lane of what is told of an event, if a policy failed.
pub(super) fn told_by(event: &Event) -> Option<String> {
    event.failed_policies().map(|_| FAILING.to_owned())
}

impl Gate {
    /// By mail; `to` is an address and a policy, or nobody yet.
    pub(super) async fn write_of_failing(&self, mail: &Mail, row: &OutboxRow, to: &str) -> Result<Outcome<()>, Refusal> {
        let Some((address, policy)) = to.split_once(' ') else {
            let to: Vec<String> = mail.settings.alerts.iter().map(ToString::to_string).collect();
            return self.find_who_hears_of_failing(row, &to).await;
        };
        let Ok(address) = address.parse::<Address>() else {
            return Ok(Outcome::Never { why: "it goes to no address".to_owned() });
        };
        let letter = Letter {
            subject: if policy.is_empty() { "Policy cannot be asked".to_owned() } else { format!("The policy {policy} fails") },
            says: says_of(policy),
            reason: self.why_it_failed(row).await?,
            link: Some((format!("{}/policy", self.outbox.portal()), "Open the policy in the portal")),
            notes: vec![
                "`tidegate doctor` lists every policy that failed within a day. Nobody is told of the same one again for an hour."
                    .to_owned(),
            ],
            ..Letter::default()
        };
        self.hand_over(mail, row, &address, &letter).await
    }

    /// In the channel of a chat; `to` is the channel and a policy, or nobody yet.
    pub(super) async fn say_of_failing(&self, chat: Chat<'_>, row: &OutboxRow, to: &str) -> Result<Outcome<()>, Refusal> {
        let Some((_, policy)) = to.split_once(' ') else { return self.find_who_hears_of_failing(row, &[CHANNEL.to_owned()]).await };
        let why = self.why_it_failed(row).await?.map(|why| format!(" {why}.")).unwrap_or_default();
        let text = format!("{}{why}", says_of(policy));
        self.say_in(chat, row, None, &text, &format!("{}/policy", self.outbox.portal())).await
    }

    /// A message to each of these for each policy that failed, but for those they were told of within the hour.
    async fn find_who_hears_of_failing(&self, row: &OutboxRow, to: &[String]) -> Result<Outcome<()>, Refusal> {
        let Some(logged) = self.store.entry(row.entry).await.map_err(unavailable)? else { return Ok(Outcome::Taken(())) };
        let Some(failed) = logged.entry.event.failed_policies() else { return Ok(Outcome::Taken(())) };
        let unnamed = [String::new()];
        let failed = if failed.is_empty() { unnamed.as_slice() } else { failed };
        let mut rows = Vec::new();
        for policy in failed {
            for to in to {
                let lane = format!("{FAILING} {policy} {to}");
                let before = self.store.newest_message(&row.destination, &lane).await.map_err(unavailable)?;
                if before.is_none_or(|before| QUIET.after(before.created_at) <= row.created_at) {
                    rows.push(message(row, &format!("{FAILING} {to} {policy}"), lane, self.now()));
                }
            }
        }
        self.store.add_messages(&rows).await.map_err(unavailable)?;
        Ok(Outcome::Taken(()))
    }

    /// Where and how it failed, in the words of the entry.
    async fn why_it_failed(&self, row: &OutboxRow) -> Result<Option<String>, Refusal> {
        let logged = self.store.entry(row.entry).await.map_err(unavailable)?;
        Ok(logged.and_then(|logged| logged.entry.text("detail").map(str::to_owned)))
    }
}

/// What happened, in a sentence or two.
fn says_of(policy: &str) -> String {
    let what = if policy.is_empty() {
        "A question could not be put to the policy at all".to_owned()
    } else {
        format!("The policy `{policy}` could not be evaluated")
    };
    format!("{what}, so whoever it is about is refused until it is corrected.")
}
