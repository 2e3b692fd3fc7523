//! `/reviews`: looking back at emergencies.

use access::approval::Seat;
use access::ids::ReviewId;
use access::review::ReviewRow;
use axum::Json;
use axum::extract::State;
use policy::Noun;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::Answer;
use crate::shown::Shown;
use crate::sight::Sight;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::reviews::{CompleteReview, Review, ReviewsQuery};
use crate::types::schema;
use crate::version::IfMatch;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(complete))
}

/// Lists reviews, newest first: those about the caller, those they owe, and to who administers reviews, all.
#[utoipa::path(get, path = "/reviews", tag = "reviews", params(ReviewsQuery), responses((status = 200, body = Page<Review>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<ReviewsQuery>) -> Answer<Json<Page<Review>>> {
    let gate = &state.gate;
    let sight = Sight::of(gate, &caller).await?;
    let all = sight.administers(Noun::Review) || sight.audits();
    let mut listing = Listing::new::<ReviewId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().reviews(query.state, &page), |row| (all || concerns(&sight, &row)).then_some(row));
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(show.review(row).await?);
    }
    Ok(page(items, next))
}

fn concerns(sight: &Sight, row: &ReviewRow) -> bool {
    row.person == sight.situation.id || sight.seated([&Seat::Group(row.reviewers.clone())])
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
    let row = state.gate.complete_review(&caller, seen.of(id), answer.outcome, answer.note).await?;
    Ok(Json(Shown::new(&state.gate).review(row).await?))
}
