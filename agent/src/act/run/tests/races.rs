//! Somebody else swaps what an action works on, as fast as a thread can, while it works. However the race goes,
//! nothing outside is touched.

use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{renameat_with, RenameFlags, CWD};

use super::*;
use crate::host_file::{Permissions, RollBack};

/// Swaps two names for each other until dropped, and counts.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapper {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (flag, count) = (stop.clone(), swaps.clone());
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                if renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, swaps, thread: Some(thread) }
    }

    /// Runs `attempt` until there were so many swaps and attempts, of which some found what they were made for: with
    /// one processor for both, all of them may be made between two swaps.
    fn against(&self, mut attempt: impl FnMut() -> bool) {
        let (mut attempts, mut found) = (0, 0);
        while attempts < 300 || found < 3 || self.swaps.load(Ordering::Relaxed) < 300 {
            found += u32::from(attempt());
            attempts += 1;
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_directory_that_becomes_a_link_leads_no_clean_up_out() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let (root, outside) = (base.join("root"), base.join("outside"));
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    for number in 0..20 {
        old_file(&outside.join(format!("{number}.log")), 10, 0);
    }
    symlink(&outside, root.join("bait")).unwrap();
    let swapper = Swapper::start(root.join("sub"), root.join("bait"));
    swapper.against(|| {
        for sub in ["sub", "bait"] {
            for number in 0..20 {
                // Through a descriptor of the true directory, if it is that now.
                let path = root.join(sub);
                if path.symlink_metadata().is_ok_and(|seen| seen.is_dir()) {
                    if let Ok(directory) = tree::open_plain(&path, rustix::fs::OFlags::DIRECTORY) {
                        let name = format!("{number}.log");
                        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
                        let _ = rustix::fs::openat(&directory, name, flags, rustix::fs::Mode::RUSR);
                    }
                }
            }
        }
        clean(&policy(&root), false).is_ok()
    });
    drop(swapper);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 20, "nothing outside was deleted");
}

#[test]
fn a_file_that_becomes_a_link_gives_no_other_file_a_mode() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let (file, bait, secret) = (base.join("file"), base.join("bait"), base.join("secret"));
    for path in [&file, &secret] {
        std::fs::write(path, "x").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    symlink(&secret, &bait).unwrap();
    let entry = Permissions { path: file.clone(), mode: 0o666, user: None, group: None };
    let swapper = Swapper::start(file, bait);
    swapper.against(|| permissions::run(&entry, false, &Stop::default()).is_ok());
    drop(swapper);
    assert_eq!(std::fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_becomes_a_link_is_neither_kept_nor_written_through() {
    let (dir, versions) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let base = dir.path().canonicalize().unwrap();
    let (file, bait, secret) = (base.join("conf"), base.join("bait"), base.join("secret"));
    std::fs::write(&secret, "secret").unwrap();
    std::fs::write(&file, "good").unwrap();
    let what = RollBack::File { path: file.clone(), versions: 4 };
    versions::keep(versions.path(), "web", "conf", &what, 1).unwrap();
    std::fs::write(&file, "bad").unwrap();
    symlink(&secret, &bait).unwrap();
    let swapper = Swapper::start(file, bait);
    let mut now = 2;
    swapper.against(|| {
        now += 1;
        let kept = versions::keep(versions.path(), "web", "conf", &what, now);
        let _ = roll_back::run(versions.path(), "web", "conf", &what, false, &Stop::default());
        kept.is_ok()
    });
    drop(swapper);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret", "nothing was written through the link");
    for copy in versions::copies(&versions::directory(versions.path(), "web", "conf")) {
        assert_ne!(std::fs::read_to_string(&copy).unwrap(), "secret", "nothing was read through it");
    }
}

#[test]
fn a_switched_link_is_never_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("current");
    symlink("/a", &path).unwrap();
    let (stop, watched) = (Arc::new(AtomicBool::new(false)), path.clone());
    let flag = stop.clone();
    let watcher = std::thread::spawn(move || {
        let mut looks = 0u64;
        while !flag.load(Ordering::Relaxed) || looks < 1000 {
            let seen = std::fs::read_link(&watched).expect("there is always a link");
            assert!(seen == Path::new("/a") || seen == Path::new("/b"));
            looks += 1;
        }
    });
    for round in 0..500 {
        let to = if round % 2 == 0 { "/b" } else { "/a" };
        link::Link::open(&path).unwrap().point_to(Path::new(to)).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}
