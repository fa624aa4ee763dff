//! From decoded frames to what ClickHouse takes: one Native block a family, filled column by column
//! straight from the runs of the frame, and the reductions of each second made in the same pass. Nothing
//! here can fail half-way: a frame was checked whole before it came.

use fettle_shared::catalogue::{Catalogue, EntityType, Family};
use fettle_shared::frame::{Block, Frame, KeyColumn};

use super::windows::{Reducer, Reductions};
use super::{raw_columns, NativeBlock, Piece};

/// Collects the frames of one batch.
#[derive(Debug)]
pub struct Assembler {
    catalogue: &'static Catalogue,
    tables: Vec<Table>,
    reducer: Reducer,
    rows: u64,
    samples: u64,
    unknown_samples: u64,
    columns: Vec<Option<usize>>,
}

#[derive(Debug)]
struct Table {
    block: NativeBlock,
    rows: usize,
    /// Blocks of this batch that were closed already.
    part: u32,
}

/// A closed batch: what is still to be inserted, and what there was over all of it.
#[derive(Debug)]
pub struct Assembled {
    /// The last block of each table that has rows left.
    pub pieces: Vec<Piece>,
    /// Reductions of these frames.
    pub reductions: Reductions,
    /// Rows over all blocks.
    pub rows: u64,
    /// Samples over all blocks.
    pub samples: u64,
    /// Samples of metrics or families that this program's catalogue does not know; not stored.
    pub unknown_samples: u64,
}

impl Assembler {
    /// An empty batch.
    pub fn new(catalogue: &'static Catalogue) -> Self {
        let tables = catalogue
            .families
            .iter()
            .map(|family| Table { block: NativeBlock::new(&raw_columns(family)), rows: 0, part: 0 })
            .collect();
        Self {
            catalogue,
            tables,
            reducer: Reducer::new(catalogue),
            rows: 0,
            samples: 0,
            unknown_samples: 0,
            columns: Vec::new(),
        }
    }

    /// Seconds from this one on are kept for detection; `u32::MAX`: none.
    pub fn keep_from(&mut self, second: u32) {
        self.reducer.keep_from(second);
    }

    /// Appends a frame's rows.
    pub fn append(&mut self, frame: &Frame<'_>) {
        let agent = frame.header.agent;
        self.reducer.begin(agent.as_str(), (frame.header.first_us / 1_000_000) as u32);
        for block in &frame.blocks {
            let index = self.catalogue.family_index(block.family);
            let Some(index) = index.filter(|i| keys_fit(&self.catalogue.families[*i], &block.keys)) else {
                self.unknown_samples += block.samples();
                continue;
            };
            self.append_block(agent.as_str(), index, block);
        }
    }

    fn append_block(&mut self, agent: &str, index: usize, block: &Block<'_>) {
        let family = &self.catalogue.families[index];
        self.columns.clear();
        self.columns.extend(block.metrics.iter().map(|id| family.metric_index_by_id(*id)));
        let unknown = self.columns.iter().filter(|c| c.is_none()).count() as u64;
        self.unknown_samples += unknown * u64::from(block.rows);
        self.rows += u64::from(block.rows);
        self.samples += block.samples();

        let table = &mut self.tables[index];
        let rows = block.rows as usize;
        table.rows += rows;
        let out = &mut table.block;
        out.column(0).fill_text(agent, rows);
        let times = out.column(1);
        block.for_each_time(|us| times.fill(us, 1));
        for (at, keys) in block.keys.iter().enumerate() {
            let column = out.column(2 + at);
            match keys {
                KeyColumn::Int(values) => {
                    for (value, n) in values.iter().zip(&block.entity_rows) {
                        column.fill(*value as i64, *n as usize);
                    }
                }
                KeyColumn::Text(values) => {
                    for (value, n) in values.iter().zip(&block.entity_rows) {
                        column.fill_text(value, *n as usize);
                    }
                }
            }
        }
        fill_metrics(out, family, block, &self.columns);
        self.reducer.block(agent, block, index, &self.columns);
    }

    /// Closes the blocks of the tables that have this many rows or more.
    pub fn cut(&mut self, rows: usize) -> Vec<Piece> {
        let full = self.tables.iter_mut().zip(&self.catalogue.families).filter(|(t, _)| t.rows >= rows);
        full.map(|(table, family)| {
            let piece = Piece {
                table: family.name.clone(),
                part: table.part,
                rows: table.rows,
                body: table.block.finish(),
            };
            table.rows = 0;
            table.part += 1;
            piece
        })
        .collect()
    }

    /// Closes the batch; the assembler is empty afterwards.
    pub fn finish(&mut self) -> Assembled {
        let pieces = self.cut(1);
        self.tables.iter_mut().for_each(|table| table.part = 0);
        let assembled = Assembled {
            pieces,
            reductions: self.reducer.finish(),
            rows: self.rows,
            samples: self.samples,
            unknown_samples: self.unknown_samples,
        };
        (self.rows, self.samples, self.unknown_samples) = (0, 0, 0);
        assembled
    }

    /// Gives the buffers of an inserted block back for the next one.
    pub fn recycle(&mut self, piece: Piece) {
        if let Some(at) = self.catalogue.families.iter().position(|f| f.name == piece.table) {
            self.tables[at].block.recycle(piece.body);
        }
    }
}

/// Whether the block's keys are of the kinds the catalogue says.
fn keys_fit(family: &Family, keys: &[KeyColumn<'_>]) -> bool {
    family.entity.len() == keys.len()
        && family
            .entity
            .iter()
            .zip(keys)
            .all(|(column, key)| (column.kind == EntityType::Text) == matches!(key, KeyColumn::Text(_)))
}

/// Fills every metric column of the table; one that the frame lacks gets NULLs, or zeros where it is
/// not Nullable (an agent that leaves out a required metric is older than the catalogue allows).
fn fill_metrics(out: &mut NativeBlock, family: &Family, block: &Block<'_>, columns: &[Option<usize>]) {
    let first = 2 + family.entity.len();
    let mut known = columns.iter().enumerate().filter_map(|(at, column)| column.map(|c| (c, at))).peekable();
    for (index, metric) in family.metrics.iter().enumerate() {
        let column = out.column(first + index);
        match known.next_if(|(c, _)| *c == index) {
            Some((_, at)) => {
                for (value, run) in block.column(at).iter().zip(&block.runs) {
                    column.fill(*value, *run as usize);
                }
            }
            None if metric.optional => column.fill_null(block.rows as usize),
            None => column.fill(0, block.rows as usize),
        }
    }
}
