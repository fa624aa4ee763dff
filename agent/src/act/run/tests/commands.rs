//! Declared commands: what they get, what is kept of them, and how they are stopped.

use std::time::Instant;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_command_gets_path_and_nothing_else_in_a_group_of_its_own() {
    std::env::set_var("FETTLE_TEST_SECRET", "x");
    let (outcome, report) =
        done(Step::Run(shell("env; echo group $(cut -d' ' -f5 /proc/$$/stat) $$; pwd >&2")), LIMIT);
    assert_eq!(outcome, Outcome::Succeeded, "{report:?}");
    assert!(
        !report.output.contains("SECRET") && report.output.contains("PATH=/usr/local/sbin"),
        "{report:?}"
    );
    let group: Vec<&str> = report
        .output
        .lines()
        .find_map(|line| line.strip_prefix("group "))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(group[0], group[1], "it leads its own group");
    assert!(report.output.lines().any(|line| line == "/"), "errors are kept too");
}

#[test]
fn arguments_are_words_and_not_shell() {
    let echo = Command {
        command: vec!["/bin/echo".into(), "$(id); `id` {candidate} && rm".into()],
        user: None,
        directory: Some("/tmp".into()),
    };
    let (outcome, report) = done(Step::Run(echo), LIMIT);
    assert_eq!((outcome, report.output.as_str()), (Outcome::Succeeded, "$(id); `id` {candidate} && rm\n"));
    let relative = Command { command: vec!["echo".into()], user: None, directory: None };
    let (outcome, _) = done(Step::Run(relative), LIMIT);
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("absolute path")));
    let missing = Command { command: vec!["/no/such/program".into()], user: None, directory: None };
    let (outcome, _) = done(Step::Run(missing), LIMIT);
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("cannot be started")));
}

#[test]
fn the_last_of_much_output_is_kept() {
    let (outcome, report) = done(Step::Run(shell("yes first | head -c 3000000; echo the end")), LIMIT);
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(report.output.len() <= OUTPUT_MAX && report.output.ends_with("the end\n"));
    let (outcome, report) = done(Step::Run(shell("head -c 100000 /dev/urandom; exit 9")), LIMIT);
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("exit status: 9")));
    assert!(report.output.len() <= OUTPUT_MAX);
}

#[test]
fn a_command_that_hangs_is_stopped_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script =
        format!("trap '' TERM; sleep 600 & echo $! > {0}; echo $$ >> {0}; echo begun; wait", pids.display());
    let begun = Instant::now();
    // Time enough for a busy machine to come to `begun`.
    let (outcome, report) = done(Step::Run(shell(&script)), Duration::from_secs(5));
    assert_eq!((outcome, report.output.as_str()), (Outcome::TimedOut, "begun\n"));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z ") {
            assert!(begun.elapsed() < Duration::from_secs(120), "{pid} is still there: {}", state());
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_a_command_leaves_behind_does_not_hold_it_up() {
    let begun = Instant::now();
    let (outcome, report) = done(Step::Run(shell("sleep 600 & echo $!")), LIMIT);
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(begun.elapsed() < Duration::from_secs(10), "the child holds the pipe");
    let pid: i32 = report.output.trim().parse().unwrap();
    let kill = rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    );
    assert!(kill.is_ok(), "a daemon that a command starts is left alone");
}

#[test]
fn a_command_runs_as_its_user_without_roots_groups() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run a command as somebody else");
        return;
    }
    let command = Command { user: Some("nobody".into()), ..shell("id -u; id -G") };
    let (outcome, report) = done(Step::Run(command), LIMIT);
    assert_eq!(outcome, Outcome::Succeeded, "{report:?}");
    let nobody = crate::run_as::User::find("nobody").unwrap();
    assert_eq!(report.output, format!("{}\n{}\n", nobody.uid, nobody.gid));
    let command = Command { user: Some("no such user".into()), ..shell("id") };
    let (outcome, _) = done(Step::Run(command), LIMIT);
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("no user")));
}

#[test]
fn a_dry_run_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let step = Step::Run(shell(&format!("touch {}", mark.display())));
    let dry = Task { dry_run: true, ..task(step, LIMIT) };
    let (outcome, report) = runtime().block_on(run(&dry, &means(dir.path())));
    assert_eq!(outcome, Outcome::WouldDo);
    assert!(report.output.starts_with("would run") && !mark.exists());
}
