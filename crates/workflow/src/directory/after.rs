//! What follows at once from what a directory said: who left is cut, and whoever stood on a group is decided anew.
//!
//! Only of those it is about: a directory that sends ten thousand people costs no look at everybody for each.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use access::ids::PrincipalId;
use access::session::EndReason;

use crate::gate::Gate;

/// Of how many people open grants are looked for one by one; of more, among all there are.
const ONE_BY_ONE: usize = 100;

impl Gate {
    /// Somebody may not sign in any more: all that is open of theirs, and of machines they answer for, is cut and withdrawn. A directory does
    /// not wait for targets that are slow to close.
    pub(crate) async fn shut_out(&self, person: PrincipalId) {
        drop(self.cut_person_at_once(person, EndReason::Locked).await);
        let mut people = BTreeSet::from([person]);
        if let PrincipalId::User(owner) = person {
            match self.store.workloads_of(owner).await {
                Ok(workloads) => people.extend(workloads.into_iter().map(|workload| workload.id)),
                Err(_) => self.redecide_due.store(true, Ordering::Relaxed),
            }
        }
        self.redecide_people(&people).await;
    }

    /// Decides the open grants of these people anew, and what their sessions may do.
    pub(crate) async fn redecide_people(&self, people: &BTreeSet<PrincipalId>) {
        if people.is_empty() {
            return;
        }
        let _one_at_a_time = self.redeciding.lock().await;
        let mut open = Vec::new();
        if people.len() <= ONE_BY_ONE {
            for person in people {
                match self.store.open_grants_of(*person).await {
                    Ok(grants) => open.extend(grants),
                    Err(error) => self.redecide_later(&error),
                }
            }
        } else {
            match self.store.open_grants().await {
                Ok(grants) => open.extend(grants.into_iter().filter(|grant| people.contains(&grant.person))),
                Err(error) => self.redecide_later(&error),
            }
        }
        Box::pin(self.decide_anew(open, |person| people.contains(&person))).await;
    }
}
