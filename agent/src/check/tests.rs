//! Real processes, real listeners, real files; D-Bus and Docker by their own protocols over real sockets.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fettle_shared::error_kind::ErrorKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::*;
use crate::handoff::{ComponentState, SupervisedState, SupervisedStates};
use crate::host_file::HostFile;
use crate::process_table::{see, signal};

fn file(text: &str) -> HostFile {
    HostFile::parse("components.toml".as_ref(), text).unwrap()
}

/// One check of each component of a file.
async fn checked(text: &str) -> BTreeMap<String, Outcome> {
    let (_sender, supervised) = watch::channel(Arc::default());
    let mut file = file(text);
    for component in
        file.components.values_mut().filter(|component| component.timeout == Duration::from_secs(1))
    {
        component.timeout = Duration::from_secs(60); // The machine may be busy.
    }
    once(&file, &supervised).await
}

async fn failure(text: &str) -> Failure {
    checked(text).await.remove("a").unwrap().result.unwrap_err()
}

/// A child that ends with the test.
struct Ending(Child);

impl Ending {
    fn sleep(seconds: &str) -> Self {
        Self(Command::new("/bin/sleep").arg(seconds).stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers every connection with these bytes, after having read a request.
async fn answering(bytes: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&bytes).await;
        }
    });
    port
}

#[tokio::test]
async fn http_is_judged_by_status_and_body() {
    let long = format!("{}needle", "x".repeat(70_000));
    let far =
        answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len()).into_bytes())
            .await;
    let good = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall well".to_vec()).await;
    let bad = answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let said = b"HTTP/1.1 503 No\r\nContent-Length: 40\r\n\r\n/srv/data: Permission denied (os error 1";
    let why = answering(said.to_vec()).await;
    let torn = answering(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()).await;
    let text = format!(
        "[components.good]\ncheck = {{ http = \"http://localhost:{good}/health?x=1\", contains = \"well\" }}\n\
         [components.bad]\ncheck = {{ http = \"http://127.0.0.1:{bad}/\" }}\n\
         [components.wanted]\ncheck = {{ http = \"http://127.0.0.1:{bad}\", status = 503 }}\n\
         [components.why]\ncheck = {{ http = \"http://127.0.0.1:{why}/\" }}\n\
         [components.torn]\ncheck = {{ http = \"http://127.0.0.1:{torn}/\" }}\n\
         [components.far]\ncheck = {{ http = \"http://127.0.0.1:{far}/\", contains = \"needle\" }}\n\
         [components.nobody]\ncheck = {{ http = \"http://127.0.0.1:1/\" }}\n"
    );
    let outcomes = checked(&text).await;
    let said = |name: &str| outcomes[name].result.as_ref().map_err(|failure| failure.error.clone());
    assert_eq!((said("good"), said("wanted")), (Ok(&()), Ok(&())));
    assert!(said("bad").unwrap_err().contains("answered 503 and not 200"));
    let why = outcomes["why"].result.as_ref().unwrap_err();
    assert_eq!(why.kind, ErrorKind::Permission, "what the service says of itself counts: {why:?}");
    assert!(why.error.contains("answered 503 and not 200: /srv/data: Permission denied"), "{why:?}");
    assert!(said("far").unwrap_err().contains("without \"needle\""), "no more than 64 KiB are read");
    assert!(said("torn").is_err());
    assert_eq!(outcomes["nobody"].result.as_ref().unwrap_err().kind, ErrorKind::Network);
}

#[tokio::test]
async fn a_port_that_is_closed_or_silent_fails_by_its_kind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = "runs = { container = \"x\", socket = \"/no/such/socket\" }";
    let untold = format!("[components.a]\n{silent}\ncheck = {{ tcp = \"127.0.0.1:{port}\" }}");
    assert_eq!(checked(&untold).await["a"].result, Ok(()), "a port is asked whoever else is silent");
    let open = format!("[components.a]\ncheck = {{ tcp = \"127.0.0.1:{port}\" }}");
    assert_eq!(checked(&open).await["a"].result, Ok(()));
    // Taken by the kernel and answered by nobody: a server that hangs.
    let hung =
        format!("[components.a]\ntimeout = \"100ms\"\ncheck = {{ http = \"http://127.0.0.1:{port}/\" }}");
    let begun = Instant::now();
    assert_eq!(failure(&hung).await.kind, ErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(listener);
    assert_eq!(failure(&open).await.kind, ErrorKind::Network);
}

#[tokio::test]
async fn commands_are_judged_by_their_end_and_leave_nothing_behind() {
    let within = |timeout: &str, script: &str| {
        format!(
            "[components.a]\ntimeout = {timeout:?}\ncheck = {{ exec = [\"/bin/sh\", \"-c\", {script:?}] }}"
        )
    };
    let exec = |script: &str| within("60s", script);
    assert_eq!(checked(&exec("test -z \"$HOME\"")).await["a"].result, Ok(()));
    // As whom, where the host's file says so; with that user's group and no other.
    let as_user = |user: &str, script: &str| {
        format!("[components.a]\ncheck = {{ exec = [\"/bin/sh\", \"-c\", {script:?}], user = {user:?} }}")
    };
    if rustix::process::geteuid().is_root() {
        let nobody = "test \"$(id -u) $(id -G)\" = '65534 65533'";
        assert_eq!(checked(&as_user("65534:65533", nobody)).await["a"].result, Ok(()));
        assert_eq!(checked(&as_user("nobody", "test $(id -u) != 0")).await["a"].result, Ok(()));
    } else {
        let refused = failure(&as_user("65534:65534", "true")).await;
        assert!(refused.error.contains("only root"), "{refused:?}");
    }
    let failed = failure(&exec("echo fine; echo 'write: No space left on device' >&2; exit 1")).await;
    assert_eq!(failed.kind, ErrorKind::DiskSpace, "{failed:?}");
    assert!(failed.error.ends_with("exit status: 1: write: No space left on device"), "{failed:?}");
    assert_eq!(
        failure("[components.a]\ncheck = { exec = [\"/no/such/program\"] }").await.kind,
        ErrorKind::Other
    );
    let endless =
        checked(&within("300ms", "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done")).await;
    assert_eq!(endless["a"].result.as_ref().unwrap_err().kind, ErrorKind::Timeout);

    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", note.display());
    assert_eq!(failure(&within("3s", &script)).await.kind, ErrorKind::Timeout);
    let pid: i32 = std::fs::read_to_string(&note).unwrap().trim().parse().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while see(pid).is_some_and(|seen| !seen.is_ended()) {
        assert!(Instant::now() < end, "the grandchild {pid} lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_file_is_judged_by_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("last-run");
    let text = format!("[components.a]\ncheck = {{ file = {path:?}, oldest = \"1min\" }}");
    assert!(failure(&text).await.error.contains("No such file"));
    let file = std::fs::File::create(&path).unwrap();
    assert_eq!(checked(&text).await["a"].result, Ok(()));
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(90)).unwrap();
    assert!(failure(&text).await.error.contains("more than 1min"));
}

#[tokio::test]
async fn dead_stopped_and_zombie_processes_are_told_apart() {
    let mut child = Ending::sleep("1000");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pid");
    std::fs::write(&path, format!("{}\n", child.pid())).unwrap();
    let text = format!("[components.a]\nruns = {{ pid_file = {path:?} }}");
    let outcome = checked(&text).await.remove("a").unwrap();
    assert_eq!((outcome.result, outcome.processes.running), (Ok(()), 1));
    let id = outcome.processes.ids[0];
    signal(id, libc::SIGSTOP).unwrap();
    let stopped = || see(id.pid).is_some_and(|seen| seen.is_stopped());
    let end = Instant::now() + Duration::from_secs(60);
    while !stopped() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(failure(&text).await.error.contains("1 stopped by a signal"));
    signal(id, libc::SIGKILL).unwrap();
    while !see(id.pid).is_some_and(|seen| seen.is_ended()) {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(failure(&text).await.error.contains("1 zombie"));
    child.0.wait().unwrap();
    assert_eq!(failure(&text).await.error, "0 of 1 processes run");
    assert!(failure("[components.a]\nruns = { pid_file = \"/no/such/pid\" }")
        .await
        .error
        .contains("No such file"));
    assert!(failure("[components.a]\nruns = { name = \"no-such-name\" }").await.error.contains("0 of 1"));
    if rustix::process::geteuid().is_root() {
        std::fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        rustix::fs::chown(&path, Some(rustix::fs::Uid::from_raw(65_534)), None).unwrap();
        assert!(failure(&text).await.error.contains("of another user"));
    }
    std::fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(failure(&text).await.error.contains("is no pid file"), "and a pipe holds up nobody");
    let own = std::env::current_exe().unwrap();
    let own = checked(&format!("[components.a]\nruns = {{ executable = {own:?} }}")).await;
    assert_eq!(own["a"].result, Ok(()));
}

/// Runs the schedule on a file until a state is as wanted.
async fn until(
    states: &mut watch::Receiver<Arc<crate::handoff::ComponentStates>>,
    wanted: impl Fn(&ComponentState) -> bool,
) -> ComponentState {
    let waiting = states.wait_for(|states| states.get("a").is_some_and(&wanted));
    let found = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("in time").unwrap();
    found["a"].clone()
}

#[tokio::test]
async fn a_supervised_crash_and_hang_are_seen_at_the_next_checks() {
    let child = Ending::sleep("1000");
    let id = see(child.pid()).unwrap().id;
    let known = SupervisedState { replicas: 1, processes: vec![Some(id)], ..SupervisedState::default() };
    let (supervisor, supervised) =
        watch::channel(Arc::new(SupervisedStates::from([("a".into(), known.clone())])));
    let text = "[components.a]\nruns = { command = [\"/bin/sleep\", \"1000\"] }\ninterval = \"250ms\"\n";
    let (_file, receiver) = watch::channel(Arc::new(file(text)));
    let mut states = start(receiver, supervised);
    let up = until(&mut states, |state| state.checked).await;
    assert!(up.up && up.replicas_running == 1 && up.pids == [id], "{up:?}");
    signal(id, libc::SIGSTOP).unwrap();
    let begun = Instant::now();
    let hung = until(&mut states, |state| !state.up).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(hung.consecutive_failures >= 2 && hung.last_error.contains("stopped by a signal"), "{hung:?}");
    signal(id, libc::SIGCONT).unwrap();
    until(&mut states, |state| state.up && state.consecutive_failures == 0).await;
    supervisor.send_modify(|states| {
        let state = Arc::make_mut(states).get_mut("a").unwrap();
        (state.processes, state.stopped) = (vec![None], true);
    });
    let stopped = until(&mut states, |state| !state.up).await;
    assert!(stopped.stopped && stopped.last_error == "it was told to stop", "{stopped:?}");
}

#[tokio::test]
async fn docker_is_asked_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let n = stream.read(&mut request).await.unwrap_or(0);
            let asked = String::from_utf8_lossy(&request[..n]).into_owned();
            let (status, body) = if asked.starts_with("GET /containers/good/json ") {
                (200, "{\"State\":{\"Status\":\"running\",\"Running\":true,\"Pid\":0},\"RestartCount\":2}")
            } else if asked.starts_with("GET /containers/ill/json ") {
                (200, "{\"State\":{\"Status\":\"running\",\"Running\":true,\"Pid\":1,\"Health\":{\"Status\":\"unhealthy\"}}}")
            } else if asked.starts_with("GET /containers/dead/json ") {
                (200, "{\"State\":{\"Status\":\"exited\",\"Running\":false,\"OOMKilled\":true,\"Pid\":0}}")
            } else {
                (404, "{\"message\":\"No such container: none\"}")
            };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let text: String = ["good", "ill", "dead", "none"]
        .map(|name| {
            format!("[components.{name}]\nruns = {{ container = \"{name}\", socket = {socket:?} }}\n")
        })
        .concat();
    let outcomes = checked(&text).await;
    let said = |name: &str| outcomes[name].result.clone().map_err(|failure| failure.error);
    assert_eq!(said("good"), Ok(()));
    assert_eq!(said("ill"), Err("ill runs and calls itself unhealthy".into()));
    assert_eq!(outcomes["dead"].result.as_ref().unwrap_err().kind, ErrorKind::Memory);
    assert!(said("none").unwrap_err().contains("No such container"));
    let away = "[components.a]\nruns = { container = \"x\", socket = \"/no/such/socket\" }";
    assert!(failure(away).await.error.contains("/no/such/socket"));
    assert!(Path::new(&socket).exists());
}
