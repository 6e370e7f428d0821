//! The benchmark: what Handover costs, as a table whose lines are each measured in one run on this machine.
//!
//! It starts a real server, a real agent and real programs, on loopback addresses only, and ends all of them. Ratios
//! compare things that were measured within the same second, in turns, since the machine does other work as well.
//!
//! Exit codes: 0 every bound is kept; 1 one is not; 2 it could not be measured.

mod alone;
mod cores;
mod deploying;
mod flips;
mod interrupt;
mod machine;
mod rollback;
mod serving;
mod spread;
mod table;
mod trace;

use clap::Parser;
use handover_tests::fleet::Fleet;
use interrupt::Interrupt;
use machine::Machine;
use std::{error::Error, os::unix::process::CommandExt, process::ExitCode};
use table::Table;

type Failed = Box<dyn Error + Send + Sync>;

/// The agent logs what it orders, which is what a deployment's time is taken apart by.
const LOGGED: (&str, &str) = ("HANDOVER_LOG", "info,handover_agent::supervisor::actions=debug");

/// Measures what Handover costs and prints a table: each line with its bound and whether it is kept.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Flags {
    /// A short run that shows that everything works; its figures are too few to mean much.
    #[arg(long)]
    quick: bool,
    /// Prints one line of JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Of the load: processes started anew.
    trials: usize,
    /// Of a trial, in each mode: a turn for each target. A multiple of four gives each every place.
    rounds: usize,
    turn_millis: u64,
    deployments: usize,
    rollbacks: usize,
    flips: usize,
}

impl Effort {
    /// About six minutes in all.
    const WHOLE: Self =
        Self { trials: 32, rounds: 12, turn_millis: 100, deployments: 20, rollbacks: 20, flips: 1000 };
    /// About ten seconds.
    const QUICK: Self =
        Self { trials: 3, rounds: 4, turn_millis: 50, deployments: 3, rollbacks: 2, flips: 50 };
}

fn run(flags: &Flags) -> Result<Table, Failed> {
    let interrupt = Interrupt::watch()?;
    let effort = if flags.quick { Effort::QUICK } else { Effort::WHOLE };
    let machine = Machine::look();
    let say = |what: &str| eprintln!("bench: {what}");

    say("a server, an agent, a first release");
    let fleet = Fleet::of(1);
    let mut bench = deploying::Bench::begin(&fleet)?;
    say(&format!("{} deployments, each after the program by itself", effort.deployments));
    let deployments = bench.measure(effort.deployments, &interrupt)?;
    say(&format!("{} flips of a gate", effort.flips));
    let flips = flips::measure(fleet.agents[0].address, effort.flips)?;
    say(&format!("{} rollbacks of five hosts", effort.rollbacks));
    let rollbacks = rollback::measure(effort.rollbacks, &interrupt)?;
    say(&format!("load in two modes, {} trials with processes started anew", effort.trials));
    let serving = serving::measure(&mut bench, effort, &interrupt)?;

    let mut table = Table::of(machine, flags.quick);
    serving.lines(&mut table);
    deployments.lines(&mut table);
    rollbacks.lines(&mut table);
    flips.lines(&mut table);
    Ok(table)
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if std::env::var_os(LOGGED.0).is_none_or(|now| now != LOGGED.1) {
        // The agent inherits its environment from this program, which cannot safely change its own.
        let again = std::env::current_exe().map(std::process::Command::new);
        let error = match again {
            Ok(mut again) => again.args(std::env::args_os().skip(1)).env(LOGGED.0, LOGGED.1).exec(),
            Err(error) => error,
        };
        eprintln!("bench: cannot start itself with {}={}: {error}", LOGGED.0, LOGGED.1);
        return ExitCode::from(2);
    }
    match run(&flags) {
        Ok(table) => {
            if flags.json {
                println!("{}", table.json());
            } else {
                print!("{table}");
            }
            if table.kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let mut cause: Option<&dyn Error> = Some(&*error);
            while let Some(this) = cause {
                eprintln!("bench: {this}");
                cause = this.source();
            }
            ExitCode::from(2)
        }
    }
}
