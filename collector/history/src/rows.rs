//! Answers in Arrow's stream format, read by polars: columns of integers and texts.

use std::io::Cursor;

use fettle_analysis::second::{KeyValue, RawCell};
use fettle_shared::catalogue::{EntityType, Family};
use fettle_shared::frame::Reduction;
use polars_core::prelude::{DataFrame, StringChunked};
use polars_io::ipc::IpcStreamReader;
use polars_io::SerReader as _;

use crate::ask::HistoryError;
use crate::statement::{LEADING, PARTS};
use crate::stored::Columns;

/// An answer.
#[derive(Debug)]
pub(crate) struct Table {
    what: String,
    frame: DataFrame,
}

impl Table {
    /// Reads an answer about `what`.
    pub(crate) fn read(what: impl Into<String>, answer: Vec<u8>) -> Result<Self, HistoryError> {
        let what = what.into();
        match IpcStreamReader::new(Cursor::new(answer)).finish() {
            Ok(frame) => Ok(Self { what, frame }),
            Err(error) => Err(HistoryError::Answer { what, cause: error.to_string() }),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.frame.height()
    }

    pub(crate) fn width(&self) -> usize {
        self.frame.width()
    }

    /// A column of Int64 without NULLs.
    pub(crate) fn numbers(&self, at: usize) -> Result<Vec<i64>, HistoryError> {
        let column = self.frame.columns().get(at).ok_or_else(|| self.bad(at, "is missing"))?;
        let numbers = column.i64().map_err(|error| self.bad(at, &error.to_string()))?;
        numbers.cont_slice().map(<[i64]>::to_vec).map_err(|error| self.bad(at, &error.to_string()))
    }

    /// A column of texts.
    pub(crate) fn texts(&self, at: usize) -> Result<StringChunked, HistoryError> {
        let column = self.frame.columns().get(at).ok_or_else(|| self.bad(at, "is missing"))?;
        column.str().cloned().map_err(|error| self.bad(at, &error.to_string()))
    }

    fn bad(&self, at: usize, cause: &str) -> HistoryError {
        HistoryError::Answer { what: self.what.clone(), cause: format!("column {at}: {cause}") }
    }
}

#[derive(Debug)]
enum Key {
    Number(Vec<i64>),
    Text(StringChunked),
}

/// One family's seconds of one host: a row a second and entity, ordered by second, then by key.
#[derive(Debug)]
pub struct FamilyRows {
    /// Position of the family in the catalogue.
    pub family: usize,
    seconds: Vec<i64>,
    samples: Vec<i64>,
    last_us: Vec<i64>,
    keys: Vec<Key>,
    /// Of each metric: minimum, maximum, sum, last, and the count if it is optional; nothing of one without columns.
    parts: Vec<Vec<Vec<i64>>>,
}

impl FamilyRows {
    /// Reads the answer to [`crate::statement::seconds`].
    ///
    /// # Errors
    /// When the answer is not of that form.
    pub(crate) fn read(
        position: usize,
        family: &Family,
        columns: &Columns,
        answer: Vec<u8>,
    ) -> Result<Self, HistoryError> {
        let table = Table::read(&family.name, answer)?;
        let widths: Vec<usize> = family
            .metrics
            .iter()
            .enumerate()
            .map(|(at, metric)| if columns.has(at) { PARTS + usize::from(metric.optional) } else { 0 })
            .collect();
        let first_metric = LEADING + family.entity.len();
        let width = first_metric + widths.iter().sum::<usize>();
        if table.width() != width {
            let cause = format!("{} columns instead of {width}", table.width());
            return Err(HistoryError::Answer { what: family.name.clone(), cause });
        }
        let mut at = first_metric;
        let mut parts = Vec::with_capacity(family.metrics.len());
        for width in widths {
            let end = at + width;
            parts.push((at..end).map(|column| table.numbers(column)).collect::<Result<_, _>>()?);
            at = end;
        }
        let key = |(at, kind)| match kind {
            EntityType::Text => table.texts(LEADING + at).map(Key::Text),
            _ => table.numbers(LEADING + at).map(Key::Number),
        };
        let keys =
            family.entity.iter().map(|entity| entity.kind).enumerate().map(key).collect::<Result<_, _>>()?;
        Ok(Self {
            family: position,
            seconds: table.numbers(0)?,
            samples: table.numbers(1)?,
            last_us: table.numbers(2)?,
            keys,
            parts,
        })
    }

    /// Rows in it.
    pub fn len(&self) -> usize {
        self.seconds.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// The second of a row, since 1970.
    pub fn second(&self, row: usize) -> u32 {
        self.seconds[row] as u32
    }

    /// Samples of each metric in a row that is not optional.
    pub fn samples(&self, row: usize) -> u32 {
        self.samples[row] as u32
    }

    /// Time of the last sample of a row, µs since 1970.
    pub fn last_us(&self, row: usize) -> i64 {
        self.last_us[row]
    }

    /// The entity of a row.
    pub fn key(&self, row: usize) -> Box<[KeyValue]> {
        let value = |key: &Key| match key {
            Key::Number(numbers) => KeyValue::Int(numbers[row] as u64),
            Key::Text(texts) => KeyValue::Text(texts.get(row).unwrap_or_default().into()),
        };
        self.keys.iter().map(value).collect()
    }

    /// The metrics of a row, in the catalogue's order.
    pub fn cells(&self, row: usize) -> impl Iterator<Item = RawCell> + '_ {
        let samples = self.samples(row);
        self.parts.iter().map(move |parts| match parts.as_slice() {
            [min, max, sum, last, counts @ ..] => RawCell {
                reduction: Reduction { min: min[row], max: max[row], sum: sum[row], last: last[row] },
                count: counts.first().map_or(samples, |counts| counts[row] as u32),
            },
            _ => RawCell::NONE,
        })
    }
}
