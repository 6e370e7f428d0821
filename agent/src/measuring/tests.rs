//! Who listens to the kernel, and when.

use super::{Limited, Measuring, Outbox, Roster, Subject, subject::tests::subject};
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// Whether this process has joined both groups by which the kernel tells of TCP sockets that are gone: /proc/net/netlink has the
/// protocol, 4, in the second column, the groups in the fourth and the socket's inode in the last.
fn listens() -> bool {
    let own =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::metadata(entry.ok()?.path()).ok());
    let own: BTreeSet<String> = own.map(|file| file.ino().to_string()).collect();
    fs::read_to_string("/proc/net/netlink").unwrap().lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        matches!(columns[..], [_, "4", _, "00000005", .., inode] if own.contains(inode))
    })
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn both(limited: Limited) -> Roster {
    let of = |instance: &str| Subject {
        instance: instance.parse().unwrap(),
        limited,
        listeners: vec!["127.0.0.1:9".parse().unwrap()],
        ..subject(1)
    };
    [("web".parse().unwrap(), vec![of("web-1"), of("web-2")])].into()
}

#[tokio::test]
async fn nobody_listens_but_while_two_are_compared_of_which_one_has_the_limit() {
    let (tell, roster) = watch::channel(Roster::new());
    let measuring = tokio::spawn(Measuring::new(roster, Outbox::default()).run());
    for end in [Roster::new(), both(Limited { resets: false, refused: true })] {
        tell.send(both(Limited { resets: true, refused: false })).unwrap();
        eventually("that somebody listens", listens).await;
        tell.send(end).unwrap();
        eventually("that nobody listens any more", || !listens()).await;
    }
    drop(tell);
    measuring.await.unwrap();
}
