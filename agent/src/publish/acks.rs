//! Reads what JetStream answers to a publish.

use serde::Deserialize;

/// JetStream's error: no stream of that name.
const STREAM_NOT_FOUND: u64 = 10059;
/// JetStream's error: the message is longer than the stream allows.
const MESSAGE_TOO_LARGE: u64 = 10054;
/// NATS's status: nobody listens on the subject.
const NO_RESPONDERS: u16 = 503;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The stream has it.
    Acked {
        /// Its number in the stream.
        seq: u64,
        /// Whether the stream says it had it before.
        duplicate: bool,
    },
    /// The stream does not have it.
    Refused(Refusal),
}

/// Why a publish was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such stream, or JetStream is off.
    NoStream,
    /// The message is too long for the server or the stream.
    TooLarge,
    /// Anything else, the stream being full for one.
    Other(String),
}

#[derive(Deserialize)]
struct Wire {
    error: Option<WireError>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct WireError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Reads an answer from its status and its body.
pub(super) fn read(status: Option<u16>, body: &[u8]) -> Answer {
    if status == Some(NO_RESPONDERS) {
        return Answer::Refused(Refusal::NoStream);
    }
    match serde_json::from_slice::<Wire>(body) {
        Ok(Wire { error: None, seq, duplicate }) if seq > 0 => Answer::Acked { seq, duplicate },
        Ok(Wire { error: Some(error), .. }) => Answer::Refused(match error.err_code {
            STREAM_NOT_FOUND => Refusal::NoStream,
            MESSAGE_TOO_LARGE => Refusal::TooLarge,
            _ => Refusal::Other(error.description),
        }),
        _ => Answer::Refused(Refusal::Other("the acknowledgement cannot be read".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let acked = |seq, duplicate| Answer::Acked { seq, duplicate };
        assert_eq!(read(None, br#"{"stream":"S","seq":7}"#), acked(7, false));
        assert_eq!(read(None, br#"{"stream":"S","seq":7,"duplicate":true,"domain":"d"}"#), acked(7, true));
        assert_eq!(read(Some(503), b""), Answer::Refused(Refusal::NoStream));
        let full =
            br#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}"#;
        assert_eq!(read(None, full), Answer::Refused(Refusal::Other("maximum bytes exceeded".into())));
        let long = br#"{"error":{"code":400,"err_code":10054,"description":"too large"}}"#;
        assert_eq!(read(None, long), Answer::Refused(Refusal::TooLarge));
        for odd in [&b""[..], b"{}", b"\xff", b"[]"] {
            assert!(matches!(read(None, odd), Answer::Refused(Refusal::Other(_))), "{odd:?}");
        }
    }
}
