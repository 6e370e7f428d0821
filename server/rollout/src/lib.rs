//! Plans and the deployment engine.
//!
//! A strategy is a function from parameters to a [`Plan`]: [`rolling`], [`blue_green`], [`canary`], the way back,
//! [`flip_back`], and there and back, [`rehearsal`]. A [`Deployment`] carries a plan
//! out without knowing which function made it. It promises:
//!
//! * Pure: no clock, no I/O, no runtime. Time comes in as a parameter, orders go out as [`Command`]s.
//! * What is decided is a [`Record`]. [`Deployment::apply`] is the only place that changes what is durable, live and
//!   on replay, so [`Deployment::replay`] over the records gives the deployment that wrote them.
//! * Level-triggered: each decision follows from the durable state and the last reports, never from the event alone.
//!   A journal that was cut after any record goes on.
//! * Every wait has a deadline, or a person: [`Deployment::waiting_on`] says which.
//! * What a person asks for twice happens once. What stands still in a pause, and what does not, is told at
//!   [`DeploymentState::Paused`]; where a retried host has its turn, in the module `control`.
//!
//! The driver's part:
//!
//! ```text
//! let step = deployment.on_event(event, now);
//! journal.append(&step.records)?;           // durable before anything is ordered
//! for command in step.commands { fleet.send(command); }
//! // then wake with Event::Tick at deployment.next_deadline()
//! ```
//!
//! After a restart: [`Deployment::replay`], then send [`Deployment::assignments`] again, which is harmless where nothing
//! changed, then [`Event::Tick`] at once: a step whose records were written in part goes on, and deadlines that passed
//! while the server was away are moved, so that hosts have time to report.
//!
//! It relies on two things that agents do: an instance gets no share before it is ready, whatever is ordered; and
//! the last instance with a share is kept until one that the target names is ready to take over.

mod apply;
mod assignment;
mod blue_green;
mod canary;
mod confirm;
mod control;
mod decide;
mod deployment;
mod event;
mod flip;
mod flip_back;
mod host;
mod index;
mod migrating;
mod migration;
mod observed;
mod orders;
mod plan;
mod record;
mod rehearsal;
mod request;
mod rolling;
mod rules;
mod story;
mod view;
mod waiting;

pub use assignment::{Assignment, Placement};
pub use blue_green::{BlueGreen, blue_green};
pub use canary::{CanaryStep, canary};
pub use control::MAX_RETRIES;
pub use deployment::{
    ApprovalCause, Deployment, DeploymentState, Outcome, PauseCause, ReplayError, StagePhase,
};
pub use event::{Command, Event, Step, Verdict};
pub use flip::{FlipSeen, Moment, Skew};
pub use flip_back::flip_back;
pub use host::{Former, HostState};
pub use migrating::migrating;
pub use migration::MigrationOrder;
pub use plan::{
    Inconclusive, Judged, Migration, OfflinePolicy, OnFailure, Plan, PlanError, PlannedHost, Policy, Stage,
};
pub use record::Record;
pub use rehearsal::rehearsal;
pub use request::{BatchSize, FleetHost, PlanRequest};
pub use rolling::{Rolling, rolling};
pub use story::{Story, Told, sentence};
pub use view::HostView;
pub use waiting::WaitingOn;
