//! Proof by SQL that every frame of the producer is stored exactly once: the ledger without gap or
//! double, each slot with all its rows and none twice, every value what the plan says, roll-ups equal
//! to what the raw rows say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{ensure, Context as _};
use fettle_shared::catalogue::{catalogue, Family};

use super::plan::{is_present, wrong_values_sql, Part, PARTS, SLOT_SQL};
use super::sql::Sql;

/// Fails unless the ledger is without gap and double.
pub async fn ledger_is_whole(sql: &Sql) -> anyhow::Result<()> {
    let gaps = sql.rows("SELECT * FROM fettle.ledger_gaps").await?;
    ensure!(gaps.is_empty(), "ledger_gaps: {gaps:?}");
    let doubles = sql
        .number("SELECT count() - uniqExact(agent, boot, seq) FROM fettle.ledger WHERE status = 'stored'")
        .await?;
    ensure!(doubles == 0, "{doubles} ledger rows too many");
    Ok(())
}

/// Fails unless every value of the producer's rows is what the plan says.
pub async fn values_are_right(sql: &Sql, host: &str) -> anyhow::Result<()> {
    for part in &PARTS {
        let rows = sql.rows(&wrong_values_sql(part, host)).await?;
        let wrong: Vec<_> = rows[0]
            .as_object()
            .context("one row")?
            .iter()
            .filter(|(_, count)| count.as_u64() != Some(0))
            .collect();
        ensure!(wrong.is_empty(), "{}: wrong values: {wrong:?}", part.family);
    }
    Ok(())
}

/// Fails unless each slot has all of its rows and none twice, in every family; gives the slots.
pub async fn slots_are_whole(sql: &Sql, host: &str) -> anyhow::Result<BTreeSet<u64>> {
    let mut seen: Option<BTreeSet<u64>> = None;
    for part in &PARTS {
        let slots = slots_of(sql, part, host).await?;
        for (slot, (rows, distinct)) in &slots {
            let expected = part.rows(*slot);
            ensure!(
                *rows == expected && *distinct == expected,
                "{}: slot {slot} has {rows} rows, {distinct} of them distinct, where {expected} were sampled",
                part.family
            );
        }
        let slots: BTreeSet<u64> = slots.into_keys().collect();
        if let Some(seen) = &seen {
            let differ: Vec<_> = seen.symmetric_difference(&slots).take(5).collect();
            ensure!(differ.is_empty(), "{}: slots {differ:?} are there in one family only", part.family);
        }
        seen = Some(slots);
    }
    Ok(seen.unwrap_or_default())
}

/// Rows and distinct rows of each slot.
async fn slots_of(sql: &Sql, part: &Part, host: &str) -> anyhow::Result<BTreeMap<u64, (u64, u64)>> {
    let keys: Vec<&str> =
        part.family().entity.iter().map(|e| e.name.as_str()).chain(std::iter::once("ts")).collect();
    let query = format!(
        "SELECT {SLOT_SQL} AS slot, count() AS n, uniqExact({}) AS distinct_n FROM fettle.{} \
         WHERE host = '{host}' GROUP BY slot",
        keys.join(", "),
        part.family
    );
    let number = |value: &serde_json::Value| value.as_u64().context("a count");
    sql.rows(&query)
        .await?
        .iter()
        .map(|row| Ok((number(&row["slot"])?, (number(&row["n"])?, number(&row["distinct_n"])?))))
        .collect()
}

/// Fails unless the ledger's stored frames are these slots, one each, and add up to the tables' rows.
pub async fn ledger_agrees_with_rows(sql: &Sql, host: &str, slots: &BTreeSet<u64>) -> anyhow::Result<()> {
    let query = format!(
        "SELECT count() AS frames, uniqExact(intDiv(toUnixTimestamp64Micro(first), 100000)) AS slots, \
         sum(rows) AS stored FROM fettle.ledger WHERE agent = '{host}' AND status = 'stored' AND rows > 0"
    );
    let rows = sql.rows(&query).await?;
    let said = |name: &str| rows[0][name].as_u64().with_context(|| format!("{name} in {rows:?}"));
    let mut there = 0;
    for family in &catalogue().families {
        let table = &family.name;
        there += sql.number(&format!("SELECT count() FROM fettle.{table} WHERE host = '{host}'")).await?;
    }
    let expected = slots.len() as u64;
    ensure!(
        said("frames")? == expected && said("slots")? == expected && said("stored")? == there,
        "the ledger says {rows:?}; the tables hold {there} rows in {expected} slots"
    );
    Ok(())
}

/// Fails unless the roll-ups of the producer's families say what the raw rows say; gives how many rows
/// they have. `level` is `10s` or `1m`: of the former all windows are held against the raw rows, of the
/// latter those before the newest minute.
pub async fn rollups_agree(sql: &Sql, host: &str, level: &str) -> anyhow::Result<u64> {
    let mut windows = 0;
    let newest = "(SELECT toStartOfMinute(max(last)) FROM fettle.ledger)";
    let (seconds, only) = match level {
        "10s" => (10, format!("host = '{host}'")),
        _ => (60, format!("host = '{host}' AND ts < {newest}")),
    };
    for part in &PARTS {
        let (made, raw) = rollup_sql(part.family(), &only, level, seconds);
        let missing = sql.number(&format!("SELECT count() FROM ({raw} EXCEPT {made})")).await?;
        let wrong = sql.number(&format!("SELECT count() FROM ({made} EXCEPT {raw})")).await?;
        ensure!(missing == 0 && wrong == 0, "{}: {missing} roll-up rows missing, {wrong} wrong", part.family);
        windows += sql.number(&format!("SELECT count() FROM ({made})")).await?;
    }
    Ok(windows)
}

/// The same columns twice: as the roll-up table has them, and made of the raw rows.
fn rollup_sql(family: &Family, only: &str, level: &str, seconds: u32) -> (String, String) {
    let keys: String = family.entity.iter().map(|e| format!(", {}", e.name)).collect();
    let window = format!("toDateTime(intDiv(toUnixTimestamp(ts), {seconds}) * {seconds}, 'UTC')");
    let (mut made, mut raw) = (String::new(), String::new());
    for metric in family.metrics.iter().filter(|metric| is_present(metric)) {
        let name = &metric.name;
        let _ = write!(made, ", {name}_min, {name}_max, {name}_sum, {name}_last");
        let sum = match metric.scale {
            Some(scale) => {
                format!("toFloat64(sum(toInt64(round(toFloat64({name}) / {scale:?})))) * {scale:?}")
            }
            None => format!("sum({name})"),
        };
        let _ = write!(raw, ", min({name}), max({name}), {sum}, argMax({name}, ts)");
    }
    (
        format!("SELECT ts{keys}, samples{made} FROM fettle.{}_{level} FINAL WHERE {only}", family.name),
        format!(
            "SELECT {window} AS t{keys}, toUInt32(count()){raw} FROM fettle.{} WHERE {only} GROUP BY t{keys}",
            family.name
        ),
    )
}
