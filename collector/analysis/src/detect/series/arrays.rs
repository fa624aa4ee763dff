//! Arrays longer than 32 for serde, which knows only shorter ones: written as a sequence, read back
//! with the length checked.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes the array as a sequence.
pub(super) fn serialize<S: Serializer, T: Serialize, const N: usize>(
    array: &[T; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    array.as_slice().serialize(serializer)
}

/// Reads a sequence of exactly `N` elements.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(
    deserializer: D,
) -> Result<[T; N], D::Error> {
    let list = Vec::<T>::deserialize(deserializer)?;
    let length = list.len();
    list.try_into().map_err(|_| D::Error::custom(format!("{length} elements where {N} belong")))
}
