//! File work that hangs: the action is over at its time limit, the thread is known until it ends, and what it was to
//! change is not changed any more. The kept copy of a file is a pipe here: opening it waits until somebody writes.

use std::fs::File;

use rustix::fs::{mknodat, FileType, Mode, CWD};

use super::*;
use crate::host_file::RollBack;

#[test]
fn hung_file_work_is_known_until_it_ends_and_then_changes_nothing() {
    let (dir, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().canonicalize().unwrap().join("app.conf");
    std::fs::write(&path, "bad").unwrap();
    let what = RollBack::File { path: path.clone(), versions: 2 };
    let versions = versions::directory(kept.path(), "web", "conf");
    std::fs::create_dir_all(&versions).unwrap();
    let pipe = versions.join("1.copy");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (means, limit) = (means(kept.path()), Duration::from_millis(50));
    let step = Step::RollBack { entry: "conf".into(), what, then: None };
    runtime().block_on(async {
        let (outcome, report) = run(&task(step, limit), &means).await;
        assert_eq!(outcome, Outcome::TimedOut);
        assert!(report.output.contains("nothing else is done to web"), "{}", report.output);
        assert!(!means.threads.have_ended(), "the thread waits for the pipe");
        let opened = tokio::task::spawn_blocking(move || File::options().write(true).open(pipe));
        tokio::time::timeout(Duration::from_secs(60), means.threads.clone().end()).await.unwrap();
        opened.await.unwrap().unwrap();
        assert!(means.threads.have_ended());
    });
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "bad", "its time was over");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "and nothing is left beside it");
}

#[test]
fn work_that_found_no_thread_in_its_time_is_not_begun() {
    let one =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let threads = Threads::new();
    let (begun, counted) = std::sync::mpsc::channel::<&str>();
    one.block_on(async {
        let waits = begun.clone();
        let first = in_thread(&threads, move |_| {
            waits.send("first").unwrap();
            held.recv().unwrap();
            Ok(Report::default())
        });
        let first = async { tokio::time::timeout(Duration::from_millis(50), first).await };
        assert!(first.await.is_err());
        let second = in_thread(&threads, move |_| {
            begun.send("second").unwrap();
            Ok(Report::default())
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), second).await.is_err());
        assert!(!threads.have_ended());
        release.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), threads.clone().end()).await.unwrap();
    });
    assert_eq!(counted.iter().collect::<Vec<_>>(), ["first"], "the second's time was over");
}

#[test]
fn stopped_work_puts_nothing_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for release in ["1", "2"] {
        std::fs::create_dir_all(root.join("releases").join(release)).unwrap();
    }
    let link = root.join("current");
    std::os::unix::fs::symlink("releases/2", &link).unwrap();
    let what = RollBack::Link { link: link.clone(), releases: root.join("releases") };
    let stop = Stop::default();
    stop.set();
    let error = roll_back::run(&root.join("kept"), "web", "app", &what, false, &stop).unwrap_err();
    assert!(error.contains("time was over"), "{error}");
    assert_eq!(target(&link), Path::new("releases/2"));
}
