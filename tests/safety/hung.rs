//! File work that hangs in a call of the system: at its time limit the action is over, and its component stays busy
//! until the thread has ended. The kept copy of a file is a pipe: opening it waits until somebody opens the other end.

use std::fs::File;
use std::path::Path;

use fettle_shared::command::{Action, Order, Outcome, Refusal};
use fettle_tests::mended::{Mended, HOST};
use fettle_tests::stranger::{order, Stranger};
use fettle_tests::wait::until;
use rustix::fs::{mknodat, FileType, Mode, CWD};

use crate::SOON;

/// A component with a file to roll back.
pub fn components(files: &Path) -> String {
    let path = |name: &str| files.join(name).display().to_string();
    format!(
        "[components.hung]\ncheck = {{ file = \"{}\", oldest = \"26h\" }}\n[components.hung.allow]\n\
         roll_back.conf = {{ file = \"{}\", versions = 3 }}\n",
        path("agent.toml"),
        path("hung.conf")
    )
}

/// See the module.
pub async fn keeps_its_component_busy(mended: &Mended, stranger: &Stranger) {
    let (conf, kept) =
        (mended.stack.path("files/hung.conf"), mended.stack.path("act/act/versions/hung.conf"));
    let (pipe, copy) = (kept.join("1.copy"), kept.join("2.copy"));
    std::fs::write(&conf, "bad").unwrap();
    std::fs::create_dir_all(&kept).unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let roll_back = || order(HOST, "hung", Action::RollBack { entry: "conf".into() });
    assert_eq!(stranger.is_over(&Order { timeout_s: 1, ..roll_back() }).await, Outcome::TimedOut);
    let busy = Outcome::Refused { reason: Refusal::Busy };
    assert_eq!(stranger.is_over(&roll_back()).await, busy, "its thread is still there");

    let other_end = pipe.clone();
    let opened = tokio::task::spawn_blocking(move || File::options().write(true).open(other_end));
    tokio::time::timeout(SOON, opened).await.unwrap().unwrap().unwrap();
    std::fs::remove_file(&pipe).unwrap();
    std::fs::write(&copy, "good").unwrap();
    assert_eq!(std::fs::read_to_string(&conf).unwrap(), "bad", "after its time it changes nothing");
    until("the component is free again", SOON, || async {
        match stranger.is_over(&roll_back()).await {
            Outcome::Succeeded => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(std::fs::read_to_string(&conf).unwrap(), "good");
}
