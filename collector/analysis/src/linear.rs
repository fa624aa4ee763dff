//! Least squares by normal equations: all the linear algebra that forecasts and failure prediction need.
//!
//! Small symmetric systems, a few hundred unknowns at most, always with a ridge on the diagonal. A
//! linear algebra crate would be a large dependency for one Cholesky factor.

/// A symmetric positive definite matrix, as its Cholesky factor.
#[derive(Clone, Debug)]
pub struct Cholesky {
    size: usize,
    /// Lower triangle, row by row, each row `size` long.
    factor: Vec<f64>,
}

impl Cholesky {
    /// Factors `matrix` (row-major, `size` × `size`, only the lower triangle is read). `None` when it
    /// isn't positive definite.
    #[must_use]
    pub fn new(mut matrix: Vec<f64>, size: usize) -> Option<Self> {
        assert_eq!(matrix.len(), size * size, "a square matrix");
        for row in 0..size {
            let (above, rest) = matrix.split_at_mut(row * size);
            for column in 0..row {
                let other = &above[column * size..column * size + column + 1];
                let sum: f64 = other[..column].iter().zip(&rest[..column]).map(|(a, b)| a * b).sum();
                rest[column] = (rest[column] - sum) / other[column];
            }
            let square = rest[row] - rest[..row].iter().map(|v| v * v).sum::<f64>();
            if !square.is_finite() || square <= 0.0 {
                return None;
            }
            rest[row] = square.sqrt();
        }
        Some(Self { size, factor: matrix })
    }

    /// Solves for one right-hand side, in place.
    pub fn solve(&self, right: &mut [f64]) {
        self.forward(right);
        for row in (0..self.size).rev() {
            let below: f64 = (row + 1..self.size).map(|r| self.factor[r * self.size + row] * right[r]).sum();
            right[row] = (right[row] - below) / self.factor[row * self.size + row];
        }
    }

    /// `vector' · inverse · vector`; overwrites `vector`.
    pub fn form(&self, vector: &mut [f64]) -> f64 {
        self.forward(vector);
        vector.iter().map(|v| v * v).sum()
    }

    fn forward(&self, right: &mut [f64]) {
        for row in 0..self.size {
            let line = &self.factor[row * self.size..row * self.size + row + 1];
            let before: f64 = line[..row].iter().zip(right.iter()).map(|(a, b)| a * b).sum();
            right[row] = (right[row] - before) / line[row];
        }
    }
}

/// Sums of a weighted least squares problem, a row at a time.
#[derive(Clone, Debug)]
pub struct Normal {
    size: usize,
    /// Lower triangle of X'WX.
    gram: Vec<f64>,
    /// X'Wy.
    right: Vec<f64>,
}

impl Normal {
    /// An empty problem with `size` unknowns.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, gram: vec![0.0; size * size], right: vec![0.0; size] }
    }

    /// Adds one row.
    pub fn add(&mut self, row: &[f64], target: f64, weight: f64) {
        for (at, value) in row.iter().enumerate() {
            let scaled = value * weight;
            if scaled == 0.0 {
                continue;
            }
            self.right[at] += scaled * target;
            for (sum, other) in self.gram[at * self.size..at * self.size + at + 1].iter_mut().zip(row) {
                *sum += scaled * other;
            }
        }
    }

    /// Adds another problem's rows.
    pub fn merge(&mut self, other: &Self) {
        self.gram.iter_mut().zip(&other.gram).for_each(|(a, b)| *a += b);
        self.right.iter_mut().zip(&other.right).for_each(|(a, b)| *a += b);
    }

    /// Sum of squares of term `at` around its mean, when term 0 is the constant.
    #[must_use]
    pub fn scatter(&self, at: usize) -> f64 {
        let (count, sum) = (self.gram[0], self.gram[at * self.size]);
        (self.gram[at * self.size + at] - sum * sum / count.max(1e-300)).max(0.0)
    }

    /// How much of the sum of squares of the targets these coefficients explain: `2b'X'y - b'X'Xb`.
    #[must_use]
    pub fn explained(&self, solution: &[f64]) -> f64 {
        let mut form = 0.0;
        for row in 0..self.size {
            let line = &self.gram[row * self.size..row * self.size + row + 1];
            let before: f64 = line[..row].iter().zip(solution).map(|(a, b)| a * b).sum();
            form += solution[row] * (2.0 * before + line[row] * solution[row]);
        }
        2.0 * solution.iter().zip(&self.right).map(|(a, b)| a * b).sum::<f64>() - form
    }

    /// Coefficients and the factor, with `ridge[i]` added to the diagonal.
    #[must_use]
    pub fn solve(&self, ridge: impl Fn(usize) -> f64) -> Option<(Vec<f64>, Cholesky)> {
        let mut gram = self.gram.clone();
        for at in 0..self.size {
            gram[at * self.size + at] += ridge(at);
        }
        let factor = Cholesky::new(gram, self.size)?;
        let mut solution = self.right.clone();
        factor.solve(&mut solution);
        solution.iter().all(|v| v.is_finite()).then_some((solution, factor))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cholesky, Normal};

    #[test]
    fn solves_what_it_was_given() {
        let factor = Cholesky::new(vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 1.0, 3.0, 6.0], 3).unwrap();
        let mut right = vec![4.0 + 4.0 + 3.0, 2.0 + 10.0 + 9.0, 1.0 + 6.0 + 18.0];
        factor.solve(&mut right);
        for (got, want) in right.iter().zip([1.0, 2.0, 3.0]) {
            assert!((got - want).abs() < 1e-12, "{right:?}");
        }
        assert!(Cholesky::new(vec![1.0, 0.0, 2.0, 1.0], 2).is_none(), "not positive definite");
    }

    #[test]
    fn finds_the_line_through_its_points() {
        let mut normal = Normal::new(2);
        for x in 0..10 {
            normal.add(&[1.0, f64::from(x)], 3.0 - 0.5 * f64::from(x), 1.0);
        }
        let (line, _) = normal.solve(|_| 0.0).unwrap();
        assert!((line[0] - 3.0).abs() < 1e-9 && (line[1] + 0.5).abs() < 1e-9, "{line:?}");
    }
}
