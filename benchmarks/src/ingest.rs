//! Benchmark 3: the whole path. Recorded real frames, replayed as many agents, go through JetStream's
//! file storage, the collector and the embedded ClickHouse, roll-ups included; the same samples go
//! into VictoriaMetrics in the same run.
//!
//! CPU time is taken twice: when the ledger has every frame, and when everything is at rest, with
//! roll-ups and merges made. The second is the one that is compared, for both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{bail, Context as _};
use async_nats::jetstream;
use async_nats::HeaderMap;
use bytes::Bytes;
use fettle_shared::subjects::{message_id, metrics_subject};
use futures_util::stream::FuturesUnordered;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::insight::Insight;
use crate::recording::{players, Player, Recording, Restamper};
use crate::report::Table;
use crate::scrape::Page;
use crate::sink::ensure_stream;
use crate::sql::Sql;
use crate::stack::{Part, Stack};
use crate::usage::Usage;
use crate::victoria::QUIET;

/// Publishes that may wait for their acknowledgement.
const WINDOW: usize = 256;
/// Longest wait for the ledger, and for everything to be at rest.
const STORED: Duration = Duration::from_secs(900);
const REST: Duration = Duration::from_secs(240);
/// A window nobody writes to is closed by the collector after 20 s, and written within 5 s.
const ROLL_UPS: Duration = Duration::from_secs(26);
/// At rest, collector and engine together take less than this share of a core.
const QUIET_CORES: f64 = 0.15;

/// Frames of all agents, agent by agent, each in order.
#[derive(Debug)]
pub(crate) struct Load {
    /// Who plays them.
    pub(crate) players: Vec<Player>,
    /// Their frames.
    pub(crate) frames: Vec<Vec<Bytes>>,
    /// All their samples.
    pub(crate) samples: u64,
    /// All their bytes.
    pub(crate) bytes: u64,
}

/// Makes the load before anything is measured: what it costs is nobody's.
pub(crate) fn prepare(recording: &Recording, agents: usize, frames_each: usize) -> anyhow::Result<Load> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let base_us = (now - frames_each as u64 - 5) as i64 * 1_000_000;
    let players = players(recording, agents, frames_each, base_us);
    let mut restamper = Restamper::default();
    let mut load = Load { players: Vec::new(), frames: Vec::new(), samples: 0, bytes: 0 };
    for player in &players {
        let mut frames = Vec::with_capacity(frames_each);
        for at in 0..frames_each {
            let (header, bytes) = restamper.frame(recording, player, at)?;
            load.samples += header.samples;
            load.bytes += bytes.len() as u64;
            frames.push(bytes);
        }
        load.frames.push(frames);
    }
    load.players = players;
    Ok(load)
}

/// Publishes frames as agents do.
#[derive(Debug)]
pub(crate) struct Publisher {
    context: jetstream::Context,
}

impl Publisher {
    /// Connects.
    pub(crate) async fn open(nats: &Part) -> anyhow::Result<Self> {
        let client = async_nats::connect(format!("nats://{}", nats.address)).await?;
        ensure_stream(&client).await?;
        Ok(Self { context: jetstream::new(client) })
    }

    /// Publishes frames and waits for every acknowledgement; a refused one is sent again.
    pub(crate) async fn publish(
        &self,
        frames: impl Iterator<Item = (&Player, u64, Bytes)>,
    ) -> anyhow::Result<()> {
        let mut open = FuturesUnordered::new();
        for (player, seq, bytes) in frames {
            if open.len() >= WINDOW {
                open.next().await.transpose()?;
            }
            open.push(self.one(player, seq, bytes));
        }
        while open.next().await.transpose()?.is_some() {}
        Ok(())
    }

    async fn one(&self, player: &Player, seq: u64, bytes: Bytes) -> anyhow::Result<()> {
        let subject = metrics_subject(0, &player.name);
        for attempt in 0..20 {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", message_id(&player.name, player.boot, seq, attempt));
            let sent = self.context.publish_with_headers(subject.clone(), headers, bytes.clone()).await;
            let refused = match sent {
                Ok(acknowledgement) => match acknowledgement.await {
                    Ok(_) => return Ok(()),
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            if attempt == 19 {
                bail!("JetStream does not take {subject} {seq}: {refused}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

/// The parts of the path.
pub(crate) struct Path {
    /// Transport.
    pub(crate) nats: Part,
    /// The engine.
    pub(crate) clickhouse: Part,
    /// The collector.
    pub(crate) collector: Part,
    /// Questions.
    pub(crate) sql: Sql,
}

impl Path {
    /// Starts all of them.
    pub(crate) async fn start(stack: &Stack) -> anyhow::Result<Self> {
        Self::configured(stack, "").await
    }

    /// The same with lines of the collector's configuration.
    pub(crate) async fn configured(stack: &Stack, configuration: &str) -> anyhow::Result<Self> {
        let nats = stack.nats().await?;
        let (clickhouse, sql) = stack.clickhouse().await?;
        let collector = stack.configured_collector(&nats, &clickhouse, configuration).await?;
        Ok(Self { nats, clickhouse, collector, sql })
    }

    /// Usage of all parts and of this process.
    pub(crate) fn usage(&self) -> anyhow::Result<Costs> {
        Ok(Costs {
            collector: self.collector.child.usage()?,
            engine: self.clickhouse.child.usage()?,
            nats: self.nats.child.usage()?,
            publisher: Usage::of(std::process::id()).context("this process is not in /proc")?,
        })
    }

    /// Stops them, the last in the line first.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.collector.child.stop().await?;
        self.clickhouse.child.stop().await?;
        self.nats.child.stop().await
    }
}

/// What each part used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Costs {
    /// The collector.
    pub(crate) collector: Usage,
    /// The engine.
    pub(crate) engine: Usage,
    /// nats-server.
    pub(crate) nats: Usage,
    /// This process.
    pub(crate) publisher: Usage,
}

impl Costs {
    /// CPU of collector and engine since then.
    pub(crate) fn pair_since(&self, before: &Self) -> f64 {
        self.collector.cpu_s - before.collector.cpu_s + self.engine.cpu_s - before.engine.cpu_s
    }

    /// Memory of collector and engine now.
    pub(crate) fn pair_rss(&self) -> u64 {
        self.collector.rss_bytes + self.engine.rss_bytes
    }
}

/// What the path showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Before anything was published.
    pub(crate) before: Costs,
    /// When the ledger had every frame.
    pub(crate) stored: Costs,
    /// When everything was at rest.
    pub(crate) settled: Costs,
    /// Shares of a core that collector and engine take with nothing to do.
    pub(crate) idle: (f64, f64),
    /// What the engine did, from before to rest.
    pub(crate) insight: Table,
    /// Seconds until all was published.
    pub(crate) published_s: f64,
    /// Seconds until the ledger had every frame.
    pub(crate) stored_s: f64,
    /// Seconds until everything was at rest.
    pub(crate) settled_s: f64,
    /// Most memory of collector and engine together.
    pub(crate) peak_pair: u64,
    /// Samples in the ledger.
    pub(crate) ledger_samples: f64,
    /// Rows of `ledger_gaps`; must be 0.
    pub(crate) gaps: f64,
}

/// Runs the load through the path.
pub(crate) async fn run(path: &Path, load: &Load) -> anyhow::Result<Outcome> {
    let publisher = Publisher::open(&path.nats).await?;
    let idle = path.usage()?;
    tokio::time::sleep(QUIET).await;
    let before = path.usage()?;
    let share = |now: Usage, then: Usage| (now.cpu_s - then.cpu_s) / QUIET.as_secs_f64();
    let idle = (share(before.collector, idle.collector), share(before.engine, idle.engine));
    let insight = Insight::of(path).await?;
    let began = Instant::now();
    let seconds = load.frames.iter().map(Vec::len).max().unwrap_or(0);
    let in_order = (0..seconds).flat_map(|at| {
        let of =
            move |(player, frames): (_, &Vec<Bytes>)| Some((player, at as u64 + 1, frames.get(at)?.clone()));
        load.players.iter().zip(&load.frames).filter_map(of)
    });
    let frames: usize = load.frames.iter().map(Vec::len).sum();
    let mut peak = 0;
    let waiting = async {
        // The collector's own counter says when to look; asking the ledger all the time would cost.
        while frames_stored(path).await? < frames as f64 {
            peak = peak.max(path.usage()?.pair_rss());
            if began.elapsed() > STORED {
                bail!("the ledger was not complete after {STORED:?}; {}", path.collector.child.tail());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    let publishing = async {
        publisher.publish(in_order).await?;
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    let (published_s, stored_s) = tokio::try_join!(publishing, waiting)?;
    let stored = path.usage()?;
    let (settled, later_peak) = settle(path).await?;
    Ok(Outcome {
        before,
        stored,
        settled,
        idle,
        insight: Insight::of(path).await?.table(&insight),
        published_s,
        stored_s,
        settled_s: began.elapsed().as_secs_f64(),
        peak_pair: peak.max(later_peak),
        ledger_samples: path.sql.number("SELECT sum(samples) FROM ledger WHERE agent LIKE 'agent-%'").await?,
        gaps: path.sql.number("SELECT count() FROM ledger_gaps").await?,
    })
}

async fn frames_stored(path: &Path) -> anyhow::Result<f64> {
    let page = Page::of(path.collector.address).await?;
    page.value("fettle_collector_frames_stored_total").context("the collector's page has no frames_stored")
}

/// Waits until roll-ups and merges are made; gives the costs then and the most memory meanwhile.
async fn settle(path: &Path) -> anyhow::Result<(Costs, u64)> {
    let began = Instant::now();
    let (mut last, mut peak) = (path.usage()?, 0);
    loop {
        tokio::time::sleep(QUIET).await;
        let now = path.usage()?;
        peak = peak.max(now.pair_rss());
        let quiet = now.pair_since(&last) < QUIET_CORES * QUIET.as_secs_f64();
        let merges = path.sql.number("SELECT count() FROM system.merges").await?;
        if (began.elapsed() > ROLL_UPS && quiet && merges == 0.0) || began.elapsed() > REST {
            return Ok((now, peak));
        }
        last = now;
    }
}
