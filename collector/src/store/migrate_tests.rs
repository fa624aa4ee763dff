//! Plans against made-up servers, and the DDL as it was.

use fettle_shared::catalogue::Catalogue;

use super::*;
use crate::store::Ttl;

const FAMILY: &str = r#"
id = 1
name = "disk"
help = "Disks."
source = "/proc/diskstats"
pace = "fast"
priority = 1
[[entity]]
name = "device"
type = "text"
help = "It's a device."
[[metric]]
id = 1
name = "read_bytes"
unit = "bytes"
kind = "counter"
type = "u64"
since = 1
help = "Bytes read."
[[metric]]
id = 2
name = "busy_ratio"
unit = "ratio"
kind = "gauge"
type = "f32"
scale = 0.01
optional = true
since = 1
help = "Busy."
"#;

const RAW: &str = "CREATE TABLE IF NOT EXISTS `fettle`.`disk`
(
    `host` LowCardinality(String) COMMENT 'Agent that sampled it.',
    `ts` DateTime64(6, 'UTC') COMMENT 'Time of the scan.' CODEC(Delta, LZ4),
    `device` LowCardinality(String) COMMENT 'It\\'s a device.',
    `read_bytes` UInt64 COMMENT 'Bytes read. [bytes]',
    `busy_ratio` Nullable(Float32) COMMENT 'Busy. [ratio]'
)
ENGINE = MergeTree()
PARTITION BY toStartOfInterval(ts, toIntervalHour(4))
ORDER BY (`host`, `device`, `ts`)
TTL toDateTime(ts) + toIntervalSecond(86400)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, \
default_compression_codec = 'ZSTD(1)', auto_statistics_types = '', merge_selector_base = 10, \
ratio_of_defaults_for_sparse_serialization = 1, write_marks_for_substreams_in_compact_parts = 0, \
min_bytes_for_wide_part = 10485760, max_compress_block_size = 65536
COMMENT 'Disks. Source: /proc/diskstats.'";

fn catalogue() -> Catalogue {
    Catalogue::parse(&[("disk", FAMILY)]).unwrap()
}

fn settings() -> StoreSettings {
    StoreSettings::new("http://127.0.0.1:1")
}

/// A server that has the table as this program makes it.
fn made(table: &Table, place: &Place<'_>) -> Present {
    let mut present = Present::default();
    let mut engine = table.create(place).remove(0);
    engine = engine.split_once("ENGINE = ").unwrap().1.replace('\n', " ");
    engine = engine.split_once(" COMMENT").unwrap().0.to_owned();
    for name in [place.stored_name(&table.name), table.name.clone()] {
        present.engines.insert(name.clone(), engine.clone());
        let columns = table.columns.iter().map(|c| (c.name.clone(), c.kind.clone())).collect();
        present.columns.insert(name, columns);
    }
    present
}

#[test]
fn a_missing_table_is_created() {
    let (catalogue, settings) = (catalogue(), settings());
    let table = schema::raw_table(&catalogue.families[0], &settings.ttl);
    let statements = plan(&table, &Present::default(), &Place::of(&settings)).unwrap();
    assert_eq!(statements, [RAW]);
}

#[test]
fn a_roll_up_has_its_parts_and_replaces_by_version() {
    let (catalogue, settings) = (catalogue(), settings());
    let table = schema::rollup_table(&catalogue.families[0], Level::Minute, &settings.ttl);
    let sql = table.create(&Place::of(&settings)).remove(0);
    let columns: Vec<String> = table.columns.iter().map(|c| format!("{} {}", c.name, c.kind)).collect();
    assert_eq!(
        columns,
        [
            "host LowCardinality(String)",
            "ts DateTime('UTC')",
            "device LowCardinality(String)",
            "samples UInt32",
            "read_bytes_min UInt64",
            "read_bytes_max UInt64",
            "read_bytes_sum UInt64",
            "read_bytes_last UInt64",
            "busy_ratio_min Nullable(Float32)",
            "busy_ratio_max Nullable(Float32)",
            "busy_ratio_sum Nullable(Float64)",
            "busy_ratio_last Nullable(Float32)",
            "busy_ratio_count UInt32",
            "version UInt64",
        ]
    );
    assert!(sql.contains("ENGINE = ReplacingMergeTree(version)\nPARTITION BY toMonday(ts)"), "{sql}");
    assert!(sql.contains("TTL ts + toIntervalSecond(7776000)"), "{sql}");
}

#[test]
fn a_cluster_gets_replicated_and_distributed_tables() {
    let catalogue = catalogue();
    let settings = StoreSettings { cluster: Some("main".into()), ..settings() };
    let place = Place::of(&settings);
    let raw = schema::raw_table(&catalogue.families[0], &settings.ttl).create(&place);
    assert!(raw[0].starts_with("CREATE TABLE IF NOT EXISTS `fettle`.`disk_local` ON CLUSTER `main`\n("));
    assert!(
        raw[0].contains(
            "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/fettle/disk_local', '{replica}')\n"
        ),
        "{}",
        raw[0]
    );
    assert!(raw[0].contains("replicated_deduplication_window_seconds = 2592000"), "{}", raw[0]);
    assert_eq!(
        raw[1],
        "CREATE TABLE IF NOT EXISTS `fettle`.`disk` ON CLUSTER `main` AS `fettle`.`disk_local`\n\
         ENGINE = Distributed('main', 'fettle', 'disk_local', cityHash64(host))"
    );
    let rolled = schema::rollup_table(&catalogue.families[0], Level::Hour, &settings.ttl).create(&place);
    assert!(
        rolled[0].contains(
            "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/fettle/disk_1h_local', '{replica}', version)"
        ),
        "{}",
        rolled[0]
    );
}

#[test]
fn nothing_is_done_where_nothing_is_to_do() {
    let catalogue = catalogue();
    for cluster in [None, Some("main".to_owned())] {
        let settings = StoreSettings { cluster, ..settings() };
        let place = Place::of(&settings);
        for table in wanted(&catalogue, &settings) {
            let present = made(&table, &place);
            assert_eq!(plan(&table, &present, &place).unwrap(), Vec::<String>::new(), "{}", table.name);
        }
    }
}

#[test]
fn new_metrics_become_columns() {
    let (catalogue, settings) = (catalogue(), settings());
    let place = Place::of(&settings);
    let table = schema::raw_table(&catalogue.families[0], &settings.ttl);
    let mut present = made(&table, &place);
    present.columns.get_mut("disk").unwrap().remove("busy_ratio");
    assert_eq!(
        plan(&table, &present, &place).unwrap(),
        ["ALTER TABLE `fettle`.`disk` ADD COLUMN IF NOT EXISTS `busy_ratio` Nullable(Float32) \
          COMMENT 'Busy. [ratio]'"]
    );
}

#[test]
fn a_changed_type_is_refused_in_one_sentence() {
    let (catalogue, settings) = (catalogue(), settings());
    let place = Place::of(&settings);
    let table = schema::raw_table(&catalogue.families[0], &settings.ttl);
    let mut present = made(&table, &place);
    present.columns.get_mut("disk").unwrap().insert("read_bytes".into(), "UInt32".into());
    assert_eq!(
        plan(&table, &present, &place).unwrap_err().to_string(),
        "column disk.read_bytes is UInt32 in ClickHouse, the catalogue says UInt64; \
         give the changed metric a new name and id in the catalogue"
    );
}

#[test]
fn ttl_and_durability_are_changed_in_place() {
    let (catalogue, settings) = (catalogue(), settings());
    let place = Place::of(&settings);
    let family = &catalogue.families[0];
    let present = made(&schema::raw_table(family, &settings.ttl), &place);
    let longer = Ttl { raw: std::time::Duration::from_secs(172_800), ..settings.ttl };
    assert_eq!(
        plan(&schema::raw_table(family, &longer), &present, &place).unwrap(),
        ["ALTER TABLE `fettle`.`disk` MODIFY TTL toDateTime(ts) + toIntervalSecond(172800)"]
    );
    let synced = StoreSettings { durability: Durability::Power, ..settings.clone() };
    let synced_place = Place::of(&synced);
    let table = schema::raw_table(family, &settings.ttl);
    assert_eq!(
        plan(&table, &present, &synced_place).unwrap(),
        ["ALTER TABLE `fettle`.`disk` MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1, \
          min_rows_to_fsync_after_merge = 1"]
    );
    let present = made(&table, &synced_place);
    assert!(plan(&table, &present, &place).unwrap()[0].contains("fsync_after_insert = 0"));
}

#[test]
fn settings_that_a_server_does_not_know_are_left_out() {
    let (catalogue, settings) = (catalogue(), settings());
    let mut place = Place::of(&settings);
    place.known = ["merge_selector_base".to_owned()].into();
    let sql = schema::raw_table(&catalogue.families[0], &settings.ttl).create(&place).remove(0);
    assert!(sql.contains("merge_selector_base = 10") && !sql.contains("ratio_of_defaults"), "{sql}");
}
