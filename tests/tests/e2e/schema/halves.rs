//! Migrations that stand half: what only a person can tell is asked, and the answer goes to the database.

use super::shop::Shop;
use handover_tests::{fleet::Sample, process::wait_until};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);
/// Commits in its middle, so that nobody can tell by the database how far it came.
const CALLS: &str = "-- handover: no transaction\n-- handover: allow opaque-code because it fills a table of its own\nCALL slowly();";
const PROCEDURE: &str = "CREATE TABLE calls (at bigserial, what text NOT NULL);
CREATE PROCEDURE slowly() LANGUAGE plpgsql AS $body$
BEGIN
  INSERT INTO calls (what) VALUES ('begins');
  COMMIT;
  -- The first one is there until it is cut off.
  IF (SELECT count(*) FROM calls) = 1 THEN PERFORM pg_sleep(600); END IF;
  INSERT INTO calls (what) VALUES ('ends');
END $body$;";

fn calls(shop: &Shop) -> Vec<String> {
    shop.rows("SELECT at, what FROM calls ORDER BY at").into_iter().filter_map(|(_, what)| what).collect()
}

#[test]
fn what_only_a_person_can_tell_is_asked_and_the_answer_goes_on_from_there() {
    let Some(mut shop) = Shop::with_hosts(2, "migrations that stand half") else { return };
    shop.push(Sample::new("v1"), "1..=9", &[("expand", "0001_calls.sql", PROCEDURE)]);
    shop.fleet.deploy("v1").expect(0);
    shop.push(
        Sample::new("v2"),
        "1..=9",
        &[("expand", "0002_slowly.sql", CALLS), ("expand", "0003_more.sql", "CREATE TABLE more (n int);")],
    );
    let deploying = shop.fleet.begin("v2");
    wait_until(LONG, "the middle of the procedure", || calls(&shop) == ["begins"]);
    shop.fleet.agents[0].kill();
    shop.fleet.agents[0].start();
    let done = deploying.end().expect(3);
    let reason = done.last()["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("expand/0002_slowly.sql stands half")
            && reason.contains("--resolve 2=took-effect, or 2=did-not, with a --reason"),
        "{reason}"
    );
    assert_eq!(shop.applied(), ["1 expand calls"]);
    let again = shop.fleet.deploy("v2").expect(3);
    assert!(again.last()["reason"].as_str().unwrap().contains("stands half"), "nobody has said anything yet");

    let expand = |more: &[&str]| {
        let words = ["migrate", "expand", "web", "--release", "v2"];
        shop.fleet.cli().run(words.iter().chain(more).copied())
    };
    let unfounded = expand(&["--resolve", "2=took-effect", "--yes"]).expect(2).stderr;
    assert!(unfounded.contains("--reason"), "{unfounded}");
    let nonsense = expand(&["--resolve", "2=perhaps", "--reason", "looked", "--yes"]).expect(2).stderr;
    assert!(nonsense.contains("took-effect, did-not, put-back"), "{nonsense}");
    let plan = expand(&["--resolve", "2=did-not", "--reason", "ended", "--plan"]).expect(0).stdout;
    assert!(plan.contains("what was found: 2=did-not"), "{plan}");
    // Its second half is missing: it did not take effect.
    expand(&["--resolve", "2=did-not", "--reason", "no second row", "--yes"]).expect(0);
    assert_eq!(calls(&shop), ["begins", "begins", "ends"]);
    assert_eq!(shop.applied(), ["1 expand calls", "2 expand slowly", "3 expand more"]);
    let audit = shop.fleet.cli().run(["audit"]).expect(0).stdout;
    assert!(audit.contains("--resolve 2=did-not") && audit.contains("no second row"), "{audit}");
    shop.fleet.deploy("v2").expect(0);
    assert_eq!(shop.fleet.versions(), ["v2"; 2]);
}
