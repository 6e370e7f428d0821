//! Numbers of the settings as text, in the fewest digits that give them back exactly: readers of JSON may round numbers.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// What can be told in decimals.
pub(crate) trait Decimal: Sized {
    fn text(&self) -> String;
    fn of_text(text: &str) -> Option<Self>;
}

impl Decimal for f64 {
    fn text(&self) -> String {
        self.to_string()
    }

    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &Self| number.is_finite())
    }
}

impl Decimal for Option<f64> {
    fn text(&self) -> String {
        self.map_or_else(|| "none".to_owned(), |number| number.to_string())
    }

    fn of_text(text: &str) -> Option<Self> {
        if text == "none" { Some(None) } else { f64::of_text(text).map(Some) }
    }
}

pub(crate) fn serialize<T: Decimal, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.text())
}

pub(crate) fn deserialize<'de, T: Decimal, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    T::of_text(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no number")))
}
