//! Files with secrets: the key that signs, the token of the HTTP interface, passwords, logins. They are read only
//! where nobody but their owner may read them.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fettle_shared::access::refuse_open_file;

/// Longest secret.
const MOST_BYTES: u64 = 64 << 10;

/// The text of the file, without the ends of lines behind it.
///
/// # Errors
/// It cannot be read, or others may read it: one clause that says how to mend it.
pub fn read(path: &Path) -> Result<String, String> {
    read_if_there(path)?.ok_or_else(|| "there is no such file".to_owned())
}

/// The same; none when there is no file.
///
/// # Errors
/// As [`read`].
pub fn read_if_there(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mode = file.metadata().map_err(|e| e.to_string())?.permissions().mode();
    refuse_open_file(path, mode)?;
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(|e| e.to_string())?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_secret_is_read_where_only_its_owner_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.token");
        assert_eq!(read_if_there(&path), Ok(None));
        assert!(read(&path).unwrap_err().contains("no such file"));
        std::fs::write(&path, "secret \n").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o622] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(read(&path).unwrap_err().contains("chmod 600 "), "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path), Ok("secret ".to_owned()));
    }
}
