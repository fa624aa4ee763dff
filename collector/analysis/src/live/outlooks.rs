//! What looks ahead say of one host, as its health score counts it: until when it holds, and that time goes on
//! between two looks.

use serde::{Deserialize, Serialize};

use crate::forecast::{Resource, LIKELY};
use crate::health::Outlook;
use crate::outlook::OutlookRow;

/// What others say of the host's future.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Outlooks {
    /// When memory is expected to run out.
    pub memory: Outlook,
    /// When the first file system is expected to be full, in bytes or inodes.
    pub disk: Outlook,
    /// The highest predicted probability that a component fails.
    pub failure_risk: Option<f64>,
    /// When it was said, seconds since 1970: the times above count from there.
    pub said_at: u32,
    /// Until when it holds, seconds since 1970.
    pub until: u32,
}

impl Outlooks {
    /// What the rows of one host come to: the first end that is more likely than not. A resource without a row
    /// is not known.
    #[must_use]
    pub fn of<'a>(
        rows: impl IntoIterator<Item = &'a OutlookRow>,
        failure_risk: Option<f64>,
        said_at: u32,
        until: u32,
    ) -> Self {
        let mut outlooks = Self { failure_risk, said_at, until, ..Self::default() };
        for row in rows {
            let end = match row.resource {
                Resource::Memory => &mut outlooks.memory,
                Resource::Disk | Resource::Inodes => &mut outlooks.disk,
                _ => continue,
            };
            let likely = row.exhaustion.filter(|end| end.probability >= LIKELY).map(|end| end.eta_s);
            *end = match (*end, likely) {
                (Outlook::In(sooner), Some(eta_s)) => Outlook::In(sooner.min(eta_s)),
                (Outlook::In(sooner), None) => Outlook::In(sooner),
                (_, Some(eta_s)) => Outlook::In(eta_s),
                (_, None) => Outlook::NotExpected,
            };
        }
        outlooks
    }

    /// What of it holds at a second; nothing once it is too old.
    pub(super) fn at(&self, second: u32) -> Self {
        if second > self.until {
            return Self::default();
        }
        let elapsed_s = f64::from(second.saturating_sub(self.said_at));
        let nearer = |outlook: Outlook| match outlook {
            Outlook::In(seconds) => Outlook::In((seconds - elapsed_s).max(0.0)),
            other => other,
        };
        Self { memory: nearer(self.memory), disk: nearer(self.disk), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Exhaustion;

    fn row(resource: Resource, end: Option<(f64, f64)>) -> OutlookRow {
        let exhaustion =
            end.map(|(eta_s, probability)| Exhaustion { eta_s, low_s: eta_s, high_s: eta_s, probability });
        OutlookRow {
            host: "web-1".into(),
            resource,
            entity: String::new(),
            metric: String::new(),
            used: 1.0,
            capacity: 2.0,
            horizon_s: 900.0,
            exhaustion,
            words: String::new(),
        }
    }

    #[test]
    fn the_first_likely_end_counts_and_improbable_ones_do_not() {
        let rows = [
            row(Resource::Disk, Some((500.0, 0.9))),
            row(Resource::Disk, Some((100.0, 0.2))),
            row(Resource::Inodes, Some((300.0, 0.6))),
            row(Resource::Memory, None),
            row(Resource::ProcessMemory, Some((10.0, 1.0))),
        ];
        let all = Outlooks::of(&rows, Some(0.3), 1_000, 1_180);
        assert_eq!((all.disk, all.memory), (Outlook::In(300.0), Outlook::NotExpected));
        assert_eq!(Outlooks::of(&rows[4..], None, 0, 0).disk, Outlook::Unknown);
    }

    #[test]
    fn time_goes_on_and_old_words_are_forgotten() {
        let said = Outlooks::of(&[row(Resource::Disk, Some((120.0, 0.9)))], Some(0.3), 1_000, 1_180);
        assert_eq!(said.at(1_050).disk, Outlook::In(70.0));
        assert_eq!(said.at(1_150).disk, Outlook::In(0.0));
        assert_eq!(said.at(1_181), Outlooks::default());
    }
}
