//! Finding and ending all processes of an instance.

use crate::support::{Drivers, Room, SOON, launcher, start, until, within};
use handover_agent::instance::{
    CgroupLimits, Containment, ExitStatus, Group, GroupRecord, LaunchError, ProcessKey, Running,
};
use handover_skips::Lack;

async fn start_in(driver: &Containment, room: &Room, script: &str) -> Running {
    let place = driver.place("web-1", CgroupLimits::default()).unwrap();
    launcher().prepare(&room.shell(script), Vec::new(), place).await.unwrap().go().await.unwrap()
}

#[tokio::test]
async fn a_grandchild_that_ignores_sigterm_dies_with_its_group() {
    let drivers = Drivers::here();
    for driver in &drivers.all {
        let room = Room::new();
        // The grandchild of a shell that is gone: nobody's child, and only in a cgroup can it leave the session.
        let leave = if matches!(driver, Containment::Cgroup(_)) { "setsid" } else { "" };
        let script =
            format!("{leave} sh -c 'trap \"\" TERM; echo $$ ready; while :; do sleep 300; done' & exit 0");
        let running = start_in(driver, &room, &script).await;
        assert_eq!(within("the shell's end", running.process.exited()).await, ExitStatus::Code(0));
        until("the grandchild", || room.log().contains("ready")).await;
        let grandchild: i32 = room.log().split(' ').next().unwrap().parse().unwrap();
        assert!(running.group.contains(grandchild).unwrap(), "{driver} lost it");
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(!running.group.contains(me).unwrap());
        running.group.kill(SOON).await.unwrap();
        assert!(running.group.is_empty().unwrap());
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        running.group.remove().unwrap();
    }
}

#[tokio::test]
async fn killing_reaches_what_the_instance_forks_meanwhile() {
    let drivers = Drivers::here();
    for driver in &drivers.all {
        let room = Room::new();
        let script = "echo on; while :; do (sleep 300 & sleep 300 &) ; sleep 0.001; done";
        let running = start_in(driver, &room, script).await;
        until("some forks", || running.group.members().unwrap().len() > 20).await;
        running.group.kill(SOON).await.unwrap();
        assert!(running.group.is_empty().unwrap());
        running.group.remove().unwrap();
    }
}

#[tokio::test]
async fn a_cgroup_that_nobody_knows_is_found_and_emptied() {
    let drivers = Drivers::here();
    let Some(driver) = drivers.cgroups() else { return };
    let room = Room::new();
    let running = start_in(driver, &room, "sleep 300 & exec sleep 300").await;
    until("both processes", || running.group.members().unwrap().len() == 2).await;
    assert_eq!(driver.instances().unwrap().into_iter().collect::<Vec<_>>(), ["web-1"]);
    let leftover = driver.leftover("web-1").unwrap();
    assert!(leftover.remove().is_err(), "a cgroup with processes in it was removed");
    leftover.kill(SOON).await.unwrap();
    leftover.remove().unwrap();
    assert!(driver.instances().unwrap().is_empty());
    assert!(driver.leftover("web-1").is_none());
    assert!(leftover.is_empty().unwrap(), "a removed cgroup is an empty one");
}

#[tokio::test]
async fn a_limit_is_kept_or_refused_by_name() {
    let drivers = Drivers::here();
    let asked = CgroupLimits { memory: Some(512 << 20), cpu: Some(150), tasks: Some(64) };
    for driver in &drivers.all {
        match driver.place("web-1", asked) {
            Ok(_) => {
                let Some(GroupRecord::Cgroup { path }) = driver.leftover("web-1").map(|group| group.record())
                else {
                    panic!("{driver} took limits that it cannot keep");
                };
                let set = |file| std::fs::read_to_string(path.join(file)).unwrap().trim().to_owned();
                assert_eq!(set("memory.max"), (512 << 20).to_string());
                assert_eq!(set("cpu.max"), "150000 100000");
                assert_eq!(set("pids.max"), "64");
            }
            Err(LaunchError::Limit { limit, controller, why, .. }) => {
                assert_eq!((limit, controller), ("memory", "memory"));
                if matches!(driver, Containment::Cgroup(_)) {
                    Lack::Controllers.skips("that a limit is kept");
                }
                assert!(why.contains("leave") || why.contains("refused"), "{why}");
                assert!(driver.leftover("web-1").is_none(), "a place was made without its limit");
            }
            Err(other) => panic!("{other:?}"),
        }
        let tasks = CgroupLimits { tasks: Some(64), ..CgroupLimits::default() };
        if let Err(error) = driver.place("web-2", tasks) {
            assert!(
                error.to_string().starts_with("the limit `tasks` needs the cgroup controller `pids`"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_failed_launch_leaves_no_cgroup() {
    let drivers = Drivers::here();
    let Some(driver) = drivers.cgroups() else { return };
    let room = Room::new();
    let place = driver.place("web-1", CgroupLimits::default()).unwrap();
    let prepared = launcher().prepare(&room.spec(&["bin/missing"]), Vec::new(), place).await.unwrap();
    assert!(prepared.go().await.is_err());
    assert!(driver.instances().unwrap().is_empty());
}

#[tokio::test]
async fn an_orphan_of_a_dead_leader_is_known_by_its_environment() {
    let room = Room::new();
    let running = start(&room.shell("sleep 300 & exit 0"), Vec::new()).await.unwrap();
    within("the leader's end", running.process.exited()).await;
    let GroupRecord::ProcessGroup { leader, instance } = running.group.record() else { panic!() };
    let again = Group::reopen(GroupRecord::ProcessGroup { leader, instance }).unwrap();
    until("the orphan", || again.members().unwrap().len() == 1).await;
    // The same session number, but another instance's: its processes are strangers.
    let other = Group::reopen(GroupRecord::ProcessGroup { leader, instance: "web-2".into() }).unwrap();
    assert!(other.is_empty().unwrap());
    again.kill(SOON).await.unwrap();
}

#[tokio::test]
async fn a_session_number_that_was_given_away_has_no_members() {
    let room = Room::new();
    let running = start(&room.spec(&["/bin/sleep", "300"]), Vec::new()).await.unwrap();
    let key = running.process.key();
    let earlier = ProcessKey { start_time: key.start_time - 1, ..key };
    let record = GroupRecord::ProcessGroup { leader: earlier, instance: "web-1".into() };
    let stale = Group::reopen(record).unwrap();
    stale.kill(SOON).await.unwrap();
    assert!(!running.group.is_empty().unwrap(), "a stranger was killed");
    running.group.kill(SOON).await.unwrap();
}

#[test]
fn a_root_that_leads_out_of_the_tree_is_refused() {
    for bad in ["", "/", "../x", "/etc"] {
        assert!(matches!(Containment::detect(bad), Containment::ProcessGroup { .. }), "{bad:?} was taken");
    }
}
