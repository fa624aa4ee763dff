//! The connection to NATS and the streams that must exist on it. Creating them is idempotent, and is
//! done again whenever they are found missing: NATS may forget anything.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use fettle_shared::access::{Access, Credentials};
use fettle_shared::subjects::{StreamShape, METRICS_SHAPE, QUARANTINE_SHAPE};

use super::IngestError;
use crate::secret_file;

/// Connects in the background: returns at once and keeps trying, so that the collector starts while
/// NATS is away. Only unusable settings are an error.
pub async fn connect(access: &Access, name: &str) -> Result<async_nats::Client, IngestError> {
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
    options = authenticate(options, &access.credentials)?;
    if access.tls {
        options = options.require_tls(true);
    }
    if let Some(path) = &access.tls_ca_file {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &access.tls_identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    options
        .connect(access.urls.as_slice())
        .await
        .map_err(|e| IngestError::Connect { url: access.shown(), cause: e.to_string() })
}

fn authenticate(
    options: async_nats::ConnectOptions,
    credentials: &Credentials,
) -> Result<async_nats::ConnectOptions, IngestError> {
    Ok(match credentials {
        Credentials::None => options,
        Credentials::File(path) => options.credentials(&secret(path)?).map_err(|e| {
            IngestError::Credentials { path: path.display().to_string(), cause: e.to_string() }
        })?,
        Credentials::NkeyFile(path) => options.nkey(secret(path)?),
        Credentials::User { name, password_file } => {
            options.user_and_password(name.clone(), secret(password_file)?)
        }
    })
}

fn secret(path: &Path) -> Result<String, IngestError> {
    secret_file::read(path)
        .map(|text| text.trim_end().to_owned())
        .map_err(|cause| IngestError::Credentials { path: path.display().to_string(), cause })
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
