//! Votes.

use access::approval::VoteRow;
use access::ids::RequestId;

use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

impl Store {
    /// All votes on a request, of every revision, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn votes(&self, request: RequestId) -> Result<Vec<VoteRow>, StoreError> {
        self.select(Select::all().is("request", &request).order("at, id")).await
    }
}
