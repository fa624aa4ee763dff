//! Clean-up, permissions, links, versions and control groups.

use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;
use crate::host_file::{FailOver, Permissions, RollBack};

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn a_clean_up_deletes_old_files_that_fit_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    for name in ["one.log", "a/two.log", "a/b/three.log", "four.txt", ".five.log"] {
        old_file(&root.join(name), 5000, 0);
    }
    std::fs::write(root.join("new.log"), "new").unwrap();
    let policy = CleanUp { older_than: Duration::from_secs(3600), ..policy(&root) };
    let said = clean(&policy, true).unwrap();
    assert!(said.output.starts_with("would delete 3 of 6 files"), "{}", said.output);
    assert!(exists(&root.join("one.log")), "a dry run deletes nothing");
    let said = clean(&policy, false).unwrap();
    assert!(said.output.starts_with("deleted 3 of 6 files, "), "{}", said.output);
    assert!(!exists(&root.join("one.log")) && !exists(&root.join("a/b/three.log")));
    for kept in ["four.txt", ".five.log", "new.log", "a/b"] {
        assert!(exists(&root.join(kept)), "{kept}");
    }
}

#[test]
fn a_clean_up_keeps_to_its_bounds_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let fill =
        || (0..10).for_each(|number| old_file(&root.join(format!("{number}.log")), 4096, 1000 * number));
    let left = || {
        let mut left: Vec<String> = std::fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        left.concat().replace(".log", "")
    };
    for (policy, expected) in [
        (CleanUp { most_files: 3, ..policy(&root) }, "3456789"),
        (CleanUp { most_bytes: 2 * 4096 + 1, ..policy(&root) }, "23456789"),
        (CleanUp { keep_bytes: 4 * 4096, ..policy(&root) }, "6789"),
        (CleanUp { older_than: Duration::from_secs(86_400 - 4_500), ..policy(&root) }, "56789"),
        (CleanUp { most_files: 0, ..policy(&root) }, "0123456789"),
    ] {
        fill();
        clean(&policy, false).unwrap();
        assert_eq!(left(), expected, "{policy:?}");
    }
}

#[test]
fn a_clean_up_follows_no_link_and_leaves_no_tree() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let (root, outside) = (base.join("root"), base.join("outside"));
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    old_file(&outside.join("secret.log"), 10, 0);
    symlink(&outside, root.join("dir.log")).unwrap();
    symlink(outside.join("secret.log"), root.join("link.log")).unwrap();
    symlink("../..", root.join("sub/up.log")).unwrap();
    let said = clean(&policy(&root), false).unwrap();
    assert!(said.output.starts_with("deleted 0 of 0 files"), "{}", said.output);
    assert!(exists(&outside.join("secret.log")));
    symlink(&root, base.join("alias")).unwrap();
    let error = clean(&policy(&base.join("alias")), false).unwrap_err();
    assert!(error.contains("has a link in it"), "{error}");
    let error = clean(&policy(&root.join("sub/../../outside")), false).unwrap_err();
    assert!(error.contains("without `..`"), "{error}");
    // A second name of a file elsewhere: the name goes, the file stays, and no space is counted.
    std::fs::hard_link(outside.join("secret.log"), root.join("hard.log")).unwrap();
    let said = clean(&policy(&root), false).unwrap();
    assert!(said.output.starts_with("deleted 1 of 1 files, 0 of 0 bytes"), "{}", said.output);
    assert!(exists(&outside.join("secret.log")));
}

#[test]
fn a_clean_up_stays_on_its_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let mount = root.join("mounted");
    std::fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this user may not mount");
        return;
    }
    old_file(&mount.join("a.log"), 10, 0);
    let said = clean(&policy(&root), false);
    let kept = exists(&mount.join("a.log"));
    std::process::Command::new("umount").arg(&mount).status().unwrap();
    assert!(kept && said.unwrap().output.contains("1 directories were passed by"));
}

#[test]
fn permissions_are_put_back_and_never_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let path = root.join("file");
    std::fs::write(&path, "x").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4000)).unwrap();
    let entry = Permissions { path: path.clone(), mode: 0o640, user: None, group: None };
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert!(permissions::run(&entry, true, &Stop::default()).unwrap().output.starts_with("would set"));
    assert_eq!(mode(&path), 0o4000);
    let said = permissions::run(&entry, false, &Stop::default()).unwrap();
    assert_eq!(mode(&path), 0o640, "even of a file nobody may read");
    assert!(said.before["mode_user_group"].starts_with("4000 "), "{said:?}");
    let other = root.join("other");
    std::fs::write(&other, "y").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&other, root.join("link")).unwrap();
    std::fs::hard_link(&other, root.join("hard")).unwrap();
    std::fs::create_dir(root.join("dir")).unwrap();
    symlink(&root, root.join("dir/self")).unwrap();
    for (name, why) in [
        ("link", "is neither"),
        ("hard", "2 names"),
        ("dir/self/other", "has a link"),
        ("gone", "does not exist"),
    ] {
        let entry = Permissions { path: root.join(name), mode: 0o666, ..entry.clone() };
        let error = permissions::run(&entry, false, &Stop::default()).unwrap_err();
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(mode(&other), 0o600, "{name}");
    }
    let setuid = Permissions { mode: 0o4755, ..entry.clone() };
    assert!(permissions::run(&setuid, false, &Stop::default()).unwrap_err().contains("set-id"));
    if rustix::process::geteuid().is_root() {
        let owned = Permissions { user: Some("65534:65534".into()), group: Some("0".into()), ..entry };
        permissions::run(&owned, false, &Stop::default()).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (65534, 0, 0o640));
    }
}

#[test]
fn a_release_link_goes_back_to_the_good_release() {
    let (dir, versions) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = dir.path().canonicalize().unwrap();
    let (link, releases) = (root.join("current"), root.join("releases"));
    for (age, name) in ["r1", "r2", "r3"].iter().enumerate() {
        std::fs::create_dir_all(releases.join(name)).unwrap();
        let time = std::time::SystemTime::now() - Duration::from_secs(1000 - age as u64);
        std::fs::File::open(releases.join(name)).unwrap().set_modified(time).unwrap();
    }
    symlink("/etc", releases.join("r0")).unwrap();
    symlink("releases/r1", &link).unwrap();
    let what = RollBack::Link { link: link.clone(), releases: releases.clone() };
    let back = |dry| roll_back::run(versions.path(), "web", "app", &what, dry, &Stop::default());
    assert_eq!(versions::keep(versions.path(), "web", "app", &what, 1), Ok(Kept::New));
    assert_eq!(versions::keep(versions.path(), "web", "app", &what, 2), Ok(Kept::Same));
    std::fs::remove_file(&link).unwrap();
    symlink("releases/r3", &link).unwrap();
    assert!(back(true).unwrap().output.contains("would switch"));
    assert_eq!(target(&link), Path::new("releases/r3"));
    let said = back(false).unwrap();
    assert_eq!(
        target(&link),
        Path::new("releases/r1"),
        "it was good; r2 never was. And a relative link stays one"
    );
    assert_eq!(said.before, names(&[("target", "releases/r3")]));
    assert!(back(false).unwrap_err().contains("no release before"), "there is none to fall further to");
    std::fs::remove_file(&link).unwrap();
    symlink(releases.join("r3"), &link).unwrap();
    std::fs::remove_dir_all(releases.join("r1")).unwrap();
    back(false).unwrap();
    assert_eq!(target(&link), releases.join("r2"), "a good one that is gone cannot be had");
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "a file").unwrap();
    assert!(back(false).unwrap_err().contains("is no link"));
}

#[test]
fn a_file_goes_back_to_the_version_that_was_kept_while_all_was_well() {
    let (dir, versions) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().canonicalize().unwrap().join("app.conf");
    let what = RollBack::File { path: path.clone(), versions: 2 };
    let keep = |now| versions::keep(versions.path(), "web", "../conf", &what, now);
    let back = |dry| roll_back::run(versions.path(), "web", "../conf", &what, dry, &Stop::default());
    std::fs::write(&path, "good").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(back(false).unwrap_err().contains("no other version"));
    assert_eq!((keep(1), keep(2)), (Ok(Kept::New), Ok(Kept::Same)));
    assert!(back(false).unwrap_err().contains("no other version"), "the only one is what is there");
    std::fs::write(&path, "bad").unwrap();
    assert!(back(true).unwrap().output.contains("would put"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "bad");
    let said = back(false).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(
        std::fs::read_to_string(&said.before["kept_at"]).unwrap(),
        "bad",
        "and what was bad can be looked at"
    );
    std::fs::remove_file(&path).unwrap();
    back(false).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good", "a deleted file comes back");
    for number in 0..9 {
        std::fs::write(&path, format!("v{number}")).unwrap();
        assert_eq!(keep(10 + number), Ok(Kept::New));
    }
    let kept = versions::copies(&versions::directory(versions.path(), "web", "../conf"));
    assert_eq!(kept.len(), 3, "the present and two more");
    assert!(kept.iter().all(|copy| copy.starts_with(versions.path().join("web.%2e%2e%2fconf"))));
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&secret, &path).unwrap();
    assert!(keep(98).unwrap_err().contains("second name"));
    std::fs::remove_file(&path).unwrap();
    std::fs::File::create(&path).unwrap().set_len(versions::FILE_MAX + 1).unwrap();
    assert!(back(false).unwrap_err().contains("by hand"), "what is replaced is kept, and that has an end");
    std::fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    assert!(keep(99).unwrap_err().contains("has a link"));
    assert!(back(false).unwrap_err().contains("is no plain file"));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
}

#[test]
fn a_file_that_grows_while_it_is_copied_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("1.copy"));
    std::fs::write(&from, "0123456789").unwrap();
    let mut file = std::fs::File::open(&from).unwrap();
    assert!(versions::copy(&mut file, &to, 9).unwrap_err().contains("beyond 9 bytes"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nor is a part of it");
    versions::copy(&mut file, &to, 10).unwrap();
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "0123456789");
}

#[test]
fn a_fail_over_switches_tells_the_hook_and_puts_back_when_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let link = root.join("upstream");
    symlink("/a", &link).unwrap();
    let hook = |script: String| {
        Some(Command {
            command: vec!["/bin/sh".into(), "-c".into(), script, "hook".into(), "{candidate}".into()],
            user: None,
            directory: None,
        })
    };
    let told = root.join("told");
    let what = FailOver {
        link: Some(link.clone()),
        candidates: vec![("one".into(), "/a".into()), ("two".into(), "/b".into())],
        hook: hook(format!("echo \"$1\" > {}", told.display())),
    };
    let limit = Duration::from_secs(10);
    let (outcome, report) = done(Step::FailOver { what: what.clone(), to: None }, limit);
    assert_eq!((outcome, target(&link)), (Outcome::Succeeded, "/b".into()));
    assert_eq!(report.before, names(&[("candidate", "one"), ("target", "/a")]));
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "two\n");
    let failing = FailOver { hook: hook("echo broken; exit 3".into()), ..what.clone() };
    let (outcome, report) = done(Step::FailOver { what: failing, to: None }, limit);
    assert!(
        matches!(&outcome, Outcome::Failed { error } if error.contains("the link was put back")),
        "{outcome:?}"
    );
    assert_eq!(target(&link), Path::new("/b"));
    assert!(report.output.contains("broken"));
    let again = Some(("two".to_owned(), "/b".into()));
    let (outcome, _) = done(Step::FailOver { what, to: again }, limit);
    assert!(matches!(&outcome, Outcome::Failed { error } if error.contains("active candidate already")));
}

#[test]
fn limits_are_set_in_control_groups_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pids.max"), "max").unwrap();
    let error = cgroup::set(&dir.path().canonicalize().unwrap(), "pids", 5, false).unwrap_err();
    assert!(error.contains("is no control group"), "{error}");
    for base in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
        let group = Path::new(base).join(format!("fettle-test-{}", std::process::id()));
        if std::fs::create_dir(&group).is_err() {
            continue;
        }
        let has = group.join("pids.max").exists();
        let said = has.then(|| cgroup::set(&group, "pids", 77, false));
        let now = std::fs::read_to_string(group.join("pids.max")).unwrap_or_default();
        let again = has.then(|| cgroup::set(&group, "pids", 78, false));
        std::fs::remove_dir(&group).unwrap();
        if let Some(said) = said {
            let again = again.unwrap().unwrap();
            assert_eq!((said.unwrap().before, now.trim()), (names(&[("pids.max", "max")]), "77"));
            assert_eq!(again.before, names(&[("pids.max", "77"), ("value", "77")]), "what it is put back by");
            return;
        }
    }
    eprintln!("skipped: this user may not make a control group with pids");
}
