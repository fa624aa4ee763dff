//! What forecasts and predictions read and write: tracks of roll-ups, spans of ups and downs, rows of
//! `forecasts`, `predictions` and `models`.
//!
//! Tracks are read without FINAL: of the versions of a window the newest is taken by `argMax`, which a
//! group for each step needs anyway, and FINAL would read every key column to merge first.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use super::ddl::{identifier, literal, literals};
use super::ledger::condition;
use super::schema::rollup_name;
use super::{Agents, Level, Store, StoreError};

/// What tracks are wanted.
#[derive(Debug, Clone, Copy)]
pub struct TrackQuestion<'a> {
    /// Family.
    pub family: &'a str,
    /// Its metrics; of each the last value in a step.
    pub columns: &'a [&'a str],
    /// Level that is read; none: raw rows.
    pub level: Option<Level>,
    /// Length of a step in seconds.
    pub step_s: u32,
    /// First second, since 1970.
    pub from: u32,
    /// The second before which it ends.
    pub until: u32,
    /// Which hosts.
    pub hosts: &'a [String],
    /// Only entities that have one of these values in this key column.
    pub only: Option<(&'a str, &'a [String])>,
    /// Only entities whose first column grew.
    pub growing: Option<Growing>,
}

/// Entities that grow, those first that grew most.
#[derive(Debug, Clone, Copy)]
pub struct Growing {
    /// By so much at least, in the first column's unit, and by 2 %.
    pub by: f64,
    /// So many of a host.
    pub most: usize,
}

/// One entity's steps.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredTrack {
    /// Agent's name.
    pub host: String,
    /// Values of the key columns.
    pub entity: Vec<String>,
    /// Steps in order: start in seconds since 1970, then one value a column.
    pub rows: Vec<Vec<Option<f64>>>,
}

/// A span in which a component was the same.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredSpan {
    /// Component; empty for the host itself.
    pub component: String,
    /// First step, last step, and 0 down, 1 up, 2 nobody can say.
    pub spans: Vec<(f64, f64, u8)>,
}

#[derive(Deserialize)]
struct VersionRow {
    version: String,
}

#[derive(Deserialize)]
struct NewestRow {
    newest: u32,
}

#[derive(Deserialize)]
struct HostRow {
    host: String,
    oldest: u32,
}

impl Store {
    /// Agents whose samples end after a second (since 1970), in order.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn recent_hosts(&self, agents: Agents<'_>, from: u32) -> Result<Vec<String>, StoreError> {
        let sql = format!(
            "SELECT toString(agent) AS host, toUInt32(0) AS oldest FROM {} WHERE day >= toDate(toDateTime({from}, 'UTC')) \
             AND last >= toDateTime64({from}, 6, 'UTC') AND status = 'stored' AND {} GROUP BY host ORDER BY host",
            self.place().asked("ledger"),
            condition(agents),
        );
        let rows: Vec<HostRow> = self.connection.rows("the hosts of late", &sql).await?;
        Ok(rows.into_iter().map(|row| row.host).collect())
    }

    /// The oldest one-minute roll-up of each host since `from`, seconds since 1970.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn oldest_minutes(
        &self,
        hosts: &[String],
        from: u32,
    ) -> Result<HashMap<String, u32>, StoreError> {
        let sql = format!(
            "SELECT host, toUnixTimestamp(min(ts)) AS oldest FROM {} WHERE ts >= toDateTime({from}, 'UTC') \
             AND host IN ({}) GROUP BY host",
            self.place().asked("load_1m"),
            literals(hosts),
        );
        let rows: Vec<HostRow> = self.connection.rows("the oldest roll-ups", &sql).await?;
        Ok(rows.into_iter().map(|row| (row.host, row.oldest)).collect())
    }

    /// Tracks of entities. Nothing for a family or a metric that this program's catalogue does not have.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn tracks(&self, question: &TrackQuestion<'_>) -> Result<Vec<StoredTrack>, StoreError> {
        match self.tracks_sql(question) {
            Some(sql) => self.connection.rows("the tracks of entities", &sql).await,
            None => Ok(Vec::new()),
        }
    }

    fn tracks_sql(&self, question: &TrackQuestion<'_>) -> Option<String> {
        let TrackQuestion { level, step_s: step, from, until, .. } = *question;
        let family = self.catalogue.family(question.family)?;
        let known = question.columns.iter().all(|column| family.metric_index(column).is_some());
        if !known || question.hosts.is_empty() {
            return None;
        }
        let values: Vec<String> = question
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| match level {
                None => format!("toFloat64(argMax({}, ts)) AS v{at}", identifier(column)),
                Some(_) => {
                    let last = identifier(&format!("{column}_last"));
                    format!("toFloat64(argMax({last}, (ts, version))) AS v{at}")
                }
            })
            .collect();
        let (table, time): (String, fn(u32) -> String) = match level {
            None => (family.name.clone(), |s: u32| format!("toDateTime64({s}, 6, 'UTC')")),
            Some(level) => (rollup_name(family, level), |s: u32| format!("toDateTime({s}, 'UTC')")),
        };
        let keys: Vec<String> =
            family.entity.iter().map(|e| format!("toString({})", identifier(&e.name))).collect();
        let entity =
            if keys.is_empty() { "emptyArrayString()".into() } else { format!("[{}]", keys.join(", ")) };
        let mut only = String::new();
        if let Some((column, values)) = question.only {
            let _ = write!(only, " AND toString({}) IN ({})", identifier(column), literals(values));
        }
        let names: Vec<String> = (0..values.len()).map(|at| format!("v{at}")).collect();
        let tail = question.growing.map_or(String::new(), |Growing { by, most }| {
            format!(
                "\nHAVING count() >= 24 AND argMax(v0, t) - argMin(v0, t) > greatest({by:e}, 0.02 * argMin(v0, t))\n\
                 ORDER BY argMax(v0, t) - argMin(v0, t) DESC LIMIT {most} BY host"
            )
        });
        Some(format!(
            "SELECT host, entity, arraySort(groupArray((t, {names}))) AS rows\nFROM (\n    \
             SELECT host, {entity} AS entity, toFloat64(intDiv(toUnixTimestamp(ts), {step}) * {step}) AS t,\n    \
             {values}\n    FROM {table}\n    WHERE ts >= {from} AND ts < {until} AND host IN ({hosts}){only}\n    \
             GROUP BY host, entity, t\n)\nGROUP BY host, entity{tail}",
            names = names.join(", "),
            values = values.join(", "),
            table = self.place().asked(&table),
            from = time(from),
            until = time(until),
            hosts = literals(question.hosts),
        ))
    }

    /// Spans of one host in which its components were up or down, oldest first: by their checks, and of the
    /// host itself (an empty name) by the kernel's killing of processes for want of memory.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn up_spans(&self, host: &str, from: u32) -> Result<Vec<StoredSpan>, StoreError> {
        let mut found = Vec::new();
        if let Some(family) = self.catalogue.family("component") {
            let state = "multiIf(max(stopped_max) > 0, 2, argMax(up_min, version) = 0, 0, 1)";
            let table = rollup_name(family, Level::TenSeconds);
            let sql = self.spans_sql(&table, "toString(component)", state, host, from);
            found.extend(self.connection.rows::<StoredSpan>("the ups and downs", &sql).await?);
        }
        let Some(family) = self.catalogue.family("vm").filter(|f| f.metric_index("oom_kill").is_some())
        else {
            return Ok(found);
        };
        let state = "if(max(oom_kill_max) > min(oom_kill_min), 0, 1)";
        let table = rollup_name(family, Level::TenSeconds);
        let sql = self.spans_sql(&table, "''", state, host, from);
        found.extend(self.connection.rows::<StoredSpan>("the host's ups and downs", &sql).await?);
        Ok(found)
    }

    /// Windows with their state, parted where the state changes or a minute is missing.
    fn spans_sql(&self, table: &str, component: &str, state: &str, host: &str, from: u32) -> String {
        format!(
            "WITH arraySort(groupArray((t, state))) AS windows,
    arrayPushFront(arrayPopBack(windows), windows[1]) AS before,
    arraySplit((w, b) -> w.2 != b.2 OR w.1 - b.1 > 60, windows, before) AS parts
SELECT component, arrayMap(p -> (p[1].1, p[-1].1, toUInt8(p[1].2)), parts) AS spans
FROM (
    SELECT {component} AS component, toFloat64(toUnixTimestamp(ts)) AS t, {state} AS state
    FROM {table}
    WHERE host = {host} AND ts >= toDateTime({from}, 'UTC')
    GROUP BY component, t
)
GROUP BY component",
            table = self.place().asked(table),
            host = literal(host),
        )
    }

    /// Writes rows, each a JSON object, into `forecasts`, `predictions` or `models`.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn insert_outlook(&self, table: &str, rows: &[Value]) -> Result<(), StoreError> {
        // Long statements are read whole before they are parsed: some hundred rows at a time.
        for rows in rows.chunks(500) {
            let mut sql = format!("INSERT INTO {} FORMAT JSONEachRow\n", self.place().asked(table));
            for row in rows {
                let _ = writeln!(sql, "{row}");
            }
            self.connection.execute_with(table, &sql, &[("async_insert", "0")]).await?;
        }
        Ok(())
    }

    /// The newest versions of the models that a partition ever used, as they were written.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn model_versions(&self, partition: u16, most: usize) -> Result<Vec<String>, StoreError> {
        let sql = format!(
            "SELECT version FROM {} WHERE partition = {partition} AND number > 0 AND active = 1 \
             ORDER BY number DESC, ts DESC LIMIT 1 BY number LIMIT {most}",
            self.place().asked("models")
        );
        let rows: Vec<VersionRow> = self.connection.rows("the models", &sql).await?;
        Ok(rows.into_iter().map(|row| row.version).collect())
    }

    /// When a partition's newest model was trained, used or not, seconds since 1970; 0: never.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn newest_model(&self, partition: u16) -> Result<u32, StoreError> {
        let sql = format!(
            "SELECT toUInt32(max(ts)) AS newest FROM {} WHERE partition = {partition}",
            self.place().asked("models")
        );
        let rows: Vec<NewestRow> = self.connection.rows("the newest model", &sql).await?;
        Ok(rows.first().map_or(0, |row| row.newest))
    }
}

#[cfg(test)]
mod tests {
    use super::super::StoreSettings;
    use super::*;
    use fettle_shared::catalogue::catalogue;

    #[test]
    fn a_question_of_what_there_is_becomes_sql_and_of_what_there_is_not_nothing() {
        let store = Store::connect(StoreSettings::new("http://127.0.0.1:1"), catalogue()).unwrap();
        let hosts = ["it's".to_owned()];
        let question = TrackQuestion {
            family: "process",
            columns: &["rss_bytes"],
            level: Some(Level::TenSeconds),
            step_s: 60,
            from: 100,
            until: 200,
            hosts: &hosts,
            only: None,
            growing: Some(Growing { by: 4e6, most: 30 }),
        };
        let sql = store.tracks_sql(&question).unwrap();
        for part in [
            "[toString(`pid`), toString(`start_ticks`), toString(`comm`)] AS entity",
            "toFloat64(argMax(`rss_bytes_last`, (ts, version))) AS v0",
            "host IN ('it\\'s')",
            "FROM `fettle`.`process_10s`",
            "greatest(4e6, 0.02 * argMin(v0, t))",
            "LIMIT 30 BY host",
        ] {
            assert!(sql.contains(part), "{part}: {sql}");
        }
        assert!(store.tracks_sql(&TrackQuestion { family: "nothing", ..question }).is_none());
        assert!(store.tracks_sql(&TrackQuestion { columns: &["nothing"], ..question }).is_none());
        assert!(store.tracks_sql(&TrackQuestion { hosts: &[], ..question }).is_none());
    }
}
