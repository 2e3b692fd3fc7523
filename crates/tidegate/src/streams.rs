//! Where the log goes as it grows, put together from the configuration.

use std::path::PathBuf;

use access::secret::Secret;
use anyhow::Context as _;
use notify::http::Reach;
use notify::stream::{otlp, s3, syslog};
use notify::webhook::Endpoint;
use workflow::streams::{Sink, Stream};

use crate::config::Config;
use crate::config::streams::{StreamConfig, StreamTo};

/// All of them. Whether they answer is found out when there is something to send.
///
/// # Errors
/// If one can't be set up as it is configured.
pub(crate) fn streams(config: &Config) -> anyhow::Result<Vec<Stream>> {
    config.streams.iter().map(|one| stream(one).with_context(|| format!("cannot set up the stream `{}`", one.name))).collect()
}

/// One of them.
///
/// # Errors
/// If it can't be set up as it is configured.
pub(crate) fn stream(one: &StreamConfig) -> anyhow::Result<Stream> {
    let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()));
    let reach = Reach { addresses: one.addresses.clone(), roots: one.ca_file.as_ref().map(read).transpose()? };
    let sink = match &one.to {
        StreamTo::Syslog(at, own) => {
            let own = match own {
                Some((certificate, key)) => {
                    Some(syslog::ClientCertificate { certificate: read(certificate)?, key: Secret::new(read(key)?) })
                }
                None => None,
            };
            Sink::Syslog(syslog::Collector::new(at, &reach, own.as_ref())?)
        }
        StreamTo::Http(url, secret) => Sink::Http { endpoint: Endpoint::new(url, &reach)?, secret: secret.clone() },
        StreamTo::S3(place, secret) => Sink::S3 { bucket: s3::Bucket::new(place, &reach)?, secret: secret.clone() },
        StreamTo::Otlp(url, token) => Sink::Otlp { collector: otlp::Collector::new(url, &reach)?, token: token.clone() },
    };
    let StreamConfig { name, form, activity, largest, every, .. } = one.clone();
    Ok(Stream { name, form, activity, largest, every, sink })
}
