//! VictoriaMetrics, fed the same samples: JSON lines over one connection, its documented bulk path,
//! once with a second of samples a line, as fresh as Fettle's own, once with ten seconds a line, which
//! is kinder to it. A third run takes its own binary export (`/api/v1/import/native`): the fastest way
//! there is, but only another VictoriaMetrics can write it. It may work in the background as long as
//! it likes before its disk is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::time::Instant;

use crate::child::{find_program, free_address, words, Child, Start};
use crate::http::{self, Upload};
use crate::lines::Lines;
use crate::scrape::Page;
use crate::settings::bytes_below;
use crate::usage::Usage;

/// Longest wait for it to answer, and to be at rest.
const READY: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(180);
/// At rest is a process that takes less than this share of a core...
const QUIET_CORES: f64 = 0.03;
/// ...for this long.
pub(crate) const QUIET: Duration = Duration::from_secs(5);
/// Text is sent in pieces of about this size.
const PIECE: usize = 4 << 20;

/// Everything it has, in its own format.
const EXPORT: &str = "/api/v1/export/native?match%5B%5D=%7B__name__%21%3D%22%22%7D";

/// What VictoriaMetrics took.
#[derive(Debug, Clone)]
pub(crate) struct Victoria {
    /// Which way it was fed.
    pub(crate) path: String,
    /// Whether anyone can feed it this way.
    pub(crate) common: bool,
    /// Samples sent.
    pub(crate) samples: u64,
    /// Samples it says it has.
    pub(crate) stored: f64,
    /// Bytes of text sent.
    pub(crate) sent_bytes: u64,
    /// Seconds until everything was accepted.
    pub(crate) seconds: f64,
    /// CPU seconds until everything was accepted.
    pub(crate) cpu_s: f64,
    /// CPU seconds until it was at rest.
    pub(crate) cpu_settled_s: f64,
    /// Most resident memory.
    pub(crate) peak_bytes: u64,
    /// (data, index) bytes on disk once it was at rest.
    pub(crate) disk: (u64, u64),
    /// The same after a forced merge.
    pub(crate) disk_merged: (u64, u64),
}

impl Victoria {
    /// Bytes per sample at rest, index included.
    pub(crate) fn bytes_per_sample(&self, disk: (u64, u64)) -> f64 {
        (disk.0 + disk.1) as f64 / self.samples.max(1) as f64
    }
}

/// What it is fed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Food<'a> {
    /// The frames of all agents, agent by agent, each in order, as JSON lines of this many frames each.
    Lines(&'a [Vec<Bytes>], usize),
    /// Another one's native export of this many samples.
    Native(&'a [u8], u64),
}

impl Food<'_> {
    fn path(&self) -> String {
        match self {
            Food::Lines(_, window) => format!("JSON lines, {window} s a line"),
            Food::Native(..) => "another one's native export".to_owned(),
        }
    }
}

/// Feeds it; gives what that took, and its native export if `export` asks for it. `None`: it is not
/// installed.
pub(crate) async fn measure(
    directory: &Path,
    food: Food<'_>,
    export: bool,
) -> anyhow::Result<Option<(Victoria, Vec<u8>)>> {
    let name = match food {
        Food::Lines(_, window) => format!("victoria-{window}"),
        Food::Native(..) => "victoria-native".to_owned(),
    };
    let Some((mut child, address)) = start(directory, &name).await? else { return Ok(None) };
    let data = directory.join(&name);
    let before = child.usage()?;
    let began = Instant::now();
    let (samples, sent_bytes) = match food {
        Food::Lines(agents, window) => feed(address, agents, window).await?,
        Food::Native(bytes, samples) => {
            let mut upload = Upload::begin(address, "/api/v1/import/native").await?;
            for piece in bytes.chunks(PIECE) {
                upload.send(piece).await?;
            }
            upload.finish().await?;
            (samples, bytes.len() as u64)
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let accepted = child.usage()?;
    http::get(address, "/internal/force_flush").await?;
    let settled = rest(&mut child).await?;
    let stored = rows(address).await?;
    let disk = sizes(&data);
    // Without an export the run that would be fed it is left out; this one is good all the same.
    let exported =
        if export { http::get_bytes(address, EXPORT).await.unwrap_or_default() } else { Vec::new() };
    http::get(address, "/internal/force_merge").await?;
    rest(&mut child).await?;
    let disk_merged = sizes(&data);
    child.stop().await?;
    let victoria = Victoria {
        path: food.path(),
        common: matches!(food, Food::Lines(..)),
        samples,
        stored,
        sent_bytes,
        seconds,
        cpu_s: accepted.cpu_s - before.cpu_s,
        cpu_settled_s: settled.cpu_s - before.cpu_s,
        peak_bytes: settled.peak_bytes,
        disk,
        disk_merged,
    };
    Ok(Some((victoria, exported)))
}

async fn start(directory: &Path, name: &str) -> anyhow::Result<Option<(Child, SocketAddr)>> {
    let names = ["victoria-metrics", "victoria-metrics-prod"];
    let Some(program) = names.iter().find_map(|name| find_program(name, None)) else { return Ok(None) };
    let address = free_address()?;
    let mut child = Start {
        name,
        program: &program,
        arguments: words([
            &format!("-storageDataPath={}", directory.join(name).display()),
            &format!("-httpListenAddr={address}"),
            &"-retentionPeriod=1",
            &"-import.maxLineLen=104857600",
        ]),
        logs: directory,
        environment: Vec::new(),
    }
    .spawn()?;
    child.ready(READY, async || http::get(address, "/health").await.is_ok()).await?;
    Ok(Some((child, address)))
}

/// Window by window, all agents in each, as they would come.
async fn feed(address: SocketAddr, agents: &[Vec<Bytes>], window: usize) -> anyhow::Result<(u64, u64)> {
    let mut upload = Upload::begin(address, "/api/v1/import").await?;
    let mut texts: Vec<Lines> = agents.iter().map(|_| Lines::default()).collect();
    let most = agents.iter().map(Vec::len).max().unwrap_or(0);
    let (mut samples, mut sent, mut out) = (0, 0, String::with_capacity(PIECE * 2));
    for begin in (0..most).step_by(window.max(1)) {
        for (frames, lines) in agents.iter().zip(&mut texts) {
            for frame in frames.iter().skip(begin).take(window) {
                samples += lines.add(frame)?;
            }
            lines.take(&mut out);
            if out.len() >= PIECE {
                sent += out.len() as u64;
                upload.send(out.as_bytes()).await?;
                out.clear();
            }
        }
    }
    sent += out.len() as u64;
    upload.send(out.as_bytes()).await?;
    upload.finish().await.context("VictoriaMetrics did not take the lines")?;
    Ok((samples, sent))
}

/// Waits until a process is at rest, or long enough.
async fn rest(child: &mut Child) -> anyhow::Result<Usage> {
    let began = Instant::now();
    let mut last = child.usage()?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = child.usage()?;
        if now.cpu_s - last.cpu_s < QUIET_CORES * QUIET.as_secs_f64() || began.elapsed() > REST {
            return Ok(now);
        }
        last = now;
    }
}

async fn rows(address: SocketAddr) -> anyhow::Result<f64> {
    let page = Page::of(address).await?;
    let of = |kind: &str| page.value(&format!("vm_rows{{type=\"storage/{kind}\"}}")).unwrap_or(0.0);
    Ok(["big", "small", "inmemory"].map(of).iter().sum())
}

fn sizes(data: &Path) -> (u64, u64) {
    (bytes_below(&data.join("data")), bytes_below(&data.join("indexdb")))
}
