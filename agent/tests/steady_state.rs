//! In steady state a scan allocates nothing: not when files did not change, not when numbers move.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)]

mod tree;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tree::{Bench, Tree};

/// The system's allocator, counting what this thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local cell
// with a constant initialiser and no destructor, which itself never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Adds `step` to every number of the fast files that is at least four digits long.
fn move_numbers(tree: &Tree, originals: &[(String, String)], step: usize) {
    for (name, text) in originals {
        let mut out = String::with_capacity(text.len());
        for word in text.split_inclusive([' ', '\n']) {
            let digits = word.trim_end();
            match digits.parse::<u64>() {
                // The start time must stay: it is the process's identity.
                Ok(n) if digits.len() >= 4 && n != 4500 && n != 990_000 => {
                    out.push_str(
                        &word.replace(digits, &(n - n % 10 + (step as u64 % 10).min(5)).to_string()),
                    );
                }
                _ => out.push_str(word),
            }
        }
        tree.write(name, &out);
    }
}

#[test]
fn scans_allocate_nothing_once_warm() {
    let tree = Tree::copy("server");
    let names = [
        "proc/stat",
        "proc/meminfo",
        "proc/vmstat",
        "proc/diskstats",
        "proc/net/dev",
        "proc/1/stat",
        "proc/812/stat",
        "proc/4242/stat",
        "proc/net/snmp",
        "proc/interrupts",
        "proc/softirqs",
    ];
    let originals: Vec<(String, String)> = names.iter().map(|n| ((*n).to_owned(), tree.read(n))).collect();
    let mut settings = tree.settings();
    // Looking for new devices, mounts and groups makes lists, every ten seconds.
    settings.rediscover_interval = std::time::Duration::from_secs(3600);
    let mut bench = Bench::new(settings);
    for step in 0..60 {
        move_numbers(&tree, &originals, step);
        bench.scan_after(50_000);
        if step % 20 == 19 {
            bench.seal();
        }
    }
    let mut counted = 0;
    let mut told = Vec::new();
    let mut samples = 0;
    for step in 0..240usize {
        if step % 2 == 0 {
            move_numbers(&tree, &originals, step);
        }
        let before = ALLOCATIONS.with(Cell::get);
        samples += bench.scan_after(50_000).samples;
        let here = ALLOCATIONS.with(Cell::get) - before;
        counted += here;
        if here > 0 {
            told.push((step, here));
        }
        if step % 20 == 19 {
            bench.seal();
        }
    }
    assert!(samples > 60_000, "{samples}");
    assert_eq!(counted, 0, "allocations in 240 scans (scan, how many): {told:?}");
}
