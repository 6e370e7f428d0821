//! Flips of a gate by itself, in this program: what the kernel and the gate take of an agent's flip.

use crate::{
    Failed,
    table::{Bound, Table},
};
use handover_gate::{Gate, Pin};
use handover_model::{InstanceId, Share};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

/// The manifest's default.
const BACKLOG: u32 = 4096;

/// Times of many flips, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Flips {
    whole: Vec<f64>,
    setsockopt: Vec<f64>,
}

/// Two members of a gate at this address; the share goes to and fro.
pub(crate) fn measure(address: Ipv4Addr, flips: usize) -> Result<Flips, Failed> {
    // Next to the host's own service.
    let mut gate = Gate::new(SocketAddr::new(address.into(), 8081), BACKLOG);
    let members: [InstanceId; 2] = ["one".parse()?, "two".parse()?];
    for (member, pin) in members.iter().zip(1..) {
        gate.join(member.clone(), Pin::new(pin)?)?;
    }
    let mut measured = Flips { whole: Vec::new(), setsockopt: Vec::new() };
    for (_, member) in (0..flips).zip(members.iter().cycle()) {
        let shares = BTreeMap::from([(member.clone(), Share::ALL)]);
        let decided = Instant::now();
        let flip = gate.set_shares(&shares)?;
        measured.whole.push(decided.elapsed().as_nanos() as f64);
        measured.setsockopt.push(flip.nanos as f64);
    }
    Ok(measured)
}

impl Flips {
    pub(crate) fn lines(&self, table: &mut Table) {
        let micros = |nanos: &Vec<f64>| nanos.iter().map(|nanos| nanos / 1e3).collect::<Vec<_>>();
        table.line("a gate with two members by itself", "us", Bound::None, micros(&self.whole));
        table.line("of that, the setsockopt(2)", "us", Bound::None, micros(&self.setsockopt));
    }
}
