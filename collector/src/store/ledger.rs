//! The books: intents, the ledger, and what the ledger says has been accounted for.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use serde::Deserialize;

use super::client::Form;
use super::ddl::{literals, Place};
use super::ledger_schema::{ledger_columns, oldest_day};
use super::native::{put_text, put_varint};
use super::{Agents, FrameEntry, Intent, LedgerRow, LedgerStatus, NativeBlock, Store, StoreError, Watermark};

/// Frames that one statement names.
const FRAMES_AT_ONCE: usize = 200;

#[derive(Deserialize)]
struct NumberRow {
    agent: String,
    boot: u64,
    seq: u64,
}

#[derive(Deserialize)]
struct BesideRow {
    agent: String,
    first_us: i64,
    last_us: i64,
}

#[derive(Deserialize)]
struct CountRow {
    count: u64,
}

#[derive(Deserialize)]
struct NewestRow {
    agent: String,
    last_us: i64,
}

#[derive(Deserialize)]
struct SummaryRow {
    agent: String,
    boot: u64,
    low: u64,
    high: u64,
    numbers: u64,
    trimmed: u8,
}

#[derive(Deserialize)]
struct RangesRow {
    agent: String,
    boot: u64,
    ranges: Vec<(u64, u64)>,
}

/// The condition on a column of agents, as `xxh3` spreads them over partitions.
pub(super) fn condition(agents: Agents<'_>) -> String {
    match agents {
        Agents::All => "1".into(),
        Agents::Named([]) => "0".into(),
        Agents::Named(names) => format!("agent IN ({})", literals(names)),
        Agents::Partition { index, count } => format!("xxh3(toString(agent)) % {count} = {index}"),
    }
}

impl Store {
    /// Writes an intent; again with the same intent changes nothing.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn write_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        let body = [Bytes::from(intent_block(intent))];
        let table = self.place().asked("batches");
        self.connection.insert(&table, Form::Named, &body, &intent.token("batches", 0)).await
    }

    /// Writes ledger rows; again with the same token changes nothing.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn write_ledger(&self, rows: &[LedgerRow], token: &str) -> Result<(), StoreError> {
        let mut block = NativeBlock::new(&ledger_columns());
        for row in rows {
            let LedgerRow { frame, status, partition, batch } = row;
            block.column(0).fill_text(&frame.agent, 1);
            let numbers = [
                frame.boot as i64,
                frame.seq as i64,
                i64::from(status.code()),
                i64::from(frame.rows),
                frame.samples as i64,
                frame.first_us,
                frame.last_us,
                i64::from(*partition),
                *batch as i64,
            ];
            for (at, value) in numbers.into_iter().enumerate() {
                block.column(1 + at).fill(value, 1);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.connection.insert(&self.place().asked("ledger"), Form::Some, &block.finish(), token).await
    }

    /// The newest intent of a partition.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn last_intent(&self, partition: u16) -> Result<Option<Intent>, StoreError> {
        let rows =
            self.connection.rows("the newest intent", &last_intent_sql(partition, &self.place())).await?;
        Ok(rows.into_iter().next())
    }

    /// Whether every frame of the intent is in the ledger under its batch. One whose frames were all lost
    /// says nothing of its rows, so it never counts as complete.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn ledger_batch_complete(&self, intent: &Intent) -> Result<bool, StoreError> {
        if intent.frames.is_empty() {
            return Ok(intent.lost.is_empty());
        }
        let (partition, batch) = (intent.partition, intent.number);
        let row = |frame: &FrameEntry| LedgerRow {
            frame: frame.clone(),
            status: LedgerStatus::Stored,
            partition,
            batch,
        };
        let rows: Vec<LedgerRow> = intent.frames.iter().map(row).collect();
        Ok(self.missing_in_ledger(&rows).await?.is_empty())
    }

    /// Per agent, the time of its newest stored sample (µs since 1970 UTC).
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn newest_samples(&self, agents: Agents<'_>) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = format!(
            "SELECT agent, toUnixTimestamp64Micro(max(last)) AS last_us FROM {} WHERE status = 'stored' AND {} GROUP BY agent",
            self.place().asked("ledger"),
            condition(agents),
        );
        let rows: Vec<NewestRow> = self.connection.rows("the newest samples", &sql).await?;
        Ok(rows.into_iter().map(|row| (row.agent, row.last_us)).collect())
    }

    /// What is accounted for, per agent and boot.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn watermarks(&self, agents: Agents<'_>) -> Result<Vec<Watermark>, StoreError> {
        let oldest = oldest_day(&self.settings.ttl);
        let kept = format!("day >= {oldest} AND {}", condition(agents));
        let place = self.place();
        let ledger = place.asked("ledger");
        let sql = format!(
            "SELECT agent, boot, min(seq) AS low, max(seq) AS high, groupBitmap(seq) AS numbers, \
             toUInt8(low = 1 OR min(day) <= {oldest}) AS trimmed \
             FROM {ledger} WHERE {kept} GROUP BY agent, boot ORDER BY agent, boot"
        );
        let boots: Vec<SummaryRow> = self.connection.rows("the watermarks", &sql).await?;
        let mut holed = HashMap::new();
        if boots.iter().any(|boot| boot.numbers != boot.high - boot.low + 1) {
            let rows: Vec<RangesRow> = self
                .connection
                .rows("the ranges in the ledger", &ranges_sql(&ledger, place.global(), &kept))
                .await?;
            holed.extend(rows.into_iter().map(|row| ((row.agent, row.boot), row.ranges)));
        }
        Ok(boots
            .into_iter()
            .map(|boot| {
                let whole = vec![(boot.low, boot.high)];
                let ranges = holed.remove(&(boot.agent.clone(), boot.boot)).unwrap_or(whole);
                watermark(boot, ranges)
            })
            .collect())
    }

    /// Of these rows of one batch, those that the ledger does not have.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn missing_in_ledger(&self, rows: &[LedgerRow]) -> Result<Vec<LedgerRow>, StoreError> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT agent, boot, seq FROM {} WHERE partition = {} AND batch = {}",
            self.place().asked("ledger"),
            first.partition,
            first.batch
        );
        let there: Vec<NumberRow> = self.connection.rows("the ledger of a batch", &sql).await?;
        let there: HashSet<(&str, u64, u64)> =
            there.iter().map(|row| (row.agent.as_str(), row.boot, row.seq)).collect();
        let missing =
            |row: &&LedgerRow| !there.contains(&(row.frame.agent.as_str(), row.frame.boot, row.frame.seq));
        Ok(rows.iter().filter(missing).cloned().collect())
    }

    /// How many rows of these frames a raw table has, by their agents and times.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn count_rows(&self, table: &str, frames: &[FrameEntry]) -> Result<u64, StoreError> {
        let mut count = 0;
        for some in frames.chunks(FRAMES_AT_ONCE) {
            let rows: Vec<String> = some.iter().map(rows_of).collect();
            let table = self.place().asked(table);
            let sql = format!("SELECT count() AS count FROM {table} WHERE {}", rows.join(" OR "));
            let found: Vec<CountRow> = self.connection.rows("the rows of a batch", &sql).await?;
            count += found.first().map_or(0, |row| row.count);
        }
        Ok(count)
    }

    /// Frames in the ledger as stored that share an agent and some time with these: a clock was set back,
    /// or two hosts go by one name.
    async fn stored_beside(&self, frames: &[FrameEntry]) -> Result<Vec<BesideRow>, StoreError> {
        let spans: Vec<String> = frames
            .iter()
            .map(|frame| {
                format!(
                    "(agent = {} AND first <= fromUnixTimestamp64Micro(toInt64({}), 'UTC') \
                     AND last >= fromUnixTimestamp64Micro(toInt64({}), 'UTC') AND NOT (boot = {} AND seq = {}))",
                    super::ddl::literal(&frame.agent),
                    frame.last_us,
                    frame.first_us,
                    frame.boot,
                    frame.seq
                )
            })
            .collect();
        let sql = format!(
            "SELECT agent, toUnixTimestamp64Micro(first) AS first_us, toUnixTimestamp64Micro(last) AS last_us \
             FROM {} WHERE status = 'stored' AND ({})",
            self.place().asked("ledger"),
            spans.join(" OR ")
        );
        let rows: Vec<BesideRow> = self.connection.rows("stored frames beside lost ones", &sql).await?;
        if !rows.is_empty() {
            tracing::error!(
                frames = rows.len(),
                "an unfinished batch shares times with stored frames; rows at those times are left"
            );
        }
        Ok(rows)
    }

    /// Deletes whatever rows of these frames reached the raw tables. Rows at times of other, stored frames
    /// of the same agent are left: better a row twice than one lost.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn delete_frames(&self, frames: &[FrameEntry]) -> Result<(), StoreError> {
        let place = self.place();
        for some in frames.chunks(FRAMES_AT_ONCE) {
            let stored = self.stored_beside(some).await?;
            let rows: Vec<String> = some.iter().map(|frame| rows_to_delete(frame, &stored)).collect();
            for family in &self.catalogue.families {
                let sql = format!(
                    "DELETE FROM {}{} WHERE {}",
                    place.stored(&family.name),
                    place.on_cluster(),
                    rows.join(" OR ")
                );
                let waits = [("lightweight_deletes_sync", "2"), ("mutations_sync", "2")];
                self.connection.execute_with("deleting abandoned frames", &sql, &waits).await?;
            }
        }
        Ok(())
    }
}

fn rows_of(frame: &FrameEntry) -> String {
    format!(
        "(host = {} AND ts >= fromUnixTimestamp64Micro(toInt64({}), 'UTC') AND ts <= fromUnixTimestamp64Micro(toInt64({}), 'UTC'))",
        super::ddl::literal(&frame.agent),
        frame.first_us,
        frame.last_us,
    )
}

/// The same without the times of stored frames.
fn rows_to_delete(frame: &FrameEntry, stored: &[BesideRow]) -> String {
    let kept = stored.iter().filter(|row| row.agent == frame.agent);
    let spared: String = kept
        .map(|row| {
            format!(
                " AND NOT (ts >= fromUnixTimestamp64Micro(toInt64({}), 'UTC') AND ts <= fromUnixTimestamp64Micro(toInt64({}), 'UTC'))",
                row.first_us, row.last_us
            )
        })
        .collect();
    format!("({}{spared})", rows_of(frame))
}

/// A boot whose first numbers may have gone with the TTL counts as whole from its first row on.
fn watermark(boot: SummaryRow, mut ranges: Vec<(u64, u64)>) -> Watermark {
    let upto = match ranges.first() {
        Some(&(_, high)) if boot.trimmed == 1 => {
            ranges.remove(0);
            high
        }
        _ => 0,
    };
    Watermark { agent: boot.agent, boot: boot.boot, upto, above: ranges }
}

/// Ranges of the boots that have holes: numbers that rise in step with their row number belong together.
fn ranges_sql(ledger: &str, global: &str, kept: &str) -> String {
    format!(
        "SELECT agent, boot, arraySort(groupArray((low, high))) AS ranges FROM (
    SELECT agent, boot, min(seq) AS low, max(seq) AS high FROM (
        SELECT agent, boot, seq, seq - row_number() OVER (PARTITION BY agent, boot ORDER BY seq) AS island
        FROM (
            SELECT DISTINCT agent, boot, seq FROM {ledger}
            WHERE {kept} AND (agent, boot) {global}IN (
                SELECT agent, boot FROM {ledger} WHERE {kept} GROUP BY agent, boot
                HAVING groupBitmap(seq) != max(seq) - min(seq) + 1
            )
        )
    )
    GROUP BY agent, boot, island
)
GROUP BY agent, boot"
    )
}

fn last_intent_sql(partition: u16, place: &Place<'_>) -> String {
    let frames = |column: &str| {
        format!(
            "CAST(arrayMap(f -> (f.agent, f.boot, f.seq, f.rows, f.samples, toUnixTimestamp64Micro(f.first), \
             toUnixTimestamp64Micro(f.last)), {column}), 'Array(Tuple(agent String, boot UInt64, seq UInt64, \
             rows UInt32, samples UInt64, first_us Int64, last_us Int64))') AS {column}"
        )
    };
    format!(
        "SELECT partition, number, fence, toUnixTimestamp64Micro(created) AS created_us, cut_rows, attempt, \
         {}, {} FROM {} WHERE partition = {partition} ORDER BY number DESC, fence DESC, attempt DESC LIMIT 1",
        frames("frames"),
        frames("lost"),
        place.asked("batches")
    )
}

/// An intent as a Native block of one row, types by name.
fn intent_block(intent: &Intent) -> Vec<u8> {
    const MICROS: &str = "DateTime64(6, 'UTC')";
    let kind = format!(
        "Array(Tuple(agent String, boot UInt64, seq UInt64, rows UInt32, samples UInt64, first {MICROS}, last {MICROS}))"
    );
    let mut out = vec![8, 1];
    let mut column = |name: &str, kind: &str, data: &[u8]| {
        put_text(&mut out, name);
        put_text(&mut out, kind);
        out.extend_from_slice(data);
    };
    column("partition", "UInt16", &intent.partition.to_le_bytes());
    column("number", "UInt64", &intent.number.to_le_bytes());
    column("fence", "UInt64", &intent.fence.to_le_bytes());
    column("created", MICROS, &intent.created_us.to_le_bytes());
    column("cut_rows", "UInt32", &intent.cut_rows.to_le_bytes());
    column("attempt", "UInt32", &intent.attempt.to_le_bytes());
    column("frames", &kind, &frames_column(&intent.frames));
    column("lost", &kind, &frames_column(&intent.lost));
    out
}

/// One row of an array of frames: its end position, then the tuples' elements, column by column.
fn frames_column(frames: &[FrameEntry]) -> Vec<u8> {
    let mut data = (frames.len() as u64).to_le_bytes().to_vec();
    for frame in frames {
        put_varint(&mut data, frame.agent.len() as u64);
        data.extend_from_slice(frame.agent.as_bytes());
    }
    let mut numbers = |number: fn(&FrameEntry) -> u64, width: usize| {
        for frame in frames {
            data.extend_from_slice(&number(frame).to_le_bytes()[..width]);
        }
    };
    numbers(|f| f.boot, 8);
    numbers(|f| f.seq, 8);
    numbers(|f| u64::from(f.rows), 4);
    numbers(|f| f.samples, 8);
    numbers(|f| f.first_us as u64, 8);
    numbers(|f| f.last_us as u64, 8);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(trimmed: u8) -> SummaryRow {
        SummaryRow { agent: "a".into(), boot: 1, low: 5, high: 9, numbers: 5, trimmed }
    }

    #[test]
    fn a_prefix_that_the_ttl_took_counts_as_stored() {
        assert_eq!(watermark(boot(1), vec![(5, 7), (9, 9)]).upto, 7);
        let open = watermark(boot(0), vec![(5, 9)]);
        assert_eq!((open.upto, open.above), (0, vec![(5, 9)]), "frames 1 to 4 are still to come");
    }

    #[test]
    fn agents_are_named_in_quotes() {
        assert_eq!(condition(Agents::Named(&["a'b".into()])), "agent IN ('a\\'b')");
        assert_eq!(condition(Agents::Partition { index: 2, count: 8 }), "xxh3(toString(agent)) % 8 = 2");
    }
}
