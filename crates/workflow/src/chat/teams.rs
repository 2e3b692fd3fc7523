//! Asking and deciding in Microsoft Teams.
//!
//! *Takes* a call that claims to be the Bot Connector's. *Proves* by its token that it is, for this bot, from this tenant, soon and for
//! the first time; by the account that a person linked in the portal, whose it is. *Hands to* `submit` and `vote` that person.

use std::net::IpAddr;

use access::approval::Decision;
use access::chat::ChatService;
use access::event::{Actor, EntryDraft, Event};
use access::ids::RequestId;
use access::reason::{Reason, Refusal};
use access::request::{Door, RequestRow};
use notify::outcome::Outcome;
use notify::slack::blocks::About;
use notify::slack::incoming::Person;
use notify::teams::card;
use notify::teams::client::{KeysError, Place};
use notify::teams::incoming::{self, Act, CHANNEL, Incoming};
use notify::teams::token::{Wanted, bearer, soon, verify};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::Change;

use super::Said;
use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::outbox::{Teams, subject};

/// A call as it came.
#[derive(Debug, Clone, Copy)]
pub struct FromTeams<'a> {
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// The body, to the byte.
    pub body: &'a [u8],
    /// From where.
    pub from: IpAddr,
}

/// What a client of Teams is answered that would wait too long for what it asked for.
#[must_use]
pub fn taking_long() -> Value {
    incoming::with_message("It takes longer than Teams waits; the card changes once it is done.")
}

impl Gate {
    /// Whether a call carries a token of the Bot Connector's for this bot; leaves no entry, and says nothing of whether it came before.
    pub async fn is_from_teams(&self, came: FromTeams<'_>) -> bool {
        let Some(teams) = self.outbox.teams() else { return false };
        self.verified_envelope(teams, came).await.is_ok()
    }

    /// Takes a call of the Bot Connector's.
    ///
    /// # Errors
    /// If it is not the Connector's, too late, came before, comes from another tenant, or says nothing that the gate knows. That is entered.
    pub async fn take_from_teams(&self, came: FromTeams<'_>) -> Result<Incoming, Refusal> {
        let teams = self.outbox.teams().ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let taken = async {
            let envelope = self.verified_envelope(teams, came).await?;
            let wrong = |why: String| Refusal::because(Reason::NotSignedIn, why);
            let until = soon(envelope.timestamp.as_deref(), self.now()).map_err(|error| wrong(error.to_string()))?;
            if envelope.id.is_empty() {
                return Err(Refusal::because(Reason::Invalid, "it has no id"));
            }
            // The Connector sends what it got no answer to again, under the same id.
            let known = hex::encode(Sha256::digest(format!("{}\0{}", envelope.conversation.id, envelope.id)));
            if !self.store.take_once(&format!("teams.{known}"), until).await.map_err(unavailable)? {
                return Err(wrong("it came before".to_owned()));
            }
            let read = incoming::activity(came.body).map_err(|error| Refusal::because(Reason::Invalid, error.to_string()))?;
            if read.person.as_ref().is_some_and(|person| person.tenant != teams.settings.tenant) {
                return Err(Refusal::because(Reason::NotAllowed, "it comes from another tenant than the gate's"));
            }
            Ok(read)
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

    async fn verified_envelope(&self, teams: &Teams, came: FromTeams<'_>) -> Result<incoming::Envelope, Refusal> {
        let wrong = |why: String| Refusal::because(Reason::NotSignedIn, why);
        // INVARIANT: whoever has no good token is refused for that, whatever they sent.
        let token = bearer(came.authorization).map_err(|error| wrong(error.to_string()))?;
        let now = self.now();
        let keys = teams.client.keys_for(token, now).await.map_err(|error| match error {
            KeysError::Token(error) => wrong(error.to_string()),
            // INVARIANT: what cannot be verified is not taken; Teams says so to who pressed the button, and they press it again.
            KeysError::Unread(why) => {
                tracing::warn!(why, "a call of Teams could not be verified");
                Refusal::because(Reason::ChatUnreachable, why)
            }
        })?;
        let envelope = incoming::envelope(came.body)
            .map_err(|error| wrong(format!("its token cannot be held against what it says, which cannot be read: {error}")))?;
        let wanted = Wanted {
            app: &teams.settings.app,
            issuer: &teams.settings.issuer,
            service: &envelope.service_url,
            channel: &envelope.channel_id,
        };
        verify(token, &keys, &wanted, now).map_err(|error| wrong(error.to_string()))?;
        if envelope.channel_id != CHANNEL {
            return Err(Refusal::because(Reason::NotAllowed, "it comes through another channel than Teams"));
        }
        Ok(envelope)
    }

    /// Does what somebody asked for in Teams: what their client is answered.
    pub async fn do_in_teams(&self, came: Incoming) -> Value {
        let Some(person) = came.person else { return json!({}) };
        let person = Person { team: person.tenant, user: person.object, name: person.name };
        let caller = self.caller_in_chat(ChatService::Teams, &person).await;
        let (about, deny, note) = match came.act {
            Act::Decide { about, deny, note } => (about, deny, note),
            Act::Ask(text) => {
                let said = match &caller {
                    Err(refusal) => self.no(refusal, None),
                    Ok(None) => self.ask_who(ChatService::Teams, &person).await,
                    Ok(Some(caller)) => self.ask_in_chat(caller, incoming::ASK, &text).await,
                };
                self.answer_in_teams(&person, &said).await;
                return json!({});
            }
            Act::Nothing => return json!({}),
        };
        let said = match &caller {
            Err(refusal) => self.no(refusal, None),
            Ok(None) => self.ask_who(ChatService::Teams, &person).await,
            Ok(Some(_)) if deny && note.is_none() => Said { text: "A no needs its reason: write it in the note.".to_owned(), link: None },
            Ok(Some(caller)) => {
                let decision = if deny { Decision::Deny } else { Decision::Approve };
                match Box::pin(self.decide_in_chat(caller, &about, decision, note)).await {
                    Err(refusal) => self.no(&refusal, about.request.parse().ok()),
                    Ok(voted) => match self.card(&voted.request).await {
                        Ok(shown) if shown.outcome.is_some() => return incoming::with_card(&card::card(&shown, None)),
                        _ => Said { text: "Your approval counts; others are asked too.".to_owned(), link: None },
                    },
                }
            }
        };
        self.shown_with(&about, &said, caller.ok().flatten().as_ref(), &came.conversation).await
    }

    /// Tells somebody what came of what they asked, alone: what others in a channel see says neither that nor who they may say they are.
    async fn answer_in_teams(&self, person: &Person, said: &Said) {
        let Some(teams) = self.outbox.teams() else { return };
        let link = said.link.as_ref().map(|(url, name)| (url.as_str(), *name));
        let told = async {
            let password = self.kept_secret(&teams.app_password).await?;
            Ok::<_, Refusal>(teams.client.tell(&password, &person.user, &card::said(&said.text, link), &said.text, self.now()).await)
        };
        match told.await {
            Ok(Outcome::Taken(())) => {}
            Ok(Outcome::Later { why, .. } | Outcome::Never { why }) => tracing::warn!(why, "somebody in Teams could not be answered"),
            Err(refusal) => tracing::warn!(%refusal, "somebody in Teams could not be answered"),
        }
    }

    /// The card that somebody acted on, as it stands now, with what is to be said to them alone.
    async fn shown_with(&self, about: &About, said: &Said, caller: Option<&Caller>, conversation: &str) -> Value {
        let link = said.link.as_ref().map(|(url, name)| (url.as_str(), *name));
        let request = match about.request.parse::<RequestId>() {
            Ok(request) => self.store.request(request).await.ok().flatten(),
            Err(_) => None,
        };
        let shown = match &request {
            // A newer revision has a message of its own.
            Some(row) if row.revision == about.revision && self.may_be_shown(row, caller, conversation).await => self.card(row).await.ok(),
            _ => None,
        };
        incoming::with_card(&match shown {
            Some(shown) => card::card(&shown, Some((&said.text, link))),
            None => card::said(&said.text, link),
        })
    }

    /// Whether somebody may read a request: because it stands in the conversation in which they act, where all see it, or by their own right.
    /// What a call says that it is about anybody may write into it.
    async fn may_be_shown(&self, row: &RequestRow, caller: Option<&Caller>, conversation: &str) -> bool {
        let posted = self.store.posted(&subject(row.id)).await.ok().flatten().and_then(|place| place.parse::<Place>().ok());
        if posted.is_some_and(|place| place.conversation == conversation) {
            return true;
        }
        match caller {
            Some(caller) => self.visible_request(caller, Some(row.clone())).await.is_ok(),
            None => false,
        }
    }
}
