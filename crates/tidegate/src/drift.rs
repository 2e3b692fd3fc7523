//! Looks at SSH targets for what the gate did not put there, by the door that dials them.

use std::pin::Pin;
use std::sync::Arc;

use access::reason::Refusal;
use access::session::SessionPermit;
use proxy::ssh::SshDoor;
use workflow::drift::Surveyor;

/// The door, as what looks.
pub struct Look(pub Arc<SshDoor>);

impl Surveyor for Look {
    fn survey(&self, permit: SessionPermit) -> Pin<Box<dyn Future<Output = Result<String, Refusal>> + Send + '_>> {
        Box::pin(async move { self.0.survey(permit).await })
    }
}
