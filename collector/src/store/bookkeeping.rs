//! Questions and orders of the pipeline that concern frames as a whole.

use super::{Agents, FrameEntry, RollupEntry, Store, StoreError};

impl Store {
    /// Per agent, the time of its newest stored sample (µs since 1970 UTC).
    pub async fn newest_samples(&self, agents: Agents<'_>) -> Result<Vec<(String, i64)>, StoreError> {
        let _ = agents;
        super::unbuilt()
    }

    /// Deletes whatever rows of these frames reached the raw tables.
    pub async fn delete_frames(&self, frames: &[FrameEntry]) -> Result<(), StoreError> {
        let _ = frames;
        super::unbuilt()
    }

    /// Writes down that windows are made for all families.
    pub async fn log_rollups(&self, entries: &[RollupEntry]) -> Result<(), StoreError> {
        for entry in entries {
            self.log_rollup(entry).await?;
        }
        Ok(())
    }
}
