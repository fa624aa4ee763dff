//! The spool against full and broken disks, damage, restarts and quotas.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{decode, FrameBuilder, FrameMeta, Header, Scratch};
use fettle_shared::subjects::Stored;

mod model;

use super::log::segment_numbers;
use super::medium::{faults, Call};
use super::{status, Durability, Recovery, Spool, SpoolSettings};
use crate::handoff::{Outgoing, Overflow, ReadRequest};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// A sealed frame of `scans` scans with values that do not compress away.
fn frame(tag: u64, scans: usize) -> Vec<u8> {
    let family = catalogue().family("memory").unwrap();
    let mut builder = FrameBuilder::new(catalogue());
    let slot = builder.add_entity(family.id, &[]);
    for scan in 0..scans {
        builder.begin_scan(family.id, 1_000_000 + scan as i64);
        let mix =
            |n: usize| (tag * 1000 + scan as u64 * 97 + n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64;
        let row: Vec<i64> = (0..family.metrics.len()).map(mix).collect();
        builder.push(family.id, slot, &row);
    }
    let mut out = Vec::new();
    builder.seal(&FrameMeta { agent: "a", boot: 1, seq: 1 }, &mut out);
    out
}

fn settings(dir: &Path) -> SpoolSettings {
    SpoolSettings { quota: 1 << 20, segment: 16 << 10, memory: 64 << 10, ..SpoolSettings::at(dir) }
}

fn reopen(dir: &Path) -> (Spool, Recovery) {
    Spool::open_on_host(settings(dir), "a", 1).unwrap()
}

fn everything(spool: &mut Spool) -> Vec<Outgoing> {
    let request = ReadRequest { from: 0, to: u64::MAX, frames: usize::MAX, bytes: usize::MAX };
    spool.read(request, Instant::now()).frames
}

fn numbers(spool: &mut Spool) -> Vec<u64> {
    everything(spool).iter().map(|f| f.seq).collect()
}

/// Frames, rows and samples that the readable reports say are gone.
fn reported(spool: &mut Spool) -> (BTreeSet<(u64, u64)>, u64) {
    let (mut gone, mut samples) = (BTreeSet::new(), 0);
    for frame in everything(spool) {
        let mut scratch = Scratch::default();
        for range in decode(&frame.bytes, &mut scratch).unwrap().dropped {
            gone.extend((range.first_seq..=range.last_seq).map(|seq| (range.boot, seq)));
            samples += range.samples;
        }
    }
    (gone, samples)
}

fn fill(spool: &mut Spool, frames: u64) -> u64 {
    let mut samples = 0;
    for tag in 0..frames {
        let bytes = frame(tag, 3);
        samples += Header::parse(&bytes).unwrap().samples;
        assert!(spool.append(bytes, Instant::now()));
    }
    samples
}

fn last_segment(dir: &Path) -> std::path::PathBuf {
    super::log::segment_path(dir, *segment_numbers(dir).unwrap().last().unwrap())
}

#[test]
fn numbers_continue_in_the_same_boot_and_begin_anew_with_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, recovery) = reopen(dir.path());
    assert_eq!(recovery.new_boot, Some("the spool is new"));
    fill(&mut spool, 5);
    let boot = spool.boot();
    drop(spool);
    let (mut spool, recovery) = reopen(dir.path());
    assert_eq!((recovery.new_boot, recovery.frames, spool.boot()), (None, 5, boot));
    fill(&mut spool, 2);
    assert_eq!(numbers(&mut spool), (1..=7).collect::<Vec<_>>());
    drop(spool);
    let (mut spool, recovery) = Spool::open_on_host(settings(dir.path()), "a", 2).unwrap();
    assert_eq!(recovery.new_boot, Some("the host has restarted"));
    assert_ne!(spool.boot(), boot);
    fill(&mut spool, 1);
    assert_eq!(numbers(&mut spool), [1, 2, 3, 4, 5, 6, 7, 1]);
    let taken = Spool::open_on_host(settings(dir.path()), "a", 2);
    assert!(taken.unwrap_err().to_string().contains("in use by another"));
    drop(spool);
    let (_, recovery) = Spool::open_on_host(settings(dir.path()), "b", 2).unwrap();
    assert_eq!(recovery.new_boot, Some("the agent has another name"));
    assert_eq!(recovery.agents.len(), 2, "old frames keep their name");
}

#[test]
fn a_write_cut_short_anywhere_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 3);
    let len = everything(&mut spool)[2].bytes.len();
    drop(spool);
    let file = last_segment(dir.path());
    let whole = std::fs::read(&file).unwrap();
    for cut in 1..=len {
        std::fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let (mut spool, recovery) = reopen(dir.path());
        assert_eq!(recovery.torn_bytes, (len - cut) as u64);
        assert_eq!((recovery.new_boot, recovery.lost_frames), (None, 0), "cut {cut}");
        assert_eq!(numbers(&mut spool), [1, 2]);
        fill(&mut spool, 1);
        assert_eq!(numbers(&mut spool), [1, 2, 3]);
    }
}

#[test]
fn damage_in_the_middle_costs_one_frame_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 4);
    let len = everything(&mut spool)[0].bytes.len();
    let boot = spool.boot();
    drop(spool);
    let file = last_segment(dir.path());
    let whole = std::fs::read(&file).unwrap();
    for (at, samples) in [(len + 80, 0), (len + Header::LEN + 9, 3)] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let (mut spool, recovery) = reopen(dir.path());
        assert_eq!(
            recovery.lost_frames,
            u64::from(samples == 0),
            "a damaged payload is seen when it is read"
        );
        let readable: Vec<_> = numbers(&mut spool);
        let (gone, lost_samples) = reported(&mut spool);
        assert_eq!(gone, BTreeSet::from([(boot, 2)]), "byte {at}");
        assert_eq!(lost_samples, samples * catalogue().family("memory").unwrap().metrics.len() as u64);
        assert!(!readable.contains(&2) && readable.contains(&3));
        drop(spool);
        let (mut spool, recovery) = reopen(dir.path());
        assert_eq!(recovery.lost_frames, 0, "it is reported once");
        assert_eq!(numbers(&mut spool), [1, 3, 4, 5]);
        drop(spool);
    }
}

#[test]
fn garbage_at_the_end_begins_a_new_boot() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 3);
    let len = everything(&mut spool)[2].bytes.len();
    let boot = spool.boot();
    drop(spool);
    let file = last_segment(dir.path());
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() - len + 5;
    bytes[at] ^= 0xff;
    std::fs::write(&file, &bytes).unwrap();
    let (mut spool, recovery) = reopen(dir.path());
    assert_eq!(recovery.new_boot, Some("the end of the log is damaged"));
    assert_ne!(spool.boot(), boot, "number 3 may have been published");
    fill(&mut spool, 1);
    assert_eq!(numbers(&mut spool), [1, 2, 1]);
}

#[test]
fn confirmations_free_segments_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 100);
    let boot = spool.boot();
    let before = segment_numbers(dir.path()).unwrap().len();
    assert!(before > 3);
    spool.confirm(Stored { boot: boot ^ 1, upto: 100 });
    assert_eq!(spool.view().oldest, 0, "another boot's word means nothing here");
    spool.confirm(Stored { boot, upto: 97 });
    assert_eq!(numbers(&mut spool), [98, 99, 100]);
    assert!(segment_numbers(dir.path()).unwrap().len() <= 2);
    assert_eq!(spool.counters().frames, 3);
    assert_eq!(spool.counters().stored_seq, 97);
    spool.close();
    drop(spool);
    assert_eq!(status(dir.path()).unwrap().unconfirmed_frames, 3);
    let (mut spool, recovery) = reopen(dir.path());
    assert_eq!(recovery.lost_frames, 0);
    assert_eq!(numbers(&mut spool), [98, 99, 100]);
    spool.confirm(Stored { boot, upto: 100 });
    assert_eq!((spool.counters().frames, spool.view().oldest), (0, spool.view().end));
    drop(spool);
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 1);
    assert_eq!(numbers(&mut spool).last(), Some(&101), "a number is not used twice");
}

#[test]
fn numbers_from_the_future_begin_a_new_boot() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 3);
    let boot = spool.boot();
    spool.confirm(Stored { boot, upto: 10 });
    assert_ne!(spool.boot(), boot);
    fill(&mut spool, 1);
    assert_eq!(numbers(&mut spool), [1]);
}

#[test]
fn a_host_that_lost_power_may_know_less_than_the_collector() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 3);
    let boot = spool.boot();
    drop(spool);
    let (mut spool, _) = Spool::open_on_host(settings(dir.path()), "a", 2).unwrap();
    let new = spool.boot();
    spool.confirm(Stored { boot, upto: 10 });
    assert_eq!((spool.boot(), spool.counters().frames), (new, 0));
}

#[test]
fn over_the_quota_the_oldest_go_and_the_ledger_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let small = SpoolSettings { quota: 64 << 10, ..settings(dir.path()) };
    let (mut spool, _) = Spool::open_on_host(small.clone(), "a", 1).unwrap();
    let samples = fill(&mut spool, 300);
    let counters = spool.counters();
    assert!(counters.bytes <= (64 << 10) + 4096, "{counters:?}");
    let kept = everything(&mut spool);
    let (gone, gone_samples) = reported(&mut spool);
    assert_eq!(gone_samples, counters.dropped_samples);
    let kept_samples: u64 = kept.iter().map(|f| Header::parse(&f.bytes).unwrap().samples).sum();
    assert_eq!(kept_samples + gone_samples, samples, "counted to the sample");
    let kept: BTreeSet<_> = kept.iter().map(|f| (f.boot, f.seq)).collect();
    assert!(kept.is_disjoint(&gone));
    let all: Vec<u64> = kept.union(&gone).map(|(_, seq)| *seq).collect();
    assert_eq!(all, (1..=counters.last_seq).collect::<Vec<_>>(), "every number is accounted for");
    drop(spool);
    let (mut spool, recovery) = Spool::open_on_host(small, "a", 1).unwrap();
    assert_eq!(recovery.lost_frames, 0);
    assert_eq!(reported(&mut spool).0, gone);
}

#[test]
fn a_full_disk_holds_frames_in_memory_and_catches_up() {
    for (calls, errno) in [(&[Call::Write][..], ENOSPC), (&[Call::Write, Call::Truncate, Call::Create], EIO)]
    {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = reopen(dir.path());
        fill(&mut spool, 3);
        let boot = spool.boot();
        faults::fail(calls, errno);
        fill(&mut spool, 10);
        assert_ne!(spool.boot(), boot, "what memory holds is numbered apart");
        let undone = calls.len() == 1;
        assert_eq!(everything(&mut spool).len(), if undone { 13 } else { 3 }, "and may be published");
        assert!(spool.retry_at().is_some() && spool.counters().errors > 0);
        faults::heal();
        spool.retry(Instant::now() + Duration::from_secs(9));
        assert!(spool.retry_at().is_none());
        assert_eq!(everything(&mut spool).len(), 13);
        assert_eq!(spool.counters().held_bytes, 0);
        let before: Vec<_> = everything(&mut spool).iter().map(|f| (f.boot, f.seq)).collect();
        let boot = spool.boot();
        drop(spool);
        let (mut spool, recovery) = reopen(dir.path());
        assert_eq!((recovery.lost_frames, spool.boot()), (0, boot));
        let after: Vec<_> = everything(&mut spool).iter().map(|f| (f.boot, f.seq)).collect();
        let unique: BTreeSet<_> = after.iter().collect();
        assert_eq!(unique, before.iter().collect());
    }
}

#[test]
fn a_crash_with_a_full_disk_uses_no_number_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 3);
    faults::fail(&[Call::Write], ENOSPC);
    fill(&mut spool, 3);
    let published: BTreeSet<_> = everything(&mut spool).iter().map(|f| (f.boot, f.seq)).collect();
    assert_eq!(published.len(), 6);
    drop(spool);
    faults::heal();
    let (mut spool, _) = reopen(dir.path());
    let kept: BTreeSet<_> = everything(&mut spool).iter().map(|f| (f.boot, f.seq)).collect();
    fill(&mut spool, 3);
    let fresh: BTreeSet<_> =
        everything(&mut spool).iter().map(|f| (f.boot, f.seq)).filter(|n| !kept.contains(n)).collect();
    assert_eq!(fresh.len(), 3);
    assert!(fresh.is_disjoint(&published));
}

#[test]
fn memory_that_overflows_is_counted_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    faults::fail(&[Call::Write], ENOSPC);
    let samples = fill(&mut spool, 200);
    let counters = spool.counters();
    assert!(counters.held_bytes <= 64 << 10 && counters.dropped_frames > 0);
    faults::heal();
    spool.retry(Instant::now() + Duration::from_secs(9));
    let kept: u64 = everything(&mut spool).iter().map(|f| Header::parse(&f.bytes).unwrap().samples).sum();
    let (gone, gone_samples) = reported(&mut spool);
    assert_eq!(kept + gone_samples, samples);
    assert_eq!(gone.len() as u64, spool.counters().dropped_frames);
}

#[test]
fn confirmed_frames_make_room_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 3);
    faults::fail(&[Call::Write, Call::Create], ENOSPC);
    fill(&mut spool, 2);
    let held: Vec<_> = everything(&mut spool);
    for frame in &held {
        spool.confirm(Stored { boot: frame.boot, upto: frame.seq });
    }
    assert_eq!(spool.counters().frames, 0, "published from memory, confirmed, gone");
    faults::heal();
    spool.retry(Instant::now() + Duration::from_secs(9));
    assert_eq!(spool.counters().bytes, 0);
}

#[test]
fn a_failed_sync_is_a_failed_write() {
    let dir = tempfile::tempdir().unwrap();
    let power = SpoolSettings { durability: Durability::Power, ..settings(dir.path()) };
    let (mut spool, _) = Spool::open_on_host(power, "a", 1).unwrap();
    fill(&mut spool, 2);
    faults::fail(&[Call::Sync], EIO);
    fill(&mut spool, 2);
    assert!(spool.counters().held_bytes > 0);
    faults::heal();
    spool.retry(Instant::now() + Duration::from_secs(9));
    assert_eq!(everything(&mut spool).len(), 4);
}

#[test]
fn frames_that_never_had_a_number_are_reported_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 2);
    spool.note_overflow(Overflow { frames: 3, rows: 30, samples: 300 }, Instant::now());
    fill(&mut spool, 1);
    assert_eq!(numbers(&mut spool), [1, 2, 6, 7]);
    let (gone, samples) = reported(&mut spool);
    assert_eq!((gone.len(), samples), (3, 300));
    drop(spool);
    assert_eq!(reopen(dir.path()).1.lost_frames, 0);
}

#[test]
fn a_restart_resumes_behind_what_nats_has_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 50);
    let frame = everything(&mut spool)[29].clone();
    spool.published(frame.index);
    spool.close();
    drop(spool);
    let (mut spool, _) = reopen(dir.path());
    assert_eq!(spool.resume_at(), 30);
    spool.confirm(Stored { boot: frame.boot, upto: 50 });
    assert_eq!(spool.resume_at(), spool.view().end);
}

#[test]
fn what_cannot_be_written_down_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 100);
    let boot = spool.boot();
    let before = segment_numbers(dir.path()).unwrap();
    faults::fail(&[Call::Write], ENOSPC);
    spool.confirm(Stored { boot, upto: 100 });
    assert_eq!(segment_numbers(dir.path()).unwrap(), before, "the files are all that knows the last number");
    drop(spool);
    faults::heal();
    let (mut spool, _) = reopen(dir.path());
    fill(&mut spool, 1);
    assert_eq!(numbers(&mut spool).last(), Some(&101));
}
