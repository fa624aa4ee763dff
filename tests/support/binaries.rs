//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// One of Fettle's binaries: `$FETTLE_BIN_DIR`, else the directory that this test was built into.
pub fn fettle(name: &str) -> PathBuf {
    let dir = std::env::var_os("FETTLE_BIN_DIR").map_or_else(target_dir, PathBuf::from);
    let path = dir.join(name);
    assert!(path.is_file(), "{} is not there; build the workspace's binaries first", path.display());
    path
}

/// `target/debug` of `target/debug/deps/test-0123`.
fn target_dir() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own path");
    let dir = own.parent().expect("a file is in a directory");
    if dir.ends_with("deps") {
        dir.parent().expect("deps is in the target directory").to_owned()
    } else {
        dir.to_owned()
    }
}

/// Where the scripts in `deploy/` put what they fetch and make.
pub fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    cache.map(|cache| cache.join("fettle"))
}

/// nats-server, where `deploy/setup` puts it or the system has it.
pub fn nats_server() -> PathBuf {
    if let Some(path) = std::env::var_os("FETTLE_NATS_SERVER") {
        return PathBuf::from(path);
    }
    let installed = cache().map(|cache| cache.join("bin/nats-server"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    installed
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join("nats-server")))
        .find(|path| path.is_file())
        .expect("nats-server is not there; run deploy/setup first")
}
