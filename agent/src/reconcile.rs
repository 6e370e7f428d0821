//! What to do next on this host: a pure function of what should be, what is, and the time.
//!
//! It is called after everything that happens and may be called at any time: the same inputs give the same actions,
//! and what is on its way already (a state says so) is not ordered again. It promises the agent's local safety:
//!
//! 1. no share for an instance that is not ready;
//! 2. an instance that has a share is taken out only once the others have it, or on a target that stops the service;
//! 3. an instance is told to drain only when it has no share and its queues are empty, or their deadline passed;
//! 4. a flip that asks for confirmation and does not get it in time is undone (see [`crate::confirming`]).

use crate::confirming::{AskedFlip, Course, Due};
use handover_model::{InstanceId, ServiceName, Share, Target, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What is, on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Each service that has instances here, wanted or not.
    pub services: BTreeMap<ServiceName, BTreeMap<InstanceId, ObservedInstance>>,
    /// Of each service, the last flip that asked for confirmation.
    pub flips: BTreeMap<ServiceName, AskedFlip>,
}

/// What is, of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedInstance {
    /// The share that the kernel gives it (for a service without listeners: that it counts as having).
    pub share: Share,
    /// Where it is in its life.
    pub state: ObservedState,
}

/// Where an instance is in its life, as far as the next action depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedState {
    /// Its bundle is on its way.
    Fetching,
    /// Its files are here and whole; it was never started.
    Fetched,
    /// A fetch or a start failed, or it ended by itself: again at that time.
    BackingOff {
        /// When it is tried again.
        until: Timestamp,
        /// Whether its files are here.
        fetched: bool,
    },
    /// A process is being started.
    Launching,
    /// It runs and has to be ready by then.
    Starting {
        /// From then on it counts as failed.
        deadline: Timestamp,
    },
    /// It runs and is ready.
    Ready,
    /// It runs, was ready, and fails its liveness probes: it is to be started again.
    Unhealthy,
    /// It is not tried again.
    GaveUp,
    /// It has no share any more; its queues are being watched.
    Emptying {
        /// Whether its SYN and accept queues were seen empty.
        empty: bool,
        /// From then on it is told to drain anyway.
        deadline: Timestamp,
    },
    /// It was told to drain.
    Draining {
        /// From then on it is killed.
        deadline: Timestamp,
    },
    /// It is being killed.
    Stopping,
    /// It is gone.
    Exited,
}

/// One thing to do. Idempotent: ordered again after a crash it does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Note the instance and get its bundle.
    Fetch(InstanceId),
    /// Make its sockets if it has none, start its process, probe it.
    Start(InstanceId),
    /// It missed its readiness deadline, or fails its liveness: kill its processes; its sockets stay.
    Fail(InstanceId),
    /// Write down a flip that is to be confirmed: the shares are set behind it.
    AskConfirmation(AskedFlip),
    /// Note that the confirmation of a service's flip did not come in time.
    MissConfirmation(ServiceName),
    /// Strike out the flip of a service: its order is none any more.
    ForgetFlip(ServiceName),
    /// Put these shares into the kernel, in one step for each listener.
    SetShares(ServiceName, BTreeMap<InstanceId, Share>),
    /// Its share is gone: watch its queues.
    Empty(InstanceId),
    /// Send the drain signal.
    Drain(InstanceId),
    /// Its drain deadline passed, or it never served: kill all of its processes.
    Kill(InstanceId),
    /// It has no process: close its sockets where that is safe, forget it.
    Forget(InstanceId),
}

/// What to do next on this host, in order.
#[must_use]
pub fn reconcile(target: &Target, observed: &Observed, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    let there = observed.services.keys().chain(observed.flips.keys());
    let services: BTreeSet<&ServiceName> = target.services.keys().chain(there).collect();
    let nothing = BTreeMap::new();
    for service in services {
        let wanted = target.services.get(service);
        let instances = observed.services.get(service).unwrap_or(&nothing);
        let Course { due, mut aim, asks } = Course::of(wanted, observed.flips.get(service), now);
        actions.extend(due.map(|due| match due {
            Due::Forget => Action::ForgetFlip(service.clone()),
            Due::Miss => Action::MissConfirmation(service.clone()),
        }));

        for wanted in wanted.iter().flat_map(|wanted| &wanted.instances) {
            actions.extend(bring_up(&wanted.instance, instances.get(&wanted.instance), now));
        }
        let shares = shares(&aim, instances);
        let asked = wanted.zip(shares.as_ref()).filter(|_| asks).and_then(|(wanted, shares)| {
            let flip = AskedFlip::to(service, wanted, shares, instances, now)?;
            aim.extend(flip.former.keys().map(|former| (former.clone(), Share::HIDDEN)));
            Some(flip)
        });
        let ordered = |instance: &InstanceId| {
            wanted.is_some_and(|wanted| wanted.instances.iter().any(|wanted| wanted.instance == *instance))
        };
        for (instance, observed) in instances.iter().filter(|(instance, _)| !ordered(instance)) {
            if aim.contains_key(instance) {
                // It may have to take its share back.
                actions.extend(bring_up(instance, Some(observed), now));
                continue;
            }
            let share = match &shares {
                Some(shares) => shares.get(instance).copied().unwrap_or(Share::HIDDEN),
                None => observed.share,
            };
            actions.extend(take_out(instance, observed, share, now));
        }
        // Behind `bring_up`, before the first `Empty`: in order, a flip comes before anything is taken out.
        if let Some(shares) = shares {
            let flip = asked.map(Action::AskConfirmation).into_iter();
            let flip = flip.chain([Action::SetShares(service.clone(), shares)]);
            let first = actions.iter().position(|action| leaves(action, instances)).unwrap_or(actions.len());
            actions.splice(first..first, flip);
        }
    }
    actions
}

/// What a wanted instance needs next.
fn bring_up(instance: &InstanceId, observed: Option<&ObservedInstance>, now: Timestamp) -> Option<Action> {
    let Some(observed) = observed else {
        return Some(Action::Fetch(instance.clone()));
    };
    match observed.state {
        ObservedState::Fetched => Some(Action::Start(instance.clone())),
        ObservedState::BackingOff { until, fetched } if now >= until => {
            Some(if fetched { Action::Start(instance.clone()) } else { Action::Fetch(instance.clone()) })
        }
        ObservedState::Starting { deadline } if now >= deadline => Some(Action::Fail(instance.clone())),
        ObservedState::Unhealthy => Some(Action::Fail(instance.clone())),
        // Taken out before, and wanted again: what was begun is finished first, then it is started anew.
        ObservedState::Emptying { .. } | ObservedState::Draining { .. } => {
            take_out(instance, observed, Share::HIDDEN, now)
        }
        ObservedState::Exited => Some(Action::Fetch(instance.clone())),
        ObservedState::Fetching
        | ObservedState::BackingOff { .. }
        | ObservedState::Launching
        | ObservedState::Starting { .. }
        | ObservedState::Ready
        | ObservedState::GaveUp
        | ObservedState::Stopping => None,
    }
}

/// The shares to set now, where they differ from those that are set. `None`: leave them.
fn shares(
    wanted: &BTreeMap<InstanceId, Share>,
    instances: &BTreeMap<InstanceId, ObservedInstance>,
) -> Option<BTreeMap<InstanceId, Share>> {
    // A share that an instance has already is not taken from it because it restarts: clients wait in its queue.
    let reachable = |(instance, share): (&InstanceId, &Share)| {
        share.is_hidden()
            || instances.get(instance).is_some_and(|observed| {
                observed.state == ObservedState::Ready
                    || (observed.share >= *share && !observed.share.is_hidden())
            })
    };
    if !wanted.iter().all(reachable) {
        return None;
    }
    let shares: BTreeMap<InstanceId, Share> = instances
        .keys()
        .map(|instance| (instance.clone(), wanted.get(instance).copied().unwrap_or(Share::HIDDEN)))
        .collect();
    let differs = instances.iter().any(|(instance, observed)| shares.get(instance) != Some(&observed.share));
    // All hidden while something is wanted: a first release that is being checked. Nobody loses a share for that.
    let withdraws = !wanted.is_empty() && wanted.values().all(|share| share.is_hidden());
    (differs && !withdraws).then_some(shares)
}

/// What an instance that is not wanted needs next. `share`: what it will have once this round's shares are set.
fn take_out(
    instance: &InstanceId,
    observed: &ObservedInstance,
    share: Share,
    now: Timestamp,
) -> Option<Action> {
    if !share.is_hidden() {
        // The others are not ready yet, and clients still come to this one: it is kept running until they are.
        return match observed.state {
            ObservedState::Emptying { .. } | ObservedState::Draining { .. } => None,
            ObservedState::Fetching
            | ObservedState::Fetched
            | ObservedState::BackingOff { .. }
            | ObservedState::Launching
            | ObservedState::Starting { .. }
            | ObservedState::Ready
            | ObservedState::Unhealthy
            | ObservedState::GaveUp
            | ObservedState::Stopping
            | ObservedState::Exited => bring_up(instance, Some(observed), now),
        };
    }
    match observed.state {
        // Without a process there is nothing to drain.
        ObservedState::Fetching
        | ObservedState::Fetched
        | ObservedState::BackingOff { .. }
        | ObservedState::GaveUp
        | ObservedState::Exited => Some(Action::Forget(instance.clone())),
        // Also one that is not ready: it may be the restart of one that had a share.
        ObservedState::Ready | ObservedState::Unhealthy | ObservedState::Starting { .. } => {
            Some(Action::Empty(instance.clone()))
        }
        ObservedState::Emptying { empty, deadline } => {
            (empty || now >= deadline).then(|| Action::Drain(instance.clone()))
        }
        ObservedState::Draining { deadline } => (now >= deadline).then(|| Action::Kill(instance.clone())),
        ObservedState::Launching | ObservedState::Stopping => None,
    }
}

/// Whether an action takes out an instance, of these.
fn leaves(action: &Action, instances: &BTreeMap<InstanceId, ObservedInstance>) -> bool {
    match action {
        Action::Empty(instance)
        | Action::Drain(instance)
        | Action::Kill(instance)
        | Action::Forget(instance) => instances.contains_key(instance),
        Action::Fetch(_)
        | Action::Start(_)
        | Action::Fail(_)
        | Action::AskConfirmation(_)
        | Action::MissConfirmation(_)
        | Action::ForgetFlip(_)
        | Action::SetShares(..) => false,
    }
}

/// The next moment at which `reconcile` may say something else although nothing happened.
#[must_use]
pub fn next_deadline(observed: &Observed) -> Option<Timestamp> {
    let instances = observed.services.values().flat_map(BTreeMap::values);
    instances
        .filter_map(|instance| match instance.state {
            ObservedState::BackingOff { until, .. } => Some(until),
            ObservedState::Starting { deadline }
            | ObservedState::Emptying { deadline, .. }
            | ObservedState::Draining { deadline } => Some(deadline),
            ObservedState::Fetching
            | ObservedState::Fetched
            | ObservedState::Launching
            | ObservedState::Ready
            | ObservedState::Unhealthy
            | ObservedState::GaveUp
            | ObservedState::Stopping
            | ObservedState::Exited => None,
        })
        .chain(observed.flips.values().filter_map(AskedFlip::deadline))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::{
        BundleDescriptor, Digest, HostValues, InstanceTarget, Release, ReleaseRef, ServiceTarget,
    };

    const NOW: Timestamp = Timestamp::from_unix_millis(1_000_000);
    const LATER: Timestamp = Timestamp::from_unix_millis(2_000_000);

    fn name(text: &str) -> InstanceId {
        text.parse().unwrap()
    }

    fn web() -> ServiceName {
        "web".parse().unwrap()
    }

    fn release(version: &str) -> Release {
        let digest = Digest::of(version.as_bytes());
        Release {
            name: ReleaseRef { service: web(), version: version.parse().unwrap() },
            bundle: BundleDescriptor { digest, size: 1, tree: digest, unpacked: 1, entries: 1 },
            manifest: String::new(),
        }
    }

    fn target(instances: &[(&str, u32)]) -> Target {
        let instances = instances.iter().map(|(instance, share)| InstanceTarget {
            instance: name(instance),
            release: release(instance),
            share: Share::new(*share).unwrap(),
        });
        let host =
            HostValues { name: "a".parse().unwrap(), address: "127.0.0.1".into(), labels: BTreeMap::new() };
        let services =
            BTreeMap::from([(web(), ServiceTarget { instances: instances.collect(), confirm: None })]);
        Target { revision: 1, host, services, keep: BTreeSet::new(), migrations: BTreeMap::new() }
    }

    fn observed(instances: &[(&str, u32, ObservedState)]) -> Observed {
        let instances = instances.iter().map(|(instance, share, state)| {
            (name(instance), ObservedInstance { share: Share::new(*share).unwrap(), state: *state })
        });
        Observed { services: BTreeMap::from([(web(), instances.collect())]), ..Observed::default() }
    }

    fn shares(shares: &[(&str, u32)]) -> Action {
        let shares = shares.iter().map(|(instance, share)| (name(instance), Share::new(*share).unwrap()));
        Action::SetShares(web(), shares.collect())
    }

    #[test]
    fn a_wanted_instance_is_fetched_then_started() {
        let target = target(&[("old", 10_000), ("new", 0)]);
        let old = ("old", 10_000, ObservedState::Ready);
        assert_eq!(reconcile(&target, &observed(&[old]), NOW), [Action::Fetch(name("new"))]);
        let fetched = observed(&[old, ("new", 0, ObservedState::Fetched)]);
        assert_eq!(reconcile(&target, &fetched, NOW), [Action::Start(name("new"))]);
        let starting = observed(&[old, ("new", 0, ObservedState::Starting { deadline: LATER })]);
        assert_eq!(reconcile(&target, &starting, NOW), []);
    }

    #[test]
    fn an_instance_that_is_not_ready_gets_no_share_and_the_other_keeps_its() {
        let target = target(&[("new", 10_000)]);
        for state in [
            ObservedState::Fetched,
            ObservedState::Launching,
            ObservedState::Starting { deadline: LATER },
            ObservedState::GaveUp,
            ObservedState::BackingOff { until: LATER, fetched: true },
        ] {
            let observed = observed(&[("old", 10_000, ObservedState::Ready), ("new", 0, state)]);
            let actions = reconcile(&target, &observed, NOW);
            let harmless = |action: &Action| matches!(action, Action::Start(_));
            assert!(actions.iter().all(harmless), "{state:?}: {actions:?}");
        }
    }

    #[test]
    fn the_flip_comes_before_the_old_one_is_taken_out() {
        let target = target(&[("new", 10_000)]);
        let observed = observed(&[("new", 0, ObservedState::Ready), ("old", 10_000, ObservedState::Ready)]);
        let expected = [shares(&[("new", 10_000), ("old", 0)]), Action::Empty(name("old"))];
        assert_eq!(reconcile(&target, &observed, NOW), expected);
    }

    #[test]
    fn the_drain_signal_waits_for_empty_queues_or_their_deadline() {
        let target = target(&[("new", 10_000)]);
        let emptying = |empty| {
            observed(&[
                ("new", 10_000, ObservedState::Ready),
                ("old", 0, ObservedState::Emptying { empty, deadline: LATER }),
            ])
        };
        assert_eq!(reconcile(&target, &emptying(false), NOW), []);
        assert_eq!(reconcile(&target, &emptying(true), NOW), [Action::Drain(name("old"))]);
        assert_eq!(reconcile(&target, &emptying(false), LATER), [Action::Drain(name("old"))]);
        assert_eq!(next_deadline(&emptying(false)), Some(LATER));
    }

    #[test]
    fn it_is_killed_at_the_drain_deadline_and_only_then() {
        let target = target(&[("new", 10_000)]);
        let draining = observed(&[
            ("new", 10_000, ObservedState::Ready),
            ("old", 0, ObservedState::Draining { deadline: LATER }),
        ]);
        assert_eq!(reconcile(&target, &draining, NOW), []);
        assert_eq!(reconcile(&target, &draining, LATER), [Action::Kill(name("old"))]);
    }

    #[test]
    fn a_standby_stays_and_a_rollback_is_one_flip() {
        let back = target(&[("old", 10_000), ("new", 0)]);
        let flipped = observed(&[("new", 10_000, ObservedState::Ready), ("old", 0, ObservedState::Ready)]);
        assert_eq!(reconcile(&back, &flipped, NOW), [shares(&[("new", 0), ("old", 10_000)])]);
    }

    #[test]
    fn a_live_instance_that_restarts_keeps_its_share() {
        let target = target(&[("old", 10_000)]);
        let crashed = observed(&[("old", 10_000, ObservedState::BackingOff { until: NOW, fetched: true })]);
        assert_eq!(reconcile(&target, &crashed, NOW), [Action::Start(name("old"))]);
    }

    #[test]
    fn a_live_instance_that_is_down_is_forgotten_only_after_the_flip() {
        let target = target(&[("new", 10_000)]);
        let down = ("old", 10_000, ObservedState::GaveUp);
        let waiting = observed(&[("new", 0, ObservedState::Starting { deadline: LATER }), down]);
        assert_eq!(reconcile(&target, &waiting, NOW), []);
        let ready = observed(&[("new", 0, ObservedState::Ready), down]);
        let expected = [shares(&[("new", 10_000), ("old", 0)]), Action::Forget(name("old"))];
        assert_eq!(reconcile(&target, &ready, NOW), expected);
    }

    #[test]
    fn one_that_goes_is_kept_running_until_the_others_have_its_share() {
        let target = target(&[("new", 10_000)]);
        let new = ("new", 0, ObservedState::Starting { deadline: LATER });
        for (state, expected) in [
            (ObservedState::BackingOff { until: NOW, fetched: true }, Action::Start(name("old"))),
            (ObservedState::Unhealthy, Action::Fail(name("old"))),
            (ObservedState::Starting { deadline: NOW }, Action::Fail(name("old"))),
        ] {
            let observed = observed(&[new, ("old", 10_000, state)]);
            assert_eq!(reconcile(&target, &observed, NOW), [expected]);
        }
    }

    #[test]
    fn a_first_release_is_checked_without_a_share() {
        let target = target(&[("new", 0)]);
        assert_eq!(reconcile(&target, &observed(&[("new", 0, ObservedState::Ready)]), NOW), []);
        // And nobody who has a share loses it for that.
        let beside = observed(&[("new", 0, ObservedState::Ready), ("old", 10_000, ObservedState::Ready)]);
        assert_eq!(reconcile(&target, &beside, NOW), []);
    }

    #[test]
    fn a_service_that_the_target_does_not_name_is_stopped() {
        let mut target = target(&[]);
        target.services.clear();
        let running = observed(&[("old", 10_000, ObservedState::Ready)]);
        assert_eq!(reconcile(&target, &running, NOW), [shares(&[("old", 0)]), Action::Empty(name("old"))]);
    }

    #[test]
    fn readiness_has_a_deadline() {
        let target = target(&[("new", 0)]);
        let late = observed(&[("new", 0, ObservedState::Starting { deadline: NOW })]);
        assert_eq!(reconcile(&target, &late, NOW), [Action::Fail(name("new"))]);
    }
}
