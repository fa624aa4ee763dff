//! The host that is broken: its services, its own file, the rules and policies of its operator.

use std::path::{Path, PathBuf};

use fettle_tests::faults::SmallDisk;
use fettle_tests::mended::{Mended, Service};

/// The service to break.
pub const VICTIM: &str = env!("CARGO_BIN_EXE_fettle-test-victim");

/// Everything there is.
pub struct World {
    pub mended: Mended,
    pub web: Service,
    pub leaky: Service,
    pub hog: Service,
    pub data: Service,
    pub release: Service,
    pub back: Service,
    pub front: Service,
    pub primary: Service,
    /// Held so that it ends with the test.
    pub _standby: Service,
    pub proxy: Service,
    pub alone: Service,
    pub files: PathBuf,
    pub disk: Option<SmallDisk>,
}

/// Rules beside the default pack: what this operator calls too much.
const RULES: &str = "rules:
  - name: component_memory_high
    kind: threshold
    metric: process.rss_bytes
    select: {comm: v-leaky}
    above: {high: 200MiB}
    labels: {component: leaky}
    summary: \"leaky takes too much memory\"
  - name: component_descriptors_high
    kind: threshold
    metric: process_detail.fds
    select: {comm: v-leaky}
    above: {high: 400}
    labels: {component: leaky}
    summary: \"leaky has too many files open\"
  - name: component_cpu_high
    kind: threshold
    expr: process.user_ticks + process.system_ticks
    select: {comm: v-hog}
    reduce: mean
    window: 2s
    above: {high: 60}
    labels: {component: hog}
    summary: \"hog burns the processor\"
";

impl World {
    /// Starts everything.
    pub async fn start() -> Self {
        let named = |name: &str| Service::named(VICTIM, name);
        let [web, leaky, hog, data, release] =
            ["v-web", "v-leaky", "v-hog", "v-data", "v-release"].map(named);
        let [back, front, primary, standby, proxy, alone] =
            ["v-back", "v-front", "v-primary", "v-standby", "v-proxy", "v-alone"].map(named);
        let policies = policies();
        let (mut files, mut disk) = (PathBuf::new(), None);
        let mended = Mended::start_with(RULES, &policies, |directory| {
            files = directory.to_owned();
            disk = SmallDisk::at(&directory.join("disk"), "32m,nr_inodes=400");
            prepare(directory, &primary, &standby);
            [
                declared("web", &web, &[], "allow = { restart = true }"),
                declared("leaky", &leaky, &[], "allow = { restart = true }"),
                declared("hog", &hog, &[], "allow = { restart = true }"),
                data_component(&data, directory),
                release_component(&release, directory),
                declared("back", &back, &[], "allow = { restart = true }"),
                declared(
                    "front",
                    &front,
                    &["--needs", &back.address],
                    "allow = { restart = true }\ndepends_on = [\"back\"]",
                ),
                declared("primary", &primary, &[], ""),
                declared("standby", &standby, &[], ""),
                proxy_component(&proxy, directory),
                declared(
                    "alone",
                    &alone,
                    &[],
                    "allow = { restart = true }\n[[components.alone.local]]\naction = \"restart\"\nafter = \"1s\"\nalone_for = \"4s\"",
                ),
                disk_component(directory),
            ]
            .concat()
        })
        .await;
        for name in ["web", "leaky", "hog", "data", "release", "front", "proxy", "alone", "disk"] {
            mended.sees(name, true, std::time::Duration::from_secs(60)).await;
        }
        Self {
            mended,
            web,
            leaky,
            hog,
            data,
            release,
            back,
            front,
            primary,
            _standby: standby,
            proxy,
            alone,
            files,
            disk,
        }
    }
}

/// The built-in policy without its brakes on repeats, and with this operator's own way to mend the proxy.
fn policies() -> String {
    include_str!("../../collector/decide/src/policy/default.yaml")
            .replace("repeat: {max: 5, per: 10m}", "repeat: {max: 10000, per: 10m}")
            .replace("actions: 20,", "actions: 10000,")
            .replace("actions: 40,", "actions: 10000,")
            .replace("actions: 120,", "actions: 10000,")
            .replace("alerts: 50,", "alerts: 10000,")
            .replace("cooldown: 5m", "cooldown: 1s")
            .replace("cooldown: 1m", "cooldown: 1s")
            .replace("within 60s", "within 10s")
            .replace(
                "entries:\n",
                "entries:\n  proxy_failed:\n    match: {rules: [component_down], labels: {component: proxy}}\n    \
                 strategies:\n      - action: {fail_over: any}\n        risk: medium\n        \
                 verify: component.up == 1 for 3s within 15s\n\n",
            )
}

fn declared(name: &str, service: &Service, more: &[&str], rest: &str) -> String {
    format!("[components.{name}]\n{}{rest}\n", service.declared(more))
}

fn prepare(directory: &Path, primary: &Service, standby: &Service) {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("data", "something");
    write("releases/1/config", "ok");
    write("releases/2/config", "broken");
    std::os::unix::fs::symlink("releases/1", directory.join("current")).unwrap();
    write("upstreams/primary", &primary.address);
    write("upstreams/standby", &standby.address);
    std::os::unix::fs::symlink(directory.join("upstreams/primary"), directory.join("upstream")).unwrap();
    // The service that reads the data runs as nobody, who must get there.
    for path in directory.ancestors().take(2) {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
}

fn data_component(service: &Service, directory: &Path) -> String {
    let data = directory.join("data");
    let base = service.declared(&["--data", &data.display().to_string()]);
    let base = base.replace("runs = { ", "runs = { user = \"nobody\", ");
    format!(
        "[components.data]\n{base}[components.data.allow]\nrestart = true\n\
         fix_permissions.data = {{ path = \"{}\", mode = \"0644\" }}\n",
        data.display()
    )
}

fn release_component(service: &Service, directory: &Path) -> String {
    let current = directory.join("current");
    let base = service.declared(&["--release", &current.display().to_string()]);
    format!(
        "[components.release]\n{base}[components.release.allow]\nrestart = true\n\
         roll_back.release = {{ link = \"{}\", releases = \"{}\" }}\n",
        current.display(),
        directory.join("releases").display()
    )
}

fn proxy_component(service: &Service, directory: &Path) -> String {
    let link = directory.join("upstream");
    let base = service.declared(&["--primary", &link.display().to_string()]);
    let candidate = |name: &str| {
        format!("{{ name = \"{name}\", target = \"{}\" }}", directory.join("upstreams").join(name).display())
    };
    format!(
        "[components.proxy]\n{base}[components.proxy.allow.fail_over.upstream]\nlink = \"{}\"\n\
         candidates = [{}, {}]\n",
        link.display(),
        candidate("primary"),
        candidate("standby")
    )
}

/// A disk is well while something can be written to it.
fn disk_component(directory: &Path) -> String {
    let disk = directory.join("disk").display().to_string();
    let script = format!("f=$(mktemp -p {disk}) && echo {} > $f && rm $f", "x".repeat(4000));
    let check = serde_json::to_string(&["/bin/sh", "-c", &script]).unwrap();
    format!(
        "[components.disk]\ninterval = \"250ms\"\ntimeout = \"1s\"\nfailures = 2\ncheck = {{ exec = {check} }}\n\
         [components.disk.allow]\nclean_up.logs = {{ root = \"{disk}\", pattern = \"*.log\", \
         older_than = \"1s\", most = \"1GiB\", most_files = 100000 }}\n"
    )
}
