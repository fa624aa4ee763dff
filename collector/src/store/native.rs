//! The writer of ClickHouse's Native format: one block, column by column, into buffers that are kept
//! from block to block. In steady state nothing is allocated but the list of pieces.
//!
//! A block is: number of columns and rows (varints), then per column its name, its type (in the binary
//! form that `input_format_native_decode_types_in_binary_format` asks for) and its values, fixed-width ones little-endian side by side. A Nullable column has a byte a row in front
//! (1: NULL). A LowCardinality column has its dictionary and an index a row. Columns are matched to
//! the table's by name, and one the table has and the block has not is filled with its default.

use std::collections::HashMap;

use bytes::Bytes;
use fettle_shared::catalogue::ValueType;

/// Columns larger than this are handed on as they are; smaller ones are gathered into one piece.
const BIG_BYTES: usize = 32 << 10;

/// One column of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    /// Column name.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
}

impl ColumnSpec {
    pub(super) fn new(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self { name: name.into(), kind }
    }
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

impl ColumnKind {
    /// The type as ClickHouse writes it.
    pub fn sql(self) -> String {
        match self {
            Self::Metric { value, nullable: true, .. } => format!("Nullable({})", sql_type(value)),
            Self::Metric { value, nullable: false, .. } => sql_type(value).into(),
            Self::U16 => "UInt16".into(),
            Self::U32 => "UInt32".into(),
            Self::U64 => "UInt64".into(),
            Self::I8 => "Int8".into(),
            Self::Text => "LowCardinality(String)".into(),
            Self::Micros => "DateTime64(6, 'UTC')".into(),
            Self::Seconds => "DateTime('UTC')".into(),
        }
    }

    /// The type in its binary form: ClickHouse, «Data types binary encoding specification».
    fn put_binary(self, out: &mut Vec<u8>) {
        const ZONE: &[u8] = b"\x03UTC";
        match self {
            Self::Metric { value, nullable, .. } => {
                if nullable {
                    out.push(0x23);
                }
                out.push(match value {
                    ValueType::U8 => 0x01,
                    ValueType::U16 => 0x02,
                    ValueType::U32 => 0x03,
                    ValueType::U64 => 0x04,
                    ValueType::I32 => 0x09,
                    ValueType::I64 => 0x0a,
                    ValueType::F32 => 0x0d,
                    ValueType::F64 => 0x0e,
                });
            }
            Self::U16 => out.push(0x02),
            Self::U32 => out.push(0x03),
            Self::U64 => out.push(0x04),
            Self::I8 => out.push(0x07),
            Self::Text => out.extend_from_slice(&[0x26, 0x15]),
            Self::Micros => {
                out.extend_from_slice(&[0x14, 6]);
                out.extend_from_slice(ZONE);
            }
            Self::Seconds => {
                out.push(0x12);
                out.extend_from_slice(ZONE);
            }
        }
    }

    fn nullable(self) -> bool {
        matches!(self, Self::Metric { nullable: true, .. })
    }
}

/// A metric's storage type as ClickHouse writes it.
pub(super) fn sql_type(value: ValueType) -> &'static str {
    match value {
        ValueType::U8 => "UInt8",
        ValueType::U16 => "UInt16",
        ValueType::U32 => "UInt32",
        ValueType::U64 => "UInt64",
        ValueType::I32 => "Int32",
        ValueType::I64 => "Int64",
        ValueType::F32 => "Float32",
        ValueType::F64 => "Float64",
    }
}

/// A block under construction; cleared and used again for the next one.
#[derive(Debug)]
pub struct NativeBlock {
    columns: Vec<Column>,
    /// Which column's buffer each piece of the last body was, if any.
    lent: Vec<Option<usize>>,
}

/// One column under construction.
#[derive(Debug)]
pub struct Column {
    /// Name and type as they stand in the block.
    head: Vec<u8>,
    kind: ColumnKind,
    width: usize,
    data: Vec<u8>,
    nulls: Vec<u8>,
    text: Option<Dictionary>,
}

/// A LowCardinality column: every distinct text once, and runs of positions.
#[derive(Debug, Default)]
struct Dictionary {
    positions: HashMap<Box<str>, u32>,
    keys: Vec<u8>,
    runs: Vec<(u32, u32)>,
    rows: usize,
    /// Position of the text that was appended last, to skip the look-up for a run in pieces.
    last: Option<(Box<str>, u32)>,
}

impl NativeBlock {
    /// A block with these columns, empty.
    pub fn new(columns: &[ColumnSpec]) -> Self {
        Self { columns: columns.iter().map(Column::new).collect(), lent: Vec::new() }
    }

    /// The columns, in the order of the specification.
    pub fn column(&mut self, index: usize) -> &mut Column {
        &mut self.columns[index]
    }

    /// Closes the block: the pieces of the body, in order, big columns not copied.
    /// The block is empty afterwards; [`NativeBlock::recycle`] gives it its buffers back.
    ///
    /// # Panics
    /// When the columns do not have the same number of rows, which is a mistake of the caller.
    pub fn finish(&mut self) -> Vec<Bytes> {
        let rows = self.columns.first().map_or(0, Column::rows);
        let mut body = Vec::new();
        self.lent.clear();
        let mut small = Vec::with_capacity(BIG_BYTES);
        put_varint(&mut small, self.columns.len() as u64);
        put_varint(&mut small, rows as u64);
        for (index, column) in self.columns.iter_mut().enumerate() {
            assert_eq!(column.rows(), rows, "column {index} has another number of rows than column 0");
            small.extend_from_slice(&column.head);
            small.append(&mut column.nulls);
            if let Some(text) = &mut column.text {
                text.write(&mut small);
            } else if column.data.len() < BIG_BYTES {
                small.append(&mut column.data);
            } else {
                body.push(Bytes::from(std::mem::take(&mut small)));
                body.push(Bytes::from(std::mem::take(&mut column.data)));
                self.lent.extend([None, Some(index)]);
            }
        }
        body.push(Bytes::from(small));
        self.lent.push(None);
        body
    }

    /// Takes buffers back once a body is no longer needed.
    pub fn recycle(&mut self, body: Vec<Bytes>) {
        if body.len() != self.lent.len() {
            return;
        }
        for (piece, column) in body.into_iter().zip(self.lent.drain(..)) {
            let Some(column) = column.map(|at| &mut self.columns[at]) else { continue };
            if column.data.capacity() == 0 && piece.is_unique() {
                column.data = Vec::from(piece);
                column.data.clear();
            }
        }
    }
}

impl Column {
    fn new(spec: &ColumnSpec) -> Self {
        let mut head = Vec::new();
        put_text(&mut head, &spec.name);
        spec.kind.put_binary(&mut head);
        let (width, text) = match spec.kind {
            ColumnKind::Metric { value, .. } => (value.width(), None),
            ColumnKind::U16 => (2, None),
            ColumnKind::U32 | ColumnKind::Seconds => (4, None),
            ColumnKind::U64 | ColumnKind::Micros => (8, None),
            ColumnKind::I8 => (1, None),
            ColumnKind::Text => (1, Some(Dictionary::default())),
        };
        Self { head, kind: spec.kind, width, data: Vec::new(), nulls: Vec::new(), text }
    }

    fn rows(&self) -> usize {
        self.text.as_ref().map_or(self.data.len() / self.width, |text| text.rows)
    }

    /// Appends the wire value `n` times (a float column scales it, a narrow one saturates).
    pub fn fill(&mut self, value: i64, n: usize) {
        if self.kind.nullable() {
            self.nulls.resize(self.nulls.len() + n, 0);
        }
        let unsigned = value as u64;
        match self.kind {
            ColumnKind::Metric { value: kind, scale, .. } => match kind {
                ValueType::U8 => repeat(&mut self.data, [unsigned.min(0xff) as u8], n),
                ValueType::U16 => repeat(&mut self.data, (unsigned.min(0xffff) as u16).to_le_bytes(), n),
                ValueType::U32 => repeat(&mut self.data, narrow(unsigned).to_le_bytes(), n),
                ValueType::I32 => {
                    let value = value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
                    repeat(&mut self.data, value.to_le_bytes(), n);
                }
                ValueType::U64 | ValueType::I64 => repeat(&mut self.data, value.to_le_bytes(), n),
                ValueType::F32 => {
                    repeat(&mut self.data, ((value as f64 * scale) as f32).to_le_bytes(), n);
                }
                ValueType::F64 => repeat(&mut self.data, (value as f64 * scale).to_le_bytes(), n),
            },
            ColumnKind::I8 => repeat(&mut self.data, [value as u8], n),
            ColumnKind::U16 => repeat(&mut self.data, (unsigned.min(0xffff) as u16).to_le_bytes(), n),
            ColumnKind::U32 | ColumnKind::Seconds => {
                repeat(&mut self.data, narrow(unsigned).to_le_bytes(), n);
            }
            ColumnKind::U64 | ColumnKind::Micros => repeat(&mut self.data, value.to_le_bytes(), n),
            ColumnKind::Text => self.fill_text(&unsigned.to_string(), n),
        }
    }

    /// Appends wire values.
    pub fn extend(&mut self, values: &[i64]) {
        for &value in values {
            self.fill(value, 1);
        }
    }

    /// Appends `n` NULLs; a column that is not Nullable gets zeros.
    pub fn fill_null(&mut self, n: usize) {
        let from = self.nulls.len();
        self.fill(0, n);
        if let Some(nulls) = self.nulls.get_mut(from..) {
            nulls.fill(1);
        }
    }

    /// Appends the text `n` times; only for text columns.
    pub fn fill_text(&mut self, value: &str, n: usize) {
        debug_assert!(self.text.is_some(), "a text was given to a column of numbers");
        if let Some(text) = &mut self.text {
            text.push(value, n);
        }
    }
}

impl Dictionary {
    fn push(&mut self, value: &str, n: usize) {
        self.rows += n;
        let position = match &self.last {
            Some((last, position)) if **last == *value => *position,
            _ => self.position(value),
        };
        match self.runs.last_mut() {
            Some((last, run)) if *last == position => *run += n as u32,
            _ => self.runs.push((position, n as u32)),
        }
    }

    fn position(&mut self, value: &str) -> u32 {
        let position = match self.positions.get(value) {
            Some(position) => *position,
            None => {
                let position = self.positions.len() as u32;
                self.positions.insert(value.into(), position);
                put_text(&mut self.keys, value);
                position
            }
        };
        self.last = Some((value.into(), position));
        position
    }

    /// Writes the column and empties it: version of the dictionary's layout (1), width of the
    /// positions and the flag that the keys stand in this block, the keys, the positions.
    fn write(&mut self, out: &mut Vec<u8>) {
        const KEYS_ARE_HERE: u64 = 1 << 9;
        let width = match self.positions.len() {
            0..=0x100 => 0u64,
            0x101..=0x1_0000 => 1,
            _ => 2,
        };
        out.extend_from_slice(&1u64.to_le_bytes());
        if self.rows > 0 {
            out.extend_from_slice(&(KEYS_ARE_HERE | width).to_le_bytes());
            out.extend_from_slice(&(self.positions.len() as u64).to_le_bytes());
            out.append(&mut self.keys);
            out.extend_from_slice(&(self.rows as u64).to_le_bytes());
        }
        for &(position, n) in &self.runs {
            match width {
                0 => repeat(out, [position as u8], n as usize),
                1 => repeat(out, (position as u16).to_le_bytes(), n as usize),
                _ => repeat(out, position.to_le_bytes(), n as usize),
            }
        }
        self.positions.clear();
        self.runs.clear();
        (self.rows, self.last) = (0, None);
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Appends the same few bytes `n` times. The loop has a constant width, so it becomes wide stores.
fn repeat<const W: usize>(out: &mut Vec<u8>, value: [u8; W], n: usize) {
    if n == 1 {
        out.extend_from_slice(&value);
        return;
    }
    let from = out.len();
    out.resize(from + n * W, 0);
    for place in out[from..].chunks_exact_mut(W) {
        place.copy_from_slice(&value);
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, value: &str) {
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(value: ValueType, scale: f64, nullable: bool) -> ColumnKind {
        ColumnKind::Metric { value, scale, nullable }
    }

    fn bytes_of(kind: ColumnKind, fill: impl Fn(&mut Column)) -> Vec<u8> {
        let mut block = NativeBlock::new(&[ColumnSpec::new("c", kind)]);
        fill(block.column(0));
        let body = block.finish().concat();
        let mut head = vec![1, 0, 1, b'c'];
        kind.put_binary(&mut head);
        body[head.len()..].to_vec()
    }

    #[test]
    fn a_block_is_what_the_format_says() {
        let specs = [
            ColumnSpec::new("host", ColumnKind::Text),
            ColumnSpec::new("ts", ColumnKind::Seconds),
            ColumnSpec::new("v", metric(ValueType::U16, 1.0, true)),
        ];
        let mut block = NativeBlock::new(&specs);
        block.column(0).fill_text("a", 2);
        block.column(0).fill_text("bc", 1);
        block.column(1).extend(&[1, 2, 3]);
        block.column(2).fill(515, 1);
        block.column(2).fill_null(2);
        let mut want = vec![3, 3];
        want.extend(b"\x04host\x26\x15");
        want.extend(1u64.to_le_bytes());
        want.extend(0x200u64.to_le_bytes());
        want.extend(2u64.to_le_bytes());
        want.extend(b"\x01a\x02bc");
        want.extend(3u64.to_le_bytes());
        want.extend([0, 0, 1]);
        want.extend(b"\x02ts\x12\x03UTC");
        want.extend([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
        want.extend(b"\x01v\x23\x02");
        want.extend([0, 1, 1, 3, 2, 0, 0, 0, 0]);
        assert_eq!(block.finish().concat(), want);
        assert_eq!(block.finish().concat()[..2], [3, 0], "the block is empty again");
    }

    #[test]
    fn narrow_columns_saturate_and_floats_scale() {
        assert_eq!(bytes_of(metric(ValueType::U8, 1.0, false), |c| c.extend(&[7, 300, -1])), [7, 255, 255]);
        assert_eq!(
            bytes_of(metric(ValueType::I32, 1.0, false), |c| c.fill(i64::MIN, 1)),
            i32::MIN.to_le_bytes()
        );
        assert_eq!(
            bytes_of(metric(ValueType::F32, 0.01, false), |c| c.fill(150, 1)),
            ((150.0f64 * 0.01) as f32).to_le_bytes()
        );
        assert_eq!(bytes_of(metric(ValueType::U64, 1.0, false), |c| c.fill(-1, 1)), [0xff; 8]);
    }

    #[test]
    fn many_texts_take_wider_positions() {
        let column = bytes_of(ColumnKind::Text, |c| {
            for n in 0..300 {
                c.fill_text(&n.to_string(), 1);
            }
        });
        // The number of rows takes two bytes here, so the column begins a byte later.
        assert_eq!(column[9..17], (0x200u64 | 1).to_le_bytes());
        assert_eq!(column[column.len() - 2..], 299u16.to_le_bytes());
    }

    #[test]
    fn big_columns_are_lent_and_come_back() {
        let specs = [ColumnSpec::new("a", ColumnKind::U64), ColumnSpec::new("b", ColumnKind::U16)];
        let mut block = NativeBlock::new(&specs);
        block.column(0).fill(7, 10_000);
        block.column(1).fill(1, 10_000);
        let body = block.finish();
        assert_eq!(body.len(), 3);
        assert_eq!(body[1].len(), 80_000);
        let address = body[1].as_ptr();
        block.recycle(body);
        block.column(0).fill(8, 10_000);
        block.column(1).fill(1, 10_000);
        let again = block.finish();
        assert_eq!(again[1].as_ptr(), address, "the same buffer serves again");
        let kept = again.clone();
        block.recycle(again);
        assert_eq!(kept[1][..8], 8u64.to_le_bytes(), "a piece still in use is not taken back");
    }

    #[test]
    #[should_panic(expected = "another number of rows")]
    fn uneven_columns_are_a_mistake() {
        let specs = [ColumnSpec::new("a", ColumnKind::U64), ColumnSpec::new("b", ColumnKind::U16)];
        let mut block = NativeBlock::new(&specs);
        block.column(0).fill(7, 2);
        block.finish();
    }
}
