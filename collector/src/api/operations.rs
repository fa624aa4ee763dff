//! Alerts, silences, plans and freezes over HTTP. Every change wants the token and the name of a person,
//! and is answered by operations themselves, which write it into the audit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use fettle_alert::handoff::Labels;
use fettle_alert::manage::Matchers;
use serde_json::json;

use super::token::Token;
use crate::handoff::{
    Ask, AskError, FindingsQuery, OperationsHandle, PlanVerb, ReadFindings, SilenceOrder, Word,
};

/// What these handlers need.
#[derive(Debug, Clone)]
pub struct OperationsState {
    /// The way to operations.
    pub operations: OperationsHandle,
    /// Who shows it may change things.
    pub token: Token,
    /// What became of alerts before.
    pub findings: Arc<dyn ReadFindings>,
}

/// How far back it is said what a silence would have been about, µs; and rows that are looked at.
const LATELY_US: i64 = 86_400_000_000;
/// See [`LATELY_US`].
const LATELY_ROWS: u32 = 20_000;

/// The routes, below `/api/v3`.
pub fn router(state: OperationsState) -> Router {
    Router::new()
        .route("/alerts", get(|s| read(s, Ask::Alerts)))
        .route("/alerts/{id}", get(|s, Path(id): Path<String>| read(s, Ask::Alert(id))))
        .route("/alerts/{id}/{verb}", post(alert))
        .route("/silences", get(|s| read(s, Ask::Silences)).post(silence))
        .route("/silences/{id}", delete(unsilence))
        .route("/incidents", get(|s| read(s, Ask::Incidents)))
        .route("/plans", get(|s| read(s, Ask::Plans)))
        .route("/plans/{id}", get(|s, Path(id): Path<String>| read(s, Ask::Plan(id))))
        .route("/plans/{id}/{verb}", post(change))
        .route("/plan", get(|s| read(s, Ask::Explain)))
        .route("/components", get(|s| read(s, Ask::Components)))
        .route("/operations", get(|s| read(s, Ask::Status)))
        .route("/operations/freeze", post(freeze))
        .route("/operations/unfreeze", post(unfreeze))
        .route("/channels/{name}/test", post(test_channel))
        .with_state(state)
}

async fn read(State(state): State<OperationsState>, ask: Ask) -> Response {
    answer(state.operations.ask(ask).await)
}

fn answer(result: Result<serde_json::Value, AskError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = match error {
                AskError::Elsewhere(_) => StatusCode::SERVICE_UNAVAILABLE,
                AskError::Unknown(_) => StatusCode::NOT_FOUND,
                AskError::Refused(_) => StatusCode::CONFLICT,
            };
            refuse(status, &error.to_string())
        }
    }
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

/// Does it if the token is shown and the body is what it should be.
async fn change_with<T>(
    state: OperationsState,
    headers: &HeaderMap,
    body: Result<Json<T>, JsonRejection>,
    ask: impl FnOnce(T) -> Ask,
) -> Response {
    changed(&state, headers, body, ask)
        .await
        .map_or_else(|refused| refused, |done| Json(done).into_response())
}

/// The same, as what was done or the answer that refuses it.
async fn changed<T>(
    state: &OperationsState,
    headers: &HeaderMap,
    body: Result<Json<T>, JsonRejection>,
    ask: impl FnOnce(T) -> Ask,
) -> Result<serde_json::Value, Response> {
    if !state.token.is_shown(headers) {
        let error = if headers.contains_key(AUTHORIZATION) {
            "that is not this collector's token; it is in api.token in the collector's state directory"
        } else {
            "send Authorization: Bearer TOKEN; the token is in api.token in the collector's state directory"
        };
        return Err(refuse(StatusCode::UNAUTHORIZED, error));
    }
    match body {
        Ok(Json(body)) => state.operations.ask(ask(body)).await.map_err(|error| answer(Err(error))),
        Err(error) => Err(refuse(StatusCode::BAD_REQUEST, &error.body_text())),
    }
}

type Body<T> = Result<Json<T>, JsonRejection>;

async fn alert(
    State(state): State<OperationsState>,
    Path((id, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<Word>,
) -> Response {
    let ask = match verb.as_str() {
        "acknowledge" => Ask::Acknowledge,
        "unacknowledge" => Ask::Unacknowledge,
        "resolve" => Ask::Resolve,
        _ => return refuse(StatusCode::NOT_FOUND, "an alert is acknowledged, unacknowledged or resolved"),
    };
    change_with(state, &headers, body, |word| ask(id, word)).await
}

async fn silence(
    State(state): State<OperationsState>,
    headers: HeaderMap,
    body: Body<SilenceOrder>,
) -> Response {
    let asked = body.as_ref().ok().map(|Json(order)| Matchers(order.matchers.clone()));
    let mut done = match changed(&state, &headers, body, Ask::Silence).await {
        Ok(done) => done,
        Err(refused) => return refused,
    };
    if let Some(matchers) = asked.filter(|_| done["matches"] == 0) {
        let lately = matched_lately(&*state.findings, &matchers).await;
        let said = done["done"].as_str().unwrap_or_default().to_owned();
        done["done"] = format!("{said}; it matches no alert now{lately}").into();
    }
    Json(done).into_response()
}

/// How many alerts patterns would have meant in the last 24 hours, in words.
async fn matched_lately(findings: &dyn ReadFindings, matchers: &Matchers) -> String {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
    let from_us = Some(now_us - LATELY_US);
    let query = FindingsQuery { host: None, from_us, to_us: None, severity: None, limit: LATELY_ROWS };
    match findings.rows("alerts", query).await {
        Ok(rows) => {
            let alerts: BTreeSet<&str> = rows
                .iter()
                .filter(|row| is_meant(row, matchers))
                .filter_map(|row| row["id"].as_str())
                .collect();
            let at_least = if rows.len() >= LATELY_ROWS as usize { "at least " } else { "" };
            format!("; {at_least}{} in the last 24 h", alerts.len())
        }
        Err(error) => format!("; the last 24 h cannot be asked ({error})"),
    }
}

/// Whether a row of history is about an alert that the patterns mean.
fn is_meant(row: &serde_json::Value, matchers: &Matchers) -> bool {
    let Ok(severity) = serde_json::from_value(row["severity"].clone()) else { return false };
    let labels: Labels = serde_json::from_value(row["labels"].clone()).unwrap_or_default();
    matchers.hold(row["rule"].as_str().unwrap_or_default(), severity, &labels)
}

async fn unsilence(
    State(state): State<OperationsState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<Word>,
) -> Response {
    change_with(state, &headers, body, |word| Ask::Unsilence(id, word)).await
}

async fn change(
    State(state): State<OperationsState>,
    Path((id, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<Word>,
) -> Response {
    let verb = match verb.as_str() {
        "approve" => PlanVerb::Approve,
        "deny" => PlanVerb::Deny,
        "cancel" => PlanVerb::Cancel,
        "roll_back" => PlanVerb::RollBack,
        "retry" => PlanVerb::Retry,
        _ => {
            let verbs = "a plan is approved, denied, cancelled, rolled back (roll_back) or retried (retry)";
            return refuse(StatusCode::NOT_FOUND, verbs);
        }
    };
    change_with(state, &headers, body, |word| Ask::Change(id, verb, word)).await
}

async fn freeze(State(state): State<OperationsState>, headers: HeaderMap, body: Body<Word>) -> Response {
    change_with(state, &headers, body, Ask::Freeze).await
}

async fn unfreeze(State(state): State<OperationsState>, headers: HeaderMap, body: Body<Word>) -> Response {
    change_with(state, &headers, body, Ask::Unfreeze).await
}

async fn test_channel(
    State(state): State<OperationsState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body<Word>,
) -> Response {
    change_with(state, &headers, body, |word| Ask::TestChannel(name, word)).await
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;
    use crate::handoff::Answer;

    /// History of three alerts.
    #[derive(Debug)]
    struct Past;

    impl ReadFindings for Past {
        fn anomalies(&self, _: FindingsQuery) -> Answer {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn health(&self, _: Option<String>) -> Answer {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn rows(&self, table: &'static str, _: FindingsQuery) -> Answer {
            let row = |id: &str, rule: &str, host: &str| json!({ "id": id, "rule": rule, "host": host, "severity": "high", "labels": { "host": host } });
            let rows = vec![
                row("a", "disk_low", "web-1"),
                row("a", "disk_low", "web-1"),
                row("b", "disk_low", "web-2"),
                row("c", "cpu", "web-1"),
                json!({ "id": "", "severity": "", "rule": "disk_low" }),
            ];
            Box::pin(async move {
                if table == "alerts" {
                    Ok(rows)
                } else {
                    Err("no such table".into())
                }
            })
        }
    }

    #[tokio::test]
    async fn a_silence_of_nothing_says_so_and_what_it_would_have_been_about() {
        let of = |name: &str, pattern: &str| Matchers([(name.to_owned(), pattern.to_owned())].into());
        assert_eq!(matched_lately(&Past, &of("rule", "disk*")).await, "; 2 in the last 24 h");
        assert_eq!(matched_lately(&Past, &of("host", "db-1")).await, "; 0 in the last 24 h");
        let (operations, mut questions) = OperationsHandle::new();
        let state = OperationsState { operations, token: Token::new("secret"), findings: Arc::new(Past) };
        tokio::spawn(async move {
            for matches in [0, 3] {
                let question = questions.recv().await.unwrap();
                question.answer.send(Ok(json!({ "done": "done: s1", "matches": matches }))).unwrap();
            }
        });
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer secret".parse().unwrap());
        for said in ["done: s1; it matches no alert now; 2 in the last 24 h", "done: s1"] {
            let order = SilenceOrder {
                matchers: [("rule".to_owned(), "disk*".to_owned())].into(),
                author: "ann".to_owned(),
                reason: "known".to_owned(),
                seconds: 60,
            };
            let done = silence(State(state.clone()), headers.clone(), Ok(Json(order))).await;
            assert_eq!(done.status(), StatusCode::OK);
            let body = axum::body::to_bytes(done.into_body(), 1 << 16).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["done"], said);
        }
    }

    #[tokio::test]
    async fn words_on_alerts_and_plans_reach_operations_by_those_who_show_the_token() {
        let (operations, mut questions) = OperationsHandle::new();
        let state = OperationsState { operations, token: Token::new("secret"), findings: Arc::new(Past) };
        let answering = tokio::spawn(async move {
            let mut asked = Vec::new();
            while let Some(question) = questions.recv().await {
                asked.push(question.ask);
                question.answer.send(Ok(json!({ "done": "done" }))).unwrap();
            }
            asked
        });
        let word = Word { author: "ann".to_owned(), reason: "known".to_owned() };
        let mut headers = HeaderMap::new();
        let path = |verb: &str| Path(("7".to_owned(), verb.to_owned()));
        let body = || Ok(Json(word.clone()));
        let refused = alert(State(state.clone()), path("resolve"), headers.clone(), body()).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        headers.insert(header::AUTHORIZATION, "Bearer secret".parse().unwrap());
        for verb in ["acknowledge", "unacknowledge", "resolve"] {
            let done = alert(State(state.clone()), path(verb), headers.clone(), body()).await;
            assert_eq!(done.status(), StatusCode::OK, "{verb}");
        }
        let done = change(State(state.clone()), path("retry"), headers.clone(), body()).await;
        assert_eq!(done.status(), StatusCode::OK);
        let unknown = alert(State(state.clone()), path("forget"), headers.clone(), body()).await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        drop(state);
        let id = || "7".to_owned();
        let asked = [
            Ask::Acknowledge(id(), word.clone()),
            Ask::Unacknowledge(id(), word.clone()),
            Ask::Resolve(id(), word.clone()),
            Ask::Change(id(), PlanVerb::Retry, word.clone()),
        ];
        assert_eq!(answering.await.unwrap(), asked);
    }
}
