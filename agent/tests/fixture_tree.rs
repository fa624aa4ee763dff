//! The sampler over a fixture tree of a server: what this kernel lacks (hwmon, thermal, schedstat,
//! cgroup v2) is read from there, and so is what changes: devices, names, damaged files.
#![allow(clippy::unwrap_used)]

mod tree;

use std::time::Duration;

use fettle_agent::sample::{FamilyOverride, GapCause, SamplerSettings};
use tree::{keys, value, Bench, Tree};

fn first_frame(tree: &Tree) -> Vec<tree::Sample> {
    let mut bench = Bench::new(tree.settings());
    bench.scan_after(1);
    bench.seal()
}

#[test]
fn every_family_is_read() {
    let tree = Tree::copy("server");
    let all = first_frame(&tree);
    // Components are not read from the tree; they are what the host's own file declares.
    let families = &fettle_shared::catalogue::catalogue().families;
    for family in families.iter().filter(|family| family.name != "component") {
        assert!(all.iter().any(|s| s.0 == family.name), "{} is missing", family.name);
    }
    let at = |family: &str, key: &str, metric: &str| {
        value(&all, family, key, metric).unwrap_or_else(|| panic!("no {family} {key} {metric}"))
    };
    assert_eq!(keys(&all, "cpu"), ["0", "1", "2", "3", "all"]);
    assert_eq!(at("cpu", "2", "iowait_ticks"), 1990);
    assert_eq!(at("load", "", "load_1m"), 125);
    assert_eq!(at("load", "", "open_files_max"), i64::MAX);
    assert_eq!(at("memory", "", "total_bytes"), 32_768_000 * 1024);
    assert_eq!(at("memory", "", "huge_pages_reserved"), 2);
    assert_eq!(at("scheduler", "", "context_switches"), 98_123_456);
    assert_eq!(at("scheduler", "", "run_ns"), 28_000_000_006);
    assert_eq!(at("scheduler", "", "yields"), 1 + 2 + 3 + 4);
    assert_eq!(at("pressure", "io", "some_avg10"), 1234);
    assert_eq!(at("pressure", "irq", "full_total_us"), 321);
    assert_eq!(keys(&all, "disk"), ["dm-0", "loop0", "nvme0n1", "nvme0n1p1", "sda"]);
    assert_eq!(at("disk", "nvme0n1", "read_bytes"), 9_876_543 * 512);
    assert_eq!(at("disk", "nvme0n1", "flush_ms"), 900);
    assert_eq!(at("network", "eth0", "speed_mbps"), 10_000);
    assert_eq!(at("network", "eth0", "operstate"), 6);
    assert_eq!(at("network", "docker0", "speed_mbps"), 0);
    assert_eq!(at("network", "eth0", "tx_errors"), 1);
    assert_eq!(at("net_stack", "", "softnet_processed"), 0x1000 * 4 + 6);
    assert_eq!(at("net_stack", "", "sockets_used"), 412);
    assert_eq!(at("net_stack", "", "conntrack_entries"), 4_711);
    assert_eq!(at("net_stack", "", "conntrack_max"), 262_144);
    assert_eq!(at("interrupts", "LOC|Local timer interrupts", "count"), 36_600_000);
    assert_eq!(at("interrupts", "124|IR-PCI-MSI 524288-edge nvme0q0", "count"), 120_005);
    assert_eq!(at("softirqs", "3", "rcu"), 2_500_003);
    assert!(keys(&all, "filesystem").iter().any(|k| k.starts_with("/|/dev/nvme0n1p1")));
}

#[test]
fn processes_and_their_details_are_read() {
    let all = first_frame(&Tree::copy("server"));
    let names = ["1|12|systemd", "2|12|kthreadd", "812|4500|nginx: (worker)", "4242|990000|a) odd (name"];
    assert_eq!(keys(&all, "process"), names);
    assert_eq!(keys(&all, "process_detail"), names);
    let at = |family: &str, metric: &str| value(&all, family, "812|4500|nginx: (worker)", metric).unwrap();
    assert_eq!(at("process", "state"), i64::from(b'R'));
    assert_eq!(at("process", "rss_bytes"), 9000 * rustix::param::page_size() as i64);
    assert_eq!(at("process", "threads"), 4);
    assert_eq!(at("process_detail", "sources") & 23, 23);
    assert_eq!(at("process_detail", "fd_limit"), 4_096);
    assert_eq!(at("process_detail", "swap_bytes"), 64 * 1024);
    assert_eq!(at("process_detail", "wait_ns"), 812_000);
    assert_eq!(at("process_detail", "uid"), 33);
    assert_eq!(at("process_detail", "seccomp"), 2);
    assert_eq!(at("process_detail", "involuntary_switches"), 812);
    assert_eq!(value(&all, "process_detail", "2|12|kthreadd", "rss_anon_bytes"), Some(0));
}

#[test]
fn sensors_come_in_the_units_people_use() {
    let all = first_frame(&Tree::copy("server"));
    let at = |key: &str, metric: &str| value(&all, "sensor", key, metric).unwrap();
    assert_eq!(at("coretemp hwmon0|Core 0|temperature", "value"), 52_000);
    assert_eq!(at("coretemp hwmon0|Core 0|temperature", "critical"), 100_000);
    assert_eq!(at("nct6798 hwmon1|fan1|fan", "value"), 1_204_000);
    assert_eq!(at("nct6798 hwmon1|fan2|fan", "alarm"), 1);
    assert_eq!(at("nct6798 hwmon1|Vcore|voltage", "value"), 1136);
    assert_eq!(at("nct6798 hwmon1|SYSTIN temp2|temperature", "fault"), 1);
    assert_eq!(at("power_meter hwmon2|power1|power", "value"), 187_500);
    assert_eq!(at("thermal_zone0|x86_pkg_temp|temperature", "value"), 53_000);
    assert_eq!(at("thermal_zone0|x86_pkg_temp|temperature", "critical"), 105_000);
}

#[test]
fn cgroups_of_version_2_are_read() {
    let all = first_frame(&Tree::copy("server"));
    let paths = ["/", "/system.slice", "/system.slice/nginx.service", "/user.slice"];
    assert_eq!(keys(&all, "cgroup"), paths);
    let at = |metric: &str| value(&all, "cgroup", paths[2], metric).unwrap();
    assert_eq!(at("controllers"), 31);
    assert_eq!(at("memory_limit_bytes"), 512 << 20);
    assert_eq!(at("cpu_quota_us"), 150_000);
    assert_eq!(at("io_read_bytes"), 5120);
    assert_eq!(at("oom_kills"), 1);
    assert_eq!(value(&all, "cgroup", "/", "controllers"), Some(1 | 2 | 8 | 16));
}

#[test]
fn cpus_devices_and_mounts_come_and_go() {
    let tree = Tree::copy("server");
    let mut bench = Bench::new(tree.settings());
    bench.scan_after(1);
    bench.seal();
    let stat =
        tree.read("proc/stat").lines().filter(|l| !l.starts_with("cpu3")).collect::<Vec<_>>().join("\n");
    tree.write("proc/stat", &format!("{stat}\n"));
    let net = tree.read("proc/net/dev").replace("docker0:", "  veth9:");
    tree.write("proc/net/dev", &net);
    tree.write("proc/diskstats", &tree.read("proc/diskstats").replace(" sda ", " sdb "));
    bench.scan_after(1_100_000);
    let all = bench.seal();
    assert_eq!(keys(&all, "cpu"), ["0", "1", "2", "all"]);
    assert_eq!(keys(&all, "network"), ["eth0", "lo", "veth9"]);
    assert!(
        keys(&all, "disk").contains(&"sdb".to_owned()) && !keys(&all, "disk").contains(&"sda".to_owned())
    );
    // Back and forth within one frame: the frame must still be sound, each key once.
    for name in ["docker0:", "  veth9:", "docker0:"] {
        tree.write("proc/net/dev", &net.replace("  veth9:", name));
        bench.scan_after(100_000);
    }
    assert_eq!(keys(&bench.seal(), "network"), ["docker0", "eth0", "lo", "veth9"]);
}

#[test]
fn an_exec_starts_a_new_entity_and_a_reused_pid_too() {
    let tree = Tree::copy("server");
    // With no descriptor to keep, a process is told apart by its start time alone.
    let settings = SamplerSettings { max_open_files: 0, ..tree.settings() };
    for settings in [settings, tree.settings()] {
        let reopens = settings.max_open_files == 0;
        tree.write("proc/812/stat", &Tree::copy("server").read("proc/812/stat"));
        let mut bench = Bench::new(settings);
        bench.scan_after(1);
        assert!(keys(&bench.seal(), "process").contains(&"812|4500|nginx: (worker)".to_owned()));
        tree.write("proc/812/stat", &tree.read("proc/812/stat").replace("nginx: (worker)", "bash"));
        bench.scan_after(100_000);
        let all = bench.seal();
        assert!(keys(&all, "process").contains(&"812|4500|bash".to_owned()));
        assert!(!keys(&all, "process").contains(&"812|4500|nginx: (worker)".to_owned()));
        tree.write("proc/812/stat", &tree.read("proc/812/stat").replace(" 4500 ", " 5500 "));
        let report = bench.scan_after(100_000);
        assert_eq!(report.gaps.get(GapCause::Vanished), 1, "{reopens}");
        bench.scan_after(2_000_000);
        assert!(keys(&bench.seal(), "process").contains(&"812|5500|bash".to_owned()));
    }
}

#[test]
fn damaged_files_are_gaps_and_nothing_else() {
    let tree = Tree::copy("server");
    let fast = FamilyOverride { enabled: None, interval: Some(Duration::from_millis(10)) };
    let mut settings = tree.settings();
    for family in &fettle_shared::catalogue::catalogue().families {
        settings.families.insert(family.name.clone(), fast);
    }
    settings.rediscover_interval = Duration::from_millis(10);
    settings.discovery_interval = Duration::from_millis(10);
    let mut bench = Bench::new(settings);
    bench.scan_after(1);
    bench.seal();
    let before = bench.sampler.gaps().get(GapCause::Malformed);
    for (i, path) in tree.files().iter().enumerate() {
        let whole = std::fs::read(path).unwrap();
        for cut in [0, whole.len() / 3, whole.len().saturating_sub(2)] {
            std::fs::write(path, &whole[..cut]).unwrap();
            bench.scan_after(20_000);
        }
        let noise: Vec<u8> =
            whole.iter().enumerate().map(|(at, b)| if (at + i) % 7 == 0 { 0xff } else { *b }).collect();
        std::fs::write(path, noise).unwrap();
        bench.scan_after(20_000);
        std::fs::write(path, &whole).unwrap();
        bench.scan_after(20_000);
        bench.seal();
    }
    assert!(bench.sampler.gaps().get(GapCause::Malformed) > before);
    // Everything is as it was: one more scan reads what the first one read.
    bench.scan_after(10_100_000);
    bench.scan_after(20_000);
    let all = bench.seal();
    assert_eq!(value(&all, "memory", "", "total_bytes"), Some(32_768_000 * 1024));
    assert_eq!(keys(&all, "cpu"), ["0", "1", "2", "3", "all"]);
    assert_eq!(keys(&all, "cgroup").len(), 4);
}

#[test]
fn a_file_that_cannot_be_read_is_counted_and_the_rest_goes_on() {
    let tree = Tree::copy("server");
    std::fs::remove_file(tree.path("proc/vmstat")).unwrap();
    std::fs::create_dir(tree.path("proc/vmstat")).unwrap();
    std::fs::remove_file(tree.path("proc/net/snmp6")).unwrap();
    let mut bench = Bench::new(tree.settings());
    let report = bench.scan_after(1);
    assert_eq!(report.gaps.get(GapCause::Failed), 1, "reading a directory fails");
    assert!(report.gaps.get(GapCause::Absent) >= 1);
    let all = bench.seal();
    assert!(keys(&all, "vm").is_empty());
    assert!(value(&all, "net_stack", "", "tcp_in_segs").is_some());
    assert!(value(&all, "net_stack", "", "ip6_in_receives").is_none(), "absent, not 0");
    assert!(value(&all, "memory", "", "free_bytes").is_some());
}
