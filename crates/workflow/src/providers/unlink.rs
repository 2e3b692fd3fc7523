//! An account at an identity provider is taken from whom it signs in.
//!
//! *Takes* the account. *Proves* that it is one's own and one is still there, or that one administers people, and that somebody is left with a
//! way in. *Hands on* the end of what it had opened.

use access::event::Event;
use access::identity::IdentityRow;
use access::reason::{Reason, Refusal};
use policy::{Act, Noun, Object};
use store::{Change, CommitError};

use super::TRIES;
use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::passkeys::Going;

impl Gate {
    /// An account at a provider signs its person in no more: what it opened ends, and the groups it gave are gone. One of the caller's own,
    /// proved freshly, or by who administers people. The last way in of somebody else goes only if that is meant: `last`.
    ///
    /// # Errors
    /// If there is none, the caller may not, or nothing else would sign its person in.
    pub async fn unlink_identity(&self, caller: &Caller, id: &str, last: bool) -> Result<IdentityRow, Refusal> {
        let not_found = || Refusal::of(Reason::NotFound);
        for _ in 0..TRIES {
            let row = self.store.identity(id).await.map_err(unavailable)?.ok_or_else(not_found)?;
            // 1. May they, and is it meant?
            let mut stays = None;
            if row.person == caller.who.id() {
                self.refuse_if_not_fresh(caller).await?;
                stays = Some(self.what_stays(row.person, Going::Account(id)).await?);
            } else {
                self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await.map_err(|no| match no.reason {
                    Reason::StoreUnavailable => no,
                    _ => not_found(),
                })?;
                if !last {
                    stays = Some(self.what_stays(row.person, Going::Account(id)).await.map_err(say_that_it_is_meant)?);
                }
            }
            // 2. It is theirs no more, and what sign-ins by it left behind ends with it.
            let browsers = self.browsers_from(&row, None).await?;
            let left = self.left_by_sign_ins(&row, None).await?;
            let unlinked = self.draft(caller, Event::IdentityUnlinked { identity: row.id.clone(), person: row.person });
            let change = self.without(Change::new(unlinked).expect(&row).end_web_sessions_from(&row.id, None), &left)?;
            let change = stays.iter().fold(change, |change, stays| stays.or_not_at_all(change));
            match self.commit(change).await {
                Ok(committed) => {
                    let _gone = self.cut_let_in_by(&browsers);
                    self.cut_opened_with(&left);
                    self.redecide_all().await;
                    let unlinked = committed.rows.identities.into_values().find(|one| one.id == row.id);
                    return unlinked.ok_or_else(|| Refusal::of(Reason::Internal));
                }
                Err(CommitError::Unavailable(error)) => return Err(refused(CommitError::Unavailable(error))),
                // They signed in, a certificate was renewed, or what was to stay has gone in between: what there is now is looked at.
                Err(_) => {}
            }
        }
        Err(Refusal::of(Reason::AlreadyDecided))
    }
}

/// Who takes somebody's last way in away is told that it is.
fn say_that_it_is_meant(no: Refusal) -> Refusal {
    match no.reason {
        Reason::LastSignIn => Refusal::because(
            Reason::LastSignIn,
            "nothing else signs them in; add `last=true` (`--last`) if it is to go all the same, and invite them anew afterwards",
        ),
        _ => no,
    }
}
