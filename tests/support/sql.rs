//! Questions to the engine over HTTP, as any client would ask them.

use std::sync::Once;
use std::time::Duration;

use anyhow::{bail, Context as _};
use serde_json::Value;

/// A ClickHouse HTTP client.
#[derive(Debug, Clone)]
pub struct Sql {
    client: reqwest::Client,
    url: String,
}

/// An HTTP client; the TLS library wants its provider named once.
pub fn http_client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .no_proxy()
        .build()
        .expect("a client without TLS roots")
}

impl Sql {
    /// A client for the server at this URL, as the user who may only read.
    pub fn new(url: impl Into<String>) -> Self {
        Self { client: http_client(), url: url.into() }
    }

    /// The answer as text.
    pub async fn text(&self, query: &str) -> anyhow::Result<String> {
        let answer = self.client.post(&self.url).body(query.to_owned()).send().await.context("no answer")?;
        let status = answer.status();
        let text = answer.text().await.context("the answer broke off")?;
        if !status.is_success() {
            bail!("{status}: {text} (asked: {query})");
        }
        Ok(text)
    }

    /// The rows as JSON objects.
    pub async fn rows(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let query =
            format!("{query} SETTINGS output_format_json_quote_64bit_integers = 0 FORMAT JSONEachRow");
        let text = self.text(&query).await?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// One number.
    pub async fn number(&self, query: &str) -> anyhow::Result<u64> {
        let text = self.text(&format!("{query} FORMAT TSV")).await?;
        text.trim().parse().with_context(|| format!("{query} gave {text:?}"))
    }
}
