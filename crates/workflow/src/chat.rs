//! What people ask and decide where they chat.
//!
//! *Takes* a call that claims to be Slack's. *Proves* by its signature that it is, soon and for the first time; by the account that a
//! person linked in the portal, whose it is. *Hands to* `submit` and `vote` that person: what they may is decided there, now, and what
//! is refused is entered there.
//!
//! A call is taken within three seconds, whatever it asks for ([`Gate::take_from_slack`]); what it asks for is done after that
//! ([`Gate::do_in_slack`]), and answered where it was asked.

mod accounts;
mod teams;

use std::net::IpAddr;

use access::approval::Decision;
use access::chat::{ChatService, key};
use access::event::{Actor, EntryDraft, Event};
use access::ids::RequestId;
use access::limits::Limits;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, Asked, Door};
use identity::chat::{ask_whose, verify_chat_account};
use notify::outcome::Outcome;
use notify::slack::blocks::{self, About};
use notify::slack::incoming::{self, Act, Back, Deciding, Incoming, Person};
use notify::slack::signature::verify;
use store::{Change, ChatLink};

use crate::Caller;
use crate::approve::Voted;
use crate::gate::{Gate, refused, unavailable};
use crate::outbox::Slack;
use crate::seen::Seen;

pub use identity::chat::ChatAsker;
pub use teams::{FromTeams, taking_long};

/// How often a decision that raced a vote of another is tried again.
const TRIES: usize = 8;
/// What the command understands.
const USAGE: &str = "Say what you need and why, like: db-1+debug for 1h the orders query is slow. Without a role, the one that is open to you is meant; \
                     without a time, the usual one.";

/// Which of Slack's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlackCall {
    /// A button, or a window sent off.
    Interaction,
    /// The slash command.
    Command,
}

/// A call as it came.
#[derive(Debug, Clone, Copy)]
pub struct FromSlack<'a> {
    /// Which.
    pub call: SlackCall,
    /// `X-Slack-Request-Timestamp`.
    pub timestamp: Option<&'a str>,
    /// `X-Slack-Signature`.
    pub signature: Option<&'a str>,
    /// The body, to the byte.
    pub body: &'a [u8],
    /// From where.
    pub from: IpAddr,
}

/// What is to be said to somebody: a sentence, and where to go on.
struct Said {
    text: String,
    link: Option<(String, &'static str)>,
}

impl Gate {
    /// Whether a call is signed as Slack signs; leaves no entry, and says nothing of whether it came before.
    pub async fn is_from_slack(&self, came: FromSlack<'_>) -> bool {
        let Some(slack) = self.outbox.slack() else { return false };
        let Ok(secret) = self.kept_secret(&slack.signing_secret).await else { return false };
        verify(&secret, came.timestamp, came.signature, came.body, self.now()).is_ok()
    }

    /// Takes a call of Slack's; quickly, since Slack waits three seconds. `None`: it only asks whether somebody listens.
    ///
    /// # Errors
    /// If it is not Slack's, too late, came before, or says nothing that the gate knows. That is entered.
    pub async fn take_from_slack(&self, came: FromSlack<'_>) -> Result<Option<Incoming>, Refusal> {
        let slack = self.outbox.slack().ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let taken = async {
            // Whoever calls has proved nothing yet: what is wrong here is for the gate's own log.
            let secret = self.kept_secret(&slack.signing_secret).await.map_err(|refusal| {
                tracing::error!(%refusal, "what signs Slack's calls cannot be read");
                if refusal.reason == Reason::StoreUnavailable {
                    Refusal::of(Reason::StoreUnavailable)
                } else {
                    Refusal::of(Reason::NotFound)
                }
            })?;
            let now = self.now();
            let wrong = |why: String| Refusal::because(Reason::NotSignedIn, why);
            let signed = verify(&secret, came.timestamp, came.signature, came.body, now).map_err(|error| wrong(error.to_string()))?;
            // On whichever node it came before: that is known where all of them look.
            if !self.store.take_once(&signed.id(), signed.until()).await.map_err(unavailable)? {
                return Err(wrong("it came before".to_owned()));
            }
            if incoming::is_check(came.body) {
                return Ok(None);
            }
            let read = match came.call {
                SlackCall::Interaction => incoming::interaction(came.body),
                SlackCall::Command => incoming::command(came.body, &slack.settings.command),
            };
            let read = read.map_err(|error| Refusal::because(Reason::Invalid, error.to_string()))?;
            if read.person.team != slack.settings.team {
                return Err(Refusal::because(Reason::NotAllowed, "it comes from another workspace than the gate's"));
            }
            Ok(Some(read))
        };
        let taken = taken.await;
        if let Err(refusal) = &taken
            && refusal.reason != Reason::StoreUnavailable
        {
            let event = Event::SigninRefused { door: Door::Chat, reason: refusal.reason };
            let draft = EntryDraft::new(self.now(), Actor::Unknown, Door::Chat, event).text("detail", refusal.detail.clone());
            let draft = draft.text("from", Some(came.from.to_string()));
            if let Err(error) = self.commit(Change::new(draft)).await {
                tracing::error!(%error, "a refused call of a chat could not be entered; it stays refused");
            }
        }
        taken
    }

    /// Does what somebody asked for in Slack, and answers them there.
    pub async fn do_in_slack(&self, came: Incoming) {
        let Some(slack) = self.outbox.slack() else { return };
        let said = match self.caller_in_chat(ChatService::Slack, &came.person).await {
            Ok(Some(caller)) => Box::pin(self.act_in_slack(slack, &caller, &came)).await,
            Ok(None) => Some(self.ask_who(ChatService::Slack, &came.person).await),
            Err(refusal) => Some(self.no(&refusal, None)),
        };
        if let Some(said) = said {
            self.answer_in_slack(slack, &came.person, &came.back, &said).await;
        }
    }

    async fn act_in_slack(&self, slack: &Slack, caller: &Caller, came: &Incoming) -> Option<Said> {
        let (about, decision, note) = match &came.act {
            Act::Command(text) => return Some(self.ask_in_chat(caller, &slack.settings.command, text).await),
            Act::Window { about, deny, trigger } => return self.open_window(slack, caller, about, *deny, trigger, &came.back).await,
            Act::Approve(about) => (about, Decision::Approve, None),
            Act::Decide { about, deny, note } => (about, if *deny { Decision::Deny } else { Decision::Approve }, note.clone()),
        };
        Some(match self.decide_in_chat(caller, about, decision, note).await {
            Ok(voted) => {
                let what = format!("{} on {}", voted.request.role, voted.request.resource);
                let votes = self.store.votes(voted.request.id).await.unwrap_or_default();
                let text = match self.outcome_of(&voted.request, &votes).await {
                    Some(outcome) => format!("{what}: {outcome}."),
                    None => format!("{what}: your approval counts; others are asked too."),
                };
                Said { text, link: None }
            }
            Err(refusal) => self.no(&refusal, about.request.parse().ok()),
        })
    }

    /// The decision, for the revision of the request that was shown and for no other.
    pub(crate) async fn decide_in_chat(
        &self,
        caller: &Caller,
        about: &About,
        decision: Decision,
        note: Option<String>,
    ) -> Result<Voted, Refusal> {
        let request: RequestId = about.request.parse().map_err(|_| Refusal::of(Reason::NotFound))?;
        for _ in 0..TRIES {
            let row = self.store.request(request).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
            if row.revision != about.revision {
                // INVARIANT: nobody decides on what they have not seen.
                let event =
                    Event::VoteRefused { request, voter: caller.who.id(), reason: Reason::Stale, bundle: None, policies: Vec::new() };
                self.commit(Change::new(self.draft(caller, event).text("note", note))).await.map_err(refused)?;
                let why = "it was changed after this message was sent; look at the newest one";
                return Err(Refusal::because(Reason::Stale, why).about(request));
            }
            let seen = Seen::one_of([row.version.to_string()]).of(request);
            match Box::pin(self.vote(caller, seen, decision, note.clone())).await {
                // Somebody voted, or the asker changed it, at this very moment: which of the two is looked at again.
                Err(refusal) if refusal.reason == Reason::Stale => {}
                other => return other,
            }
        }
        Err(Refusal::of(Reason::AlreadyDecided).about(request))
    }

    async fn open_window(&self, slack: &Slack, caller: &Caller, about: &About, deny: bool, trigger: &str, back: &Back) -> Option<Said> {
        let opened = async {
            let token = self.kept_secret(&slack.bot_token).await?;
            let request: RequestId = about.request.parse().map_err(|_| Refusal::of(Reason::NotFound))?;
            let row = self.store.request(request).await.map_err(unavailable)?;
            let row = self.visible_request(caller, row).await.map_err(|unseen| unseen.about(request))?;
            let deciding = Deciding { about: about.clone(), deny, channel: back.channel.clone() };
            let deciding = serde_json::to_string(&deciding).unwrap_or_default();
            let what = format!("{} asks for {} on {}", self.called(row.person).await, row.role, row.resource);
            let opened = slack.client.open_window(&token, trigger, blocks::note_window(deny, &what, &deciding)).await;
            Ok::<_, Refusal>((request, opened))
        };
        match opened.await {
            Ok((_, Outcome::Taken(()))) => None,
            Ok((request, Outcome::Later { why, .. } | Outcome::Never { why })) => {
                tracing::warn!(why, "a window could not be opened in Slack");
                let link = format!("{}/requests/{request}", self.outbox.portal());
                let text = "Slack did not open the window; press the button again, or decide in the portal.".to_owned();
                Some(Said { text, link: Some((link, "Open in the portal")) })
            }
            Err(refusal) => Some(self.no(&refusal, about.request.parse().ok())),
        }
    }

    /// `resource[+role] [for TIME] reason`.
    async fn ask_in_chat(&self, caller: &Caller, command: &str, text: &str) -> Said {
        let words = text.trim();
        let (to, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
        if to.is_empty() || to == "help" {
            return Said { text: format!("{USAGE} ({command} RESOURCE[+ROLE] [for TIME] REASON)"), link: None };
        }
        let asked = async {
            let to: Selector = to.parse().map_err(|_| Refusal::because(Reason::Invalid, USAGE))?;
            let (asked, reason) = length_in(rest)?;
            let (resource, role) = self.resolve(caller, &to).await?;
            let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
            let ask = AccessRequest {
                resource,
                role,
                asked,
                reason,
                ticket: None,
                limits: Limits::default(),
                break_glass: false,
                door: Door::Chat,
            };
            Box::pin(self.submit(caller, ask)).await
        };
        match asked.await {
            Ok(submitted) => {
                let what = format!("{} on {}", submitted.request.role, submitted.request.resource);
                let link = format!("{}/requests/{}", self.outbox.portal(), submitted.request.id);
                let text = match submitted.grant {
                    Some(_) => format!("{what} is yours; connect when you are ready."),
                    None => format!("You asked for {what}. You are told here when it is decided."),
                };
                Said { text, link: Some((link, "Open in the portal")) }
            }
            Err(refusal) => self.no(&refusal, None),
        }
    }

    /// A refusal, in words; with where to go on if the portal helps.
    fn no(&self, refusal: &Refusal, request: Option<RequestId>) -> Said {
        let detail = refusal.detail.as_ref().map(|detail| format!(" {detail}.")).unwrap_or_default();
        let text = format!("{}{detail} {}", refusal.reason.sentence(), refusal.reason.hint().replace('`', ""));
        let portal = self.outbox.portal();
        let link = match (refusal.request.or(request), refusal.reason) {
            (_, Reason::NotFound) => None,
            (Some(request), _) => Some((format!("{portal}/requests/{request}"), "Open in the portal")),
            (None, Reason::MfaRequired | Reason::TicketRequired) => Some((portal.to_owned(), "Open the portal")),
            _ => None,
        };
        Said { text, link }
    }

    /// Somebody who has not said yet who they are is given a link to do so.
    async fn ask_who(&self, service: ChatService, person: &Person) -> Said {
        let (asker, issued) = ask_whose(service, &person.team, &person.user, &person.name, self.now());
        let verifier = issued.verifier.as_str().to_owned();
        let ChatAsker { service, team, account, name, expires_at } = asker;
        let id = key(service, &team, &account);
        if let Err(error) = self.store.put_chat_link(&id, &ChatLink { verifier, service, team, account, name, expires_at }).await {
            return self.no(&unavailable(error), None);
        }
        let link = format!("{}/chat?code={}", self.outbox.portal(), issued.secret.expose());
        let text = "The gate does not know who you are here. Open this link once, within a quarter of an hour, where you are signed in; then do this again.";
        Said { text: text.to_owned(), link: Some((link, "Say who I am")) }
    }

    async fn answer_in_slack(&self, slack: &Slack, person: &Person, back: &Back, said: &Said) {
        let link = said.link.as_ref().map(|(url, name)| (url.as_str(), *name));
        let (text, shown) = (blocks::escaped(&said.text), blocks::said(&said.text, link));
        let answered = match &back.url {
            Some(url) => slack.client.answer(url, &text, shown.clone()).await,
            None => Outcome::Never { why: "Slack gave no address to answer at".to_owned() },
        };
        if matches!(answered, Outcome::Taken(())) {
            return;
        }
        let whispered = async {
            let token = self.kept_secret(&slack.bot_token).await?;
            let channel = back.channel.as_deref().unwrap_or(&slack.settings.channel);
            Ok::<_, Refusal>(slack.client.whisper(&token, channel, &person.user, &text, shown).await)
        };
        match whispered.await {
            Ok(Outcome::Taken(())) => {}
            Ok(Outcome::Later { why, .. } | Outcome::Never { why }) => tracing::warn!(why, "somebody in Slack could not be answered"),
            Err(refusal) => tracing::warn!(%refusal, "somebody in Slack could not be answered"),
        }
    }

    /// Who an account at a chat service is here, if they said so.
    async fn caller_in_chat(&self, service: ChatService, person: &Person) -> Result<Option<Caller>, Refusal> {
        let account = self.store.chat_account(&key(service, &person.team, &person.user)).await.map_err(unavailable)?;
        let Some(account) = account.filter(access::chat::ChatAccountRow::counts) else { return Ok(None) };
        let known = self.known(account.person).await?;
        let verified = verify_chat_account(&account, known.account(), self.now());
        let verified = match verified {
            Ok(who) => self.refuse_if_person_locked(who.id()).await.map(|()| who),
            refused => refused,
        };
        match verified {
            Ok(who) => Ok(Some(Caller { who, door: Door::Chat })),
            Err(refusal) => {
                let actor = Actor::Principal(account.person);
                let event = Event::SigninRefused { door: Door::Chat, reason: refusal.reason };
                self.commit(Change::new(EntryDraft::new(self.now(), actor, Door::Chat, event))).await.map_err(refused)?;
                Err(refusal)
            }
        }
    }
}

/// `for TIME` at the beginning of a text, and what follows.
fn length_in(text: &str) -> Result<(Asked, &str), Refusal> {
    let text = text.trim();
    let Some(rest) = text.strip_prefix("for ") else { return Ok((Asked::Default, text)) };
    let rest = rest.trim_start();
    let (time, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match time.parse() {
        Ok(span) => Ok((Asked::For(span), reason.trim())),
        // `for the migration` is a reason.
        Err(_) if !time.starts_with(|c: char| c.is_ascii_digit()) => Ok((Asked::Default, text)),
        Err(error) => Err(Refusal::because(Reason::Invalid, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use access::time::Span;

    use super::*;

    #[test]
    fn a_command_may_say_for_how_long() {
        assert_eq!(length_in(" for 1h  slow query").unwrap(), (Asked::For(Span::hours(1)), "slow query"));
        assert_eq!(length_in("slow query").unwrap(), (Asked::Default, "slow query"));
        assert_eq!(length_in("for the migration").unwrap(), (Asked::Default, "for the migration"));
        assert_eq!(length_in("").unwrap(), (Asked::Default, ""));
        assert!(length_in("for 1x slow").is_err());
    }
}
