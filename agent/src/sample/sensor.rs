//! Hardware sensors: the channels of `/sys/class/hwmon` and the zones of `/sys/class/thermal`.
//! Everything ends up in thousandths of the unit people use (°C, RPM, V, A, W, J, %), whatever unit
//! the driver counts in (Documentation/hwmon/sysfs-interface in the kernel tree).

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use fettle_shared::catalogue::Catalogue;

use super::entities::NamedSet;
use super::file::read_once;
use super::number::{single, trimmed};
use super::source::{column, Progress, Scan, Source};
use super::GapCause;

/// What a channel's name says: prefix, kind, and how its number becomes thousandths.
const KINDS: &[(&str, &str, i64, i64)] = &[
    ("temp", "temperature", 1, 1),
    ("fan", "fan", 1000, 1),
    ("in", "voltage", 1, 1),
    ("curr", "current", 1, 1),
    ("power", "power", 1, 1000),
    ("energy", "energy", 1, 1000),
    ("humidity", "humidity", 1, 1),
];

/// One channel and the files it is read from.
struct Channel {
    chip: String,
    sensor: String,
    kind: &'static str,
    times: i64,
    by: i64,
    input: CString,
    /// Column and file of what stands beside the reading.
    others: Vec<(usize, CString)>,
}

pub(crate) struct SensorSource {
    id: u16,
    sys_root: PathBuf,
    set: NamedSet,
    channels: Vec<Channel>,
    value: usize,
    /// File suffix, column, and whether it is scaled like the reading.
    others: [(&'static str, usize, bool); 4],
    looked: bool,
}

impl SensorSource {
    pub(crate) fn new(sys_root: &Path, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("sensor")?;
        Some(Self {
            id: family.id,
            sys_root: sys_root.to_owned(),
            set: NamedSet::new(family.id, family.metrics.len()),
            channels: Vec::new(),
            value: column(family, "value"),
            others: [
                ("max", column(family, "max"), true),
                ("crit", column(family, "critical"), true),
                ("alarm", column(family, "alarm"), false),
                ("fault", column(family, "fault"), false),
            ],
            looked: false,
        })
    }

    /// Looks for chips and zones anew.
    fn look(&mut self) {
        self.looked = true;
        self.channels.clear();
        let mut names = BTreeSet::new();
        for dir in sorted_dirs(&self.sys_root.join("class/hwmon")) {
            self.look_at_chip(&dir, &mut names);
        }
        for dir in sorted_dirs(&self.sys_root.join("class/thermal")) {
            if dir.file_name().is_some_and(|n| n.to_string_lossy().starts_with("thermal_zone")) {
                self.look_at_zone(&dir);
            }
        }
    }

    fn look_at_chip(&mut self, dir: &Path, names: &mut BTreeSet<(String, String)>) {
        let number = file_name(dir);
        let chip = text(&dir.join("name")).map_or(number.clone(), |name| format!("{name} {number}"));
        let mut channels: Vec<String> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_string_lossy().strip_suffix("_input").map(str::to_owned))
            .collect();
        channels.sort_by_key(|c| {
            (c.trim_end_matches(|d: char| d.is_ascii_digit()).to_owned(), c.len(), c.clone())
        });
        for channel in channels {
            let prefix = channel.trim_end_matches(|d: char| d.is_ascii_digit());
            let Some((_, kind, times, by)) = KINDS.iter().find(|(p, ..)| *p == prefix) else { continue };
            let label = text(&dir.join(format!("{channel}_label"))).unwrap_or_else(|| channel.clone());
            // Two channels of one chip may bear the same label.
            let sensor = if names.insert((chip.clone(), label.clone())) {
                label
            } else {
                format!("{label} {channel}")
            };
            let path = |suffix: &str| c_path(&dir.join(format!("{channel}_{suffix}")));
            let Some(input) = path("input") else { continue };
            let others = self
                .others
                .iter()
                .filter(|(suffix, ..)| dir.join(format!("{channel}_{suffix}")).exists())
                .filter_map(|(suffix, column, _)| Some((*column, path(suffix)?)))
                .collect();
            self.channels.push(Channel {
                chip: chip.clone(),
                sensor,
                kind,
                times: *times,
                by: *by,
                input,
                others,
            });
        }
    }

    fn look_at_zone(&mut self, dir: &Path) {
        let Some(input) = c_path(&dir.join("temp")) else { return };
        let sensor = text(&dir.join("type")).unwrap_or_else(|| "temp".into());
        let critical = (0..16)
            .find(|i| text(&dir.join(format!("trip_point_{i}_type"))).is_some_and(|kind| kind == "critical"));
        let path = critical.and_then(|i| c_path(&dir.join(format!("trip_point_{i}_temp"))));
        let others = path.into_iter().map(|path| (self.others[1].1, path)).collect();
        self.channels.push(Channel {
            chip: file_name(dir),
            sensor,
            kind: "temperature",
            times: 1,
            by: 1,
            input,
            others,
        });
    }
}

impl Source for SensorSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        if !self.looked {
            self.look();
        }
        if self.channels.is_empty() && self.set.list.is_empty() {
            return Progress::Done;
        }
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        for (at, channel) in self.channels.iter().enumerate() {
            let value = match read_number(&channel.input, scan.scratch) {
                Ok(value) => value,
                Err(cause) => {
                    scan.gaps.count(cause);
                    continue;
                }
            };
            let key = [channel.chip.as_bytes(), channel.sensor.as_bytes(), channel.kind.as_bytes()];
            let Some(entity) = self.set.see(scan.builder, at, &key) else { continue };
            let scaled = |v: i64| v.wrapping_mul(channel.times) / channel.by;
            entity.row.fill(0);
            entity.row[self.value] = scaled(value);
            for (column, path) in &channel.others {
                let Ok(value) = read_number(path, scan.scratch) else { continue };
                let like_reading = self.others.iter().any(|(_, c, scale)| c == column && *scale);
                entity.row[*column] = if like_reading { scaled(value) } else { value.clamp(0, 255) };
            }
            scan.builder.push(self.id, entity.slot, &entity.row);
        }
        self.set.finish();
        Progress::Done
    }

    fn rediscover(&mut self, _scan: &mut Scan<'_>) {
        self.looked = false;
    }

    fn entities(&self) -> usize {
        self.set.len()
    }
}

fn read_number(path: &CString, scratch: &mut Vec<u8>) -> Result<i64, GapCause> {
    let n = read_once(rustix::fs::CWD, path, scratch)?;
    single(&scratch[..n]).ok_or(GapCause::Malformed)
}

/// Directories (or links to them) in the order of their names.
fn sorted_dirs(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs: Vec<_> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    dirs.sort_by_key(|p| (p.as_os_str().len(), p.clone()));
    dirs
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn text(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(trimmed(&bytes)).into_owned();
    (!text.is_empty()).then_some(text)
}

fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().to_owned().into_encoded_bytes()).ok()
}
