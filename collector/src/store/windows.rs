//! The collector's own reductions: per agent and 10-second window, per family, entity and metric the
//! minimum, maximum, sum and last value, made in the pass that decodes a frame. Written as roll-up
//! rows once the window is over, they cost a fraction of selecting the raw rows again. They are
//! exact: integers as they came on the wire, scaled only when they are written.
//!
//! A window is only good for this when every one of its frames passed through this process; the
//! pipeline makes the others from the raw rows.

use std::collections::HashMap;

use fettle_shared::catalogue::{Catalogue, Family, ValueType};
use fettle_shared::frame::{Block, KeyColumn, Reduction};

use super::{Level, NativeBlock};

/// One value of an entity's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum KeyValue {
    Int(u64),
    Text(Box<str>),
}

/// One agent's share of one window, over all families (by position in the catalogue).
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
    cells: Vec<Cell>,
}

/// One metric of one entity.
#[derive(Debug, Clone, Copy)]
struct Cell {
    reduction: Reduction,
    count: u32,
}

const EMPTY: Cell = Cell { reduction: Reduction { min: 0, max: 0, sum: 0, last: 0 }, count: 0 };

/// Whether values of this type are compared as unsigned bit patterns.
fn unsigned(value: ValueType) -> bool {
    matches!(value, ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64)
}

impl Cell {
    fn absorb(&mut self, other: &Self, other_is_later: bool, unsigned: bool) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let last = self.reduction.last;
        self.reduction.merge(&other.reduction, unsigned);
        if !other_is_later {
            self.reduction.last = last;
        }
        self.count += other.count;
    }
}

impl FamilyWindow {
    fn slot(&mut self, key: Vec<KeyValue>, width: usize) -> usize {
        let next = self.samples.len() as u32;
        let slot = *self.slots.entry(key).or_insert(next);
        if slot == next {
            self.samples.push(0);
            self.last_us.push(i64::MIN);
            self.cells.resize(self.cells.len() + width, EMPTY);
        }
        slot as usize
    }

    fn absorb(&mut self, other: Self, family: &Family) {
        let width = family.metrics.len();
        for (key, from) in other.slots {
            let from = from as usize;
            let to = self.slot(key, width);
            let later = other.last_us[from] > self.last_us[to];
            self.samples[to] += other.samples[from];
            self.last_us[to] = self.last_us[to].max(other.last_us[from]);
            let cells = &mut self.cells[to * width..(to + 1) * width];
            for ((cell, add), metric) in
                cells.iter_mut().zip(&other.cells[from * width..]).zip(&family.metrics)
            {
                cell.absorb(add, later, unsigned(metric.value));
            }
        }
    }
}

impl AgentWindow {
    /// Takes in what a later (or another) batch has of the same window.
    pub fn absorb(&mut self, other: Self, catalogue: &Catalogue) {
        self.batch = self.batch.max(other.batch);
        for (index, window) in other.families {
            self.families.entry(index).or_default().absorb(window, &catalogue.families[index]);
        }
    }

    /// Memory it takes, about.
    pub fn bytes(&self) -> usize {
        const KEY: usize = 200;
        let of = |w: &FamilyWindow| w.cells.capacity() * size_of::<Cell>() + w.slots.len() * KEY;
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

/// Partial windows of one batch: by agent and window start (seconds since the epoch).
pub type PartialWindows = HashMap<(String, u32), AgentWindow>;

/// Reduces one block of one agent's frame into the windows its scans fall in. `columns[i]` is the
/// position in the catalogue of the block's metric `i`, or none when it is not known.
pub(super) fn reduce_block(
    agent: &str,
    block: &Block<'_>,
    index: usize,
    family: &Family,
    columns: &[Option<usize>],
    windows: &mut PartialWindows,
) {
    let window_of = |us: i64| Level::TenSeconds.window_of((us / 1_000_000) as u32);
    let mut starts: Vec<u32> = block.scans.iter().map(|us| window_of(*us)).collect();
    starts.sort_unstable();
    starts.dedup();
    for window in starts {
        let mut mask = 0u128;
        for (k, &us) in block.scans.iter().enumerate() {
            mask |= u128::from(window_of(us) == window) << k;
        }
        let own = windows.entry((agent.to_owned(), window)).or_default();
        let own = own.families.entry(index).or_default();
        reduce_masked(block, mask, family, columns, own);
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
        let slot = own.slot(key_of(&block.keys, entity), width);
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
            let cell = Cell { reduction, count: rows };
            own.cells[slot * width + column].absorb(&cell, later, flag);
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
