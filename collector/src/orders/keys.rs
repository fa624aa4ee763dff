//! The key that orders are signed with: made on the first start, kept in the collector's state directory,
//! readable by its owner alone. Its public half stands in the hosts' files.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use fettle_shared::command::Order;
use fettle_shared::{seal, signing};

use super::OrdersError;
use crate::secret_file;

/// The secret key. Never shown, not even for debugging.
#[derive(Clone)]
pub struct SigningKey(Arc<signing::Signer>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey(public {})", self.public())
    }
}

impl SigningKey {
    /// Reads the key, or makes one when there is no file.
    ///
    /// # Errors
    /// The file cannot be read or written, others may read it, or it holds no key.
    pub fn open(path: &Path) -> Result<Self, OrdersError> {
        let fail = |cause: String| OrdersError::Key { path: path.to_owned(), cause };
        match secret_file::read_if_there(path).map_err(fail)? {
            Some(text) => {
                let key = signing::Signer::from_text(text.trim()).map_err(|e| fail(e.to_string()))?;
                Ok(Self(Arc::new(key)))
            }
            None => Self::make(path),
        }
    }

    fn make(path: &Path) -> Result<Self, OrdersError> {
        let fail = |e: std::io::Error| OrdersError::Key { path: path.to_owned(), cause: e.to_string() };
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut seed)).map_err(fail)?;
        let key = signing::Signer::from_seed(&seed);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
        writeln!(file, "{}", key.secret_text()).and_then(|()| file.sync_all()).map_err(fail)?;
        Ok(Self(Arc::new(key)))
    }

    /// The public key, 64 hexadecimal digits: what a host's file trusts.
    pub fn public(&self) -> String {
        signing::key_to_text(&self.0.public())
    }

    /// The same as bytes.
    pub(super) fn public_bytes(&self) -> [u8; 32] {
        self.0.public()
    }

    /// A state under this key's seal.
    pub(super) fn seal_state(&self, place: &str, number: u64, body: &[u8]) -> Vec<u8> {
        seal::seal(&self.0, place, number, body)
    }

    /// A signed order as it travels.
    pub(super) fn seal(&self, order: &Order) -> Result<Vec<u8>, String> {
        let signed = self.0.sign(order).map_err(|e| e.to_string())?;
        Ok(signing::write(&signed))
    }
}
