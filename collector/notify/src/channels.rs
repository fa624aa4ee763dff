//! Channels as `alerts.yaml` declares them. Secrets stand in files of their own, never in the YAML, and are
//! never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::time::Duration;

use fettle_alert::manage::parse_span;
use fettle_alert::yaml::{self, NotRead, Placed};
use serde::Deserialize;

/// A secret's file may hold so many bytes.
const SECRET_MAX: u64 = 64 * 1024;
/// Channels one after the other that a notification falls over to, at most.
const FALLBACKS_MAX: usize = 4;

/// Channels by name. `log` is always among them.
#[derive(Debug, Clone)]
pub struct Channels(pub BTreeMap<String, Channel>);

/// One channel, settled.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Where to, and how.
    pub kind: Kind,
    /// Time one try may take.
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Notifications a minute.
    pub per_minute: u32,
    /// Notifications at once.
    pub burst: u32,
    /// Failures in a row after which it is left alone.
    pub breaker_failures: u32,
    /// For how long at first.
    pub breaker_open: Duration,
    /// Channel that takes over when this one cannot.
    pub fallback: Option<String>,
    /// Certificate authorities to trust instead of the system's, PEM.
    pub ca: Option<Vec<u8>>,
}

/// The kinds of channels.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The collector's own log.
    Log,
    /// Slack's incoming webhook; its URL is a secret.
    Slack {
        /// URL.
        url: Secret,
    },
    /// Any webhook.
    Webhook {
        /// URL.
        url: Secret,
        /// Headers, those from files among them.
        headers: Vec<(String, Secret)>,
        /// Template of the body; none: the notification as JSON.
        body: Option<String>,
        /// Signs time and body.
        secret: Option<Secret>,
    },
    /// PagerDuty Events API v2.
    PagerDuty {
        /// URL of the API.
        url: Secret,
        /// Integration key.
        key: Secret,
    },
    /// Alertmanager API v2.
    Alertmanager {
        /// URL without `/api/v2/alerts`.
        url: Secret,
        /// User and password.
        login: Option<(String, Secret)>,
    },
    /// SMTP.
    Email {
        /// Server's name.
        server: String,
        /// Port.
        port: u16,
        /// How the connection is protected.
        tls: Protection,
        /// Sender.
        from: String,
        /// Receivers.
        to: Vec<String>,
        /// User and password.
        login: Option<(String, Secret)>,
    },
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// STARTTLS, required.
    Upgraded,
    /// TLS from the first byte.
    Whole,
    /// Not at all: to a server on this machine only.
    Open,
}

/// Shows itself as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why channels are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ChannelsError {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong and what to do.
    pub problem: String,
}

impl From<NotRead> for ChannelsError {
    fn from(error: NotRead) -> Self {
        let (line, column) = (u64::from(error.at.line), u64::from(error.at.column));
        Self { line: line.max(1), column: column.max(1), problem: error.what }
    }
}

/// The whole file; keys other than `channels` are the manager's.
#[derive(Deserialize, Default)]
struct File {
    #[serde(default)]
    channels: BTreeMap<String, Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    kind: Placed<String>,
    url: Option<Placed<String>>,
    url_file: Option<Placed<String>>,
    key_file: Option<Placed<String>>,
    secret_file: Option<Placed<String>>,
    password_file: Option<Placed<String>>,
    ca_file: Option<Placed<String>>,
    user: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    header_files: BTreeMap<String, Placed<String>>,
    body: Option<Placed<String>>,
    server: Option<String>,
    port: Option<u16>,
    tls: Option<Placed<String>>,
    from: Option<Placed<String>>,
    #[serde(default)]
    to: Vec<Placed<String>>,
    timeout: Option<Placed<String>>,
    retries: Option<u32>,
    per_minute: Option<u32>,
    burst: Option<u32>,
    breaker_failures: Option<u32>,
    breaker_open: Option<Placed<String>>,
    fallback: Option<Placed<String>>,
}

impl Channels {
    /// Reads the channels of `alerts.yaml`, and the files their secrets are in.
    ///
    /// # Errors
    /// With line and column, when a channel is not what its kind needs or a secret's file cannot be read.
    pub fn from_yaml(text: &str) -> Result<Self, ChannelsError> {
        let mut channels = BTreeMap::from([("log".to_owned(), Channel::log())]);
        let file: File = yaml::read(text)?;
        let fallbacks: BTreeMap<String, Placed<String>> = file
            .channels
            .iter()
            .filter_map(|(name, text)| text.fallback.clone().map(|to| (name.clone(), to)))
            .collect();
        for (name, text) in file.channels {
            channels.insert(name, settle(&text)?);
        }
        for (name, to) in &fallbacks {
            check_fallback(name, to, &channels)?;
        }
        Ok(Self(channels))
    }
}

impl Channel {
    /// The log, which is always there.
    pub fn log() -> Self {
        Self {
            kind: Kind::Log,
            timeout: Duration::from_secs(5),
            retries: 3,
            per_minute: 60,
            burst: 20,
            breaker_failures: 5,
            breaker_open: Duration::from_secs(30),
            fallback: None,
            ca: None,
        }
    }
}

impl Kind {
    /// As written in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Slack { .. } => "slack",
            Self::Webhook { .. } => "webhook",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Email { .. } => "email",
        }
    }
}

fn check_fallback(
    name: &str,
    to: &Placed<String>,
    channels: &BTreeMap<String, Channel>,
) -> Result<(), ChannelsError> {
    let mut at = to.value.as_str();
    for _ in 0..FALLBACKS_MAX {
        let Some(channel) = channels.get(at) else {
            return Err(wrong(to, &format!("there is no channel named {at}; add it below channels:")));
        };
        match &channel.fallback {
            Some(next) if at != name => at = next,
            _ => break,
        }
    }
    let ends = channels.get(at).is_some_and(|channel| channel.fallback.is_none());
    if at == name || !ends {
        return Err(wrong(
            to,
            "channels fall over in a ring, or more than four times; let the last one be log",
        ));
    }
    Ok(())
}

fn settle(text: &Text) -> Result<Channel, ChannelsError> {
    let mut channel = Channel::log();
    read_time(text.timeout.as_ref(), &mut channel.timeout)?;
    read_time(text.breaker_open.as_ref(), &mut channel.breaker_open)?;
    channel.retries = text.retries.unwrap_or(channel.retries).min(10);
    channel.per_minute = text.per_minute.unwrap_or(channel.per_minute).clamp(1, 60_000);
    channel.burst = text.burst.unwrap_or(channel.burst).clamp(1, 10_000);
    channel.breaker_failures = text.breaker_failures.unwrap_or(channel.breaker_failures).max(1);
    channel.fallback = text.fallback.as_ref().map(|name| name.value.clone());
    if let Some(path) = &text.ca_file {
        channel.ca = Some(read_file(path)?.into_bytes());
    }
    check_fields(text)?;
    channel.kind = match text.kind.value.as_str() {
        "log" => Kind::Log,
        "slack" => Kind::Slack { url: url_of(text, None)? },
        "webhook" => webhook(text)?,
        "pagerduty" => {
            let key = text.key_file.as_ref().ok_or_else(|| wrong(&text.kind, "pagerduty needs key_file"))?;
            let default = Some("https://events.pagerduty.com/v2/enqueue");
            Kind::PagerDuty { url: url_of(text, default)?, key: secret(key)? }
        }
        "alertmanager" => Kind::Alertmanager { url: url_of(text, None)?, login: login(text)? },
        "email" => email(text)?,
        other => {
            let problem = format!(
                "there is no kind {other}; it is slack, email, webhook, pagerduty, alertmanager or log"
            );
            return Err(wrong(&text.kind, &problem));
        }
    };
    Ok(channel)
}

/// A key that its kind does not know is a mistake, not a wish.
fn check_fields(text: &Text) -> Result<(), ChannelsError> {
    let given = [
        ("url", text.url.is_some(), &["webhook", "pagerduty", "alertmanager"][..]),
        ("url_file", text.url_file.is_some(), &["slack", "webhook", "pagerduty", "alertmanager"]),
        ("key_file", text.key_file.is_some(), &["pagerduty"]),
        ("secret_file", text.secret_file.is_some(), &["webhook"]),
        ("password_file", text.password_file.is_some(), &["email", "alertmanager"]),
        ("user", text.user.is_some(), &["email", "alertmanager"]),
        ("headers", !text.headers.is_empty(), &["webhook"]),
        ("header_files", !text.header_files.is_empty(), &["webhook"]),
        ("body", text.body.is_some(), &["webhook"]),
        ("server", text.server.is_some(), &["email"]),
        ("port", text.port.is_some(), &["email"]),
        ("tls", text.tls.is_some(), &["email"]),
        ("from", text.from.is_some(), &["email"]),
        ("to", !text.to.is_empty(), &["email"]),
    ];
    let kind = text.kind.value.as_str();
    let known = ["log", "slack", "webhook", "pagerduty", "alertmanager", "email"].contains(&kind);
    for (name, is_given, kinds) in given {
        if is_given && known && !kinds.contains(&kind) {
            let hint = if name == "url" {
                "; a Slack URL is a secret: write it to a file and name it in url_file"
            } else {
                ""
            };
            return Err(wrong(&text.kind, &format!("{kind} knows no {name}; take it out{hint}")));
        }
    }
    Ok(())
}

fn webhook(text: &Text) -> Result<Kind, ChannelsError> {
    let mut headers: Vec<(String, Secret)> =
        text.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect();
    for (name, path) in &text.header_files {
        headers.push((name.clone(), secret(path)?));
    }
    for (name, value) in &headers {
        let fits = reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && reqwest::header::HeaderValue::from_str(value.reveal()).is_ok();
        if !fits {
            return Err(wrong(&text.kind, &format!("{name} is no header, or its value is none; correct it")));
        }
    }
    let body = text.body.as_ref().map(|body| body.value.clone());
    if let (Some(place), Some(body)) = (&text.body, &body) {
        crate::post::check_template(body).map_err(|problem| wrong(place, &problem))?;
    }
    let secret = text.secret_file.as_ref().map(secret).transpose()?;
    Ok(Kind::Webhook { url: url_of(text, None)?, headers, body, secret })
}

fn email(text: &Text) -> Result<Kind, ChannelsError> {
    let missing = |what: &str| wrong(&text.kind, &format!("email needs {what}"));
    let server = text.server.clone().ok_or_else(|| missing("server"))?;
    let local = ["localhost", "127.0.0.1", "::1"].contains(&server.as_str());
    let tls = match text.tls.as_ref().map(|tls| tls.value.as_str()) {
        None | Some("starttls") => Protection::Upgraded,
        Some("tls") => Protection::Whole,
        Some("none") if local => Protection::Open,
        Some(other) => {
            let problem =
                format!("tls is starttls or tls ({other} was given; none is for a server on this machine)");
            return Err(text.tls.as_ref().map_or_else(|| missing("tls"), |tls| wrong(tls, &problem)));
        }
    };
    let from = text.from.as_ref().ok_or_else(|| missing("from"))?;
    if text.to.is_empty() {
        return Err(missing("to, a list of addresses"));
    }
    for address in text.to.iter().chain([from]) {
        if address.value.parse::<lettre::message::Mailbox>().is_err() {
            return Err(wrong(address, "this is no mail address; write one such as ops@example.org"));
        }
    }
    let default_port = if tls == Protection::Whole { 465 } else { 587 };
    Ok(Kind::Email {
        server,
        port: text.port.unwrap_or(default_port),
        tls,
        from: from.value.clone(),
        to: text.to.iter().map(|to| to.value.clone()).collect(),
        login: login(text)?,
    })
}

fn login(text: &Text) -> Result<Option<(String, Secret)>, ChannelsError> {
    match (&text.user, &text.password_file) {
        (Some(user), Some(path)) => Ok(Some((user.clone(), secret(path)?))),
        (None, None) => Ok(None),
        _ => Err(wrong(&text.kind, "user and password_file go together; give both or none")),
    }
}

fn url_of(text: &Text, default: Option<&str>) -> Result<Secret, ChannelsError> {
    let (place, url) = match (&text.url, &text.url_file, default) {
        (Some(_), Some(path), _) => return Err(wrong(path, "url and url_file are one too many; keep one")),
        (Some(url), None, _) => (url, url.value.clone()),
        (None, Some(path), _) => (path, secret(path)?.0),
        (None, None, Some(default)) => (&text.kind, default.to_owned()),
        (None, None, None) => {
            return Err(wrong(&text.kind, &format!("{} needs url_file", text.kind.value)));
        }
    };
    let parsed =
        reqwest::Url::parse(&url).map_err(|_| wrong(place, "this is no URL; write http:// or https://"))?;
    if !["http", "https"].contains(&parsed.scheme()) || parsed.host_str().is_none() {
        return Err(wrong(place, "a channel's URL begins with http:// or https://"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong(
            place,
            "a URL holds no user or password here; use user and password_file, or header_files",
        ));
    }
    Ok(Secret(url))
}

fn read_time(text: Option<&Placed<String>>, into: &mut Duration) -> Result<(), ChannelsError> {
    if let Some(text) = text {
        let us = parse_span(&text.value).and_then(|us| u64::try_from(us).ok()).filter(|us| *us > 0);
        let problem = "a length of time is a whole number with ms, s, m or h, such as 5s";
        *into = Duration::from_micros(us.ok_or_else(|| wrong(text, problem))?);
    }
    Ok(())
}

fn secret(path: &Placed<String>) -> Result<Secret, ChannelsError> {
    let text = read_file(path)?.trim().to_owned();
    if text.is_empty() {
        return Err(wrong(path, &format!("{} is empty; write the secret to it", path.value)));
    }
    Ok(Secret(text))
}

fn read_file(path: &Placed<String>) -> Result<String, ChannelsError> {
    let mut text = String::new();
    let read =
        std::fs::File::open(&path.value).and_then(|file| file.take(SECRET_MAX).read_to_string(&mut text));
    read.map_err(|error| {
        wrong(path, &format!("cannot read {}: {error}; correct the path or its rights", path.value))
    })?;
    Ok(text)
}

fn wrong<T>(place: &Placed<T>, problem: &str) -> ChannelsError {
    NotRead { at: place.at, what: problem.to_owned() }.into()
}

#[cfg(test)]
#[path = "channels_tests.rs"]
mod tests;
