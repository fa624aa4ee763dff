//! Time in slices, so that memory is bounded whatever is asked for: a slice is as long as its size allows.

use std::sync::Arc;

use fettle_shared::catalogue::Catalogue;

use crate::ask::{Ask, AskError, HistoryError};
use crate::bounds::Span;
use crate::rows::{FamilyRows, Table};
use crate::statement::{self, Level};
use crate::stored::Stored;

/// Bytes that the answers of one slice should come to.
const TARGET_BYTES: usize = 64 << 20;
/// Most bytes of one answer; a slice with a larger one is asked for in halves.
const MOST_BYTES: usize = 256 << 20;
/// Most bytes of the answer that says which families there are.
const SMALL: usize = 1 << 20;
/// Reductions a slice has at first, at least and at most: seconds of raw rows, windows of roll-ups.
const FIRST: u32 = 60;
const LEAST: u32 = 10;
const MOST: u32 = 600;

/// One host in a span of time.
#[derive(Debug)]
pub struct Slice {
    /// Which time.
    pub span: Span,
    /// What it was made from.
    pub level: Level,
    /// The families that have rows, by rising position in the catalogue.
    pub families: Vec<FamilyRows>,
    /// Bytes of the answers.
    pub bytes: usize,
}

/// One host's slices, in order of time.
pub struct Slices<'a> {
    ask: &'a dyn Ask,
    catalogue: &'static Catalogue,
    stored: &'a Stored,
    host: Arc<str>,
    parts: std::vec::IntoIter<(Span, Level)>,
    now: Option<(Span, Level)>,
    /// Positions of the families that have rows in the part that is being read.
    present: Vec<usize>,
    reductions: u32,
    failed: bool,
}

impl std::fmt::Debug for Slices<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slices").field("host", &self.host).field("now", &self.now).finish_non_exhaustive()
    }
}

impl<'a> Slices<'a> {
    /// The parts of time that are to be read ([`crate::Bounds::parts`]).
    pub fn new(
        ask: &'a dyn Ask,
        catalogue: &'static Catalogue,
        stored: &'a Stored,
        host: &str,
        parts: Vec<(Span, Level)>,
    ) -> Self {
        let (parts, present) = (parts.into_iter(), Vec::new());
        Self {
            ask,
            catalogue,
            stored,
            host: host.into(),
            parts,
            now: None,
            present,
            reductions: FIRST,
            failed: false,
        }
    }

    fn read(&mut self) -> Result<Option<Slice>, HistoryError> {
        loop {
            let (left, level) = match self.now.take() {
                Some(left) => left,
                None => {
                    let Some((part, level)) = self.parts.next() else { return Ok(None) };
                    self.present = self.present(part, level)?;
                    (part, level)
                }
            };
            let until = left.from.saturating_add(self.reductions * level.seconds()).min(left.until);
            let span = Span { from: left.from, until };
            let (families, bytes) = match self.families(span, level) {
                Ok(read) => read,
                Err(HistoryError::Ask(AskError::TooLarge { .. })) if self.reductions > LEAST => {
                    self.reductions = (self.reductions / 2).max(LEAST);
                    self.now = Some((left, level));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if until < left.until {
                self.now = Some((Span { from: until, until: left.until }, level));
            }
            let fitting = (u64::from(self.reductions) * TARGET_BYTES as u64 / bytes.max(1) as u64) as u32;
            self.reductions = fitting.clamp(LEAST, MOST).min(self.reductions * 4);
            return Ok(Some(Slice { span, level, families, bytes }));
        }
    }

    /// A host has rows of some families only, and the question for a slice of a wide one costs half a second even
    /// if the answer is empty.
    fn present(&self, part: Span, level: Level) -> Result<Vec<usize>, HistoryError> {
        let Some(sql) = statement::present(self.catalogue, self.stored, &self.host, part, level) else {
            return Ok(Vec::new());
        };
        let table = Table::read("families", self.ask.ask(&sql, SMALL)?)?;
        let positions = table.numbers(0)?;
        Ok(positions.into_iter().filter_map(|at| usize::try_from(at).ok()).collect())
    }

    fn families(&self, span: Span, level: Level) -> Result<(Vec<FamilyRows>, usize), HistoryError> {
        let (mut families, mut bytes) = (Vec::new(), 0);
        for &position in &self.present {
            let Some(family) = self.catalogue.families.get(position) else { continue };
            let Some(columns) = self.stored.columns(position, level) else { continue };
            let sql = statement::seconds(family, columns, &self.host, span, level);
            let answer = match self.ask.ask(&sql, MOST_BYTES) {
                Err(AskError::TooLarge { most_bytes }) if self.reductions <= LEAST => {
                    return Err(HistoryError::TooLarge {
                        family: family.name.clone(),
                        host: self.host.to_string(),
                        seconds: span.seconds(),
                        most_bytes,
                    });
                }
                answer => answer?,
            };
            bytes += answer.len();
            let rows = FamilyRows::read(position, family, columns, answer)?;
            if !rows.is_empty() {
                families.push(rows);
            }
        }
        Ok((families, bytes))
    }
}

impl Iterator for Slices<'_> {
    type Item = Result<Slice, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let read = self.read();
        self.failed = read.is_err();
        read.transpose()
    }
}
