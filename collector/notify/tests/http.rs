//! Channels over HTTP, against a real HTTP server that writes down what it gets.

#![allow(clippy::unwrap_used)] // a panic here is the report

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::Router;
use fettle_alert::handoff::{NotificationKind, Severity};
use fettle_notify::{outcome, BreakerState, Delivered, SendError};
use serde_json::{json, Value};

use support::{notification, sender};

/// A request: its path, headers and body.
type Got = (String, HeaderMap, String);
/// An answer: its code, and where to or after how long.
type Answer = (u16, Option<String>);

/// What came, and what is answered: the first answers in order, then 200.
#[derive(Clone, Default)]
struct Sink {
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Sink {
    /// Serves on a port of its own.
    async fn start(answers: &[(u16, Option<&str>)]) -> (Self, u16) {
        let sink = Self::default();
        *sink.answers.lock().unwrap() =
            answers.iter().rev().map(|(code, header)| (*code, header.map(str::to_owned))).collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().fallback(take).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (sink, port)
    }

    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn body(&self, at: usize) -> Value {
        serde_json::from_str(&self.got.lock().unwrap()[at].2).unwrap()
    }
}

async fn take(State(sink): State<Sink>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    sink.got.lock().unwrap().push((uri.path().to_owned(), headers, body));
    match sink.answers.lock().unwrap().pop() {
        None => "ok".into_response(),
        Some((code, header)) => {
            let name = if code < 400 { "location" } else { "retry-after" };
            let headers: Vec<(&str, String)> = header.map(|value| (name, value)).into_iter().collect();
            (StatusCode::from_u16(code).unwrap(), axum::response::AppendHeaders(headers), "no")
                .into_response()
        }
    }
}

fn secret(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn a_webhook_is_signed_templated_and_named() {
    let (sink, port) = Sink::start(&[]).await;
    let (key, token) = (secret("key\n"), secret("Bearer very-secret"));
    let sender = sender(&format!(
        "channels:\n  hook:\n    kind: webhook\n    url: http://127.0.0.1:{port}/in\n    secret_file: {}\n    \
         header_files: {{ Authorization: {} }}\n    headers: {{ X-Team: ops }}\n    \
         body: '{{\"what\": {{{{ title|tojson }}}}, \"rules\": [{{% for a in alerts %}}{{{{ a.rule|tojson }}}}{{% endfor %}}]}}'\n",
        key.path().display(),
        token.path().display()
    ));
    let notification = notification("hook", NotificationKind::Firing);
    assert_eq!(sender.send(&notification).await, Ok(Delivered { by: "hook".to_owned() }));
    let (path, headers, body) = sink.got.lock().unwrap()[0].clone();
    assert_eq!(path, "/in");
    assert_eq!(headers["x-team"], "ops");
    assert_eq!(headers["authorization"], "Bearer very-secret");
    assert_eq!(headers["idempotency-key"], notification.id.as_str());
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["rules"], json!(["disk_full"]));
    // The signature, made again by another implementation than the sender's.
    let time = headers["fettle-timestamp"].to_str().unwrap();
    let program = "import hmac,sys; print('v1='+hmac.new(b'key',(sys.argv[1]+'.'+sys.argv[2]).encode(),'sha256').hexdigest())";
    let python = std::process::Command::new("python3").args(["-c", program, time, &body]).output().unwrap();
    assert_eq!(headers["fettle-signature"].to_str().unwrap(), String::from_utf8_lossy(&python.stdout).trim());
}

#[tokio::test]
async fn slack_and_pagerduty_get_what_their_documents_ask_for() {
    let (sink, port) = Sink::start(&[]).await;
    let (url, key) = (secret(&format!("http://127.0.0.1:{port}/T0/B0/x")), secret("routing-key"));
    let sender = sender(&format!(
        "channels:\n  chat: {{ kind: slack, url_file: {} }}\n  pager: {{ kind: pagerduty, url: 'http://127.0.0.1:{port}/v2/enqueue', key_file: {} }}\n",
        url.path().display(),
        key.path().display()
    ));
    sender.send(&notification("chat", NotificationKind::Firing)).await.unwrap();
    let slack = sink.body(0);
    let text = slack["text"].as_str().unwrap();
    assert!(text.contains("CRITICAL") && text.contains("&lt;b&gt;&amp; growing"), "{text}");
    assert!(slack["attachments"][0]["text"].as_str().unwrap().contains("Probable cause"));
    for kind in [NotificationKind::Firing, NotificationKind::Acknowledged, NotificationKind::Resolved] {
        sender.send(&notification("pager", kind)).await.unwrap();
    }
    let actions: Vec<Value> = (1..4).map(|at| sink.body(at)["event_action"].clone()).collect();
    assert_eq!(actions, [json!("trigger"), json!("acknowledge"), json!("resolve")]);
    for at in 1..4 {
        let event = sink.body(at);
        assert_eq!(
            (&event["dedup_key"], &event["routing_key"]),
            (&json!("fettle:host=web-1"), &json!("routing-key"))
        );
    }
    assert_eq!(sink.body(1)["payload"]["severity"], "critical");
    assert_eq!(sink.body(1)["payload"]["source"], "web-1");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_is_refused_is_not() {
    let (sink, port) = Sink::start(&[
        (503, None),
        (429, Some("1")),
        (200, None),
        (400, None),
        (302, Some("/other")),
        (302, Some("/other")),
        (403, None),
        (200, None),
    ])
    .await;
    let sender = sender(&format!(
        "channels:\n  hook: {{ kind: webhook, url: 'http://127.0.0.1:{port}/', retries: 2 }}\n"
    ));
    let notification = notification("hook", NotificationKind::Firing);
    let begun = Instant::now();
    sender.send(&notification).await.unwrap();
    assert_eq!(sink.count(), 3);
    assert!(
        begun.elapsed() >= Duration::from_millis(1_500),
        "0.5 s of back-off, 1 s asked for by Retry-After"
    );
    let refused = sender.send(&notification).await;
    assert!(
        matches!(&refused, Err(SendError::Refused { problem, .. }) if problem.contains("400")),
        "{refused:?}"
    );
    assert!(matches!(outcome(&refused), fettle_alert::manage::Outcome::GaveUp { .. }));
    // A page of maintenance, then a hook that is not yet known again, then all is well: nothing is given up.
    assert_eq!(sink.count(), 4);
    let redirected = sender.send(&notification).await;
    assert!(
        matches!(&redirected, Err(SendError::Later { problem, .. }) if problem.contains("403")),
        "{redirected:?}"
    );
    assert_eq!(sink.count(), 7, "two tries more, and nobody went to /other");
    sender.send(&notification).await.unwrap();
    let state = &sender.states()[0];
    assert_eq!((state.sent, state.refused, state.retried), (2, 1, 4));
}

#[tokio::test]
async fn a_dead_channel_is_left_alone_falls_over_and_is_tried_once_later() {
    let (sink, port) = Sink::start(&[]).await;
    let dead = support::free_port();
    let sender = sender(&format!(
        "channels:\n  first: {{ kind: webhook, url: 'http://127.0.0.1:{dead}/very-secret', retries: 0, breaker_failures: 2, breaker_open: 10s, fallback: second }}\n  \
         second: {{ kind: webhook, url: 'http://127.0.0.1:{port}/' }}\n"
    ));
    let notification = notification("first", NotificationKind::Firing);
    for _ in 0..3 {
        assert_eq!(sender.send(&notification).await, Ok(Delivered { by: "second".to_owned() }));
    }
    assert_eq!(sink.count(), 3);
    let first = sender.states().into_iter().find(|state| state.name == "first").unwrap();
    assert_eq!((first.breaker, first.failed), (BreakerState::Open, 2), "the third was not even tried");
    assert!(!first.last_problem.unwrap().contains("very-secret"));
    // Somebody listens there again: once the breaker lets one through, the channel is well.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", dead)).await.unwrap();
    let (revived, app) = (Sink::default(), Router::new().fallback(take));
    let app = app.with_state(revived.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let until = Instant::now() + Duration::from_secs(60);
    while sender.send(&notification).await != Ok(Delivered { by: "first".to_owned() }) {
        assert!(Instant::now() < until, "the breaker never let one through");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sender.states().iter().all(|state| state.breaker == BreakerState::Closed));
    assert_eq!(revived.count(), 1);
}

#[tokio::test]
async fn a_rate_puts_off_what_is_not_critical() {
    let (sink, port) = Sink::start(&[]).await;
    let sender = sender(&format!(
        "channels:\n  hook: {{ kind: webhook, url: 'http://127.0.0.1:{port}/', per_minute: 1, burst: 2 }}\n"
    ));
    let mut mild = notification("hook", NotificationKind::Firing);
    mild.severity = Severity::Low;
    sender.send(&mild).await.unwrap();
    sender.send(&mild).await.unwrap();
    let third = sender.send(&mild).await;
    assert!(matches!(third, Err(SendError::Later { .. })), "{third:?}");
    sender.send(&notification("hook", NotificationKind::Firing)).await.unwrap();
    assert_eq!((sink.count(), sender.states()[0].limited), (3, 1));
}

#[tokio::test]
async fn a_server_that_never_answers_costs_its_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = sender(&format!(
        "channels:\n  hook: {{ kind: webhook, url: 'http://127.0.0.1:{port}/', timeout: 300ms, retries: 0 }}\n"
    ));
    let begun = Instant::now();
    let sent = sender.send(&notification("hook", NotificationKind::Firing)).await;
    assert!(matches!(sent, Err(SendError::Later { .. })), "{sent:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(matches!(
        sender.send(&notification("none", NotificationKind::Firing)).await,
        Err(SendError::Unknown(_))
    ));
}
