//! Sudden moves of a level: log rotations, collections, clean-ups, a copied file.
//!
//! A jump is a change between neighbouring rows far beyond the usual one that lasts: the median of the
//! next rows stays on the new side. Several falls of like size are the resets of a sawtooth; what is left
//! are single steps, which move a level and say nothing of its slope.

use super::series::median;

/// How many usual changes a jump is at least.
const FAR: f64 = 7.0;
/// Rows compared on each side.
const SIDE: usize = 5;

/// Jumps of one history.
pub(super) struct Jumps {
    /// First rows of teeth, at least two, oldest first; empty without a sawtooth.
    pub resets: Vec<usize>,
    /// First rows after single steps, at most [`Jumps::MOST`].
    pub steps: Vec<usize>,
}

impl Jumps {
    /// The most single steps that are told apart.
    pub const MOST: usize = 4;

    pub(super) fn find(values: &[f64]) -> Self {
        let mut found = candidates(values);
        let deepest = found.iter().map(|(_, move_)| -move_).fold(0.0, f64::max);
        let mut resets: Vec<usize> =
            found.iter().filter(|(_, by)| -by > 0.5 * deepest && deepest > 0.0).map(|(at, _)| *at).collect();
        if !regular(&resets) {
            resets.clear();
        }
        found.retain(|(at, _)| !resets.contains(at));
        found.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        found.truncate(Self::MOST);
        Self { resets, steps: found.into_iter().map(|(at, _)| at).collect() }
    }

    /// Usual length of a tooth in rows.
    pub(super) fn tooth(&self) -> f64 {
        let mut lengths: Vec<f64> = self.resets.windows(2).map(|p| (p[1] - p[0]) as f64).collect();
        if lengths.is_empty() {
            0.0
        } else {
            median(&mut lengths)
        }
    }
}

/// Two teeth may have any lengths; more must be alike within a factor of three.
fn regular(resets: &[usize]) -> bool {
    let lengths = resets.windows(2).map(|p| p[1] - p[0]);
    let (least, most) = lengths.fold((usize::MAX, 0), |(l, m), length| (l.min(length), m.max(length)));
    resets.len() >= 2 && most <= 3 * least
}

/// Rows at which the level jumped, with by how much.
fn candidates(values: &[f64]) -> Vec<(usize, f64)> {
    if values.len() < 4 * SIDE {
        return Vec::new();
    }
    let mut moves: Vec<f64> = values.windows(2).map(|p| (p[1] - p[0]).abs()).collect();
    let usual = median(&mut moves).max(1e-6) * 1.5;
    let mut found: Vec<(usize, f64)> = Vec::new();
    for at in SIDE..values.len() - 1 {
        let by = values[at] - values[at - 1];
        if by.abs() < FAR * usual {
            continue;
        }
        let before = median(&mut values[at - SIDE..at].to_vec());
        let after = median(&mut values[at..(at + SIDE).min(values.len())].to_vec());
        let lasting = after - before;
        if lasting * by <= 0.0 || lasting.abs() < 0.6 * by.abs() {
            continue;
        }
        match found.last_mut() {
            Some(last) if at - last.0 < SIDE => {
                if lasting.abs() > last.1.abs() {
                    *last = (at, lasting);
                }
            }
            _ => found.push((at, lasting)),
        }
    }
    found
}
