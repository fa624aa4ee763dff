//! What the frame costs: nanoseconds a sample to collect, to seal, to decode, and to spell out as
//! columns, and bytes a sample, on a synthetic host of processes of which a share changes between
//! two scans. `cargo bench -p fettle-shared`; a test runs it with few rounds so that it cannot rot.
//! Of many seconds the fastest counts, phase by phase: wall time is noisy on a machine with company.
#![allow(clippy::print_stdout)]

#[path = "../tests/model/mod.rs"]
mod model;

use std::hint::black_box;
use std::time::{Duration, Instant};

use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{decode, Block, FrameBuilder, FrameMeta, Key, Scratch, Slot};
use model::host::{first_row, step, Shape, SplitMix};

/// The host that figures are quoted for.
pub const TYPICAL: Shape = Shape { processes: 60, scans: 20, changing: 10 };

/// What one run measured.
#[derive(Debug)]
pub struct Costs {
    /// Samples in all frames.
    pub samples: u64,
    /// Bytes of all frames.
    pub bytes: u64,
    /// Frames.
    pub frames: u64,
    /// Pushing the rows of a frame.
    pub push: Duration,
    /// Sealing it.
    pub seal: Duration,
    /// Decoding it.
    pub decode: Duration,
    /// Spelling out every column and the times.
    pub expand: Duration,
}

impl Costs {
    fn ns(&self, spent: Duration) -> f64 {
        spent.as_nanos() as f64 * self.frames as f64 / self.samples as f64
    }

    /// Bytes of a frame a sample.
    pub fn bytes_per_sample(&self) -> f64 {
        self.bytes as f64 / self.samples as f64
    }
}

/// Runs so many seconds of a host through the frame.
pub fn run(shape: Shape, seconds: usize) -> Costs {
    let family = catalogue().family("process").expect("the catalogue has processes");
    let mut random = SplitMix(1);
    let mut builder = FrameBuilder::new(catalogue());
    let width = family.metrics.len();
    let mut table: Vec<(Slot, Vec<i64>)> = (0..shape.processes)
        .map(|at| {
            let slot = builder.add_entity(family.id, &[Key::Int(300 + 7 * at as u64)]);
            (slot, first_row(width, &mut random))
        })
        .collect();
    let (mut bytes, mut scratch) = (Vec::new(), Scratch::default());
    let most = Duration::MAX;
    let mut costs =
        Costs { samples: 0, bytes: 0, frames: 0, push: most, seal: most, decode: most, expand: most };
    let mut columns: Vec<Vec<i64>> = vec![Vec::new(); width + 1];
    for second in 0..seconds {
        let mut push = Duration::ZERO;
        for scan in 0..shape.scans {
            for (_, row) in &mut table {
                if random.below(100) < shape.changing {
                    step(row, &mut random);
                }
            }
            let begin = Instant::now();
            builder.begin_scan(family.id, (second * 1_000_000 + scan * 1_000_000 / shape.scans) as i64);
            for (slot, row) in &table {
                builder.push(family.id, *slot, row);
            }
            push += begin.elapsed();
        }
        costs.push = costs.push.min(push);
        let begin = Instant::now();
        let header = builder.seal(&FrameMeta { agent: "bench", boot: 1, seq: second as u64 + 1 }, &mut bytes);
        costs.seal = costs.seal.min(begin.elapsed());
        costs.frames += 1;
        costs.samples += header.samples;
        costs.bytes += bytes.len() as u64;
        let begin = Instant::now();
        let frame = decode(&bytes, &mut scratch).expect("a sealed frame is good");
        costs.decode = costs.decode.min(begin.elapsed());
        let begin = Instant::now();
        frame.blocks.iter().for_each(|block| expand(block, &mut columns));
        costs.expand = costs.expand.min(begin.elapsed());
        black_box(&columns);
    }
    costs
}

/// Every value of every column, one after the other, as a table's columns want them.
fn expand(block: &Block<'_>, columns: &mut [Vec<i64>]) {
    columns.iter_mut().for_each(Vec::clear);
    block.for_each_time(|ts| columns[0].push(ts));
    for (at, column) in columns[1..].iter_mut().enumerate() {
        for (value, run) in block.column(at).iter().zip(&block.runs) {
            column.extend(std::iter::repeat_n(*value, *run as usize));
        }
    }
}

fn main() {
    println!("processes scans changing    push    seal  decode  expand ns/sample   bytes/sample");
    for (processes, changing) in [(60, 0), (60, 10), (60, 50), (60, 100), (1_000, 10)] {
        let shape = Shape { processes, scans: 20, changing };
        let costs = run(shape, 20_000 / processes);
        println!(
            "{processes:9} {:5} {changing:7}% {:7.2} {:7.2} {:7.2} {:7.2} {:24.3}",
            shape.scans,
            costs.ns(costs.push),
            costs.ns(costs.seal),
            costs.ns(costs.decode),
            costs.ns(costs.expand),
            costs.bytes_per_sample(),
        );
    }
}
