//! What a result must say about where it was measured: cores, memory, kernel, how busy the machine
//! was before, and the version of every program in the run.

use std::process::Command;

use crate::child::find_program;

/// Facts in the order in which they are printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// Name and value.
    pub(crate) facts: Vec<(String, String)>,
}

impl Machine {
    /// Looks at this machine; call it before anything is started, for the load average's sake.
    pub(crate) fn look() -> Self {
        let mut machine = Self::default();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        machine.add("date", &now("%Y-%m-%d %H:%M:%S UTC"));
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let model = read("/proc/cpuinfo");
        let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        machine.add("cores", &format!("{cores} ({})", model.trim_start_matches([' ', '\t', ':'])));
        let memory = read("/proc/meminfo");
        let total = memory.split_ascii_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0);
        machine.add("memory", &format!("{} GiB", total >> 20));
        machine.add("kernel", read("/proc/sys/kernel/osrelease").trim());
        let load: Vec<String> =
            read("/proc/loadavg").split_ascii_whitespace().take(4).map(str::to_owned).collect();
        machine.add("load before (1, 5, 15 min, running/all)", &load.join(" "));
        machine.add("commit", &first_line("git", &["describe", "--always", "--dirty"]));
        machine
    }

    /// Adds a fact.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.facts.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a program's version, as it prints it.
    pub(crate) fn add_version(&mut self, program: &str, variable: Option<&str>, flag: &str) {
        let version = match find_program(program, variable) {
            Some(path) => first_line(&path.to_string_lossy(), &[flag]),
            None => "not installed".to_owned(),
        };
        self.add(program, &version);
    }
}

/// The time of day in UTC, in the format of date(1).
pub(crate) fn now(format: &str) -> String {
    first_line("date", &["-u", &format!("+{format}")])
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "unknown".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("unknown").chars().take(110).collect()
}
