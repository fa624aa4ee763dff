//! Collects scans on the agent. A row that equals the entity's previous one costs one bit; a changed
//! row is kept whole until the frame is sealed. In steady state nothing is allocated: vectors keep
//! their capacity from frame to frame.

use std::collections::HashMap;

use super::{Header, MAX_KEY_TEXT, MAX_ROWS, MAX_SAMPLES, MAX_SCANS};
use crate::catalogue::Catalogue;

/// Changed values past which a frame is called full. They compress to some two bytes each, so that
/// the payload stays well below [`super::MAX_PAYLOAD`] even when one more scan comes.
const MAX_CHANGED: u64 = 1 << 18;

/// One value of an entity's key, as the sampler gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// A number.
    Int(u64),
    /// A text; cut at [`MAX_KEY_TEXT`] bytes.
    Text(&'a str),
}

/// One value of an entity's key, kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum OwnedKey {
    Int(u64),
    Text(String),
}

/// Place of an entity in its family; valid until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u32);

/// Who seals a frame, and as which.
#[derive(Debug, Clone, Copy)]
pub struct FrameMeta<'a> {
    /// A valid agent name.
    pub agent: &'a str,
    /// The spool's boot.
    pub boot: u64,
    /// The frame's number.
    pub seq: u64,
}

/// One entity of one family.
#[derive(Debug, Default)]
pub(super) struct Entity {
    pub key: Vec<OwnedKey>,
    pub presence: u128,
    pub changes: u128,
    /// Changed rows of this frame, one after the other.
    pub rows: Vec<i64>,
    /// The newest row.
    last: Vec<i64>,
    /// How often it was added and not yet removed.
    owners: u32,
}

/// One family of the frame in the making.
#[derive(Debug)]
pub(super) struct FamilyState {
    pub id: u16,
    pub width: usize,
    pub metric_ids: Vec<u16>,
    pub present: Vec<bool>,
    /// How many of them are.
    columns: usize,
    pub scans: Vec<i64>,
    pub entities: Vec<Entity>,
    /// Slots in the order of their keys.
    pub order: Vec<u32>,
    order_stale: bool,
    /// The slot of every key in `order`: a key stands in a frame once.
    slots: HashMap<Vec<OwnedKey>, u32>,
    free: Vec<u32>,
    leaving: Vec<u32>,
    /// Rows of this frame.
    pub rows: u64,
    /// Changed values of this frame, in all columns.
    changed: u64,
}

impl FamilyState {
    pub(super) fn columns(&self) -> usize {
        self.columns
    }
}

/// Collects one frame after the other; one per agent.
pub struct FrameBuilder {
    pub(super) catalogue_version: u32,
    pub(super) families: Vec<FamilyState>,
    /// Position in `families` by family number.
    index: Vec<u16>,
    pub(super) encoder: super::encode::Encoder,
}

impl std::fmt::Debug for FrameBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameBuilder").field("samples", &self.samples()).finish_non_exhaustive()
    }
}

impl FrameBuilder {
    /// An empty builder for the catalogue's families.
    pub fn new(catalogue: &'static Catalogue) -> Self {
        let families: Vec<_> = catalogue
            .families
            .iter()
            .map(|f| FamilyState {
                id: f.id,
                width: f.metrics.len(),
                metric_ids: f.metrics.iter().map(|m| m.id).collect(),
                present: vec![true; f.metrics.len()],
                columns: f.metrics.len(),
                scans: Vec::with_capacity(MAX_SCANS),
                entities: Vec::new(),
                order: Vec::new(),
                order_stale: false,
                slots: HashMap::new(),
                free: Vec::new(),
                leaving: Vec::new(),
                rows: 0,
                changed: 0,
            })
            .collect();
        let highest = families.iter().map(|f| f.id).max().unwrap_or(0);
        let mut index = vec![u16::MAX; usize::from(highest) + 1];
        for (at, family) in families.iter().enumerate() {
            index[usize::from(family.id)] = at as u16;
        }
        let encoder = super::encode::Encoder::new();
        Self { catalogue_version: catalogue.version, families, index, encoder }
    }

    fn family(&mut self, id: u16) -> &mut FamilyState {
        let at = self.index.get(usize::from(id)).copied().unwrap_or(u16::MAX);
        assert!(at != u16::MAX, "family {id} is not in the catalogue");
        &mut self.families[usize::from(at)]
    }

    /// Says which metric columns this host has, in catalogue order; the others are left out.
    pub fn set_present(&mut self, family: u16, present: &[bool]) {
        let state = self.family(family);
        assert_eq!(present.len(), state.width, "one flag a metric");
        state.present.copy_from_slice(present);
        state.columns = present.iter().filter(|p| **p).count();
    }

    /// Adds an entity; `key` in catalogue order, empty for a family about the host.
    ///
    /// A key that is there already, or that was removed since the last seal, keeps its slot: two rows of
    /// one key and one time would contradict each other. It leaves when each of its owners removed it.
    pub fn add_entity(&mut self, family: u16, key: &[Key<'_>]) -> Slot {
        let state = self.family(family);
        let key: Vec<OwnedKey> = key
            .iter()
            .map(|k| match k {
                Key::Int(n) => OwnedKey::Int(*n),
                Key::Text(text) => OwnedKey::Text(cut(text).to_owned()),
            })
            .collect();
        if let Some(&slot) = state.slots.get(&key) {
            let entity = &mut state.entities[slot as usize];
            if entity.owners == 0 {
                state.leaving.retain(|leaving| *leaving != slot);
            }
            entity.owners += 1;
            return Slot(slot);
        }
        let slot = state.free.pop().unwrap_or(state.entities.len() as u32);
        if slot as usize == state.entities.len() {
            state.entities.push(Entity::default());
        }
        state.slots.insert(key.clone(), slot);
        let entity = &mut state.entities[slot as usize];
        entity.key = key;
        entity.owners = 1;
        entity.last.clear();
        entity.last.resize(state.width, 0);
        state.order.push(slot);
        state.order_stale = true;
        Slot(slot)
    }

    /// Takes an entity out. What it has in this frame is still sealed; its slot is reused after.
    pub fn remove_entity(&mut self, family: u16, slot: Slot) {
        let state = self.family(family);
        let entity = &mut state.entities[slot.0 as usize];
        debug_assert!(entity.owners > 0, "removed more often than added");
        if entity.owners == 1 {
            state.leaving.push(slot.0);
        }
        entity.owners = entity.owners.saturating_sub(1);
    }

    /// Starts the next scan of a family at this wall-clock time, µs since 1970 UTC.
    pub fn begin_scan(&mut self, family: u16, ts_us: i64) {
        let state = self.family(family);
        assert!(state.scans.len() < MAX_SCANS, "a full frame must be sealed first");
        state.scans.push(ts_us.clamp(0, super::header::MAX_TIME_US - 1));
    }

    /// Gives an entity's row at this scan: all metrics of the family, in catalogue order.
    #[inline]
    pub fn push(&mut self, family: u16, slot: Slot, row: &[i64]) {
        let state = self.family(family);
        debug_assert_eq!(row.len(), state.width);
        let Some(bit) = state.scans.len().checked_sub(1).map(|k| 1u128 << k) else { return };
        let entity = &mut state.entities[slot.0 as usize];
        if entity.presence & bit != 0 {
            return;
        }
        let first = entity.presence == 0;
        entity.presence |= bit;
        state.rows += 1;
        if first || entity.last != row {
            entity.changes |= bit;
            entity.rows.extend_from_slice(row);
            entity.last.copy_from_slice(row);
            state.changed += row.len() as u64;
        }
    }

    /// Says that an entity's row is the same as its previous one.
    #[inline]
    pub fn repeat(&mut self, family: u16, slot: Slot) {
        let state = self.family(family);
        let Some(bit) = state.scans.len().checked_sub(1).map(|k| 1u128 << k) else { return };
        let entity = &mut state.entities[slot.0 as usize];
        if entity.presence & bit != 0 {
            return;
        }
        if entity.presence == 0 {
            entity.changes |= bit;
            entity.rows.extend_from_slice(&entity.last);
            state.changed += entity.last.len() as u64;
        }
        entity.presence |= bit;
        state.rows += 1;
    }

    /// Scans of a family in this frame.
    pub fn scans(&self, family: u16) -> usize {
        let at = self.index.get(usize::from(family)).copied().unwrap_or(u16::MAX);
        self.families.get(usize::from(at)).map_or(0, |f| f.scans.len())
    }

    /// Samples in this frame so far.
    pub fn samples(&self) -> u64 {
        self.families.iter().map(|f| f.rows * f.columns() as u64).sum()
    }

    /// Rows in this frame so far.
    pub fn rows(&self) -> u64 {
        self.families.iter().map(|f| f.rows).sum()
    }

    /// Whether the frame must be sealed before another scan.
    pub fn is_full(&self) -> bool {
        self.families.iter().any(|f| f.scans.len() >= MAX_SCANS)
            || self.samples() > MAX_SAMPLES / 2
            || self.rows() > u64::from(MAX_ROWS / 2)
            || self.families.iter().map(|f| f.changed).sum::<u64>() > MAX_CHANGED
    }

    /// Encodes what was collected into `out` (cleared first) and starts the next frame.
    ///
    /// Entities are written in the order of their keys, so rows come out as ClickHouse sorts them.
    pub fn seal(&mut self, meta: &FrameMeta<'_>, out: &mut Vec<u8>) -> Header {
        for state in &mut self.families {
            if state.order_stale {
                let entities = &state.entities;
                state.order.sort_by(|a, b| entities[*a as usize].key.cmp(&entities[*b as usize].key));
                state.order_stale = false;
            }
        }
        let header = super::encode::seal(self, meta, out);
        for state in &mut self.families {
            state.reset();
        }
        header
    }
}

impl FamilyState {
    fn reset(&mut self) {
        self.scans.clear();
        self.rows = 0;
        self.changed = 0;
        for entity in &mut self.entities {
            entity.presence = 0;
            entity.changes = 0;
            entity.rows.clear();
        }
        if !self.leaving.is_empty() {
            for slot in &self.leaving {
                self.slots.remove(&self.entities[*slot as usize].key);
            }
            self.order.retain(|slot| self.entities[*slot as usize].owners > 0);
            self.free.append(&mut self.leaving);
        }
    }
}

/// The text, cut at a character boundary to the longest a key may be.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_KEY_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
