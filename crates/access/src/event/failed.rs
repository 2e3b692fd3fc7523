//! Which refusals, and which withdrawals, were a policy's own fault.

use super::Event;
use crate::reason::Reason;

impl Event {
    /// The ids of the policies that could not be evaluated, if something was refused or withdrawn because of that. None are named where the
    /// question could not be put at all.
    #[must_use]
    pub fn failed_policies(&self) -> Option<&[String]> {
        match self {
            Self::RequestRefused { reason: Reason::PolicyError, policies, .. }
            | Self::RequestDenied { reason: Reason::PolicyError, policies, .. }
            | Self::VoteRefused { reason: Reason::PolicyError, policies, .. }
            | Self::SessionRefused { reason: Reason::PolicyError, policies, .. }
            | Self::GrantWithdrawn { reason: Reason::PolicyError, policies, .. }
            | Self::ActionRefused { reason: Reason::PolicyError, policies, .. } => Some(policies),
            _ => None,
        }
    }
}
