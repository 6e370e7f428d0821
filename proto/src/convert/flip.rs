//! Flips in a host's report.

use super::{ConvertError, MAX_MISSED_CHARS, MAX_SERVICES, bounded, parse, plain};
use crate::v1::{self, flip_confirmation::State};
use handover_model::{Confirmation, ConfirmationState, FlipReport, Readings, ServiceName, Timestamp};
use std::collections::BTreeMap;

/// The last flip of each service.
pub(super) fn flips(wire: Vec<v1::FlipReport>) -> Result<BTreeMap<ServiceName, FlipReport>, ConvertError> {
    bounded("flips", &wire, MAX_SERVICES)?;
    let mut flips = BTreeMap::new();
    for (at, flip) in wire.into_iter().enumerate() {
        let inside = |error: ConvertError| error.inside(format_args!("flips[{at}]"));
        let v1::FlipReport { service, at_nanos, confirmation } = flip;
        let service: ServiceName = parse("service", &service).map_err(inside)?;
        let confirmation = confirmation.map(Confirmation::try_from).transpose();
        let confirmation = confirmation.map_err(|error| inside(error.inside("confirmation")))?;
        if flips.contains_key(&service) {
            return Err(inside(ConvertError::new("service", format!("{service} is named twice"))));
        }
        flips.insert(service, FlipReport { at_nanos, confirmation });
    }
    Ok(flips)
}

impl From<(&ServiceName, &FlipReport)> for v1::FlipReport {
    fn from((service, flip): (&ServiceName, &FlipReport)) -> Self {
        let FlipReport { at_nanos, confirmation } = flip;
        Self {
            service: service.to_string(),
            at_nanos: *at_nanos,
            confirmation: confirmation.as_ref().map(v1::FlipConfirmation::from),
        }
    }
}

impl TryFrom<v1::FlipConfirmation> for Confirmation {
    type Error = ConvertError;

    /// A reason that is too long is cut.
    fn try_from(wire: v1::FlipConfirmation) -> Result<Self, ConvertError> {
        let v1::FlipConfirmation { revision, state } = wire;
        let state = match state {
            None => return Err(ConvertError::new("state", "is not set")),
            Some(State::AwaitedUntilUnixMillis(until)) => {
                ConfirmationState::Awaited { until: Timestamp::from_unix_millis(until) }
            }
            Some(State::Given(_)) => ConfirmationState::Given,
            Some(State::Missed(reason)) => {
                ConfirmationState::Missed { reason: plain(&reason, MAX_MISSED_CHARS) }
            }
        };
        Ok(Self { revision, state })
    }
}

impl From<&Confirmation> for v1::FlipConfirmation {
    fn from(confirmation: &Confirmation) -> Self {
        let Confirmation { revision, state } = confirmation;
        let state = match state {
            ConfirmationState::Awaited { until } => State::AwaitedUntilUnixMillis(until.unix_millis()),
            ConfirmationState::Given => State::Given(true),
            ConfirmationState::Missed { reason } => State::Missed(plain(reason, MAX_MISSED_CHARS)),
        };
        Self { revision: *revision, state: Some(state) }
    }
}

impl From<v1::ClockReadings> for Readings {
    fn from(wire: v1::ClockReadings) -> Self {
        let v1::ClockReadings { sent_nanos, target_nanos } = wire;
        Self { sent_nanos, target_nanos }
    }
}

impl From<Readings> for v1::ClockReadings {
    fn from(readings: Readings) -> Self {
        let Readings { sent_nanos, target_nanos } = readings;
        Self { sent_nanos, target_nanos }
    }
}
