//! Filters of searches that people keep for themselves.
//!
//! *Takes* filters, a name for them and the proof of who asks. *Proves* nothing: they are the asker's own, and looking with them is
//! judged when it is done. *Hands to* the store a row that no entry speaks of: losing it takes nothing away but comfort.

use access::ids::SavedSearchId;
use access::reason::{Reason, Refusal};
use store::SavedSearch;

use crate::Caller;
use crate::gate::{Gate, unavailable};

/// The longest name, in characters.
const LONGEST_NAME: usize = 60;
/// How many one person keeps at most.
const MOST: usize = 100;

impl Gate {
    /// What the caller keeps, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn saved_searches(&self, caller: &Caller) -> Result<Vec<SavedSearch>, Refusal> {
        self.store.saved_searches(caller.who.id()).await.map_err(unavailable)
    }

    /// Keeps filters (as JSON) under a name, in the place of those that had it.
    ///
    /// # Errors
    /// If the name is none, or there are too many.
    pub async fn save_search(&self, caller: &Caller, name: &str, filters: String) -> Result<SavedSearch, Refusal> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            let why = format!("a name for filters has 1 to {LONGEST_NAME} characters, all on one line");
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let kept = self.saved_searches(caller).await?;
        let before = kept.iter().find(|search| search.name == name);
        if before.is_none() && kept.len() >= MOST {
            return Err(Refusal::because(Reason::Invalid, format!("you keep {MOST} filters already; forget one of them first")));
        }
        let now = self.now();
        let id = before.map_or_else(|| SavedSearchId::generate(now), |search| search.id);
        let search = SavedSearch { id, name: name.to_owned(), filters, saved_at: now };
        self.store.save_search(caller.who.id(), &search).await.map_err(unavailable)?;
        Ok(search)
    }

    /// Forgets filters of the caller's.
    ///
    /// # Errors
    /// If there are none of this id.
    pub async fn forget_search(&self, caller: &Caller, id: SavedSearchId) -> Result<SavedSearch, Refusal> {
        let kept = self.saved_searches(caller).await?.into_iter().find(|search| search.id == id);
        let gone = self.store.forget_search(caller.who.id(), id).await.map_err(unavailable)?;
        kept.filter(|_| gone).ok_or_else(|| Refusal::of(Reason::NotFound))
    }
}
