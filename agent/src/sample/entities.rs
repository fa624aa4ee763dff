//! Entities of one family and their slots in the frame builder.
//!
//! The builder reuses a slot only after a seal, and one key must not stand twice in a frame. So an
//! entity that ends is kept aside until the next frame starts; if it comes back before (a link that
//! flaps, an exec and back), it gets its old slot again.

use fettle_shared::frame::{FrameBuilder, Key, Slot, MAX_KEY_TEXT};

/// One part of a kept key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Int(u64),
    Text(Box<str>),
}

/// Slots of one family that are on their way out.
#[derive(Debug)]
pub(crate) struct Slots {
    family: u16,
    leaving: Vec<(Vec<Part>, Slot)>,
    live: usize,
}

impl Slots {
    pub(crate) fn new(family: u16) -> Self {
        Self { family, leaving: Vec::new(), live: 0 }
    }

    /// A slot for a key that no living entity has.
    pub(crate) fn add(&mut self, builder: &mut FrameBuilder, key: &[Key<'_>]) -> Slot {
        self.live += 1;
        if !self.leaving.is_empty() {
            let found = self.leaving.iter().position(|(parts, _)| same(parts, key));
            if let Some(at) = found {
                return self.leaving.swap_remove(at).1;
            }
        }
        builder.add_entity(self.family, key)
    }

    /// Ends an entity: `key` as it was added.
    pub(crate) fn end(&mut self, key: &[Key<'_>], slot: Slot) {
        self.live = self.live.saturating_sub(1);
        self.leaving.push((key.iter().map(keep).collect(), slot));
    }

    /// To be called before each scan of the family: at the start of a frame the ended entities go.
    #[inline]
    pub(crate) fn settle(&mut self, builder: &mut FrameBuilder) {
        if !self.leaving.is_empty() && builder.scans(self.family) == 0 {
            for (_, slot) in self.leaving.drain(..) {
                builder.remove_entity(self.family, slot);
            }
        }
    }

    /// Living entities.
    pub(crate) fn live(&self) -> usize {
        self.live
    }
}

fn keep(key: &Key<'_>) -> Part {
    match key {
        Key::Int(n) => Part::Int(*n),
        Key::Text(text) => Part::Text((*text).into()),
    }
}

fn same(parts: &[Part], key: &[Key<'_>]) -> bool {
    parts.len() == key.len()
        && parts.iter().zip(key).all(|(part, key)| match (part, key) {
            (Part::Int(a), Key::Int(b)) => a == b,
            (Part::Text(a), Key::Text(b)) => **a == **b,
            _ => false,
        })
}

/// An entity named by texts, with its row: devices, interfaces, CPUs, mounts.
#[derive(Debug)]
pub(crate) struct Named {
    /// Key texts in catalogue order.
    pub(crate) key: Vec<Box<str>>,
    pub(crate) slot: Slot,
    pub(crate) row: Vec<i64>,
    /// Seen in the round of this number.
    pub(crate) round: u64,
}

/// Entities named by texts, found by their position first: kernel files keep their order.
#[derive(Debug)]
pub(crate) struct NamedSet {
    slots: Slots,
    width: usize,
    round: u64,
    pub(crate) list: Vec<Named>,
    limit: usize,
}

impl NamedSet {
    pub(crate) fn new(family: u16, width: usize) -> Self {
        Self { slots: Slots::new(family), width, round: 0, list: Vec::new(), limit: 4096 }
    }

    /// Starts a round: entities not seen in it are ended by [`NamedSet::finish`].
    pub(crate) fn start(&mut self, builder: &mut FrameBuilder) {
        self.slots.settle(builder);
        self.round += 1;
    }

    /// The entity with this key, made when it is new, `None` when it was seen in this round already,
    /// when the name is too long to stay unique, or when there are too many. `hint` is where it was.
    pub(crate) fn see(
        &mut self,
        builder: &mut FrameBuilder,
        hint: usize,
        key: &[&[u8]],
    ) -> Option<&mut Named> {
        let round = self.round;
        let is = |named: &Named| named.key.iter().zip(key).all(|(a, b)| a.as_bytes() == *b);
        let at = match self.list.get(hint).filter(|n| is(n)) {
            Some(_) => hint,
            None => match self.list.iter().position(is) {
                Some(at) => at,
                None => self.add(builder, key)?,
            },
        };
        let named = &mut self.list[at];
        if named.round == round {
            return None;
        }
        named.round = round;
        Some(named)
    }

    fn add(&mut self, builder: &mut FrameBuilder, key: &[&[u8]]) -> Option<usize> {
        if self.list.len() >= self.limit || key.iter().any(|k| k.len() > MAX_KEY_TEXT) {
            return None;
        }
        let texts: Vec<Box<str>> =
            key.iter().map(|k| String::from_utf8_lossy(k).into_owned().into()).collect();
        if let Some(at) = self.list.iter().position(|n| n.key == texts) {
            return Some(at); // Not UTF-8, so the bytes never match; its text does.
        }
        let keys: Vec<Key<'_>> = texts.iter().map(|t| Key::Text(t)).collect();
        let slot = self.slots.add(builder, &keys);
        self.list.push(Named { key: texts, slot, row: vec![0; self.width], round: 0 });
        Some(self.list.len() - 1)
    }

    /// Ends what was not seen in this round; says how many those were.
    pub(crate) fn finish(&mut self) -> u64 {
        let mut gone = 0;
        let round = self.round;
        let slots = &mut self.slots;
        self.list.retain(|named| {
            let stays = named.round == round;
            if !stays {
                let keys: Vec<Key<'_>> = named.key.iter().map(|t| Key::Text(t)).collect();
                slots.end(&keys, named.slot);
                gone += 1;
            }
            stays
        });
        gone
    }

    /// Columns of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Entities now followed.
    pub(crate) fn len(&self) -> usize {
        self.slots.live()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;

    #[test]
    fn an_entity_that_returns_within_a_frame_keeps_its_slot() {
        let mut builder = FrameBuilder::new(catalogue());
        let family = catalogue().family("network").unwrap();
        let mut set = NamedSet::new(family.id, family.metrics.len());
        let mut seen = |set: &mut NamedSet, names: &[&str]| {
            set.start(&mut builder);
            builder.begin_scan(family.id, 1);
            let slots: Vec<_> = names
                .iter()
                .enumerate()
                .filter_map(|(i, n)| set.see(&mut builder, i, &[n.as_bytes()]).map(|e| e.slot))
                .collect();
            (slots, set.finish())
        };
        let (first, gone) = seen(&mut set, &["lo", "eth0"]);
        assert_eq!(gone, 0);
        assert_eq!(seen(&mut set, &["lo"]).1, 1);
        let (again, _) = seen(&mut set, &["eth0", "lo", "lo"]);
        assert_eq!(again, vec![first[1], first[0]], "same slots in any order, each name once");
        assert_eq!(set.len(), 2);
    }
}
