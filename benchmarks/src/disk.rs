//! What ClickHouse has on disk: bytes and parts of the raw tables, of the roll-ups, and of the books.

use fettle_shared::catalogue::catalogue;

use crate::sql::Sql;

/// Bytes and parts of some tables.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    /// Bytes on disk of active parts, with indexes, marks and checksums.
    pub(crate) bytes: u64,
    /// Active parts.
    pub(crate) parts: u64,
    /// Rows.
    pub(crate) rows: u64,
}

/// All of Fettle's tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    /// Raw samples.
    pub(crate) raw: Share,
    /// Roll-ups.
    pub(crate) rollups: Share,
    /// Ledger, intents, logs, events.
    pub(crate) books: Share,
    /// Each raw table.
    pub(crate) families: Vec<(String, Share)>,
}

impl Disk {
    /// As `system.parts` says.
    pub(crate) async fn of(sql: &Sql) -> anyhow::Result<Self> {
        let query = "SELECT table, sum(bytes_on_disk), count(), sum(rows) FROM system.parts \
                     WHERE active AND database = 'fettle' GROUP BY table ORDER BY table";
        let mut disk = Self::default();
        for row in sql.rows(query).await? {
            let [table, bytes, parts, rows] = row.as_slice() else { continue };
            let share = Share { bytes: bytes.parse()?, parts: parts.parse()?, rows: rows.parse()? };
            if catalogue().family(table).is_some() {
                disk.raw.add(share);
                disk.families.push((table.clone(), share));
            } else if ["_10s", "_1m", "_1h"].iter().any(|level| table.ends_with(level)) {
                disk.rollups.add(share);
            } else {
                disk.books.add(share);
            }
        }
        Ok(disk)
    }

    /// Merges every raw table into one part a day, which no one does in service.
    pub(crate) async fn optimize(sql: &Sql) -> anyhow::Result<()> {
        for family in &catalogue().families {
            sql.order(&format!("OPTIMIZE TABLE fettle.`{}` FINAL", family.name)).await?;
        }
        Ok(())
    }
}

impl Share {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.parts += other.parts;
        self.rows += other.rows;
    }
}

/// How many samples of these agents the raw tables hold, counted there: rows times the columns that
/// are not null.
pub(crate) async fn samples_in_tables(sql: &Sql, agents: &str) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for family in &catalogue().families {
        let columns: Vec<String> = family
            .metrics
            .iter()
            .map(
                |metric| if metric.optional { format!("count(`{}`)", metric.name) } else { "count()".into() },
            )
            .collect();
        let columns = columns.join(" + ");
        let query = format!("SELECT {columns} FROM fettle.`{}` WHERE host LIKE '{agents}'", family.name);
        sum += sql.number(&query).await?;
    }
    Ok(sum)
}

/// Roll-up rows whose number of samples differs from that of the raw rows they stand for, over all
/// families, and windows of raw rows without a roll-up row; windows that are not over are left out.
pub(crate) async fn wrong_rollups(sql: &Sql, agents: &str) -> anyhow::Result<f64> {
    let mut wrong = 0.0;
    for family in &catalogue().families {
        let keys: Vec<String> = family.entity.iter().map(|column| format!("`{}`", column.name)).collect();
        let keys = if keys.is_empty() { String::new() } else { format!(", {}", keys.join(", ")) };
        let name = &family.name;
        let query = format!(
            "SELECT count() FROM (SELECT host, toStartOfInterval(ts, toIntervalSecond(10)) AS w{keys}, \
             count() AS n FROM fettle.`{name}` WHERE host LIKE '{agents}' GROUP BY host, w{keys}) AS a \
             FULL OUTER JOIN (SELECT host, ts AS w{keys}, samples AS n FROM fettle.`{name}_10s` FINAL \
             WHERE host LIKE '{agents}') AS b USING (host, w{keys}) WHERE a.n != b.n"
        );
        wrong += sql.number(&query).await?;
    }
    Ok(wrong)
}
