//! ClickHouse for the threads of a replay: each waits for its answer, the connections are shared.

use fettle_history::{Ask, AskError};
use tokio::runtime::Handle;

use crate::sql::Client;

/// A client that threads without a runtime of their own may ask.
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) runtime: Handle,
}

impl Ask for Asker {
    fn ask(&self, sql: &str, most_bytes: usize) -> Result<Vec<u8>, AskError> {
        let answer = self.runtime.block_on(self.client.bytes(sql, "ArrowStream", most_bytes));
        match answer {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(AskError::TooLarge { most_bytes }),
            Err(error) => Err(AskError::Failed(error.to_string())),
        }
    }
}
