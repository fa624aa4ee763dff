//! Alerts, silences, plans and freezes over HTTP. Every change wants the token and the name of a person,
//! and is answered by operations themselves, which write it into the audit.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::json;

use super::token::Token;
use crate::handoff::{Ask, AskError, OperationsHandle, PlanVerb, SilenceOrder, Word};

/// What these handlers need.
#[derive(Debug, Clone)]
pub struct OperationsState {
    /// The way to operations.
    pub operations: OperationsHandle,
    /// Who shows it may change things.
    pub token: Token,
}

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
    if !state.token.is_shown(headers) {
        let error = if headers.contains_key(AUTHORIZATION) {
            "that is not this collector's token; it is in api.token in the collector's state directory"
        } else {
            "send Authorization: Bearer TOKEN; the token is in api.token in the collector's state directory"
        };
        return refuse(StatusCode::UNAUTHORIZED, error);
    }
    match body {
        Ok(Json(body)) => answer(state.operations.ask(ask(body)).await),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.body_text()),
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
    change_with(state, &headers, body, Ask::Silence).await
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

    #[tokio::test]
    async fn words_on_alerts_and_plans_reach_operations_by_those_who_show_the_token() {
        let (operations, mut questions) = OperationsHandle::new();
        let state = OperationsState { operations, token: Token::new("secret") };
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
