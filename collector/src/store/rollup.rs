//! Roll-ups by SQL: INSERT … SELECT from the level below, for some agents and some windows.
//!
//! The results equal the collector's own reductions to the byte. Integers: `sum` wraps at 64 bits in
//! both. Floats are scaled wire integers, so sums are made of the integers, recovered by division and
//! rounding, and scaled once at the end: the order of additions cannot matter, as it would with a sum
//! of floats. That holds while a wire integer is below 2^23 in a Float32 column and 2^53 in a Float64
//! column (and a sum below 2^53), which no scaled metric comes near. `last` is the value with the
//! latest time. NULLs count for nothing; when all are NULL so are the results, and the count is 0.

use fettle_shared::catalogue::{Family, Metric};

use super::ddl::{identifier, literal, Place};
use super::schema::{rollup_columns, rollup_name, PARTS};
use super::{DirtyWindow, Level};

/// What is rolled up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    pub family: &'a Family,
    pub level: Level,
    /// Start of the first window and end of the last, seconds since the epoch.
    pub from: u32,
    pub until: u32,
    /// What is made: window by window the agents named there.
    pub shares: &'a [DirtyWindow],
    pub version: u64,
}

/// The condition that names the shares, as it stands after the span of time.
fn only(shares: &[DirtyWindow], window: &str) -> String {
    let pairs: Vec<String> = shares
        .iter()
        .flat_map(|w| w.agents.iter().map(move |(agent, _)| (agent, w.window)))
        .map(|(agent, start)| format!("({}, {start})", literal(agent)))
        .collect();
    format!(" AND (toString(host), toUnixTimestamp({window})) IN ({})", pairs.join(", "))
}

/// The statement that makes these windows.
pub(super) fn statement(task: &Task<'_>, place: &Place<'_>) -> String {
    let Task { family, level, from, until, shares, version } = *task;
    let columns: Vec<String> = rollup_columns(family).iter().map(|c| identifier(&c.name)).collect();
    let keys: Vec<String> = family.entity.iter().map(|e| identifier(&e.name)).collect();
    let window = window_of(level);
    let mut selected = vec!["host".to_owned(), window.clone()];
    selected.extend(keys.iter().cloned());
    selected.extend(parts(family, level));
    selected.push(version.to_string());
    let only = only(shares, &window);
    let mut group = vec!["host".to_owned(), window];
    group.extend(keys);
    let source = match level.source() {
        None => place.asked(&family.name),
        Some(source) => format!("{} FINAL", place.asked(&rollup_name(family, source))),
    };
    format!(
        "INSERT INTO {} ({})\nSELECT {}\nFROM {source}\nWHERE ts >= {} AND ts < {}{only}\nGROUP BY {}",
        place.asked(&rollup_name(family, level)),
        columns.join(", "),
        selected.join(",\n    "),
        time(level, from),
        time(level, until),
        group.join(", "),
    )
}

/// Start of the window of a row, in UTC whatever the server's zone.
fn window_of(level: Level) -> String {
    let seconds = level.seconds();
    format!("toDateTime(intDiv(toUnixTimestamp(ts), {seconds}) * {seconds}, 'UTC')")
}

fn time(level: Level, seconds: u32) -> String {
    match level.source() {
        None => format!("fromUnixTimestamp64Micro(toInt64({}), 'UTC')", u64::from(seconds) * 1_000_000),
        Some(_) => format!("toDateTime({seconds}, 'UTC')"),
    }
}

/// The aggregates: number of rows, then each metric's parts, in the order of the table.
fn parts(family: &Family, level: Level) -> Vec<String> {
    let raw = level.source().is_none();
    let mut out =
        vec![if raw { "toUInt32(count())".to_owned() } else { "toUInt32(sum(samples))".to_owned() }];
    for metric in &family.metrics {
        for part in PARTS {
            let column = if raw { metric.name.clone() } else { format!("{}_{part}", metric.name) };
            out.push(part_sql(metric, part, &identifier(&column)));
        }
        if metric.optional {
            let name = identifier(&metric.name);
            out.push(if raw {
                format!("toUInt32(count({name}))")
            } else {
                format!("toUInt32(sum({}))", identifier(&format!("{}_count", metric.name)))
            });
        }
    }
    out
}

fn part_sql(metric: &Metric, part: &str, column: &str) -> String {
    match part {
        "min" | "max" => format!("{part}({column})"),
        "last" => format!("argMax({column}, ts)"),
        _ if metric.value.is_float() => {
            let scale = scale_literal(metric.scale.unwrap_or(1.0));
            format!("toFloat64(sum(toInt64(round(toFloat64({column}) / {scale})))) * {scale}")
        }
        _ => format!("sum({column})"),
    }
}

/// The scale so that ClickHouse parses the very same double.
fn scale_literal(scale: f64) -> String {
    format!("toFloat64('{scale:?}')")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreSettings;
    use fettle_shared::catalogue::Catalogue;

    const FAMILY: &str = r#"
id = 1
name = "sample"
help = "h"
source = "s"
pace = "fast"
priority = 1
[[entity]]
name = "disk"
type = "text"
help = "h"
[[metric]]
id = 1
name = "a"
unit = "1"
kind = "counter"
type = "u64"
since = 1
help = "h"
[[metric]]
id = 2
name = "b"
unit = "1"
kind = "gauge"
type = "f32"
scale = 0.01
optional = true
since = 1
help = "h"
"#;

    #[test]
    fn statements_are_as_they_were() {
        let catalogue = Catalogue::parse(&[("sample", FAMILY)]).unwrap();
        let family = &catalogue.families[0];
        let settings = StoreSettings::new("http://127.0.0.1:1");
        let place = Place::of(&settings);
        let shares = [DirtyWindow { window: 100, agents: vec![("web-1".into(), 1), ("b".into(), 2)] }];
        let task =
            Task { family, level: Level::TenSeconds, from: 100, until: 110, shares: &shares, version: 7 };
        let window = "toDateTime(intDiv(toUnixTimestamp(ts), 10) * 10, 'UTC')";
        let want = format!(
            "INSERT INTO `fettle`.`sample_10s` (`host`, `ts`, `disk`, `samples`, `a_min`, `a_max`, `a_sum`, \
             `a_last`, `b_min`, `b_max`, `b_sum`, `b_last`, `b_count`, `version`)\n\
             SELECT host,\n    {window},\n    `disk`,\n    toUInt32(count()),\n    min(`a`),\n    max(`a`),\n    \
             sum(`a`),\n    argMax(`a`, ts),\n    min(`b`),\n    max(`b`),\n    \
             toFloat64(sum(toInt64(round(toFloat64(`b`) / toFloat64('0.01'))))) * toFloat64('0.01'),\n    \
             argMax(`b`, ts),\n    toUInt32(count(`b`)),\n    7\n\
             FROM `fettle`.`sample`\n\
             WHERE ts >= fromUnixTimestamp64Micro(toInt64(100000000), 'UTC') AND \
             ts < fromUnixTimestamp64Micro(toInt64(110000000), 'UTC') \
             AND (toString(host), toUnixTimestamp({window})) IN (('web-1', 100), ('b', 100))\n\
             GROUP BY host, {window}, `disk`"
        );
        assert_eq!(statement(&task, &place), want);
        let minute = Task { level: Level::Minute, ..task };
        let sql = statement(&minute, &place);
        assert!(sql.contains("FROM `fettle`.`sample_10s` FINAL"), "{sql}");
        assert!(sql.contains("toUInt32(sum(`b_count`))") && sql.contains("argMax(`a_last`, ts)"), "{sql}");
    }
}
