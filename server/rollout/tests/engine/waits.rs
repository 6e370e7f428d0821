//! What is waited for, as the engine says it, against the table of waits in docs/operations.md: both ways.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, instance, secs},
    stages::staged,
    tales::story,
    world::World,
};
use handover_model::{InstancePhase, InstanceReport};
use handover_rollout::{Deployment, Event, FlipSeen, OfflinePolicy, OnFailure};
use proptest::{strategy::Strategy, strategy::ValueTree, test_runner::TestRunner};
use regex::Regex;
use std::{collections::BTreeSet, fs};

/// How many random deployments are listened to.
const STORIES: usize = 400;

/// A row's first cell in the page, and the sentences that it means. The first row that fits is a sentence's.
const ROWS: &[(&str, &str)] = &[
    ("INSTANCE to become ready (fetching its bundle)", r"NAME to become ready \(fetching its bundle.*\)"),
    ("INSTANCE to become ready (starting: what its probe said)", r"NAME to become ready( \(.*\))?"),
    ("INSTANCE to get N % of new connections", r"NAME to get [0-9.]+ % of new connections( \(.*\))?"),
    (
        "word from HOST, which was not heard since its flip",
        "word from NAME, which was not heard since its flip",
    ),
    ("batch N of M to stay healthy for T", r"BATCH to stay healthy for [0-9.]+(ms|s|m)"),
    (
        "... and for HOST to report",
        r"BATCH to stay healthy for [0-9.]+(ms|s|m), and for NAME (and \d+ more )?to report",
    ),
    ("batch N of M: the judge's verdict (WHAT IT SAID)", r"(BATCH: )?the judge's verdict \(.+\)"),
    (
        "batch N of M: the PHASE migrations on HOST (WHAT IT SAID)",
        r"BATCH: the (expand|backfill|contract) migrations on NAME \(.+\)",
    ),
    ("INSTANCE to finish its connections", "(NAME|the service) to finish its connections"),
    ("its plan to be written", "its plan to be written"),
    (
        "batch N of M: the old instances of N hosts to finish, N hosts to go back",
        "BATCH: (the old instances of HOSTS to finish)?(, )?(HOSTS to go back)?",
    ),
    ("batch N of M: 1 starting, 2 waiting for their turn, ...", "BATCH: (MOVING|nothing left)"),
    ("its turn: at most N hosts may change at once", "its turn: at most HOSTS may change at once"),
    ("its turn in batch N of M", "its turn in BATCH; now BATCH"),
    (
        "its turn to get its share: at most N hosts may change at once",
        "its turn to get its share: at most HOSTS may change at once",
    ),
    ("the others", "the others: BATCH, (MOVING|nothing left)"),
    ("to go back", "to go back"),
    (
        "the host to come online, and a person: the deployment is paused",
        "the host to come online, and a person: the deployment is paused",
    ),
    ("the host to come online", "the host to come online"),
    ("a person: the new release waits for its approval", "a person: the new release waits for its approval"),
    ("a person: the judge came to no verdict in time", "a person: the judge came to no verdict in time"),
    ("a person: REASON", "a person: .+"),
    ("N hosts to go back", "HOSTS to go back: .+"),
    (
        "INSTANCE, or INSTANCE, started again, to get all new connections back",
        "(NAME|the service)(, started again,)? to get all new connections back",
    ),
];

fn pattern(text: &str) -> Regex {
    let moving = r"(\d+ (starting|shifting|offline|waiting for their turn|finishing old connections|going back)(, )?)+";
    let text = text.replace("BATCH", r"batch \d+ of \d+").replace("HOSTS", r"(1 host|\d+ hosts)");
    Regex::new(&format!("^{}$", text.replace("MOVING", moving).replace("NAME", "[a-z0-9-]+"))).unwrap()
}

/// The first cells of the page's table.
fn page() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("## Each wait of a deployment").unwrap();
    let rows =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

/// Sentences that were said.
#[derive(Default)]
struct Heard(BTreeSet<String>);

impl Heard {
    /// What is waited for now.
    fn listen(&mut self, deployment: &Deployment) {
        self.0.extend(deployment.waiting_on().map(|wait| wait.what));
        self.0.extend(deployment.hosts().filter_map(|view| view.waiting).map(|wait| wait.what));
    }

    /// And beat after beat, until it ends or a person is waited for.
    fn until_it_rests(&mut self, world: &mut World) {
        self.listen(&world.deployment);
        while world.deployment.outcome().is_none() && !world.waits_for_a_person() {
            world.beat();
            self.listen(&world.deployment);
        }
    }

    fn random_stories(&mut self) {
        let mut runner = TestRunner::deterministic();
        for _ in 0..STORIES {
            let story = story().new_tree(&mut runner).unwrap().current();
            story
                .tell(|world| {
                    self.listen(&world.deployment);
                    Ok(())
                })
                .unwrap();
        }
    }

    /// What happens too seldom by chance.
    fn rare_ones(&mut self) {
        // One after the other gets its next share.
        let settings = Settings { hosts: 3, in_flight: 1, ..Settings::default() };
        let plan = staged(&settings, &[500, 10_000]);
        self.until_it_rests(&mut Fleet::of(settings).run(&plan));
        let offline = OfflinePolicy::Wait { deadline: secs(60) };
        let settings = Settings { hosts: 3, batch: 3, in_flight: 1, offline, ..Settings::default() };
        let mut fleet = Fleet::of(Settings { on_failure: OnFailure::Pause, ..settings });
        fleet.agent(2).online = false;
        fleet.agent(3).new_program = Program::NEVER_READY;
        let mut world = fleet.deploy();
        let fetching = InstanceReport { phase: InstancePhase::Fetching, ..report_of_the_new(&mut world) };
        let instances = [(instance("web-d2"), fetching)].into();
        world.event(Event::HostReported {
            host: host(1),
            current: true,
            instances,
            flip: FlipSeen::default(),
        });
        self.listen(&world.deployment);
        world.run_for(secs(5));
        world.pause();
        self.listen(&world.deployment);
        world.resume();
        self.until_it_rests(&mut world);
        world.abort();
        self.until_it_rests(&mut world);
        // A server that died between any two records finds this when it starts again.
        for count in 1..=world.records.len() {
            self.listen(&Deployment::replay(world.records[..count].iter().cloned()).unwrap());
        }
    }
}

/// What the first host says of the new release's instance.
fn report_of_the_new(world: &mut World) -> InstanceReport {
    let Some(Event::HostReported { instances, .. }) = world.report_of(&host(1)) else {
        panic!("it is online")
    };
    instances[&instance("web-d2")].clone()
}

#[test]
fn what_the_engine_waits_for_stands_in_the_table_of_waits_and_nothing_else_does() {
    let mut heard = Heard::default();
    heard.rare_ones();
    heard.random_stories();
    let rows: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    let page = page();
    for row in &page {
        assert!(
            rows.contains(&row.as_str()),
            "docs/operations.md has a wait that this test does not know: {row}"
        );
    }
    for row in rows {
        assert!(page.iter().any(|on_page| on_page == row), "docs/operations.md has no row {row:?}");
    }
    let patterns: Vec<Regex> = ROWS.iter().map(|(_, text)| pattern(text)).collect();
    let mut said = vec![0; ROWS.len()];
    for sentence in &heard.0 {
        let row = patterns.iter().position(|pattern| pattern.is_match(sentence));
        said[row.unwrap_or_else(|| panic!("docs/operations.md has no row for: {sentence}"))] += 1;
    }
    for ((row, _), times) in ROWS.iter().zip(said) {
        assert!(times > 0, "the engine never says this any more: {row}");
    }
}
