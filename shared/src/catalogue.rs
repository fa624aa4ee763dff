//! The catalogue: every metric family, its entity columns and its metrics, read from
//! `shared/catalogue/*.toml`. It is the one place where a name, a unit or a type is written down;
//! the sampler's layout, the frame's schema, the ClickHouse tables and the metric reference all
//! come from it. Ids are stable and never reused, so an old frame stays readable.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;

/// The files, in the order of their family ids.
const FILES: &[(&str, &str)] = &[
    ("cpu", include_str!("../catalogue/cpu.toml")),
    ("load", include_str!("../catalogue/load.toml")),
    ("memory", include_str!("../catalogue/memory.toml")),
    ("vm", include_str!("../catalogue/vm.toml")),
    ("pressure", include_str!("../catalogue/pressure.toml")),
    ("disk", include_str!("../catalogue/disk.toml")),
    ("filesystem", include_str!("../catalogue/filesystem.toml")),
    ("network", include_str!("../catalogue/network.toml")),
    ("net_stack", include_str!("../catalogue/net_stack.toml")),
    ("interrupts", include_str!("../catalogue/interrupts.toml")),
    ("process", include_str!("../catalogue/process.toml")),
    ("softirqs", include_str!("../catalogue/softirqs.toml")),
    ("scheduler", include_str!("../catalogue/scheduler.toml")),
    ("cgroup", include_str!("../catalogue/cgroup.toml")),
    ("sensor", include_str!("../catalogue/sensor.toml")),
    ("self", include_str!("../catalogue/self.toml")),
    ("process_detail", include_str!("../catalogue/process_detail.toml")),
    ("component", include_str!("../catalogue/component.toml")),
];

/// The most metrics one family may have: a frame names columns in 16 bits and a table stays sane.
pub const MAX_METRICS: usize = 512;

/// All families, sorted by id.
#[derive(Debug)]
pub struct Catalogue {
    /// Highest `since` of any metric: the version of the catalogue as a whole.
    pub version: u32,
    /// Families sorted by id.
    pub families: Vec<Family>,
}

/// One metric family: one ClickHouse table, one block in a frame.
#[derive(Debug, Clone)]
pub struct Family {
    /// Stable number on the wire.
    pub id: u16,
    /// Table name and first half of every metric's name.
    pub name: String,
    /// One sentence for people.
    pub help: String,
    /// The kernel file or call the numbers come from.
    pub source: String,
    /// How often it is sampled by default.
    pub pace: Pace,
    /// 1 is kept to the last when the agent must save CPU, 5 is slowed first.
    pub priority: u8,
    /// Key columns; empty for a family about the host as a whole.
    pub entity: Vec<EntityColumn>,
    /// Metric columns, in the order of their ids.
    pub metrics: Vec<Metric>,
}

/// How often a family is sampled by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At every scan; the interval follows from the agent's target rate.
    Fast,
    /// At an interval of its own.
    Every(Duration),
}

/// One key column of a family.
#[derive(Debug, Clone)]
pub struct EntityColumn {
    /// Column name.
    pub name: String,
    /// Storage type.
    pub kind: EntityType,
    /// One sentence for people.
    pub help: String,
}

/// Types an entity column may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityType {
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 64-bit unsigned.
    U64,
    /// UTF-8 text.
    Text,
}

/// One metric: one column.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Stable number on the wire, unique within the family.
    pub id: u16,
    /// Column name; the full name is `family.name`.
    pub name: String,
    /// Unit of the stored value.
    pub unit: String,
    /// Gauge or counter.
    pub kind: MetricKind,
    /// Storage type.
    pub value: ValueType,
    /// Key or position in the kernel's file.
    pub source: String,
    /// What the agent multiplies the kernel's number by.
    pub factor: Factor,
    /// What the collector multiplies the wire integer by, for float columns.
    pub scale: Option<f64>,
    /// Whether some kernels lack it; the column is then Nullable.
    pub optional: bool,
    /// Storage hint.
    pub codec: Codec,
    /// Catalogue version that added it.
    pub since: u32,
    /// One line for people.
    pub help: String,
}

/// Gauge: a level. Counter: grows until it is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// A level that goes up and down.
    Gauge,
    /// A monotonic count; a fall is a reset.
    Counter,
}

/// Storage types of a metric. On the wire every value is an `i64` (a `u64` by its bit pattern).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// 8-bit unsigned.
    U8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 64-bit unsigned.
    U64,
    /// 32-bit signed.
    I32,
    /// 64-bit signed.
    I64,
    /// 32-bit float: wire integer times `scale`.
    F32,
    /// 64-bit float: wire integer times `scale`.
    F64,
}

impl ValueType {
    /// Whether the stored column is a float.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Bytes of one stored value.
    pub fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// What the agent multiplies the kernel's number by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// As the kernel gives it.
    One,
    /// A fixed factor, such as 1024 for kibibytes.
    Times(u64),
    /// The page size of the host.
    Page,
}

/// Storage hint for a metric's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Differences of neighbours, then general compression.
    Delta,
    /// XOR of neighbours, for floats.
    Gorilla,
    /// General compression alone.
    Plain,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFamily {
    id: u16,
    name: String,
    help: String,
    source: String,
    pace: String,
    priority: u8,
    #[serde(default)]
    entity: Vec<RawEntity>,
    metric: Vec<RawMetric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntity {
    name: String,
    #[serde(rename = "type")]
    kind: EntityType,
    help: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetric {
    id: u16,
    name: String,
    unit: String,
    kind: MetricKind,
    #[serde(rename = "type")]
    value: ValueType,
    #[serde(default)]
    source: String,
    #[serde(default)]
    factor: Option<RawFactor>,
    #[serde(default)]
    scale: Option<f64>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    codec: Option<Codec>,
    since: u32,
    help: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawFactor {
    Times(u64),
    Word(String),
}

/// Why a catalogue file was refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file is not the TOML that is expected.
    #[error("the catalogue file {file} does not parse: {cause}; correct the line it names")]
    Toml {
        /// File stem.
        file: String,
        /// What the parser said.
        cause: String,
    },
    /// The file parses but contradicts itself or another file.
    #[error("the catalogue file {file} is wrong: {cause}")]
    Rule {
        /// File stem.
        file: String,
        /// What rule is broken.
        cause: String,
    },
}

/// The catalogue this program was built with.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        Catalogue::parse(FILES).expect("the catalogue built into the program parses; a test proves it")
    })
}

impl Catalogue {
    /// Reads `(file stem, text)` pairs and checks every rule that the other rooms lean on.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, CatalogueError> {
        let mut families = Vec::with_capacity(files.len());
        for (file, text) in files {
            let raw: RawFamily = toml::from_str(text)
                .map_err(|e| CatalogueError::Toml { file: (*file).into(), cause: e.to_string() })?;
            families.push(
                settle(file, raw).map_err(|cause| CatalogueError::Rule { file: (*file).into(), cause })?,
            );
        }
        families.sort_by_key(|f| f.id);
        let mut names = HashSet::new();
        for pair in families.windows(2) {
            if pair[0].id == pair[1].id {
                let cause = format!("id {} belongs to {}", pair[1].id, pair[0].name);
                return Err(CatalogueError::Rule { file: pair[1].name.clone(), cause });
            }
        }
        for family in &families {
            if !names.insert(family.name.clone()) {
                let cause = "its name is taken".into();
                return Err(CatalogueError::Rule { file: family.name.clone(), cause });
            }
        }
        let version = families.iter().flat_map(|f| &f.metrics).map(|m| m.since).max().unwrap_or(1);
        Ok(Self { version, families })
    }

    /// The family with this name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|f| f.name == name)
    }

    /// The family with this number.
    pub fn family_by_id(&self, id: u16) -> Option<&Family> {
        self.families.binary_search_by_key(&id, |f| f.id).ok().map(|i| &self.families[i])
    }

    /// Position of the family with this number in `families`.
    pub fn family_index(&self, id: u16) -> Option<usize> {
        self.families.binary_search_by_key(&id, |f| f.id).ok()
    }
}

impl Family {
    /// Position of a metric in `metrics`.
    pub fn metric_index(&self, name: &str) -> Option<usize> {
        self.metrics.iter().position(|m| m.name == name)
    }

    /// Position of the metric with this number.
    pub fn metric_index_by_id(&self, id: u16) -> Option<usize> {
        self.metrics.binary_search_by_key(&id, |m| m.id).ok()
    }
}

/// Applies the rules of one file.
fn settle(file: &str, raw: RawFamily) -> Result<Family, String> {
    let rule = |ok: bool, cause: String| if ok { Ok(()) } else { Err(cause) };
    rule(raw.name == file, format!("it calls itself {}", raw.name))?;
    rule(raw.id > 0, "ids start at 1".into())?;
    rule((1..=5).contains(&raw.priority), format!("priority {} is not 1 to 5", raw.priority))?;
    rule(!raw.metric.is_empty(), "it has no metric".into())?;
    rule(raw.metric.len() <= MAX_METRICS, format!("it has more than {MAX_METRICS} metrics"))?;
    let mut names: HashSet<String> = ["host", "ts", "samples", "version"].map(String::from).into();
    let mut ids = HashSet::new();
    let mut entity = Vec::new();
    for column in raw.entity {
        rule(is_identifier(&column.name), format!("{:?} is not a column name", column.name))?;
        rule(names.insert(column.name.clone()), format!("{} stands twice", column.name))?;
        rule(!column.help.is_empty(), format!("{} has no help", column.name))?;
        entity.push(EntityColumn { name: column.name, kind: column.kind, help: column.help });
    }
    let mut metrics = Vec::new();
    for metric in raw.metric {
        let name = metric.name.clone();
        rule(is_identifier(&name), format!("{name:?} is not a column name"))?;
        rule(names.insert(name.clone()), format!("{name} stands twice"))?;
        rule(metric.id > 0 && ids.insert(metric.id), format!("{name}'s id {} is taken", metric.id))?;
        rule(!metric.help.is_empty(), format!("{name} has no help"))?;
        rule(!metric.unit.is_empty(), format!("{name} has no unit"))?;
        rule(metric.since > 0, format!("{name} has no version"))?;
        rule(
            metric.scale.is_none() || metric.value.is_float(),
            format!("{name} has a scale but is no float"),
        )?;
        metrics.push(settle_metric(metric)?);
    }
    metrics.sort_by_key(|m: &Metric| m.id);
    Ok(Family {
        id: raw.id,
        name: raw.name,
        help: raw.help,
        source: raw.source,
        pace: pace(&raw.pace)?,
        priority: raw.priority,
        entity,
        metrics,
    })
}

fn settle_metric(raw: RawMetric) -> Result<Metric, String> {
    let factor = match raw.factor {
        None | Some(RawFactor::Times(1)) => Factor::One,
        Some(RawFactor::Times(n)) => Factor::Times(n),
        Some(RawFactor::Word(word)) if word == "page" => Factor::Page,
        Some(RawFactor::Word(word)) => return Err(format!("{}: factor {word:?} is unknown", raw.name)),
    };
    let codec = match (raw.codec, raw.value.is_float()) {
        (Some(codec), _) => codec,
        (None, true) => Codec::Gorilla,
        (None, false) => Codec::Delta,
    };
    Ok(Metric {
        id: raw.id,
        name: raw.name,
        unit: raw.unit,
        kind: raw.kind,
        value: raw.value,
        source: raw.source,
        factor,
        scale: raw.scale,
        optional: raw.optional,
        codec,
        since: raw.since,
        help: raw.help,
    })
}

fn pace(text: &str) -> Result<Pace, String> {
    if text == "fast" {
        return Ok(Pace::Fast);
    }
    let (digits, unit_ms) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1000),
    };
    let count = digits.parse::<u64>().ok().filter(|n| *n > 0).and_then(|n| n.checked_mul(unit_ms));
    count
        .map(|ms| Pace::Every(Duration::from_millis(ms)))
        .ok_or_else(|| format!("pace {text:?} is neither \"fast\" nor like \"100ms\" or \"10s\""))
}

/// Lower-case snake case, as every table and column is named.
fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.len() <= 63
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_parses_and_covers_the_design() {
        let catalogue = Catalogue::parse(FILES).unwrap();
        let metrics: usize = catalogue.families.iter().map(|f| f.metrics.len()).sum();
        assert_eq!(catalogue.families.len(), FILES.len());
        assert!(metrics >= 50, "only {metrics} metrics");
        assert!(catalogue.family("process").unwrap().metric_index("rss_bytes").is_some());
    }

    fn one(metric: &str) -> Result<Catalogue, CatalogueError> {
        let head = "id = 1\nname = \"x\"\nhelp = \"h\"\nsource = \"s\"\npace = \"fast\"\npriority = 1\n";
        let text = format!("{head}{metric}");
        Catalogue::parse(&[("x", &text)])
    }

    #[test]
    fn rules_are_enforced() {
        let good = "[[metric]]\nid = 1\nname = \"a\"\nunit = \"1\"\nkind = \"gauge\"\ntype = \"u64\"\nsince = 1\nhelp = \"h\"\n";
        assert!(one(good).is_ok());
        let twice = format!("{good}{}", good.replace("id = 1", "id = 2"));
        assert!(one(&twice).unwrap_err().to_string().contains("stands twice"));
        let same_id = format!("{good}{}", good.replace("\"a\"", "\"b\""));
        assert!(one(&same_id).unwrap_err().to_string().contains("taken"));
        assert!(one(&good.replace("unit", "unti")).unwrap_err().to_string().contains("unti"));
        assert!(one(&good.replace("since = 1", "since = 1\nscale = 0.1")).is_err());
        assert!(one(&good.replace("\"a\"", "\"A b\"")).is_err());
        assert!(one("").is_err());
    }
}
