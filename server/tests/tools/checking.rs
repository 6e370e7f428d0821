//! `handover server fsck`.

use crate::fixture::{Place, contents};

/// A store of the present format with deployments in it, and the server gone.
fn place() -> Place {
    let place = Place::with_layout_0();
    place.serve().kill();
    place
}

/// Changes the engine's trees beneath everything. Once for each process (the engine cannot be opened twice in one).
fn change(place: &Place, test: &str, how: impl FnOnce(&Trees)) -> bool {
    const AT: &str = "HANDOVER_TEST_STORE";
    if let Some(store) = std::env::var_os(AT) {
        let db = sled::Config::new().path(store).segment_size(2 * 1024 * 1024).open().unwrap();
        how(&Trees(db));
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(AT, place.data().join("store"));
    assert!(command.output().unwrap().status.success());
    false
}

struct Trees(sled::Db);

impl Trees {
    fn keys(&self, tree: &str) -> Vec<sled::IVec> {
        self.0.open_tree(tree).unwrap().iter().keys().map(Result::unwrap).collect()
    }

    fn remove(&self, tree: &str, key: &[u8]) {
        assert!(self.0.open_tree(tree).unwrap().remove(key).unwrap().is_some());
    }

    /// The key of the chosen entry of the audit.
    fn chosen(&self) -> sled::IVec {
        let audit = self.0.open_tree("audit").unwrap();
        let about_tokens = |value: &[u8]| value.windows(11).any(|window| window == b"CreateToken");
        let mut found = audit.iter().map(Result::unwrap).filter(|(_, value)| about_tokens(value));
        found.nth(CHOSEN).unwrap().0
    }

    /// Replaces a text in a record, with a checksum that matches: a mistake, not a damage.
    fn edit(&self, tree: &str, key: &[u8], from: &str, to: &str) {
        use sha2::Digest as _;
        let at = self.0.open_tree(tree).unwrap();
        let sealed = at.get(key).unwrap().unwrap();
        let text = String::from_utf8(sealed[1..sealed.len() - 8].to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        let mut body = vec![1];
        body.extend(text.replacen(from, to, 1).into_bytes());
        let mut hash = sha2::Sha256::new();
        hash.update(tree);
        hash.update([0]);
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key);
        hash.update(&body);
        body.extend_from_slice(&hash.finalize()[..8]);
        at.insert(key, body).unwrap();
    }
}

/// What fsck says once the store was changed; `None` where this process is the one that changes it.
fn problems_after(test: &str, how: impl FnOnce(&Trees)) -> Option<String> {
    problems_of(place, test, how).map(|(_, said)| said)
}

/// The same with a store that `make` makes, which is given back as it was changed.
fn problems_of(make: fn() -> Place, test: &str, how: impl FnOnce(&Trees)) -> Option<(Place, String)> {
    // The child needs no store of its own.
    let place = if std::env::var_os("HANDOVER_TEST_STORE").is_some() { Place::new() } else { make() };
    if change(&place, test, how) {
        return None;
    }
    let before = contents(&place.data());
    let done = place.run(&["server", "fsck"]).expect(1);
    assert_eq!(contents(&place.data()), before, "fsck changed something");
    Some((place, done.stdout))
}

/// A store in whose audit somebody made tokens.
fn audited() -> Place {
    let place = Place::new();
    let server = place.serve();
    (0..4).for_each(|_| drop(place.token()));
    let listed = place.run(&["audit", "--json"]).expect(0).stdout;
    let entries: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let chosen = entries.iter().filter(|entry| entry["method"] == "CreateToken").nth(CHOSEN).unwrap();
    std::fs::write(place.path("chosen"), chosen["sequence"].to_string()).unwrap();
    server.kill();
    place.run(&["server", "fsck"]).expect(0);
    place
}

/// Which of the entries about tokens is changed or removed, the first being 0: neither the first nor the last.
const CHOSEN: usize = 1;

/// The number of the chosen entry of an [`audited`] store.
fn chosen(place: &Place) -> u64 {
    std::fs::read_to_string(place.path("chosen")).unwrap().parse().unwrap()
}

/// Expects that a server on this store says so, too, however the audit grows behind the place.
#[track_caller]
fn verify_fails(place: &Place, sequence: u64, what: &str) {
    let _server = place.serve();
    place.token();
    let done = place.run(&["audit", "verify"]).expect(1);
    assert!(done.stdout.contains(&format!("broken at entry {sequence}: {what}")), "{}", done.stdout);
    let broken = place.run(&["audit", "verify", "--json"]).expect(1).last();
    assert_eq!((&broken["whole"], &broken["broken"]["sequence"]), (&false.into(), &sequence.into()));
}

#[test]
fn a_whole_store_has_no_problems_and_is_left_as_it_is() {
    let place = place();
    let before = contents(&place.data());
    let done = place.run(&["server", "fsck"]).expect(0);
    assert!(done.stdout.contains("4 deployments replayed: nothing is wrong"), "{}", done.stdout);
    let json = place.run(&["server", "fsck", "--json"]).expect(0).last();
    assert_eq!((&json["problems"], &json["deployments"]), (&0.into(), &4.into()));
    assert_eq!(contents(&place.data()), before, "fsck changed something");
}

#[test]
fn fsck_refuses_while_the_server_runs_and_where_nothing_is() {
    let place = Place::new();
    let done = place.run(&["server", "fsck"]).expect(1);
    assert!(done.stderr.contains("cannot read"), "{}", done.stderr);
    assert!(!place.data().exists(), "fsck made something");
    let server = place.serve();
    let done = place.run(&["server", "fsck"]).expect(1);
    assert!(
        done.stderr.contains("in use") && done.stderr.contains("hint: stop the server"),
        "{}",
        done.stderr
    );
    server.kill();
}

#[test]
fn a_gap_in_a_journal_is_found() {
    let remove = |trees: &Trees| {
        let keys = trees.keys("journal");
        trees.remove("journal", &keys[2]);
    };
    if let Some(said) = problems_after("checking::a_gap_in_a_journal_is_found", remove) {
        assert!(said.contains("journal of deployment d1: record 2 is missing before record 3"), "{said}");
        assert!(said.contains(": 1 problem"), "{said}");
    }
}

#[test]
fn a_deployment_that_ended_otherwise_than_its_journal_says_is_found() {
    let edit = |trees: &Trees| {
        let keys = trees.keys("deployments");
        trees.edit("deployments", &keys[2], "rolled_back", "succeeded");
        trees.edit("deployments", &keys[0], "\"reason\":\"\"", "\"reason\":\"none\"");
    };
    const TEST: &str = "checking::a_deployment_that_ended_otherwise_than_its_journal_says_is_found";
    if let Some(said) = problems_after(TEST, edit) {
        assert!(
            said.contains("deployment d3: its end is succeeded, and by the journal rolled back"),
            "{said}"
        );
        assert!(said.contains("deployment d1: its reason is \"none\", and by the journal \"\""), "{said}");
    }
}

#[test]
fn names_of_what_is_not_there_and_manifests_with_missing_pieces_are_found() {
    let remove = |trees: &Trees| {
        trees.remove("hosts", b"old-1");
        trees.remove("releases", b"web\0v1");
        trees.remove("manifests", b"web\0v2\0\0\0\0\0");
    };
    const TEST: &str = "checking::names_of_what_is_not_there_and_manifests_with_missing_pieces_are_found";
    if let Some(said) = problems_after(TEST, remove) {
        for words in [
            "assignments \"old-1\\x00web\": there is no host old-1",
            "assignments \"old-1\\x00web\": there is no release web v1",
            "service web: there is no release web v1",
            "manifest of release web v1: there is no such release",
            "release web v2: its manifest is missing",
            "deployment d1: there is no such release",
        ] {
            assert!(said.contains(words), "{words}:\n{said}");
        }
    }
}

#[test]
fn damaged_and_unreadable_records_are_all_found() {
    let damage = |trees: &Trees| {
        let tree = trees.0.open_tree("tokens").unwrap();
        for key in trees.keys("tokens") {
            let mut value = tree.get(&key).unwrap().unwrap().to_vec();
            value[3] ^= 1;
            tree.insert(key, value).unwrap();
        }
        trees.edit("hosts", b"old-1", "{", "[");
    };
    if let Some(said) = problems_after("checking::damaged_and_unreadable_records_are_all_found", damage) {
        assert_eq!(said.matches("checksum does not match").count(), 2, "{said}");
        assert!(said.contains("hosts \"old-1\": it cannot be read"), "{said}");
    }
}

#[test]
fn an_entry_of_the_audit_that_was_changed_is_found_with_and_without_a_server() {
    const TEST: &str = "checking::an_entry_of_the_audit_that_was_changed_is_found_with_and_without_a_server";
    let edit = |trees: &Trees| trees.edit("audit", &trees.chosen(), "CreateToken", "ListTokens");
    if let Some((place, said)) = problems_of(audited, TEST, edit) {
        let number = chosen(&place);
        let problem = format!("audit entry {number}: entry {number} was changed: its hash is another one");
        assert!(said.contains(&problem), "{said}");
        assert!(said.contains(": 1 problem"), "{said}");
        verify_fails(&place, number, &format!("entry {number} was changed"));
    }
}

#[test]
fn an_entry_that_was_removed_from_the_audit_is_found_with_and_without_a_server() {
    const TEST: &str =
        "checking::an_entry_that_was_removed_from_the_audit_is_found_with_and_without_a_server";
    let remove = |trees: &Trees| trees.remove("audit", &trees.chosen());
    if let Some((place, said)) = problems_of(audited, TEST, remove) {
        let number = chosen(&place);
        let problem =
            format!("audit entry {number}: entry {number} is missing, the next one is {}", number + 1);
        assert!(said.contains(&problem), "{said}");
        assert!(said.contains(": 1 problem"), "{said}");
        verify_fails(&place, number, &format!("entry {number} is missing"));
    }
}

#[test]
fn bundles_are_compared_with_their_digests() {
    let place = place();
    // The fixture has none of its bundles.
    let done = place.run(&["server", "fsck", "--bundles"]).expect(1);
    assert_eq!(done.stdout.matches("is missing: no host can fetch it").count(), 3, "{}", done.stdout);
    let digest = done.stdout.split("sha256:").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let folder = place.data().join("bundles/sha256");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(digest), "another content").unwrap();
    let done = place.run(&["server", "fsck", "--bundles"]).expect(1);
    assert!(done.stdout.contains("has 15 bytes instead of"), "{}", done.stdout);
}
