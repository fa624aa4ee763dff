//! The shapes that a level may follow, fitted and weighed against each other.
//!
//! Every shape is linear in its unknowns: a start, a course (straight, bent as an exponential, or
//! with a change of slope at some row), a daily or other cycle, the phase of a sawtooth, and a
//! shift at each step. Each is fitted by robust least squares to a few hundred bucket medians; the
//! Bayesian information criterion (Schwarz 1978) turns how well they fit into weights. Nothing picks one
//! winner: whether a course bends is seldom certain, and the weights carry that doubt into the answer.

use super::resets::Jumps;
use super::series::median;
use crate::linear::{Cholesky, Normal};

/// The most buckets a history is reduced to.
const BUCKETS: usize = 160;
/// Most unknowns of a shape.
const MOST_TERMS: usize = 3 + 2 * HARMONICS + 1 + Jumps::MOST;
const HARMONICS: usize = 2;
/// Rounds of re-weighting.
const ROUNDS: usize = 2;

/// How bent a course may be: slope at its end against slope at its start, as logarithms.
const BENDS: [f64; 18] =
    [-6.0, -4.5, -3.3, -2.5, -1.8, -1.3, -0.9, -0.6, -0.3, 0.0, 0.25, 0.5, 0.75, 1.0, 1.35, 1.75, 2.3, 3.0];
/// How much of the difference in fit is believed: no course is one of these shapes exactly.
const TEMPER: f64 = 0.5;

/// How the course runs, apart from cycles and steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Course {
    /// No trend.
    Flat,
    /// Bent: slope proportional to exp(bend · share of the history passed). 0 is a straight line.
    Bent(f64),
    /// Straight, with a new slope from this row on.
    Turn(f64),
}

/// A history reduced to bucket medians, with what was found in it.
pub(super) struct Reduced {
    /// Middle row of each bucket and its median.
    points: Vec<(f64, f64)>,
    /// Sum of the squared medians.
    squares: f64,
    /// Rows of the history.
    pub rows: f64,
    /// Length of the cycle in rows; 0 without one.
    cycle: f64,
    jumps: Jumps,
    tooth: f64,
}

/// One fitted shape.
pub(super) struct Shape {
    pub course: Course,
    terms: Vec<f64>,
    factor: Cholesky,
    /// Variance of what is left, times how much neighbouring leftovers repeat each other.
    variance: f64,
    /// Bayesian information criterion; smaller is better.
    criterion: f64,
    /// Share of belief, 0 to 1.
    pub weight: f64,
}

impl Reduced {
    pub(super) fn new(values: &[f64]) -> Self {
        let jumps = Jumps::find(values);
        let width = values.len().div_ceil(BUCKETS).max(1);
        let points: Vec<(f64, f64)> = values
            .chunks(width)
            .enumerate()
            .map(|(at, bucket)| {
                ((at * width) as f64 + (bucket.len() as f64 - 1.0) / 2.0, median(&mut bucket.to_vec()))
            })
            .collect();
        let tooth = jumps.tooth();
        let squares = points.iter().map(|(_, value)| value * value).sum();
        let mut reduced = Self { points, squares, rows: values.len() as f64, cycle: 0.0, jumps, tooth };
        reduced.cycle = reduced.find_cycle();
        reduced
    }

    /// Shapes with their weights, the unlikely left out.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let mut courses = vec![Course::Flat];
        courses.extend(BENDS.map(Course::Bent));
        courses.extend((3..=37).map(|part| Course::Turn(self.rows * f64::from(part) / 40.0)));
        let mut common = Vec::new();
        self.points.iter().for_each(|(at, _)| self.common_terms(self.cycle, *at, &mut common));
        let mut shapes: Vec<Shape> =
            courses.into_iter().filter_map(|course| self.fit(course, &common)).collect();
        let best = shapes.iter().map(|shape| shape.criterion).fold(f64::INFINITY, f64::min);
        let mut total = 0.0;
        for shape in &mut shapes {
            shape.weight = ((best - shape.criterion) * TEMPER / 2.0).exp();
            total += shape.weight;
        }
        shapes.iter_mut().for_each(|shape| shape.weight /= total);
        shapes.retain(|shape| shape.weight > 0.004);
        shapes
    }

    /// The cycle that explains most, given a flexible course; 0 when none explains enough.
    fn find_cycle(&self) -> f64 {
        let shortest = 6.0 * self.rows / self.points.len() as f64;
        let longest = self.rows / 2.0;
        if self.points.len() < 24 || longest < shortest {
            return 0.0;
        }
        let turns = [0.4, 0.7].map(|share| share * self.rows);
        let without = self.left_over(&turns, 0.0);
        const TRIED: i32 = 36;
        let ratio = (longest / shortest).powf(1.0 / f64::from(TRIED));
        let better = |known: (f64, f64), cycle: f64| {
            let left = self.left_over(&turns, cycle);
            if left < known.1 {
                (cycle, left)
            } else {
                known
            }
        };
        let coarse = (0..=TRIED).map(|step| shortest * ratio.powi(step)).fold((0.0, without), better);
        let fine = (-4..=4).map(|step| coarse.0 * ratio.powf(f64::from(step) / 5.0));
        let (best, least) = fine.filter(|cycle| *cycle > 0.0).fold(coarse, better);
        if least >= 0.75 * without {
            return 0.0;
        }
        // Twice a cycle explains all that the cycle does and follows chance besides.
        let half = self.left_over(&turns, best / 2.0);
        if half < 0.5 * (least + without) && half < 1.5 * least {
            best / 2.0
        } else {
            best
        }
    }

    /// Squared leftover of a flexible course with a cycle, up to a constant.
    fn left_over(&self, turns: &[f64; 2], cycle: f64) -> f64 {
        let mut row = Vec::with_capacity(MOST_TERMS + 2);
        let mut normal: Option<Normal> = None;
        for (at, value) in &self.points {
            row.clear();
            self.course_terms(Course::Bent(0.0), *at, &mut row);
            self.common_terms(cycle, *at, &mut row);
            row.extend(turns.iter().map(|turn| (at - turn).max(0.0) / self.rows));
            normal.get_or_insert_with(|| Normal::new(row.len())).add(&row, *value, 1.0);
        }
        let explained = normal.and_then(|normal| Some(normal.explained(&normal.solve(|_| 1e-6)?.0)));
        explained.map_or(f64::INFINITY, |explained| self.squares - explained)
    }

    /// What the unknowns of the course are multiplied by at row `at`, which may lie after the history.
    fn course_terms(&self, course: Course, at: f64, row: &mut Vec<f64>) {
        let passed = at / self.rows;
        row.push(1.0);
        match course {
            Course::Flat => {}
            Course::Bent(bend) if bend.abs() < 1e-3 => row.push(passed),
            Course::Bent(bend) => row.push(((bend * (passed - 1.0)).exp() - (-bend).exp()) / bend),
            Course::Turn(turn) => row.extend([passed, (at - turn).max(0.0) / self.rows]),
        }
    }

    /// The same for what every course shares: cycle, tooth and steps.
    fn common_terms(&self, cycle: f64, at: f64, row: &mut Vec<f64>) {
        if cycle > 0.0 {
            let (sin, cos) = (std::f64::consts::TAU * at / cycle).sin_cos();
            row.extend([sin, cos, 2.0 * sin * cos, cos * cos - sin * sin]);
        }
        if self.tooth > 0.0 {
            row.push(self.phase(at));
        }
        row.extend(self.jumps.steps.iter().map(|step| if at >= *step as f64 { 1.0 } else { 0.0 }));
    }

    /// Share of its tooth that has passed at row `at`.
    fn phase(&self, at: f64) -> f64 {
        let resets = &self.jumps.resets;
        let behind = resets.partition_point(|reset| *reset as f64 <= at);
        let (first, last) = (resets[0] as f64, resets[resets.len() - 1] as f64);
        if behind == 0 {
            1.0 - ((first - at) / self.tooth).fract()
        } else if behind == resets.len() {
            ((at - last) / self.tooth).fract()
        } else {
            (at - resets[behind - 1] as f64) / self.tooth
        }
    }

    /// Every course's row of terms at every point, one after the other.
    fn design(&self, course: Course, common: &[f64]) -> (Vec<f64>, usize) {
        let shared = common.len() / self.points.len();
        let mut design = Vec::with_capacity(common.len() + 3 * self.points.len());
        for (point, (at, _)) in self.points.iter().enumerate() {
            self.course_terms(course, *at, &mut design);
            design.extend_from_slice(&common[point * shared..(point + 1) * shared]);
        }
        let size = design.len() / self.points.len();
        (design, size)
    }

    fn fit(&self, course: Course, common: &[f64]) -> Option<Shape> {
        let (design, size) = self.design(course, common);
        if self.points.len() < size + 4 {
            return None;
        }
        let mut weights = vec![1.0; self.points.len()];
        let mut left = vec![0.0; self.points.len()];
        let mut fitted = None;
        for _ in 0..ROUNDS {
            let mut normal = Normal::new(size);
            for ((row, (_, value)), weight) in design.chunks_exact(size).zip(&self.points).zip(&weights) {
                normal.add(row, *value, *weight);
            }
            let (terms, factor) = normal.solve(|_| 1e-7)?;
            for ((row, (_, value)), left) in design.chunks_exact(size).zip(&self.points).zip(left.iter_mut())
            {
                *left = value - dot(row, &terms);
            }
            // Huber's weights: a burst counts in proportion, not squared.
            let usual = median(&mut left.iter().map(|l| l.abs()).collect::<Vec<_>>()) * 1.4826 + 1e-4;
            for (weight, left) in weights.iter_mut().zip(&left) {
                *weight = (1.5 * usual / left.abs().max(1e-12)).min(1.0);
            }
            fitted = Some((terms, factor, usual));
        }
        let (terms, factor, usual) = fitted?;
        Some(self.weigh(course, terms, factor, &left, usual))
    }

    fn weigh(&self, course: Course, terms: Vec<f64>, factor: Cholesky, left: &[f64], usual: f64) -> Shape {
        let far = 3.0 * usual;
        let count = left.len() as f64;
        let clipped: f64 = left.iter().map(|l| l.clamp(-far, far).powi(2)).sum();
        let neighbours: f64 = left.windows(2).map(|p| p[0].clamp(-far, far) * p[1].clamp(-far, far)).sum();
        let repeat = (neighbours / (clipped + 1e-12)).clamp(0.0, 0.9);
        let thinning = (1.0 + repeat) / (1.0 - repeat);
        let mean_square: f64 = left.iter().map(|l| huber(*l, 1.5 * usual)).sum::<f64>() / count;
        let size = terms.len() as f64 + if matches!(course, Course::Flat) { 0.0 } else { 1.0 };
        let effective = (count / thinning).max(8.0);
        let criterion = effective * (mean_square + 1e-8).ln() + size * effective.ln();
        Shape { course, terms, factor, variance: (clipped / count + 1e-8) * thinning, criterion, weight: 0.0 }
    }

    /// Expected value and standard deviation of the fitted course at row `at`.
    pub(super) fn at(&self, shape: &Shape, at: f64, row: &mut Vec<f64>) -> (f64, f64) {
        row.clear();
        self.course_terms(shape.course, at, row);
        self.common_terms(self.cycle, at, row);
        let mean = dot(row, &shape.terms);
        (mean, (shape.factor.form(row) * shape.variance).sqrt())
    }
}

fn huber(left: f64, edge: f64) -> f64 {
    let size = left.abs();
    if size <= edge {
        size * size
    } else {
        edge * (2.0 * size - edge)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
