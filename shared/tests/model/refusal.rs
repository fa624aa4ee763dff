//! Decodes a frame that is expected to be bad: never a panic, and no more memory than its header
//! allows. Used where [`super::allocation::Counting`] is the allocator.

use fettle_shared::frame::{decode, FrameError, Header, Scratch};

use super::allocation::peak_of;
use super::{expand, Rows};

/// What a decoder may allocate whatever the header says.
const SLACK: usize = 1 << 20;

/// What a decoder may allocate for what the header says: the payload, the values, and for each row
/// its entity's maps, counts and eight key columns.
fn allowed(bytes: &[u8]) -> usize {
    Header::parse(bytes).map_or(0, |header| {
        header.raw_len as usize + 8 * header.samples as usize + 200 * header.rows as usize
    })
}

/// Decodes, and fails the test when that took more memory than the header allows.
pub fn within_bounds(bytes: &[u8]) -> Result<Vec<Rows>, FrameError> {
    let allowed = allowed(bytes) + SLACK;
    let mut scratch = Scratch::default();
    let (outcome, peak) = peak_of(|| match decode(bytes, &mut scratch) {
        Ok(frame) => Ok(frame),
        Err(why) => Err(why),
    });
    assert!(peak <= allowed, "{peak} bytes allocated where {allowed} are allowed: {outcome:?}");
    outcome.map(|frame| {
        assert_eq!(frame.blocks.iter().map(|b| u64::from(b.rows)).sum::<u64>(), u64::from(frame.header.rows));
        assert_eq!(frame.blocks.iter().map(|b| b.samples()).sum::<u64>(), frame.header.samples);
        expand(&frame)
    })
}

/// Decodes a frame that must be refused; gives the reason.
pub fn refusal(bytes: &[u8]) -> FrameError {
    match within_bounds(bytes) {
        Ok(rows) => panic!("taken, though it must be refused: {rows:?}"),
        Err(why) => {
            assert!(!why.reason().is_empty() && !why.to_string().is_empty());
            why
        }
    }
}
