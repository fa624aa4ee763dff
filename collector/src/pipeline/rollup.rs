//! Roll-ups. A 10-second window of an agent is written from the collector's own reductions when
//! every frame of it passed through this process, and selected from the raw rows otherwise: when it
//! was begun before a restart, or when a frame came late. Coarser levels are selected from the level
//! below. What is made is logged with the newest batch in it; whatever ClickHouse shows to be newer
//! than its log entry is made again. So a crash at any point costs a window at most a second making.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::commit::{now_us, retry};
use super::{PipelineError, Writer};
use crate::handoff::{DirtyWindow, Level, RollupEntry};
use crate::store::{rollup_columns, AgentWindow, Agents, NativeBlock, Reductions};
use crate::telemetry::Telemetry;

/// Closed windows are written this often: an insert costs its columns, and roll-ups have thousands.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// A window is closed once its agent is past it and nothing was added for this long.
const SETTLED: Duration = Duration::from_millis(2500);
/// A window no frame has touched for this long is closed, even when its agent fell silent.
const IDLE: Duration = Duration::from_secs(20);
/// Coarser levels are looked at this often. A statement of SQL costs its analysis, for one window as for
/// many.
const COARSE_INTERVAL: Duration = Duration::from_secs(120);
/// Windows that are made by one statement at most.
const WINDOWS_AT_ONCE: usize = 60;
/// How far back the frequent look goes, and the rare one (every 10th, and the first).
const NEAR_SECONDS: u32 = 3 * 3600;
const FAR_SECONDS: u32 = 48 * 3600;
/// An agent this far past a window's end will hardly add to it, however little time has gone by: it
/// sends what it had to keep.
const FAR_PAST_SECONDS: u32 = 20;
/// Windows are written early when what waits takes this much memory: agents are catching up.
const MOST_BYTES: usize = 24 << 20;
/// A block of roll-ups is closed at this many rows; each has four columns a metric.
const CUT_ROWS: usize = 8192;
/// Batches that may wait to be reduced, and the memory that they take: after a start the statements that make up for
/// what was missed take seconds, for which the line must not stand still.
const QUEUE: usize = 64;
const QUEUE_BYTES: usize = 16 << 20;
/// Memory is counted in pieces of this size.
const PIECE_BYTES: usize = 4 << 10;

/// A committed batch's reductions.
pub(super) struct Update {
    pub batch: u64,
    pub reductions: Reductions,
    /// Agents, windows and batches of earlier batches whose reductions did not come.
    pub missed: Vec<(String, u32, u64)>,
    /// Held until it is taken in.
    _room: OwnedSemaphorePermit,
}

/// Where batches are handed to the task.
pub(super) struct Inbox {
    updates: mpsc::Sender<Update>,
    room: Arc<Semaphore>,
}

/// Room for one batch.
pub(super) struct Room<'a> {
    place: mpsc::Permit<'a, Update>,
    room: OwnedSemaphorePermit,
}

impl Inbox {
    /// Waits until there is room for these; none when the task has ended.
    pub(super) async fn place_for(&self, reductions: &Reductions) -> Option<Room<'_>> {
        let pieces = (reductions.bytes() / PIECE_BYTES + 1).min(QUEUE_BYTES / PIECE_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(pieces as u32).await.ok()?;
        let place = self.updates.reserve().await.ok()?;
        Some(Room { place, room })
    }
}

impl Room<'_> {
    /// Hands a batch's reductions on, and what of earlier batches was not.
    pub(super) fn send(self, batch: u64, reductions: Reductions, missed: Vec<(String, u32, u64)>) {
        self.place.send(Update { batch, reductions, missed, _room: self.room });
    }
}

/// One agent's share of one window on its way to the roll-up table.
enum Share {
    /// Complete as far as committed: every frame passed through here.
    Own(AgentWindow),
    /// To be selected from the raw rows; the newest batch that touched it.
    Select(u64),
}

struct Windows {
    context: Arc<Writer>,
    partition: u16,
    shares: BTreeMap<(u32, String), (Share, Instant)>,
    /// Per agent: windows up to this one were begun elsewhere or are written already.
    floor: HashMap<String, u32>,
    /// Per agent: the newest window seen.
    newest: HashMap<String, u32>,
    version: u64,
}

/// Starts the task; it ends with the channel.
pub(super) async fn start(
    context: Arc<Writer>,
    partition: u16,
    stop: watch::Receiver<bool>,
) -> Result<Inbox, PipelineError> {
    let agents = Agents::Partition { index: partition, count: context.partitions };
    let mut floor = HashMap::new();
    for (agent, last_us) in context.store.newest_samples(agents).await? {
        floor.insert(agent, Level::TenSeconds.window_of((last_us / 1_000_000) as u32));
    }
    let version = context.store.newest_version(partition).await?;
    let (sender, updates) = mpsc::channel(QUEUE);
    let mut windows =
        Windows { context, partition, shares: BTreeMap::new(), floor, newest: HashMap::new(), version };
    windows.find_dirty(FAR_SECONDS).await?;
    tokio::spawn(windows.run(updates, stop));
    Ok(Inbox { updates: sender, room: Arc::new(Semaphore::new(QUEUE_BYTES / PIECE_BYTES)) })
}

impl Windows {
    async fn run(mut self, mut updates: mpsc::Receiver<Update>, mut stop: watch::Receiver<bool>) {
        let mut flush = tokio::time::interval(FLUSH_INTERVAL);
        let mut coarse = tokio::time::interval(COARSE_INTERVAL);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        coarse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut rounds = 0u32;
        loop {
            let outcome = tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => {
                        self.absorb(update);
                        if self.bytes() > MOST_BYTES { self.flush().await } else { Ok(()) }
                    }
                    None => return,
                },
                _ = flush.tick() => self.flush().await,
                _ = coarse.tick() => {
                    let far = if rounds.is_multiple_of(10) { FAR_SECONDS } else { NEAR_SECONDS };
                    rounds += 1;
                    self.coarse(far).await
                }
                _ = stop.changed() => return,
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "a roll-up was not made; it is found and made again later");
            }
        }
    }

    /// Takes in what a batch added.
    fn absorb(&mut self, update: Update) {
        let now = Instant::now();
        for (agent, window, batch) in update.missed {
            let newest = self.newest.entry(agent.clone()).or_insert(window);
            *newest = window.max(*newest);
            let (share, touched) = self.shares.entry((window, agent)).or_insert((Share::Select(0), now));
            *touched = now;
            match share {
                Share::Own(own) => *share = Share::Select(batch.max(own.batch)),
                Share::Select(newest) => *newest = batch.max(*newest),
            }
        }
        let Reductions { windows, seconds, .. } = update.reductions;
        for ((agent, window), partial) in windows {
            self.add(agent, window, &partial, update.batch, now);
        }
        for one in seconds {
            let window = Level::TenSeconds.window_of(one.second);
            self.add(one.agent, window, &one.window, update.batch, now);
        }
    }

    /// Adds a part of a window.
    fn add(&mut self, agent: String, window: u32, part: &AgentWindow, batch: u64, now: Instant) {
        let late = self.floor.get(&agent).is_some_and(|floor| window <= *floor);
        let newest = self.newest.entry(agent.clone()).or_insert(window);
        *newest = window.max(*newest);
        let fresh = if late { Share::Select(0) } else { Share::Own(AgentWindow::default()) };
        let (share, touched) = self.shares.entry((window, agent)).or_insert((fresh, now));
        *touched = now;
        match share {
            Share::Own(own) => {
                own.absorb(part, self.context.catalogue);
                own.batch = own.batch.max(batch);
            }
            Share::Select(newest) => *newest = batch.max(*newest),
        }
    }

    /// Memory of the windows that wait, about.
    fn bytes(&self) -> usize {
        let own = |(share, _): &(Share, Instant)| match share {
            Share::Own(window) => window.bytes(),
            Share::Select(_) => 0,
        };
        self.shares.values().map(own).sum()
    }

    fn next_version(&mut self) -> u64 {
        self.version = (now_us() as u64).max(self.version + 1);
        self.version
    }

    /// Writes the windows that are over.
    async fn flush(&mut self) -> Result<(), PipelineError> {
        let now = Instant::now();
        let over: Vec<(u32, String)> = self
            .shares
            .iter()
            .filter(|((window, agent), (_, touched))| {
                let newest = self.newest.get(agent).copied().unwrap_or(u32::MAX);
                let waits = now.duration_since(*touched);
                let far_past = newest.saturating_sub(*window) >= FAR_PAST_SECONDS;
                far_past || (newest > *window && waits >= SETTLED) || waits >= IDLE
            })
            .map(|(key, _)| key.clone())
            .collect();
        let mut own = Vec::new();
        let mut select: BTreeMap<u32, Vec<(String, u64)>> = BTreeMap::new();
        for key in over {
            let Some((share, _)) = self.shares.remove(&key) else { continue };
            let (window, agent) = key;
            let floor = self.floor.entry(agent.clone()).or_insert(window);
            *floor = window.max(*floor);
            match share {
                Share::Own(share) => own.push((agent, window, share)),
                Share::Select(batch) => select.entry(window).or_default().push((agent, batch)),
            }
        }
        if !own.is_empty() {
            self.write(own).await?;
        }
        let select: Vec<DirtyWindow> =
            select.into_iter().map(|(window, agents)| DirtyWindow { window, agents }).collect();
        self.select(Level::TenSeconds, select).await
    }

    /// Writes windows from the reductions in memory: one block a family, or a few.
    async fn write(&mut self, mut own: Vec<(String, u32, AgentWindow)>) -> Result<(), PipelineError> {
        own.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let version = self.next_version();
        for (index, family) in self.context.catalogue.families.iter().enumerate() {
            let mut block = NativeBlock::new(&rollup_columns(family));
            let (mut rows, mut part) = (0, 0);
            for (at, (agent, window, share)) in own.iter().enumerate() {
                rows += share.write(index, family, agent, *window, version, &mut block);
                let last = at + 1 == own.len();
                if rows == 0 || (rows < CUT_ROWS && !last) {
                    continue;
                }
                let table = format!("{}_{}", family.name, Level::TenSeconds.name());
                let token = format!("{table}:{}:{version}:{part}", self.partition);
                let body = block.finish();
                // Each attempt has a token of its own: rows that come twice replace each other here, and a
                // token of a failed attempt may be remembered without its rows.
                let mut attempt = 0;
                let insert = || {
                    attempt += 1;
                    let token = format!("{token}:{attempt}");
                    let (store, table, body) = (&self.context.store, &table, &body);
                    async move { store.insert_block(table, body, &token).await }
                };
                retry(&self.context, &table, insert).await?;
                block.recycle(body);
                (rows, part) = (0, part + 1);
            }
        }
        let mut log: BTreeMap<u32, Vec<(String, u64)>> = BTreeMap::new();
        Telemetry::add(&self.context.telemetry.counters.windows_reduced, own.len() as u64);
        for (agent, window, share) in own {
            log.entry(window).or_default().push((agent, share.batch));
        }
        let entries: Vec<RollupEntry> = log
            .into_iter()
            .map(|(window, agents)| self.entry(Level::TenSeconds, window, version, agents))
            .collect();
        retry(&self.context, "the roll-up log", || self.context.store.log_rollups(&entries)).await
    }

    fn entry(&self, level: Level, window: u32, version: u64, agents: Vec<(String, u64)>) -> RollupEntry {
        RollupEntry { level, partition: self.partition, window, version, agents }
    }

    /// Makes windows by SQL from the level below.
    async fn select(&mut self, level: Level, mut dirty: Vec<DirtyWindow>) -> Result<(), PipelineError> {
        while !dirty.is_empty() {
            let some: Vec<DirtyWindow> = dirty.drain(..dirty.len().min(WINDOWS_AT_ONCE)).collect();
            let version = self.next_version();
            let store = &self.context.store;
            for family in &self.context.catalogue.families {
                retry(&self.context, &family.name, || store.make_windows(family, level, &some, version))
                    .await?;
            }
            Telemetry::add(&self.context.telemetry.counters.windows_selected, some.len() as u64);
            let entries: Vec<RollupEntry> = some
                .into_iter()
                .map(|window| self.entry(level, window.window, version, window.agents))
                .collect();
            retry(&self.context, "the roll-up log", || self.context.store.log_rollups(&entries)).await?;
        }
        Ok(())
    }

    /// Finds 10-second windows that are newer in the ledger than in the log.
    async fn find_dirty(&mut self, back: u32) -> Result<(), PipelineError> {
        let now = (now_us() / 1_000_000) as u32;
        let (from, until) = (now.saturating_sub(back), now);
        let dirty = self.context.store.dirty_windows(Level::TenSeconds, self.partition, from, until).await?;
        let touched = Instant::now();
        for found in dirty {
            for (agent, batch) in found.agents {
                let key = (found.window, agent);
                let known = self.floor.get(&key.1).is_some_and(|floor| found.window <= *floor);
                if known && !self.shares.contains_key(&key) {
                    self.shares.insert(key, (Share::Select(batch), touched));
                }
            }
        }
        Ok(())
    }

    /// Makes the coarser windows whose parts have changed, and looks for forgotten fine ones.
    async fn coarse(&mut self, back: u32) -> Result<(), PipelineError> {
        self.find_dirty(back).await?;
        for level in [Level::Minute, Level::Hour] {
            let now = (now_us() / 1_000_000) as u32;
            let until = now.saturating_sub(IDLE.as_secs() as u32 + 10);
            let from = now.saturating_sub(back);
            let dirty = self.context.store.dirty_windows(level, self.partition, from, until).await?;
            self.select(level, dirty).await?;
        }
        Ok(())
    }
}
