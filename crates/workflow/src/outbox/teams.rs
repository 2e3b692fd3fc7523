//! A request as it is shown in Microsoft Teams.

use access::ids::RequestId;
use access::reason::Refusal;
use notify::outcome::Outcome;
use notify::teams::card;
use notify::teams::client::{Place, TeamsClient, TeamsSettings};
use store::OutboxRow;

use super::{KeptSecret, Outbox};
use crate::gate::{Gate, unavailable};

/// What Teams is called as a destination.
pub(super) const TEAMS: &str = "teams";

/// A tenant of Microsoft Teams.
#[derive(Debug, Clone)]
pub struct Teams {
    /// What the configuration says of it.
    pub settings: TeamsSettings,
    /// What asks it.
    pub client: std::sync::Arc<TeamsClient>,
    /// By what the gate is the bot there.
    pub app_password: KeptSecret,
}

/// Under what it is kept where a request's card stands.
pub(crate) fn subject(request: RequestId) -> String {
    format!("teams.{request}")
}

impl Outbox {
    pub(crate) fn teams(&self) -> Option<&Teams> {
        self.destinations.get().and_then(|all| all.teams.as_ref())
    }
}

impl Gate {
    /// Posts a request's card, or changes the one that is there.
    pub(super) async fn show_in_teams(&self, teams: &Teams, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let Some(request) = self.request_told_of(row).await? else {
            return Ok(Outcome::Never { why: "there is no such request".to_owned() });
        };
        let password = self.kept_secret(&teams.app_password).await?;
        let shown = self.card(&request).await?;
        let (card, line, now) = (card::card(&shown, None), shown.plain_line(), self.now());
        let subject = subject(request.id);
        let place = self.store.posted(&subject).await.map_err(unavailable)?.and_then(|text| text.parse::<Place>().ok());
        if let Some(place) = place {
            match teams.client.update(&password, &place, &card, &line, now).await {
                // Somebody deleted it: it is posted anew.
                Outcome::Taken(false) => {}
                other => return Ok(other.map(drop)),
            }
        }
        match teams.client.post(&password, &card, &line, now).await {
            Outcome::Taken(place) => {
                self.store.put_posted(&subject, &place.to_string(), now).await.map_err(unavailable)?;
                Ok(Outcome::Taken(()))
            }
            other => Ok(other.map(drop)),
        }
    }
}
