//! Channels over HTTP: the request of each kind, and what its answer means.

use std::time::Duration;

use fettle_alert::handoff::Notification;
use hmac::{Hmac, Mac};
use minijinja::{Environment, UndefinedBehavior};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use sha2::Sha256;

use crate::channels::{Channel, Kind, Secret};
use crate::payload;
use crate::words::{cut, one_line, title};

/// Largest body sent, bytes.
const BODY_MAX: usize = 1 << 20;
/// Bytes of an answer that are read, to be told when it is a refusal.
const ANSWER_MAX: usize = 300;

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryError {
    /// Trying again may help, after this long if the receiver said so.
    Later(String, Option<Duration>),
    /// It will not.
    Never(String),
}

/// An HTTP client that follows no redirect and asks no proxy.
///
/// # Errors
/// When TLS cannot be set up: no certificate authorities, or `ca_file` holds none.
pub fn client(channel: &Channel) -> Result<Client, String> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(channel.timeout)
        .connect_timeout(channel.timeout)
        .pool_max_idle_per_host(2)
        .user_agent(concat!("fettle/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = &channel.ca {
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| error.to_string())?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| words_of(&error))
}

/// Sends a notification once.
pub async fn post(
    client: &Client,
    channel: &Channel,
    notification: &Notification,
    now_s: u64,
) -> Result<(), TryError> {
    let Some(request) = request(client, &channel.kind, notification, now_s)? else { return Ok(()) };
    match request.send().await {
        Ok(answer) => judge(answer).await,
        Err(error) => Err(TryError::Later(words_of(&error), None)),
    }
}

/// The request of a kind; `None`: this kind need not hear of it.
fn request(
    client: &Client,
    kind: &Kind,
    notification: &Notification,
    now_s: u64,
) -> Result<Option<RequestBuilder>, TryError> {
    Ok(match kind {
        Kind::Slack { url } => Some(client.post(url.reveal()).json(&payload::slack(notification))),
        Kind::PagerDuty { url, key } => {
            Some(client.post(url.reveal()).json(&payload::pagerduty(notification, key.reveal())))
        }
        Kind::Alertmanager { url, login } => payload::alertmanager(notification).map(|alerts| {
            let url = format!("{}/api/v2/alerts", url.reveal().trim_end_matches('/'));
            let request = client.post(url).json(&alerts);
            match login {
                Some((user, password)) => request.basic_auth(user, Some(password.reveal())),
                None => request,
            }
        }),
        Kind::Webhook { url, headers, body, secret } => {
            let body = match body {
                Some(template) => rendered(template, notification).map_err(TryError::Never)?,
                None => payload::plain(notification).to_string(),
            };
            let mut request = client
                .post(url.reveal())
                .header(CONTENT_TYPE, "application/json")
                .header("Idempotency-Key", notification.id.as_str());
            if let Some(secret) = secret {
                request = request
                    .header("Fettle-Timestamp", now_s)
                    .header("Fettle-Signature", signature(secret, now_s, &body));
            }
            let mut own = reqwest::header::HeaderMap::new();
            for (name, value) in headers {
                let name = reqwest::header::HeaderName::from_bytes(name.as_bytes());
                let value = reqwest::header::HeaderValue::from_str(value.reveal());
                if let (Ok(name), Ok(mut value)) = (name, value) {
                    value.set_sensitive(true);
                    own.insert(name, value);
                }
            }
            Some(request.headers(own).body(body))
        }
        Kind::Log | Kind::Email { .. } => None,
    })
}

/// `v1=` and HMAC-SHA256 over `timestamp.body`, hexadecimal.
pub fn signature(secret: &Secret, now_s: u64, body: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
        return String::new(); // HMAC takes keys of any length.
    };
    mac.update(format!("{now_s}.{body}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

/// Whether a template of a body can be read.
pub fn check_template(template: &str) -> Result<(), String> {
    let environment = Environment::new();
    let read = environment.template_from_str(template);
    read.map(|_| ()).map_err(|error| format!("the body's template cannot be read: {error}; correct it"))
}

fn rendered(template: &str, notification: &Notification) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let words = |error: minijinja::Error| format!("the body's template fails: {error}; correct it");
    let template = environment.template_from_str(template).map_err(words)?;
    let mut context = payload::plain(notification);
    context["title"] = title(notification).into();
    let body = template.render(minijinja::value::Serde(context)).map_err(words)?;
    if body.len() > BODY_MAX {
        return Err(format!("the body has {} bytes; {BODY_MAX} is the most", body.len()));
    }
    Ok(body)
}

async fn judge(mut answer: Response) -> Result<(), TryError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
    let mut said = Vec::new();
    while let Ok(Some(part)) = answer.chunk().await {
        said.extend_from_slice(&part);
        if said.len() >= ANSWER_MAX {
            break;
        }
    }
    let said = cut(&one_line(&String::from_utf8_lossy(&said)), ANSWER_MAX);
    let problem = if status.is_redirection() {
        format!("answered {status}: redirects are not followed; give the final URL")
    } else {
        format!("answered {status}: {said}")
    };
    // What this message is will not change. A key that was revoked, a hook that was moved or a page of
    // maintenance will: somebody mends that, and nobody should have missed a word.
    let hopeless = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
    if hopeless.contains(&status) {
        Err(TryError::Never(problem))
    } else {
        Err(TryError::Later(problem, after))
    }
}

/// `Retry-After` in seconds, or as a date, which is read against the clock.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    let left = date.timestamp().as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

/// An error's words without its URL, which may be a secret.
fn words_of(error: &reqwest::Error) -> String {
    let mut words = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the request failed".to_owned()
    };
    // The innermost cause says what happened; the outer ones repeat the URL.
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    let mut last = None;
    while let Some(inner) = cause {
        last = Some(inner.to_string());
        cause = inner.source();
    }
    if let Some(last) = last {
        words = format!("{words}: {last}");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_over_time_and_body() {
        // python3: hmac.new(b"key", b"1700000000.{}", "sha256").hexdigest()
        let signed = signature(&Secret::new("key"), 1_700_000_000, "{}");
        assert_eq!(signed, "v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae");
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
