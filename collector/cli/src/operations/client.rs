//! Asks the collector over HTTP, with the token where something is changed.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value;

use super::arguments::Collector;
use crate::http::{client, reachable};
use crate::locate::default_state_dir;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperationsError {
    /// Nobody answers.
    #[error("the collector at {url} does not answer ({cause}); start it with `fettle up`, or name its address with --http")]
    Away {
        /// Address.
        url: String,
        /// Why.
        cause: String,
    },
    /// The collector says no.
    #[error("{0}")]
    Refused(String),
    /// No token.
    #[error("the token cannot be read from {path} ({cause}); name its file with --token-file, or be the user that runs the collector")]
    Token {
        /// Path.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Bad argument.
    #[error("{0}")]
    Argument(String),
    /// ClickHouse.
    #[error(transparent)]
    Sql(#[from] crate::sql::SqlError),
    /// The chain is broken.
    #[error("{0}")]
    Broken(String),
}

/// A collector.
pub(crate) struct Operations<'a> {
    arguments: &'a Collector,
    http: Client,
    base: Url,
}

impl<'a> Operations<'a> {
    /// The collector that the flags name.
    pub(crate) fn new(arguments: &'a Collector) -> Result<Self, OperationsError> {
        let text = format!("http://{}/api/v3/", reachable(arguments.http));
        let away = |cause: String| OperationsError::Away { url: text.clone(), cause };
        let base = Url::parse(&text).map_err(|e| away(e.to_string()))?;
        let http = client(&base).map_err(|e| away(e.to_string()))?;
        Ok(Self { arguments, http, base })
    }

    /// Asks for something.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, OperationsError> {
        self.send(Method::GET, path, None).await
    }

    /// Changes something; `body` gets the author's name.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        mut body: Value,
    ) -> Result<Value, OperationsError> {
        body["author"] = self.author()?.into();
        self.send(method, path, Some(body)).await
    }

    fn author(&self) -> Result<String, OperationsError> {
        // Who became root by sudo is asked for, not root; a container may have none of these.
        let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
        let author = self.arguments.author.clone().into_iter().chain(named).find(|name| !name.is_empty());
        author
            .or_else(|| rustix::process::getuid().is_root().then(|| "root".to_owned()))
            .ok_or_else(|| OperationsError::Argument("say who you are with --author, for the audit".into()))
    }

    fn token(&self) -> Result<String, OperationsError> {
        let state = || self.arguments.state_dir.clone().unwrap_or_else(default_state_dir);
        let path = self.arguments.token_file.clone().unwrap_or_else(|| state().join("collector/api.token"));
        std::fs::read_to_string(&path)
            .map(|text| text.trim().to_owned())
            .map_err(|e| OperationsError::Token { path, cause: e.to_string() })
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, OperationsError> {
        let away = |cause: String| OperationsError::Away { url: self.base.to_string(), cause };
        let url = self.base.join(path).map_err(|e| OperationsError::Argument(e.to_string()))?;
        let mut request = self.http.request(method, url).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.bearer_auth(self.token()?).json(&body);
        }
        let answer = request.send().await.map_err(|e| away(e.without_url().to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| away(e.without_url().to_string()))?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status == StatusCode::OK {
            return Ok(value);
        }
        let said = value["error"].as_str().map_or(text.trim(), |said| said);
        let said = if said.is_empty() { format!("the collector answers {status}") } else { said.to_owned() };
        Err(OperationsError::Refused(said))
    }
}
