//! Links that would lead an action out of its place. Whoever can write where actions work puts them there after
//! the host's file was read; the orders are true ones. What lies outside stays as it is, byte for byte.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fettle_shared::command::{Action, Outcome};
use fettle_tests::mended::Mended;

use crate::tree::tree;
use fettle_tests::stranger::Stranger;

const OLD: Duration = Duration::from_secs(3_600);

fn write(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "kept").unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - OLD).unwrap();
}

/// Lays everything out as it should be.
pub fn prepare(files: &Path) {
    for name in [
        "outside/secret.log",
        "outside/deep/secret.log",
        "outside/logs/secret.log",
        "logs/old.log",
        "logs/deep/old.log",
        "swapped/old.log",
        "above/logs/old.log",
        "releases/1/config",
        "releases/2/config",
        "others/1/config",
        "others/2/config",
        "plain/1/config",
        "plain/2/config",
        "conf",
        "data",
    ] {
        write(&files.join(name));
    }
    symlink("releases/2", files.join("current")).unwrap();
    symlink("others/2", files.join("other")).unwrap();
    symlink("plain/2", files.join("link")).unwrap();
}

/// A component with everything that names a path.
pub fn components(files: &Path) -> String {
    let path = |name: &str| format!("\"{}\"", files.join(name).display());
    let cleaned = |name: &str, root: &str| {
        format!(
            "clean_up.{name} = {{ root = {}, pattern = \"*.log\", older_than = \"1s\", most = \"1GiB\" }}\n",
            path(root)
        )
    };
    let rolled = |name: &str, link: &str, releases: &str| {
        format!("roll_back.{name} = {{ link = {}, releases = {} }}\n", path(link), path(releases))
    };
    format!("[components.paths]\ncheck = {{ file = {}, oldest = \"26h\" }}\n", path("agent.toml"))
        + "[components.paths.allow]\n"
        + &cleaned("logs", "logs")
        + &cleaned("swapped", "swapped")
        + &cleaned("above", "above/logs")
        + &rolled("release", "current", "releases")
        + &rolled("other", "other", "others")
        + &rolled("plain", "link", "plain")
        + &format!("roll_back.conf = {{ file = {}, versions = 3 }}\n", path("conf"))
        + &format!("fix_permissions.data = {{ path = {}, mode = \"0600\" }}\n", path("data"))
}

/// Puts links in the way, then orders what would follow them.
pub async fn mislead(mended: &Mended, stranger: &Stranger) {
    let files = mended.stack.path("files");
    let at = |name: &str| files.join(name);
    let outside = at("outside");
    let before = tree(&outside);
    symlink(outside.join("secret.log"), at("logs/link.log")).unwrap();
    symlink(&outside, at("logs/directory")).unwrap();
    symlink("../../outside", at("logs/deep/up")).unwrap();
    for (what, elsewhere) in [("swapped", ""), ("above", ""), ("others", "deep")] {
        std::fs::rename(at(what), at(&format!("{what}-before"))).unwrap();
        symlink(outside.join(elsewhere), at(what)).unwrap();
    }
    // Newer than all releases, and no release.
    symlink(&outside, at("releases/1a")).unwrap();
    std::fs::remove_file(at("link")).unwrap();
    std::fs::create_dir(at("link")).unwrap();
    for what in ["conf", "data"] {
        std::fs::remove_file(at(what)).unwrap();
        symlink(outside.join("secret.log"), at(what)).unwrap();
    }

    let clean_up = |policy: &str| Action::CleanUp { policy: policy.into() };
    let roll_back = |entry: &str| Action::RollBack { entry: entry.into() };
    assert_eq!(stranger.finish("paths", clean_up("logs")).await, Outcome::Succeeded);
    assert!(!at("logs/old.log").exists() && !at("logs/deep/old.log").exists(), "what is to be cleaned up is");
    assert!(at("logs/link.log").is_symlink() && at("logs/directory").is_symlink(), "links are left alone");
    assert_eq!(stranger.finish("paths", roll_back("release")).await, Outcome::Succeeded);
    assert_eq!(std::fs::read_link(at("current")).unwrap(), Path::new("releases/1"), "a link is no release");
    for (action, word) in [
        (clean_up("swapped"), "link"),
        (clean_up("above"), "link"),
        (roll_back("other"), "link"),
        (roll_back("plain"), "no link"),
        (roll_back("conf"), "no plain file"),
        (Action::FixPermissions { entry: "data".into() }, "neither a file"),
    ] {
        let outcome = stranger.finish("paths", action.clone()).await;
        let fits = matches!(&outcome, Outcome::Failed { error } if error.contains(word));
        assert!(fits, "{action:?}: {outcome:?}");
    }
    assert_eq!(std::fs::read_link(at("other")).unwrap(), Path::new("others/2"), "it leads where it led");
    assert_eq!(tree(&outside), before, "nothing outside is changed");
}
