//! The host that is broken: its services, what they need, and how its operator has declared them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fettle_tests::faults::SmallDisk;
use fettle_tests::load::Load;
use fettle_tests::mended::{lend, Service};
use tempfile::TempDir;

/// The service to break.
const VICTIM: &str = env!("CARGO_BIN_EXE_fettle-test-victim");
/// Most replicas of the pool.
const REPLICAS: u16 = 3;
/// Longest wait for an answer by which a service is judged from inside.
const CHECK: &str = "500ms";
/// Longest wait for an answer by which a service is judged from outside.
const ANSWER: Duration = Duration::from_millis(300);

/// What may be done to which component: what the host's file says, once more, for who looks at what was done.
pub const ALLOWED: [(&str, &[&str]); 15] = [
    ("web", &["restart"]),
    ("shop", &["restart"]),
    ("stuck", &["restart"]),
    ("leaky", &["restart"]),
    ("opener", &["restart"]),
    ("hog", &["restart"]),
    ("breeder", &["restart"]),
    ("data", &["restart", "fix_permissions"]),
    ("release", &["restart", "roll_back"]),
    ("back", &["restart"]),
    ("front", &["restart"]),
    ("alone", &["restart"]),
    ("proxy", &["fail_over"]),
    ("pool", &["scale"]),
    ("disk", &["clean_up"]),
];

/// Services by what becomes of them.
#[derive(Debug)]
pub struct Host {
    pub web: Service,
    pub shop: Service,
    pub stuck: Service,
    pub leaky: Service,
    pub opener: Service,
    pub hog: Service,
    pub breeder: Service,
    pub data: Service,
    pub release: Service,
    pub back: Service,
    pub front: Service,
    pub alone: Service,
    pub primary: Service,
    pub standby: Service,
    pub proxy: Service,
    pub pool: Service,
    /// Load on the pool.
    pub load: Option<Load>,
    /// Processes that were broken: it is not well while one of them lives.
    pub struck: Vec<i32>,
    /// Where its files are.
    pub files: PathBuf,
    /// A small file system, where this user may mount one.
    pub disk: Option<SmallDisk>,
    /// Last, because it holds the program.
    _programs: TempDir,
}

impl Host {
    /// A host with its files below this directory; nothing runs yet.
    pub fn below(files: &Path) -> Self {
        let programs = lend(VICTIM);
        let named = |name: &str| Service::named(programs.path(), name, 1);
        let host = Self {
            web: named("v-web"),
            shop: named("v-shop"),
            stuck: named("v-stuck"),
            leaky: named("v-leaky"),
            opener: named("v-opener"),
            hog: named("v-hog"),
            breeder: named("v-breeder"),
            data: named("v-data"),
            release: named("v-release"),
            back: named("v-back"),
            front: named("v-front"),
            alone: named("v-alone"),
            primary: named("v-primary"),
            standby: named("v-standby"),
            proxy: named("v-proxy"),
            pool: Service::named(programs.path(), "v-pool", REPLICAS),
            load: None,
            struck: Vec::new(),
            files: files.to_owned(),
            disk: SmallDisk::at(&files.join("disk"), "32m,nr_inodes=400"),
            _programs: programs,
        };
        host.prepare();
        host
    }

    fn prepare(&self) {
        let write = |name: &str, text: &str| {
            let path = self.files.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("data", "something");
        write("releases/1/config", "ok");
        write("releases/2/config", "broken");
        std::os::unix::fs::symlink("releases/1", self.files.join("current")).unwrap();
        write("upstreams/primary", &self.primary.address);
        write("upstreams/standby", &self.standby.address);
        std::os::unix::fs::symlink(self.files.join("upstreams/primary"), self.files.join("upstream"))
            .unwrap();
        // The service that reads the data runs as nobody, who must get there.
        for path in self.files.ancestors().take(2) {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    /// Where something of it lies.
    pub fn path(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    /// Ports that the pool's replicas have.
    pub fn pool_ports(&self) -> impl Iterator<Item = u16> {
        let first = self.pool.port();
        first..first + REPLICAS
    }

    /// Whether the pool's load, or without load anybody, is served in time.
    pub async fn pool_is_well(&self) -> bool {
        match &self.load {
            Some(load) => load.is_served(ANSWER),
            None => self.pool.pids().len() == 1 && answers(&self.pool).await,
        }
    }

    /// Whether there is room for another file of one page.
    pub fn has_room(&self) -> bool {
        let trial = self.files.join("disk/trial");
        let written = std::fs::write(&trial, [1; 4096]).is_ok();
        let _ = std::fs::remove_file(trial);
        written
    }

    /// The host's file for Fettle, after its head.
    pub fn components(&self) -> String {
        let restart = "allow = { restart = true }";
        let plain = [
            ("web", &self.web),
            ("shop", &self.shop),
            ("stuck", &self.stuck),
            ("leaky", &self.leaky),
            ("hog", &self.hog),
            ("breeder", &self.breeder),
            ("back", &self.back),
        ];
        let mut text: String =
            plain.into_iter().map(|(name, service)| declared(name, service, &[], restart)).collect();
        text += &declared("primary", &self.primary, &[], "");
        text += &declared("standby", &self.standby, &[], "");
        let needs = ["--needs", self.back.address.as_str()];
        text += &declared("front", &self.front, &needs, &format!("{restart}\ndepends_on = [\"back\"]"));
        let local = format!(
            "{restart}\n[[components.alone.local]]\naction = \"restart\"\nafter = \"1s\"\nalone_for = \"4s\""
        );
        text += &declared("alone", &self.alone, &[], &local);
        text += &self.opener_component();
        text += &self.data_component();
        text += &self.release_component();
        text += &self.proxy_component();
        text += &self.pool_component();
        if self.disk.is_some() {
            text += &self.disk_component();
        }
        text
    }

    /// With a limit on descriptors as every service manager sets one.
    fn opener_component(&self) -> String {
        let words = [&["/usr/bin/prlimit", "--nofile=1024"][..], &self.opener.words(&[])[..]].concat();
        let base = self.opener.declared_within(CHECK, &[]);
        let base = base.replace(&self.opener.command(&[]), &serde_json::to_string(&words).unwrap());
        format!("[components.opener]\n{base}allow = {{ restart = true }}\n")
    }

    fn data_component(&self) -> String {
        let data = self.path("data");
        let base = self.data.declared_within(CHECK, &["--data", &data]);
        // No mode keeps root from reading; anybody else is kept from a file of his own.
        let is_root = rustix::process::geteuid().is_root();
        let base = if is_root { base.replace("runs = { ", "runs = { user = \"nobody\", ") } else { base };
        format!(
            "[components.data]\n{base}[components.data.allow]\nrestart = true\n\
             fix_permissions.data = {{ path = \"{data}\", mode = \"0644\" }}\n"
        )
    }

    fn release_component(&self) -> String {
        let current = self.path("current");
        format!(
            "[components.release]\n{}[components.release.allow]\nrestart = true\n\
             roll_back.release = {{ link = \"{current}\", releases = \"{}\" }}\n",
            self.release.declared_within(CHECK, &["--release", &current]),
            self.path("releases")
        )
    }

    fn proxy_component(&self) -> String {
        let link = self.path("upstream");
        let candidate = |name: &str| {
            format!("{{ name = \"{name}\", target = \"{}\" }}", self.path(&format!("upstreams/{name}")))
        };
        format!(
            "[components.proxy]\n{}[components.proxy.allow.fail_over.upstream]\nlink = \"{link}\"\n\
             candidates = [{}, {}]\n",
            self.proxy.declared_within(CHECK, &["--primary", &link]),
            candidate("primary"),
            candidate("standby")
        )
    }

    /// Patient, because a queue is to be mended by more replicas and not by throwing it away.
    fn pool_component(&self) -> String {
        let base = self.pool.declared_within("10s", &["--replica", "{replica}"]).replace(
            "stop_timeout = \"2s\"",
            &format!("stop_timeout = \"2s\", replicas = 1, replicas_max = {REPLICAS}"),
        );
        format!("[components.pool]\n{base}allow = {{ scale = true }}\n")
    }

    /// A disk is well while a page can be written to a new file on it.
    fn disk_component(&self) -> String {
        let disk = self.path("disk");
        let script = format!(
            "cd {disk} && dd if=/dev/zero of=probe.$$ bs=4096 count=1 status=none; r=$?; rm -f probe.$$; exit $r"
        );
        let check = serde_json::to_string(&["/bin/sh", "-c", &script]).unwrap();
        format!(
            "[components.disk]\ninterval = \"250ms\"\ntimeout = \"1s\"\nfailures = 2\ncheck = {{ exec = {check} }}\n\
             [components.disk.allow]\nclean_up.logs = {{ root = \"{disk}\", pattern = \"*.log\", \
             older_than = \"10min\", most = \"1GiB\", most_files = 100000 }}\n"
        )
    }
}

/// Whether a service is well, as its users see it.
pub async fn answers(service: &Service) -> bool {
    service.get_within("/health", ANSWER).await.is_ok_and(|status| status == 200)
}

fn declared(name: &str, service: &Service, more: &[&str], rest: &str) -> String {
    format!("[components.{name}]\n{}{rest}\n", service.declared_within(CHECK, more))
}
