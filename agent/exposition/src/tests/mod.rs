//! Bodies as services write them, and as only an enemy would.

mod bounds;
mod open_metrics;
mod properties;
mod protobuf;
mod selecting;
mod text;

use super::*;

/// Selectors as a manifest has them; an empty text is none.
fn selectors(requests: &str, errors: &str, latency: &str) -> Selectors {
    let one = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    Selectors { requests: one(requests), errors: one(errors), latency: one(latency) }
}

fn usual() -> Selectors {
    Selectors::default()
}

fn text(body: &str, selectors: &Selectors) -> Result<Traffic, ExpositionError> {
    read(Format::Text, body.as_bytes(), selectors)
}

/// Requests and errors.
#[track_caller]
fn counts(body: &str, selectors: &Selectors) -> (u64, u64) {
    let traffic = text(body, selectors).unwrap();
    (traffic.requests, traffic.bad)
}

/// Why a body says nothing.
#[track_caller]
fn refused(body: &str) -> String {
    text(body, &usual()).expect_err("a wrong body was taken").to_string()
}
