//! The stream the frames go to: looked at after every connect, made when it is missing and this login may.

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, stream, ErrorCode};
use fettle_shared::subjects::{StreamShape, METRICS_SHAPE};

/// The stream as it was found or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamSeen {
    /// When it was made: another time is another stream.
    pub created: String,
    /// Number of its last message.
    pub last_seq: u64,
    /// Whether it had to be made.
    pub made: bool,
}

/// Looks at the metrics stream, and makes it if there is none. One that exists is left as it is.
pub(super) async fn ensure(context: jetstream::Context) -> Result<StreamSeen, String> {
    let seen = |info: &stream::Info, made| StreamSeen {
        created: info.created.to_string(),
        last_seq: info.state.last_sequence,
        made,
    };
    match context.get_stream(METRICS_SHAPE.name).await {
        Ok(stream) => return Ok(seen(stream.cached_info(), false)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            _ => return Err(error.to_string()),
        },
    }
    let stream = context.create_stream(config(&METRICS_SHAPE)).await.map_err(|error| error.to_string())?;
    Ok(seen(stream.cached_info(), true))
}

/// Whether the server says here that this login may not make the stream. It says so beside the request, which itself is never
/// answered: who waited for that would wait for the whole time of a request.
pub(super) fn may_not_make(trouble: &str) -> bool {
    let trouble = trouble.to_lowercase();
    trouble.contains("permissions violation") && trouble.contains("$js.api.stream.create.")
}

fn config(shape: &StreamShape) -> stream::Config {
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
