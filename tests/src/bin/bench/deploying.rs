//! Deployments onto one host, each next to the same program started by hand.

use crate::{
    Failed,
    alone::{self, Alone},
    interrupt::Interrupt,
    table::{Bound, Table},
    trace::Trace,
};
use handover_tests::{
    fleet::{Fleet, Sample, UP},
    process::{binary, wait_until},
};
use serde_json::Value;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Most milliseconds that a host's deployment may take beyond the program's own time.
const BEYOND: f64 = 50.0;

/// A fleet of one host, on which the sample program runs.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    fleet: &'a Fleet,
    address: SocketAddr,
    number: usize,
}

/// One deployment. Milliseconds, where nothing else is said.
#[derive(Clone, Copy, Debug)]
struct Deployment {
    /// The program by itself, from exec to ready.
    own: f64,
    /// When the server made the deployment, in microseconds since 1970.
    created: f64,
    trace: Trace,
    flip_nanos: f64,
}

/// Those of one run.
#[derive(Debug)]
pub(crate) struct Deployments {
    all: Vec<Deployment>,
    bundle: u64,
}

impl Deployment {
    fn whole(&self) -> f64 {
        (self.trace.flip - self.created) / 1e3
    }
}

impl<'a> Bench<'a> {
    /// Deploys a first release, so that each later one replaces another.
    pub(crate) fn begin(fleet: &'a Fleet) -> Result<Self, Failed> {
        let mut beside = fleet.addresses()[0];
        beside.set_port(8090);
        let mut bench = Self { fleet, address: beside, number: 0 };
        bench.deploy(&[])?;
        Ok(bench)
    }

    pub(crate) fn measure(&mut self, count: usize, interrupt: &Interrupt) -> Result<Deployments, Failed> {
        let mut all = Vec::with_capacity(count);
        for number in 0..count {
            interrupt.check()?;
            let folder = self.fleet.path("own-time");
            let own = Alone::timed(&folder, &format!("own-{number}"), self.address)?;
            let (ended, instance) = self.deploy(&[])?;
            let log = self.fleet.agents[0].log();
            all.push(Deployment {
                own: own.as_secs_f64() * 1e3,
                created: number_of(&ended, "created")? * 1e3,
                trace: Trace::read(&log, instance["instance"].as_str().unwrap_or_default())?,
                flip_nanos: number_of(&instance, "flip_nanos")?,
            });
        }
        let listed = self.fleet.cli().run(["release", "list", "web", "--json"]).last();
        let bundle = number_of(&listed["bundle"], "size")?;
        Ok(Deployments { all, bundle: bundle.round() as u64 })
    }

    /// An instance that has just begun and listens on these addresses as well: where it is reached through the gate, and its
    /// processes. The one before it has ended.
    pub(crate) fn fresh_instance(&mut self, own: &[SocketAddr]) -> Result<(SocketAddr, Vec<i32>), Failed> {
        self.deploy(own)?;
        let agent = &self.fleet.agents[0];
        wait_until(UP, "the instance before to end", || agent.pids().len() == 1);
        Ok((self.fleet.addresses()[0], agent.processes()))
    }

    /// The service's port at another address of the host's block.
    pub(crate) fn beside(&self, last: u8) -> SocketAddr {
        let [a, b, c, _] = self.fleet.agents[0].address.octets();
        SocketAddr::new(Ipv4Addr::new(a, b, c, last).into(), self.fleet.addresses()[0].port())
    }

    /// A folder for what runs beside the fleet.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.fleet.path(name)
    }

    /// Pushes and deploys the next version, which listens on `own` as well; its end, and its instance.
    fn deploy(&mut self, own: &[SocketAddr]) -> Result<(Value, Value), Failed> {
        self.number += 1;
        let version = format!("1.0.{}", self.number);
        let folder = self.fleet.path(format!("release-{version}"));
        write(&folder, &version, own)?;
        let path = folder.display().to_string();
        self.fleet.cli().run(["release", "push", &path, "--version", &version]).expect(0);
        let ended = self.fleet.begin(&version).end().expect(0).last();
        let instance = ended["hosts"][0]["new_instance"].clone();
        if instance["share"] != 10_000 {
            return Err(format!("{version} has not got all connections: {instance}").into());
        }
        Ok((ended, instance))
    }
}

/// A release of two small files; the program itself lies outside, so that its size does not count.
fn write(folder: &Path, version: &str, own: &[SocketAddr]) -> Result<(), Failed> {
    let program = binary("sample-service").display().to_string();
    let own: String = own.iter().map(|address| format!(" --listen {address}")).collect();
    let sample = Sample::new(version)
        .command(&program)
        .flag(&alone::flags(version).join(" "))
        .flag(&own)
        .readiness("kind = \"http\"\npath = \"/ready\"\ninterval = \"10ms\"\ndeadline = \"20s\"")
        .rollout("bake = \"0s\"");
    fs::create_dir_all(folder)?;
    fs::write(folder.join("handover.toml"), sample.manifest())?;
    fs::write(folder.join("VERSION"), version)?;
    Ok(())
}

fn number_of(value: &Value, name: &str) -> Result<f64, Failed> {
    value[name].as_f64().ok_or_else(|| format!("no {name} in {value}").into())
}

impl Deployments {
    pub(crate) fn lines(&self, table: &mut Table) {
        let figures = |of: &dyn Fn(&Deployment) -> f64| self.all.iter().map(of).collect::<Vec<_>>();
        let between = |from: fn(&Trace) -> f64, to: fn(&Trace) -> f64| {
            figures(&move |one| (to(&one.trace) - from(&one.trace)) / 1e3)
        };
        table.section("a host's deployment (the drain of the old version is not counted)");
        table.line(
            "server's order to the new program in the kernel",
            "ms",
            Bound::None,
            figures(&Deployment::whole),
        );
        table.line("the program by itself, exec to ready", "ms", Bound::None, figures(&|one| one.own));
        let beyond = figures(&|one| one.whole() - one.own);
        table.line("beyond the program's own time", "ms", Bound::AtMost(BEYOND), beyond);
        let first = figures(&|one| (one.trace.fetch - one.created) / 1e3);
        table.line("- the order reaches the agent, is written down", "ms", Bound::None, first);
        let name = format!("- the bundle is fetched and unpacked ({} bytes)", self.bundle);
        table.line(name, "ms", Bound::None, between(|t| t.fetch, |t| t.start));
        let launch = between(|t| t.start, |t| t.started);
        table.line("- joined to the gate, launched, executed", "ms", Bound::None, launch);
        let late = figures(&|one| (one.trace.ready - one.trace.started) / 1e3 - one.own);
        table.line("- seen ready later than by itself (interval 10 ms)", "ms", Bound::None, late);
        let turn = between(|t| t.ready, |t| t.flip);
        table.line("- from ready to the flip", "ms", Bound::None, turn);

        table.section("the flip");
        let flips = figures(&|one| one.flip_nanos / 1e3);
        table.line("agent's decision to the new program in the kernel", "us", Bound::None, flips);
    }
}
