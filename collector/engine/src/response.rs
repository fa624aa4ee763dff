//! Responses: their headers, and bodies that pass a running statement's pieces on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::Receiver;
use tokio::time::Sleep;

use crate::engine::Engine;
use crate::exception::Exception;
use crate::output::{Head, Piece};
use crate::statement::DEFAULT_FORMAT;

/// How long the last bytes before a broken end have to leave.
const BREAK_PAUSE: Duration = Duration::from_millis(100);

/// A response's body.
pub(crate) enum Answer {
    /// All of it, known.
    Full(Option<Bytes>),
    /// Pieces of a running statement.
    Streamed {
        /// The pieces.
        pieces: Receiver<Piece>,
        /// Dropped with the body: a statement that still runs then is cancelled.
        _watch: Box<dyn Send + Sync>,
        /// An error was told; when this has passed the transfer is broken off. Until then the
        /// connection sends what it holds, which it would throw away when broken off at once.
        broken: Option<Pin<Box<Sleep>>>,
    },
}

/// The transfer is broken off on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the statement failed while its result was sent")]
pub(crate) struct BrokenOff;

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed { broken: Some(pause), .. } => {
                pause.as_mut().poll(context).map(|()| Some(Err(BrokenOff)))
            }
            Self::Streamed { pieces, broken, .. } => match pieces.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(Piece::Data(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(Piece::Broken(bytes))) => {
                    *broken = Some(Box::pin(tokio::time::sleep(BREAK_PAUSE)));
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(None))
    }
}

/// A response with a short text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::Full(Some(text.into())));
    *response.status_mut() = status;
    set(&mut response, "content-type", "text/plain; charset=UTF-8");
    response
}

/// A response that tells of an error before any result.
pub(crate) fn error(engine: &Engine, query_id: &str, exception: &Exception) -> Response<Answer> {
    let mut response = text(exception.status(), exception.body(&engine.version));
    identify(&mut response, engine, query_id);
    set(&mut response, "x-clickhouse-exception-code", &exception.code.to_string());
    if matches!(exception.status(), StatusCode::UNAUTHORIZED) {
        set(&mut response, "www-authenticate", "Basic realm=\"ClickHouse server HTTP API\"");
    }
    response
}

/// The head of a statement's response.
pub(crate) fn result(
    engine: &Arc<Engine>,
    query_id: &str,
    head: &Head,
    encoding: Option<&str>,
    tag: &str,
    body: Answer,
) -> Response<Answer> {
    let mut response = Response::new(body);
    identify(&mut response, engine, query_id);
    let format = head.format.as_deref().unwrap_or(DEFAULT_FORMAT);
    set(&mut response, "content-type", content_type(format));
    set(&mut response, "x-clickhouse-format", format);
    set(&mut response, "x-clickhouse-exception-tag", tag);
    set(&mut response, "x-clickhouse-summary", &summary(head));
    if let Some(encoding) = encoding {
        set(&mut response, "content-encoding", encoding);
    }
    response
}

fn identify(response: &mut Response<Answer>, engine: &Engine, query_id: &str) {
    set(response, "x-clickhouse-query-id", query_id);
    set(response, "x-clickhouse-server-display-name", &engine.host);
    set(response, "x-clickhouse-timezone", &engine.timezone);
}

fn summary(head: &Head) -> String {
    let numbers = &head.numbers;
    format!(
        "{{\"read_rows\":\"{}\",\"read_bytes\":\"{}\",\"written_rows\":\"{}\",\"written_bytes\":\"{}\",\
         \"total_rows_to_read\":\"0\",\"result_rows\":\"{}\",\"result_bytes\":\"0\",\"elapsed_ns\":\"{}\"}}",
        numbers.read_rows,
        numbers.read_bytes,
        numbers.written_rows,
        numbers.written_bytes,
        numbers.result_rows.max(numbers.written_rows),
        head.elapsed.as_nanos(),
    )
}

fn set(response: &mut Response<Answer>, name: &'static str, value: &str) {
    // A value that no header can carry (a query id with a line break) is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// The `Content-Type` of ClickHouse's formats (each output format's `getContentType`).
fn content_type(format: &str) -> &'static str {
    let has = |part: &str| format.contains(part);
    match format {
        "JSONEachRow" | "JSONCompactEachRow" | "JSONStringsEachRow" | "JSONLines" | "NDJSON" => {
            "application/x-ndjson; charset=UTF-8"
        }
        _ if has("JSON") => "application/json; charset=UTF-8",
        "CSVWithNames" | "CSVWithNamesAndTypes" => "text/csv; charset=UTF-8; header=present",
        "CSV" => "text/csv; charset=UTF-8; header=absent",
        "TSKV" => "text/tab-separated-values; charset=UTF-8",
        _ if has("TabSeparated") || has("TSV") => "text/tab-separated-values; charset=UTF-8",
        "XML" => "application/xml; charset=UTF-8",
        "Markdown" => "text/markdown; charset=UTF-8",
        "Prometheus" => "text/plain; version=0.0.4; charset=UTF-8",
        _ if has("Pretty") || has("Values") || has("Vertical") || has("SQLInsert") => {
            "text/plain; charset=UTF-8"
        }
        _ => "application/octet-stream",
    }
}
