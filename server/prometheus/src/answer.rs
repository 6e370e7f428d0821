//! The envelope: series out of JSON, with a bound on their number.

use crate::{AnswerError, MAX_SERIES};
use handover_exposition::shown;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// What is said where there are too many series, so that it is known again.
const TOO_MANY: &str = "too many series";

/// One series with its number.
#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    pub(crate) metric: BTreeMap<String, String>,
    /// When it was asked for, in seconds, and the number.
    pub(crate) value: Option<(f64, String)>,
    /// Native histograms have this instead.
    pub(crate) histogram: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType", default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Vector,
}

struct Vector(Vec<Series>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of series")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vector, A::Error> {
                let mut all = Vec::new();
                while let Some(series) = list.next_element()? {
                    if all.len() == MAX_SERIES {
                        return Err(A::Error::custom(TOO_MANY));
                    }
                    all.push(series);
                }
                Ok(Vector(all))
            }
        }
        deserializer.deserialize_seq(Bounded)
    }
}

/// The series of an answer, and its first warning.
pub(crate) fn series(body: &[u8]) -> Result<(Vec<Series>, Option<String>), AnswerError> {
    let read: Result<Envelope, _> = serde_json::from_slice(body);
    let answer = read.map_err(|error| match error.to_string() {
        said if said.starts_with(TOO_MANY) => AnswerError::TooMany,
        // Its words may hold a piece of the answer.
        said => AnswerError::Garbage(shown(&said)),
    })?;
    let Envelope { status, data, error_type, error, warnings } = answer;
    if status != "success" {
        return Err(AnswerError::Failed { kind: shown(&error_type), words: shown(&error) });
    }
    let data = data.ok_or_else(|| AnswerError::Garbage("it has no data".to_owned()))?;
    if data.result_type != "vector" {
        return Err(AnswerError::NoVector(shown(&data.result_type)));
    }
    Ok((data.result.0, warnings.first().map(|warning| shown(warning))))
}
