//! Numbers in the saved state: exactly as they were, whatever the format makes of numbers, and small.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// What can be told as a list of 64-bit numbers.
pub(crate) trait Packed: Sized {
    fn pack(&self) -> Vec<u64>;
    fn unpack(numbers: &[u64]) -> Option<Self>;
}

pub(crate) fn serialize<T: Packed, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    let bytes: Vec<u8> = value.pack().into_iter().flat_map(u64::to_le_bytes).collect();
    to.serialize_str(&BASE64.encode(bytes))
}

pub(crate) fn deserialize<'de, T: Packed, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    let bytes = BASE64.decode(text).map_err(D::Error::custom)?;
    let (numbers, rest) = bytes.as_chunks::<8>();
    let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let value = rest.is_empty().then(|| T::unpack(&numbers)).flatten();
    value.ok_or_else(|| D::Error::custom("these are not the numbers of a judge's state"))
}
