//! Which windows are made, and which must be made (again).
//!
//! A 10-second window of an agent is dirty when the ledger has a frame in it from a newer batch than
//! the log names. A coarser window is dirty when a window in it was made after it was: their versions
//! are times of making, and batches would not do, since the share that comes last need not be the one
//! with the newest batch. Windows whose rows below the TTL may have taken away already are never
//! dirty: making them again would replace a whole with a part.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fettle_shared::catalogue::Family;
use serde::Deserialize;

use super::client::Form;
use super::ledger_schema::log_columns;
use super::rollup::{statement, Task};
use super::{DirtyWindow, Level, NativeBlock, RollupEntry, Store, StoreError, Ttl};

/// A statement takes a while; rows this close to their end are counted as gone.
const TTL_MARGIN: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
struct DirtyRow {
    window: u32,
    agents: Vec<(String, u64)>,
}

#[derive(Deserialize)]
struct VersionRow {
    version: u64,
}

/// The earliest second of which all rows below a level are surely there still.
fn earliest(level: Level, ttl: &Ttl) -> u32 {
    let keep = match level {
        Level::TenSeconds => ttl.raw,
        Level::Minute => ttl.ten_seconds,
        Level::Hour => ttl.minute,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(keep).saturating_add(TTL_MARGIN).as_secs() as u32
}

impl Store {
    /// Windows of a level whose content is newer than what the log says was rolled up, that start at
    /// or after `from` and end at or before `until` (seconds since the epoch).
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn dirty_windows(
        &self,
        level: Level,
        partition: u16,
        from: u32,
        until: u32,
    ) -> Result<Vec<DirtyWindow>, StoreError> {
        let from = from.max(earliest(level, &self.settings.ttl));
        if until <= from {
            return Ok(Vec::new());
        }
        let sql = match level.source() {
            None => self.touched_sql(partition, from, until),
            Some(source) => self.remade_sql(level, source, partition, from, until),
        };
        let rows: Vec<DirtyRow> = self.connection.rows("the windows to make", &sql).await?;
        Ok(rows.into_iter().map(|row| DirtyWindow { window: row.window, agents: row.agents }).collect())
    }

    fn touched_sql(&self, partition: u16, from: u32, until: u32) -> String {
        let place = self.place();
        let step = Level::TenSeconds.seconds();
        // A frame lies in one second, so in one window or two; a hundred bounds what a broken clock does.
        let most = 100 * step;
        format!(
            "WITH touched AS (
    SELECT agent, start, max(batch) AS newest
    FROM (
        SELECT agent, batch,
            toUInt32(intDiv(greatest(toUnixTimestamp64Micro(first), 0), {step}000000) * {step}) AS low,
            toUInt32(intDiv(greatest(toUnixTimestamp64Micro(last), 0), {step}000000) * {step}) AS high
        FROM {ledger}
        WHERE partition = {partition} AND status = 'stored' AND day >= toDate(toDateTime({from}, 'UTC')) - 1
            AND last >= toDateTime64({from}, 6, 'UTC') AND first < toDateTime64({until}, 6, 'UTC')
    )
    ARRAY JOIN range(low, least(high, low + {most}) + 1, {step}) AS start
    WHERE start >= {from} AND start + {step} <= {until}
    GROUP BY agent, start
),
made AS (
    SELECT agent, toUnixTimestamp(window) AS start, max(batch) AS batch, max(version) AS version
    FROM {log}
    WHERE level = '{level}' AND partition = {partition}
        AND window >= toDateTime({from}, 'UTC') AND window < toDateTime({until}, 'UTC')
    GROUP BY agent, start
)
SELECT start AS window, groupArray((toString(agent), newest)) AS agents
FROM touched LEFT JOIN made USING (agent, start)
WHERE made.version = 0 OR newest > made.batch
GROUP BY start ORDER BY start",
            ledger = place.asked("ledger"),
            log = place.asked("rollup_log"),
            level = Level::TenSeconds.name(),
        )
    }

    fn remade_sql(&self, level: Level, source: Level, partition: u16, from: u32, until: u32) -> String {
        let step = level.seconds();
        let log = self.place().asked("rollup_log");
        let made = |level: Level, step: u32| {
            format!(
                "SELECT agent, toUInt32(intDiv(toUnixTimestamp(window), {step}) * {step}) AS start, \
                 max(batch) AS batch, max(version) AS version FROM {log} \
                 WHERE level = '{}' AND partition = {partition} AND window >= toDateTime({from}, 'UTC') \
                 AND window < toDateTime({until}, 'UTC') GROUP BY agent, start",
                level.name()
            )
        };
        format!(
            "SELECT start AS window, groupArray((toString(below.agent), below.batch)) AS agents\n\
             FROM ({}) AS below LEFT JOIN ({}) AS own USING (agent, start)\n\
             WHERE start >= {from} AND start + {step} <= {until} AND below.version > own.version\n\
             GROUP BY start ORDER BY start",
            made(source, step),
            made(level, step),
        )
    }

    /// Makes windows of one family's level for these agents, by INSERT … SELECT from the level below.
    /// Making them again with a higher version replaces them. A window whose rows below may be gone is
    /// left as it is. Many shares are made by one statement: a wide family costs as much to analyse as
    /// a hundred windows of it cost to make.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn make_windows(
        &self,
        family: &Family,
        level: Level,
        windows: &[DirtyWindow],
        version: u64,
    ) -> Result<(), StoreError> {
        let earliest = earliest(level, &self.settings.ttl);
        let kept: Vec<&DirtyWindow> = windows.iter().filter(|w| w.window >= earliest).collect();
        for shares in in_statements(&kept) {
            let from = shares.iter().map(|w| w.window).min().unwrap_or(0);
            let until = shares.iter().map(|w| w.window).max().unwrap_or(0) + level.seconds();
            self.roll_up(Task { family, level, from, until, shares: &shares, version }).await?;
        }
        Ok(())
    }

    async fn roll_up(&self, task: Task<'_>) -> Result<(), StoreError> {
        if task.from < earliest(task.level, &self.settings.ttl) {
            tracing::debug!(family = task.family.name, from = task.from, "too old to be made again");
            return Ok(());
        }
        let what = format!("rolling up {} to {}", task.family.name, task.level.name());
        // Compiling the aggregates of a thousand columns takes seconds; running them takes none.
        let settings = [
            ("compile_aggregate_expressions", "0"),
            ("compile_expressions", "0"),
            ("max_threads", "1"),
            ("do_not_merge_across_partitions_select_final", "1"),
            ("insert_deduplicate", "0"),
        ];
        self.connection.execute_with(&what, &statement(&task, &self.place()), &settings).await
    }

    /// Writes down that a window is made for all families.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn log_rollup(&self, entry: &RollupEntry) -> Result<(), StoreError> {
        self.log_rollups(std::slice::from_ref(entry)).await
    }

    /// Writes down that windows are made for all families.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn log_rollups(&self, entries: &[RollupEntry]) -> Result<(), StoreError> {
        let mut block = NativeBlock::new(&log_columns());
        let mut rows = 0;
        for entry in entries {
            for (agent, batch) in &entry.agents {
                block.column(0).fill_text(entry.level.name(), 1);
                block.column(1).fill(i64::from(entry.partition), 1);
                block.column(2).fill(i64::from(entry.window), 1);
                block.column(3).fill_text(agent, 1);
                block.column(4).fill(*batch as i64, 1);
                block.column(5).fill(entry.version as i64, 1);
                rows += 1;
            }
        }
        let Some(first) = entries.first().filter(|_| rows > 0) else { return Ok(()) };
        let token = format!(
            "rollup_log:{}:{}:{}:{}:{rows}",
            first.level.name(),
            first.partition,
            first.window,
            first.version
        );
        self.connection.insert(&self.place().asked("rollup_log"), Form::Some, &block.finish(), &token).await
    }

    /// The highest version in the roll-up log of a partition; 0 when there is none. A new owner's
    /// versions must be higher, whatever its clock says.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn newest_version(&self, partition: u16) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT max(version) AS version FROM {} WHERE partition = {partition}",
            self.place().asked("rollup_log")
        );
        let rows: Vec<VersionRow> = self.connection.rows("the newest roll-up", &sql).await?;
        Ok(rows.first().map_or(0, |row| row.version))
    }
}

/// Spreads shares over statements, which ClickHouse reads up to 256 KiB by default: an agent's name may
/// take 64 bytes. Shares of one window may come to stand in two statements.
fn in_statements(windows: &[&DirtyWindow]) -> Vec<Vec<DirtyWindow>> {
    const SHARES: usize = 2000;
    let mut statements: Vec<Vec<DirtyWindow>> = Vec::new();
    let mut room = 0;
    for window in windows {
        let mut agents = window.agents.as_slice();
        while !agents.is_empty() {
            if room == 0 {
                statements.push(Vec::new());
                room = SHARES;
            }
            let (now, later) = agents.split_at(agents.len().min(room));
            room -= now.len();
            agents = later;
            if let Some(statement) = statements.last_mut() {
                statement.push(DirtyWindow { window: window.window, agents: now.to_vec() });
            }
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread_over_statements_and_none_is_lost() {
        let window = |window: u32, count: u64| DirtyWindow {
            window,
            agents: (0..count).map(|n| (format!("agent-{n}"), n)).collect(),
        };
        let windows = [window(0, 1), window(10, 4500), window(20, 3), window(30, 0)];
        let statements = in_statements(&windows.iter().collect::<Vec<_>>());
        let sizes: Vec<usize> = statements.iter().map(|s| s.iter().map(|w| w.agents.len()).sum()).collect();
        assert_eq!(sizes, [2000, 2000, 504]);
        let mut all: Vec<(u32, String)> = statements
            .iter()
            .flatten()
            .flat_map(|w| w.agents.iter().map(|(agent, _)| (w.window, agent.clone())))
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4504);
    }
}
