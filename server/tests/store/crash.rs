//! kill -9 and a full disk: what was confirmed is there, and nothing is there by half.

use crate::child::{play, play_after, role, runtime, say};
use handover::store::{Batch, Keyspace, SledStore, Store, scan};
use std::{collections::BTreeMap, path::Path, sync::Arc};

const TASKS: u32 = 4;

/// Commit `n` of `task`: a record in each of three keyspaces, the one token of the task moved on, and now and then far
/// more than a page.
fn commit(task: u32, n: u32) -> Batch {
    let key = [task.to_be_bytes(), n.to_be_bytes()].concat();
    let mut batch = Batch::new();
    batch.put(Keyspace::Deployments, task.to_be_bytes(), n.to_be_bytes()).unwrap();
    batch.put(Keyspace::Journal, key.clone(), vec![7; (n as usize * 37) % 4000]).unwrap();
    batch.put(Keyspace::Tokens, key.clone(), "token").unwrap();
    batch.delete(Keyspace::Tokens, [task.to_be_bytes(), (n - 1).to_be_bytes()].concat()).unwrap();
    if n.is_multiple_of(20) {
        for part in 0_u32..300 {
            let key = [task.to_be_bytes(), part.to_be_bytes()].concat();
            batch.put(Keyspace::Manifests, key, [&n.to_be_bytes()[..], &[0; 4000]].concat()).unwrap();
        }
    }
    batch
}

/// The last commit of `task`, after making sure that each commit is there whole or not at all.
fn last_of(store: &dyn Store, task: u32) -> u32 {
    let prefix = task.to_be_bytes();
    let last = store.get(Keyspace::Deployments, &prefix).unwrap();
    let last = last.map_or(0, |last| u32::from_be_bytes(last.try_into().unwrap()));
    let journal: Vec<_> = scan(store, Keyspace::Journal, &prefix).map(|entry| entry.unwrap().0).collect();
    let expected: Vec<_> = (1..=last).map(|n| [prefix, n.to_be_bytes()].concat()).collect();
    assert_eq!(journal, expected, "the journal of task {task}");
    let tokens: Vec<_> = scan(store, Keyspace::Tokens, &prefix).map(|entry| entry.unwrap().0).collect();
    assert_eq!(tokens, expected.last().cloned().into_iter().collect::<Vec<_>>(), "the tokens of task {task}");
    let parts: Vec<_> = scan(store, Keyspace::Manifests, &prefix).map(|entry| entry.unwrap().1).collect();
    assert_eq!(parts.len(), if last < 20 { 0 } else { 300 });
    assert!(
        parts.iter().all(|part| part[..4] == (last / 20 * 20).to_be_bytes()),
        "a large batch is there by half"
    );
    last
}

/// Says what is there, then commits until it is killed or the disk takes no more, and says each commit that was
/// confirmed.
fn commit_for_ever(folder: &Path) {
    let store = Arc::new(SledStore::open(folder).unwrap());
    let found: Vec<u32> = (0..TASKS).map(|task| last_of(&*store, task)).collect();
    for (task, last) in found.iter().enumerate() {
        say(&format!("found {task} {last}"));
    }
    say("checked");
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .zip(found)
            .map(|(task, last)| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for n in last + 1.. {
                        if let Err(error) = store.commit(commit(task, n)).await {
                            return error;
                        }
                        say(&format!("done {task} {n}"));
                    }
                    unreachable!("a task has committed 2^32 times")
                })
            })
            .collect();
        for task in tasks {
            let error = task.await.unwrap();
            say(&format!("failed {error}"));
        }
    });
    let again = runtime().block_on(store.commit(commit(0, 1_000_000)));
    say(&format!("again {}", again.unwrap_err()));
}

/// The numbers of the lines that begin with `word`, the largest of each task.
fn largest(lines: &[String], word: &str) -> BTreeMap<u32, u32> {
    let mut largest = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        if words.next() == Some(word) {
            let mut number = || words.next().unwrap().parse::<u32>().unwrap();
            let (task, n) = (number(), number());
            largest.entry(task).and_modify(|old: &mut u32| *old = n.max(*old)).or_insert(n);
        }
    }
    largest
}

#[test]
fn a_kill_loses_and_tears_nothing() {
    if let Some((_, folder)) = role() {
        return commit_for_ever(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut confirmed = BTreeMap::new();
    for round in 0..12_usize {
        let mut child = play("crash::a_kill_loses_and_tears_nothing", "commit", &path);
        let mut said = Vec::new();
        // Killed at the start, during it, and after more and more commits.
        let enough = round * round * 3;
        let done = |said: &[String]| said.iter().filter(|line| line.starts_with("done")).count();
        while done(&said) < enough {
            said.push(child.hear().expect("the child ended by itself"));
        }
        said.extend(child.kill());
        let found = largest(&said, "found");
        for (task, n) in &found {
            assert!(n >= confirmed.get(task).unwrap_or(&0), "round {round}: task {task} lost commits");
        }
        confirmed.extend(found);
        confirmed.extend(largest(&said, "done"));
    }
    assert!(confirmed.values().sum::<u32>() > 300, "{confirmed:?}");
}

#[test]
fn a_disk_that_takes_no_more_is_an_error_and_loses_nothing() {
    const TEST: &str = "crash::a_disk_that_takes_no_more_is_an_error_and_loses_nothing";
    if let Some((_, folder)) = role() {
        return commit_for_ever(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    // A file may grow to 16 MiB (blocks of 512 bytes): then write(2) fails, as it does on a full disk.
    let said = play_after("trap '' XFSZ; ulimit -f 32768", TEST, "commit", &path).finish();
    let confirmed = largest(&said, "done");
    assert!(confirmed.values().sum::<u32>() > 20, "{said:?}");
    let failed: Vec<_> =
        said.iter().filter(|line| line.starts_with("failed") || line.starts_with("again")).collect();
    assert_eq!(failed.len(), TASKS as usize + 1);
    assert!(failed.iter().all(|line| line.contains("takes no more changes")), "{failed:?}");

    let mut child = play(TEST, "commit", &path);
    let said: Vec<_> = std::iter::from_fn(|| child.hear()).take_while(|line| line != "checked").collect();
    let found = largest(&said, "found");
    for (task, n) in confirmed {
        assert!(found[&task] >= n, "task {task} lost commits: {} of {n}", found[&task]);
    }
    // With room again it goes on.
    assert!(child.hear().expect("the child ended").starts_with("done"));
}
