//! The collector's own reductions, made in the pass that decodes a frame: per agent and second, per family,
//! entity and metric the minimum, maximum, sum and last value. Detection works on the seconds; 10-second
//! windows are seconds absorbed, and written as roll-up rows once they are over, at a fraction of the cost of
//! selecting the raw rows again. They are exact: integers as they came on the wire, scaled only when used.
//!
//! A window is only good for a roll-up when every one of its frames passed through this process; the
//! pipeline makes the others from the raw rows.
//!
//! A second that is too old to be judged live is absorbed at once, and its buffers serve the next one; what is
//! kept of seconds is bounded, because an agent that catches up sends hundreds in one batch.

use std::collections::HashMap;
use std::sync::Arc;

use fettle_analysis::second::{KeyValue, RawCell, RawEntity, RawFamily};
use fettle_shared::catalogue::{Catalogue, Family, ValueType};
use fettle_shared::frame::{Block, KeyColumn, Reduction};

use super::{Level, NativeBlock};

/// Memory of the seconds that are kept of one batch.
const MOST_KEPT_BYTES: usize = 32 << 20;
/// Seconds of one agent that are open at a time; a frame has one, but for a clock that was set.
const MOST_OPEN: usize = 4;

/// One agent's share of one second or window, over all families (by position in the catalogue).
#[derive(Debug, Default)]
pub struct AgentWindow {
    /// Newest batch that is in it; set by the pipeline.
    pub batch: u64,
    families: HashMap<usize, FamilyWindow>,
}

/// One family's share: entities × metrics, row-major.
#[derive(Debug, Default)]
struct FamilyWindow {
    slots: HashMap<Vec<KeyValue>, u32>,
    samples: Vec<u32>,
    last_us: Vec<i64>,
    cells: Vec<RawCell>,
}

/// Whether values of this type are compared as unsigned bit patterns.
fn unsigned(value: ValueType) -> bool {
    matches!(value, ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64)
}

fn absorb(cell: &mut RawCell, other: &RawCell, other_is_later: bool, unsigned: bool) {
    if other.count == 0 {
        return;
    }
    if cell.count == 0 {
        *cell = *other;
        return;
    }
    let last = cell.reduction.last;
    cell.reduction.merge(&other.reduction, unsigned);
    if !other_is_later {
        cell.reduction.last = last;
    }
    cell.count += other.count;
}

impl FamilyWindow {
    fn slot(&mut self, key: &[KeyValue], width: usize) -> usize {
        if let Some(slot) = self.slots.get(key) {
            return *slot as usize;
        }
        let slot = self.samples.len();
        self.slots.insert(key.to_vec(), slot as u32);
        self.samples.push(0);
        self.last_us.push(i64::MIN);
        self.cells.resize(self.cells.len() + width, RawCell::NONE);
        slot
    }

    fn absorb(&mut self, other: &Self, family: &Family) {
        let width = family.metrics.len();
        for (key, from) in &other.slots {
            let from = *from as usize;
            let to = self.slot(key, width);
            let later = other.last_us[from] > self.last_us[to];
            self.samples[to] += other.samples[from];
            self.last_us[to] = self.last_us[to].max(other.last_us[from]);
            let cells = &mut self.cells[to * width..(to + 1) * width];
            for ((cell, add), metric) in
                cells.iter_mut().zip(&other.cells[from * width..]).zip(&family.metrics)
            {
                absorb(cell, add, later, unsigned(metric.value));
            }
        }
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.samples.clear();
        self.last_us.clear();
        self.cells.clear();
    }
}

impl AgentWindow {
    /// Takes in what a later (or another) batch has of the same window.
    pub fn absorb(&mut self, other: &Self, catalogue: &Catalogue) {
        self.batch = self.batch.max(other.batch);
        for (index, window) in &other.families {
            self.families.entry(*index).or_default().absorb(window, &catalogue.families[*index]);
        }
    }

    /// Empties it, keeping its buffers.
    fn clear(&mut self) {
        self.batch = 0;
        self.families.values_mut().for_each(FamilyWindow::clear);
    }

    /// Its families as detection takes them, entities in the order of their keys.
    pub fn families(&self, catalogue: &Catalogue) -> Vec<RawFamily<'_>> {
        let mut families: Vec<RawFamily<'_>> = self
            .families
            .iter()
            .filter(|(_, own)| !own.slots.is_empty())
            .map(|(index, own)| {
                let width = catalogue.families[*index].metrics.len();
                let mut entities: Vec<RawEntity<'_>> = own
                    .slots
                    .iter()
                    .map(|(key, slot)| {
                        let slot = *slot as usize;
                        let cells = &own.cells[slot * width..(slot + 1) * width];
                        RawEntity { key, last_us: own.last_us[slot], cells }
                    })
                    .collect();
                entities.sort_unstable_by_key(|entity| entity.key);
                RawFamily { family: *index, entities }
            })
            .collect();
        families.sort_unstable_by_key(|family| family.family);
        families
    }

    /// Memory it takes, about.
    pub fn bytes(&self) -> usize {
        const KEY: usize = 200;
        let of = |w: &FamilyWindow| w.cells.capacity() * size_of::<RawCell>() + w.slots.len() * KEY;
        self.families.values().map(of).sum()
    }

    /// Appends the window's rows of one family to a block with the columns of
    /// [`super::rollup_columns`]; gives how many.
    pub fn write(
        &self,
        index: usize,
        family: &Family,
        host: &str,
        window: u32,
        version: u64,
        block: &mut NativeBlock,
    ) -> usize {
        let Some(own) = self.families.get(&index) else { return 0 };
        let mut order: Vec<_> = own.slots.iter().collect();
        order.sort();
        let width = family.metrics.len();
        block.column(0).fill_text(host, order.len());
        block.column(1).fill(i64::from(window), order.len());
        for (key, slot) in &order {
            let slot = **slot as usize;
            for (at, value) in key.iter().enumerate() {
                match value {
                    KeyValue::Int(n) => block.column(2 + at).fill(*n as i64, 1),
                    KeyValue::Text(text) => block.column(2 + at).fill_text(text, 1),
                }
            }
            let mut at = 2 + family.entity.len();
            block.column(at).fill(i64::from(own.samples[slot]), 1);
            for (cell, metric) in own.cells[slot * width..].iter().zip(&family.metrics) {
                let Reduction { min, max, sum, last } = cell.reduction;
                for value in [min, max, sum, last] {
                    at += 1;
                    if cell.count == 0 && metric.optional {
                        block.column(at).fill_null(1);
                    } else {
                        block.column(at).fill(value, 1);
                    }
                }
                if metric.optional {
                    at += 1;
                    block.column(at).fill(i64::from(cell.count), 1);
                }
            }
            block.column(at + 1).fill(version as i64, 1);
        }
        order.len()
    }
}

/// Windows of 10 seconds of one batch: by agent and start (seconds since the epoch).
pub type PartialWindows = HashMap<(String, u32), AgentWindow>;

/// One second of one agent, as far as one batch has it.
#[derive(Debug, Clone)]
pub struct SecondWindow {
    /// The agent.
    pub agent: String,
    /// Start of the second, seconds since the epoch.
    pub second: u32,
    /// Its reductions.
    pub window: Arc<AgentWindow>,
}

/// What the frames of one batch reduce to.
#[derive(Debug, Default)]
pub struct Reductions {
    /// Seconds that may be judged live; none of them is in `windows`.
    pub seconds: Vec<SecondWindow>,
    /// Windows absorbed from all other seconds.
    pub windows: PartialWindows,
    /// Seconds that were too old to be judged live.
    pub old: u64,
    /// Seconds that would have been judged live had there been memory for them.
    pub crowded: u64,
}

impl Reductions {
    /// Memory they take, about.
    pub fn bytes(&self) -> usize {
        let seconds: usize = self.seconds.iter().map(|second| second.window.bytes()).sum();
        seconds + self.windows.values().map(AgentWindow::bytes).sum::<usize>()
    }

    /// The windows that the batch touched: agent and start.
    pub fn windows_touched(self) -> Vec<(String, u32)> {
        let mut touched: Vec<(String, u32)> = self.windows.into_keys().collect();
        touched.extend(self.seconds.into_iter().map(|s| (s.agent, Level::TenSeconds.window_of(s.second))));
        touched.sort_unstable();
        touched.dedup();
        touched
    }
}

/// Makes reductions of one batch after the other.
#[derive(Debug)]
pub(super) struct Reducer {
    catalogue: &'static Catalogue,
    open: HashMap<String, Vec<(u32, AgentWindow)>>,
    done: Reductions,
    kept_bytes: usize,
    /// Seconds from this one on are kept.
    keep_from: u32,
    spare: Vec<AgentWindow>,
}

impl Reducer {
    pub fn new(catalogue: &'static Catalogue) -> Self {
        Self {
            catalogue,
            open: HashMap::new(),
            done: Reductions::default(),
            kept_bytes: 0,
            keep_from: u32::MAX,
            spare: Vec::new(),
        }
    }

    /// Seconds from this one on are kept as such; `u32::MAX`: none.
    pub fn keep_from(&mut self, second: u32) {
        self.keep_from = second;
    }

    /// A frame of an agent begins at this second: earlier ones of the agent are over.
    pub fn begin(&mut self, agent: &str, second: u32) {
        let Some(open) = self.open.get_mut(agent) else { return };
        let crowded = open.len() >= MOST_OPEN;
        let over: Vec<(u32, AgentWindow)> =
            open.extract_if(.., |(own, _)| *own < second || crowded).collect();
        for (second, window) in over {
            self.close(agent.to_owned(), second, window);
        }
    }

    /// Reduces one block of one agent's frame into the seconds its scans fall in. `columns[i]` is the
    /// position in the catalogue of the block's metric `i`, or none when it is not known.
    pub fn block(&mut self, agent: &str, block: &Block<'_>, index: usize, columns: &[Option<usize>]) {
        let family = &self.catalogue.families[index];
        let second_of = |us: i64| (us / 1_000_000) as u32;
        let mut left = block.scans.len();
        let mut seen = 0u128;
        while left > 0 {
            let at = seen.trailing_ones() as usize;
            let second = second_of(block.scans[at]);
            let mut mask = 0u128;
            for (k, &us) in block.scans.iter().enumerate() {
                mask |= u128::from(second_of(us) == second) << k;
            }
            seen |= mask;
            left -= mask.count_ones() as usize;
            let own = self.window(agent, second).families.entry(index).or_default();
            reduce_masked(block, mask, family, columns, own);
        }
    }

    fn window(&mut self, agent: &str, second: u32) -> &mut AgentWindow {
        if !self.open.contains_key(agent) {
            self.open.insert(agent.to_owned(), Vec::new());
        }
        let spare = &mut self.spare;
        // It was put there just now.
        let open = self.open.entry(agent.to_owned()).or_default();
        let at = match open.iter().position(|(own, _)| *own == second) {
            Some(at) => at,
            None => {
                open.push((second, spare.pop().unwrap_or_default()));
                open.len() - 1
            }
        };
        &mut open[at].1
    }

    /// A second is over: kept, or absorbed by its window.
    fn close(&mut self, agent: String, second: u32, mut window: AgentWindow) {
        if second >= self.keep_from {
            let bytes = window.bytes();
            if self.kept_bytes + bytes <= MOST_KEPT_BYTES {
                self.kept_bytes += bytes;
                self.done.seconds.push(SecondWindow { agent, second, window: Arc::new(window) });
                return;
            }
            self.done.crowded += 1;
        } else {
            self.done.old += 1;
        }
        let key = (agent, Level::TenSeconds.window_of(second));
        self.done.windows.entry(key).or_default().absorb(&window, self.catalogue);
        window.clear();
        self.spare.push(window);
    }

    /// What there is, and begins the next batch.
    pub fn finish(&mut self) -> Reductions {
        for (agent, open) in std::mem::take(&mut self.open) {
            for (second, window) in open {
                self.close(agent.clone(), second, window);
            }
        }
        self.kept_bytes = 0;
        // Enough for the next batch's first agents; a batch of catching up may have had a thousand.
        self.spare.truncate(8);
        std::mem::take(&mut self.done)
    }
}

/// Reduces the scans in `mask`. The rows of a run that fall outside the mask are not counted.
fn reduce_masked(
    block: &Block<'_>,
    mask: u128,
    family: &Family,
    columns: &[Option<usize>],
    own: &mut FamilyWindow,
) {
    let width = family.metrics.len();
    let mut lengths: Vec<u32> = Vec::new();
    let mut run_from = 0;
    for (entity, &presence) in block.presence.iter().enumerate() {
        let runs = block.entity_runs[entity] as usize;
        let range = run_from..run_from + runs;
        run_from += runs;
        let rows = (presence & mask).count_ones();
        if rows == 0 {
            continue;
        }
        lengths.clear();
        masked_lengths(presence, mask, &block.runs[range.clone()], &mut lengths);
        let slot = own.slot(&key_of(&block.keys, entity), width);
        let last_us = last_time(&block.scans, presence & mask);
        let later = last_us > own.last_us[slot];
        own.samples[slot] += rows;
        own.last_us[slot] = own.last_us[slot].max(last_us);
        let from = lengths.iter().position(|n| *n > 0).unwrap_or(0);
        let until = lengths.iter().rposition(|n| *n > 0).map_or(0, |n| n + 1);
        for (at, column) in columns.iter().enumerate() {
            let Some(column) = *column else { continue };
            let values = &block.column(at)[range.clone()][from..until];
            let flag = unsigned(family.metrics[column].value);
            let Some(reduction) = Reduction::of_runs(values, &lengths[from..until], flag) else { continue };
            let cell = RawCell { reduction, count: rows };
            absorb(&mut own.cells[slot * width + column], &cell, later, flag);
        }
    }
}

/// How many rows of each run fall into the mask.
fn masked_lengths(presence: u128, mask: u128, runs: &[u32], lengths: &mut Vec<u32>) {
    if presence & !mask == 0 {
        lengths.extend_from_slice(runs);
        return;
    }
    let mut left = presence;
    for &run in runs {
        let mut inside = 0;
        for _ in 0..run {
            let bit = left & left.wrapping_neg();
            inside += u32::from(bit & mask != 0);
            left &= left - 1;
        }
        lengths.push(inside);
    }
}

fn last_time(scans: &[i64], presence: u128) -> i64 {
    scans.iter().enumerate().filter(|(k, _)| presence >> k & 1 == 1).map(|(_, us)| *us).max().unwrap_or(0)
}

fn key_of(columns: &[KeyColumn<'_>], entity: usize) -> Vec<KeyValue> {
    columns
        .iter()
        .map(|column| match column {
            KeyColumn::Int(values) => KeyValue::Int(values[entity]),
            KeyColumn::Text(values) => KeyValue::Text(values[entity].into()),
        })
        .collect()
}
