//! One scan for a person: every family is sampled once, the frame is sealed and read back the way
//! the collector would, and what is in it is rendered as tables or as JSON.

use std::fmt::Write as _;

use comfy_table::{presets, CellAlignment, Table};
use fettle_shared::catalogue::{catalogue, EntityColumn, Family, Metric, ValueType};
use fettle_shared::frame::{decode, Block, FrameBuilder, FrameMeta, KeyColumn, Scratch};
use serde_json::{json, Map, Value};

use crate::sample::{GapCause, GapCounts, SampleError, Sampler, SamplerSettings, ScanClock};

/// Everything one scan brought.
#[derive(Debug)]
pub struct Snapshot {
    /// Wall clock of the scan, µs since the epoch.
    pub wall_us: i64,
    /// Families that have at least one row, in the order of their ids.
    pub families: Vec<FamilySnapshot>,
    /// What could not be read, by cause.
    pub gaps: GapCounts,
}

/// One family of a snapshot.
#[derive(Debug)]
pub struct FamilySnapshot {
    /// The family.
    pub family: &'static Family,
    /// Metrics this host has, in catalogue order.
    pub metrics: Vec<&'static Metric>,
    /// One row an entity.
    pub rows: Vec<Row>,
}

/// One entity and its values.
#[derive(Debug)]
pub struct Row {
    /// The key, in the order of the family's entity columns.
    pub entity: Vec<Value>,
    /// The values, in the order of the snapshot's metrics.
    pub values: Vec<Value>,
}

/// Samples every family once.
pub fn sample_once(settings: SamplerSettings) -> Result<Snapshot, SampleError> {
    let catalogue = catalogue();
    let mut sampler = Sampler::open(settings, catalogue)?;
    sampler.measure_self();
    let mut builder = FrameBuilder::new(catalogue);
    let clock = ScanClock::now();
    let report = sampler.scan_everything(clock, &mut builder);
    let mut bytes = Vec::new();
    builder.seal(&FrameMeta { agent: "once", boot: 0, seq: 1 }, &mut bytes);
    let mut scratch = Scratch::default();
    let frame = decode(&bytes, &mut scratch).map_err(|e| SampleError::Frame { cause: e.to_string() })?;
    let families = frame
        .blocks
        .iter()
        .filter_map(|block| Some(family_snapshot(catalogue.family_by_id(block.family)?, block)))
        .collect();
    Ok(Snapshot { wall_us: clock.wall_us, families, gaps: report.gaps })
}

fn family_snapshot(family: &'static Family, block: &Block<'_>) -> FamilySnapshot {
    let known = |id: &u16| family.metric_index_by_id(*id).map(|at| &family.metrics[at]);
    let metrics: Vec<&Metric> = block.metrics.iter().filter_map(known).collect();
    let mut run = 0;
    let rows = block
        .entity_runs
        .iter()
        .enumerate()
        .map(|(entity, runs)| {
            run += *runs as usize;
            let last = run - 1;
            let values = metrics.iter().enumerate().map(|(m, metric)| value(metric, block.column(m)[last]));
            Row {
                entity: block.keys.iter().map(|key| key_value(key, entity)).collect(),
                values: values.collect(),
            }
        })
        .collect();
    FamilySnapshot { family, metrics, rows }
}

fn key_value(key: &KeyColumn<'_>, entity: usize) -> Value {
    match key {
        KeyColumn::Int(numbers) => json!(numbers[entity]),
        KeyColumn::Text(texts) => json!(texts[entity]),
    }
}

/// The stored value of what stands on the wire.
fn value(metric: &Metric, wire: i64) -> Value {
    match metric.value {
        ValueType::F32 | ValueType::F64 => {
            let scale = metric.scale.unwrap_or(1.0);
            // Division by the inverse keeps 0.08 from becoming 0.08000000000000002.
            let inverse = (1.0 / scale).round();
            let exact = (1.0 / scale - inverse).abs() < 1e-9;
            json!(if exact { wire as f64 / inverse } else { wire as f64 * scale })
        }
        ValueType::I32 | ValueType::I64 => json!(wire),
        ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64 => json!(wire as u64),
    }
}

/// The snapshot as one JSON object: `time_us`, `families` by name, `gaps` by cause.
pub fn render_json(snapshot: &Snapshot) -> String {
    let mut families = Map::new();
    for snapshot in &snapshot.families {
        let rows: Vec<Value> = snapshot
            .rows
            .iter()
            .map(|row| {
                let entity = snapshot.family.entity.iter().map(|e| &e.name).zip(&row.entity);
                let values = snapshot.metrics.iter().map(|m| &m.name).zip(&row.values);
                Value::Object(entity.chain(values).map(|(k, v)| (k.clone(), v.clone())).collect())
            })
            .collect();
        families.insert(snapshot.family.name.clone(), Value::Array(rows));
    }
    let gaps: Map<String, Value> =
        GapCause::ALL.iter().map(|c| (c.name().into(), json!(snapshot.gaps.get(*c)))).collect();
    let all = json!({ "time_us": snapshot.wall_us, "families": families, "gaps": gaps });
    format!("{all:#}")
}

/// The snapshot as tables no wider than `width` characters. A family about the host has a line a
/// metric; one with entities has a line an entity and as many columns as fit, those that are not 0
/// first; how many were left out is said below.
pub fn render_table(snapshot: &Snapshot, width: usize) -> String {
    let mut out = String::new();
    for family in &snapshot.families {
        let _ = writeln!(out, "{} — {}", family.family.name, family.family.help);
        if family.family.entity.is_empty() {
            render_host(family, &mut out);
        } else {
            render_entities(family, width, &mut out);
        }
        out.push('\n');
    }
    let samples: usize = snapshot.families.iter().map(|f| f.rows.len() * f.metrics.len()).sum();
    let _ = write!(out, "{samples} samples");
    for cause in GapCause::ALL.iter().filter(|c| snapshot.gaps.get(**c) > 0) {
        let _ = write!(out, ", {} {}", snapshot.gaps.get(*cause), cause.name());
    }
    out.push('\n');
    out
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn render_host(family: &FamilySnapshot, out: &mut String) {
    let mut table = plain_table();
    for row in &family.rows {
        for (metric, value) in family.metrics.iter().zip(&row.values) {
            table.add_row(vec![metric.name.clone(), value.to_string(), metric.unit.clone()]);
        }
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let _ = writeln!(out, "{table}");
}

fn render_entities(family: &FamilySnapshot, width: usize, out: &mut String) {
    let is_zero = |column: usize| family.rows.iter().all(|r| r.values[column].as_f64() == Some(0.0));
    let mut order: Vec<usize> = (0..family.metrics.len()).collect();
    order.sort_by_key(|column| is_zero(*column));
    let cell_width = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        cells.map(|c| c.chars().count()).chain([name.len()]).max().unwrap_or(0) + 2
    };
    let mut used = 0;
    for (at, column) in family.family.entity.iter().enumerate() {
        used += cell_width(&column.name, &mut family.rows.iter().map(|r| text(&r.entity[at])));
    }
    let mut shown = Vec::new();
    for column in order {
        let name = &family.metrics[column].name;
        let need = cell_width(name, &mut family.rows.iter().map(|r| text(&r.values[column])));
        if used + need > width && !shown.is_empty() {
            break;
        }
        used += need;
        shown.push(column);
    }
    let mut table = plain_table();
    let keys = family.family.entity.iter().map(|e: &EntityColumn| e.name.clone());
    table.set_header(keys.chain(shown.iter().map(|c| family.metrics[*c].name.clone())));
    for row in &family.rows {
        let values = shown.iter().map(|c| text(&row.values[*c]));
        table.add_row(row.entity.iter().map(text).chain(values));
    }
    let first = family.family.entity.len();
    for at in first..first + shown.len() {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let _ = writeln!(out, "{table}");
    let left = family.metrics.len() - shown.len();
    if left > 0 {
        let _ = writeln!(out, "({left} more columns with --format json)");
    }
}

/// A value without JSON's quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
