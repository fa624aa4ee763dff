//! Where the program of each process stands, found by the order of the processes: most of them stand in this second
//! where they stood in the second before, so a name is compared with one other instead of being taken apart and looked up.

/// Processes that may have ended one after the other before the place is lost; what comes behind is looked up.
const AHEAD: usize = 4;
/// Processes remembered; those behind are looked up.
const MOST: usize = 2_048;

/// The names of two seconds, each with the place of its program.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequence {
    before: Vec<(Box<str>, u16)>,
    now: Vec<(Box<str>, u16)>,
    /// How far into `before` the processes of this second have come.
    at: usize,
}

impl Sequence {
    /// Begins a second.
    pub fn begin(&mut self) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        self.at = 0;
    }

    /// The place of the next process's program, if it was there in the second before.
    pub fn next(&mut self, comm: &str) -> Option<u16> {
        let known = self.before.get(self.at..)?.iter().take(AHEAD + 1);
        let ahead = known.map(|(name, _)| name).position(|name| **name == *comm)?;
        let entry = std::mem::take(&mut self.before[self.at + ahead]);
        self.at += ahead + 1;
        let place = entry.1;
        self.now.push(entry);
        Some(place)
    }

    /// Notes the place of a process that was not there.
    pub fn note(&mut self, comm: &str, place: u16) {
        if self.now.len() < MOST {
            self.now.push((comm.into(), place));
        }
    }

    /// Forgets the second before: a program has left its place.
    pub fn forget(&mut self) {
        self.before.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was found of a second's processes; the others are noted at their length.
    fn second(sequence: &mut Sequence, comms: &str) -> String {
        sequence.begin();
        let found = |comm: &str| {
            let found = sequence.next(comm);
            assert!(found.is_none_or(|place| usize::from(place) == comm.len()), "{comm}: {found:?}");
            if found.is_none() {
                sequence.note(comm, comm.len() as u16);
            }
            found.map_or('-', |_| '+')
        };
        comms.split(' ').map(found).collect()
    }

    #[test]
    fn processes_are_found_beside_those_that_begin_end_and_change() {
        let mut sequence = Sequence::default();
        let turns = [
            ("init sh db db sleep", "-----"),
            ("init sh db db sleep", "+++++"),
            ("init db db sleep", "++++"),
            ("init shell db db worker sleep", "+-++-+"),
            ("init shell db2 db worker sleep", "++-+++"),
            ("a b c d e f", "------"),
            ("f", "-"),
            ("f", "+"),
        ];
        for (comms, found) in turns {
            assert_eq!(second(&mut sequence, comms), found, "{comms}");
        }
        sequence.begin();
        sequence.forget();
        assert_eq!(sequence.next("f"), None);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut sequence = Sequence::default();
        for _ in 0..2 {
            sequence.begin();
            for comm in (0..2 * MOST).map(|at| format!("p{at}")) {
                if sequence.next(&comm).is_none() {
                    sequence.note(&comm, 0);
                }
            }
            assert_eq!(sequence.now.len(), MOST);
        }
    }
}
