//! Whether somebody may know that a resource is there: whether any path leads them to it.

use access::names::{ResourceName, RoleName};

use crate::bundle::Bundle;
use crate::decide::Door;
use crate::situation::{Ask, Situation};

impl Bundle {
    /// Whether a path, ordinary or for emergencies, leads somebody to a resource, so that they may know that it is there. One that is
    /// shut only because a policy beside it can't be evaluated still does.
    #[must_use]
    pub fn leads_to(&self, who: &Situation, resource: &ResourceName) -> bool {
        self.roles_for(resource).into_iter().any(|role| self.leads_to_role(who, resource, &role.name))
    }

    /// The same of one role on it.
    #[must_use]
    pub fn leads_to_role(&self, who: &Situation, resource: &ResourceName, role: &RoleName) -> bool {
        let ordinary = Ask::plain(resource.clone(), role.clone());
        let emergency = Ask { break_glass: true, ..ordinary.clone() };
        [ordinary, emergency].iter().any(|ask| match self.door(who, ask) {
            Door::Shut(..) => false,
            Door::Facts { resource, tier } => {
                self.weigh(who, ask, resource, tier).leads || self.is_let_through(who, ask, resource, tier).is_some()
            }
        })
    }
}
