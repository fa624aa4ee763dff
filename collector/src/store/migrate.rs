//! Brings the schema in ClickHouse up to this program's. What to do is planned from what is there, as
//! a list of statements; every statement may run twice, and in two collectors at once.
//!
//! Columns are only ever added. A column whose type differs is refused, because the rows there would
//! be read as something they are not; a metric that changes its type gets a new name in the catalogue.

use std::collections::{HashMap, HashSet};

use fettle_shared::catalogue::Catalogue;
use futures_util::stream::{self, TryStreamExt};
use serde::Deserialize;

use super::ddl::{identifier, Place, Table};
use super::views::long_view;
use super::{
    findings_schema, ledger_schema, operations_schema, outlook_schema, schema, Durability, Level, Store,
    StoreError, StoreSettings,
};

/// Version of the layout of the tables: raised when a table is laid out anew, not when a metric comes.
pub const SCHEMA_VERSION: u32 = 1;

/// Tables that are brought up to date at the same time; a first start makes more than seventy.
const TABLES_AT_ONCE: usize = 4;

/// What is there: per table its engine clause and its columns' types.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub engines: HashMap<String, String>,
    pub columns: HashMap<String, HashMap<String, String>>,
}

#[derive(Deserialize)]
struct TableRow {
    name: String,
    engine_full: String,
}

#[derive(Deserialize)]
struct ColumnRow {
    table: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct NameRow {
    name: String,
}

#[derive(Deserialize)]
struct VersionRow {
    version: u32,
    catalogue: u32,
}

/// Every table there should be.
pub(super) fn wanted(catalogue: &Catalogue, settings: &StoreSettings) -> Vec<Table> {
    let ttl = &settings.ttl;
    let mut tables = ledger_schema::tables(ttl);
    tables.extend(operations_schema::tables(ttl));
    tables.extend(findings_schema::tables(ttl));
    tables.extend(outlook_schema::tables(ttl));
    for family in &catalogue.families {
        tables.push(schema::raw_table(family, ttl));
        tables.extend(Level::ALL.map(|level| schema::rollup_table(family, level, ttl)));
    }
    tables
}

/// The statements that bring one table to what it should be.
pub(super) fn plan(table: &Table, present: &Present, place: &Place<'_>) -> Result<Vec<String>, StoreError> {
    let stored = place.stored_name(&table.name);
    let Some(engine) = present.engines.get(&stored) else { return Ok(table.create(place)) };
    let mut statements = Vec::new();
    let missing = missing_columns(table, &stored, present)?;
    if !missing.is_empty() {
        let added = format!("ADD COLUMN IF NOT EXISTS {}", missing.join(", ADD COLUMN IF NOT EXISTS "));
        statements.push(alter(&place.stored(&table.name), place, &added));
    }
    if place.cluster.is_some() {
        if !present.engines.contains_key(&table.name) {
            statements.extend(table.create(place).into_iter().skip(1));
        } else {
            let missing = missing_columns(table, &table.name, present)?;
            let plain = missing.iter().map(|c| c.split(" CODEC(").next().unwrap_or(c).to_owned());
            let plain: Vec<String> = plain.collect();
            if !plain.is_empty() {
                let added = format!("ADD COLUMN IF NOT EXISTS {}", plain.join(", ADD COLUMN IF NOT EXISTS "));
                statements.push(alter(&place.asked(&table.name), place, &added));
            }
        }
    }
    if let Some(ttl) = &table.ttl {
        if !engine.contains(&format!("TTL {} ", ttl.sql())) {
            statements.push(alter(&place.stored(&table.name), place, &format!("MODIFY TTL {}", ttl.sql())));
        }
    }
    let changed = changed_settings(table, engine, place);
    if !changed.is_empty() {
        let change = format!("MODIFY SETTING {}", changed.join(", "));
        statements.push(alter(&place.stored(&table.name), place, &change));
    }
    Ok(statements)
}

fn alter(table: &str, place: &Place<'_>, change: &str) -> String {
    format!("ALTER TABLE {table}{} {change}", place.on_cluster())
}

fn missing_columns(table: &Table, name: &str, present: &Present) -> Result<Vec<String>, StoreError> {
    let none = HashMap::new();
    let there = present.columns.get(name).unwrap_or(&none);
    let mut missing = Vec::new();
    for column in &table.columns {
        match there.get(&column.name) {
            None => missing.push(column.sql()),
            Some(kind) if same_type(kind, &column.kind) => {}
            Some(kind) => {
                return Err(StoreError::Column {
                    table: name.into(),
                    column: column.name.clone(),
                    found: kind.clone(),
                    wanted: column.kind.clone(),
                    remedy: "give the changed metric a new name and id in the catalogue".into(),
                });
            }
        }
    }
    Ok(missing)
}

/// ClickHouse breaks long types over lines and lists enum values its own way; only blanks may differ.
fn same_type(left: &str, right: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    letters(left) == letters(right)
}

/// Settings that a table has from its making and never changes.
const UNCHANGEABLE: [&str; 1] = ["index_granularity_bytes"];

fn changed_settings(table: &Table, engine: &str, place: &Place<'_>) -> Vec<String> {
    let mut changed: Vec<String> = table
        .settings(place)
        .into_iter()
        .filter(|(name, _)| !UNCHANGEABLE.contains(name))
        .map(|(name, value)| format!("{name} = {value}"))
        .filter(|setting| !has_setting(engine, setting))
        .collect();
    if place.durability == Durability::Process && has_setting(engine, "fsync_after_insert = 1") {
        changed.extend(
            ["fsync_after_insert = 0", "fsync_part_directory = 0", "min_rows_to_fsync_after_merge = 0"]
                .map(str::to_owned),
        );
    }
    changed
}

fn has_setting(engine: &str, setting: &str) -> bool {
    engine.rsplit_once("SETTINGS ").is_some_and(|(_, list)| list.split(", ").any(|one| one.trim() == setting))
}

impl Store {
    /// Brings the schema up to this program's: creates, adds columns, changes TTLs. Idempotent.
    ///
    /// # Errors
    /// A schema newer than this program, a column of another type, or what ClickHouse says.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut place = self.place();
        let database =
            format!("CREATE DATABASE IF NOT EXISTS {}{}", identifier(place.database), place.on_cluster());
        self.connection.execute("CREATE DATABASE", &database).await?;
        for statement in ledger_schema::schema().create(&place) {
            self.connection.execute("creating the table of schema versions", &statement).await?;
        }
        let newest = self.schema_version().await?;
        let known = (SCHEMA_VERSION, self.catalogue.version);
        if newest.0 > known.0 || newest.1 > known.1 {
            let words = |(layout, catalogue): (u32, u32)| format!("{layout} (catalogue {catalogue})");
            return Err(StoreError::Newer { found: words(newest), known: words(known) });
        }
        place.known = self.known_settings().await?;
        let present = self.present().await?;
        let mut plans = Vec::new();
        for table in wanted(self.catalogue, &self.settings) {
            let statements = plan(&table, &present, &place)?;
            plans.push((table.name, statements));
        }
        stream::iter(plans.into_iter().map(Ok::<(String, Vec<String>), StoreError>))
            .try_for_each_concurrent(TABLES_AT_ONCE, |(table, statements)| async move {
                self.carry_out(&table, &statements).await
            })
            .await?;
        let mut views = ledger_schema::views(&place, &self.settings.ttl);
        views.push(("metrics", long_view(self.catalogue, &place)));
        for (name, select) in views {
            let view =
                format!("CREATE OR REPLACE VIEW {}{} AS\n{select}", place.asked(name), place.on_cluster());
            self.connection.execute(&format!("the view {name}"), &view).await?;
        }
        if newest != known {
            let row = format!(
                "INSERT INTO {} (version, catalogue, program) VALUES ({}, {}, 'fettle-collector {}')",
                place.asked("schema"),
                known.0,
                known.1,
                env!("CARGO_PKG_VERSION"),
            );
            self.connection.execute("writing down the schema version", &row).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, table: &str, statements: &[String]) -> Result<(), StoreError> {
        for statement in statements {
            tracing::debug!(table, "changing the schema");
            self.connection.execute(&format!("the schema of {table}"), statement).await?;
        }
        Ok(())
    }

    async fn schema_version(&self) -> Result<(u32, u32), StoreError> {
        let sql = format!(
            "SELECT max(version) AS version, max(catalogue) AS catalogue FROM {}",
            self.place().asked("schema")
        );
        let rows: Vec<VersionRow> = self.connection.rows("the schema version", &sql).await?;
        Ok(rows.first().map_or((0, 0), |row| (row.version, row.catalogue)))
    }

    async fn known_settings(&self) -> Result<HashSet<String>, StoreError> {
        let sql = "SELECT name FROM system.merge_tree_settings";
        let rows: Vec<NameRow> = self.connection.rows("the list of settings", sql).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    async fn present(&self) -> Result<Present, StoreError> {
        let database = super::ddl::literal(&self.settings.database);
        let tables = format!("SELECT name, engine_full FROM system.tables WHERE database = {database}");
        let columns = format!("SELECT table, name, type FROM system.columns WHERE database = {database}");
        let mut present = Present::default();
        for row in self.connection.rows::<TableRow>("the list of tables", &tables).await? {
            present.engines.insert(row.name, row.engine_full);
        }
        for row in self.connection.rows::<ColumnRow>("the list of columns", &columns).await? {
            present.columns.entry(row.table).or_default().insert(row.name, row.kind);
        }
        Ok(present)
    }
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;
