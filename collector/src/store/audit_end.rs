//! Where the audit ends, and whether everything was frozen then: what operations go on from when their saved
//! state is lost. Everything else of that state is found again by itself or has to be said again.

use fettle_decide::audit::Head;
use fettle_decide::operator::Freeze;
use serde::Deserialize;

use super::{Store, StoreError};

#[derive(Deserialize)]
struct HeadRow {
    seq: u64,
    hash: String,
}

#[derive(Deserialize)]
struct FreezeRow {
    kind: String,
    who: String,
    at_us: i64,
}

impl Store {
    /// The newest record of the audit's chain, and the freeze that nobody has ended; none when there is no
    /// record.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn audit_end(&self) -> Result<Option<(Head, Option<Freeze>)>, StoreError> {
        let table = self.place().asked("audit");
        let newest = format!("SELECT seq, hash FROM {table} ORDER BY seq DESC LIMIT 1");
        let newest: Vec<HeadRow> = self.select(&newest).await?;
        let Some(HeadRow { seq, hash }) = newest.into_iter().next() else { return Ok(None) };
        let word = format!(
            "SELECT toString(kind) AS kind, toString(who) AS who, at_us FROM {table} \
             WHERE kind IN ('frozen', 'thawed') ORDER BY seq DESC LIMIT 1"
        );
        let word: Vec<FreezeRow> = self.select(&word).await?;
        let why = "frozen before the saved state was lost".to_owned();
        let freeze = word.into_iter().find(|row| row.kind == "frozen").map(|row| Freeze {
            who: row.who,
            why,
            at_us: row.at_us,
        });
        Ok(Some((Head { seq, hash }, freeze)))
    }
}
