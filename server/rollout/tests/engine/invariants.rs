//! The invariants by their names, checked after every step of random tales.

use crate::{
    fleet::{Fleet, Settings},
    tales::story,
    world::World,
};
use handover_model::{HostName, InstanceId, Share};
use handover_rollout::{Deployment, DeploymentState, Event, HostState, Outcome, Record};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn is_new(instance: &InstanceId) -> bool {
    instance.as_str().starts_with("web-d2") && !instance.as_str().ends_with("-r")
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn never_more_than_the_allowed_hosts_in_flight(story in story()) {
        story.tell(|world| {
            let moving = |state: &HostState| matches!(state, HostState::Starting { .. } | HostState::Shifting { .. });
            let in_flight = world.deployment.hosts().filter(|view| moving(view.state)).count();
            // What was begun in one step may be under way in the next stage as well.
            if world.deployment.plan().stages.iter().any(|stage| stage.at_once) {
                return Ok(());
            }
            prop_assert!(in_flight <= usize::try_from(world.deployment.plan().policy.max_in_flight).unwrap());
            Ok(())
        })?;
    }

    #[test]
    fn never_a_share_for_a_candidate_that_is_not_ready(story in story()) {
        let mut checked = 0;
        let world = story.tell(|world| {
            for (host, assignment, state) in &world.commands[checked..] {
                for placed in assignment.0.iter().filter(|placed| !placed.share.is_hidden()) {
                    let told = world.seen_ready.contains(&(host.clone(), placed.instance.clone()));
                    let before = placed.instance.as_str() == "web-d1";
                    // A stuck host is given up: the former release stays ordered and its agent keeps what serves.
                    let stuck = matches!(state, HostState::Stuck { .. }) && !is_new(&placed.instance);
                    prop_assert!(told || before || stuck, "{} on {host} while {}", placed.instance, state.name());
                }
            }
            checked = world.commands.len();
            Ok(())
        })?;
        prop_assert_eq!(checked, world.commands.len());
    }

    #[test]
    fn a_paused_deployment_begins_no_change_and_raises_no_share(story in story()) {
        let states = |world: &World| -> BTreeMap<_, _> {
            world.deployment.hosts().map(|view| (view.host.clone(), view.state.clone())).collect()
        };
        let paused = |world: &World| world.deployment.paused();
        let mut before: Option<BTreeMap<HostName, HostState>> = None;
        let mut stood = None;
        story.tell(|world| {
            // The same pause as at the last look: nothing may have begun in between.
            if stood.is_some() && stood == paused(world) {
                let now = states(world);
                for (host, was) in before.iter().flatten() {
                    let is = &now[host];
                    let begun = !matches!(was, HostState::Starting { .. }) && matches!(is, HostState::Starting { .. });
                    let raised = !matches!(was, HostState::Shifting { .. }) && matches!(is, HostState::Shifting { .. });
                    let retires = !matches!(was, HostState::Retiring { .. }) && matches!(is, HostState::Retiring { .. });
                    prop_assert!(!begun && !raised && !retires, "{host} went from {was:?} to {is:?} in a pause");
                }
            }
            (before, stood) = (Some(states(world)), paused(world));
            Ok(())
        })?;
    }

    #[test]
    fn no_stage_goes_on_without_what_it_asks_for(story in story()) {
        // Read from the journal alone: what stands between a bake and the end of its stage.
        let world = story.tell(|_| Ok(()))?;
        let stages = &world.deployment.plan().stages;
        let (mut stage, mut judged, mut promoted) = (0, false, false);
        for record in &world.records {
            match record {
                Record::StageEntered { stage: next, .. } => {
                    let left = &stages[stage];
                    let asked = (left.judged.is_some() && !judged, left.approval && !promoted);
                    // Nobody's word is needed where no host could take the release.
                    prop_assert!(asked == (false, false) || !story.stood(&world.records, stage), "stage {stage}");
                    (stage, judged, promoted) = (usize::try_from(*next).unwrap(), false, false);
                }
                Record::JudgementPassed { .. } => judged = true,
                Record::Promoted { .. } => (judged, promoted) = (true, true),
                _other => {}
            }
        }
    }

    #[test]
    fn every_attempt_has_instances_of_its_own(story in story()) {
        let mut placed: BTreeMap<_, u32> = BTreeMap::new();
        story.tell(|world| {
            for view in world.deployment.hosts() {
                let order = world.deployment.assignment(view.host).unwrap_or_default();
                for new in order.0.iter().filter(|placed| is_new(&placed.instance)) {
                    let attempt = *placed.entry((view.host.clone(), new.instance.clone())).or_insert(view.attempt);
                    prop_assert_eq!(attempt, view.attempt, "{} runs {} again", view.host, new.instance);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn nothing_goes_on_before_each_flip_is_known_to_be_confirmed(story in story()) {
        story.tell(|world| {
            for view in world.deployment.hosts().filter(|view| matches!(view.state, HostState::Baking { .. })) {
                let standing = world.to_confirm(view.host).is_none_or(|order| {
                    world.standing.contains(&(view.host.clone(), order))
                });
                prop_assert!(standing, "{} bakes, and its flip may be undone", view.host);
            }
            // A retirement comes after a bake, so that nobody is retired who may be needed again.
            for (host, agent) in &world.agents {
                let undone = agent.has_undone();
                let state = world.deployment.host(host).map(|view| view.state.name());
                prop_assert!(!undone || state != Some("done"), "{host} counts as done and has undone its flip");
            }
            Ok(())
        })?;
    }

    #[test]
    fn replay_equals_live(story in story()) {
        let mut checked = 0;
        story.tell(|world| {
            if checked != world.records.len() {
                checked = world.records.len();
                let replayed = Deployment::replay(world.records.iter().cloned()).unwrap();
                prop_assert_eq!(&replayed, &world.deployment);
                prop_assert_eq!(replayed.assignments(), world.deployment.assignments());
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_finished_deployment_leaves_every_host_on_one_release_or_says_which_is_not(story in story()) {
        let world = story.tell(|_| Ok(()))?;
        let outcome = world.deployment.outcome().unwrap();
        let stuck: Vec<_> = world.deployment.stuck().map(|(host, _)| host.clone()).collect();
        prop_assert_eq!(matches!(outcome, Outcome::NeedsPerson { .. }), !stuck.is_empty());
        for view in world.deployment.hosts() {
            let release = |version: &str| crate::names::release(version);
            let former = view.from.map(|from| from.release.clone());
            let ordered = world.deployment.assignment(view.host);
            let runs = match &ordered {
                None => former.clone(),
                Some(order) => {
                    let stands_by = matches!(view.state, HostState::Done { standby: true, .. });
                    let most = if stands_by { 2 } else { 1 };
                    prop_assert!(order.0.len() <= most, "{}: two instances stay ordered", view.host);
                    let shares = order.0.iter().map(|placed| placed.share).filter(|share| !share.is_hidden());
                    prop_assert!(shares.into_iter().all(|share| share == Share::ALL));
                    order.main().map(|placed| placed.release.clone())
                }
            };
            match view.state.name() {
                "done" => prop_assert_eq!(runs, Some(release("2"))),
                "pending" | "skipped" | "returned" | "stuck" => prop_assert_eq!(runs, former),
                other => prop_assert!(false, "{} ended {other}", view.host),
            }
            if story.returns || matches!(outcome, Outcome::RolledBack { .. }) {
                prop_assert_ne!(view.state.name(), "done");
            }
            if matches!(outcome, Outcome::Succeeded { .. }) {
                prop_assert_ne!(view.state.name(), "pending");
            }
        }
        let (stayed, returned) =
            (matches!(outcome, Outcome::Succeeded { .. }), matches!(outcome, Outcome::Returned { .. }));
        let wrong = if story.returns { stayed } else { returned };
        prop_assert!(!wrong, "it ended as {:?}", outcome);
        for (host, (order, _)) in &world.orders {
            if let Some(assignment) = world.deployment.assignment(host) {
                prop_assert_eq!(&assignment, order, "what was ordered last is what stands");
            }
        }
        // What is returned or done is so on the host, not only in the books.
        for (host, agent) in &world.agents {
            let serves = agent.serving();
            match world.deployment.host(host).unwrap().state {
                HostState::Returned { note, .. } if note.is_empty() => prop_assert!(!serves.contains(&"2")),
                HostState::Done { note, .. } if note.is_empty() => prop_assert!(!serves.contains(&"1")),
                _unknown => {}
            }
        }
    }

    #[test]
    fn every_wait_has_a_deadline_or_a_person(story in story()) {
        story.tell(|world| {
            let deployment = &world.deployment;
            let waiting = deployment.waiting_on();
            prop_assert_eq!(waiting.is_none(), deployment.outcome().is_some());
            let Some(waiting) = waiting else { return Ok(()) };
            let paused = world.waits_for_a_person();
            prop_assert!(paused || waiting.until.is_some(), "{waiting:?}");
            prop_assert!(!waiting.what.is_empty() && !waiting.then.is_empty(), "{waiting:?}");
            let rolling_back = matches!(deployment.state(), DeploymentState::RollingBack { .. });
            for view in deployment.hosts() {
                let final_state = matches!(view.state.name(), "done" | "skipped" | "returned" | "stuck");
                let left_alone = rolling_back && view.state.name() == "pending";
                prop_assert_eq!(view.waiting.is_none(), final_state || left_alone, "{} {:?}", view.host, view.state);
                if let Some(wait) = view.waiting {
                    prop_assert!(paused || wait.until.is_some(), "{}: {wait:?}", view.host);
                    prop_assert!(!wait.what.is_empty() && !wait.then.is_empty(), "{}: {wait:?}", view.host);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_deployment_ends(story in story()) {
        // Without a single report more: deadlines alone bring it to its end.
        let mut world = story.begin();
        let mut sent = Vec::new();
        for happening in &story.happenings {
            story.happen(&mut world, happening, &mut sent, &mut |_| Ok(()))?;
        }
        let mut steps = 0;
        while world.deployment.outcome().is_none() {
            match world.deployment.next_deadline() {
                Some(next) => {
                    world.now = world.now.max(next);
                    world.event(Event::Tick);
                    let again = world.deployment.next_deadline();
                    prop_assert!(again.is_none_or(|again| again > world.now), "a deadline that passed is left");
                }
                None => {
                    prop_assert!(world.waits_for_a_person(), "{:?}", world.deployment.state());
                    world.abort();
                }
            }
            steps += 1;
            prop_assert!(steps < 500, "it never ends: {:?}", world.deployment.waiting_on());
        }
        // And with a fleet that goes on reporting.
        story.tell(|_| Ok(()))?;
    }

    #[test]
    fn the_sum_of_ordered_shares_is_all(story in story()) {
        story.tell(|world| {
            for (host, assignment) in world.deployment.assignments() {
                let had_one = world.deployment.host(&host).unwrap().from.is_some();
                let first = !had_one && assignment.0.len() <= 1 && assignment.sum() == 0;
                prop_assert!(assignment.sum() == 10_000 || first, "{host}: {assignment:?}");
                let names: BTreeSet<_> = assignment.0.iter().map(|placed| &placed.instance).collect();
                prop_assert_eq!(names.len(), assignment.0.len());
            }
            Ok(())
        })?;
    }

    #[test]
    fn never_fewer_ready_instances_than_before(story in story()) {
        // Whatever fails, whoever is killed, and whatever an operator asks for: a host that had a release, on which every
        // connection reached a ready instance, goes on so, unless the program that served ended by itself.
        let mut served: BTreeSet<HostName> = BTreeSet::new();
        story.tell(|world| {
            for (host, agent) in world.agents.iter().filter(|_| story.settings.replaces) {
                let is = agent.is_served();
                let kept = is || agent.has_lost_one() || !served.contains(host);
                prop_assert!(kept, "{host} serves {:?} with what is not ready", agent.serving());
                if is { served.insert(host.clone()) } else { served.remove(host) };
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_host_is_ever_without_a_ready_instance_because_of_a_good_deployment(
        hosts in 1_usize..6, batch in 1_u32..4, crashes in proptest::collection::vec(1_usize..60, 0..8),
    ) {
        let mut world = Fleet::of(Settings { hosts, batch, in_flight: batch, ..Settings::default() }).deploy();
        let mut beats = 0;
        while world.deployment.outcome().is_none() {
            world.beat();
            beats += 1;
            prop_assert!(world.serving().iter().all(|version| !version.is_empty()));
            if crashes.contains(&beats) {
                world.crash();
            }
        }
        prop_assert_eq!(world.deployment.outcome().cloned(), Some(Outcome::Succeeded {
            hosts: u32::try_from(hosts).unwrap(), failed: 0,
        }));
    }

    #[test]
    fn no_host_is_changed_while_the_schema_is_expanded_and_no_attempt_has_two_beginnings(story in story()) {
        let mut attempts = BTreeSet::new();
        let world = story.tell(|world| {
            let expanding = world.deployment.stage() == 0 && world.deployment.migration_order().is_some();
            prop_assert!(!expanding || world.deployment.assignments().is_empty());
            attempts.extend(world.deployment.migration_order().map(|order| order.id));
            Ok(())
        })?;
        let begun = world.records.iter().filter(|record| matches!(record, Record::MigrationStarted { .. }));
        prop_assert!(begun.count() >= attempts.len());
        prop_assert_eq!(world.migrator.again, 0, "a phase that is applied is not begun anew");
        prop_assert!(world.deployment.migration_order().is_none());
    }
}
