//! The spool's small state file: which boot the numbers belong to, where they continue, and what
//! the collector has confirmed.
//!
//! Two slots, written in turn, each with a generation and a checksum: a torn write spoils one slot
//! and the other still holds. The blocks are there from the first write on, so the state can be
//! written on a full disk. Rejected: a new file renamed over the old one, which a full disk refuses
//! at the very moment when deleting confirmed segments would help.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fettle_shared::frame::AgentName;
use fettle_shared::subjects::AGENT_NAME_MAX;
use xxhash_rust::xxh3::xxh3_64;

use super::medium;

/// Name of the file in the spool's directory.
pub(super) const STATE_FILE: &str = "state";
/// Boots whose confirmations are remembered; older ones are only sent again.
const WATERMARKS: usize = 16;
const SLOT: usize = 512;
/// The slots lie in different pages, so that one torn page spoils one slot.
const SLOT_DISTANCE: u64 = 4096;
const MAGIC: [u8; 4] = *b"FTSS";
const VERSION: u16 = 1;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The boot whose sequence a restart continues.
    pub boot: u64,
    /// The next sequence number of that boot, or a later frame on disk says more.
    pub next_seq: u64,
    /// Hash of the kernel's boot id at the last start.
    pub host_boot: u64,
    /// Boot and sequence number up to which NATS had acknowledged.
    pub published: (u64, u64),
    /// Who the agent was.
    pub agent: AgentName,
    /// Confirmed sequence number by boot, newest last.
    pub watermarks: Vec<(u64, u64)>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct StateFile {
    file: File,
    generation: u64,
}

impl StateFile {
    /// Opens or makes the file; `None` beside it when it is new or neither slot can be trusted.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Option<State>)> {
        let path = dir.join(STATE_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let newest = read_newest(&file)?;
        let generation = newest.as_ref().map_or(0, |(generation, _)| *generation);
        Ok((Self { file, generation }, newest.map(|(_, state)| state)))
    }

    /// Reads the file without making one.
    pub(super) fn peek(dir: &Path) -> io::Result<Option<State>> {
        match File::open(dir.join(STATE_FILE)) {
            Ok(file) => Ok(read_newest(&file)?.map(|(_, state)| state)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the slot that is not the newest.
    pub(super) fn write(&mut self, state: &State, sync: bool) -> io::Result<()> {
        let generation = self.generation + 1;
        let slot = encode(generation, state);
        medium::write_at(&self.file, &slot, (generation % 2) * SLOT_DISTANCE)?;
        if sync {
            medium::sync(&self.file)?;
        }
        self.generation = generation;
        Ok(())
    }
}

fn read_newest(file: &File) -> io::Result<Option<(u64, State)>> {
    let mut newest: Option<(u64, State)> = None;
    for place in 0..2 {
        let mut slot = [0; SLOT];
        match file.read_exact_at(&mut slot, place * SLOT_DISTANCE) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        if let Some(found) = decode(&slot) {
            if newest.as_ref().is_none_or(|(generation, _)| found.0 > *generation) {
                newest = Some(found);
            }
        }
    }
    Ok(newest)
}

fn encode(generation: u64, state: &State) -> [u8; SLOT] {
    let mut out = Vec::with_capacity(SLOT);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    let kept = state.watermarks.len().min(WATERMARKS);
    out.extend_from_slice(&(kept as u16).to_le_bytes());
    let (published_boot, published_seq) = state.published;
    for word in [generation, state.boot, state.next_seq, state.host_boot, published_boot, published_seq] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let name = state.agent.as_str().as_bytes();
    out.extend_from_slice(name);
    out.resize(out.len() + AGENT_NAME_MAX - name.len(), 0);
    for (boot, upto) in &state.watermarks[state.watermarks.len() - kept..] {
        out.extend_from_slice(&boot.to_le_bytes());
        out.extend_from_slice(&upto.to_le_bytes());
    }
    let mut slot = [0; SLOT];
    slot[..out.len()].copy_from_slice(&out);
    let hash = xxh3_64(&slot[..SLOT - 8]);
    slot[SLOT - 8..].copy_from_slice(&hash.to_le_bytes());
    slot
}

fn decode(slot: &[u8; SLOT]) -> Option<(u64, State)> {
    let word = |at: usize| slot[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    if slot[..4] != MAGIC
        || slot[4..6] != VERSION.to_le_bytes()
        || word(SLOT - 8)? != xxh3_64(&slot[..SLOT - 8])
    {
        return None;
    }
    let kept = usize::from(u16::from_le_bytes([slot[6], slot[7]]));
    let name = &slot[56..56 + AGENT_NAME_MAX];
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(AGENT_NAME_MAX);
    let mut watermarks = Vec::with_capacity(kept);
    for n in 0..kept.min(WATERMARKS) {
        let at = 56 + AGENT_NAME_MAX + 16 * n;
        watermarks.push((word(at)?, word(at + 8)?));
    }
    let state = State {
        boot: word(16)?,
        next_seq: word(24)?,
        host_boot: word(32)?,
        published: (word(40)?, word(48)?),
        agent: AgentName::new(std::str::from_utf8(&name[..len]).ok()?)?,
        watermarks,
    };
    Some((word(8)?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(next_seq: u64) -> State {
        State {
            boot: 7,
            next_seq,
            host_boot: 9,
            published: (7, 3),
            agent: AgentName::new("web-1").unwrap(),
            watermarks: (1..=20).map(|n| (n, n * 2)).collect(),
        }
    }

    #[test]
    fn a_torn_write_leaves_the_state_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, none) = StateFile::open(dir.path()).unwrap();
        assert_eq!(none, None);
        file.write(&sample(1), false).unwrap();
        file.write(&sample(2), false).unwrap();
        let read = StateFile::peek(dir.path()).unwrap().unwrap();
        assert_eq!((read.next_seq, read.watermarks.len()), (2, WATERMARKS));
        assert_eq!(read.watermarks.last(), Some(&(20, 40)));
        // Generation 2 lies in slot 0; spoil each of its bytes in turn.
        let path = dir.path().join(STATE_FILE);
        let intact = std::fs::read(&path).unwrap();
        for at in 0..SLOT {
            let mut torn = intact.clone();
            torn[at] ^= 0x40;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(StateFile::peek(dir.path()).unwrap().unwrap().next_seq, 1, "byte {at}");
        }
        std::fs::write(&path, &intact[..100]).unwrap();
        assert_eq!(StateFile::peek(dir.path()).unwrap(), None);
    }
}
