//! How requests and the votes on them change.

use jiff::Timestamp;

use crate::approval::{StageIndexes, VoteRow};
use crate::event::{Entry, Event as E};
use crate::ids::RequestId;
use crate::request::{RequestRow, RequestState};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    let network = || entry.text("from").and_then(|address| address.parse().ok());
    match entry.event.clone() {
        E::RequestSubmitted {
            request,
            person,
            resource,
            role,
            asked,
            limits,
            break_glass,
            extends,
            mfa,
            claims,
            terms,
            bundle,
            policy,
            expires_at,
            risk,
        } => add(
            tables,
            RequestRow {
                id: request,
                person,
                resource,
                role,
                asked,
                reason: text("reason"),
                ticket: text("ticket"),
                limits,
                break_glass,
                extends,
                door: entry.door,
                network: network(),
                mfa,
                claims,
                terms,
                bundle,
                policy,
                risk,
                risk_says: text("risk_says"),
                state: RequestState::Pending,
                revision: 1,
                submitted_at: at,
                expires_at,
                decided_at: None,
                version: 1,
            },
        ),
        E::RequestEdited { request, asked, limits, mfa, terms, bundle, policy, expires_at, risk } => {
            let row: &mut RequestRow = get(tables, request)?;
            if row.state != RequestState::Pending {
                return Err(FoldError::Illegal {
                    table: RequestRow::TABLE,
                    key: request.to_string(),
                    from: row.state.code(),
                    to: "edited",
                });
            }
            row.asked = asked;
            row.reason = text("reason");
            row.ticket = text("ticket");
            row.limits = limits;
            row.network = network();
            row.mfa = mfa;
            row.terms = terms;
            row.bundle = bundle;
            row.policy = policy;
            row.risk = risk;
            row.risk_says = text("risk_says");
            row.expires_at = expires_at;
            row.revision += 1;
            row.version += 1;
            Ok(())
        }
        E::RequestVoted { request, vote, revision, voter, decision, stages, signature, invited_by_asker: _ } => {
            let row: &mut RequestRow = get(tables, request)?;
            if row.state != RequestState::Pending {
                return Err(FoldError::Illegal { table: RequestRow::TABLE, key: request.to_string(), from: row.state.code(), to: "voted" });
            }
            row.version += 1;
            let (stages, signature) = (StageIndexes(stages), signature.map(|signature| *signature));
            add(tables, VoteRow { id: vote, request, revision, voter, decision, stages, signature, note: text("note"), at })
        }
        E::RequestApproved { request, .. } => request_state(tables, request, RequestState::Approved, at),
        E::RequestDenied { request, .. } => request_state(tables, request, RequestState::Denied, at),
        E::RequestCancelled { request } => request_state(tables, request, RequestState::Cancelled, at),
        E::RequestExpired { request } => request_state(tables, request, RequestState::Expired, at),
        other => no_row(&other),
    }
}

fn request_state(tables: &mut Tables, request: RequestId, to: RequestState, at: Timestamp) -> Result<(), FoldError> {
    let row: &mut RequestRow = get(tables, request)?;
    step(RequestRow::TABLE, &request, row.state.code(), to.code())?;
    row.state = to;
    row.decided_at = Some(at);
    row.version += 1;
    Ok(())
}
