//! Every reason the gate has to refuse, end or hold something: the only registry of codes, sentences and statuses.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::RequestId;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $http:literal, $ssh:literal, $sentence:literal, $hint:literal;)*) => {
        codes! {
            /// Why something was refused, ended or held.
            Reason("reason") { $($(#[$doc])* $name = $code,)* }
        }

        impl Reason {
            /// What happened, as a sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence),* }
            }
            /// What to do about it.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint),* }
            }
            /// The HTTP status.
            #[must_use]
            pub const fn http(self) -> u16 {
                match self { $(Self::$name => $http),* }
            }
            /// The exit status `ssh` gives: 75 come back later, 76 cut, 77 refused.
            #[must_use]
            pub const fn ssh_exit(self) -> u32 {
                match self { $(Self::$name => $ssh),* }
            }
        }
    };
}

reasons! {
    // Policy.
    /// No path leads there.
    NoPath = "no_path", 403, 77, "No policy lets you do this.", "Ask with `tidegate request create` for a role that is open to you; `tidegate resource list` shows which.";
    /// A policy closes the path.
    Forbidden = "forbidden", 403, 77, "A policy forbids this.", "What stands in the way is named here; whoever keeps the policy can change it.";
    /// A policy could not be evaluated.
    PolicyError = "policy_error", 403, 77, "A policy that applies here could not be evaluated, so the answer is no.", "Tell whoever keeps the policy; `tidegate doctor` names the policy.";
    /// A resource without a tier.
    NoTier = "no_tier", 403, 77, "The resource has no tier, so nobody knows what access to it should cost.", "Give it a tier in `resources.toml`.";
    /// No such resource, or none the asker may see.
    UnknownResource = "unknown_resource", 404, 77, "There is no such resource.", "`tidegate resource list` shows those you can ask for.";
    /// No such role there, or none the asker may see.
    UnknownRole = "unknown_role", 404, 77, "There is no such role on this resource.", "`tidegate resource show` lists its roles.";
    /// Several roles are open and none was named.
    RoleRequired = "role_required", 400, 77, "Several roles are open to you here.", "Name one: `resource+role`.";
    /// Longer than the tier allows.
    TooLong = "too_long", 403, 77, "That is longer than this access may last.", "Ask for less time.";
    /// A stronger or fresher proof of identity is needed.
    MfaRequired = "mfa_required", 403, 77, "This access needs a fresh, stronger proof that it is you.", "Use your passkey in the portal, or connect with a security key that checks PIN or fingerprint.";
    /// A ticket is needed.
    TicketRequired = "ticket_required", 403, 77, "This access needs a ticket.", "Name the change or incident with `--ticket`.";
    /// The tracker says that it is not as it has to be.
    TicketNotOpen = "ticket_not_open", 403, 77, "The ticket is not as this access needs it.", "Name an open one with `--ticket`, or have this one reopened and ask again; `tidegate request edit` changes a request that waits.";
    /// The tracker does not say how a ticket is.
    TrackerUnreachable = "tracker_unreachable", 503, 75, "The tracker could not say whether the ticket is open, so nothing opens on it.", "Try again shortly; if it can't wait, break the glass. Your administrator sees in `tidegate doctor` what is wrong.";
    /// A reason is needed.
    ReasonRequired = "reason_required", 400, 77, "This access needs a reason.", "Say why with `--reason`, or `TIDEGATE_REASON` sent by ssh.";
    /// Standing access is not allowed here.
    NotStanding = "not_standing", 403, 77, "This access cannot be held without an end.", "Ask for a length of time.";
    /// The path is not one for emergencies.
    NotBreakGlass = "not_break_glass", 403, 77, "There is no emergency path here for you.", "Ask the ordinary way; `tidegate policy explain --break-glass` says what each path lacks.";
    /// An earlier emergency was not reviewed in time.
    BreakGlassBlocked = "break_glass_blocked", 403, 77, "An earlier emergency access of yours has not been reviewed in time.", "Have the review done: `tidegate review list`.";
    // Agreement.
    /// People are asked.
    Pending = "pending", 202, 75, "Your request waits for approval.", "Connect again when it is approved; `tidegate request show` says who was asked.";
    /// The same was asked before, in other words.
    AlreadyAsked = "already_asked", 409, 77, "You have already asked for this, but not like this.", "`tidegate request edit` changes what you asked for, `tidegate request cancel` takes it back.";
    /// Somebody said no.
    Denied = "denied", 403, 77, "Your request was denied.", "`tidegate request show` says by whom and why.";
    /// The asker took it back.
    Cancelled = "cancelled", 409, 77, "The request was cancelled.", "Ask again if you still need it.";
    /// Nobody answered in time.
    AgedOut = "aged_out", 409, 77, "Nobody answered the request in time.", "Ask again, or ask somebody on call.";
    /// The asker voted on their own request.
    SelfApproval = "self_approval", 403, 77, "Nobody decides on their own request.", "Somebody else who may approve has to.";
    /// Not one of those who may decide.
    NotApprover = "not_approver", 403, 77, "You are not among those who may decide this request.", "`tidegate request show` says who is.";
    /// Voted before.
    AlreadyVoted = "already_voted", 409, 77, "You have already decided on this request.", "Nothing more is needed from you.";
    /// An approval has to be signed with a passkey.
    SignatureRequired = "signature_required", 403, 77, "This approval has to be signed with your passkey.", "Open the request in the portal and approve it there.";
    /// Somebody or something else was faster.
    AlreadyDecided = "already_decided", 409, 77, "This was decided in the meantime.", "Look at it again before you act.";
    // The grant.
    /// Not started.
    NotActivated = "not_activated", 409, 77, "The grant's clock has not started.", "Connect, or `tidegate grant activate`.";
    /// Over.
    GrantExpired = "grant_expired", 403, 76, "The grant's time is up.", "Ask again.";
    /// Taken away.
    GrantRevoked = "grant_revoked", 403, 76, "The grant was revoked.", "`tidegate grant show` says by whom.";
    /// Policy changed.
    GrantWithdrawn = "grant_withdrawn", 403, 76, "Policy no longer allows this access.", "`tidegate policy explain` says why.";
    /// Already over.
    GrantEnded = "grant_ended", 409, 76, "The grant has already ended.", "There is nothing left to do.";
    /// Kept shut.
    Locked = "locked", 403, 77, "You, this role or this resource is locked.", "Somebody with the right to can lift the lock: `tidegate lock list`.";
    /// The person may not sign in.
    Disabled = "disabled", 403, 77, "This account is disabled.", "Ask an administrator.";
    // The session.
    /// Not part of the role.
    NotInRole = "not_in_role", 403, 77, "Your role does not include this.", "Ask for a role that does; `tidegate resource show` lists what each may do.";
    /// Outside what the request was limited to.
    OutsideLimits = "outside_limits", 403, 77, "Your request was limited to less than this.", "Ask again without the limit.";
    /// The target can't be reached.
    TargetUnreachable = "target_unreachable", 502, 77, "The target could not be reached.", "Check that it is up and that its address in `resources.toml` is right.";
    /// The address is none a target may have.
    TargetForbidden = "target_forbidden", 403, 77, "The target's address is the gate itself, link-local or a metadata service.", "Correct the address in `resources.toml`.";
    /// The target's host key is unknown.
    HostKeyUnknown = "host_key_unknown", 502, 77, "The target's host key is not one the policy names.", "Compare it with the machine's own, then add it to `host_keys` in `resources.toml`.";
    /// The target did not take the gate's credential.
    TargetRefused = "target_refused", 502, 77, "The target did not accept the gate's credential.", "Check that it trusts the target CA for this login, or that the secret that opens it is right; `tidegate resource show` says how it is opened.";
    /// What opens the target can't be had: it is not set here, or its vault does not give it.
    SecretUnavailable = "secret_unavailable", 503, 75, "What opens the target could not be had, so nothing was tried there.", "Try again shortly; your administrator sees in `tidegate doctor` which secret is missing or which vault does not answer.";
    /// Recording is impossible.
    RecorderFailed = "recorder_failed", 503, 76, "The session cannot be recorded, so it may not run.", "Check disk space and permissions of the gate's data directory; `tidegate doctor` says which.";
    /// The session was ended by hand.
    SessionKilled = "session_killed", 403, 76, "An administrator ended this session.", "Ask them before you connect again.";
    /// It went over a threshold that its tier watches.
    ThresholdPassed = "threshold_passed", 403, 76, "The session went over a threshold of its tier, and the gate ended it.", "Those who watch over access were told; `tidegate session show` says which threshold it was.";
    /// The session is over.
    SessionEnded = "session_ended", 409, 76, "The session has already ended.", "There is nothing left to do.";
    // Who.
    /// Nobody is known to be here.
    NotSignedIn = "not_signed_in", 401, 77, "You are not signed in.", "`tidegate login`.";
    /// The actor may not.
    NotAllowed = "not_allowed", 403, 77, "You may not do this.", "Whoever keeps the policy can give you the right.";
    /// The token is not for that.
    ScopeMissing = "scope_missing", 403, 77, "This token may not be used for that.", "Make a token with the scope named here.";
    /// The one-time code is wrong, used or too old.
    CodeInvalid = "code_invalid", 401, 77, "This code is wrong, was used, or is too old.", "Ask for a new one.";
    /// Nothing else would sign them in.
    LastSignIn = "last_sign_in", 409, 77, "Nothing else would be left to sign in by.", "Add another passkey or an SSH key first.";
    /// A browser sent it from another page than the gate's own.
    CrossSite = "cross_site", 403, 77, "Another page than the gate's own sent this.", "Open the portal and do it there; programs present a token instead of a cookie.";
    /// A legal hold keeps it.
    OnHold = "on_hold", 409, 77, "A legal hold keeps this.", "`tidegate hold list` says why; whoever may lift the hold has to do so first.";
    // Everything else.
    /// There is no such thing, or none the caller may see.
    NotFound = "not_found", 404, 77, "There is no such thing, or none that you may see.", "Check the id.";
    /// The input cannot be understood.
    Invalid = "invalid", 400, 77, "The request could not be understood.", "Correct what is named here.";
    /// The same idempotency key was used for something else.
    KeyReused = "key_reused", 409, 77, "This idempotency key was used for a different request.", "Use a new key for a new request.";
    /// The caller saw an older version.
    Stale = "stale", 412, 77, "It has changed since you looked.", "Look at it again before you act.";
    /// Too much at once.
    TooMany = "too_many", 429, 75, "Too many at once.", "Wait a moment and try again.";
    /// Who signs tokens can't be asked for their keys.
    IssuerUnreachable = "issuer_unreachable", 503, 75, "Whoever signed this could not be asked for the keys that it is verified with.", "Check that the gate reaches its address, and that its certificate is under a CA that is trusted for it: by `roots` in `workloads.toml`, by `ca_file` in `tidegate.toml`, or by the machine.";
    /// What a chat service signs its calls with is not known.
    ChatUnreachable = "chat_unreachable", 503, 75, "The chat service could not be asked for the keys that its calls are verified with.", "Try again shortly, or decide in the portal. Check that the gate reaches the service's address.";
    /// The state can't be read or written.
    StoreUnavailable = "store_unavailable", 503, 75, "The gate cannot reach its store, so nothing opens.", "Try again shortly; `tidegate doctor` says what is wrong.";
    /// The clock went backwards.
    ClockBehind = "clock_behind", 503, 75, "The gate's clock is behind its own log, so nothing opens.", "Set the clock of the gate's machine right.";
    /// The gate is going down.
    Stopping = "stopping", 503, 75, "The gate is stopping.", "Try again shortly.";
    /// A fault.
    Internal = "internal", 500, 77, "The gate had a fault.", "Its administrator finds it in the gate's log under the id given here.";
}

impl Reason {
    /// The SQLSTATE a database's client gets (PostgreSQL documentation, appendix "Error Codes"): 28000 not let in, 42501 not allowed,
    /// 57P01 cut, 57P03 not now, 3D000 no such database, 08004 the target did not take the connection.
    #[must_use]
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::NotInRole | Self::OutsideLimits => "42501",
            Self::UnknownResource | Self::UnknownRole | Self::RoleRequired => "3D000",
            Self::TargetUnreachable | Self::TargetForbidden | Self::TargetRefused | Self::HostKeyUnknown => "08004",
            Self::Invalid => "22023",
            Self::TooMany => "53300",
            Self::Internal => "XX000",
            _ => match self.ssh_exit() {
                75 => "57P03",
                76 => "57P01",
                _ => "28000",
            },
        }
    }

    /// The number and SQLSTATE a MySQL or MariaDB client gets ("Server Error Message Reference"): 1045 not let in, 1142 not allowed,
    /// 1927 cut, 3168 not now, 1049 no such database, 1429 the target did not take the connection.
    #[must_use]
    pub const fn mysql_error(self) -> (u16, &'static str) {
        match self {
            Self::NotInRole | Self::OutsideLimits => (1142, "42000"),
            Self::UnknownResource | Self::UnknownRole | Self::RoleRequired => (1049, "42000"),
            Self::TargetUnreachable | Self::TargetForbidden | Self::TargetRefused | Self::HostKeyUnknown => (1429, "08004"),
            Self::Invalid => (1210, "HY000"),
            Self::TooMany => (1040, "08004"),
            Self::Internal => (1105, "HY000"),
            _ => match self.ssh_exit() {
                75 => (3168, "HY000"),
                76 => (1927, "70100"),
                _ => (1045, "28000"),
            },
        }
    }
}

/// The policies that made an answer, and the bundle they stand in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    /// The digest of the bundle.
    pub bundle: String,
    /// The ids of the policies; none, where it was no single policy that stood in the way.
    pub policies: Vec<String>,
}

/// So many bytes the ids that a refusal names take at most, however many policies said it: its entry has to be a leaf.
const LONGEST_POLICIES: usize = 8_192;

/// A no, with everything its receiver needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which kind.
    pub reason: Reason,
    /// What exactly; ends without a full stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// What policy said it by, if policy did; for the entry, and for who may be told.
    #[serde(skip)]
    pub ruled: Option<Box<Ruled>>,
}

impl Refusal {
    /// Without detail.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        Self { reason, detail: None, request: None, ruled: None }
    }
    /// With what exactly.
    #[must_use]
    pub fn because(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: Some(detail.into()), request: None, ruled: None }
    }
    /// About a request.
    #[must_use]
    pub fn about(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }
    /// Said by policy: by these policies of this bundle. Of very many it names the first.
    #[must_use]
    pub fn ruled_by(mut self, bundle: impl Into<String>, policies: impl Into<Vec<String>>) -> Self {
        let (mut policies, mut taken): (Vec<String>, usize) = (policies.into(), 0);
        policies.retain(|id| {
            taken = taken.saturating_add(id.len());
            taken <= LONGEST_POLICIES
        });
        self.ruled = Some(Box::new(Ruled { bundle: bundle.into(), policies }));
        self
    }
    /// The digest of the bundle that said it, if policy did.
    #[must_use]
    pub fn bundle(&self) -> Option<String> {
        self.ruled.as_ref().map(|ruled| ruled.bundle.clone())
    }
    /// The ids of the policies that said it.
    #[must_use]
    pub fn policies(&self) -> Vec<String> {
        self.ruled.as_ref().map(|ruled| ruled.policies.clone()).unwrap_or_default()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.sentence().trim_end_matches('.'))?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        write!(f, ". {}", self.reason.hint())?;
        if let Some(request) = &self.request {
            write!(f, " ({request})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::of(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn a_refusal_names_what_fits_its_entry() {
        let refusal = Refusal::of(Reason::Forbidden).ruled_by("digest", vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!((refusal.bundle().as_deref(), refusal.policies()), (Some("digest"), vec!["one".to_owned(), "two".to_owned()]));
        let refusal = Refusal::of(Reason::Forbidden).ruled_by("digest", vec!["x".repeat(64); 4_000]);
        assert_eq!(refusal.policies().len(), 128);
    }

    #[test]
    fn the_table_of_reasons() {
        let mut table = String::new();
        for reason in Reason::ALL {
            let (http, exit, sqlstate, (errno, _)) = (reason.http(), reason.ssh_exit(), reason.sqlstate(), reason.mysql_error());
            writeln!(table, "{} | {http} | {exit} | {sqlstate} | {errno} | {} | {}", reason.code(), reason.sentence(), reason.hint())
                .unwrap();
        }
        insta::assert_snapshot!("reasons", table);
    }
}
