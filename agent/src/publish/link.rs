//! The connection to NATS. It is made in the background and made again for as long as it takes;
//! what happens to it comes out of a channel.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use fettle_shared::access::{refuse_open_file, Access, Credentials};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::PublishError;

/// Longest pause between two attempts to connect.
const LONGEST_DELAY_MS: u64 = 5_000;
/// Events that may wait; more than a few never do.
const EVENTS: usize = 64;

/// What happened to the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LinkEvent {
    /// It is there.
    Up,
    /// It is gone.
    Down,
    /// Something worth knowing: a refusal by the server, most often.
    Trouble(String),
}

/// Begins to connect; returns at once.
pub(super) async fn connect(
    access: &Access,
    agent: &str,
) -> Result<(Client, mpsc::Receiver<LinkEvent>), PublishError> {
    let (sender, events) = mpsc::channel(EVENTS);
    let name = format!("fettle-agent {agent}");
    let seed = agent.to_owned();
    let mut options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(inbox_prefix(agent))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .subscription_capacity(1024)
        .client_capacity(128)
        .read_buffer_capacity(8 << 10)
        .ping_interval(Duration::from_secs(15))
        .reconnect_delay_callback(move |attempt| delay(&seed, attempt))
        .event_callback(move |event| {
            let sender = sender.clone();
            async move {
                let event = match event {
                    Event::Connected => LinkEvent::Up,
                    Event::Disconnected | Event::Closed => LinkEvent::Down,
                    other => LinkEvent::Trouble(other.to_string()),
                };
                // The two that matter must arrive; the others may be lost in a flood.
                if matches!(event, LinkEvent::Trouble(_)) {
                    let _ = sender.try_send(event);
                } else {
                    let _ = sender.send(event).await;
                }
            }
        });
    options = authenticate(options, &access.credentials).await?;
    if access.tls {
        options = options.require_tls(true);
    }
    if let Some(path) = &access.tls_ca_file {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &access.tls_identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    let client = options
        .connect(access.urls.as_slice())
        .await
        .map_err(|error| PublishError::Connect { url: access.shown(), cause: error.to_string() })?;
    Ok((client, events))
}

/// What the subjects of answers to this agent begin with. Its own, so that NATS can be told to let it hear nobody
/// else's.
fn inbox_prefix(agent: &str) -> String {
    format!("_INBOX_{agent}")
}

/// Doubles from 100 ms to 5 s, each agent a little different, so that a fleet does not come back in step.
fn delay(agent: &str, attempt: usize) -> Duration {
    let base = (100u64 << attempt.saturating_sub(1).min(6)).min(LONGEST_DELAY_MS);
    let spread = xxh3_64_with_seed(agent.as_bytes(), attempt as u64) % base.max(1);
    Duration::from_millis(if attempt <= 1 { 0 } else { base / 2 + spread / 2 })
}

async fn authenticate(
    options: ConnectOptions,
    credentials: &Credentials,
) -> Result<ConnectOptions, PublishError> {
    Ok(match credentials {
        Credentials::None => options,
        Credentials::File(path) => {
            let text = secret(path, "NATS credentials", "credentials_file")?;
            options.credentials(&text).map_err(|cause| {
                let (what, key) = ("NATS credentials", "credentials_file");
                PublishError::Credentials { what, key, path: path.clone(), cause: cause.to_string() }
            })?
        }
        Credentials::NkeyFile(path) => options.nkey(secret(path, "an nkey seed", "nkey_file")?),
        Credentials::User { name, password_file } => {
            options.user_and_password(name.clone(), secret(password_file, "the password", "password_file")?)
        }
    })
}

/// The text of a file that only its owner may read.
fn secret(path: &Path, what: &'static str, key: &'static str) -> Result<String, PublishError> {
    let fail = |cause: String| PublishError::Credentials { what, key, path: path.to_owned(), cause };
    let mut file = File::open(path).map_err(|e| fail(e.to_string()))?;
    let mode = file.metadata().map_err(|e| fail(e.to_string()))?.permissions().mode();
    refuse_open_file(path, mode).map_err(fail)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "seed\n").unwrap();
        let mode =
            |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let refused = secret(file.path(), "an nkey seed", "nkey_file").unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        mode(0o600);
        assert_eq!(secret(file.path(), "an nkey seed", "nkey_file").unwrap(), "seed");
    }

    #[test]
    fn delays_grow_and_differ() {
        assert_eq!(delay("a", 1), Duration::ZERO);
        for attempt in 2..200 {
            let delay = delay("a", attempt);
            assert!(delay >= Duration::from_millis(100) && delay <= Duration::from_secs(5), "{delay:?}");
        }
        assert_ne!(delay("a", 9), delay("b", 9));
    }
}
