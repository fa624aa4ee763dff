//! A row of the `self` family that the collector writes about itself. It is not part of any frame, so
//! it is not in the ledger and may be lost with the collector; agents' own rows travel in frames.

use fettle_shared::catalogue::Family;

use super::{raw_columns, NativeBlock, Store, StoreError};

impl Store {
    /// Inserts one row into `self`: `values` by metric name, all others NULL.
    pub async fn insert_own_row(
        &self,
        family: &Family,
        host: &str,
        now_us: i64,
        values: &[(&str, i64)],
    ) -> Result<(), StoreError> {
        let mut block = NativeBlock::new(&raw_columns(family));
        block.column(0).fill_text(host, 1);
        block.column(1).fill(now_us, 1);
        block.column(2).fill_text("collector", 1);
        for (at, metric) in family.metrics.iter().enumerate() {
            let column = block.column(3 + at);
            match values.iter().find(|(name, _)| *name == metric.name) {
                Some((_, value)) => column.fill(*value, 1),
                None if metric.optional => column.fill_null(1),
                None => column.fill(0, 1),
            }
        }
        let token = format!("self:{host}:collector:{now_us}");
        self.insert_block(&family.name, &block.finish(), &token).await
    }
}
