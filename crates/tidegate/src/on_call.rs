//! What is asked who is on call and how tickets are, made from the configuration.

use anyhow::Context as _;
use notify::oncall::{OnCallClient, Source};
use notify::tickets::{Tracker, TrackerClient};

use crate::config::Config;
use crate::config::on_call::OnCallConfig;

/// Every source, with what talks to it. Whether they answer is found out when they are asked.
pub(crate) fn sources(config: &Config) -> anyhow::Result<Vec<(Source, OnCallClient)>> {
    config.on_call.iter().map(client).collect()
}

/// Every tracker, with what talks to it.
pub(crate) fn trackers(config: &Config) -> anyhow::Result<Vec<(Tracker, TrackerClient)>> {
    let made = |of: &crate::config::trackers::TrackerConfig| {
        let mut tracker = of.tracker.clone();
        let name = tracker.name.clone();
        if let Some(file) = &of.ca_file {
            tracker.reach.roots = Some(std::fs::read(file).with_context(|| format!("cannot read `{}` for `{name}`", file.display()))?);
        }
        let client = TrackerClient::new(&tracker).with_context(|| format!("cannot set up the tracker `{name}`"))?;
        Ok((tracker, client))
    };
    config.trackers.iter().map(made).collect()
}

/// One source, with what talks to it.
pub(crate) fn client(of: &OnCallConfig) -> anyhow::Result<(Source, OnCallClient)> {
    let mut source = of.source.clone();
    let name = source.name.clone();
    if let Some(file) = &of.ca_file {
        source.reach.roots = Some(std::fs::read(file).with_context(|| format!("cannot read `{}` for `{name}`", file.display()))?);
    }
    let client = OnCallClient::new(&source).with_context(|| format!("cannot set up the on-call source `{name}`"))?;
    Ok((source, client))
}
