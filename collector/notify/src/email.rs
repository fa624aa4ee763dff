//! Notifications by SMTP. The message's id is the notification's, so that a server or reader that knows ids
//! drops doubles; all of a group's messages are one thread.

use fettle_alert::handoff::Notification;
use lettre::message::header::{ContentType, MessageId};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as Wanted, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::channels::{Channel, Kind, Tls};
use crate::post::TryError;
use crate::words::{body, cut, one_line, title};

/// A connection's recipe; each message has a connection of its own.
pub type Mailer = AsyncSmtpTransport<Tokio1Executor>;

/// Longest subject, bytes.
const SUBJECT_MAX: usize = 200;

/// What sends the messages of a channel; `None`: the channel is none of e-mail.
///
/// # Errors
/// When TLS cannot be set up, or `ca_file` holds no certificate.
pub fn mailer(channel: &Channel) -> Result<Option<Mailer>, String> {
    let Kind::Email { server, port, tls, login, .. } = &channel.kind else { return Ok(None) };
    let mut builder = Mailer::builder_dangerous(server).port(*port).timeout(Some(channel.timeout));
    if *tls != Tls::None {
        let mut parameters = TlsParameters::builder(server.clone());
        if let Some(pem) = &channel.ca {
            let certificate = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
            parameters = parameters.add_root_certificate(certificate);
        }
        let parameters = parameters.build_rustls().map_err(|error| error.to_string())?;
        builder = builder.tls(match tls {
            Tls::Tls => Wanted::Wrapper(parameters),
            _ => Wanted::Required(parameters),
        });
    }
    if let Some((user, password)) = login {
        builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
    }
    Ok(Some(builder.build()))
}

/// Sends a notification once.
pub async fn mail(mailer: &Mailer, channel: &Channel, notification: &Notification) -> Result<(), TryError> {
    let message = message(channel, notification).map_err(TryError::Never)?;
    match mailer.send(message).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_permanent() => Err(TryError::Never(one_line(&words_of(&error)))),
        Err(error) => Err(TryError::Later(one_line(&words_of(&error)), None)),
    }
}

fn message(channel: &Channel, notification: &Notification) -> Result<Message, String> {
    let Kind::Email { from, to, .. } = &channel.kind else {
        return Err("this is no e-mail channel".to_owned());
    };
    let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}"));
    let from = mailbox(from)?;
    let domain = from.email.domain().to_owned();
    let group = fettle_alert::handoff::fingerprint(&notification.group, &std::collections::BTreeMap::new());
    let id = format!("<{}.{}@{domain}>", notification.id, notification.at_us);
    let mut builder = Message::builder()
        .from(from)
        .subject(cut(&one_line(&title(notification)), SUBJECT_MAX))
        .header(MessageId::from(id))
        .references(format!("<group-{group:016x}@{domain}>"));
    for to in to {
        builder = builder.to(mailbox(to)?);
    }
    builder
        .header(ContentType::TEXT_PLAIN)
        .body(format!("{}\n\n{}\n", title(notification), body(notification)))
        .map_err(|error| error.to_string())
}

fn words_of(error: &lettre::transport::smtp::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = inner.source();
    }
    words
}
