//! Frames that hold anything: every family of the catalogue, any value that its columns can hold.

use fettle_shared::catalogue::{catalogue, EntityType, Metric, ValueType};
use fettle_shared::frame::{FrameBuilder, FrameMeta, Key};

/// A small generator of numbers, the same at every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Any value the column can hold; scaled integers as large as a float column holds exactly.
    fn value(&mut self, metric: &Metric) -> i64 {
        let bits = self.next();
        match metric.value {
            ValueType::U8 => (bits & 0xff) as i64,
            ValueType::U16 => (bits & 0xffff) as i64,
            ValueType::U32 => (bits & 0xffff_ffff) as i64,
            ValueType::U64 | ValueType::I64 => bits as i64,
            ValueType::I32 => i64::from(bits as i32),
            ValueType::F32 => (bits % (1 << 24)) as i64 - (1 << 23),
            ValueType::F64 => (bits % (1 << 41)) as i64 - (1 << 40),
        }
    }
}

/// Frames of an agent, one a second: scans of every family at two offsets (µs) from it, three entities each.
pub fn frames(
    agent: &str,
    start_us: i64,
    seconds: i64,
    scans_us: [i64; 2],
    numbers: &mut Numbers,
) -> Vec<Vec<u8>> {
    let mut builder = FrameBuilder::new(catalogue());
    let mut slots = Vec::new();
    for family in &catalogue().families {
        let count = if family.entity.is_empty() { 1 } else { 3 };
        for entity in 0..count {
            let texts: Vec<String> = family.entity.iter().map(|e| format!("{}-{entity}", e.name)).collect();
            let key: Vec<Key<'_>> = family
                .entity
                .iter()
                .zip(&texts)
                .map(|(e, text)| if e.kind == EntityType::Text { Key::Text(text) } else { Key::Int(entity) })
                .collect();
            slots.push((family, builder.add_entity(family.id, &key)));
        }
        // Every second optional metric is not on this host.
        let present: Vec<bool> =
            family.metrics.iter().enumerate().map(|(at, m)| !m.optional || at % 2 == 0).collect();
        builder.set_present(family.id, &present);
    }
    let mut out = Vec::new();
    for second in 0..seconds {
        for scan_us in scans_us {
            for family in &catalogue().families {
                builder.begin_scan(family.id, start_us + second * 1_000_000 + scan_us);
            }
            for (family, slot) in &slots {
                if scan_us == scans_us[1] && numbers.next().is_multiple_of(3) {
                    builder.repeat(family.id, *slot);
                } else {
                    let row: Vec<i64> = family.metrics.iter().map(|m| numbers.value(m)).collect();
                    builder.push(family.id, *slot, &row);
                }
            }
        }
        let mut bytes = Vec::new();
        builder.seal(&FrameMeta { agent, boot: 1, seq: second as u64 + 1 }, &mut bytes);
        out.push(bytes);
    }
    out
}
