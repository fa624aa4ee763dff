//! The tables of what is to be expected: forecasts, predictions of failure, and the models that made them.

use super::ddl::{Table, TableColumn, TtlRule};
use super::Ttl;

const TEXT: &str = "LowCardinality(String)";
const SECONDS: &str = "DateTime('UTC')";
const NUMBER: &str = "Nullable(Float64)";

/// All tables of this file.
pub(super) fn tables(ttl: &Ttl) -> Vec<Table> {
    vec![forecasts(ttl), predictions(ttl), models(ttl)]
}

fn table(name: &str, comment: &str, columns: Vec<TableColumn>, order: &[&str], ttl: &Ttl) -> Table {
    Table {
        name: name.into(),
        comment: comment.into(),
        columns,
        version: None,
        order: order.iter().map(|column| (*column).to_owned()).collect(),
        partition: "toYYYYMM(ts)".into(),
        ttl: Some(TtlRule { time: "ts", keep: ttl.minute }),
        indexes: Vec::new(),
        tuning: vec![
            ("auto_statistics_types", "''".into()),
            ("ratio_of_defaults_for_sparse_serialization", "1".into()),
            ("write_marks_for_substreams_in_compact_parts", "0".into()),
        ],
        shard: "cityHash64(host)".into(),
    }
}

fn time() -> TableColumn {
    TableColumn::new("ts", SECONDS, "When it was said.").codec(Some("Delta, ZSTD(1)"))
}

fn number(name: &str, comment: &str) -> TableColumn {
    TableColumn::new(name, NUMBER, comment).codec(Some("ZSTD(1)"))
}

fn text(name: &str, comment: &str) -> TableColumn {
    TableColumn::new(name, "String", comment).codec(Some("ZSTD(1)"))
}

fn forecasts(ttl: &Ttl) -> Table {
    let columns = vec![
        time(),
        TableColumn::new("host", TEXT, "Host it is about."),
        TableColumn::new("kind", TEXT, "exhaustion: when it runs out; value: where it will be."),
        TableColumn::new(
            "resource",
            TEXT,
            "disk, inodes, memory, swap, descriptors, process_memory, conntrack; or empty.",
        ),
        TableColumn::new("entity", TEXT, "Mount, name[pid], or empty for the host's only one."),
        TableColumn::new("metric", TEXT, "The metric it is about."),
        number("horizon_s", "How far ahead, in seconds."),
        number("probability", "Exhaustion: probability that it runs out within the horizon."),
        number("eta_s", "Exhaustion: expected seconds until then; NULL when nothing leads there."),
        number("low_s", "Exhaustion: lower end of the 80 % interval, in seconds."),
        number("high_s", "Exhaustion: upper end of the 80 % interval, in seconds."),
        number("used", "Exhaustion: what is used now, in the metric's unit."),
        number("capacity", "Exhaustion: what there is, in the metric's unit."),
        number("mean", "Value: expected at the horizon, in the metric's unit."),
        number("low", "Value: lower end of the 80 % interval."),
        number("high", "Value: upper end of the 80 % interval."),
        text("words", "The same in words."),
    ];
    let order = ["host", "kind", "metric", "entity", "ts"];
    table("forecasts", "What runs out and when, and where key series are going.", columns, &order, ttl)
}

fn predictions(ttl: &Ttl) -> Table {
    let columns = vec![
        time(),
        TableColumn::new("host", TEXT, "Host it is about."),
        TableColumn::new("component", TEXT, "Component it is about; empty for the host itself."),
        TableColumn::new("horizon_s", "UInt32", "Within which a failure counts, in seconds."),
        number("probability", "Probability of failure within the horizon."),
        TableColumn::new(
            "model",
            TEXT,
            "Version of the model that said so; baseline: none, the statistics did.",
        ),
        number("baseline", "What the baseline says: something it depends on runs out within the horizon."),
        number("statistical", "What the model's regression alone says; NULL without a model."),
        number("echo", "What the model's echo state network alone says; NULL without a model."),
        text("reasons", "Why, in words, parted by semicolons."),
    ];
    let order = ["host", "component", "ts"];
    table("predictions", "How probable it is that a component fails soon.", columns, &order, ttl)
}

fn models(ttl: &Ttl) -> Table {
    let columns = vec![
        TableColumn::new("ts", SECONDS, "When it was trained."),
        TableColumn::new("partition", "UInt16", "Partition whose hosts it learned from."),
        TableColumn::new("number", "UInt64", "Version, from 1; 0: it was never in use."),
        TableColumn::new("active", "UInt8", "1 if it was taken into use: the highest such number is in use."),
        number("brier", "Mean squared error of its risk on what it had not learned from."),
        number("rmse", "Error of its steps left on the same, in steps."),
        number("base_brier", "The same of always saying the base rate, in training."),
        TableColumn::new("failures", "UInt32", "Failures it learned from."),
        TableColumn::new("judged_failures", "UInt32", "Failures it was judged by."),
        TableColumn::new("trained_from", SECONDS, "First second of what it learned from."),
        TableColumn::new("trained_until", SECONDS, "Last second of what it learned from."),
        text("verdict", "What became of it, in words."),
        text("version", "Version, score and model as JSON."),
    ];
    Table {
        shard: "partition".into(),
        ttl: Some(TtlRule { time: "ts", keep: ttl.hour }),
        ..table(
            "models",
            "Models of failure, those in use and those refused.",
            columns,
            &["partition", "ts"],
            ttl,
        )
    }
}
