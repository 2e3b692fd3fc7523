//! What happens to ways beside the gate, and what targets are found to hold.

macro_rules! inventory_events {
    ($then:ident! $state:tt) => {
        $then! { $state Inventory {
            /// A list of ways was read. Text: `file`.
            "inventory.imported" InventoryImported {
                /// What the list is called.
                source: GroupName,
                /// What it is.
                kind: SourceKind,
                /// SHA-256 of what was read, hex.
                digest: String,
                /// How many ways it names.
                paths: u64,
            }
            /// A way was found. Texts: `target`, `account`, `holder`, `detail`.
            "path.found" PathFound {
                /// Which way.
                path: PathId,
                /// The list it came from.
                source: GroupName,
                /// By what it is known again there: a digest.
                key: String,
                /// What it speaks.
                reach: Reach,
                /// Who can use it, if they are known here.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                person: Option<PrincipalId>,
                /// How its credentials come about.
                issuance: Issuance,
                /// Whether what is done over it is one person's.
                attribution: Attribution,
            }
            /// A way is different from what it was, or is there again. Texts, all of them anew: `target`, `account`, `holder`, `detail`.
            "path.changed" PathChanged {
                /// Which way.
                path: PathId,
                /// Who can use it, if they are known here.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                person: Option<PrincipalId>,
                /// How its credentials come about.
                issuance: Issuance,
                /// Whether what is done over it is one person's.
                attribution: Attribution,
            }
            /// A resource of the bundle is where a way leads, or it goes through the gate.
            "path.taken_in" PathTakenIn {
                /// Which way.
                path: PathId,
                /// Which resource; absent: the way leads through the gate itself.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                resource: Option<ResourceName>,
            }
            /// A way stands in the backlog again: its resource left the bundle, its list still names it, or its time is over.
            "path.reopened" PathReopened {
                /// Which way.
                path: PathId,
            }
            /// Somebody said why a way stays until a date. Text: `reason`.
            "path.accepted" PathAccepted {
                /// Which way.
                path: PathId,
                /// Until when.
                until: Timestamp,
            }
            /// Somebody closed a way. Text: `reason`.
            "path.closed" PathClosed {
                /// Which way.
                path: PathId,
            }
            /// Its list does not name a way any more.
            "path.gone" PathGone {
                /// Which way.
                path: PathId,
            }
            /// The gate is about to look at a target for what it did not put there. Text: `detail`, as whom.
            "drift.begun" DriftBegun {
                /// Which resource.
                resource: ResourceName,
            }
            /// A target was looked at for what the gate did not put there. Text: `detail`, if not all of it could be seen.
            "drift.looked" DriftLooked {
                /// Which resource.
                resource: ResourceName,
                /// How many findings there are.
                findings: u64,
            }
            /// A target could not be looked at. Text: `detail`.
            "drift.failed" DriftFailed {
                /// Which resource.
                resource: ResourceName,
                /// Why.
                reason: Reason,
            }
            /// Something is on a target that the gate did not put there. Texts: `subject`, `detail`.
            "finding.opened" FindingOpened {
                /// Which finding.
                finding: FindingId,
                /// Where.
                resource: ResourceName,
                /// What.
                kind: FindingKind,
                /// By what it is known again: a digest.
                key: String,
            }
            /// It is there again, or the time for which it was accepted is over.
            "finding.reopened" FindingReopened {
                /// Which finding.
                finding: FindingId,
            }
            /// Somebody said why it may stay. Text: `reason`.
            "finding.accepted" FindingAccepted {
                /// Which finding.
                finding: FindingId,
                /// Until when; absent: until it is mended.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                until: Option<Timestamp>,
            }
            /// It is not there any more.
            "finding.mended" FindingMended {
                /// Which finding.
                finding: FindingId,
            }
        } }
    };
}
