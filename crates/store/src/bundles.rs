//! Policy bundles: when each was activated, and their files by digest.

use access::bundle::BundleRow;
use access::ids::BundleId;
use access::row::{Column, ColumnError, Field, Row};

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

/// One file of a bundle. Its content is bound by the bundle's digest, which stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFile {
    /// The bundle's digest, SHA-256, hex.
    pub digest: String,
    /// Its path inside the policy directory, with `/`.
    pub path: String,
    /// What stands in it.
    pub content: String,
}

impl Row for BundleFile {
    const TABLE: &'static str = "bundle_files";
    const COLUMNS: &'static [&'static str] = &["digest", "path", "content"];
    fn to_columns(&self) -> Vec<Column> {
        vec![self.digest.to_column(), self.path.to_column(), self.content.to_column()]
    }
    fn from_columns(columns: &[Column]) -> Result<Self, ColumnError> {
        let text = |i: usize| {
            let column = columns.get(i).unwrap_or(&Column::Null);
            let name = Self::COLUMNS.get(i).copied().unwrap_or_default();
            let wrong = || ColumnError { table: Self::TABLE, column: name, found: column.to_string(), wanted: "text" };
            String::from_column(column).ok_or_else(wrong)
        };
        Ok(Self { digest: text(0)?, path: text(1)?, content: text(2)? })
    }
}

/// Whether these are the files that a digest stands for.
pub(crate) fn are_of(files: &[BundleFile], digest: &str) -> bool {
    access::bundle::digest_of(files.iter().map(|file| (file.path.as_str(), file.content.as_bytes()))) == digest
}

impl Store {
    /// One activation.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn bundle(&self, id: BundleId) -> Result<Option<BundleRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// The activation that is in force.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn newest_bundle(&self) -> Result<Option<BundleRow>, StoreError> {
        self.first(Select::all().order("activated_at DESC, id DESC")).await
    }

    /// A page of activations, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn bundles(&self, page: &Page) -> Result<Vec<BundleRow>, StoreError> {
        self.select(Select::all().page("id", page)).await
    }

    /// All files of a bundle, by path; none if none were kept.
    ///
    /// # Errors
    /// If the store can't be read, or what was kept is not what the digest says.
    pub async fn bundle_files(&self, digest: &str) -> Result<Vec<BundleFile>, StoreError> {
        let files: Vec<BundleFile> = self.select(Select::all().is("digest", &digest.to_owned()).order("path")).await?;
        // INVARIANT: nobody is given a policy that was rewritten in the store.
        if !files.is_empty() && !are_of(&files, digest) {
            return Err(StoreError::Altered { what: format!("the kept policy bundle {digest}") });
        }
        Ok(files)
    }
}
