//! The controls, in the words of their standards' headings, what the gate does for each, and the queries that show it.

/// Whose control it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Framework {
    /// Trust Services Criteria of the AICPA, 2017 with the points of focus of 2022.
    Soc2,
    /// ISO/IEC 27001:2022, Annex A.
    Iso27001,
}

impl Framework {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Soc2 => "SOC 2",
            Self::Iso27001 => "ISO/IEC 27001:2022",
        }
    }
}

macro_rules! queries {
    ($($name:ident = $code:literal, $path:literal, $command:literal;)*) => {
        /// Something that anybody with the right can ask the gate.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Query { $(
            #[doc = concat!("`", $command, "`.")]
            $name,
        )* }

        impl Query {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it is called.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Where the API answers it, under `/api/v1`. `{since}` is the time from which on is counted.
            #[must_use]
            pub fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// The command that asks it.
            #[must_use]
            pub fn command(self) -> &'static str {
                match self { $(Self::$name => $command,)* }
            }
        }
    };
}

queries! {
    People = "people", "/users", "tidegate user list";
    Joined = "joined", "/audit/entries?event=person.created,person.disabled,directory.user_removed&since={since}", "tidegate audit list --event person.created,person.disabled,directory.user_removed --since {since}";
    Passkeys = "passkeys", "/audit/entries?event=passkey.", "tidegate audit list --event passkey.";
    SignInsRefused = "sign_ins_refused", "/audit/entries?event=signin.refused&since={since}", "tidegate audit list --event signin.refused --since {since}";
    Requests = "requests", "/requests?of=all", "tidegate request list --all";
    Votes = "votes", "/audit/entries?event=request.voted&since={since}", "tidegate audit list --event request.voted --since {since}";
    Grants = "grants", "/grants?all=true", "tidegate grant list --all";
    Standing = "standing", "/measures", "tidegate measures";
    Revoked = "revoked", "/audit/entries?event=grant.revoked,grant.withdrawn,grant.returned,grant.expired,grant.idled,grant.lapsed&since={since}", "tidegate audit list --event grant.revoked,grant.withdrawn,grant.returned,grant.expired,grant.idled,grant.lapsed --since {since}";
    Reviews = "reviews", "/reviews?state=open", "tidegate review list --state open";
    Sessions = "sessions", "/sessions?all=true", "tidegate session list --all";
    Denied = "denied", "/audit/entries?event=session.refused,session.denied,action.refused,request.refused&since={since}", "tidegate audit list --event session.refused,session.denied,action.refused,request.refused --since {since}";
    Locks = "locks", "/locks", "tidegate lock list";
    Emergencies = "emergencies", "/audit/entries?event=review.opened&since={since}", "tidegate audit list --event review.opened --since {since}";
    Policy = "policy", "/policy/history", "tidegate policy history";
    Resources = "resources", "/resources?all=true", "tidegate resource list --all";
    Secrets = "secrets", "/secrets", "tidegate secret list";
    Keys = "keys", "/audit/entries?event=keys.rotated&since={since}", "tidegate audit list --event keys.rotated --since {since}";
    Log = "log", "/audit/checkpoint", "tidegate audit checkpoint";
    Streams = "streams", "/streams", "tidegate stream list";
    Retention = "retention", "/audit/entries?event=recording.expired&since={since}", "tidegate audit list --event recording.expired --since {since}";
    Holds = "holds", "/holds", "tidegate hold list";
    Erased = "erased", "/audit/entries?event=text.erased,recording.destroyed&since={since}", "tidegate audit list --event text.erased,recording.destroyed --since {since}";
    Exports = "exports", "/audit/entries?event=evidence.exported,recording.read,recordings.searched&since={since}", "tidegate audit list --event evidence.exported,recording.read,recordings.searched --since {since}";
}

/// A control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Whose.
    pub framework: Framework,
    /// Its number: `CC6.1`, `A.8.15`.
    pub id: &'static str,
    /// What it is about, in short.
    pub title: &'static str,
    /// What the gate does for it.
    pub says: &'static str,
    /// What shows that.
    pub queries: &'static [Query],
}

const fn soc2(id: &'static str, title: &'static str, says: &'static str, queries: &'static [Query]) -> Control {
    Control { framework: Framework::Soc2, id, title, says, queries }
}

const fn iso(id: &'static str, title: &'static str, says: &'static str, queries: &'static [Query]) -> Control {
    Control { framework: Framework::Iso27001, id, title, says, queries }
}

use Query as Q;

/// Every control that the gate shows something for.
pub const CONTROLS: &[Control] = &[
    soc2(
        "CC6.1",
        "Logical access to protected assets",
        "Targets are reached through the gate alone; who may is policy as code, denied unless a policy permits it. Credentials of targets are sealed, and nobody sees them.",
        &[Q::Resources, Q::Policy, Q::Secrets, Q::People],
    ),
    soc2(
        "CC6.2",
        "Registration and authorization of users before access",
        "People come by invitation or from the directory, and leave with it; nobody gets in without a request that policy and people agree to.",
        &[Q::People, Q::Joined, Q::Requests, Q::Votes],
    ),
    soc2(
        "CC6.3",
        "Access by role, least privilege and separation of duties",
        "Access is to a role on a resource for a time; nobody decides on their own request, one person fills one seat. Rights end by themselves, and those without an end are reviewed.",
        &[Q::Grants, Q::Standing, Q::Votes, Q::Revoked, Q::Reviews],
    ),
    soc2(
        "CC6.6",
        "Protection against threats from outside the boundary",
        "Sign-in is resistant to phishing where the tier asks for it; targets have no other way in than the gate's short-lived credentials; what is refused is entered.",
        &[Q::Passkeys, Q::SignInsRefused, Q::Locks],
    ),
    soc2(
        "CC6.7",
        "Restriction of the movement of information",
        "What a role may do inside a session is judged statement by statement and channel by channel; everything that passed is recorded; who takes evidence away is entered.",
        &[Q::Sessions, Q::Denied, Q::Exports],
    ),
    soc2(
        "CC6.8",
        "Prevention and detection of unauthorized software and changes",
        "Commands, files and statements of every session stand in its recording, whose digest stands in the signed log while it is written.",
        &[Q::Sessions, Q::Log],
    ),
    soc2(
        "CC7.2",
        "Monitoring for anomalies",
        "Every act is an entry of one log, which goes to collectors as it grows; refusals carry their reasons.",
        &[Q::Log, Q::Streams, Q::Denied, Q::SignInsRefused],
    ),
    soc2(
        "CC7.3",
        "Evaluation of security events",
        "Emergencies and drawn sessions are reviewed by a due time, with an outcome; what is overdue escalates.",
        &[Q::Emergencies, Q::Reviews],
    ),
    soc2(
        "CC7.4",
        "Response to incidents",
        "A lock or a revocation cuts what is open, at the target, within the revocation target, and says what was confirmed.",
        &[Q::Locks, Q::Revoked],
    ),
    soc2(
        "CC8.1",
        "Authorization, testing and approval of changes",
        "Policy changes are bundles by digest, with their difference in words and their own tests; access for a change carries its ticket where the tier asks for it.",
        &[Q::Policy, Q::Requests],
    ),
    soc2(
        "C1.2",
        "Disposal of confidential information",
        "Recordings go when their tier says so, personal texts are erased on request, and each leaves a proof; a legal hold beats both.",
        &[Q::Retention, Q::Erased, Q::Holds],
    ),
    iso(
        "A.5.15",
        "Access control",
        "Rules of access are files in one directory that is reviewed and tested; what no policy permits is denied.",
        &[Q::Policy, Q::Resources, Q::Denied],
    ),
    iso(
        "A.5.16",
        "Identity management",
        "Every session belongs to one named person or machine; there are no shared accounts. Joiners and leavers follow the directory.",
        &[Q::People, Q::Joined],
    ),
    iso(
        "A.5.17",
        "Authentication information",
        "The gate keeps no passwords of people; tokens are kept as digests, secrets of targets sealed and never read back.",
        &[Q::Passkeys, Q::Secrets],
    ),
    iso(
        "A.5.18",
        "Access rights",
        "Rights are asked for, agreed to, bounded, reviewed and taken away, and each of these is an entry.",
        &[Q::Requests, Q::Grants, Q::Revoked, Q::Reviews],
    ),
    iso(
        "A.5.28",
        "Collection of evidence",
        "Evidence is exported as one file that verifies offline with the public key alone; who took it is entered.",
        &[Q::Exports, Q::Log, Q::Holds],
    ),
    iso(
        "A.5.33",
        "Protection of records",
        "The log is a signed Merkle tree whose checkpoints are published outside: what was changed, removed or reordered is named.",
        &[Q::Log, Q::Retention, Q::Holds],
    ),
    iso(
        "A.5.34",
        "Privacy and protection of personal data",
        "Personal texts stand beside the log and can be erased; what stays is a salted digest.",
        &[Q::Erased, Q::Retention],
    ),
    iso(
        "A.8.2",
        "Privileged access rights",
        "Privileged access is for a time and for a reason; that without an end is possible only where policy names it, is counted, and shows in every review.",
        &[Q::Standing, Q::Grants, Q::Emergencies],
    ),
    iso(
        "A.8.3",
        "Information access restriction",
        "Roles say which commands, files, tables and columns; the gate enforces it inside the session.",
        &[Q::Denied, Q::Sessions],
    ),
    iso(
        "A.8.5",
        "Secure authentication",
        "Passkeys, security keys and identity providers; a tier can ask for a fresh proof.",
        &[Q::Passkeys, Q::SignInsRefused],
    ),
    iso(
        "A.8.10",
        "Information deletion",
        "Deletion is by tier and age or by hand, is entered with digests, and the log still verifies.",
        &[Q::Retention, Q::Erased],
    ),
    iso(
        "A.8.15",
        "Logging",
        "One log of everything, committed together with what it tells of; recordings of every session are bound to it.",
        &[Q::Log, Q::Sessions, Q::Streams],
    ),
    iso(
        "A.8.16",
        "Monitoring activities",
        "Live sessions are watched and ended; the log goes to collectors as it grows.",
        &[Q::Streams, Q::Sessions, Q::Denied],
    ),
    iso(
        "A.8.18",
        "Use of privileged utility programs",
        "What opens a shell or a database as somebody powerful is a role of its own, asked for and recorded.",
        &[Q::Sessions, Q::Grants],
    ),
    iso(
        "A.8.24",
        "Use of cryptography",
        "Keys of the gate are sealed, each with id and age, and are replaced without downtime.",
        &[Q::Keys, Q::Secrets],
    ),
    iso(
        "A.8.32",
        "Change management",
        "Policy changes carry their difference and tests; access for a change can be bound to its open ticket.",
        &[Q::Policy, Q::Requests],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_is_there_once_and_every_query_shows_something() {
        let mut ids: Vec<_> = CONTROLS.iter().map(|control| (control.framework, control.id)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CONTROLS.len());
        assert!(CONTROLS.iter().all(|control| !control.queries.is_empty()));
        for query in Query::ALL {
            assert!(CONTROLS.iter().any(|control| control.queries.contains(query)), "{}", query.code());
        }
    }
}
