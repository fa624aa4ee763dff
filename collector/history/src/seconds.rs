//! A slice, second by second: the families merged by time.

use fettle_analysis::second::{KeyValue, RawCell, RawEntity, RawFamily, RawSecond};

use crate::rows::FamilyRows;
use crate::slices::Slice;

/// Keys and cells of one family in one second; a [`RawSecond`] borrows them.
#[derive(Debug, Default)]
struct Share {
    family: usize,
    keys: Vec<Box<[KeyValue]>>,
    last_us: Vec<i64>,
    /// Entity by entity, one a metric.
    cells: Vec<RawCell>,
}

impl Share {
    /// Takes in the rows of the second at which the family stands, and steps past them.
    fn fill(&mut self, rows: &FamilyRows, second: u32, at: &mut usize) {
        self.family = rows.family;
        while *at < rows.len() && rows.second(*at) == second {
            self.keys.push(rows.key(*at));
            self.last_us.push(rows.last_us(*at));
            self.cells.extend(rows.cells(*at));
            *at += 1;
        }
    }

    fn family(&self) -> RawFamily<'_> {
        let width = self.cells.len() / self.keys.len().max(1);
        let entities = self.keys.iter().zip(&self.last_us).enumerate().map(|(at, (key, last_us))| {
            RawEntity { key, last_us: *last_us, cells: &self.cells[at * width..(at + 1) * width] }
        });
        RawFamily { family: self.family, entities: entities.collect() }
    }
}

impl Slice {
    /// Gives each second of the host in order of time; seconds without a sample are left out.
    pub fn for_each_second(&self, host: &str, mut take: impl FnMut(&RawSecond<'_>)) {
        let mut places = vec![0; self.families.len()];
        loop {
            let standing = self.families.iter().zip(&places).filter(|(rows, at)| **at < rows.len());
            let Some(second) = standing.map(|(rows, at)| rows.second(*at)).min() else { return };
            let mut shares = Vec::with_capacity(self.families.len());
            for (rows, at) in self.families.iter().zip(&mut places) {
                let mut share = Share::default();
                share.fill(rows, second, at);
                if !share.keys.is_empty() {
                    shares.push(share);
                }
            }
            take(&RawSecond { host, second, families: shares.iter().map(Share::family).collect() });
        }
    }
}
