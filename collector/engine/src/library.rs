//! Where libchdb.so is looked for, and loading it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::binding::Api;
use crate::errors::EngineError;

/// The places looked at, in order: `$FETTLE_LIBCHDB` alone when it is set; else beside the
/// executable, in its sibling `lib/fettle`, in the user's cache, and in the system's directories.
fn places() -> Vec<PathBuf> {
    if let Some(file) = std::env::var_os("FETTLE_LIBCHDB") {
        return vec![PathBuf::from(file)];
    }
    let mut places = Vec::new();
    if let Some(directory) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(directory.join("libchdb.so"));
        places.push(directory.join("../lib/fettle/libchdb.so"));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    places.extend(cache.map(|cache| cache.join("fettle/lib/libchdb.so")));
    places.push(PathBuf::from("/usr/lib/fettle/libchdb.so"));
    places.push(PathBuf::from("/usr/local/lib/libchdb.so"));
    places
}

/// The library's file: `given`, or the first of the usual places that exists.
///
/// # Errors
/// [`EngineError::LibraryMissing`] with the places looked at.
pub fn find_library(given: Option<&Path>) -> Result<PathBuf, EngineError> {
    let places = given.map_or_else(places, |file| vec![file.to_owned()]);
    match places.iter().find(|place| place.is_file()) {
        Some(found) => Ok(found.clone()),
        None => {
            let searched: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            Err(EngineError::LibraryMissing { searched: searched.join(", ") })
        }
    }
}

/// Loads the library and says its version: what `fettle doctor` asks.
///
/// # Errors
/// [`EngineError::LibraryUnusable`] when the file is not a libchdb that this program can use.
pub fn library_version(path: &Path) -> Result<String, EngineError> {
    load(path).map(|api| api.version())
}

pub(crate) fn load(path: &Path) -> Result<Arc<Api>, EngineError> {
    Api::load(path).map_err(|reason| EngineError::LibraryUnusable { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_names_the_remedy() {
        let error = find_library(Some(Path::new("/nonexistent/libchdb.so"))).unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent/libchdb.so") && error.contains("deploy/up --setup-only"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = library_version(file.path()).unwrap_err().to_string();
        assert!(error.contains("could not be loaded as libchdb"), "{error}");
    }
}
