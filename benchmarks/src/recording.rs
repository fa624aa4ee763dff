//! Real frames of this host in a file, and their replay as many agents. A recording is made once and
//! kept in the user's cache; it is not for the repository, as it says what runs on the host.
//!
//! Each replayed agent plays another stretch of the recording, under its own name and boot, with
//! sequence numbers from 1 and times moved to where the benchmark wants them: the frame is decoded
//! and encoded again, by the same code that the agent uses.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context as _};
use bytes::Bytes;
use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{decode, Block, FrameBuilder, FrameMeta, Header, Key, KeyColumn, Scratch};

use crate::settings::Settings;
use crate::sink::Sink;
use crate::stack::{Budget, Stack};

/// What is recorded before is thrown away: the agent is still opening files.
const WARM_UP: Duration = Duration::from_secs(3);

/// Frames in the order of their times.
#[derive(Debug)]
pub(crate) struct Recording {
    frames: Vec<Bytes>,
    /// From the first frame to one frame past the last, in whole seconds.
    span_us: i64,
}

/// Where recordings are kept.
pub(crate) fn default_path() -> PathBuf {
    crate::child::cache_directory().join("bench").join("host.frames")
}

/// Records this host; prints where.
pub(crate) async fn record(settings: &Settings, path: &Path) -> anyhow::Result<()> {
    let state = settings.state()?;
    let stack = Stack::below(state.path())?;
    let nats = stack.nats().await?;
    let mut sink = Sink::open(&format!("nats://{}", nats.address), true).await?;
    let agent = stack.agent(&nats, Budget::Lifted).await?;
    sink.listen(WARM_UP, |_| {}).await?;
    let mut frames = Vec::new();
    let seen = sink
        .listen(Duration::from_secs(settings.seconds_or(300)), |frame| frames.push(frame.clone()))
        .await?;
    agent.child.stop().await?;
    nats.child.stop().await?;
    write(path, &frames)?;
    writeln!(
        std::io::stdout(),
        "recorded {} frames, {} samples at {:.0}/s, {} bytes: {}",
        seen.frames,
        seen.samples,
        seen.rate(),
        seen.bytes,
        path.display()
    )?;
    Ok(())
}

fn write(path: &Path, frames: &[Bytes]) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    for frame in frames {
        file.write_all(frame)?;
    }
    Ok(())
}

impl Recording {
    /// Reads a file of frames, one behind the other.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let all = std::fs::read(path)
            .with_context(|| format!("{} is missing; make it with benchmarks/run record", path.display()))?;
        let mut rest = Bytes::from(all);
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let head = rest.get(..Header::LEN).context("the recording ends within a frame")?;
            let header = Header::parse(head)?;
            if rest.len() < header.frame_len() {
                bail!("the recording ends within a frame");
            }
            frames.push((header.first_us, header.last_us, rest.split_to(header.frame_len())));
        }
        frames.sort_by_key(|(first_us, ..)| *first_us);
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            bail!("{} holds no frames", path.display());
        };
        let span_us = (last.1 / 1_000_000 + 1 - first.0 / 1_000_000) * 1_000_000;
        Ok(Self { frames: frames.into_iter().map(|(.., bytes)| bytes).collect(), span_us })
    }

    /// How many frames.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}

/// One agent's share of a replay.
#[derive(Debug, Clone)]
pub(crate) struct Player {
    /// Its name.
    pub(crate) name: String,
    /// Its boot.
    pub(crate) boot: u64,
    /// Where in the recording it begins.
    offset: usize,
    /// Added to the recorded times.
    shift_us: i64,
}

/// Agents that play a recording, their first samples within the second that begins at `base_us`.
pub(crate) fn players(recording: &Recording, agents: usize, frames_each: usize, base_us: i64) -> Vec<Player> {
    let spare = recording.len().saturating_sub(frames_each);
    (0..agents)
        .map(|at| {
            let offset = spare * at / agents.max(1);
            let first = Header::parse(&recording.frames[offset]).map_or(0, |header| header.first_us);
            let shift_us = (base_us.div_euclid(1_000_000) - first.div_euclid(1_000_000)) * 1_000_000;
            Player { name: format!("agent-{at:03}"), boot: base_us as u64, offset, shift_us }
        })
        .collect()
}

/// Makes replayed frames.
#[derive(Debug, Default)]
pub(crate) struct Restamper {
    scratch: Scratch,
    out: Vec<u8>,
}

impl Restamper {
    /// The player's frame number `at` (from 0), with its header. A recording that is at its end
    /// begins again, later in time.
    pub(crate) fn frame(
        &mut self,
        recording: &Recording,
        player: &Player,
        at: usize,
    ) -> anyhow::Result<(Header, Bytes)> {
        let place = player.offset + at;
        let rounds = (place / recording.len()) as i64;
        let shift_us = player.shift_us + rounds * recording.span_us;
        let frame = decode(&recording.frames[place % recording.len()], &mut self.scratch)?;
        let mut builder = FrameBuilder::new(catalogue());
        for block in &frame.blocks {
            append(&mut builder, block, shift_us);
        }
        let meta = FrameMeta { agent: &player.name, boot: player.boot, seq: at as u64 + 1 };
        let header = builder.seal(&meta, &mut self.out);
        Ok((header, Bytes::copy_from_slice(&self.out)))
    }
}

/// The entity's key at this place of a block.
pub(crate) fn key_of<'a>(keys: &'a [KeyColumn<'a>], at: usize) -> impl Iterator<Item = Key<'a>> {
    keys.iter().map(move |column| match column {
        KeyColumn::Int(numbers) => Key::Int(numbers[at]),
        KeyColumn::Text(texts) => Key::Text(texts[at]),
    })
}

/// Puts a decoded block into a builder, scan by scan, its times moved.
fn append(builder: &mut FrameBuilder, block: &Block<'_>, shift_us: i64) {
    let Some(family) = catalogue().family_by_id(block.family) else { return };
    let place = |id: &u16| family.metrics.iter().position(|metric| metric.id == *id);
    let columns: Vec<(usize, usize)> =
        block.metrics.iter().enumerate().filter_map(|(at, id)| Some((at, place(id)?))).collect();
    let mut present = vec![false; family.metrics.len()];
    for (_, place) in &columns {
        present[*place] = true;
    }
    builder.set_present(family.id, &present);
    let mut row = vec![0i64; family.metrics.len()];
    let mut run_at = 0;
    let mut entities = Vec::with_capacity(block.presence.len());
    for (at, map) in block.presence.iter().enumerate() {
        let key: Vec<Key<'_>> = key_of(&block.keys, at).collect();
        entities.push((builder.add_entity(family.id, &key), *map, run_at, 0u32));
        run_at += block.entity_runs[at] as usize;
    }
    for (scan, ts_us) in block.scans.iter().enumerate() {
        builder.begin_scan(family.id, ts_us + shift_us);
        for (slot, map, run, used) in &mut entities {
            if *map & (1 << scan) == 0 {
                continue;
            }
            if *used == 0 {
                for (column, place) in &columns {
                    row[*place] = block.column(*column)[*run];
                }
                builder.push(family.id, *slot, &row);
            } else {
                builder.repeat(family.id, *slot);
            }
            *used += 1;
            if *used == block.runs[*run] {
                (*run, *used) = (*run + 1, 0);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A recording of three processes for some seconds, ten scans each.
    pub(crate) fn synthetic(seconds: usize) -> Recording {
        let mut builder = FrameBuilder::new(catalogue());
        let family = catalogue().family("process").unwrap();
        let mut row: Vec<i64> = (0..family.metrics.len() as i64).collect();
        let slots: Vec<_> = (1..4u64)
            .map(|pid| builder.add_entity(family.id, &[Key::Int(pid), Key::Int(7), Key::Text("x\"y")]))
            .collect();
        let mut frames = Vec::new();
        for second in 0..seconds {
            for scan in 0..10 {
                builder.begin_scan(family.id, (1_000 + second as i64) * 1_000_000 + scan * 100_000 + 5);
                for (at, slot) in slots.iter().enumerate() {
                    if (scan as usize).is_multiple_of(at + 2) {
                        row[at] += 3;
                        builder.push(family.id, *slot, &row);
                    } else {
                        builder.repeat(family.id, *slot);
                    }
                }
            }
            let mut out = Vec::new();
            builder.seal(&FrameMeta { agent: "a", boot: 1, seq: second as u64 + 1 }, &mut out);
            frames.push(Bytes::from(out));
        }
        Recording { frames, span_us: seconds as i64 * 1_000_000 }
    }

    #[test]
    fn a_replayed_frame_has_the_same_rows_at_other_times() {
        let recording = synthetic(4);
        let base_us = 5_000_000_000;
        let players = players(&recording, 2, 2, base_us);
        assert_eq!((players[0].offset, players[1].offset), (0, 1));
        let mut restamper = Restamper::default();
        for at in 0..9 {
            let (header, bytes) = restamper.frame(&recording, &players[1], at).unwrap();
            assert_eq!((header.agent.as_str(), header.seq), ("agent-001", at as u64 + 1));
            assert_eq!(header.first_us, base_us + at as i64 * 1_000_000 + 5);
            let (mut one, mut two) = (Scratch::default(), Scratch::default());
            let got = decode(&bytes, &mut one).unwrap();
            let want = decode(&recording.frames[(1 + at) % 4], &mut two).unwrap();
            let (got, want) = (&got.blocks[0], &want.blocks[0]);
            assert_eq!((&got.runs, &got.presence, got.rows), (&want.runs, &want.presence, want.rows));
            for column in 0..want.metrics.len() {
                assert_eq!(got.column(column), want.column(column));
            }
        }
    }

    #[test]
    fn a_recording_is_written_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep").join("frames");
        let recording = synthetic(3);
        write(&path, &recording.frames).unwrap();
        let read = Recording::read(&path).unwrap();
        assert_eq!((read.frames, read.span_us), (recording.frames, 3_000_000));
    }
}
