//! Docker over its socket (the Engine API, in the form every version since 1.24 takes): one request for each
//! action, answered when it is done.

use std::path::Path;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{json, Value};
use tokio::net::UnixStream;

use super::{Report, LIMIT_BEFORE};
use crate::act::admission::Verb;

/// Longest answer that is read.
const ANSWER_MAX: usize = 1 << 20;
/// Seconds that Docker gives a container to stop before it kills it.
const STOP_SECONDS: u32 = 10;
/// Billionths of a core that are a percent.
const NANOS_OF_PERCENT: u64 = 10_000_000;

/// Restart, start, stop, or signal a container.
pub(super) async fn run(socket: &Path, container: &str, verb: &Verb) -> Result<String, String> {
    let (query, done) = match verb {
        Verb::Restart => (format!("restart?t={STOP_SECONDS}"), "restarted".to_owned()),
        // Docker starts no container that is frozen: it is running.
        Verb::Start if is_paused(socket, container).await? => ("unpause".to_owned(), "unpaused".to_owned()),
        Verb::Start => ("start".to_owned(), "started".to_owned()),
        Verb::Stop => (format!("stop?t={STOP_SECONDS}"), "stopped".to_owned()),
        Verb::Signal { name, .. } => (format!("kill?signal=SIG{name}"), format!("sent {name} to")),
    };
    let (status, _) = ask(socket, Method::POST, container, &query, None).await?;
    if status == StatusCode::NOT_MODIFIED {
        return Ok(format!("{container} was as it should be already"));
    }
    Ok(format!("{done} {container}"))
}

async fn is_paused(socket: &Path, container: &str) -> Result<bool, String> {
    let (_, answer) = ask(socket, Method::GET, container, "json", None).await?;
    Ok(answer.pointer("/State/Paused").and_then(Value::as_bool).unwrap_or(false))
}

/// The process of a container as this host numbers it.
pub(super) async fn main_process(socket: &Path, container: &str) -> Result<i32, String> {
    let (_, answer) = ask(socket, Method::GET, container, "json", None).await?;
    let pid = answer.pointer("/State/Pid").and_then(Value::as_i64).filter(|pid| *pid > 0);
    pid.and_then(|pid| i32::try_from(pid).ok())
        .ok_or_else(|| format!("{container} does not run; start it first"))
}

/// Sets a limit of a container.
pub(super) async fn limit(
    socket: &Path,
    container: &str,
    resource: &str,
    value: u64,
) -> Result<Report, String> {
    let (_, now) = ask(socket, Method::GET, container, "json", None).await?;
    let (key, scale, body) = match resource {
        "cpu_percent" => {
            let nanos = value.saturating_mul(NANOS_OF_PERCENT);
            ("NanoCpus", NANOS_OF_PERCENT, json!({ "NanoCpus": nanos }))
        }
        // Without more swap than memory: a limit of memory alone would be refused where swap is limited lower.
        "memory_bytes" => ("Memory", 1, json!({ "Memory": value, "MemorySwap": value })),
        _ => ("PidsLimit", 1, json!({ "PidsLimit": value })),
    };
    ask(socket, Method::POST, container, "update", Some(body)).await?;
    let report = Report::says(format!("set {key} of {container} for {resource} {value}"));
    // 0, less, or nothing at all stand for no limit.
    let before =
        now.pointer(&format!("/HostConfig/{key}")).and_then(Value::as_u64).filter(|limit| *limit > 0);
    Ok(match before {
        Some(before) => report.with(LIMIT_BEFORE, (before / scale).to_string()),
        None => report,
    })
}

async fn ask(
    socket: &Path,
    method: Method,
    container: &str,
    what: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if container.is_empty() || container.starts_with('.') || !container.bytes().all(is_name) {
        return Err(format!("{container:?} is no container's name; correct the host's file"));
    }
    let away = |error: String| format!("Docker does not answer at {}: {error}", socket.display());
    let stream = UnixStream::connect(socket).await.map_err(|error| away(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| away(error.to_string()))?;
    let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let request = Request::builder()
        .method(method)
        .uri(format!("/containers/{container}/{what}"))
        .header("Host", "docker")
        .header("Content-Type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| away(error.to_string()))?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>((status, bytes.to_bytes()))
    };
    tokio::pin!(talk, connection);
    let (status, bytes) = tokio::select! {
        said = &mut talk => said.map_err(away)?,
        // The answer may have been read whole before the connection ended.
        ended = &mut connection => match ended {
            Ok(()) => talk.await.map_err(away)?,
            Err(error) => return Err(away(error.to_string())),
        },
    };
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok((status, answer));
    }
    let message = answer.get("message").and_then(Value::as_str).unwrap_or("it gave no reason");
    Err(format!("Docker would not: {message} ({status})"))
}
