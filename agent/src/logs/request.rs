//! What the server asks for.

use handover_model::{InstanceId, NameError, ServiceName};
use handover_proto::v1;
use std::collections::BTreeSet;

/// Most lines of what was there already.
const MAX_LINES: usize = 10_000;
/// Most instances that are named.
const MAX_INSTANCES: usize = 1024;

/// What the server asks for. Names are names: no path can be made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Whose lines.
    pub service: ServiceName,
    /// Of which instances; empty for all.
    pub instances: BTreeSet<InstanceId>,
    /// Nothing from before, Unix milliseconds; 0 for all.
    pub since_millis: u64,
    /// Go on with what is written now.
    pub follow: bool,
    /// The newest so many lines of what was there already, at least 1.
    pub lines: usize,
}

impl TryFrom<v1::ReadLogs> for LogRequest {
    type Error = NameError;

    fn try_from(wire: v1::ReadLogs) -> Result<Self, NameError> {
        let v1::ReadLogs { request_id: _, service, instances, since_unix_millis, follow, lines } = wire;
        let instances = instances.iter().take(MAX_INSTANCES).map(|instance| instance.parse());
        Ok(Self {
            service: service.parse()?,
            instances: instances.collect::<Result<_, _>>()?,
            since_millis: since_unix_millis,
            follow,
            lines: usize::try_from(lines).unwrap_or(MAX_LINES).clamp(1, MAX_LINES),
        })
    }
}

impl LogRequest {
    /// Whether lines of this instance are asked for.
    #[must_use]
    pub fn wants(&self, instance: &InstanceId) -> bool {
        self.instances.is_empty() || self.instances.contains(instance)
    }
}
