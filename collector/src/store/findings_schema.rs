//! The tables of what detection found: anomalies and health scores. A row that is written again, after a
//! crash or by the next owner of a partition, replaces itself.

use super::ddl::{Table, TableColumn, TtlRule};
use super::Ttl;

const TEXT: &str = "LowCardinality(String)";
const MICROS: &str = "DateTime64(6, 'UTC')";
const KIND: &str = "Enum8('series' = 1, 'host' = 2, 'together' = 3)";
const SEVERITY: &str = "Enum8('low' = 1, 'medium' = 2, 'high' = 3, 'critical' = 4)";
const GRADE: &str = "Enum8('Unknown' = 0, 'Poor' = 1, 'Fair' = 2, 'Good' = 3, 'Excellent' = 4)";
const SCORE: &str = "Nullable(Float64)";

/// All tables of this file.
pub(super) fn tables(ttl: &Ttl) -> Vec<Table> {
    vec![anomalies(ttl), health(ttl)]
}

fn table(name: &str, comment: &str, order: &[&str], columns: Vec<TableColumn>) -> Table {
    Table {
        name: name.into(),
        comment: comment.into(),
        columns,
        version: Some("found"),
        order: order.iter().map(|name| (*name).to_owned()).collect(),
        partition: "toYYYYMM(ts)".into(),
        ttl: None,
        indexes: vec![("times", "ts TYPE minmax GRANULARITY 1")],
        tuning: vec![
            ("auto_statistics_types", "''".into()),
            ("ratio_of_defaults_for_sparse_serialization", "1".into()),
            ("write_marks_for_substreams_in_compact_parts", "0".into()),
        ],
        shard: "cityHash64(host)".into(),
    }
}

fn anomalies(ttl: &Ttl) -> Table {
    let zstd = Some("ZSTD(1)");
    let number = |name: &str, help: &str| TableColumn::new(name, "Nullable(Float64)", help).codec(zstd);
    let columns = vec![
        TableColumn::new("host", TEXT, "Agent's name."),
        TableColumn::new("ts", MICROS, "End of the second that was odd.").codec(Some("Delta, ZSTD(1)")),
        TableColumn::new("kind", KIND, "Found in one series, in the whole host, or what moved together."),
        TableColumn::new("series", "String", "family.metric{column=value,…}; empty for a whole host.")
            .codec(zstd),
        TableColumn::new("family", TEXT, "Family of the series."),
        TableColumn::new("metric", TEXT, "Metric of the series."),
        TableColumn::new("entity", "Map(LowCardinality(String), String)", "Key of the entity, by column.")
            .codec(zstd),
        number("value", "The odd value in the metric's unit; a counter's a second."),
        number("low", "Lower end of what was expected."),
        number("high", "Upper end of what was expected."),
        TableColumn::new("score", "Float32", "From 0 to 1; from 0.5 on it is odd by itself.").codec(zstd),
        TableColumn::new("tail", "Float64", "Share of the past that was as odd.").codec(zstd),
        TableColumn::new("severity", SEVERITY, "How bad."),
        TableColumn::new("reason", "String", "Why, in words.").codec(zstd),
        TableColumn::new(
            "attribution",
            "String",
            "What made it odd: JSON list of name, share, seen, expected.",
        )
        .codec(zstd),
        TableColumn::new("incident", "String", "The incident it belongs to: host and first second.")
            .codec(zstd),
        TableColumn::new("found", MICROS, "When the row was made; the newest one counts.")
            .codec(Some("Delta, ZSTD(1)")),
    ];
    Table {
        ttl: Some(TtlRule { time: "toDateTime(ts)", keep: ttl.anomalies }),
        ..table("anomalies", "What detection found odd.", &["host", "ts", "kind", "series"], columns)
    }
}

fn health(ttl: &Ttl) -> Table {
    let zstd = Some("ZSTD(1)");
    let score = |name: &str, help: &str| TableColumn::new(name, SCORE, help).codec(zstd);
    let columns = vec![
        TableColumn::new("host", TEXT, "Agent's name."),
        TableColumn::new("ts", MICROS, "End of the second in which it was made.")
            .codec(Some("Delta, ZSTD(1)")),
        score("score", "0 to 100; NULL when too little is known."),
        TableColumn::new("grade", GRADE, "The score in a word."),
        score("cpu", "Score of the processors."),
        score("memory", "Score of memory."),
        score("disk", "Score of disks and file systems."),
        score("efficiency", "Score of work that is not lost in waiting."),
        score("stability", "Score of the absence of anomalies, kills and gaps."),
        TableColumn::new(
            "deductions",
            "String",
            "What cost points: JSON list with reason and recommendation.",
        )
        .codec(zstd),
        TableColumn::new("missing", "Array(LowCardinality(String))", "Facts that were not known.")
            .codec(zstd),
        TableColumn::new("words", "String", "One line for people.").codec(zstd),
        TableColumn::new("found", MICROS, "When the row was made; the newest one counts.")
            .codec(Some("Delta, ZSTD(1)")),
    ];
    Table {
        ttl: Some(TtlRule { time: "toDateTime(ts)", keep: ttl.health }),
        ..table("health", "Health scores of the hosts.", &["host", "ts"], columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_says_what_it_is() {
        for table in tables(&Ttl::default()) {
            assert!(table.columns.iter().all(|column| !column.comment.is_empty()), "{}", table.name);
            assert_eq!(table.version, table.columns.last().map(|column| column.name.as_str()));
        }
    }
}
