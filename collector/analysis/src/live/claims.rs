//! What the series of one second claimed, for checks of the calibration.

use crate::detect::series::Past;

/// The claims of one second.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// Of each series that had a point and has learned enough: what its claim was made from.
    pub pasts: &'a [Past],
    /// Tail and surprise (-log10) of those points among them that claimed to be rarer than one in a hundred.
    pub rare: &'a [(f64, f32)],
}
