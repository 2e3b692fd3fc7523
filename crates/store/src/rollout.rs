//! How far the gate has been taken up, in counts of what is kept.

use access::row::Column;
use jiff::Timestamp;

use crate::error::StoreError;
use crate::store::Store;

/// Counts that say how far the gate has been taken up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolloutCounts {
    /// People who may sign in.
    pub people: u64,
    /// Of these, whom an identity provider or a directory knows.
    pub people_known_outside: u64,
    /// Of these, who have a passkey.
    pub people_with_passkey: u64,
    /// Machines that may sign in.
    pub workloads: u64,
    /// Of these, who have a token that a person was given for them and that has not run out.
    pub workloads_with_stored_token: u64,
    /// Sessions that were opened since.
    pub sessions: u64,
    /// Of these, on grants with an end that a path of the policy gave.
    pub sessions_time_bound: u64,
    /// Of these sessions, those that a tier let through that is only observed.
    pub sessions_observed: u64,
    /// Sessions of machines that were opened since.
    pub sessions_of_workloads: u64,
    /// Of these, of jobs that signed in by the token of their CI system.
    pub sessions_of_jobs: u64,
    /// Open grants without an end, or let through by a tier that is only observed.
    pub standing: u64,
    /// Ways by secrets of CI systems that their lists still name.
    pub ci_secrets: u64,
    /// Of these, those that are inside, closed or accepted.
    pub ci_secrets_answered: u64,
}

const PEOPLE: &str = "SELECT count(*), \
     sum(CASE WHEN EXISTS (SELECT 1 FROM identities i WHERE i.person = p.id AND i.unlinked_at IS NULL) OR \
         EXISTS (SELECT 1 FROM directory_users d WHERE d.id = p.id AND d.removed_at IS NULL) THEN 1 ELSE 0 END), \
     sum(CASE WHEN EXISTS (SELECT 1 FROM passkeys k WHERE k.person = p.id AND k.removed_at IS NULL) THEN 1 ELSE 0 END) \
     FROM people p WHERE p.state = 'active' AND p.owner IS NULL";

const WORKLOADS: &str = "SELECT count(*), \
     sum(CASE WHEN EXISTS (SELECT 1 FROM tokens t WHERE t.person = p.id AND t.claims IS NULL AND t.revoked_at IS NULL AND t.expires_at > $1) \
         THEN 1 ELSE 0 END) FROM people p WHERE p.state = 'active' AND p.owner IS NOT NULL";

const SESSIONS: &str = "SELECT count(*), \
     sum(CASE WHEN g.length IS NOT NULL AND g.terms NOT LIKE '%\"observed_until\":\"%' THEN 1 ELSE 0 END), \
     sum(CASE WHEN g.terms LIKE '%\"observed_until\":\"%' THEN 1 ELSE 0 END), \
     sum(CASE WHEN s.person LIKE 'wkl%' THEN 1 ELSE 0 END), \
     sum(CASE WHEN s.person LIKE 'wkl%' AND g.frozen LIKE '%\"claims\":{%' THEN 1 ELSE 0 END) \
     FROM sessions s JOIN grants g ON g.id = s.\"grant\" WHERE s.opened_at >= $1";

const STANDING: &str = "SELECT count(*) FROM grants WHERE state <> 'ended' AND (length IS NULL OR terms LIKE '%\"observed_until\":\"%')";

const CI: &str = "SELECT count(*), sum(CASE WHEN p.state = 'open' THEN 0 ELSE 1 END) \
     FROM inventory_paths p JOIN inventory_sources s ON s.id = p.source WHERE s.kind = 'ci-secrets' AND p.state <> 'gone'";

impl Store {
    /// Counts how far the gate has been taken up; sessions since `since`.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn rollout_counts(&self, since: Timestamp, now: Timestamp) -> Result<RolloutCounts, StoreError> {
        let at = |time: Timestamp| vec![Column::Int(time.as_microsecond())];
        let [people, people_known_outside, people_with_passkey] = self.counts(PEOPLE, &[]).await?;
        let [workloads, workloads_with_stored_token] = self.counts(WORKLOADS, &at(now)).await?;
        let [sessions, sessions_time_bound, sessions_observed, sessions_of_workloads, sessions_of_jobs] =
            self.counts(SESSIONS, &at(since)).await?;
        let [standing] = self.counts(STANDING, &[]).await?;
        let [ci_secrets, ci_secrets_answered] = self.counts(CI, &[]).await?;
        Ok(RolloutCounts {
            people,
            people_known_outside,
            people_with_passkey,
            workloads,
            workloads_with_stored_token,
            sessions,
            sessions_time_bound,
            sessions_observed,
            sessions_of_workloads,
            sessions_of_jobs,
            standing,
            ci_secrets,
            ci_secrets_answered,
        })
    }

    /// A row of counts; a sum of nothing is nothing.
    async fn counts<const N: usize>(&self, sql: &'static str, args: &[Column]) -> Result<[u64; N], StoreError> {
        let rows = self.query(&sql.into(), args).await?;
        let row = rows.first().map(Vec::as_slice).unwrap_or_default();
        Ok(std::array::from_fn(|place| match row.get(place) {
            Some(Column::Int(count)) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        }))
    }
}
