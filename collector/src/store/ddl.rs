//! A table as data, and how it is written in SQL: for one server, or as Replicated and Distributed
//! tables of a cluster. Which tables there are stands in `schema.rs` and `ledger_schema.rs`.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use super::{Durability, StoreSettings};

/// Suffix of the tables that hold a shard's rows; the plain name is the Distributed table.
const LOCAL: &str = "_local";

/// One table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub name: String,
    pub comment: String,
    pub columns: Vec<TableColumn>,
    /// Column of the version in a ReplacingMergeTree; none: a plain MergeTree.
    pub version: Option<&'static str>,
    pub order: Vec<String>,
    pub partition: String,
    pub ttl: Option<TtlRule>,
    /// Skip indexes: name and definition.
    pub indexes: Vec<(&'static str, &'static str)>,
    /// Settings of the table; those that the server does not know are left out.
    pub tuning: Vec<(&'static str, String)>,
    /// Expression that spreads rows over shards.
    pub shard: String,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TableColumn {
    pub name: String,
    pub kind: String,
    /// `DEFAULT …`, if any.
    pub default: Option<String>,
    /// `CODEC(…)` without the word, if not the server's default.
    pub codec: Option<&'static str>,
    pub comment: String,
}

/// Rows are dropped once `time` is older than `keep`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TtlRule {
    pub time: &'static str,
    pub keep: Duration,
}

impl TtlRule {
    /// As ClickHouse itself writes it, so that it can be compared with `system.tables`.
    pub(super) fn sql(&self) -> String {
        format!("{} + toIntervalSecond({})", self.time, self.keep.as_secs())
    }
}

/// Where tables are made.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    pub database: &'a str,
    pub cluster: Option<&'a str>,
    pub durability: Durability,
    /// Settings of MergeTree tables that the server knows; empty: take all.
    pub known: HashSet<String>,
}

impl<'a> Place<'a> {
    pub(super) fn of(settings: &'a StoreSettings) -> Self {
        Self {
            database: &settings.database,
            cluster: settings.cluster.as_deref(),
            durability: settings.durability,
            known: HashSet::new(),
        }
    }

    /// ` ON CLUSTER …`, or nothing.
    pub(super) fn on_cluster(&self) -> String {
        self.cluster.map_or(String::new(), |name| format!(" ON CLUSTER {}", identifier(name)))
    }

    /// `GLOBAL `, or nothing: what `IN (SELECT …)` needs in front when its tables are Distributed.
    pub(super) fn global(&self) -> &'static str {
        if self.cluster.is_some() {
            "GLOBAL "
        } else {
            ""
        }
    }

    /// The table that holds the rows.
    pub(super) fn stored(&self, table: &str) -> String {
        let suffix = if self.cluster.is_some() { LOCAL } else { "" };
        format!("{}.{}", identifier(self.database), identifier(&format!("{table}{suffix}")))
    }

    /// The name of the table that holds the rows, without the database.
    pub(super) fn stored_name(&self, table: &str) -> String {
        format!("{table}{}", if self.cluster.is_some() { LOCAL } else { "" })
    }

    /// The table that is asked and inserted into.
    pub(super) fn asked(&self, table: &str) -> String {
        format!("{}.{}", identifier(self.database), identifier(table))
    }
}

/// A name in backquotes.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A string in quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A list of strings in quotes, for `IN (…)` and arrays.
pub(super) fn literals<S: AsRef<str>>(texts: &[S]) -> String {
    texts.iter().map(|text| literal(text.as_ref())).collect::<Vec<_>>().join(", ")
}

impl TableColumn {
    pub(super) fn new(name: impl Into<String>, kind: impl Into<String>, comment: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), default: None, codec: None, comment: comment.into() }
    }

    pub(super) fn codec(mut self, codec: Option<&'static str>) -> Self {
        self.codec = codec;
        self
    }

    pub(super) fn default(mut self, expression: impl Into<String>) -> Self {
        self.default = Some(expression.into());
        self
    }

    /// The column as it stands in CREATE and ADD COLUMN.
    pub(super) fn sql(&self) -> String {
        let mut out = format!("{} {}", identifier(&self.name), self.kind);
        if let Some(default) = &self.default {
            let _ = write!(out, " DEFAULT {default}");
        }
        if !self.comment.is_empty() {
            let _ = write!(out, " COMMENT {}", literal(&self.comment));
        }
        if let Some(codec) = self.codec {
            let _ = write!(out, " CODEC({codec})");
        }
        out
    }
}

impl Table {
    /// The statements that make the table where it is missing.
    pub(super) fn create(&self, place: &Place<'_>) -> Vec<String> {
        let mut statements = vec![self.create_stored(place)];
        if let Some(cluster) = place.cluster {
            statements.push(format!(
                "CREATE TABLE IF NOT EXISTS {}{} AS {}\nENGINE = Distributed({}, {}, {}, {})",
                place.asked(&self.name),
                place.on_cluster(),
                place.stored(&self.name),
                literal(cluster),
                literal(place.database),
                literal(&place.stored_name(&self.name)),
                self.shard,
            ));
        }
        statements
    }

    fn create_stored(&self, place: &Place<'_>) -> String {
        let mut items: Vec<String> = self.columns.iter().map(|c| format!("    {}", c.sql())).collect();
        items.extend(self.indexes.iter().map(|(name, rule)| format!("    INDEX {name} {rule}")));
        let mut out = format!(
            "CREATE TABLE IF NOT EXISTS {}{}\n(\n{}\n)\nENGINE = {}\nPARTITION BY {}\nORDER BY ({})",
            place.stored(&self.name),
            place.on_cluster(),
            items.join(",\n"),
            self.engine(place),
            self.partition,
            self.order.iter().map(|c| identifier(c)).collect::<Vec<_>>().join(", "),
        );
        if let Some(ttl) = &self.ttl {
            let _ = write!(out, "\nTTL {}", ttl.sql());
        }
        let settings: Vec<String> =
            self.settings(place).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let _ = write!(out, "\nSETTINGS {}", settings.join(", "));
        let _ = write!(out, "\nCOMMENT {}", literal(&self.comment));
        out
    }

    fn engine(&self, place: &Place<'_>) -> String {
        let family = if self.version.is_some() { "ReplacingMergeTree" } else { "MergeTree" };
        let version = self.version.unwrap_or("");
        if place.cluster.is_none() {
            return format!("{family}({version})");
        }
        let path =
            format!("/clickhouse/tables/{{shard}}/{}/{}", place.database, place.stored_name(&self.name));
        let comma = if version.is_empty() { "" } else { ", " };
        format!("Replicated{family}({}, '{{replica}}'{comma}{version})", literal(&path))
    }

    /// Settings for this place. A Replicated table forgets tokens after an hour unless told otherwise,
    /// and a batch may be finished much later than that.
    pub(super) fn settings(&self, place: &Place<'_>) -> Vec<(&'static str, String)> {
        let mut settings: Vec<(&'static str, String)> = vec![("ttl_only_drop_parts", "1".into())];
        if place.cluster.is_some() {
            settings.push(("replicated_deduplication_window", "10000".into()));
            settings.push(("replicated_deduplication_window_seconds", "2592000".into()));
        } else {
            settings.push(("non_replicated_deduplication_window", "10000".into()));
        }
        if place.durability == Durability::Power {
            settings.push(("fsync_after_insert", "1".into()));
            settings.push(("fsync_part_directory", "1".into()));
            settings.push(("min_rows_to_fsync_after_merge", "1".into()));
        }
        let known = |name: &str| place.known.is_empty() || place.known.contains(name);
        settings.extend(self.tuning.iter().filter(|(name, _)| known(name)).cloned());
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(identifier("a`b"), "`a\\`b`");
        assert_eq!(literal("it's \\"), "'it\\'s \\\\'");
        assert_eq!(literals(&["a", "b"]), "'a', 'b'");
    }
}
