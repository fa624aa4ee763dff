//! The HTTP interface: health for machines and people, and the collector's own metrics. It reads
//! what other rooms publish and never reaches into them.

mod findings;
mod operations;
mod serve;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{header, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use fettle_door::Limits;

pub use operations::OperationsState;
pub use serve::serve;
pub use token::Token;

use crate::handoff::{ReadFindings, RecentDoors};
use crate::health::Health;
use crate::telemetry::Telemetry;

/// What connections are held to.
pub const LIMITS: Limits = Limits { connections: 256, head: Duration::from_secs(30) };
/// How long a request may take to be there whole and answered: longer than the slowest question.
pub const ANSWER_TIME: Duration = Duration::from_secs(60);

/// What the handlers read.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Parts and their states.
    pub health: Arc<Health>,
    /// Counters and histograms.
    pub telemetry: Arc<Telemetry>,
    /// What detection found.
    pub findings: Arc<dyn ReadFindings>,
    /// What detection has in memory.
    pub recent: RecentDoors,
}

/// All routes.
pub fn router(state: ApiState, operations: OperationsState) -> Router {
    Router::new()
        .route("/api/v3/health", get(health))
        .route("/metrics", get(metrics))
        .merge(findings::routes())
        .with_state(state)
        .nest("/api/v3", operations::router(operations))
}

/// 200 when every part is ready, 503 before; the body names each part, its state and why.
async fn health(State(state): State<ApiState>) -> impl IntoResponse {
    let (ready, report) = state.health.report();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

/// Prometheus text.
async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.telemetry.prometheus())
}
