//! Frames as VictoriaMetrics takes them: one JSON line a series with its values and timestamps
//! (`/api/v1/import`). A metric is `<family>_<metric>`, its labels are the host and the entity's key.

use std::collections::HashMap;
use std::fmt::Write as _;

use fettle_shared::catalogue::{catalogue, Family, Metric, ValueType};
use fettle_shared::frame::{decode, Block, Key, Scratch};

use crate::recording::key_of;

/// Series of one or more frames of one agent, as text in the making.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// By family, number of columns, and labels: a host that gets a column gets new texts.
    entities: HashMap<(u16, usize, String), Entity>,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Entity {
    labels: String,
    times: String,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    values: String,
}

impl Lines {
    /// Adds a frame; gives its samples.
    pub(crate) fn add(&mut self, frame: &[u8]) -> anyhow::Result<u64> {
        let Self { entities, scratch } = self;
        let frame = decode(frame, scratch)?;
        for block in &frame.blocks {
            if let Some(family) = catalogue().family_by_id(block.family) {
                add_block(entities, frame.header.agent.as_str(), family, block);
            }
        }
        Ok(frame.header.samples)
    }

    /// Writes all series to `out` and keeps their names for the next time.
    pub(crate) fn take(&mut self, out: &mut String) {
        for entity in self.entities.values_mut().filter(|entity| !entity.times.is_empty()) {
            for column in &mut entity.columns {
                let values = column.values.trim_end_matches(',');
                let times = entity.times.trim_end_matches(',');
                let (name, labels) = (&column.name, &entity.labels);
                out.push_str("{\"metric\":{\"__name__\":\"");
                out.push_str(name);
                out.push('"');
                out.push_str(labels);
                out.push_str("},\"values\":[");
                out.push_str(values);
                out.push_str("],\"timestamps\":[");
                out.push_str(times);
                out.push_str("]}\n");
                column.values.clear();
            }
            entity.times.clear();
        }
    }
}

fn add_block(
    entities: &mut HashMap<(u16, usize, String), Entity>,
    host: &str,
    family: &'static Family,
    block: &Block<'_>,
) {
    let metrics: Vec<&Metric> =
        block.metrics.iter().filter_map(|id| family.metrics.iter().find(|metric| metric.id == *id)).collect();
    let mut run_at = 0;
    let mut text = String::new();
    for at in 0..block.presence.len() {
        let labels = labels(host, family, key_of(&block.keys, at));
        let entity = entities.entry((family.id, metrics.len(), labels)).or_default();
        if entity.columns.is_empty() {
            entity.labels = self::labels(host, family, key_of(&block.keys, at));
            let column = |metric: &&Metric| Column {
                name: format!("{}_{}", family.name, metric.name),
                values: String::new(),
            };
            entity.columns = metrics.iter().map(column).collect();
        }
        let mut map = block.presence[at];
        while map != 0 {
            let _ = write!(entity.times, "{},", block.scans[map.trailing_zeros() as usize] / 1000);
            map &= map - 1;
        }
        let runs = run_at..run_at + block.entity_runs[at] as usize;
        run_at = runs.end;
        for (column, metric) in metrics.iter().enumerate() {
            let values = &block.column(column)[runs.clone()];
            for (value, times) in values.iter().zip(&block.runs[runs.clone()]) {
                text.clear();
                put_value(&mut text, metric, *value);
                for _ in 0..*times {
                    entity.columns[column].values.push_str(&text);
                }
            }
        }
    }
}

fn put_value(out: &mut String, metric: &Metric, value: i64) {
    let unsigned = matches!(metric.value, ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64);
    let _ = match metric.scale {
        Some(scale) => write!(out, "{},", value as f64 * scale),
        None if unsigned => write!(out, "{},", value as u64),
        None => write!(out, "{value},"),
    };
}

fn labels<'a>(host: &str, family: &Family, key: impl Iterator<Item = Key<'a>>) -> String {
    let mut labels = format!(",\"host\":\"{host}\"");
    for (column, key) in family.entity.iter().zip(key) {
        let text = match key {
            Key::Int(number) => number.to_string(),
            Key::Text(text) => text.to_owned(),
        };
        let _ = write!(labels, ",\"{}\":{}", column.name, serde_json::Value::from(text));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{players, tests::synthetic, Restamper};

    #[test]
    fn every_sample_of_every_frame_is_in_a_line_of_its_series() {
        let recording = synthetic(3);
        let player = &players(&recording, 1, 3, 0)[0];
        let (mut restamper, mut lines, mut samples) = (Restamper::default(), Lines::default(), 0);
        for at in 0..3 {
            samples += lines.add(&restamper.frame(&recording, player, at).unwrap().1).unwrap();
        }
        let mut out = String::new();
        lines.take(&mut out);
        let mut values = 0;
        for line in out.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["metric"]["comm"], "x\"y");
            assert_eq!(line["timestamps"].as_array().unwrap().len(), 30);
            values += line["values"].as_array().unwrap().len() as u64;
        }
        assert_eq!(values, samples);
        let width = catalogue().family("process").unwrap().metrics.len();
        assert_eq!(out.lines().count(), 3 * width);
        out.clear();
        lines.take(&mut out);
        assert_eq!(out, "");
    }
}
