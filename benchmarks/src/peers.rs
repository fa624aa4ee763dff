//! What others take to collect a metric on this very host, in the same run: netdata once a second
//! with its machine learning off, node_exporter scraped once a second. Each on a free loopback port
//! with directories of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::child::{find_program, free_address, words, Start};
use crate::http;
use crate::scrape::Page;
use crate::usage::Usage;

/// Longest wait for a peer to answer.
const READY: Duration = Duration::from_secs(60);

/// What a peer took.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: &'static str,
    /// CPU seconds while measured.
    pub(crate) cpu_s: f64,
    /// For how long it was measured, in seconds.
    pub(crate) seconds: f64,
    /// Metric values it collected meanwhile.
    pub(crate) metrics: f64,
    /// Resident memory at the end.
    pub(crate) rss_bytes: u64,
}

impl Peer {
    /// CPU per metric, in microseconds.
    pub(crate) fn us_per_metric(&self) -> f64 {
        self.cpu_s * 1e6 / self.metrics.max(1.0)
    }
}

/// netdata: every dimension of every chart counts as one metric a second.
pub(crate) async fn netdata(directory: &Path, length: Duration) -> anyhow::Result<Option<Peer>> {
    let Some(program) = find_program("netdata", None) else { return Ok(None) };
    let address = free_address()?;
    let home = directory.join("netdata");
    for part in ["config", "cache", "lib", "log", "home"] {
        std::fs::create_dir_all(home.join(part))?;
    }
    let config = home.join("config").join("netdata.conf");
    let at = |part: &str| home.join(part).display().to_string();
    let text = format!(
        "[global]\n run as user = root\n[db]\n mode = ram\n update every = 1\n retention = 300\n\
         [directories]\n config = {}\n cache = {}\n lib = {}\n log = {}\n home = {}\n\
         [web]\n bind to = {}\n[ml]\n enabled = no\n[health]\n enabled = no\n\
         [statsd]\n enabled = no\n[registry]\n enabled = no\n",
        at("config"),
        at("cache"),
        at("lib"),
        at("log"),
        at("home"),
        address
    );
    std::fs::write(&config, text)?;
    let mut child = Start {
        name: "netdata",
        program: &program,
        arguments: words([&"-D", &"-c", &config, &"-P", &home.join("pid")]),
        logs: directory,
        environment: vec![("DISABLE_TELEMETRY", "1".into())],
    }
    .spawn()?;
    child.ready(READY, async || http::get(address, "/api/v1/charts").await.is_ok()).await?;
    // Charts come up one after the other in the first seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let before = Usage::of_tree(child.pid()).context("netdata is gone")?;
    tokio::time::sleep(length).await;
    let after = Usage::of_tree(child.pid()).context("netdata is gone")?;
    let charts: Value = serde_json::from_str(&http::get(address, "/api/v1/charts").await?)?;
    let count = |chart: &Value| chart["dimensions"].as_object().map_or(0, serde_json::Map::len);
    let dimensions: usize = charts["charts"].as_object().map_or(0, |all| all.values().map(count).sum());
    child.stop().await?;
    Ok(Some(Peer {
        name: "netdata",
        cpu_s: after.cpu_s - before.cpu_s,
        seconds: length.as_secs_f64(),
        metrics: dimensions as f64 * length.as_secs_f64(),
        rss_bytes: after.rss_bytes,
    }))
}

/// node_exporter: every sample of every scrape counts.
pub(crate) async fn node_exporter(directory: &Path, length: Duration) -> anyhow::Result<Option<Peer>> {
    let names = ["prometheus-node-exporter", "node_exporter"];
    let Some(program) = names.iter().find_map(|name| find_program(name, None)) else { return Ok(None) };
    let address = free_address()?;
    let mut child = Start {
        name: "node_exporter",
        program: &program,
        arguments: words([&format!("--web.listen-address={address}")]),
        logs: directory,
        environment: Vec::new(),
    }
    .spawn()?;
    child.ready(READY, async || http::get(address, "/metrics").await.is_ok()).await?;
    let before = child.usage()?;
    let mut metrics = 0.0;
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..length.as_secs().max(1) {
        clock.tick().await;
        metrics += Page::of(address).await?.len() as f64;
    }
    let after = child.usage()?;
    child.stop().await?;
    Ok(Some(Peer {
        name: "node_exporter",
        cpu_s: after.cpu_s - before.cpu_s,
        seconds: length.as_secs_f64(),
        metrics,
        rss_bytes: after.rss_bytes,
    }))
}
