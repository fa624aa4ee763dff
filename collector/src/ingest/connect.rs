//! The connection to NATS and the streams that must exist on it. Creating them is idempotent, and is
//! done again whenever they are found missing: NATS may forget anything.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use fettle_shared::address::without_user;
use fettle_shared::subjects::{StreamShape, METRICS_SHAPE, QUARANTINE_SHAPE};

use super::IngestError;

/// How NATS is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// `nats://host:4222` or `tls://host:4222`.
    pub url: String,
    /// Credentials file (JWT and seed), if the server wants one.
    pub credentials_file: Option<PathBuf>,
    /// Certificates that sign the server's, if they are not public ones.
    pub tls_ca_file: Option<PathBuf>,
}

impl NatsSettings {
    /// A server without credentials.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), credentials_file: None, tls_ca_file: None }
    }
}

/// Connects in the background: returns at once and keeps trying, so that the collector starts while
/// NATS is away. Only unusable settings are an error.
pub async fn connect(settings: &NatsSettings, name: &str) -> Result<async_nats::Client, IngestError> {
    let mut options = async_nats::ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .ping_interval(Duration::from_secs(5))
        .reconnect_delay_callback(|attempts| Duration::from_millis((50 << attempts.min(6)) as u64))
        .event_callback(|event| async move {
            match event {
                async_nats::Event::Connected => tracing::info!("NATS is connected"),
                async_nats::Event::Disconnected => tracing::warn!("NATS is away; trying again"),
                other => tracing::debug!(%other, "NATS"),
            }
        });
    if let Some(path) = &settings.credentials_file {
        options = options.credentials_file(path).await.map_err(|e| IngestError::Credentials {
            path: path.display().to_string(),
            cause: e.to_string(),
        })?;
    }
    if let Some(path) = &settings.tls_ca_file {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    options
        .connect(&settings.url)
        .await
        .map_err(|e| IngestError::Connect { url: without_user(&settings.url), cause: e.to_string() })
}

/// Creates the streams that are missing.
pub async fn ensure_streams(context: &jetstream::Context) -> Result<(), IngestError> {
    for shape in [METRICS_SHAPE, QUARANTINE_SHAPE] {
        context.get_or_create_stream(stream_config(&shape)).await.map_err(|e| IngestError::JetStream {
            what: format!("stream {}", shape.name),
            cause: e.to_string(),
        })?;
    }
    Ok(())
}

pub(super) fn stream_config(shape: &StreamShape) -> stream::Config {
    stream::Config {
        name: shape.name.to_owned(),
        subjects: vec![shape.subjects.to_owned()],
        retention: if shape.work_queue {
            stream::RetentionPolicy::WorkQueue
        } else {
            stream::RetentionPolicy::Limits
        },
        discard: if shape.work_queue { stream::DiscardPolicy::New } else { stream::DiscardPolicy::Old },
        storage: stream::StorageType::File,
        max_bytes: shape.max_bytes,
        max_message_size: shape.max_message_bytes,
        num_replicas: shape.replicas,
        ..Default::default()
    }
}
