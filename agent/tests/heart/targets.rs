//! Targets that make no sense on this host.

use crate::host::{DRAIN, HTTP, Host};
use handover_model::InstancePhase;

#[tokio::test]
async fn an_older_or_a_changed_target_or_one_that_renames_what_runs_is_refused() {
    let mut host = Host::start();
    let (one, two) = (host.web("1", ""), host.web("2", ""));
    let old = host.target(&[("web-1", &one, 10_000)]);
    let pid = host.serve("web-1", &one).await.pid;

    let revision = old.revision;
    host.driver.offer(old);
    let (refused, reason) = host.driver.refusal().await;
    assert_eq!(refused, revision);
    assert!(reason.contains("older than revision 2"), "{reason}");

    let mut changed = host.target(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    changed.revision = 2;
    host.driver.offer(changed);
    let (_, reason) = host.driver.refusal().await;
    assert!(reason.contains("revision 2 is another one than before"), "{reason}");

    let renamed = host.target(&[("web-1", &two, 10_000)]);
    host.driver.offer(renamed);
    let (_, reason) = host.driver.refusal().await;
    assert!(reason.contains("another release needs another instance"), "{reason}");

    let mut foreign = host.target(&[("web-1", &one, 10_000)]);
    foreign.host.name = "somebody-else".parse().unwrap();
    host.driver.offer(foreign);
    let (_, reason) = host.driver.refusal().await;
    assert!(reason.contains("somebody-else"), "{reason}");
    assert_eq!((host.serves("web-1").await.pid, host.ask().as_str()), (pid, "1"));

    // Also by an agent that was started again meanwhile.
    host.driver.fall_silent();
    host.restart_agent();
    let mut older = host.target(&[("web-2", &two, 10_000)]);
    older.revision = 1;
    host.driver.offer(older);
    let (_, reason) = host.driver.refusal().await;
    assert!(reason.contains("older than revision 2"), "{reason}");
}

#[tokio::test]
async fn a_second_service_on_the_same_address_is_told_so_and_does_not_disturb_the_first() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let shop = host.release("shop", "1", "", &format!("{HTTP}{DRAIN}"));
    host.serve("web-1", &one).await;
    host.order(&[("web-1", &one, 10_000), ("shop-1", &shop, 10_000)]);
    let refused = host.phase("shop-1", InstancePhase::GaveUp).await;
    assert!(refused.detail.contains("is the listener of service web"), "{}", refused.detail);
    assert_eq!(host.ask(), "1");
}
