//! Whose states are taken and how this collector signs its own: with the key that signs its orders. The highest
//! number seen of each place is kept in the state directory, so that an older state that is put back is known
//! even by a collector that was started anew.

use std::path::{Path, PathBuf};

use fettle_shared::seal::{self, Opened, SealError};

use super::SigningKey;

/// Signs states and opens those of collectors that are trusted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Seals {
    key: SigningKey,
    trusted: Vec<[u8; 32]>,
    dir: PathBuf,
}

impl Seals {
    /// Seals of this key; states of `others` are taken too. Numbers seen are kept in `dir`.
    pub fn new(key: SigningKey, others: &[[u8; 32]], dir: &Path) -> Self {
        let mut trusted = vec![key.public_bytes()];
        trusted.extend_from_slice(others);
        Self { key, trusted, dir: dir.to_owned() }
    }

    /// The key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(super) fn seal(&self, place: &str, number: u64, body: &[u8]) -> Vec<u8> {
        self.key.seal_state(place, number, body)
    }

    pub(super) fn open<'a>(&self, bytes: &'a [u8], place: &str, floor: u64) -> Result<Opened<'a>, SealError> {
        seal::open(bytes, place, &self.trusted, floor)
    }

    /// The highest number seen of the state of this name; 0: none yet.
    pub(super) fn seen(&self, name: &str) -> u64 {
        std::fs::read_to_string(self.file(name)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Notes a number. Without it the next start takes an older state for the newest: said, and no more than that.
    pub(super) fn note(&self, name: &str, number: u64) {
        let (path, aside) = (self.file(name), self.file(&format!("{name}.new")));
        let written =
            std::fs::write(&aside, format!("{number}\n")).and_then(|()| std::fs::rename(&aside, &path));
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "the number of the newest state cannot be kept");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("seen.{name}"))
    }
}
