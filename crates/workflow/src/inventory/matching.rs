//! Which ways a resource of the bundle covers.

use access::event::{EntryDraft, Event};
use access::ids::PathId;
use access::inventory::{Issuance, PathRow, PathState, Reach};
use access::names::ResourceName;
use policy::{Bundle, Kind};
use store::Change;

use crate::gate::Gate;

/// How many ways are moved in one change.
const BATCH: usize = 200;

impl Gate {
    /// What has to be entered so that a way stands where the bundle has it.
    #[expect(clippy::too_many_arguments, reason = "of a way that is not kept yet these are all there is")]
    pub(crate) fn placed(
        &self,
        bundle: &Bundle,
        path: PathId,
        state: PathState,
        resource: Option<&ResourceName>,
        reach: &Reach,
        target: &str,
        fingerprint: Option<&str>,
        issuance: Issuance,
    ) -> Option<EntryDraft> {
        let covering = covering(bundle, *reach, target, fingerprint);
        let inside = covering.is_some() || issuance == Issuance::Gate;
        match state {
            PathState::Open | PathState::Accepted if inside => Some(self.own_draft(Event::PathTakenIn { path, resource: covering })),
            PathState::TakenIn if !inside => Some(self.own_draft(Event::PathReopened { path })),
            PathState::TakenIn if resource != covering.as_ref() => Some(self.own_draft(Event::PathTakenIn { path, resource: covering })),
            _ => None,
        }
    }

    /// Takes in the ways that the bundle in force covers, opens those again that it does not cover any more, and those whose acceptance is over.
    pub async fn look_after_inventory(&self) {
        let there = match self.store.inventory_paths_there().await {
            Ok(there) => there,
            Err(error) => return tracing::debug!(%error, "the inventory cannot be read; it is looked at again"),
        };
        let (bundle, now) = (self.bundle(), self.now());
        let mut moves = Vec::new();
        for row in there {
            let moved = self.placed_row(&bundle, &row);
            let over = row.acceptance_is_over(now).then(|| self.own_draft(Event::PathReopened { path: row.id }));
            moves.extend(moved.or(over).map(|draft| (draft, row)));
        }
        for batch in moves.chunks(BATCH) {
            let Some(((first, row), rest)) = batch.split_first() else { continue };
            let mut change = Change::new(first.clone()).expect(row);
            for (draft, row) in rest {
                change = change.and(draft.clone()).expect(row);
            }
            if let Err(error) = self.commit(change).await {
                tracing::debug!(%error, "ways could not be moved; it is tried again");
            }
        }
        self.look_after_findings(now).await;
    }

    pub(crate) fn placed_row(&self, bundle: &Bundle, row: &PathRow) -> Option<EntryDraft> {
        let target = row.target.as_deref()?;
        let shown = row.detail.as_deref().and_then(|detail| detail.lines().find(|line| line.starts_with("SHA256:")));
        self.placed(bundle, row.id, row.state, row.resource.as_ref(), &row.reach, target, shown, row.issuance)
    }
}

/// The resource that stands where a way leads: same protocol and address, or, of an SSH host whose name cannot be read, the same host key.
fn covering(bundle: &Bundle, reach: Reach, target: &str, fingerprint: Option<&str>) -> Option<ResourceName> {
    let speaks =
        |kind: Kind| matches!((kind, reach), (Kind::Ssh, Reach::Ssh) | (Kind::Postgres, Reach::Postgres) | (Kind::Mysql, Reach::Mysql));
    let here = |resource: &policy::Resource| {
        resource.address.to_string().eq_ignore_ascii_case(target)
            || (target == inventory::HASHED
                && fingerprint
                    .is_some_and(|shown| resource.host_keys.iter().any(|key| inventory::fingerprint(key).as_deref() == Some(shown))))
    };
    bundle.resources().find(|resource| speaks(resource.kind) && here(resource)).map(|resource| resource.name.clone())
}
