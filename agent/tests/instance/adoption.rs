//! An agent that is killed, and another one that takes over what it ran.

use crate::{
    roles,
    support::{Room, SOON, until, within},
};
use handover_agent::instance::{ExitStatus, Group, GroupRecord, Process, ProcessKey, sockets::inode};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
};

#[tokio::test]
async fn a_program_of_a_killed_agent_is_adopted_with_its_socket() {
    let room = Room::new();
    let mut agent = roles::another_agent("agent_after_go", room.path());
    until("the other agent's start", || room.path().join("left").exists()).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    let left = fs::read_to_string(room.path().join("left")).unwrap();
    let (key, record, listener, address): (ProcessKey, GroupRecord, u64, SocketAddr) =
        serde_json::from_str(&left).unwrap();
    let process = Process::adopt(key).unwrap().expect("the program died with its agent");
    let group = Group::reopen(record).unwrap();
    until("both of its processes", || group.members().unwrap().len() >= 2).await;
    assert!(process.status().is_none());
    assert!(group.has_socket(listener).unwrap());
    assert!(group.sockets().unwrap().contains(&listener));
    let taken = TcpListener::from(group.take_socket(listener).unwrap().expect("the socket was not found"));
    assert_eq!(inode(&taken).unwrap(), listener);
    // The very socket: a client of the address is in its queue.
    let _client = TcpStream::connect(address).unwrap();
    taken.accept().unwrap();
    assert!(group.take_socket(1).unwrap().is_none());
    fs::write(room.path().join("end"), "").unwrap();
    let status = within("its end", process.exited()).await;
    println!("the kernel says of the adopted process: it {status}");
    assert!(matches!(status, ExitStatus::Code(7) | ExitStatus::Unknown), "{status:?}");
    group.kill(SOON).await.unwrap();
}
