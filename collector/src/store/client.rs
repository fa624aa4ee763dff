//! The way to ClickHouse: the official client's HTTP, with a time limit on every request and errors
//! sorted into those that pass and those that do not.

use std::future::Future;

use bytes::Bytes;
use clickhouse::{Client, Compression};
use fettle_shared::address::without_user;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{StoreError, StoreSettings};

/// A connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    client: Client,
    settings: StoreSettings,
}

/// What a Native block looks like. Of a small insert, reading type names and looking for defaults is a
/// quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Every column the table has, types in their binary form.
    Whole,
    /// Some columns, the others get their defaults; types in their binary form.
    Some,
    /// The same with types by name.
    Named,
}

/// Whether the address is this machine, where compression would only cost CPU.
fn is_loopback(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or("");
    ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
}

impl Connection {
    pub(super) fn new(settings: StoreSettings) -> Self {
        let compression = if is_loopback(&settings.url) { Compression::None } else { Compression::Lz4 };
        let mut client = Client::default()
            .with_url(settings.url.clone())
            .with_compression(compression)
            .with_product_info("fettle", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &settings.user {
            client = client.with_user(user.clone());
        }
        if let Some(password) = &settings.password {
            client = client.with_password(password.0.clone());
        }
        Self { client, settings }
    }

    async fn limited<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.settings.timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(StoreError::from_client(&error, what, &without_user(&self.settings.url))),
            Err(_) => Err(StoreError::Unreachable {
                url: without_user(&self.settings.url),
                cause: format!("{what} took longer than {} s", self.settings.timeout.as_secs()),
            }),
        }
    }

    /// Runs a statement that answers nothing.
    pub(super) async fn execute(&self, what: &str, sql: &str) -> Result<(), StoreError> {
        self.execute_with(what, sql, &[]).await
    }

    /// The same with settings for this statement.
    pub(super) async fn execute_with(
        &self,
        what: &str,
        sql: &str,
        settings: &[(&str, &str)],
    ) -> Result<(), StoreError> {
        let mut query = self.client.query_raw(sql);
        for (name, value) in settings {
            query = query.with_setting(*name, *value);
        }
        self.limited(what, query.execute()).await
    }

    /// The rows of a SELECT, each from its JSON object.
    pub(super) async fn rows<T: DeserializeOwned>(
        &self,
        what: &str,
        sql: &str,
    ) -> Result<Vec<T>, StoreError> {
        let body = self.limited(what, self.fetch(sql)).await?;
        body.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line)
                    .map_err(|error| StoreError::Answer { what: what.into(), cause: error.to_string() })
            })
            .collect()
    }

    async fn fetch(&self, sql: &str) -> Result<Vec<u8>, clickhouse::error::Error> {
        let query = self
            .client
            .query_raw(sql)
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("output_format_json_named_tuples_as_objects", "1");
        let mut cursor = query.fetch_bytes("JSONEachRow")?;
        let mut body = Vec::new();
        while let Some(chunk) = cursor.next().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Inserts a Native block once: again with the same token changes nothing. One request, one block.
    pub(super) async fn insert(
        &self,
        table: &str,
        form: Form,
        body: &[Bytes],
        token: &str,
    ) -> Result<(), StoreError> {
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {table} FORMAT Native"))
            .with_setting("insert_deduplication_token", token)
            .with_setting("insert_deduplicate", "1")
            .with_setting("async_insert", "0")
            .with_setting("max_partitions_per_insert_block", "0")
            .with_setting("max_insert_threads", "1")
            .with_setting("max_threads", "1");
        if form == Form::Whole {
            insert = insert.with_setting("input_format_defaults_for_omitted_fields", "0");
        }
        if form != Form::Named {
            insert = insert.with_setting("input_format_native_decode_types_in_binary_format", "1");
        }
        if self.settings.cluster.is_some() {
            insert = insert.with_setting("distributed_foreground_insert", "1");
            if self.settings.durability == super::Durability::Power {
                insert = insert.with_setting("insert_quorum", "auto");
            }
        }
        self.limited(table, async {
            for piece in body {
                insert.send(piece.clone()).await?;
            }
            insert.end().await
        })
        .await
    }

    /// Inserts rows that are JSON objects, one a line; columns that are not named get their defaults. With a
    /// token, once: again with the same one changes nothing.
    pub(super) async fn insert_json(
        &self,
        table: &str,
        body: impl Into<Bytes>,
        token: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {table} FORMAT JSONEachRow"))
            .with_setting("insert_deduplicate", if token.is_some() { "1" } else { "0" })
            .with_setting("async_insert", "0")
            .with_setting("date_time_input_format", "best_effort")
            .with_setting("max_insert_threads", "1")
            .with_setting("max_threads", "1");
        if let Some(token) = token {
            insert = insert.with_setting("insert_deduplication_token", token);
        }
        if self.settings.cluster.is_some() {
            insert = insert.with_setting("distributed_foreground_insert", "1");
        }
        let body = body.into();
        self.limited(table, async {
            insert.send(body).await?;
            insert.end().await
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_machines_get_compressed_bodies() {
        assert!(is_loopback("http://127.0.0.1:8123") && is_loopback("http://localhost:1"));
        assert!(!is_loopback("https://clickhouse.example:8443"));
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_that_passes() {
        // Taken and not listened on: nobody else can listen there.
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", taken.local_addr().unwrap());
        let error =
            Connection::new(StoreSettings::new(url)).execute("a trial", "SELECT 1").await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    }
}
