//! A batch goes to where its stream goes.

use access::reason::{Reason, Refusal};
use notify::outcome::Outcome;
use notify::stream::{Batch, http};
use notify::webhook::SigningKey;

use super::Sink;
use crate::gate::Gate;

impl Gate {
    pub(super) async fn put_out(&self, sink: &Sink, batch: &Batch<'_>) -> Result<Outcome<()>, Refusal> {
        Ok(match sink {
            Sink::Syslog(collector) => collector.send(batch).await,
            Sink::Http { endpoint, secret } => {
                let text = self.kept_secret(secret).await?;
                let key = text.expose().parse::<SigningKey>().map_err(|error| Refusal::because(Reason::Invalid, error.to_string()))?;
                http::send(endpoint, &[key], batch).await
            }
            Sink::S3 { bucket, secret } => bucket.send(&self.kept_secret(secret).await?, batch).await,
            Sink::Otlp { collector, token } => {
                let token = match token {
                    Some(token) => Some(self.kept_secret(token).await?),
                    None => None,
                };
                collector.send(token.as_ref(), batch).await
            }
        })
    }
}
