//! NOTIFY_SOCKET between an instance, the agent and strangers.

use crate::{
    roles,
    support::{Drivers, Room, SOON, launcher, within},
};
use handover_agent::instance::{CgroupLimits, notify::NotifySocket};
use std::{
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    time::Duration,
};

#[tokio::test]
async fn an_instance_is_heard_and_a_stranger_is_not() {
    let drivers = Drivers::here();
    for driver in &drivers.all {
        let room = Room::new();
        let socket = NotifySocket::open(room.path(), "web-1").unwrap();
        let mode = std::fs::metadata(socket.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        let stranger = UnixDatagram::unbound().unwrap();
        stranger.send_to(b"READY=1\nSTATUS=from a stranger", socket.path()).unwrap();
        let mut spec = room.spec(&[]);
        spec.command = roles::command_of("program_that_notifies");
        spec.environment.extend([roles::playing("program_that_notifies")]);
        spec.notify_socket = Some(socket.path().to_owned());
        let place = driver.place("web-1", CgroupLimits::default()).unwrap();
        let running = launcher().prepare(&spec, Vec::new(), place).await.unwrap().go().await.unwrap();
        let said = within("the instance's message", socket.recv(&running.group)).await.unwrap();
        assert!(said.ready);
        assert_eq!(said.status.as_deref(), Some("from the instance"));
        stranger.send_to(b"READY=1", socket.path()).unwrap();
        let more = tokio::time::timeout(Duration::from_millis(100), socket.recv(&running.group)).await;
        assert!(more.is_err(), "a stranger was heard: {more:?}");
        running.group.kill(SOON).await.unwrap();
        running.group.remove().unwrap();
        let path = socket.path().to_owned();
        socket.remove().unwrap();
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_socket_of_an_earlier_agent_is_replaced_under_its_path() {
    let room = Room::new();
    let first = NotifySocket::open(room.path(), "web-1").unwrap();
    let path = first.path().to_owned();
    drop(first);
    assert!(UnixDatagram::unbound().unwrap().send_to(b"READY=1", &path).is_err());
    let second = NotifySocket::open(room.path(), "web-1").unwrap();
    assert_eq!(second.path(), path);
    UnixDatagram::unbound().unwrap().send_to(b"READY=1", &path).unwrap();
}
