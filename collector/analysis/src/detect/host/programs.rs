//! Programs that take more than they ever took: what has gone mad, or runs here for the first time and takes much.
//!
//! A busy processor says little about a host that is often busy, but a program that never ran, or never took more
//! than a hundredth of a processor, and takes a whole one is something, and has a name. So processes are added up by
//! program, and each program's processor time (over a second and over four) and resident memory are held against the
//! most that it was seen to take, as [`super::surge`] does with the features of the host: what counts is the logarithm to
//! base two of the ratio, and it is one more part of that sum. What lasts four seconds counts half as much again, since
//! programs that begin busily are many.
//!
//! A program is the name the kernel has for its processes, without what differs from one to the next
//! ([`program`]). The rare many-named are bounded: of [`MOST`] programs the one not seen for longest is forgotten.
//!
//! Most of what this costs is finding each process's program, hundreds of times a second: it is that of the second before
//! while the processes stay in order ([`super::sequence`]), or looked up with a quick hash. Only programs that run are gone
//! through, and nothing is allocated but for what is new.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::sequence::Sequence;
use super::surge::{doublings, FADES, WORSE};

/// Programs of one host that are remembered.
pub const MOST: usize = 512;
/// Seconds of the mean of processor time that counts more, and how much more.
const LASTS: usize = 4;
const LASTING: f32 = 1.5;
/// A trouble multiplies what a program was seen to take by this much at most: a job of every night is usual after four.
const ADOPTED: f32 = 2.0;

/// What one process takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running<'a> {
    /// The kernel's name of it.
    pub comm: &'a str,
    /// Processors, 1.0 is one of them; NaN while it is not known.
    pub cores: f32,
    /// Resident memory as a share of the host's; NaN when it is not known.
    pub memory: f32,
}

/// From what on anybody cares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProgramsMatter {
    /// Processors.
    pub cores: f32,
    /// Share of the host's memory.
    pub memory: f32,
}

/// What a program is told for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Takes {
    /// Processors.
    Cores,
    /// Share of the host's memory.
    Memory,
}

/// A program that goes beyond what was seen of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Beyond {
    /// Its name, as [`program`] has it.
    pub program: Box<str>,
    /// Of what it takes more.
    pub takes: Takes,
    /// How much it takes, in the unit of [`Running`].
    pub seen: f32,
    /// The most that was seen.
    pub record: f32,
    /// Doublings beyond all that was seen.
    pub record_doublings: f32,
    /// Doublings beyond that and beyond the present trouble.
    pub doublings: f32,
}

/// Amounts of a program in a second: processors over a second, over [`LASTS`], and memory.
type Amounts = [f32; 3];

/// What is known of a program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Program {
    name: Box<str>,
    /// The newest second with a process of it.
    seen: u32,
    /// Whether the second before was seen too.
    goes_on: bool,
    /// Processors and memory of its processes in that second.
    cores: f32,
    memory: f32,
    /// The newest [`LASTS`] seconds, which are in no record yet: what lasts is held against what was before it.
    newest: Newest,
    /// The most of each.
    record: Amounts,
    /// The most in the present trouble.
    peak: Amounts,
    odd_s: u32,
}

/// The newest seconds of a program, oldest first; there is room for the one that is about to become a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Newest {
    amounts: [Amounts; LASTS + 1],
    count: u8,
}

impl Newest {
    fn all(&self) -> &[Amounts] {
        self.amounts.get(..usize::from(self.count)).unwrap_or(&self.amounts)
    }

    fn last(&self) -> Amounts {
        self.all().last().copied().unwrap_or_default()
    }

    /// Adds a second; of a full list the oldest is lost.
    fn push(&mut self, amounts: Amounts) {
        if usize::from(self.count) > LASTS {
            self.take();
        }
        self.amounts[usize::from(self.count)] = amounts;
        self.count += 1;
    }

    /// Takes the oldest out.
    fn take(&mut self) -> Option<Amounts> {
        let oldest = self.all().first().copied()?;
        self.amounts.rotate_left(1);
        self.count = self.count.min(LASTS as u8 + 1) - 1;
        Some(oldest)
    }
}

/// The programs of one host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Programs {
    programs: Vec<Program>,
    /// Where each stands in `programs`, by name.
    places: HashMap<Box<str>, u16, FixedState>,
    /// Where those stand that run in the second judged last.
    running: Vec<u16>,
    sequence: Sequence,
    troubled: bool,
    /// The second judged last.
    second: u32,
}

/// The programs as they are stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    programs: Vec<Program>,
    troubled: bool,
    second: u32,
}

impl From<Stored> for Programs {
    fn from(stored: Stored) -> Self {
        let Stored { mut programs, troubled, second } = stored;
        programs.truncate(MOST);
        let places = programs.iter().zip(0u16..).map(|(known, at)| (known.name.clone(), at)).collect();
        Self { programs, places, troubled, second, ..Self::default() }
    }
}

impl From<Programs> for Stored {
    fn from(programs: Programs) -> Self {
        let Programs { programs, troubled, second, .. } = programs;
        Self { programs, troubled, second }
    }
}

/// A process's program: its name up to the first `/`, `:` or `[` (the kernel's own workers, and programs that write what they
/// do into it), without digits and hyphens at its end.
#[must_use]
pub fn program(comm: &str) -> &str {
    let bytes = comm.as_bytes();
    let separates = |byte: &u8| matches!(byte, b'/' | b':' | b'[');
    let mut end = bytes.iter().skip(1).position(separates).map_or(bytes.len(), |at| at + 1);
    while end > 1 && bytes[end - 1] == b' ' {
        end -= 1;
    }
    let mut bare = end;
    while bare > 0 && (bytes[bare - 1].is_ascii_digit() || bytes[bare - 1] == b'-') {
        bare -= 1;
    }
    // Cut at ASCII only, so between two characters.
    comm.get(..if bare == 0 { end } else { bare }).unwrap_or(comm)
}

impl Programs {
    /// Where the programs stand in a second, oddest first, only those beyond their record; `clip` is the most that counts
    /// of one amount. Seconds come in order.
    pub fn judge<'a>(
        &mut self,
        second: u32,
        running: impl Iterator<Item = Running<'a>>,
        matter: ProgramsMatter,
        clip: f32,
    ) -> Vec<Beyond> {
        let matters = matter.amounts();
        self.second = second;
        self.add_up(running);
        let mut beyond = Vec::new();
        for at in &self.running {
            let known = &mut self.programs[usize::from(*at)];
            known.take(self.troubled);
            let one = known.beyond(matters, clip);
            if one.record_doublings > 0.0 {
                beyond.push(Beyond { program: known.name.clone(), ..one });
            }
        }
        beyond.sort_by(|a, b| b.doublings.total_cmp(&a.doublings).then_with(|| a.program.cmp(&b.program)));
        beyond
    }

    /// Adds the processes up by program.
    fn add_up<'a>(&mut self, running: impl Iterator<Item = Running<'a>>) {
        self.running.clear();
        self.sequence.begin();
        for one in running {
            let Some(at) = self.sequence.next(one.comm).or_else(|| self.look_up(one.comm)) else { continue };
            let known = &mut self.programs[usize::from(at)];
            if known.seen != self.second {
                known.goes_on = known.seen.saturating_add(1) == self.second;
                (known.seen, known.cores, known.memory) = (self.second, 0.0, 0.0);
                self.running.push(at);
            }
            let some = |value: f32| if value.is_finite() { value } else { 0.0 };
            known.cores += some(one.cores);
            known.memory += some(one.memory);
        }
    }

    /// Where the program of a process stands that was not there in the second before.
    fn look_up(&mut self, comm: &str) -> Option<u16> {
        let at = self.place(program(comm))?;
        self.sequence.note(comm, at);
        Some(at)
    }

    /// Where a program stands. A new one takes the place of the one not seen for longest when there are [`MOST`]; none
    /// when all of them run.
    fn place(&mut self, name: &str) -> Option<u16> {
        if let Some(at) = self.places.get(name) {
            return Some(*at);
        }
        let new = Program { name: name.into(), ..Program::default() };
        let at = if self.programs.len() < MOST {
            self.programs.push(new);
            self.programs.len() - 1
        } else if self.running.len() >= MOST {
            return None;
        } else {
            let by_age = |(_, a): &(usize, &Program), (_, b): &(usize, &Program)| {
                a.seen.cmp(&b.seen).then_with(|| a.name.cmp(&b.name))
            };
            let (at, oldest) = self.programs.iter().enumerate().min_by(by_age)?;
            self.places.remove(&oldest.name);
            if oldest.seen.saturating_add(1) >= self.second {
                self.sequence.forget();
            }
            self.programs[at] = new;
            at
        };
        self.places.insert(name.into(), at as u16);
        Some(at as u16)
    }

    /// Learns from the second judged last. Nothing odd is learned while a trouble lasts, up to `adopt_after_s` seconds of it.
    pub fn learn(&mut self, troubled: bool, matter: ProgramsMatter, adopt_after_s: u32) {
        if self.troubled && !troubled {
            self.programs.iter_mut().for_each(|known| known.adopt(matter.amounts()));
        }
        self.troubled = troubled;
        for at in &self.running {
            self.programs[usize::from(*at)].learn(troubled, matter.amounts(), adopt_after_s);
        }
    }
}

impl ProgramsMatter {
    fn amounts(self) -> Amounts {
        [self.cores, self.cores, self.memory]
    }
}

impl Program {
    /// The next second. After a gap what was newest is learned, and the mean begins anew.
    fn take(&mut self, troubled: bool) {
        if !self.goes_on {
            while let Some(amounts) = self.newest.take() {
                self.absorb(amounts, troubled);
            }
        }
        let before: f32 = self.newest.all().iter().rev().take(LASTS - 1).map(|amounts| amounts[0]).sum();
        self.newest.push([self.cores, (before + self.cores) / LASTS as f32, self.memory]);
    }

    fn learn(&mut self, troubled: bool, matters: Amounts, adopt_after_s: u32) {
        let newest = self.newest.last();
        let odd = (0..3).any(|at| newest[at] > self.record[at].max(matters[at]));
        if troubled && odd {
            self.odd_s = self.odd_s.saturating_add(1);
            raise(&mut self.peak, newest);
        }
        let held = troubled && self.odd_s <= adopt_after_s;
        self.record.iter_mut().for_each(|record| *record *= 1.0 - FADES);
        if self.newest.all().len() > LASTS {
            let oldest = self.newest.take();
            oldest.into_iter().for_each(|amounts| self.absorb(amounts, held));
        }
    }

    /// What was newest becomes a record, or part of the trouble.
    fn absorb(&mut self, amounts: Amounts, held: bool) {
        raise(if held { &mut self.peak } else { &mut self.record }, amounts);
    }

    /// How far the amounts go beyond the record; of processors and memory what goes further is named, and both count.
    fn beyond(&self, matters: Amounts, clip: f32) -> Beyond {
        let amounts = self.newest.last();
        let weighed = |at: usize, most: f32| {
            let weight = if at == 1 { LASTING } else { 1.0 };
            weight * doublings(amounts[at], most.max(matters[at])).min(clip)
        };
        let record = |at: usize| weighed(at, self.record[at]);
        let trouble = |at: usize| weighed(at, self.record[at].max(WORSE * self.peak[at]));
        let both = |of: &dyn Fn(usize) -> f32| [of(0).max(of(1)), of(2)];
        let (by_record, by_trouble) = (both(&record), both(&trouble));
        let (takes, at) = if by_trouble[1] > by_trouble[0] { (Takes::Memory, 2) } else { (Takes::Cores, 0) };
        Beyond {
            program: Box::default(),
            takes,
            seen: amounts[at],
            record: self.record[at],
            record_doublings: by_record.iter().sum(),
            doublings: by_trouble.iter().sum(),
        }
    }

    /// The end of a trouble.
    fn adopt(&mut self, matters: Amounts) {
        self.newest = Newest::default();
        for ((record, peak), least) in self.record.iter_mut().zip(self.peak).zip(matters) {
            *record = record.max(peak.min(ADOPTED * record.max(least)));
        }
        self.peak = Default::default();
        self.odd_s = 0;
    }
}

fn raise(most: &mut Amounts, amounts: Amounts) {
    for (most, amount) in most.iter_mut().zip(amounts) {
        *most = most.max(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATTER: ProgramsMatter = ProgramsMatter { cores: 0.05, memory: 0.005 };
    const USUAL: [(&str, f32, f32); 3] =
        [("database", 0.4, 0.2), ("kworker/u8:1+flush-254:0", 0.02, 0.0), ("worker-17", 0.01, 0.01)];

    #[derive(Default)]
    struct Host {
        programs: Programs,
        second: u32,
    }

    impl Host {
        fn second(&mut self, more: &[(&str, f32, f32)], troubled: bool) -> Vec<Beyond> {
            self.second += 1;
            let all = USUAL.iter().chain(more);
            let running = all.map(|&(comm, cores, memory)| Running { comm, cores, memory });
            let beyond = self.programs.judge(self.second, running, MATTER, 4.0);
            self.programs.learn(troubled, MATTER, 600);
            beyond
        }

        fn used() -> Self {
            let mut host = Self::default();
            (0..100).for_each(|_| drop(host.second(&[], false)));
            host
        }
    }

    #[test]
    fn names_lose_what_differs() {
        let same = [
            ("kworker/u8:1+flush-254:0", "kworker"),
            ("worker-17", "worker"),
            ("runc:[2:INIT]", "runc"),
            ("postgres: writer", "postgres"),
            ("7", "7"),
            ("(sd-pam)", "(sd-pam)"),
            ("", ""),
        ];
        for (comm, name) in same {
            assert_eq!(program(comm), name, "{comm}");
        }
    }

    #[test]
    fn a_new_program_that_takes_a_processor_is_named() {
        let mut host = Host::used();
        assert!(host.second(&[], false).is_empty());
        let beyond = host.second(&[("miner", 0.9, 0.001)], true);
        assert_eq!(beyond.len(), 1, "{beyond:?}");
        assert_eq!((&*beyond[0].program, beyond[0].takes, beyond[0].record), ("miner", Takes::Cores, 0.0));
        assert!((4.0..4.3).contains(&beyond[0].doublings), "{beyond:?}");
    }

    #[test]
    fn a_known_program_counts_from_what_it_took() {
        let mut host = Host::used();
        assert!(host.second(&[("database", 0.3, 0.0)], false)[0].doublings < 1.0);
        let leak = host.second(&[("worker-18", 0.0, 0.3)], false);
        assert_eq!((&*leak[0].program, leak[0].takes), ("worker", Takes::Memory));
        assert!(leak[0].doublings >= 4.0, "{leak:?}");
    }

    #[test]
    fn what_lasts_counts_more() {
        let mut host = Host::used();
        let told: Vec<f32> =
            (0..6).map(|_| host.second(&[("miner", 0.4, 0.001)], false)[0].doublings).collect();
        assert!((2.9..3.1).contains(&told[0]) && (4.4..4.6).contains(&told[3]), "{told:?}");
    }

    #[test]
    fn one_trouble_is_told_once_and_another_program_is_no_part_of_it() {
        let mut host = Host::used();
        let miner = ("miner", 0.4, 0.001);
        let told: Vec<f32> = (0..6).map(|_| host.second(&[miner], true)[0].doublings).collect();
        assert!(told[0] > 2.9 && told[1..] == [0.0; 5], "{told:?}");
        let other = host.second(&[miner, ("find", 0.9, 0.0)], true);
        assert_eq!((&*other[0].program, other[1].doublings), ("find", 0.0));
    }

    #[test]
    fn what_stays_is_learned() {
        let mut host = Host::used();
        (0..700).for_each(|_| drop(host.second(&[("miner", 0.4, 0.001)], true)));
        assert!(host.second(&[("miner", 0.4, 0.001)], true).is_empty());
    }

    #[test]
    fn a_job_of_every_night_is_usual_after_some() {
        let mut host = Host::used();
        let found: Vec<f32> = (0..5)
            .map(|_| {
                let found = host.second(&[("backup", 0.8, 0.0)], true);
                host.second(&[], false);
                found[0].doublings
            })
            .collect();
        assert!(found[0] >= 3.9 && found[2] < 3.0 && found[4] < 0.1, "{found:?}");
    }

    #[test]
    fn as_many_names_as_you_like_stay_few() {
        let mut host = Host::used();
        for at in 0..3_000u32 {
            let name = format!("{}x", char::from_u32(0x4e00 + at).unwrap());
            host.second(&[(&name, 0.0, 0.0)], false);
        }
        assert!(host.programs.programs.len() <= MOST && host.programs.places.len() <= MOST);
        assert!(host.programs.places.contains_key("database"));
        assert!(host.second(&[], false).is_empty(), "what runs all the time is known as before");
    }

    #[test]
    fn more_programs_at_once_than_are_remembered_are_not_new_every_second() {
        let mut host = Host::default();
        let names: Vec<String> =
            (0..2 * MOST as u32).map(|at| format!("{}x", char::from_u32(0x4e00 + at).unwrap())).collect();
        let all: Vec<(&str, f32, f32)> = names.iter().map(|name| (name.as_str(), 0.2, 0.0)).collect();
        (0..20).for_each(|_| drop(host.second(&all, false)));
        assert!(host.second(&all, false).is_empty());
    }

    #[test]
    fn restored_programs_go_on_as_if_nothing_had_happened() {
        let mut host = Host::used();
        host.second(&[("miner", 0.9, 0.001)], true);
        let bytes = rmp_serde::to_vec(&host.programs).unwrap();
        let mut twin = Host { programs: rmp_serde::from_slice(&bytes).unwrap(), second: host.second };
        for second in 0..100u32 {
            let troubled = second < 30;
            let more = [("miner", 0.5 + second as f32 / 20.0, 0.001), ("find", 0.1, 0.0)];
            assert_eq!(host.second(&more, troubled), twin.second(&more, troubled), "{second}");
        }
    }
}
