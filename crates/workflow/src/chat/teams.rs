//! Deciding in Microsoft Teams.
//!
//! *Takes* a call that claims to be the Bot Connector's. *Proves* by its token that it is, for this bot, from this tenant, soon and for
//! the first time; by the account that a person linked in the portal, whose it is. *Hands to* `vote` that person.

use std::net::IpAddr;

use access::approval::Decision;
use access::chat::ChatService;
use access::event::{Actor, EntryDraft, Event};
use access::ids::RequestId;
use access::reason::{Reason, Refusal};
use access::request::Door;
use notify::slack::blocks::About;
use notify::slack::incoming::Person;
use notify::teams::card;
use notify::teams::client::KeysError;
use notify::teams::incoming::{self, Act, CHANNEL, Incoming};
use notify::teams::token::{Wanted, bearer, soon, verify};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::Change;

use super::Said;
use crate::gate::{Gate, unavailable};
use crate::outbox::Teams;

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
        let (Some(person), Act::Decide { about, deny, note }) = (came.person, came.act) else { return json!({}) };
        let person = Person { team: person.tenant, user: person.object, name: person.name };
        let said = match self.caller_in_chat(ChatService::Teams, &person).await {
            Err(refusal) => self.no(&refusal, None),
            Ok(None) => self.ask_who(ChatService::Teams, &person).await,
            Ok(Some(_)) if deny && note.is_none() => Said { text: "A no needs its reason: write it in the note.".to_owned(), link: None },
            Ok(Some(caller)) => {
                let decision = if deny { Decision::Deny } else { Decision::Approve };
                match Box::pin(self.decide_in_chat(&caller, &about, decision, note)).await {
                    Err(refusal) => self.no(&refusal, about.request.parse().ok()),
                    Ok(voted) => match self.card(&voted.request).await {
                        Ok(shown) if shown.outcome.is_some() => return incoming::with_card(&card::card(&shown, None)),
                        _ => Said { text: "Your approval counts; others are asked too.".to_owned(), link: None },
                    },
                }
            }
        };
        self.shown_with(&about, &said).await
    }

    /// The card that somebody acted on, as it stands now, with what is to be said to them alone.
    async fn shown_with(&self, about: &About, said: &Said) -> Value {
        let link = said.link.as_ref().map(|(url, name)| (url.as_str(), *name));
        let request = match about.request.parse::<RequestId>() {
            Ok(request) => self.store.request(request).await.ok().flatten(),
            Err(_) => None,
        };
        let shown = match &request {
            // What stands in the channel is what they see anyway; a newer revision has a message of its own.
            Some(row) if row.revision == about.revision => self.card(row).await.ok(),
            _ => None,
        };
        incoming::with_card(&match shown {
            Some(shown) => card::card(&shown, Some((&said.text, link))),
            None => card::said(&said.text, link),
        })
    }
}
