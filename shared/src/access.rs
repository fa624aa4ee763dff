//! How NATS is reached and who one is to it, as the configurations of agent and collector both say it. Plain
//! settings; the files they name are read by whoever connects.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::address::without_user;

/// Where NATS is when nothing is said.
pub const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// Who one is to NATS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody.
    #[default]
    None,
    /// A credentials file: a JWT and its seed.
    File(PathBuf),
    /// A file that holds an nkey seed.
    NkeyFile(PathBuf),
    /// A user, and the file that holds the password.
    User {
        /// User name.
        name: String,
        /// File with the password.
        password_file: PathBuf,
    },
}

/// Hands the keys of `[nats]` that say how to connect to the macro `$with`, as fields with their documentation. What a
/// file may say stands here alone: a program that wants to know more of each key, such as its place, defines its own struct
/// from the same list.
#[macro_export]
macro_rules! access_keys {
    ($with:ident) => {
        $with! {
            /// `nats://127.0.0.1:4222` by default; several servers of one cluster separated by commas.
            url: String,
            /// Credentials file: a JWT and its seed.
            credentials_file: std::path::PathBuf,
            /// File with an nkey seed.
            nkey_file: std::path::PathBuf,
            /// User, with `password_file`.
            user: String,
            /// File with the user's password.
            password_file: std::path::PathBuf,
            /// Insists on TLS whatever the URL says.
            tls: bool,
            /// Certificates that sign the server's.
            tls_ca_file: std::path::PathBuf,
            /// One's own certificate, with `tls_key_file`.
            tls_cert_file: std::path::PathBuf,
            /// Its key.
            tls_key_file: std::path::PathBuf,
        }
    };
}

macro_rules! raw_access {
    ($($(#[$about:meta])* $key:ident: $type:ty,)*) => {
        /// The keys of `[nats]` that say how to connect, as they were written.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct RawAccess {
            $($(#[$about])* pub $key: Option<$type>,)*
        }
    };
}

access_keys!(raw_access);

/// How to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// One or more servers of one cluster, `nats://` or `tls://`.
    pub urls: Vec<String>,
    /// Who one is.
    pub credentials: Credentials,
    /// Whether to insist on TLS whatever the URL says.
    pub tls: bool,
    /// Certificates that sign the server's, if they are not public ones.
    pub tls_ca_file: Option<PathBuf>,
    /// One's own certificate and key.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
}

/// A key that cannot stand as it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nats.{key}: {problem}")]
pub struct AccessError {
    /// The key below `[nats]`.
    pub key: &'static str,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl Access {
    /// Servers without credentials.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            credentials: Credentials::None,
            tls: false,
            tls_ca_file: None,
            tls_identity: None,
        }
    }

    /// The servers as they may be shown, without what is secret in an address.
    pub fn shown(&self) -> String {
        without_user(&self.urls.join(","))
    }
}

impl RawAccess {
    /// Checks what belongs together and fills in the defaults.
    ///
    /// # Errors
    /// The key that is wrong.
    pub fn settle(self) -> Result<Access, AccessError> {
        let wrong = |key, problem: &str| Err(AccessError { key, problem: problem.to_owned() });
        let url = self.url.as_deref().unwrap_or(DEFAULT_URL);
        let urls = servers(url).map_err(|problem| AccessError { key: "url", problem })?;
        let one = "only one of credentials_file, nkey_file and user says who this is; remove the others";
        let credentials = match (self.credentials_file, self.nkey_file, self.user) {
            (None, None, None) => Credentials::None,
            (Some(path), None, None) => Credentials::File(path),
            (None, Some(path), None) => Credentials::NkeyFile(path),
            (None, None, Some(name)) => {
                let Some(password_file) = self.password_file.clone() else {
                    return wrong("user", "user needs password_file beside it; add it");
                };
                Credentials::User { name, password_file }
            }
            (_, Some(_), _) => return wrong("nkey_file", one),
            (_, _, Some(_)) => return wrong("user", one),
        };
        if self.password_file.is_some() && !matches!(credentials, Credentials::User { .. }) {
            return wrong("password_file", "password_file needs user beside it; add it");
        }
        let tls_identity = match (self.tls_cert_file, self.tls_key_file) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                return wrong("tls_cert_file", "tls_cert_file needs tls_key_file beside it; add it")
            }
            (None, Some(_)) => {
                return wrong("tls_key_file", "tls_key_file needs tls_cert_file beside it; add it")
            }
        };
        let (tls, tls_ca_file) = (self.tls.unwrap_or(false), self.tls_ca_file);
        Ok(Access { urls, credentials, tls, tls_ca_file, tls_identity })
    }

    /// The same with this nkey as all there is said of who one is: a command line's.
    #[must_use]
    pub fn with_nkey_file(self, path: Option<&Path>) -> Self {
        let Some(path) = path else { return self };
        Self {
            nkey_file: Some(path.to_owned()),
            credentials_file: None,
            user: None,
            password_file: None,
            ..self
        }
    }
}

/// The servers in a list separated by commas, or what is wrong with one.
pub fn servers(text: &str) -> Result<Vec<String>, String> {
    let urls: Vec<String> = text.split(',').map(|url| url.trim().to_owned()).collect();
    for url in &urls {
        let rest =
            ["nats://", "tls://", "ws://", "wss://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let host = rest.unwrap_or(url);
        let known = rest.is_some() || !url.contains("://");
        if host.is_empty() || !known || host.contains([' ', '/']) {
            return Err(format!(
                "{:?} is not a NATS address; write nats://host:4222 or tls://host:4222",
                without_user(url)
            ));
        }
    }
    Ok(urls)
}

/// What keeps a file from holding a secret: others than its owner may read or write it.
///
/// # Errors
/// One sentence that says how to mend it.
pub fn refuse_open_file(path: &Path, mode: u32) -> Result<(), String> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let (mode, path) = (mode & 0o777, path.display());
    Err(format!("its mode {mode:o} lets others at the secret in it; chmod 600 {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(change: impl FnOnce(&mut RawAccess)) -> RawAccess {
        let mut raw = RawAccess::default();
        change(&mut raw);
        raw
    }

    #[test]
    fn each_way_to_log_in_is_settled() {
        let login = |change: fn(&mut RawAccess)| raw(change).settle().unwrap().credentials;
        assert_eq!(login(|_| ()), Credentials::None);
        assert_eq!(login(|raw| raw.nkey_file = Some("n".into())), Credentials::NkeyFile("n".into()));
        assert_eq!(login(|raw| raw.credentials_file = Some("c".into())), Credentials::File("c".into()));
        let user = login(|raw| (raw.user, raw.password_file) = (Some("u".into()), Some("p".into())));
        assert_eq!(user, Credentials::User { name: "u".into(), password_file: "p".into() });
        assert_eq!(raw(|_| ()).settle().unwrap(), Access::new(DEFAULT_URL));
        let by_flag = raw(|raw| (raw.user, raw.password_file) = (Some("u".into()), Some("p".into())));
        let by_flag = by_flag.with_nkey_file(Some(Path::new("n"))).settle().unwrap();
        assert_eq!(by_flag.credentials, Credentials::NkeyFile("n".into()));
    }

    #[test]
    fn what_does_not_belong_together_is_refused_by_key() {
        type Change = fn(&mut RawAccess);
        let cases: [(Change, &str); 7] = [
            (|raw| raw.url = Some("http://h".into()), "url"),
            (|raw| (raw.nkey_file, raw.credentials_file) = (Some("n".into()), Some("c".into())), "nkey_file"),
            (|raw| (raw.user, raw.credentials_file) = (Some("u".into()), Some("c".into())), "user"),
            (|raw| raw.user = Some("u".into()), "user"),
            (|raw| raw.password_file = Some("p".into()), "password_file"),
            (|raw| raw.tls_cert_file = Some("c".into()), "tls_cert_file"),
            (|raw| raw.tls_key_file = Some("k".into()), "tls_key_file"),
        ];
        for (change, key) in cases {
            let error = raw(change).settle().unwrap_err();
            assert_eq!(error.key, key, "{error}");
        }
        let secret = raw(|raw| raw.url = Some("http://u:secret@h".into())).settle().unwrap_err();
        assert!(!secret.to_string().contains("secret"), "{secret}");
    }

    #[test]
    fn a_secret_is_its_owners_alone() {
        let path = Path::new("/etc/fettle/nats.nk");
        assert_eq!((refuse_open_file(path, 0o100_600), refuse_open_file(path, 0o400)), (Ok(()), Ok(())));
        for mode in [0o640, 0o604, 0o620, 0o644] {
            let refused = refuse_open_file(path, mode).unwrap_err();
            assert!(refused.ends_with("chmod 600 /etc/fettle/nats.nk"), "{refused}");
        }
    }
}
