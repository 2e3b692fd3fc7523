//! What every relay does about its permit, whatever it speaks.

use access::reason::Reason;
use access::session::{EndReason, Standing};

use crate::gatekeeper::PermitWatch;

/// Resolves when the permit is gone.
pub(crate) async fn cut(watch: &mut PermitWatch) -> EndReason {
    let mut standing = watch.now();
    loop {
        if let Standing::Cut(end) = standing {
            return end;
        }
        standing = watch.changed().await;
    }
}

/// Why somebody is told that a session ended.
pub(crate) fn ended_reason(end: EndReason) -> Reason {
    match end {
        EndReason::Expired => Reason::GrantExpired,
        EndReason::Revoked => Reason::GrantRevoked,
        EndReason::Withdrawn => Reason::GrantWithdrawn,
        EndReason::Locked => Reason::Locked,
        EndReason::Recorder => Reason::RecorderFailed,
        EndReason::Killed => Reason::SessionKilled,
        EndReason::Threshold => Reason::ThresholdPassed,
        EndReason::Lease | EndReason::Node => Reason::Stopping,
        EndReason::Client | EndReason::Target | EndReason::Idle | EndReason::Error => Reason::SessionEnded,
    }
}
