//! The questions in SQL: a family's seconds, what there is, and of which hosts.
//!
//! Raw rows are reduced by the server, in exactly the way the collector reduces frames: minimum, maximum,
//! wrapping sum and latest value of the wire's integers. A float column holds an integer times a fixed
//! scale, and the integer comes back by division and rounding (exact below 2^23 in a Float32 column and
//! 2^53 in a Float64 one, see `store/rollup.rs` of the collector). So every column of an answer is Int64
//! or text, a `u64` by its bit pattern, and no answer has NULLs.

use fettle_shared::catalogue::{Catalogue, EntityType, Family, Metric};
use serde::Serialize;

use crate::bounds::Span;
use crate::stored::{Columns, Stored, LEDGER};

/// What a slice of history is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Level {
    /// Raw rows, reduced to seconds.
    #[serde(rename = "1s")]
    Second,
    /// The roll-ups of ten seconds: what is left when the raw rows are gone.
    #[serde(rename = "10s")]
    TenSeconds,
}

impl Level {
    /// Seconds that one reduction covers.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
        }
    }
}

/// Columns of an answer before the keys: the second, rows in it, time of the last one in µs.
pub(crate) const LEADING: usize = 3;
/// Columns a metric: minimum, maximum, sum, last; one more, the count, for an optional one.
pub(crate) const PARTS: usize = 4;

/// How the answers come: Arrow's stream format without compression, which is on one machine mostly. Nothing is compiled
/// to machine code: ClickHouse does that to a question it has heard three times, and for the thousand aggregates of
/// the widest family it takes ten seconds of processor time to spare less than one.
const FORMAT: &str = "FORMAT ArrowStream SETTINGS output_format_arrow_compression_method = 'none', \
                      output_format_arrow_string_as_string = 1, output_format_arrow_low_cardinality_as_dictionary = 0, \
                      compile_expressions = 0, compile_aggregate_expressions = 0";

/// A name in backquotes.
fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text in quotes.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The name of a family's table.
pub(crate) fn table(family: &Family, level: Level) -> String {
    match level {
        Level::Second => family.name.clone(),
        Level::TenSeconds => format!("{}_10s", family.name),
    }
}

/// The names of the columns that a metric is read from.
pub(crate) fn metric_columns(metric: &Metric, level: Level) -> Vec<String> {
    if level == Level::Second {
        return vec![metric.name.clone()];
    }
    let count = metric.optional.then_some("count");
    ["min", "max", "sum", "last"]
        .into_iter()
        .chain(count)
        .map(|part| format!("{}_{part}", metric.name))
        .collect()
}

/// Which columns there are of the tables that are read, as table and name.
pub(crate) fn columns(catalogue: &Catalogue) -> String {
    let families = catalogue
        .families
        .iter()
        .flat_map(|family| [Level::Second, Level::TenSeconds].map(|level| table(family, level)));
    let tables: Vec<String> = families.chain([LEDGER.to_owned()]).map(|table| literal(&table)).collect();
    format!(
        "SELECT toString(table) AS out_table, toString(name) AS out_name FROM system.columns \
         WHERE database = currentDatabase() AND table IN ({})\n{FORMAT}",
        tables.join(", ")
    )
}

/// One family of one host in a span, a row a second and entity, ordered by second and key. A metric without columns is
/// left out.
pub(crate) fn seconds(family: &Family, own: &Columns, host: &str, span: Span, level: Level) -> String {
    let raw = level == Level::Second;
    let (second, rows, last_us) = if raw {
        ("toInt64(toUnixTimestamp(ts))", "toInt64(count())", "toInt64(toUnixTimestamp64Micro(max(ts)))")
    } else {
        // A window is known when it is over: it stands for its last second.
        (
            "toInt64(toUnixTimestamp(ts)) + 9",
            "toInt64(samples)",
            "(toInt64(toUnixTimestamp(ts)) + 10) * 1000000 - 1",
        )
    };
    let mut selected =
        vec![format!("{second} AS out_s"), format!("{rows} AS out_n"), format!("{last_us} AS out_t")];
    let mut group = vec!["out_s".to_owned()];
    for (at, entity) in family.entity.iter().enumerate() {
        let name = identifier(&entity.name);
        let key = if entity.kind == EntityType::Text {
            format!("toString({name})")
        } else {
            format!("toInt64({name})")
        };
        selected.push(format!("{key} AS out_k{at}"));
        group.push(format!("out_k{at}"));
    }
    let mut at = 0;
    for (_, metric) in family.metrics.iter().enumerate().filter(|(place, _)| own.has(*place)) {
        for part in parts(metric, raw) {
            selected.push(format!("{part} AS out_{at}"));
            at += 1;
        }
    }
    let (group, selected) = (group.join(", "), selected.join(",\n"));
    let (table, among) = source(family, host, span, level);
    if raw {
        format!(
            "SELECT {selected}\nFROM {table}\nWHERE {among}\nGROUP BY {group}\nORDER BY {group}\n{FORMAT}"
        )
    } else {
        format!("SELECT {selected}\nFROM {table} FINAL\nWHERE {among}\nORDER BY {group}\n{FORMAT}")
    }
}

/// The table that has a family's rows, and which of them are the host's in the span.
fn source(family: &Family, host: &str, span: Span, level: Level) -> (String, String) {
    let host = literal(host);
    let time: fn(u32) -> String = match level {
        Level::Second => {
            |s| format!("fromUnixTimestamp64Micro(toInt64({}), 'UTC')", u64::from(s) * 1_000_000)
        }
        Level::TenSeconds => |s| format!("toDateTime({s}, 'UTC')"),
    };
    let (from, until) = (time(span.from), time(span.until));
    (identifier(&table(family, level)), format!("host = {host} AND ts >= {from} AND ts < {until}"))
}

/// The positions of the families of which the host has any row in the span; none when there is no table to ask.
pub(crate) fn present(
    catalogue: &Catalogue,
    stored: &Stored,
    host: &str,
    span: Span,
    level: Level,
) -> Option<String> {
    let branches: Vec<String> = catalogue
        .families
        .iter()
        .enumerate()
        .filter(|(at, _)| stored.columns(*at, level).is_some())
        .map(|(at, family)| {
            let (table, among) = source(family, host, span, level);
            format!("(SELECT toInt64({at}) AS out_at FROM {table} WHERE {among} LIMIT 1)")
        })
        .collect();
    all_of("out_at", &branches, "out_at")
}

/// All branches in one answer, if there is any.
fn all_of(what: &str, branches: &[String], order: &str) -> Option<String> {
    let all = branches.join("\nUNION ALL\n");
    (!branches.is_empty()).then(|| format!("SELECT {what} FROM ({all})\nORDER BY {order}\n{FORMAT}"))
}

/// The columns of one metric.
fn parts(metric: &Metric, raw: bool) -> Vec<String> {
    let column =
        |part: &str| identifier(&if raw { metric.name.clone() } else { format!("{}_{part}", metric.name) });
    let wire = |value: String| match metric.scale.filter(|_| metric.value.is_float()) {
        Some(scale) => format!("toInt64(round(toFloat64({value}) / toFloat64('{scale:?}')))"),
        None if metric.value.is_float() => format!("toInt64(round({value}))"),
        None => format!("toInt64({value})"),
    };
    let mut parts = if raw {
        let value = column("");
        vec![
            wire(format!("min({value})")),
            wire(format!("max({value})")),
            if metric.value.is_float() {
                format!("sum({})", wire(value.clone()))
            } else {
                wire(format!("sum({value})"))
            },
            wire(format!("argMax({value}, ts)")),
        ]
    } else {
        ["min", "max", "sum", "last"].map(|part| wire(column(part))).to_vec()
    };
    if metric.optional {
        for part in &mut parts {
            *part = format!("ifNull({part}, 0)");
        }
        parts.push(if raw {
            format!("toInt64(count({}))", column(""))
        } else {
            format!("toInt64({})", column("count"))
        });
    }
    parts
}

/// What there is: for each family its position, first and last second of the raw rows, first and last of the
/// roll-ups; zeros where there is nothing. None when there is no table to ask.
pub(crate) fn bounds(catalogue: &Catalogue, stored: &Stored) -> Option<String> {
    let branches: Vec<String> = catalogue
        .families
        .iter()
        .enumerate()
        .filter_map(|(at, family)| {
            let of = |level, what: &str| match stored.columns(at, level) {
                Some(_) => {
                    let table = identifier(&table(family, level));
                    format!("ifNull((SELECT toInt64(toUnixTimestamp({what}(ts))) FROM {table}), 0)")
                }
                None => "toInt64(0)".to_owned(),
            };
            let (raw, rolled) = (Level::Second, Level::TenSeconds);
            let known = [raw, rolled].into_iter().any(|level| stored.columns(at, level).is_some());
            known.then(|| {
                format!(
                    "SELECT toInt64({at}) AS out_at, {} AS out_a, {} AS out_b, {} AS out_c, {} AS out_d",
                    of(raw, "min"),
                    of(raw, "max"),
                    of(rolled, "min"),
                    of(rolled, "max")
                )
            })
        })
        .collect();
    all_of("*", &branches, "out_at")
}

/// The hosts that have anything in the span: the ledger knows them while it lasts, the roll-ups of
/// families that every agent samples after that. None when there is no table to ask.
pub(crate) fn hosts(catalogue: &Catalogue, stored: &Stored, span: Span) -> Option<String> {
    let (from, until) = (span.from, span.until);
    let mut branches = Vec::new();
    if stored.ledger() {
        branches.push(format!(
            "SELECT toString(agent) AS out_host FROM {LEDGER} WHERE last >= toDateTime({from}, 'UTC') \
             AND first < toDateTime({until}, 'UTC') AND status = 'stored'"
        ));
    }
    for (at, family) in catalogue.families.iter().enumerate() {
        if !family.entity.is_empty() || stored.columns(at, Level::TenSeconds).is_none() {
            continue;
        }
        branches.push(format!(
            "SELECT toString(host) AS out_host FROM {} WHERE ts >= toDateTime({}, 'UTC') AND ts < toDateTime({until}, 'UTC')",
            identifier(&table(family, Level::TenSeconds)),
            from.saturating_sub(9),
        ));
    }
    all_of("DISTINCT out_host", &branches, "out_host")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let span = Span { from: 100, until: 160 };
        let own = Columns::all(family);
        let sql = seconds(family, &own, "it's", span, Level::Second);
        let want = "SELECT toInt64(toUnixTimestamp(ts)) AS out_s,\ntoInt64(count()) AS out_n,\n\
            toInt64(toUnixTimestamp64Micro(max(ts))) AS out_t,\ntoString(`disk`) AS out_k0,\n\
            toInt64(min(`a`)) AS out_0,\ntoInt64(max(`a`)) AS out_1,\ntoInt64(sum(`a`)) AS out_2,\n\
            toInt64(argMax(`a`, ts)) AS out_3,\n\
            ifNull(toInt64(round(toFloat64(min(`b`)) / toFloat64('0.01'))), 0) AS out_4,\n\
            ifNull(toInt64(round(toFloat64(max(`b`)) / toFloat64('0.01'))), 0) AS out_5,\n\
            ifNull(sum(toInt64(round(toFloat64(`b`) / toFloat64('0.01')))), 0) AS out_6,\n\
            ifNull(toInt64(round(toFloat64(argMax(`b`, ts)) / toFloat64('0.01'))), 0) AS out_7,\n\
            toInt64(count(`b`)) AS out_8\nFROM `sample`\n\
            WHERE host = 'it\\'s' AND ts >= fromUnixTimestamp64Micro(toInt64(100000000), 'UTC') AND \
            ts < fromUnixTimestamp64Micro(toInt64(160000000), 'UTC')\n\
            GROUP BY out_s, out_k0\nORDER BY out_s, out_k0\n";
        assert_eq!(sql, format!("{want}{FORMAT}"));
        let rolled = seconds(family, &own, "a", span, Level::TenSeconds);
        assert!(
            rolled.contains("FROM `sample_10s` FINAL\n") && rolled.contains("toInt64(`a_last`)"),
            "{rolled}"
        );
        assert!(rolled.contains("toInt64(`b_count`)") && !rolled.contains("GROUP"), "{rolled}");
        let among = "host = 'a' AND ts >= toDateTime(100, 'UTC') AND ts < toDateTime(160, 'UTC')";
        assert!(rolled.contains(among), "{rolled}");
    }

    #[test]
    fn nothing_is_asked_where_there_is_no_table() {
        let catalogue = Catalogue::parse(&[("sample", FAMILY)]).unwrap();
        let (stored, span) = (Stored::default(), Span { from: 100, until: 160 });
        let present = present(&catalogue, &stored, "a", span, Level::Second);
        assert_eq!(
            (present, bounds(&catalogue, &stored), hosts(&catalogue, &stored, span)),
            (None, None, None)
        );
    }
}
