//! `tidegate review`: looking back at emergencies, at sessions that were drawn, and at rights without an end.

use access::ids::ReviewId;
use access::names::TierName;
use access::review::{ReviewKind, ReviewOutcome, ReviewState};
use access::time::Span;
use api::types::reviews::{Campaign, CompleteReview, NewCampaign, Review, ReviewsQuery};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::{Field, Tone};

use super::exit::Exit;
use super::{Context, Shown, note_more};

/// What to do with reviews.
#[derive(Debug, Subcommand)]
pub enum ReviewCommand {
    /// List the reviews you owe or may see
    List(List),
    /// Answer a review
    Complete {
        /// Which
        #[arg(value_name = "REVIEW")]
        id: ReviewId,
        /// What was found: justified, not_justified; of a right without an end: kept, removed
        #[arg(value_name = "OUTCOME")]
        outcome: ReviewOutcome,
        /// What follows from it; needed if it was not justified
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Something that is to be done now; any number
        #[arg(long = "follow-up", value_name = "TEXT")]
        follow_ups: Vec<String>,
    },
    /// Ask the owners of rights without an end whether they are needed still; what nobody keeps in time is taken away
    Campaign {
        /// How long they have, as `14d`
        #[arg(long, value_name = "TIME")]
        within: Span,
        /// Only rights in this tier
        #[arg(long, value_name = "TIER")]
        tier: Option<TierName>,
    },
}

/// Which reviews.
#[derive(Debug, Args)]
pub struct List {
    /// Only in this state: open, done
    #[arg(long, value_name = "STATE")]
    state: Option<ReviewState>,
    /// Only of this kind: break_glass, sampled, standing
    #[arg(long, value_name = "KIND")]
    kind: Option<ReviewKind>,
    #[command(flatten)]
    shown: Shown,
}

impl ReviewCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let query = ReviewsQuery { state: list.state, kind: list.kind, ..ReviewsQuery::default() };
                let reply = client.list::<Review>("/reviews", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|review| {
                        let state = match (review.overdue, review.outcome) {
                            (true, _) => Field::state("overdue"),
                            (false, Some(outcome)) => Field::from(outcome),
                            (false, None) => Field::state(review.state),
                        };
                        let about = review.session.map_or_else(|| review.grant.to_string(), |session| session.to_string());
                        let owed = review.escalated_to.as_ref().map_or_else(String::new, |group| format!(", {group}"));
                        let to_do = review.follow_ups.iter().map(|one| format!("to do: {one}"));
                        let said: Vec<String> = review.note.iter().cloned().chain(to_do).collect();
                        vec![
                            review.id.into(),
                            state,
                            review.kind.into(),
                            review.person.to_string().into(),
                            about.into(),
                            format!("{}{owed}", review.reviewers).into(),
                            output.at(review.due_at).into(),
                            said.join("; ").into(),
                        ]
                    });
                    output.table(&["review", "state", "kind", "about", "of", "reviewers", "due", "note"], rows.collect(), "No reviews.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Campaign { within, tier } => {
                let reply: Reply<Campaign> = client.post("/reviews/campaigns", &NewCampaign { within, tier }).await?;
                context.print(&reply, |output, campaign| {
                    let rows = campaign.opened.iter().map(|review| {
                        let named = [review.resource.as_ref().map(ToString::to_string), review.role.as_ref().map(ToString::to_string)];
                        let right = named.into_iter().flatten().collect::<Vec<_>>().join("+");
                        let (who, whose) = (review.person.to_string(), review.reviewers.to_string());
                        vec![review.id.into(), who.into(), right.into(), whose.into(), output.at(review.due_at).into()]
                    });
                    output.table(
                        &["review", "who", "right", "owner", "due"],
                        rows.collect(),
                        "No right without an end is to be asked about.",
                    )?;
                    if campaign.open_already > 0 {
                        crate::output::note(format!("{} have been asked about already.", campaign.open_already));
                    }
                    Ok(())
                })
            }
            Self::Complete { id, outcome, note, follow_ups } => {
                let answer = CompleteReview { outcome, note, follow_ups };
                let reply: Reply<Review> = client.post(&format!("/reviews/{id}/complete"), &answer).await?;
                context.print(&reply, |output, review| output.toned(format!("{} is answered: {outcome}.", review.id), Tone::Good))
            }
        }
    }
}
