//! `tidegate review`: looking back at emergencies.

use access::ids::ReviewId;
use access::review::{ReviewOutcome, ReviewState};
use api::types::reviews::{CompleteReview, Review, ReviewsQuery};
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
        /// What was found: justified, not_justified
        #[arg(value_name = "OUTCOME")]
        outcome: ReviewOutcome,
        /// What follows from it; needed if it was not justified
        #[arg(long, value_name = "TEXT", required_if_eq("outcome", "not_justified"))]
        note: Option<String>,
    },
}

/// Which reviews.
#[derive(Debug, Args)]
pub struct List {
    /// Only in this state: open, done
    #[arg(long, value_name = "STATE")]
    state: Option<ReviewState>,
    #[command(flatten)]
    shown: Shown,
}

impl ReviewCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let query = ReviewsQuery { state: list.state, ..ReviewsQuery::default() };
                let reply = client.list::<Review>("/reviews", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|review| {
                        let state = match (review.overdue, review.outcome) {
                            (true, _) => Field::state("overdue"),
                            (false, Some(outcome)) => Field::from(outcome),
                            (false, None) => Field::state(review.state),
                        };
                        vec![
                            review.id.into(),
                            state,
                            review.person.to_string().into(),
                            review.grant.into(),
                            review.reviewers.to_string().into(),
                            output.at(review.due_at).into(),
                            review.note.clone().unwrap_or_default().into(),
                        ]
                    });
                    output.table(&["review", "state", "about", "grant", "reviewers", "due", "note"], rows.collect(), "No reviews.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Complete { id, outcome, note } => {
                let reply: Reply<Review> = client.post(&format!("/reviews/{id}/complete"), &CompleteReview { outcome, note }).await?;
                context.print(&reply, |output, review| output.toned(format!("{} is answered: {outcome}.", review.id), Tone::Good))
            }
        }
    }
}
