//! Whether somebody may know that a resource is there: whether any path leads them to it.

use access::names::{ResourceName, RoleName};

use crate::bundle::Bundle;
use crate::situation::Situation;

impl Bundle {
    /// Whether a path, ordinary or for emergencies, leads somebody to a resource: [`Asker::leads_to`](crate::Asker::leads_to).
    #[must_use]
    pub fn leads_to(&self, who: &Situation, resource: &ResourceName) -> bool {
        self.asker(who).leads_to(resource)
    }

    /// The same of one role on it.
    #[must_use]
    pub fn leads_to_role(&self, who: &Situation, resource: &ResourceName, role: &RoleName) -> bool {
        self.asker(who).leads_to_role(resource, role)
    }
}
