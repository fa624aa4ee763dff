//! Ranks, medians and lagged correlation.

/// Two series at their best lag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tie {
    pub correlation: f64,
    /// Rows by which the second follows the first; negative when it leads.
    pub lag: isize,
}

/// A correlation must be this many times its own scatter, 1/√(rows - 1) (Kendall), to be more than the
/// best of many lags of two series that have nothing to do with each other.
const SURE: f64 = 3.5;

/// Median and 1.4826 × median absolute deviation of the finite values; `None` when half is missing.
pub(super) fn middle(values: &[f32]) -> Option<(f32, f32)> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if sorted.len() * 2 < values.len() || sorted.is_empty() {
        return None;
    }
    let median = |list: &mut Vec<f32>| {
        list.sort_unstable_by(f32::total_cmp);
        let half = list.len() / 2;
        if list.len().is_multiple_of(2) {
            (list[half - 1] + list[half]) / 2.0
        } else {
            list[half]
        }
    };
    let middle = median(&mut sorted);
    for value in &mut sorted {
        *value = (*value - middle).abs();
    }
    Some((middle, median(&mut sorted) * 1.4826))
}

/// Rank of each value among all, ties sharing their mean rank; a missing value has the one before it.
/// `None` when half is missing.
pub(super) fn ranks(values: &[f32]) -> Option<Vec<f64>> {
    let mut last = *values.iter().find(|value| value.is_finite())?;
    let missing = values.iter().filter(|value| !value.is_finite()).count();
    if missing * 2 > values.len() {
        return None;
    }
    let mut filled = Vec::with_capacity(values.len());
    for value in values {
        last = if value.is_finite() { *value } else { last };
        filled.push(last);
    }
    let mut order: Vec<usize> = (0..filled.len()).collect();
    order.sort_by(|a, b| filled[*a].total_cmp(&filled[*b]));
    let mut ranks = vec![0.0; filled.len()];
    let mut begin = 0;
    while begin < order.len() {
        let equal = order[begin..].iter().take_while(|i| filled[**i] == filled[order[begin]]).count();
        for i in &order[begin..begin + equal] {
            ranks[*i] = begin as f64 + (equal - 1) as f64 / 2.0;
        }
        begin += equal;
    }
    Some(ranks)
}

/// Correlation of `a` with `b` some rows later; `None` where one stands still or too little is left.
pub(super) fn lagged(a: &[f64], b: &[f64], lag: isize) -> Option<f64> {
    let shift = lag.unsigned_abs();
    let count = a.len().checked_sub(shift).filter(|count| *count >= super::FEWEST_ROWS)?;
    let (from_a, from_b) = if lag >= 0 { (0, shift) } else { (shift, 0) };
    let (a, b) = (&a[from_a..from_a + count], &b[from_b..from_b + count]);
    let n = count as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

/// The lag with the strongest correlation; the smaller lag wins among equals. `None` when it could be
/// chance.
pub(super) fn best_lag(a: &[f64], b: &[f64], most: usize) -> Option<Tie> {
    let rows = a.len();
    let most = most.min(rows / 4) as isize;
    let mut best: Option<Tie> = None;
    for lag in (0..=most).flat_map(|lag| [lag, -lag]) {
        let Some(correlation) = lagged(a, b, lag) else { continue };
        if best.is_none_or(|best| correlation.abs() > best.correlation.abs() + 1e-9) {
            best = Some(Tie { correlation, lag });
        }
    }
    best.filter(|tie| tie.correlation.abs() * ((rows - tie.lag.unsigned_abs() - 1) as f64).sqrt() >= SURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_rank() {
        assert_eq!(ranks(&[3.0, 1.0, f32::NAN, 3.0]), Some(vec![2.5, 0.5, 0.5, 2.5]));
        assert_eq!(ranks(&[f32::NAN, f32::NAN, 1.0]), None);
    }

    #[test]
    fn the_middle_is_robust() {
        assert_eq!(middle(&[1.0, 2.0, 3.0, 1000.0, f32::NAN]), Some((2.5, 1.4826)));
    }

    #[test]
    fn finds_the_lag_and_its_sign() {
        let wave = |shift: usize| -> Vec<f64> {
            (0..200u64).map(|t| ((t + 500 - shift as u64) * 7919 % 101) as f64).collect()
        };
        let tie = best_lag(&wave(0), &wave(4), 20).unwrap();
        assert_eq!(tie.lag, 4);
        assert!(tie.correlation > 0.999);
        assert_eq!(best_lag(&wave(4), &wave(0), 20).unwrap().lag, -4);
    }
}
