//! What is on the disk below a directory, so that a test can say that nothing of it was changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Everything below a directory: what it is, its mode, its times, its content.
pub fn tree(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if metadata.is_symlink() {
            format!("to {}", std::fs::read_link(&path).unwrap().display())
        } else {
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
        };
        let times = (metadata.mtime(), metadata.mtime_nsec());
        let name = path.strip_prefix(directory).unwrap().display().to_string();
        found.insert(name, format!("{:o} {} {times:?} {content}", metadata.mode(), metadata.ino()));
    }
    found
}
