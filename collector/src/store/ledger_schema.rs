//! The tables that keep the books: intents, the ledger of frames, the log of roll-ups, events and the
//! schema's own version; and the views that prove the ledger whole.
//!
//! **Gaps and the TTL.** The ledger is partitioned by `day`, and a day is dropped whole. `day` is the
//! day of the frame's own time (of its arrival when that time is absurd), and within a boot times rise
//! with sequence numbers, so what the TTL takes away is a prefix. The view therefore looks at the days
//! that are not yet due alone, and counts what is missing between numbers that are there. What is
//! missing before the first of them is a gap only when no earlier day can have been taken away: when
//! the oldest row of the boot is younger than the oldest day kept. A clock that stepped back over
//! midnight could still make a false gap on the one day that the stepped-over rows are dropped; such
//! a range is recognised by its neighbours (the later number has the earlier time) and left out while
//! it touches the oldest day kept.

use super::ddl::{Place, Table, TableColumn, TtlRule};
use super::native::{ColumnKind, ColumnSpec};
use super::Ttl;

const TEXT: &str = "LowCardinality(String)";
const MICROS: &str = "DateTime64(6, 'UTC')";
const STATUS: &str = "Enum8('stored' = 1, 'dropped' = 2, 'quarantined' = 3)";
const FRAMES: &str = "Array(Tuple(agent String, boot UInt64, seq UInt64, rows UInt32, samples UInt64, \
                      first DateTime64(6, 'UTC'), last DateTime64(6, 'UTC')))";

/// Columns of the ledger as a block writes them; `stored_at` and `day` are the server's.
pub(super) fn ledger_columns() -> Vec<ColumnSpec> {
    [
        ("agent", ColumnKind::Text),
        ("boot", ColumnKind::U64),
        ("seq", ColumnKind::U64),
        ("status", ColumnKind::I8),
        ("rows", ColumnKind::U32),
        ("samples", ColumnKind::U64),
        ("first", ColumnKind::Micros),
        ("last", ColumnKind::Micros),
        ("partition", ColumnKind::U16),
        ("batch", ColumnKind::U64),
    ]
    .map(|(name, kind)| ColumnSpec::new(name, kind))
    .to_vec()
}

/// Columns of the roll-up log as a block writes them.
pub(super) fn log_columns() -> Vec<ColumnSpec> {
    [
        ("level", ColumnKind::Text),
        ("partition", ColumnKind::U16),
        ("window", ColumnKind::Seconds),
        ("agent", ColumnKind::Text),
        ("batch", ColumnKind::U64),
        ("version", ColumnKind::U64),
    ]
    .map(|(name, kind)| ColumnSpec::new(name, kind))
    .to_vec()
}

pub(super) fn table(name: &str, comment: &str, columns: Vec<TableColumn>) -> Table {
    Table {
        name: name.into(),
        comment: comment.into(),
        columns,
        version: None,
        order: Vec::new(),
        partition: "tuple()".into(),
        ttl: None,
        indexes: Vec::new(),
        tuning: vec![
            ("auto_statistics_types", "''".into()),
            ("ratio_of_defaults_for_sparse_serialization", "1".into()),
            ("write_marks_for_substreams_in_compact_parts", "0".into()),
        ],
        shard: "rand()".into(),
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// All tables of this file.
pub(super) fn tables(ttl: &Ttl) -> Vec<Table> {
    vec![batches(ttl), ledger(ttl), rollup_log(ttl), events(ttl), incidents(), schema()]
}

fn batches(ttl: &Ttl) -> Table {
    let columns = vec![
        TableColumn::new("partition", "UInt16", "Partition of the subjects."),
        TableColumn::new("number", "UInt64", "Number of the batch, rising within the partition.")
            .codec(Some("Delta, ZSTD(1)")),
        TableColumn::new("fence", "UInt64", "Fencing number of the owner's lease.").codec(Some("ZSTD(1)")),
        TableColumn::new("created", MICROS, "When the owner closed the batch.").codec(Some("Delta, ZSTD(1)")),
        TableColumn::new("cut_rows", "UInt32", "A table's block is closed at this many rows; 0: never.")
            .codec(Some("ZSTD(1)")),
        TableColumn::new("attempt", "UInt32", "How often it was begun again without lost frames.")
            .codec(Some("ZSTD(1)")),
        TableColumn::new("frames", FRAMES, "The frames, in the order of their rows.").codec(Some("ZSTD(1)")),
        TableColumn::new("lost", FRAMES, "Frames that did not come back after a crash.")
            .codec(Some("ZSTD(1)")),
    ];
    Table {
        order: strings(&["partition", "number"]),
        partition: "toDate(created)".into(),
        ttl: Some(TtlRule { time: "toDateTime(created)", keep: ttl.ledger }),
        shard: "partition".into(),
        ..table("batches", "Intents: what a partition's owner was about to store.", columns)
    }
}

fn ledger(ttl: &Ttl) -> Table {
    let zstd = Some("ZSTD(1)");
    let delta = Some("Delta, ZSTD(1)");
    let day =
        "if(last > now() - toIntervalDay(30) AND last < now() + toIntervalDay(1), toDate(last), today())";
    let columns = vec![
        TableColumn::new("agent", TEXT, "Agent that made the frame."),
        TableColumn::new("boot", "UInt64", "Boot of the agent.").codec(delta),
        TableColumn::new("seq", "UInt64", "Sequence number within the boot, from 1.").codec(delta),
        TableColumn::new("status", STATUS, "What became of the frame.").codec(zstd),
        TableColumn::new("rows", "UInt32", "Rows over all families.").codec(zstd),
        TableColumn::new("samples", "UInt64", "Samples over all families.").codec(zstd),
        TableColumn::new("first", MICROS, "Time of the first scan.").codec(delta),
        TableColumn::new("last", MICROS, "Time of the last scan.").codec(delta),
        TableColumn::new("partition", "UInt16", "Partition that accounted for it.").codec(zstd),
        TableColumn::new("batch", "UInt64", "Batch that accounted for it.").codec(delta),
        TableColumn::new("stored_at", MICROS, "When this row was written.")
            .default("now64(6, 'UTC')")
            .codec(delta),
        TableColumn::new("day", "Date", "Day the TTL goes by.").default(day).codec(zstd),
    ];
    Table {
        order: strings(&["agent", "boot", "seq"]),
        partition: "day".into(),
        ttl: Some(TtlRule { time: "day", keep: ttl.ledger }),
        indexes: vec![
            ("batches", "batch TYPE minmax GRANULARITY 1"),
            ("times", "last TYPE minmax GRANULARITY 1"),
        ],
        shard: "cityHash64(agent)".into(),
        ..table("ledger", "What became of every frame.", columns)
    }
}

fn rollup_log(ttl: &Ttl) -> Table {
    let columns = vec![
        TableColumn::new("level", TEXT, "10s, 1m or 1h."),
        TableColumn::new("partition", "UInt16", "Partition whose batches are meant."),
        TableColumn::new("window", "DateTime('UTC')", "Start of the window.").codec(Some("Delta, ZSTD(1)")),
        TableColumn::new("agent", TEXT, "Agent whose share was made."),
        TableColumn::new("batch", "UInt64", "Newest batch in it.").codec(Some("ZSTD(1)")),
        TableColumn::new("version", "UInt64", "Version its rows carry.").codec(Some("ZSTD(1)")),
    ];
    Table {
        version: Some("version"),
        order: strings(&["level", "partition", "window", "agent"]),
        partition: "toDate(window)".into(),
        ttl: Some(TtlRule { time: "window", keep: ttl.ledger }),
        shard: "cityHash64(agent)".into(),
        ..table("rollup_log", "Which windows are made, and from everything up to which batch.", columns)
    }
}

fn events(ttl: &Ttl) -> Table {
    let columns = vec![
        TableColumn::new("ts", MICROS, "When it happened."),
        TableColumn::new("component", TEXT, "Who says so."),
        TableColumn::new("host", TEXT, "Host it is about, or empty."),
        TableColumn::new("kind", TEXT, "What kind of event."),
        TableColumn::new("text", "String", "One sentence for people.").codec(Some("ZSTD(1)")),
        TableColumn::new("detail", "String", "JSON.").codec(Some("ZSTD(1)")),
    ];
    Table {
        order: strings(&["component", "kind", "ts"]),
        partition: "toYYYYMM(ts)".into(),
        ttl: Some(TtlRule { time: "toDateTime(ts)", keep: ttl.hour }),
        shard: "cityHash64(host)".into(),
        ..table("events", "What Fettle itself did and saw.", columns)
    }
}

/// Incidents that people marked, for comparisons. Kept for ever. Taking a mark back is a newer version of
/// its row with `removed`, so that it works on a cluster too; read with FINAL.
fn incidents() -> Table {
    let columns = vec![
        TableColumn::new("host", TEXT, "Host it happened on."),
        TableColumn::new("begin", MICROS, "When it began."),
        TableColumn::new("kind", TEXT, "What kind of trouble, in a word."),
        TableColumn::new("end", MICROS, "When it was over."),
        TableColumn::new("note", "String", "What a person has to say of it."),
        TableColumn::new("author", "String", "Who marked it."),
        TableColumn::new("removed", "UInt8", "1: the mark was taken back."),
        TableColumn::new("version", "UInt64", "The highest version of a row counts.")
            .default("toUnixTimestamp64Nano(now64(9))"),
    ];
    Table {
        version: Some("version"),
        order: strings(&["host", "begin", "kind"]),
        shard: "cityHash64(host)".into(),
        ..table("incidents", "Incidents that people marked, for `fettle replay` to compare with.", columns)
    }
}

/// The schema's own versions. Kept for ever: a few rows.
pub(super) fn schema() -> Table {
    let columns = vec![
        TableColumn::new("version", "UInt32", "Layout of the tables."),
        TableColumn::new("catalogue", "UInt32", "Version of the catalogue."),
        TableColumn::new("applied", MICROS, "When.").default("now64(6, 'UTC')"),
        TableColumn::new("program", "String", "Which program."),
    ];
    Table {
        order: strings(&["version", "catalogue"]),
        ..table("schema", "Which schema versions were applied.", columns)
    }
}

/// The views over the books, each with its name.
pub(super) fn views(place: &Place<'_>, ttl: &Ttl) -> Vec<(&'static str, String)> {
    let ledger = place.asked("ledger");
    vec![("ledger_gaps", gaps(&ledger, place.global(), ttl)), ("ledger_drops", drops(&ledger))]
}

/// Days kept, as the TTL counts them: a day is due once it began this long ago.
pub(super) fn oldest_day(ttl: &Ttl) -> String {
    format!("(toDate(now() - toIntervalSecond({})) + 1)", ttl.ledger.as_secs())
}

/// See the head of this file. A bitmap a boot finds the boots that are not whole, exactly and at some
/// hundred million rows a second; only those are then looked at row by row.
fn gaps(ledger: &str, global: &str, ttl: &Ttl) -> String {
    let oldest = oldest_day(ttl);
    format!(
        "WITH suspects AS (
    SELECT agent, boot
    FROM {ledger}
    WHERE day >= {oldest}
    GROUP BY agent, boot
    HAVING groupBitmap(seq) != max(seq) - min(seq) + 1
        OR countIf(status = 'stored') != groupBitmapIf(seq, status = 'stored')
        OR (min(seq) > 1 AND min(day) > {oldest})
),
steps AS (
    SELECT agent, boot, seq, status, day, last,
        lagInFrame(seq) OVER w AS previous,
        lagInFrame(status) OVER w AS previous_status,
        lagInFrame(last) OVER w AS previous_last,
        min(day) OVER (PARTITION BY agent, boot) AS first_day
    FROM {ledger}
    WHERE day >= {oldest} AND (agent, boot) {global}IN (SELECT agent, boot FROM suspects)
    WINDOW w AS (
        PARTITION BY agent, boot ORDER BY seq ASC, status ASC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    )
)
SELECT agent, boot, if(seq = previous, 'double', 'missing') AS kind,
    if(seq = previous, seq, previous + 1) AS first_seq,
    if(seq = previous, seq, seq - 1) AS last_seq,
    last_seq - first_seq + 1 AS count
FROM steps
WHERE (seq = previous AND status = 'stored' AND previous_status = 'stored')
    OR (seq > previous + 1
        AND (previous > 0 OR first_day > {oldest})
        AND NOT (previous > 0 AND previous_last > last AND day = {oldest}))"
    )
}

fn drops(ledger: &str) -> String {
    format!(
        "SELECT agent, boot, min(seq) AS first_seq, max(seq) AS last_seq, count() AS frames,
    sum(rows) AS rows_dropped, sum(samples) AS samples_dropped, min(first) AS first, max(last) AS last
FROM {ledger}
WHERE status = 'dropped'
GROUP BY agent, boot"
    )
}
