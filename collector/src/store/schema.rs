//! The family tables, from the catalogue: raw rows and three levels of roll-ups. Why they look like
//! this, with the figures, is in `docs/decisions/0002-clickhouse-layout.md`.

use fettle_shared::catalogue::{EntityType, Family, Metric, ValueType};

use super::ddl::{Table, TableColumn, TtlRule};
use super::native::{ColumnKind, ColumnSpec};
use super::{Level, Ttl};

/// Codec of times: neighbours differ by about one interval.
const TIME_CODEC: &str = "Delta, LZ4";

/// Suffixes of a metric's columns in a roll-up, in their order; `count` for optional metrics only.
pub(super) const PARTS: [&str; 4] = ["min", "max", "sum", "last"];

/// Columns of a family's raw table, in the order a block must have: host, ts, entities, metrics.
pub fn raw_columns(family: &Family) -> Vec<ColumnSpec> {
    let mut columns = key_columns(family, ColumnKind::Micros);
    columns.extend(family.metrics.iter().map(|m| ColumnSpec::new(&m.name, metric_kind(m))));
    columns
}

/// Columns of a family's roll-up tables: host, ts, entities, samples, per metric min, max, sum, last
/// (and count for optional ones), version.
pub fn rollup_columns(family: &Family) -> Vec<ColumnSpec> {
    let mut columns = key_columns(family, ColumnKind::Seconds);
    columns.push(ColumnSpec::new("samples", ColumnKind::U32));
    for metric in &family.metrics {
        for part in PARTS {
            let kind = if part == "sum" { sum_kind(metric) } else { metric_kind(metric) };
            columns.push(ColumnSpec::new(format!("{}_{part}", metric.name), kind));
        }
        if metric.optional {
            columns.push(ColumnSpec::new(format!("{}_count", metric.name), ColumnKind::U32));
        }
    }
    columns.push(ColumnSpec::new("version", ColumnKind::U64));
    columns
}

fn key_columns(family: &Family, time: ColumnKind) -> Vec<ColumnSpec> {
    let mut columns = vec![ColumnSpec::new("host", ColumnKind::Text), ColumnSpec::new("ts", time)];
    columns.extend(family.entity.iter().map(|entity| {
        let kind = match entity.kind {
            EntityType::U16 => ColumnKind::U16,
            EntityType::U32 => ColumnKind::U32,
            EntityType::U64 => ColumnKind::U64,
            EntityType::Text => ColumnKind::Text,
        };
        ColumnSpec::new(&entity.name, kind)
    }));
    columns
}

fn metric_kind(metric: &Metric) -> ColumnKind {
    let scale = metric.scale.unwrap_or(1.0);
    ColumnKind::Metric { value: metric.value, scale, nullable: metric.optional }
}

/// Type of a sum: the 64-bit type that ClickHouse's `sum` gives for the column.
fn sum_kind(metric: &Metric) -> ColumnKind {
    let value = sum_type(metric.value);
    ColumnKind::Metric { value, scale: metric.scale.unwrap_or(1.0), nullable: metric.optional }
}

/// See [`sum_kind`].
pub(super) fn sum_type(value: ValueType) -> ValueType {
    match value {
        ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64 => ValueType::U64,
        ValueType::I32 | ValueType::I64 => ValueType::I64,
        ValueType::F32 | ValueType::F64 => ValueType::F64,
    }
}

/// Codec of a family's values. Hundreds of mostly idle processes give long runs of equal values,
/// which LZ4 packs as well as any and far cheaper; host-wide counters move at every scan.
fn value_codec(family: &Family) -> &'static str {
    let many_idle = family.entity.iter().any(|e| e.name == "pid");
    if many_idle {
        "'LZ4'"
    } else {
        "'ZSTD(1)'"
    }
}

/// Settings that were measured: fewer files a part, fewer and larger merges, one codec for the table
/// (a codec a column costs a third of a small insert), no statistics of columns nobody filters by. A
/// table of many columns packs them together in small parts, and stays in small parts longer, because
/// a wide part has two files a column.
fn tuning(family: &Family, columns: usize) -> Vec<(&'static str, String)> {
    const MANY: usize = 50;
    const BYTES_PER_COLUMN: usize = 256 << 10;
    let mut tuning: Vec<(&'static str, String)> = vec![
        ("default_compression_codec", value_codec(family).into()),
        ("auto_statistics_types", "''".into()),
        ("merge_selector_base", "10".into()),
        ("ratio_of_defaults_for_sparse_serialization", "1".into()),
        ("write_marks_for_substreams_in_compact_parts", "0".into()),
        ("min_bytes_for_wide_part", (columns * BYTES_PER_COLUMN).max(10 << 20).to_string()),
    ];
    if columns > MANY {
        tuning.push(("compress_per_column_in_compact_parts", "0".into()));
        // A merge holds a granule of each of its ten parts; with the usual 8192 rows of two hundred
        // columns that were 240 MB.
        tuning.push(("merge_max_block_size", "1024".into()));
        tuning.push(("index_granularity_bytes", "1048576".into()));
        // A wide part is written through two buffers of each of these sizes a column, and two columns
        // for a Nullable one: with the usual 1 MiB and 64 KiB, five hundred of them took a gibibyte.
        tuning.push(("max_compress_block_size", "16384".into()));
        tuning.push(("min_compress_block_size", "16384".into()));
        tuning.push(("marks_compress_block_size", "8192".into()));
    } else {
        tuning.push(("max_compress_block_size", "65536".into()));
    }
    tuning
}

fn described(metric: &Metric) -> String {
    format!("{} [{}]", metric.help, metric.unit)
}

fn key_table_columns(family: &Family, specs: &[ColumnSpec], time: &str) -> Vec<TableColumn> {
    let count = 2 + family.entity.len();
    let mut columns: Vec<TableColumn> =
        specs[..count].iter().map(|c| TableColumn::new(&c.name, c.kind.sql(), "")).collect();
    columns[0].comment = "Agent that sampled it.".into();
    columns[1].comment = time.into();
    columns[1].codec = Some(TIME_CODEC);
    for (column, entity) in columns[2..].iter_mut().zip(&family.entity) {
        column.comment.clone_from(&entity.help);
    }
    columns
}

fn order(family: &Family) -> Vec<String> {
    let mut order = vec!["host".to_owned()];
    order.extend(family.entity.iter().map(|e| e.name.clone()));
    order.push("ts".into());
    order
}

/// The table of a family's raw rows.
pub(super) fn raw_table(family: &Family, ttl: &Ttl) -> Table {
    let specs = raw_columns(family);
    let mut columns = key_table_columns(family, &specs, "Time of the scan.");
    let metrics = specs[columns.len()..].iter().zip(&family.metrics);
    columns.extend(
        metrics.map(|(spec, metric)| TableColumn::new(&spec.name, spec.kind.sql(), described(metric))),
    );
    let tuning = tuning(family, columns.len());
    Table {
        name: family.name.clone(),
        comment: format!("{} Source: {}.", family.help, family.source),
        columns,
        version: None,
        order: order(family),
        partition: "toStartOfInterval(ts, toIntervalHour(4))".into(),
        ttl: Some(TtlRule { time: "toDateTime(ts)", keep: ttl.raw }),
        indexes: Vec::new(),
        tuning,
        shard: "cityHash64(host)".into(),
    }
}

/// Name of a family's roll-up table.
pub(super) fn rollup_name(family: &Family, level: Level) -> String {
    format!("{}_{}", family.name, level.name())
}

/// The table of one level of a family's roll-ups.
pub(super) fn rollup_table(family: &Family, level: Level, ttl: &Ttl) -> Table {
    let specs = rollup_columns(family);
    let mut columns = key_table_columns(family, &specs, "Start of the window.");
    columns.push(TableColumn::new("samples", "UInt32", "Raw rows in the window."));
    for metric in &family.metrics {
        let optional = metric.optional.then_some("count");
        for part in PARTS.iter().copied().chain(optional) {
            let spec = &specs[columns.len()];
            let comment = format!("{part} of {}", described(metric));
            columns.push(TableColumn::new(&spec.name, spec.kind.sql(), comment));
        }
    }
    columns.push(TableColumn::new("version", "UInt64", "The highest version of a row counts."));
    let (partition, keep) = match level {
        Level::TenSeconds => ("toDate(ts)", ttl.ten_seconds),
        Level::Minute => ("toMonday(ts)", ttl.minute),
        Level::Hour => ("toYYYYMM(ts)", ttl.hour),
    };
    let tuning = tuning(family, columns.len());
    Table {
        name: rollup_name(family, level),
        comment: format!("Windows of {} of {}.", level.name(), family.name),
        columns,
        version: Some("version"),
        order: order(family),
        partition: partition.into(),
        ttl: Some(TtlRule { time: "ts", keep }),
        indexes: Vec::new(),
        tuning,
        shard: "cityHash64(host)".into(),
    }
}
