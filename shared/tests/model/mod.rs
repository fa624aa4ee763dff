//! A second, naive account of what a frame must hold, kept beside the builder it drives.
//!
//! Every call goes to the builder and to plain maps of rows. When the frame is sealed, the maps say
//! what a reader must get back. The model shares no code with the frame: it keeps whole rows, sorts
//! them with the standard library and knows nothing of runs, bits or bytes.
#![allow(dead_code, unreachable_pub)]

pub mod allocation;
pub mod attack;
pub mod envelope;
pub mod golden;
pub mod host;
pub mod refusal;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::{Block, Frame, FrameBuilder, FrameMeta, Header, Key, KeyColumn, Slot};

/// A key value with an order of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnKey {
    /// A number.
    Int(u64),
    /// A text.
    Text(String),
}

/// One row: key, time, one value a present metric.
pub type Row = (Vec<OwnKey>, i64, Vec<i64>);

/// What one block holds, spelled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Family number.
    pub family: u16,
    /// Metric numbers.
    pub metrics: Vec<u16>,
    /// Every row, in the order of the block.
    pub rows: Vec<Row>,
}

#[derive(Debug, Default)]
struct Entity {
    owners: u32,
    last: Vec<i64>,
    rows: BTreeMap<usize, Vec<i64>>,
}

#[derive(Debug)]
struct Family {
    metrics: Vec<u16>,
    present: Vec<bool>,
    scans: Vec<i64>,
    entities: BTreeMap<Vec<OwnKey>, Entity>,
}

/// An entity as the caller of the builder holds it.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Family number.
    pub family: u16,
    key: Vec<OwnKey>,
    slot: Slot,
}

/// Drives a builder and keeps the naive account.
pub struct Recorder {
    builder: FrameBuilder,
    families: BTreeMap<u16, Family>,
}

impl Recorder {
    /// An empty account over the given catalogue.
    pub fn new(catalogue: &'static Catalogue) -> Self {
        let families = catalogue.families.iter().map(|family| {
            let metrics: Vec<u16> = family.metrics.iter().map(|m| m.id).collect();
            let present = vec![true; metrics.len()];
            (family.id, Family { metrics, present, scans: Vec::new(), entities: BTreeMap::new() })
        });
        Self { builder: FrameBuilder::new(catalogue), families: families.collect() }
    }

    /// The builder, to read its counts.
    pub fn builder(&self) -> &FrameBuilder {
        &self.builder
    }

    fn family(&mut self, family: u16) -> &mut Family {
        self.families.get_mut(&family).expect("a family of the catalogue")
    }

    /// Metrics of a family.
    pub fn width(&self, family: u16) -> usize {
        self.families[&family].metrics.len()
    }

    /// See [`FrameBuilder::set_present`].
    pub fn set_present(&mut self, family: u16, present: &[bool]) {
        self.builder.set_present(family, present);
        self.family(family).present = present.to_vec();
    }

    /// See [`FrameBuilder::add_entity`].
    pub fn add(&mut self, family: u16, key: &[OwnKey]) -> Handle {
        let borrowed: Vec<Key<'_>> = key
            .iter()
            .map(|k| match k {
                OwnKey::Int(n) => Key::Int(*n),
                OwnKey::Text(text) => Key::Text(text),
            })
            .collect();
        let slot = self.builder.add_entity(family, &borrowed);
        let width = self.width(family);
        let entity = self.family(family).entities.entry(key.to_vec()).or_default();
        entity.owners += 1;
        entity.last.resize(width, 0);
        Handle { family, key: key.to_vec(), slot }
    }

    /// See [`FrameBuilder::remove_entity`].
    pub fn remove(&mut self, handle: Handle) {
        let Handle { family, key, slot } = handle;
        self.builder.remove_entity(family, slot);
        self.family(family).entities.get_mut(&key).expect("added before").owners -= 1;
    }

    /// See [`FrameBuilder::begin_scan`].
    pub fn scan(&mut self, family: u16, ts_us: i64) {
        self.builder.begin_scan(family, ts_us);
        self.family(family).scans.push(ts_us);
    }

    /// See [`FrameBuilder::push`].
    pub fn push(&mut self, handle: &Handle, row: &[i64]) {
        self.builder.push(handle.family, handle.slot, row);
        self.keep(handle, Some(row));
    }

    /// See [`FrameBuilder::repeat`].
    pub fn repeat(&mut self, handle: &Handle) {
        self.builder.repeat(handle.family, handle.slot);
        self.keep(handle, None);
    }

    fn keep(&mut self, handle: &Handle, row: Option<&[i64]>) {
        let family = self.family(handle.family);
        let Some(scan) = family.scans.len().checked_sub(1) else { return };
        let entity = family.entities.get_mut(&handle.key).expect("added before");
        if entity.rows.contains_key(&scan) {
            return;
        }
        if let Some(row) = row {
            entity.last = row.to_vec();
        }
        entity.rows.insert(scan, entity.last.clone());
    }

    /// The newest row of an entity.
    pub fn last(&self, handle: &Handle) -> Vec<i64> {
        self.families[&handle.family].entities[&handle.key].last.clone()
    }

    /// Seals the frame; gives its bytes and what they must say.
    pub fn seal(&mut self, meta: &FrameMeta<'_>) -> (Vec<u8>, Header, Vec<Rows>) {
        let mut bytes = Vec::new();
        let header = self.builder.seal(meta, &mut bytes);
        let expected = self.families.iter_mut().filter_map(|(id, family)| family.close(*id)).collect();
        (bytes, header, expected)
    }
}

impl Family {
    /// What the family's block must say, if it has rows; starts the next frame.
    fn close(&mut self, id: u16) -> Option<Rows> {
        let chosen = |all: &[i64]| -> Vec<i64> {
            all.iter().zip(&self.present).filter(|(_, present)| **present).map(|(v, _)| *v).collect()
        };
        let mut rows = Vec::new();
        for (key, entity) in &self.entities {
            rows.extend(entity.rows.iter().map(|(scan, row)| (key.clone(), self.scans[*scan], chosen(row))));
        }
        let metrics =
            self.metrics.iter().zip(&self.present).filter(|(_, p)| **p).map(|(id, _)| *id).collect();
        self.scans.clear();
        self.entities.retain(|_, entity| {
            entity.rows.clear();
            entity.owners > 0
        });
        (!rows.is_empty()).then_some(Rows { family: id, metrics, rows })
    }
}

/// Spells out every block of a decoded frame.
pub fn expand(frame: &Frame<'_>) -> Vec<Rows> {
    frame.blocks.iter().map(expand_block).collect()
}

fn expand_block(block: &Block<'_>) -> Rows {
    let mut times = Vec::new();
    block.for_each_time(|ts| times.push(ts));
    let mut rows = Vec::new();
    let mut run = 0;
    for entity in 0..block.presence.len() {
        let key: Vec<OwnKey> = block
            .keys
            .iter()
            .map(|column| match column {
                KeyColumn::Int(values) => OwnKey::Int(values[entity]),
                KeyColumn::Text(values) => OwnKey::Text(values[entity].to_owned()),
            })
            .collect();
        for _ in 0..block.entity_runs[entity] {
            let values: Vec<i64> = (0..block.metrics.len()).map(|column| block.column(column)[run]).collect();
            for _ in 0..block.runs[run] {
                rows.push((key.clone(), times[rows.len()], values.clone()));
            }
            run += 1;
        }
    }
    assert_eq!(rows.len(), block.rows as usize, "the block's own row count");
    assert_eq!(rows.len(), times.len(), "one time a row");
    assert_eq!(run, block.runs.len(), "every run is spanned");
    Rows { family: block.family, metrics: block.metrics.clone(), rows }
}

/// Name, number, entity columns with their types, metric numbers.
type Sketch = (&'static str, u16, &'static [(&'static str, &'static str)], &'static [u16]);

const CATALOGUE: [Sketch; 5] = [
    ("host", 1, &[], &[1, 2, 3]),
    ("disk", 2, &[("device", "text")], &[1, 2, 7, 300]),
    ("process", 11, &[("pid", "u32")], &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("mount", 40, &[("path", "text"), ("volume", "u64")], &[9, 65535]),
    ("last", 999, &[("cpu", "u16")], &[512]),
];

/// A catalogue of the tests' own, so that a golden frame outlives changes to the real one.
pub fn catalogue() -> &'static Catalogue {
    static FROZEN: OnceLock<Catalogue> = OnceLock::new();
    FROZEN.get_or_init(|| {
        let texts: Vec<(&str, String)> = CATALOGUE.iter().map(|family| (family.0, toml(family))).collect();
        let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        Catalogue::parse(&files).expect("the tests' catalogue parses")
    })
}

fn toml((name, id, entity, metrics): &Sketch) -> String {
    let mut text = format!(
        "id = {id}\nname = \"{name}\"\nhelp = \"h\"\nsource = \"s\"\npace = \"fast\"\npriority = 1\n"
    );
    for (column, kind) in *entity {
        text += &format!("[[entity]]\nname = \"{column}\"\ntype = \"{kind}\"\nhelp = \"h\"\n");
    }
    for metric in *metrics {
        text += &format!(
            "[[metric]]\nid = {metric}\nname = \"m{metric}\"\nunit = \"1\"\nkind = \"gauge\"\ntype = \"i64\"\n\
             since = 1\nhelp = \"h\"\n"
        );
    }
    text
}
