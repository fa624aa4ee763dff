//! What supervised commands print: a file a replica, which the command itself holds open, so that it can
//! go on printing while the agent is away. Looked at each second: one that has grown too long is kept as
//! `.1` by its newest part and cut to nothing; the command writes at the end wherever that is (O_APPEND).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// From which size on a file is cut.
pub(super) const MOST_BYTES: u64 = 4 << 20;
/// What is kept of it.
const KEPT_BYTES: u64 = 1 << 20;

/// The file of a replica.
pub(super) fn path(dir: &Path, component: &str, replica: usize) -> PathBuf {
    dir.join(format!("{component}.{replica}.log"))
}

/// Opens it for a command to write at its end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Cuts it if it is too long; says whether it was.
pub(super) fn cut(path: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    let mut file = match options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let len = file.metadata()?.len();
    if len <= MOST_BYTES {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(len - KEPT_BYTES))?;
    let mut kept = Vec::with_capacity(KEPT_BYTES as usize);
    (&file).take(KEPT_BYTES).read_to_end(&mut kept)?;
    let mut options = OpenOptions::new();
    let old = path.with_extension("log.1");
    let old =
        options.write(true).create(true).truncate(true).mode(0o640).custom_flags(libc::O_NOFOLLOW).open(old);
    // The disk may be full: then the old part is lost, and the file is cut all the same.
    let written = old.and_then(|mut old| old.write_all(&kept));
    file.set_len(0)?;
    written.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_cut_while_its_writer_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "web", 0);
        let mut writer = open(&path).unwrap();
        assert!(!cut(&path).unwrap());
        let line = vec![b'x'; 1 << 20];
        for _ in 0..4 {
            writer.write_all(&line).unwrap();
        }
        assert!(!cut(&path).unwrap());
        writer.write_all(b"the end\n").unwrap();
        assert!(cut(&path).unwrap());
        writer.write_all(b"later\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"later\n");
        let old = std::fs::read(dir.path().join("web.0.log.1")).unwrap();
        assert_eq!(old.len() as u64, KEPT_BYTES);
        assert!(old.ends_with(b"the end\n"));
        assert!(!cut(&dir.path().join("none.0.log")).unwrap());
    }
}
