//! The clock ran ahead once, and the log with it; now the clock is right, and nothing opens until the log's time has come.
//!
//! *Takes* the proof that root, or the gate's own user, asks at the machine itself. *Proves* that nobody has anything for longer by it:
//! what is open and has an end is ended first, and what was made in the time that never was no longer signs anybody in. *Hands to* the
//! gate the wall clock as its time, and to the log an entry that nobody overlooks.

use access::event::{Actor, EntryDraft, Event};
use access::grant::{GrantRow, GrantState};
use access::reason::{Reason, Refusal};
use access::request::{Door, RequestRow};
use access::session::EndReason;
use identity::local::LocalPeer;
use jiff::Timestamp;
use store::{Change, TokenRow};

use crate::gate::{Gate, refused, unavailable};
use crate::revoke::confirm;

/// What the log says of each grant that is ended by it.
const WHY: &str = "the gate's clock had run ahead and was set right: ask again";
/// How often it is looked whether something came to be open meanwhile.
const ROUNDS: usize = 10;

/// What accepting the clock did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedClock {
    /// The time from now on.
    pub wall: Timestamp,
    /// The time that the log had reached.
    pub mark: Timestamp,
    /// How many sessions were cut.
    pub sessions: usize,
    /// How many grants were ended.
    pub grants: usize,
    /// How many requests were.
    pub requests: usize,
}

impl Gate {
    /// Takes the wall clock for right though the log is ahead of it.
    ///
    /// # Errors
    /// If the log is not ahead, or the store can't be written; then nothing opens as before, and it can be asked for again.
    pub async fn accept_clock(&self, peer: &LocalPeer) -> Result<AcceptedClock, Refusal> {
        let nothing = || Refusal::because(Reason::Invalid, "the clock is not behind the log, so there is nothing to accept");
        let (wall, mark) = self.clock.behind().ok_or_else(nothing)?;
        let cut = confirm(self.live.cut(EndReason::Revoked, |_| true)).await;
        // INVARIANT: no end is ever reached later because of this. Whoever sets the clock back for it ends everything by it.
        let mut grants = self.end_grants(has_an_end).await?;
        let mut requests = self.end_requests(|_| true).await?;

        // INVARIANT: from here until the clock is back, nobody keeps the time that was.
        let keeping = self.keeping_time.write().await;
        let wall = self.clock.behind().map_or(wall, |(wall, _)| wall);
        let entered = |event| EntryDraft::new(wall, Actor::Gate, Door::Socket, event);
        let mut change = Change::new(entered(Event::ClockAccepted { wall, mark }).text("by", Some(peer.to_string())));
        for token in self.store.tokens_made_after(wall).await.map_err(unavailable)? {
            let row = TokenRow { revoked_at: Some(wall), ..token };
            let event = Event::TokenRevoked { token: row.id, row_digest: self.row_digest(&store::digestible(&row))? };
            change = change.and(entered(event)).revoke_token(&row);
        }
        for key in self.store.certificates_made_after(wall).await.map_err(unavailable)? {
            change = change.and(entered(Event::KeyRemoved { key: key.id }));
        }
        self.commit(change.turn_back_time(wall)).await.map_err(refused)?;
        self.clock.turn_back(wall);
        drop(keeping);
        self.on_call.forget();
        tracing::error!(%wall, %mark, by = %peer, "the clock was accepted at the machine itself; the log had run ahead of it");

        // What came to be while the first were ended.
        grants += self.end_grants(|row| has_an_end(row) && row.created_at > wall).await?;
        requests += self.end_requests(|row| row.submitted_at > wall).await?;
        Ok(AcceptedClock { wall, mark, sessions: cut.confirmed.len() + cut.unconfirmed.len(), grants, requests })
    }

    async fn end_grants(&self, which: impl Fn(&GrantRow) -> bool) -> Result<usize, Refusal> {
        let mut ended = 0;
        for _ in 0..ROUNDS {
            let open: Vec<GrantRow> = self.store.open_grants().await.map_err(unavailable)?.into_iter().filter(&which).collect();
            if open.is_empty() {
                return Ok(ended);
            }
            for row in open {
                let event = Event::GrantRevoked { grant: row.id, still_open: Vec::new() };
                // It may have ended by itself; the next look says.
                let change = Change::new(self.own_draft(event).text("reason", Some(WHY.to_owned())));
                ended += usize::from(self.commit(change).await.is_ok());
            }
        }
        Err(unfinished())
    }

    async fn end_requests(&self, which: impl Fn(&RequestRow) -> bool) -> Result<usize, Refusal> {
        let mut ended = 0;
        for _ in 0..ROUNDS {
            let open: Vec<RequestRow> = self.store.pending_requests().await.map_err(unavailable)?.into_iter().filter(&which).collect();
            if open.is_empty() {
                return Ok(ended);
            }
            for row in open {
                let change = Change::new(self.own_draft(Event::RequestExpired { request: row.id }));
                ended += usize::from(self.commit(change).await.is_ok());
            }
        }
        Err(unfinished())
    }
}

/// Whether time ends it, or starts its clock no more.
fn has_an_end(row: &GrantRow) -> bool {
    row.state == GrantState::Ready || row.ends_at.is_some()
}

fn unfinished() -> Refusal {
    Refusal::because(Reason::StoreUnavailable, "not everything that is open could be ended; try again")
}
