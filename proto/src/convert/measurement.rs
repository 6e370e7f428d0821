//! Measurements.

use super::{ConvertError, bounded, parse, plain};
use crate::v1;
use handover_model::{
    Ends, InstanceId, Latency, MAX_LATENCY_EDGES, Measurement, Refused, Sample, Share, Traffic, Usage,
};
use std::collections::BTreeMap;

/// Most instances of one service on one host that are measured.
const MAX_SAMPLES: usize = 64;
/// Longest reason why a service's metrics say nothing, in characters.
const MAX_FAILED_CHARS: usize = 500;

impl TryFrom<v1::Measurement> for Measurement {
    type Error = ConvertError;

    fn try_from(wire: v1::Measurement) -> Result<Self, ConvertError> {
        let v1::Measurement { service, samples } = wire;
        bounded("samples", &samples, MAX_SAMPLES)?;
        let mut instances = BTreeMap::new();
        for (at, sample) in samples.into_iter().enumerate() {
            let inside = |error: ConvertError| error.inside(format_args!("samples[{at}]"));
            let (instance, sample) = <(InstanceId, Sample)>::try_from(sample).map_err(inside)?;
            instances.insert(instance, sample);
        }
        Ok(Self { service: parse("service", &service)?, instances })
    }
}

impl From<&Measurement> for v1::Measurement {
    fn from(measurement: &Measurement) -> Self {
        let Measurement { service, instances } = measurement;
        let samples = instances.iter().take(MAX_SAMPLES).map(v1::Sample::from).collect();
        Self { service: service.to_string(), samples }
    }
}

impl TryFrom<v1::Sample> for (InstanceId, Sample) {
    type Error = ConvertError;

    fn try_from(wire: v1::Sample) -> Result<Self, ConvertError> {
        let v1::Sample {
            instance,
            run,
            share,
            traffic,
            failed,
            connections,
            memory,
            cpu_micros,
            clock_micros,
            ends,
            refused,
        } = wire;
        let traffic = match traffic {
            Some(traffic) => Ok(Traffic::try_from(traffic).map_err(|error| error.inside("traffic"))?),
            None => Err(plain(&failed, MAX_FAILED_CHARS)),
        };
        let sample = Sample {
            run,
            share: Share::new(share).map_err(|error| ConvertError::new("share", error))?,
            traffic,
            usage: Usage {
                connections,
                ends: ends.map(Ends::try_from).transpose().map_err(|error| error.inside("ends"))?,
                refused: refused.map(Refused::from),
                memory,
                cpu_micros,
                clock_micros,
            },
        };
        Ok((parse("instance", &instance)?, sample))
    }
}

impl From<(&InstanceId, &Sample)> for v1::Sample {
    fn from((instance, sample): (&InstanceId, &Sample)) -> Self {
        let Sample { run, share, traffic, usage } = sample;
        let Usage { connections, ends, refused, memory, cpu_micros, clock_micros } = usage;
        let (traffic, failed) = match traffic {
            Ok(traffic) => (Some(v1::Traffic::from(traffic)), String::new()),
            Err(reason) => (None, plain(reason, MAX_FAILED_CHARS)),
        };
        Self {
            instance: instance.to_string(),
            run: *run,
            share: u32::from(share.basis_points()),
            traffic,
            failed,
            connections: *connections,
            memory: *memory,
            cpu_micros: *cpu_micros,
            clock_micros: *clock_micros,
            ends: ends.map(v1::Ends::from),
            refused: refused.map(v1::Refused::from),
        }
    }
}

impl TryFrom<v1::Ends> for Ends {
    type Error = ConvertError;

    fn try_from(wire: v1::Ends) -> Result<Self, ConvertError> {
        let v1::Ends { since_micros, ended, reset } = wire;
        if reset > ended {
            return Err(ConvertError::new("reset", format!("{reset} of {ended} connections")));
        }
        Ok(Self { since_micros, ended, reset })
    }
}

impl From<Ends> for v1::Ends {
    fn from(ends: Ends) -> Self {
        let Ends { since_micros, ended, reset } = ends;
        Self { since_micros, ended, reset }
    }
}

impl From<v1::Refused> for Refused {
    fn from(wire: v1::Refused) -> Self {
        let v1::Refused { since_micros, clock_micros, count } = wire;
        Self { since_micros, clock_micros, count }
    }
}

impl From<Refused> for v1::Refused {
    fn from(refused: Refused) -> Self {
        let Refused { since_micros, clock_micros, count } = refused;
        Self { since_micros, clock_micros, count }
    }
}

impl TryFrom<v1::Traffic> for Traffic {
    type Error = ConvertError;

    fn try_from(wire: v1::Traffic) -> Result<Self, ConvertError> {
        let v1::Traffic { requests, bad, latency } = wire;
        if bad > requests {
            return Err(ConvertError::new("bad", format!("{bad} of {requests} requests")));
        }
        let latency = latency.map(Latency::try_from).transpose();
        Ok(Self { requests, bad, latency: latency.map_err(|error| error.inside("latency"))? })
    }
}

impl From<&Traffic> for v1::Traffic {
    fn from(traffic: &Traffic) -> Self {
        let Traffic { requests, bad, latency } = traffic;
        Self { requests: *requests, bad: *bad, latency: latency.as_ref().map(Into::into) }
    }
}

impl TryFrom<v1::Latency> for Latency {
    type Error = ConvertError;

    fn try_from(wire: v1::Latency) -> Result<Self, ConvertError> {
        let v1::Latency { edges, buckets } = wire;
        bounded("edges", &edges, MAX_LATENCY_EDGES)?;
        Self::new(edges, buckets).map_err(|error| ConvertError::new("buckets", error))
    }
}

impl From<&Latency> for v1::Latency {
    fn from(latency: &Latency) -> Self {
        Self { edges: latency.edges().to_vec(), buckets: latency.buckets().to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement() -> Measurement {
        let usage = Usage {
            connections: Some(7),
            ends: Some(Ends { since_micros: 5, ended: 4, reset: 2 }),
            refused: Some(Refused { since_micros: 5, clock_micros: 9, count: 3 }),
            memory: None,
            cpu_micros: Some(1),
            clock_micros: Some(9),
        };
        let latency = Latency::new(vec![0.1, 1.0], vec![3, 4, 0]).ok();
        let sample = |traffic| Sample { run: 2, share: Share::new(500).unwrap(), traffic, usage };
        let counted = sample(Ok(Traffic { requests: 7, bad: 1, latency }));
        let silent = sample(Err("no answer within 2 s".to_owned()));
        let instances = [("shop-1".parse().unwrap(), counted), ("shop-2".parse().unwrap(), silent)];
        Measurement { service: "shop".parse().unwrap(), instances: instances.into() }
    }

    #[test]
    fn a_measurement_survives_the_wire() {
        let there = v1::Measurement::from(&measurement());
        assert_eq!(Measurement::try_from(there).unwrap(), measurement());
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        let refused = |change: fn(&mut v1::Measurement)| {
            let mut wire = v1::Measurement::from(&measurement());
            change(&mut wire);
            Measurement::try_from(wire).unwrap_err().to_string()
        };
        assert_eq!(
            refused(|wire| wire.samples[0].traffic.as_mut().unwrap().bad = 8),
            "field samples[0].traffic.bad: 8 of 7 requests"
        );
        let buckets = refused(|wire| {
            wire.samples[0].traffic.as_mut().unwrap().latency.as_mut().unwrap().buckets.pop();
        });
        assert!(buckets.starts_with("field samples[0].traffic.latency.buckets"), "{buckets}");
        assert_eq!(
            refused(|wire| wire.samples[1].ends.as_mut().unwrap().reset = 5),
            "field samples[1].ends.reset: 5 of 4 connections"
        );
        let many = refused(|wire| wire.samples = vec![wire.samples[0].clone(); MAX_SAMPLES + 1]);
        assert!(many.contains("at most 64"), "{many}");
    }
}
