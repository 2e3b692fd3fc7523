//! `/reviews`: looking back at emergencies, at sessions that were drawn, and at rights without an end.

use access::approval::Seat;
use access::ids::ReviewId;
use access::review::ReviewRow;
use axum::Json;
use axum::extract::State;
use policy::Noun;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::review::Finding;

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::Answer;
use crate::shown::Shown;
use crate::sight::Sight;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::reviews::{Campaign, CompleteReview, NewCampaign, Review, ReviewsQuery};
use crate::types::schema;
use crate::version::IfMatch;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(campaign)).routes(routes!(complete))
}

/// Lists reviews, newest first: those about the caller, those they owe, and to who administers reviews, all.
#[utoipa::path(get, path = "/reviews", tag = "reviews", params(ReviewsQuery), responses((status = 200, body = Page<Review>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<ReviewsQuery>) -> Answer<Json<Page<Review>>> {
    let gate = &state.gate;
    let sight = Sight::of(gate, &caller).await?;
    let all = sight.administers(Noun::Review) || sight.audits();
    let mut listing = Listing::new::<ReviewId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().reviews(query.state, query.kind, &page), |row| (all || concerns(&sight, &row)).then_some(row));
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(show.review(row).await?);
    }
    Ok(page(items, next))
}

fn concerns(sight: &Sight, row: &ReviewRow) -> bool {
    let mut owed_by = [Some(&row.reviewers), row.escalated_to.as_ref()].into_iter().flatten();
    row.person == sight.situation.id || owed_by.any(|group| sight.seated([&Seat::Group(group.clone())]))
}

/// Asks the owners of rights without an end whether they are needed still. What nobody says a word for in time is taken away.
#[utoipa::path(post, path = "/reviews/campaigns", tag = "reviews", request_body = NewCampaign, responses((status = 200, body = Campaign)))]
async fn campaign(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(wanted): Body<NewCampaign>) -> Answer<Json<Campaign>> {
    let started = state.gate.start_campaign(&caller, wanted.within, wanted.tier).await?;
    let mut show = Shown::new(&state.gate);
    let mut opened = Vec::with_capacity(started.opened.len());
    for row in started.opened {
        opened.push(show.review(row).await?);
    }
    Ok(Json(Campaign { opened, open_already: started.open_already }))
}

/// Answers a review.
#[utoipa::path(post, path = "/reviews/{id}/complete", tag = "reviews", params(("id" = schema::ReviewId, Path), schema::IfMatch), request_body = CompleteReview, responses((status = 200, body = Review)))]
async fn complete(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<ReviewId>,
    seen: IfMatch,
    Body(answer): Body<CompleteReview>,
) -> Answer<Json<Review>> {
    let CompleteReview { outcome, note, follow_ups } = answer;
    let row = state.gate.complete_review(&caller, seen.of(id), Finding { outcome, note, follow_ups }).await?;
    Ok(Json(Shown::new(&state.gate).review(row).await?))
}
