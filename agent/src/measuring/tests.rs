//! Who listens to the kernel, and when.

use super::{LOOK, Limited, Measuring, Outbox, Roster, Subject, subject::tests::subject};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

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
    let mut measuring = Measuring::new(roster, Outbox::default());
    let begun = Instant::now();
    for (turn, end) in [Roster::new(), both(Limited { resets: false, refused: true })].into_iter().enumerate()
    {
        let looks = begun + 2 * LOOK * u32::try_from(turn).unwrap();
        tell.send(both(Limited { resets: true, refused: false })).unwrap();
        assert!(measuring.turn(looks).is_some());
        let ear = measuring.hearing.as_ref().map(|hearing| Arc::downgrade(&hearing.ear()));
        let ear = ear.expect("nobody listens");
        let nobody = end.is_empty();
        tell.send(end).unwrap();
        assert_eq!(measuring.turn(looks + LOOK).is_none(), nobody);
        assert!(measuring.hearing.is_none());
        eventually("that its socket is closed", || ear.strong_count() == 0).await;
    }
}
