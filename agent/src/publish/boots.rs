//! The boots that frames were sent of. Whoever can publish on the subject of confirmations can say anything there;
//! only a word on frames that were sent shows that somebody stores them.

use std::collections::VecDeque;

/// Boots kept; a spool holds frames of one or two, and of a few more after a disk in trouble.
const MOST: usize = 16;

/// The boots that were sent last, newest at the end.
#[derive(Debug, Default)]
pub(super) struct SentBoots(VecDeque<u64>);

impl SentBoots {
    /// A frame of this boot is on its way.
    pub(super) fn note(&mut self, boot: u64) {
        if self.0.back() == Some(&boot) {
            return;
        }
        self.0.retain(|known| *known != boot);
        self.0.push_back(boot);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Whether a frame of this boot was sent.
    pub(super) fn knows(&self, boot: u64) -> bool {
        self.0.contains(&boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_known_and_the_oldest_is_forgotten() {
        let mut boots = SentBoots::default();
        assert!(!boots.knows(0) && !boots.knows(7), "nothing was sent");
        boots.note(7);
        assert!(boots.knows(7) && !boots.knows(8));
        for boot in 100..99 + MOST as u64 {
            boots.note(boot);
            boots.note(7);
        }
        assert!(boots.knows(7) && boots.knows(100), "what is sent again and again stays");
        boots.note(1000);
        assert!(boots.knows(7) && boots.knows(1000) && !boots.knows(100));
    }
}
