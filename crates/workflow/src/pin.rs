//! Resources that people want to see first.
//!
//! *Takes* a resource's name and the proof of who asks. *Proves* nothing: a pin opens nothing, and does not say whether there is such a
//! resource. *Hands to* the store a row that no entry speaks of: losing it takes nothing away but comfort.

use access::names::ResourceName;
use access::reason::{Reason, Refusal};

use crate::Caller;
use crate::gate::{Gate, unavailable};

/// How many one person pins at most.
const MOST: usize = 200;

impl Gate {
    /// What the caller pinned, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn pins(&self, caller: &Caller) -> Result<Vec<ResourceName>, Refusal> {
        self.store.pins(caller.who.id()).await.map_err(unavailable)
    }

    /// Pins a resource for the caller; one that is pinned stays so.
    ///
    /// # Errors
    /// If there are too many.
    pub async fn pin(&self, caller: &Caller, resource: &ResourceName) -> Result<(), Refusal> {
        let pins = self.pins(caller).await?;
        if pins.len() >= MOST && !pins.contains(resource) {
            return Err(Refusal::because(Reason::Invalid, format!("you have pinned {MOST} resources already; unpin one of them first")));
        }
        self.store.pin(caller.who.id(), resource).await.map_err(unavailable)
    }

    /// Unpins a resource of the caller's; one that is not pinned stays so.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn unpin(&self, caller: &Caller, resource: &ResourceName) -> Result<(), Refusal> {
        self.store.unpin(caller.who.id(), resource).await.map_err(unavailable)
    }
}
