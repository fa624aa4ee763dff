//! The HTTP side: one POST a statement, as ClickHouse's HTTP interface wants it.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, Url};

use super::errors::SqlError;
use crate::arguments::Server;
use crate::http;

/// Where rows of an `INSERT` come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// They are in the statement, or there are none.
    None,
    /// They are read from standard input and sent as they come.
    StandardInput,
}

/// A server to ask.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    user: String,
    password: String,
    database: String,
}

/// The beginning of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The rest of it.
    pub(crate) response: Response,
    /// The format it is in, if the server says.
    pub(crate) format: Option<String>,
}

impl Client {
    /// A client for this server, which is not asked yet.
    pub(crate) fn new(server: &Server) -> Result<Self, SqlError> {
        let bad = || SqlError::Url { url: server.url.clone() };
        let url: Url = server.url.parse().map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        let http = http::client(&url)
            .map_err(|error| SqlError::Unreachable { url: server.url.clone(), cause: innermost(&error) })?;
        Ok(Self {
            http,
            url,
            user: server.user.clone(),
            password: server.password.clone(),
            database: server.database.clone(),
        })
    }

    /// The address, for sentences.
    pub(crate) fn url(&self) -> String {
        self.url.to_string().trim_end_matches('/').to_owned()
    }

    /// Asks; gives the answer once the server has begun it.
    pub(crate) async fn ask(&self, sql: &str, format: &str, body: Body) -> Result<Answer, SqlError> {
        let parameters = [("database", self.database.as_str()), ("default_format", format)];
        let request = match body {
            Body::None => self.post(&parameters).body(sql.to_owned()),
            Body::StandardInput => {
                let [database, default_format] = parameters;
                self.post(&[database, default_format, ("query", sql)]).body(standard_input())
            }
        };
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let code = header("x-clickhouse-exception-code").and_then(|code| code.parse().ok());
        let format = header("x-clickhouse-format").map(str::to_owned);
        if code.is_some() || !response.status().is_success() {
            let text = response.text().await.unwrap_or_default();
            return Err(SqlError::from_server(code, &text));
        }
        Ok(Answer { response, format })
    }

    /// Runs a statement that has no answer.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), SqlError> {
        self.text(sql, "TabSeparatedRaw").await.map(drop)
    }

    /// The whole answer as text.
    pub(crate) async fn text(&self, sql: &str, format: &str) -> Result<String, SqlError> {
        let answer = self.ask(sql, format, Body::None).await?;
        answer.response.text().await.map_err(|error| self.broken(&error))
    }

    /// The whole answer; none once it is larger than this.
    pub(crate) async fn bytes(
        &self,
        sql: &str,
        format: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, SqlError> {
        let mut response = self.ask(sql, format, Body::None).await?.response;
        let mut whole = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if whole.len() + piece.len() > most {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole))
    }

    /// Asks for one text, such as a version; for checks, so with little patience.
    pub(crate) async fn ask_text(&self, sql: &str, patience: Duration) -> Result<String, SqlError> {
        self.ask_as("TabSeparatedRaw", sql, patience).await
    }

    /// Asks for a whole answer in this format.
    pub(crate) async fn ask_as(
        &self,
        format: &str,
        sql: &str,
        patience: Duration,
    ) -> Result<String, SqlError> {
        let asked = self.text(sql, format);
        let cause = "no answer in time".to_owned();
        let late = |_| SqlError::Unreachable { url: self.url(), cause };
        tokio::time::timeout(patience, asked).await.map_err(late)?
    }

    /// The sentence for a connection that broke.
    pub(crate) fn broken(&self, error: &reqwest::Error) -> SqlError {
        SqlError::Broken { url: self.url(), cause: innermost(error) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> SqlError {
        SqlError::Unreachable { url: self.url(), cause: innermost(error) }
    }

    fn post(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
        let request = self.http.post(url).header("X-ClickHouse-User", &self.user);
        if self.password.is_empty() {
            request
        } else {
            request.header("X-ClickHouse-Key", &self.password)
        }
    }
}

/// Standard input in pieces, read in a thread of its own: it may block for as long as a person types.
fn standard_input() -> reqwest::Body {
    let reader = tokio::io::stdin();
    let pieces = futures_util::stream::unfold(reader, |mut reader| async move {
        use tokio::io::AsyncReadExt as _;
        let mut piece = bytes::BytesMut::with_capacity(64 << 10);
        match reader.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), reader)),
            Err(error) => Some((Err(error), reader)),
        }
    });
    reqwest::Body::wrap_stream(pieces)
}

/// The cause at the bottom: what is above it repeats the address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
