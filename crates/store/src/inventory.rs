//! Ways beside the gate, the lists they came from, and findings on targets.

use access::ids::{FindingId, PathId};
use access::inventory::{FindingKind, FindingRow, FindingState, LookRow, PathRow, PathState, Reach, SourceRow};
use access::names::{GroupName, ResourceName};
use access::row::Column;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

/// Which ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathFilter {
    /// Only in this state.
    pub state: Option<PathState>,
    /// Only from this list.
    pub source: Option<GroupName>,
    /// Only those that speak this.
    pub reach: Option<Reach>,
}

/// Which findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingFilter {
    /// Only in this state.
    pub state: Option<FindingState>,
    /// Only on this resource.
    pub resource: Option<ResourceName>,
    /// Only of this kind.
    pub kind: Option<FindingKind>,
}

impl Store {
    /// A list of ways.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn inventory_source(&self, id: &GroupName) -> Result<Option<SourceRow>, StoreError> {
        self.first(Select::all().is("id", id)).await
    }

    /// Every list of ways, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn inventory_sources(&self) -> Result<Vec<SourceRow>, StoreError> {
        self.select(Select::all().order("id")).await
    }

    /// A way.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn inventory_path(&self, id: PathId) -> Result<Option<PathRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// Every way that came from a list, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn inventory_paths_from(&self, source: &GroupName) -> Result<Vec<PathRow>, StoreError> {
        self.select(Select::all().is("source", source).order("id")).await
    }

    /// Every way that a list still names, oldest first: what a new policy may take in or leave out.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn inventory_paths_there(&self) -> Result<Vec<PathRow>, StoreError> {
        self.select(Select::all().so("state <> 'gone'").order("id")).await
    }

    /// A page of ways, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn inventory_paths(&self, filter: &PathFilter, page: &Page) -> Result<Vec<PathRow>, StoreError> {
        let select = Select::all().maybe("state", filter.state.as_ref()).maybe("source", filter.source.as_ref());
        self.select(select.maybe("reach", filter.reach.as_ref()).page("id", page)).await
    }

    /// How many ways are in which state.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn inventory_counts(&self) -> Result<Vec<(PathState, u64)>, StoreError> {
        counted(self.query(&"SELECT state, count(*) FROM inventory_paths GROUP BY state".into(), &[]).await?)
    }

    /// A finding.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn finding(&self, id: FindingId) -> Result<Option<FindingRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// Every finding there ever was on a resource, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn findings_on(&self, resource: &ResourceName) -> Result<Vec<FindingRow>, StoreError> {
        self.select(Select::all().is("resource", resource).order("id")).await
    }

    /// A page of findings, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn findings(&self, filter: &FindingFilter, page: &Page) -> Result<Vec<FindingRow>, StoreError> {
        let select = Select::all().maybe("state", filter.state.as_ref()).maybe("resource", filter.resource.as_ref());
        self.select(select.maybe("kind", filter.kind.as_ref()).page("id", page)).await
    }

    /// How many findings are in which state.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn finding_counts(&self) -> Result<Vec<(FindingState, u64)>, StoreError> {
        counted(self.query(&"SELECT state, count(*) FROM findings GROUP BY state".into(), &[]).await?)
    }

    /// When which target was looked at.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn drift_looks(&self) -> Result<Vec<LookRow>, StoreError> {
        self.select(Select::all().order("id")).await
    }

    /// When a target was looked at.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn drift_look(&self, resource: &ResourceName) -> Result<Option<LookRow>, StoreError> {
        self.first(Select::all().is("id", resource)).await
    }
}

fn counted<S: std::str::FromStr>(rows: Vec<Vec<Column>>) -> Result<Vec<(S, u64)>, StoreError> {
    let pair = |row: &[Column]| match row {
        [Column::Text(state), Column::Int(count)] => Some((state.parse().ok()?, u64::try_from(*count).ok()?)),
        _ => None,
    };
    Ok(rows.iter().filter_map(|row| pair(row)).collect())
}
