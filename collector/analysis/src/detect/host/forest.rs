//! An isolation forest that renews itself (Liu, Ting, Zhou 2008; the renewal is ours): rows that few
//! random cuts set apart are odd.
//!
//! A bounded sample of past rows is kept; every few kept rows the oldest tree is grown again from a
//! random part of the sample, so the forest follows a host that changes. Trees lie flat in one array,
//! the children of node n at 2n and 2n+1; a leaf holds the path length it stands for.

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::numbers::Numbers;

/// Rows kept between two new trees.
const ROWS_A_TREE: u32 = 20;
/// Features tried for a cut before a node with equal rows is left as it is.
const TRIES: usize = 6;
/// In place of a feature: no cut here.
const LEAF: u16 = u16::MAX;
/// Kept rows live this long on average.
const SPACING_S: f64 = 300.0;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Forest {
    features: usize,
    trees: usize,
    tree_rows: usize,
    nodes: usize,
    /// Feature of each node's cut, a tree after the other.
    cut_feature: Numbers<u16>,
    /// Where it is cut; in a leaf the length of the path.
    cut_at: Numbers<f32>,
    kept: Numbers<f32>,
    kept_rows: usize,
    filled: usize,
    grown: usize,
    since: u32,
    seen: f64,
    dice: Dice,
    order: Numbers<u16>,
    begins: Numbers<u16>,
    ends: Numbers<u16>,
}

impl Forest {
    pub fn new(features: usize, trees: usize, tree_rows: usize, kept_rows: usize, seed: u64) -> Self {
        let tree_rows = tree_rows.clamp(8, 4096);
        let kept_rows = kept_rows.clamp(tree_rows, usize::from(u16::MAX));
        let nodes = tree_rows.next_power_of_two() * 2;
        let trees = trees.max(1);
        Self {
            features,
            trees,
            tree_rows,
            nodes,
            cut_feature: Numbers::of(LEAF, trees * nodes),
            cut_at: Numbers::of(0.0, trees * nodes),
            kept: Numbers::of(0.0, kept_rows * features),
            kept_rows,
            filled: 0,
            grown: 0,
            since: 0,
            seen: 0.0,
            dice: Dice::new(seed),
            order: Numbers::of(0, tree_rows),
            begins: Numbers::of(0, nodes),
            ends: Numbers::of(0, nodes),
        }
    }

    pub fn bytes(&self) -> usize {
        self.cut_feature.bytes()
            + self.cut_at.bytes()
            + self.kept.bytes()
            + self.order.bytes()
            + self.begins.bytes()
            + self.ends.bytes()
    }

    /// Oddness of a row: 0.5 is ordinary, towards 1 is set apart at once; `None` before the first tree.
    pub fn oddness(&self, row: &[f32]) -> Option<f64> {
        let trees = self.grown.min(self.trees);
        if trees == 0 {
            return None;
        }
        let mut sum = 0.0;
        for tree in 0..trees {
            let features = &self.cut_feature[tree * self.nodes..(tree + 1) * self.nodes];
            let cuts = &self.cut_at[tree * self.nodes..(tree + 1) * self.nodes];
            let mut node = 1;
            while features[node] != LEAF {
                node = 2 * node + usize::from(row[usize::from(features[node])] >= cuts[node]);
            }
            sum += f64::from(cuts[node]);
        }
        let usual = f64::from(path(self.tree_rows));
        Some((-(sum / trees as f64) / usual).exp2())
    }

    /// Offers a row to the sample; grows a tree when enough rows were kept since the last one.
    pub fn learn(&mut self, row: &[f32], seconds: f64, weight: f64) {
        self.seen += 1.0;
        let wanted = (seconds / SPACING_S).max(self.kept_rows as f64 / self.seen) * weight;
        if wanted < 1.0 && self.dice.share() >= wanted {
            return;
        }
        let place = if self.filled < self.kept_rows {
            self.filled += 1;
            self.filled - 1
        } else {
            self.dice.below(self.kept_rows)
        };
        self.kept[place * self.features..(place + 1) * self.features].copy_from_slice(row);
        self.since += 1;
        if self.since >= ROWS_A_TREE && self.filled >= self.tree_rows {
            self.since = 0;
            self.grow();
        }
    }

    fn grow(&mut self) {
        let tree = self.grown % self.trees;
        self.grown += 1;
        for slot in self.order.iter_mut() {
            *slot = self.dice.below(self.filled) as u16;
        }
        let base = tree * self.nodes;
        self.cut_feature[base..base + self.nodes].fill(LEAF);
        (self.begins[1], self.ends[1]) = (0, self.tree_rows as u16);
        for node in 1..self.nodes {
            if node > 1 && self.cut_feature[base + node / 2] == LEAF {
                continue;
            }
            let (begin, end) = (usize::from(self.begins[node]), usize::from(self.ends[node]));
            let depth = node.ilog2();
            self.cut_at[base + node] = depth as f32 + path(end - begin);
            if end - begin <= 1 || 2 * node + 1 >= self.nodes {
                continue;
            }
            let Some((feature, at)) = self.cut(begin, end) else { continue };
            let middle = self.part(begin, end, feature, at);
            self.cut_feature[base + node] = feature as u16;
            self.cut_at[base + node] = at;
            (self.begins[2 * node], self.ends[2 * node]) = (begin as u16, middle as u16);
            (self.begins[2 * node + 1], self.ends[2 * node + 1]) = (middle as u16, end as u16);
        }
    }

    /// A random feature in which the rows differ, and a place between its ends.
    fn cut(&mut self, begin: usize, end: usize) -> Option<(usize, f32)> {
        for _ in 0..TRIES {
            let feature = self.dice.below(self.features);
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for row in &self.order[begin..end] {
                let value = self.kept[usize::from(*row) * self.features + feature];
                low = low.min(value);
                high = high.max(value);
            }
            if high > low {
                return Some((feature, low + (high - low) * self.dice.share() as f32));
            }
        }
        None
    }

    /// Sorts the rows of a node by the side of the cut; gives where the right side begins.
    fn part(&mut self, begin: usize, end: usize, feature: usize, at: f32) -> usize {
        let (mut left, mut right) = (begin, end);
        while left < right {
            if self.kept[usize::from(self.order[left]) * self.features + feature] < at {
                left += 1;
            } else {
                right -= 1;
                self.order.swap(left, right);
            }
        }
        left
    }
}

/// Mean path length of an unsuccessful search among `rows` rows: what an uncut node still hides.
fn path(rows: usize) -> f32 {
    const EULER: f32 = 0.577_215_7;
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = rows as f32;
            2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_apart_is_odd() {
        let mut forest = Forest::new(4, 50, 128, 512, 3);
        let mut dice = Dice::new(5);
        let mut row = [0.0f32; 4];
        assert_eq!(forest.oddness(&row), None);
        for _ in 0..3000 {
            row = std::array::from_fn(|_| dice.normal() as f32);
            forest.learn(&row, 300.0, 1.0);
        }
        let usual = forest.oddness(&[0.1, -0.2, 0.0, 0.3]).unwrap();
        let apart = forest.oddness(&[6.0, -6.0, 6.0, 0.0]).unwrap();
        assert!(usual < 0.5 && apart > usual + 0.15, "{usual} {apart}");
    }

    #[test]
    fn equal_rows_grow_no_cut() {
        let mut forest = Forest::new(3, 5, 16, 32, 3);
        for _ in 0..200 {
            forest.learn(&[1.0, 1.0, 1.0], 300.0, 1.0);
        }
        assert!(forest.oddness(&[1.0, 1.0, 1.0]).is_some_and(f64::is_finite));
    }
}
