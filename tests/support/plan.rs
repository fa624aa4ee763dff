//! What the producer samples: every value follows from its time, its entity and its metric, so that a
//! row proves by itself that it is right, and the rows of a slot of time can be counted.
//!
//! Time is cut into slots of a tenth of a second; a slot is one frame. Half of the entities change
//! at every scan, the others once a slot; some are not there in some slots.

use std::fmt::Write as _;

use fettle_shared::catalogue::{catalogue, EntityType, Family, Metric, ValueType};
use fettle_shared::frame::{FrameBuilder, Key};

/// Length of a slot.
pub const SLOT_US: i64 = 100_000;

/// A family that the producer fills.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Name of the family.
    pub family: &'static str,
    /// Entities, numbered from 1; a host-wide family has one, number 0.
    pub entities: u64,
    /// Scans in a slot, spread evenly.
    pub scans: i64,
}

/// The families, in the order of their numbers.
pub const PARTS: [Part; 3] = [
    Part { family: "load", entities: 0, scans: 1 },
    Part { family: "disk", entities: 4, scans: 2 },
    Part { family: "process", entities: 40, scans: 4 },
];

const A: u64 = 0x9e37_79b9_7f4a_7c15;
const B: u64 = 0xbf58_476d_1ce4_e5b9;
const C: u64 = 0x94d0_49bb_1331_11eb;

impl Part {
    /// The family.
    pub fn family(&self) -> &'static Family {
        catalogue().family(self.family).expect("a family of the catalogue")
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        if self.entities == 0 {
            0..=0
        } else {
            1..=self.entities
        }
    }

    /// Whether the entity is there in the slot.
    pub fn is_there(entity: u64, slot: u64) -> bool {
        entity == 0 || !(slot + entity * 3).is_multiple_of(7)
    }

    /// Rows of a slot.
    pub fn rows(&self, slot: u64) -> u64 {
        self.numbers().filter(|entity| Self::is_there(*entity, slot)).count() as u64 * self.scans as u64
    }
}

/// The value of a metric as the wire has it.
pub fn value(metric: &Metric, entity: u64, ts_us: i64) -> i64 {
    let clock = if entity.is_multiple_of(2) { (ts_us / SLOT_US) as u64 } else { ts_us as u64 };
    let mixed = clock
        .wrapping_mul(A)
        .wrapping_add(entity.wrapping_mul(B))
        .wrapping_add(u64::from(metric.id).wrapping_mul(C));
    ((mixed ^ (mixed >> 31)) & mask(metric.value)) as i64
}

/// Bits that fit the column; floats get integers that survive scaling.
fn mask(value: ValueType) -> u64 {
    match value {
        ValueType::U8 => 0xff,
        ValueType::U16 | ValueType::F32 | ValueType::F64 => 0xffff,
        ValueType::U32 => 0xffff_ffff,
        ValueType::I32 => 0x7fff_ffff,
        ValueType::U64 => u64::MAX,
        ValueType::I64 => u64::MAX >> 1,
    }
}

/// Whether the producer's host has the metric: some optional ones are absent.
pub fn is_present(metric: &Metric) -> bool {
    !(metric.optional && metric.id.is_multiple_of(3))
}

/// Fills one slot of the builder, with entities of this slot only.
pub fn fill(builder: &mut FrameBuilder, slot: u64) {
    for part in &PARTS {
        let family = part.family();
        builder.set_present(family.id, &family.metrics.iter().map(is_present).collect::<Vec<_>>());
        let there: Vec<u64> = part.numbers().filter(|entity| Part::is_there(*entity, slot)).collect();
        let slots: Vec<_> = there
            .iter()
            .map(|entity| {
                let text = format!("n{entity}");
                let key: Vec<Key<'_>> =
                    family
                        .entity
                        .iter()
                        .map(|column| {
                            if column.kind == EntityType::Text {
                                Key::Text(&text)
                            } else {
                                Key::Int(*entity)
                            }
                        })
                        .collect();
                builder.add_entity(family.id, &key)
            })
            .collect();
        for scan in 0..part.scans {
            let ts_us = slot as i64 * SLOT_US + scan * SLOT_US / part.scans;
            builder.begin_scan(family.id, ts_us);
            for (entity, slot) in there.iter().zip(&slots) {
                let row: Vec<i64> =
                    family.metrics.iter().map(|metric| value(metric, *entity, ts_us)).collect();
                builder.push(family.id, *slot, &row);
            }
        }
        slots.iter().for_each(|slot| builder.remove_entity(family.id, *slot));
    }
}

/// The slot of a row, in SQL.
pub const SLOT_SQL: &str = "intDiv(toUnixTimestamp64Micro(ts), 100000)";

/// The entity's number of a row, in SQL.
fn entity_sql(family: &Family) -> String {
    match family.entity.first() {
        None => "toUInt64(0)".into(),
        Some(column) => number_sql(&column.name, column.kind),
    }
}

fn number_sql(name: &str, kind: EntityType) -> String {
    match kind {
        EntityType::Text => format!("toUInt64(substring({name}, 2))"),
        _ => format!("toUInt64({name})"),
    }
}

/// SQL that counts the rows of a family whose values are not what time, entity and metric say, one
/// column a metric, and one for the keys.
pub fn wrong_values_sql(part: &Part, host: &str) -> String {
    let family = part.family();
    let mut sql = format!(
        "WITH {} AS entity, toUInt64(toUnixTimestamp64Micro(ts)) AS us, \
         if(entity % 2 = 0, intDiv(us, {SLOT_US}), us) AS clock, clock * {A} + entity * {B} AS base \
         SELECT countIf(NOT (1",
        entity_sql(family)
    );
    for column in &family.entity {
        let _ = write!(sql, " AND {} = entity", number_sql(&column.name, column.kind));
    }
    sql += ")) AS wrong_key";
    for metric in &family.metrics {
        let name = &metric.name;
        if !is_present(metric) {
            let _ = write!(sql, ", countIf(isNotNull({name})) AS wrong_{name}");
            continue;
        }
        let stored = match metric.scale {
            Some(scale) => format!("toUInt64(round(assumeNotNull({name}) / {scale:?}))"),
            None => format!("toUInt64(assumeNotNull({name}))"),
        };
        let mixed = format!("base + {}", u64::from(metric.id).wrapping_mul(C));
        let expected = format!("bitAnd(bitXor({mixed}, bitShiftRight({mixed}, 31)), {})", mask(metric.value));
        let _ = write!(sql, ", countIf(isNull({name}) OR {stored} != {expected}) AS wrong_{name}");
    }
    let _ = write!(sql, " FROM fettle.{} WHERE host = '{host}'", part.family);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::frame::{decode, FrameMeta, Scratch};

    #[test]
    fn a_slot_has_the_rows_that_it_promises() {
        let mut builder = FrameBuilder::new(catalogue());
        let mut bytes = Vec::new();
        for slot in 17_672_256_000..17_672_256_010 {
            fill(&mut builder, slot);
            builder.seal(&FrameMeta { agent: "x", boot: 1, seq: 1 }, &mut bytes);
            let mut scratch = Scratch::default();
            let frame = decode(&bytes, &mut scratch).unwrap();
            assert_eq!(frame.blocks.len(), PARTS.len());
            for part in &PARTS {
                let block = frame.blocks.iter().find(|b| b.family == part.family().id).unwrap();
                assert_eq!(u64::from(block.rows), part.rows(slot), "{} in {slot}", part.family);
            }
            assert_eq!(frame.header.first_us, slot as i64 * SLOT_US);
            assert!(frame.header.last_us < (slot as i64 + 1) * SLOT_US);
        }
    }
}
