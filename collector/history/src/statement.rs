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

/// One family of one host in a span, a row a second and entity, ordered by second and key.
pub(crate) fn seconds(family: &Family, host: &str, span: Span, level: Level) -> String {
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
    for metric in &family.metrics {
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
    let (table, time): (_, fn(u32) -> String) = match level {
        Level::Second => (identifier(&family.name), |s| {
            format!("fromUnixTimestamp64Micro(toInt64({}), 'UTC')", u64::from(s) * 1_000_000)
        }),
        Level::TenSeconds => {
            (identifier(&format!("{}_10s", family.name)), |s| format!("toDateTime({s}, 'UTC')"))
        }
    };
    let (from, until) = (time(span.from), time(span.until));
    (table, format!("host = {host} AND ts >= {from} AND ts < {until}"))
}

/// The positions of the families of which the host has any row in the span.
pub(crate) fn present(catalogue: &Catalogue, host: &str, span: Span, level: Level) -> String {
    let branches: Vec<String> = catalogue
        .families
        .iter()
        .enumerate()
        .map(|(at, family)| {
            let (table, among) = source(family, host, span, level);
            format!("(SELECT toInt64({at}) AS out_at FROM {table} WHERE {among} LIMIT 1)")
        })
        .collect();
    format!("SELECT out_at FROM ({})\nORDER BY out_at\n{FORMAT}", branches.join("\nUNION ALL\n"))
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
/// roll-ups; zeros where there is nothing.
pub(crate) fn bounds(catalogue: &Catalogue) -> String {
    let branches: Vec<String> = catalogue
        .families
        .iter()
        .enumerate()
        .map(|(at, family)| {
            let raw = identifier(&family.name);
            let rolled = identifier(&format!("{}_10s", family.name));
            let of = |table: &str, what: &str| format!("(SELECT toInt64(toUnixTimestamp({what}(ts))) FROM {table})");
            format!(
                "SELECT toInt64({at}) AS out_at, ifNull({}, 0) AS out_a, ifNull({}, 0) AS out_b, ifNull({}, 0) AS out_c, \
                 ifNull({}, 0) AS out_d",
                of(&raw, "min"),
                of(&raw, "max"),
                of(&rolled, "min"),
                of(&rolled, "max")
            )
        })
        .collect();
    format!("SELECT * FROM ({})\nORDER BY out_at\n{FORMAT}", branches.join("\nUNION ALL\n"))
}

/// The hosts that have anything in the span: the ledger knows them while it lasts, the roll-ups of
/// families that every agent samples after that.
pub(crate) fn hosts(catalogue: &Catalogue, span: Span) -> String {
    let (from, until) = (span.from, span.until);
    let mut branches = vec![format!(
        "SELECT toString(agent) AS out_host FROM ledger WHERE last >= toDateTime({from}, 'UTC') \
         AND first < toDateTime({until}, 'UTC') AND status = 'stored'"
    )];
    for family in catalogue.families.iter().filter(|family| family.entity.is_empty()) {
        branches.push(format!(
            "SELECT toString(host) AS out_host FROM {} WHERE ts >= toDateTime({}, 'UTC') AND ts < toDateTime({until}, 'UTC')",
            identifier(&format!("{}_10s", family.name)),
            from.saturating_sub(9),
        ));
    }
    format!("SELECT DISTINCT out_host FROM ({})\nORDER BY out_host\n{FORMAT}", branches.join("\nUNION ALL\n"))
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
        let sql = seconds(family, "it's", span, Level::Second);
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
        let rolled = seconds(family, "a", span, Level::TenSeconds);
        assert!(
            rolled.contains("FROM `sample_10s` FINAL\n") && rolled.contains("toInt64(`a_last`)"),
            "{rolled}"
        );
        assert!(rolled.contains("toInt64(`b_count`)") && !rolled.contains("GROUP"), "{rolled}");
        let present = present(&catalogue, "a", span, Level::TenSeconds);
        let among = "host = 'a' AND ts >= toDateTime(100, 'UTC') AND ts < toDateTime(160, 'UTC')";
        assert!(rolled.contains(among) && present.contains(among), "{present}");
    }
}
