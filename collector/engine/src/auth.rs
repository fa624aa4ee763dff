//! Who asks: the open reader `default`, or the writer `fettle` with its password.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;

use crate::config::create_directory;
use crate::errors::EngineError;
use crate::exception::{code, Exception};

/// The writer's name.
pub(crate) const WRITER: &str = "fettle";

/// The two users there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum User {
    /// `default`: no password, reads only, reaches neither files nor network.
    Reader,
    /// `fettle`: may change tables and data.
    Writer,
}

/// A name and password as a request gives them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Credentials {
    /// User name; empty means `default`.
    pub(crate) user: String,
    /// Password; empty means none.
    pub(crate) password: String,
}

impl Credentials {
    /// From the value of an `Authorization` header.
    pub(crate) fn from_basic(header: &str) -> Option<Self> {
        let (scheme, encoded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Self { user: user.to_owned(), password: password.to_owned() })
    }
}

/// Decides who a request is from.
pub(crate) fn authenticate(credentials: &Credentials, writer_password: &str) -> Result<User, Exception> {
    match credentials.user.as_str() {
        "" | "default" if credentials.password.is_empty() => Ok(User::Reader),
        WRITER if same(credentials.password.as_bytes(), writer_password.as_bytes()) => Ok(User::Writer),
        name => Err(Exception::new(
            code::AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            format_args!(
                "{}: Authentication failed: password is incorrect, or there is no user with such name",
                if name.is_empty() { "default" } else { name }
            ),
        )),
    }
}

/// Compares without telling by its time where the difference is.
fn same(given: &[u8], right: &[u8]) -> bool {
    let length = u8::from(given.len() != right.len());
    let difference = given.iter().zip(right.iter().cycle()).fold(length, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// Reads the writer's password; the first time, makes a random one that only this user can read.
pub(crate) fn writer_password(path: &Path) -> Result<String, EngineError> {
    let file_error = |source| EngineError::File { path: path.to_owned(), source };
    match private_text(path) {
        Ok(text) if text.trim().len() >= 16 => return Ok(text.trim().to_owned()),
        Ok(_) => {
            return Err(file_error(std::io::Error::other(
                "the writer's password is missing or shorter than 16",
            )))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error(error)),
    }
    if let Some(directory) = path.parent() {
        create_directory(directory)?;
    }
    let password = random_password().map_err(file_error)?;
    // Written aside and renamed, so that no start ever reads half a password.
    let aside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&aside).map_err(file_error)?;
    file.write_all(format!("{password}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(file_error)?;
    std::fs::rename(&aside, path).map_err(file_error)?;
    Ok(password)
}

/// The text of a file that nobody but its owner may read or write: whoever has it may change everything here.
fn private_text(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let words =
            format!("its mode {mode:o} lets others at the password in it; chmod 600 {}", path.display());
        return Err(std::io::Error::other(words));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// 32 bytes of the kernel's randomness as hexadecimal digits.
fn random_password() -> std::io::Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn only_the_right_password_makes_a_writer() {
        assert_eq!(authenticate(&credentials("", ""), "secret").unwrap(), User::Reader);
        assert_eq!(authenticate(&credentials("default", ""), "secret").unwrap(), User::Reader);
        assert_eq!(authenticate(&credentials("fettle", "secret"), "secret").unwrap(), User::Writer);
        for (user, password) in
            [("fettle", ""), ("fettle", "secre"), ("fettle", "secrets"), ("default", "x"), ("root", "")]
        {
            assert_eq!(authenticate(&credentials(user, password), "secret").unwrap_err().code, 516);
        }
    }

    #[test]
    fn basic_authorization_is_read() {
        let read = Credentials::from_basic("Basic ZmV0dGxlOmE6Yg==").unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("fettle", "a:b"));
        assert!(Credentials::from_basic("Bearer x").is_none());
    }

    #[test]
    fn the_password_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deeper/writer.password");
        let first = writer_password(&path).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(writer_password(&path).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o644, 0o640, 0o606] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(writer_password(&path).unwrap_err().to_string().contains("chmod 600"), "{mode:o}");
        }
    }
}
