//! Which paths the host's file may name. A path is judged by its words alone, without looking at the
//! disk; whoever acts on it later must still not follow links out of it.

use std::path::{Component, Path, PathBuf};

/// Directories that, with all below them, belong to the system.
const SYSTEM: [&str; 11] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr"];
/// Directories that hold what belongs to others; what is below them may be named.
const SHARED: [&str; 14] = [
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/var",
    "/var/lib",
    "/var/run",
    "/var/spool",
    "/var/cache",
    "/var/lib/docker",
];

/// The path without `.` and doubled slashes, or why it cannot be used.
pub(super) fn absolute(name: &str, path: &Path) -> Result<PathBuf, String> {
    if !path.is_absolute() {
        return Err(format!("{name} is {path:?}; write an absolute path"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{name} is {path:?}; write it without «..»"));
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(format!("{name} is {path:?}; write it without a zero byte"));
    }
    Ok(path.components().collect())
}

/// A directory in which files may be deleted.
pub(super) fn clean_up_root(name: &str, path: &Path) -> Result<PathBuf, String> {
    let path = absolute(name, path)?;
    if is_shared(&path) || is_system(&path) {
        return Err(format!(
            "{name} is {path:?}, where others keep their files; name a directory of the component's own below it"
        ));
    }
    Ok(path)
}

/// An entry whose owner, mode or content may be changed.
pub(super) fn own_entry(name: &str, path: &Path) -> Result<PathBuf, String> {
    let path = absolute(name, path)?;
    let kernels = ["/proc", "/sys", "/dev"].iter().any(|root| path.starts_with(root));
    let top = SYSTEM.iter().any(|root| path == Path::new(root));
    if kernels || top || is_shared(&path) {
        return Err(format!(
            "{name} is {path:?}, which belongs to the system; name an entry of the component's own"
        ));
    }
    Ok(path)
}

fn is_shared(path: &Path) -> bool {
    SHARED.iter().any(|root| path == Path::new(root))
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|root| path.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_directories_are_refused_however_they_are_written() {
        for bad in [
            "/",
            "//",
            "/.",
            "/etc",
            "/etc/",
            "/etc/nginx",
            "/usr/./local",
            "/var",
            "/var/lib/",
            "/proc/1",
            "/boot",
            "/home",
        ] {
            assert!(clean_up_root("root", Path::new(bad)).is_err(), "{bad}");
        }
        for bad in ["tmp", "/var/log/../../etc", "", "/tmp/\0"] {
            assert!(absolute("root", Path::new(bad)).is_err(), "{bad:?}");
        }
        for (good, plain) in
            [("/var/log/web/", "/var/log/web"), ("/srv//web/./tmp", "/srv/web/tmp"), ("/tmp", "/tmp")]
        {
            assert_eq!(clean_up_root("root", Path::new(good)), Ok(PathBuf::from(plain)));
        }
        assert!(
            own_entry("path", Path::new("/etc")).is_err()
                && own_entry("path", Path::new("/dev/sda")).is_err()
        );
        assert!(own_entry("path", Path::new("/etc/web.conf")).is_ok());
    }
}
