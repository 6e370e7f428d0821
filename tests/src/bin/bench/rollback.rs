//! Rollbacks of five hosts to what stands by: from the server's having the command to the last host's flip.

use crate::{
    Failed,
    interrupt::Interrupt,
    table::{Bound, Table},
    trace,
};
use handover_tests::fleet::{Fleet, Sample};
use serde_json::Value;

/// Hosts of the fleet.
const HOSTS: usize = 5;
/// Most milliseconds until the last of them has flipped.
const LAST: f64 = 50.0;

/// Rollbacks, and the deployments before them. Milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Rollbacks {
    /// From the server's having the command to the last flip.
    last: Vec<f64>,
    /// From the first host's flip to the last one's.
    skew: Vec<f64>,
    /// The same of blue-green deployments.
    deploying: Vec<f64>,
}

/// Deploys, and rolls back, so often.
pub(crate) fn measure(count: usize, interrupt: &Interrupt) -> Result<Rollbacks, Failed> {
    let fleet = Fleet::of(HOSTS);
    let rollout = "strategy = \"blue-green\"\nbake = \"0s\"\nkeep_warm = \"10m\"";
    for version in ["1", "2"] {
        fleet.push(&Sample::new(version).rollout(rollout));
    }
    fleet.deploy("1").expect(0);
    let mut measured = Rollbacks::default();
    for _ in 0..count {
        interrupt.check()?;
        let deployed = fleet.deploy("2").expect(0).last();
        let (first, last) = flips(&fleet, &deployed)?;
        measured.deploying.push((last - first) / 1e3);
        let back = fleet.cli().run(["rollback", "web", "--yes", "--json"]).expect(0).last();
        let (first, last) = flips(&fleet, &back)?;
        let created = back["created"].as_f64().ok_or("a deployment without its beginning")? * 1e3;
        measured.last.push((last - created) / 1e3);
        measured.skew.push((last - first) / 1e3);
    }
    Ok(measured)
}

/// When the first and the last host gave everything to the deployment's release, in microseconds since 1970.
fn flips(fleet: &Fleet, deployment: &Value) -> Result<(f64, f64), Failed> {
    let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
    let hosts = deployment["hosts"].as_array().ok_or("a deployment without hosts")?;
    for agent in &fleet.agents {
        let host = hosts.iter().find(|host| host["host"] == *agent.host).ok_or("a host is missing")?;
        let instance = host["new_instance"]["instance"].as_str().ok_or("a host without its instance")?;
        let at = trace::last_flip(&agent.log(), instance)?;
        (first, last) = (first.min(at), last.max(at));
    }
    Ok((first, last))
}

impl Rollbacks {
    pub(crate) fn lines(&self, table: &mut Table) {
        table.section("five hosts, all at once");
        let last = self.last.clone();
        table.line("a rollback to what stands by, to the last flip", "ms", Bound::AtMost(LAST), last);
        table.line("- from the first flip to the last", "ms", Bound::None, self.skew.clone());
        let deploying = self.deploying.clone();
        table.line("a blue-green deployment, first flip to last", "ms", Bound::None, deploying);
    }
}
