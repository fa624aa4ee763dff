//! Frames to spool: small ones with real samples in them.

use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{FrameBuilder, FrameMeta, Header};

/// A sealed frame of two scans.
pub(crate) fn frame(agent: &str, tag: i64) -> (Header, Vec<u8>) {
    let family = catalogue().family("memory").unwrap();
    let mut builder = FrameBuilder::new(catalogue());
    let slot = builder.add_entity(family.id, &[]);
    for scan in 0..2 {
        builder.begin_scan(family.id, 1_700_000_000_000_000 + tag * 1_000_000 + scan);
        builder.push(family.id, slot, &vec![tag + scan; family.metrics.len()]);
    }
    let mut bytes = Vec::new();
    let header = builder.seal(&FrameMeta { agent, boot: 1, seq: 1 }, &mut bytes);
    (header, bytes)
}
