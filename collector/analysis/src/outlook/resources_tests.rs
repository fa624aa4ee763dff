//! Made-up hosts whose ends are known: which scale is heard, which mounts count, what a capacity is.

use super::*;

const NOW: u32 = 1_000_000;

fn track(entity: &[&str], step_s: u32, steps: u32, value: impl Fn(f64) -> Vec<f64>) -> Track {
    let start = NOW - steps * step_s;
    let rows: Vec<Vec<Option<f64>>> = (0..steps)
        .map(|at| {
            let second = start + at * step_s;
            let mut row = vec![Some(f64::from(second))];
            row.extend(value(f64::from(second) - f64::from(NOW)).into_iter().map(Some));
            row
        })
        .collect();
    Track::new(entity.iter().map(|e| (*e).to_owned()).collect(), step_s, &rows).unwrap()
}

fn filesystem(name: &str, device: &str, step_s: u32, steps: u32, used: impl Fn(f64) -> f64) -> Track {
    const SIZE: f64 = 1e10;
    track(&[name, device, "ext4"], step_s, steps, |t| {
        vec![used(t), SIZE - used(t), 1000.0, 900.0, 900.0, 0.0]
    })
}

fn history(scales: Vec<Scale>) -> HostHistory {
    HostHistory { host: "h".into(), now: NOW, scales }
}

fn wobble(t: f64) -> f64 {
    (t * 0.37).sin() * 1e6
}

fn of<'a>(rows: &'a [OutlookRow], resource: Resource, entity: &str) -> &'a OutlookRow {
    rows.iter().find(|row| row.resource == resource && row.entity == entity).unwrap()
}

#[test]
fn a_disk_that_fills_is_told_with_its_time_from_now() {
    // 1 MB/s, full 2,000 s from now.
    let used = |t: f64| 1e10 - 1e6 * (2_000.0 - t) + wobble(t);
    let scale =
        Scale { step_s: 10, filesystems: vec![filesystem("/", "/dev/a", 10, 300, used)], ..Scale::default() };
    let rows = outlooks(&history(vec![scale]));
    let row = of(&rows, Resource::Disk, "/");
    let end = row.exhaustion.unwrap();
    assert!(end.probability > 0.5 && (end.eta_s - 2_000.0).abs() < 300.0, "{row:?}");
    assert!(row.words.starts_with("full in 3"), "{}", row.words);
    let inodes = of(&rows, Resource::Inodes, "/");
    assert_eq!((inodes.used, inodes.capacity), (100.0, 1000.0));
    assert!(inodes.exhaustion.is_none(), "{inodes:?}");
}

#[test]
fn the_short_history_is_heard_when_it_sees_a_nearer_end() {
    // Still for six hours, then filling for ten minutes: full in 300 s.
    let used = |t: f64| if t < -600.0 { 1e9 + wobble(t) } else { 1e10 - 1e7 * (300.0 - t) + wobble(t) };
    let fine =
        Scale { step_s: 10, filesystems: vec![filesystem("/", "/dev/a", 10, 60, used)], ..Scale::default() };
    let coarse =
        Scale { step_s: 60, filesystems: vec![filesystem("/", "/dev/a", 60, 360, used)], ..Scale::default() };
    let rows = outlooks(&history(vec![fine, coarse]));
    let row = of(&rows, Resource::Disk, "/");
    let end = row.exhaustion.unwrap();
    assert!(end.probability > 0.5 && (end.eta_s - 300.0).abs() < 60.0, "{row:?}");
}

#[test]
fn mounts_that_cannot_fill_or_stand_for_another_are_left_out() {
    let still = |t: f64| 5e9 + wobble(t);
    let mut sealed = filesystem("/sealed", "/dev/c", 10, 30, still);
    sealed.columns[5].fill(1.0);
    let mut gone = filesystem("/gone", "/dev/d", 10, 30, still);
    gone.start -= 600;
    let filesystems = vec![
        filesystem("/srv/data", "/dev/a", 10, 30, still),
        filesystem("/srv", "/dev/a", 10, 30, still),
        filesystem("/tmp", "tmpfs", 10, 30, still),
        filesystem("/run", "tmpfs", 10, 30, still),
        sealed,
        gone,
    ];
    let rows = outlooks(&history(vec![Scale { step_s: 10, filesystems, ..Scale::default() }]));
    let mut disks: Vec<&str> =
        rows.iter().filter(|r| r.resource == Resource::Disk).map(|r| r.entity.as_str()).collect();
    disks.sort_unstable();
    assert_eq!(disks, ["/run", "/srv", "/tmp"]);
}

#[test]
fn memory_descriptors_and_a_leak_each_have_their_capacity() {
    let memory = track(&[], 10, 120, |t| vec![1e10, 4e9 + wobble(t), 0.0, 0.0]);
    let load = track(&[], 10, 120, |t| vec![1_000.0 + 0.5 * (t + 1_200.0) + (t * 0.7).cos(), 2_000.0, 0.3]);
    // 1 MB/s against a limit of 1 GB: at 97 % of it in 270 s.
    let leak = track(&["7", "1", "leaky"], 10, 120, |t| vec![7e8 + 1e6 * t + wobble(t), 1e9, 0.0, 0.0]);
    let free = track(&["8", "1", "free"], 10, 120, |t| vec![7e8 + wobble(t), 1.8e19, 0.0, 0.0]);
    // One connection a second, full in 400 s; the leak holds 2 descriptors more a second, 300 s from its limit.
    let net_stack = track(&[], 10, 120, |t| vec![9_600.0 + t + (t * 0.7).cos(), 10_000.0]);
    let files = track(&["7", "1", "leaky"], 10, 120, |t| vec![3_496.0 + 2.0 * t, 4_096.0]);
    let scale = Scale {
        step_s: 10,
        memory: Some(memory),
        load: Some(load),
        net_stack: Some(net_stack),
        processes: vec![leak, free],
        descriptors: vec![files],
        ..Scale::default()
    };
    let rows = outlooks(&history(vec![scale]));
    assert!(rows.iter().all(|r| r.resource != Resource::Swap), "a host without swap cannot run out of it");
    assert_eq!(of(&rows, Resource::Memory, "").capacity, 1e10);
    let descriptors = of(&rows, Resource::Descriptors, "").exhaustion.unwrap();
    assert!((descriptors.eta_s - 800.0).abs() < 160.0, "{descriptors:?}");
    let connections = of(&rows, Resource::Conntrack, "");
    assert!((connections.exhaustion.unwrap().eta_s - 400.0).abs() < 80.0, "{connections:?}");
    assert!(connections.words.starts_with("connection table full in "), "{}", connections.words);
    let files = of(&rows, Resource::Descriptors, "leaky[7]");
    assert!((files.exhaustion.unwrap().eta_s - 300.0).abs() < 60.0, "{files:?}");
    let leak = of(&rows, Resource::ProcessMemory, "leaky[7]");
    assert!((leak.exhaustion.unwrap().eta_s - 270.0).abs() < 60.0, "{leak:?}");
    let free = of(&rows, Resource::ProcessMemory, "free[8]");
    assert!((free.capacity - 4.7e9).abs() < 0.1e9, "what the host has left: {free:?}");
}

#[test]
fn too_little_history_says_nothing() {
    let scale = Scale {
        step_s: 10,
        filesystems: vec![filesystem("/", "/dev/a", 10, 23, |t| 1e9 + t)],
        ..Scale::default()
    };
    assert_eq!(outlooks(&history(vec![scale])), []);
}

#[test]
fn the_share_within_a_time_follows_the_quantiles() {
    let row = OutlookRow {
        host: "h".into(),
        resource: Resource::Disk,
        entity: "/".into(),
        metric: "filesystem.used_bytes".into(),
        used: 1.0,
        capacity: 2.0,
        horizon_s: 3_600.0,
        exhaustion: Some(Exhaustion { eta_s: 600.0, low_s: 300.0, high_s: 1_200.0, probability: 0.8 }),
        words: String::new(),
    };
    for (seconds, share) in
        [(0.0, 0.0), (150.0, 0.0), (300.0, 0.1), (450.0, 0.3), (600.0, 0.5), (1_200.0, 0.9), (9e9, 1.0)]
    {
        assert!((row.within(seconds) - 0.8 * share).abs() < 1e-9, "{seconds}: {}", row.within(seconds));
    }
    assert_eq!(OutlookRow { exhaustion: None, ..row }.within(600.0), 0.0);
}
