//! Delimited `MetricFamily` messages.
//!
//! A family is walked field by field, and its series are decoded one after the other: decoded as a whole, a body of empty
//! series would take a hundred times its size.

use crate::{
    MAX_LABELS, MAX_LINE_BYTES,
    collector::Collector,
    error::{ExpositionError, MessageError},
    messages::{Histogram, LabelPair, Metric},
    text::Label,
};
use prost::Message as _;
use std::borrow::Cow;

/// Field numbers of `MetricFamily`.
const NAME: u64 = 1;
const METRIC: u64 = 4;

/// Reads a body.
pub(crate) fn read(body: &[u8], collector: &mut Collector) -> Result<(), ExpositionError> {
    let mut rest = body;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let wrong = |problem| ExpositionError::Message { number, problem };
        let family = delimited(&mut rest).ok_or(ExpositionError::Cut("the end of its last message"))?;
        let name = fields(family).find_map(|field| match field {
            Ok((NAME, Some(name))) => Some(std::str::from_utf8(name).map_err(|_| MessageError::Garbage)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let name = name.transpose().map_err(wrong)?.unwrap_or_default();
        collector.family(name);
        for field in fields(family) {
            if let (METRIC, Some(metric)) = field.map_err(wrong)? {
                collector.looked()?;
                if collector.wants_family(name) {
                    self::metric(name, metric, collector).map_err(|error| error.at(number))?;
                }
            }
        }
    }
    Ok(())
}

/// What stops the reading of a series.
enum Stop {
    Message(MessageError),
    Series(ExpositionError),
}

impl Stop {
    fn at(self, number: usize) -> ExpositionError {
        match self {
            Self::Message(problem) => ExpositionError::Message { number, problem },
            Self::Series(error) => error,
        }
    }
}

fn metric(name: &str, bytes: &[u8], collector: &mut Collector) -> Result<(), Stop> {
    if bytes.len() > MAX_LINE_BYTES {
        return Err(Stop::Message(MessageError::TooLong));
    }
    let metric = Metric::decode(bytes).map_err(|_| Stop::Message(MessageError::Garbage))?;
    if metric.label.len() > MAX_LABELS {
        return Err(Stop::Message(MessageError::TooManyLabels));
    }
    let labels: Vec<Label<'_>> = metric.label.iter().map(label).collect();
    let number = metric.counter.or(metric.untyped).or(metric.gauge);
    if let Some(value) = number.and_then(|number| number.value) {
        collector.sample(name, &labels, value).map_err(Stop::Series)?;
    }
    if let Some(summary) = metric.summary {
        let count = summary.sample_count() as f64;
        collector.sample(&format!("{name}_count"), &labels, count).map_err(Stop::Series)?;
    }
    match metric.histogram {
        Some(histogram) => self::histogram(name, &labels, &histogram, collector).map_err(Stop::Series),
        None => Ok(()),
    }
}

fn label(pair: &LabelPair) -> Label<'_> {
    (Cow::Borrowed(pair.name()), Cow::Borrowed(pair.value()))
}

fn histogram(
    name: &str,
    labels: &[Label<'_>],
    histogram: &Histogram,
    collector: &mut Collector,
) -> Result<(), ExpositionError> {
    let float = histogram.sample_count_float();
    let count = if float > 0.0 { float } else { histogram.sample_count() as f64 };
    collector.sample(&format!("{name}_count"), labels, count)?;
    if histogram.is_native() {
        collector.native(name, labels, histogram)?;
    }
    if histogram.bucket.is_empty() {
        return Ok(());
    }
    let mut ends = false;
    for bucket in &histogram.bucket {
        let float = bucket.cumulative_count_float();
        let count = if float > 0.0 { float } else { bucket.cumulative_count() as f64 };
        ends |= bucket.upper_bound() == f64::INFINITY;
        collector.bucket(name, labels, bucket.upper_bound(), count)?;
    }
    if !ends {
        collector.bucket(name, labels, f64::INFINITY, count)?;
    }
    Ok(())
}

/// A message behind its length; `None` where its end is missing.
fn delimited<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (message, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(message)
}

/// At most ten bytes, seven bits each, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message: the number of each, with its bytes where it has a length. Ends after a mistake.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u64, Option<&[u8]>), MessageError>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or(MessageError::Garbage))
    })
}

fn field<'b>(rest: &mut &'b [u8]) -> Option<(u64, Option<&'b [u8]>)> {
    let key = varint(rest)?;
    let bytes = match key & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => {
            *rest = rest.get(8..)?;
            None
        }
        2 => Some(delimited(rest)?),
        5 => {
            *rest = rest.get(4..)?;
            None
        }
        // Groups (3, 4) stand in no message of these; 6 and 7 are none.
        _ => return None,
    };
    // Field numbers begin with 1.
    (key >> 3 > 0).then_some((key >> 3, bytes))
}
