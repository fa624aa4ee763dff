//! Questions to ClickHouse, asked as any reader may, and the few orders that only the writer may give.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::http;

/// A ClickHouse server.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    address: SocketAddr,
    writer_password: PathBuf,
}

impl Sql {
    /// The server at this address; the file holds the writer's password.
    pub(crate) fn new(address: SocketAddr, writer_password: PathBuf) -> Self {
        Self { address, writer_password }
    }

    /// Asks as `default`; rows of tab-separated cells.
    pub(crate) async fn rows(&self, query: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let text = http::post(self.address, "/?database=fettle", &[], query.as_bytes())
            .await
            .with_context(|| format!("asking {query}"))?;
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// The one cell of an answer, as a number; nothing and NULL are 0.
    pub(crate) async fn number(&self, query: &str) -> anyhow::Result<f64> {
        let rows = self.rows(query).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(|cell| cell.parse().ok()).unwrap_or(0.0))
    }

    /// Gives an order as the writer.
    pub(crate) async fn order(&self, statement: &str) -> anyhow::Result<()> {
        let password = std::fs::read_to_string(&self.writer_password)
            .with_context(|| format!("cannot read {}", self.writer_password.display()))?;
        let headers = [("X-ClickHouse-User", "fettle"), ("X-ClickHouse-Key", password.trim())];
        http::post(self.address, "/?database=fettle", &headers, statement.as_bytes())
            .await
            .with_context(|| format!("ordering {statement}"))?;
        Ok(())
    }
}
