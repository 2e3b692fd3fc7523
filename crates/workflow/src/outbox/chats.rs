//! What is said where people chat, besides how requests stand: one sentence with a link, to somebody alone or in the channel.

use access::chat::ChatService;
use access::reason::Refusal;
use notify::outcome::Outcome;
use notify::slack::blocks;
use notify::teams::card;
use store::OutboxRow;

use super::failing::FAILING;
use super::reviews::REVIEW;
use super::{OUTCOME, Slack, Teams};
use crate::gate::{Gate, unavailable};

/// A chat that people are told in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chat<'d> {
    Slack(&'d Slack),
    Teams(&'d Teams),
}

impl<'d> Chat<'d> {
    /// By what its accounts are known.
    pub(super) fn at(self) -> (ChatService, &'d str) {
        match self {
            Self::Slack(slack) => (ChatService::Slack, slack.settings.team.as_str()),
            Self::Teams(teams) => (ChatService::Teams, teams.settings.tenant.as_str()),
        }
    }
}

impl Gate {
    pub(super) async fn say_in_chat(&self, chat: Chat<'_>, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let (task, to) = row.task.split_once(' ').unwrap_or((&row.task, ""));
        match (task, chat) {
            (OUTCOME, _) => self.say_how_it_ended(chat, row).await,
            (REVIEW, _) => self.say_of_review(chat, row, to).await,
            (FAILING, _) => self.say_of_failing(chat, row, to).await,
            (_, Chat::Slack(slack)) => self.show_request(slack, row).await,
            (_, Chat::Teams(teams)) => self.show_in_teams(teams, row).await,
        }
    }

    /// Tells the asker how it ended, if they said who they are there and want to be told.
    async fn say_how_it_ended(&self, chat: Chat<'_>, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let Some(request) = self.request_told_of(row).await? else {
            return Ok(Outcome::Never { why: "there is no such request".to_owned() });
        };
        let at = chat.at();
        let accounts = self.store.chat_accounts_of(request.person).await.map_err(unavailable)?;
        let own = accounts.into_iter().find(|account| (account.service, account.team.as_str()) == at && account.told.own());
        let Some(account) = own else { return Ok(Outcome::Taken(())) };
        let votes = self.store.votes(request.id).await.map_err(unavailable)?;
        let Some(outcome) = self.outcome_of(&request, &votes).await else { return Ok(Outcome::Taken(())) };
        let text = format!("{} on {}: {outcome}", request.role, request.resource);
        let link = format!("{}/requests/{}", self.outbox.portal(), request.id);
        self.say_in(chat, row, Some(&account.account), &text, &link).await
    }

    /// Says a sentence with a link into the portal: to an account, or in the channel.
    pub(super) async fn say_in(
        &self,
        chat: Chat<'_>,
        row: &OutboxRow,
        to: Option<&str>,
        text: &str,
        link: &str,
    ) -> Result<Outcome<()>, Refusal> {
        let link = Some((link, "Open in the portal"));
        match chat {
            Chat::Slack(slack) => {
                let token = self.kept_secret(&slack.bot_token).await?;
                let (id, channel) = (row.id.to_string(), slack.settings.channel.as_str());
                // Tried before, and nobody knows whether it was posted then: Slack does, by the id in it.
                if to.is_none() && row.attempts > 1 {
                    match slack.client.find(&token, channel, &id, row.created_at).await {
                        Outcome::Taken(None) => {}
                        other => return Ok(other.map(drop)),
                    }
                }
                let said = blocks::said(text, link);
                Ok(slack.client.post(&token, to.unwrap_or(channel), &id, &blocks::escaped(text), said).await.map(drop))
            }
            Chat::Teams(teams) => {
                let (password, said) = (self.kept_secret(&teams.app_password).await?, card::said(text, link));
                match to {
                    Some(account) => Ok(teams.client.tell(&password, account, &said, text, self.now()).await),
                    None => Ok(teams.client.post(&password, &said, text, self.now()).await.map(drop)),
                }
            }
        }
    }
}
