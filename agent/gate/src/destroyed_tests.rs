use super::*;
use crate::sock_diag;
use rustix::net::{Shutdown, shutdown, sockopt::set_socket_linger};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const DROP_ALL: [Instruction; 1] = [Instruction { code: RETURN, jump_true: 0, jump_false: 0, operand: 0 }];

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// What is told of the server's end of a connection on which a request was answered and then `story` happened, which
/// gets the client's end and the server's.
fn told(address: &str, story: impl FnOnce(TcpStream, TcpStream)) -> Ended {
    let listener = TcpListener::bind(address).unwrap();
    let local = listener.local_addr().unwrap();
    let destroyed = Destroyed::of(&[local.port()].into()).unwrap();
    let mut client = TcpStream::connect(local).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    let mut buffer = [0; 16];
    client.write_all(b"request").unwrap();
    assert_eq!(server.read(&mut buffer).unwrap(), 7);
    server.write_all(b"an answer").unwrap();
    assert_eq!(client.read(&mut buffer).unwrap(), 9);
    let cookie = sock_diag::find(server.local_addr().unwrap(), peer).unwrap().unwrap().cookie;
    story(client, server);
    let mut ended = Vec::new();
    eventually("the end of the connection", || {
        destroyed.read(&mut ended, 16).unwrap();
        ended.iter().find(|ended| ended.cookie == cookie).copied()
    })
}

#[track_caller]
fn ends_well(story: fn(TcpStream, TcpStream)) {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        assert!(!told(address, story).reset, "{address}");
    }
}

#[track_caller]
fn is_reset(story: fn(TcpStream, TcpStream)) {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        assert!(told(address, story).reset, "{address}");
    }
}

/// Reads to the peer's FIN; false where there was a RST instead.
fn hears_the_end(mut stream: &TcpStream) -> bool {
    stream.read_to_end(&mut Vec::new()).is_ok()
}

/// Waits until so many bytes lie there unread.
fn has_unread(stream: &TcpStream, bytes: usize) {
    eventually("what was sent", || (stream.peek(&mut [0; 16]).ok()? == bytes).then_some(()));
}

/// Waits until the end is in FIN_WAIT_2: its FIN is acknowledged.
fn is_half_closed(stream: &TcpStream) {
    let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    eventually("FIN_WAIT_2", || (sock_diag::find(local, peer).unwrap()?.state == 5).then_some(()));
}

fn close_with_a_reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// A program that has the stream as its standard input and is killed.
fn kill_its_program(stream: TcpStream) {
    let program = Command::new("sleep").arg("600").stdin(Stdio::from(OwnedFd::from(stream))).spawn();
    let mut program = program.unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
}

#[test]
fn a_close_by_the_client_first_is_a_good_end() {
    ends_well(|client, server| {
        drop(client);
        assert!(hears_the_end(&server));
    });
}

#[test]
fn a_close_by_the_server_first_is_a_good_end_and_time_wait_is_no_part_of_it() {
    ends_well(|client, server| {
        drop(server);
        assert!(hears_the_end(&client));
    });
}

#[test]
fn a_half_closed_connection_that_is_answered_to_its_end_is_a_good_end() {
    ends_well(|client, mut server| {
        shutdown(&client, Shutdown::Write).unwrap();
        assert!(hears_the_end(&server));
        server.write_all(b"late").unwrap();
        drop(server);
        assert!(hears_the_end(&client));
    });
    ends_well(|mut client, server| {
        shutdown(&server, Shutdown::Write).unwrap();
        client.write_all(b"late").unwrap();
        has_unread(&server, 4);
        let mut late = [0; 4];
        (&server).read_exact(&mut late).unwrap();
        assert!(hears_the_end(&client));
    });
}

#[test]
fn a_killed_program_that_has_read_everything_ends_its_connections_well() {
    ends_well(|client, server| {
        kill_its_program(server);
        assert!(hears_the_end(&client));
    });
}

#[test]
fn a_reset_by_the_client_is_one() {
    is_reset(|client, server| {
        close_with_a_reset(client);
        assert!(!hears_the_end(&server));
    });
}

#[test]
fn a_reset_by_the_server_is_one() {
    is_reset(|client, server| {
        close_with_a_reset(server);
        assert!(!hears_the_end(&client));
    });
}

#[test]
fn a_close_with_unread_data_is_a_reset_and_so_is_a_kill() {
    is_reset(|mut client, server| {
        client.write_all(b"more").unwrap();
        has_unread(&server, 4);
        drop(server);
        assert!(!hears_the_end(&client));
    });
    is_reset(|mut client, server| {
        client.write_all(b"more").unwrap();
        has_unread(&server, 4);
        kill_its_program(server);
        assert!(!hears_the_end(&client));
    });
    is_reset(|client, mut server| {
        server.write_all(b"more").unwrap();
        has_unread(&client, 4);
        drop(client);
        assert!(!hears_the_end(&server));
    });
}

#[test]
fn an_answer_to_a_client_that_is_gone_is_a_reset() {
    is_reset(|client, mut server| {
        drop(client);
        server.write_all(b"too late").unwrap();
        eventually("the reset", || server.take_error().unwrap());
    });
}

#[test]
fn a_goodbye_in_return_that_the_client_does_not_wait_for_is_a_reset() {
    // As TLS has it with close_notify.
    fn answers(mut server: TcpStream) {
        assert!(hears_the_end(&server));
        server.write_all(b"goodbye").unwrap();
    }
    is_reset(|mut client, server| {
        client.write_all(b"goodbye").unwrap();
        drop(client);
        answers(server);
    });
    ends_well(|mut client, server| {
        client.write_all(b"goodbye").unwrap();
        shutdown(&client, Shutdown::Write).unwrap();
        answers(server);
        assert!(hears_the_end(&client));
    });
}

#[test]
fn what_comes_after_the_servers_own_end_cannot_be_seen() {
    ends_well(|mut client, server| {
        shutdown(&server, Shutdown::Write).unwrap();
        is_half_closed(&server);
        drop(server);
        // The kernel answers it with a RST; the server's socket is gone.
        client.write_all(b"another request").unwrap();
        eventually("the reset", || client.take_error().unwrap());
    });
}

#[test]
fn data_and_a_fin_that_had_to_be_sent_again_make_no_difference() {
    ends_well(|client, mut server| {
        sys::attach_filter(client.as_fd(), &DROP_ALL).unwrap();
        server.write_all(b"lost at first").unwrap();
        drop(server);
        eventually("both sent again", || (sys::drops(client.as_fd()).unwrap() >= 4).then_some(()));
        sys::detach_filter(client.as_fd()).unwrap();
        assert!(hears_the_end(&client));
    });
    is_reset(|client, mut server| {
        sys::attach_filter(client.as_fd(), &DROP_ALL).unwrap();
        server.write_all(b"lost for ever").unwrap();
        close_with_a_reset(client);
        assert!(!hears_the_end(&server));
    });
}

#[test]
fn a_connection_without_a_byte_ends_well_or_not_as_others_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let destroyed = Destroyed::of(&[listener.local_addr().unwrap().port()].into()).unwrap();
    for reset in [false, true] {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        if reset {
            close_with_a_reset(client);
        } else {
            drop(client);
        }
        assert_eq!(hears_the_end(&server), !reset);
        drop(server);
        let mut ended = Vec::new();
        eventually("its end", || {
            destroyed.read(&mut ended, 1).unwrap_or(true).then_some(()).filter(|()| !ended.is_empty())
        });
        assert_eq!(ended[0].reset, reset);
    }
}

/// Opens and resets connections of a listener, one after the other.
fn come_and_go(listener: &TcpListener, connections: usize) {
    for _ in 0..connections {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        close_with_a_reset(client);
        drop(server);
    }
}

/// Waits until so many ends were told. To be made before whatever else is to have been told of them by then: of those who
/// listen the kernel tells the youngest first (`sk_add_bind_node` in include/net/sock.h).
fn were_told(witness: &Destroyed, connections: usize) {
    let mut ended = Vec::new();
    eventually("what the witness is told", || {
        witness.read(&mut ended, 100).unwrap();
        (ended.len() >= connections).then_some(())
    });
    assert_eq!(ended.len(), connections);
}

#[test]
fn of_other_ports_nothing_is_heard() {
    let (heard, other) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let witness = Destroyed::of(&[port(&heard), port(&other)].into()).unwrap();
    let destroyed = Destroyed::of(&[port(&heard)].into()).unwrap();
    let mut ended = Vec::new();
    come_and_go(&other, 50);
    come_and_go(&heard, 1);
    were_told(&witness, 51);
    assert!(destroyed.read(&mut ended, 100).unwrap());
    assert_eq!(ended.len(), 1);
    destroyed.only(&[1, port(&other)].into()).unwrap();
    come_and_go(&heard, 1);
    come_and_go(&other, 2);
    were_told(&witness, 3);
    assert!(destroyed.read(&mut ended, 100).unwrap());
    assert_eq!(ended.len(), 3);
    let ports: BTreeSet<u16> = (1..=1025).collect();
    assert!(destroyed.only(&ports).unwrap_err().to_string().contains("at most 1024"));
}

#[test]
fn what_is_not_read_in_time_is_told_as_lost_until_the_queue_was_empty() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [listener.local_addr().unwrap().port()].into();
    let (witness, destroyed) = (Destroyed::of(&ports).unwrap(), Destroyed::of(&ports).unwrap());
    sockopt::set_socket_recv_buffer_size(&destroyed.socket, 4096).unwrap();
    let mut ended = Vec::new();
    let mut is_lost = |most| {
        let lost = destroyed.read(&mut ended, most).unwrap_err();
        assert_eq!(lost.raw_os_error(), Some(Errno::NOBUFS.raw_os_error()));
        assert_eq!(ended, []);
    };
    let drops = || sys::drops(destroyed.socket.as_fd()).unwrap();
    come_and_go(&listener, 50);
    were_told(&witness, 50);
    assert!((1..50).contains(&drops()), "some fit, and some did not: {}", drops());
    is_lost(1);
    let before = drops();
    come_and_go(&listener, 1);
    were_told(&witness, 1);
    assert_eq!(drops(), before + 1, "the kernel drops it without a word");
    is_lost(2);
    is_lost(100);
    assert!(destroyed.read(&mut ended, 100).unwrap());
    assert_eq!(ended, []);
    come_and_go(&listener, 1);
    were_told(&witness, 1);
    assert!(destroyed.read(&mut ended, 100).unwrap());
    assert_eq!(ended.len(), 1, "the next one");
}

#[test]
fn a_message_that_is_cut_makes_no_sense() {
    let mut message = vec![0; 380];
    message[..4].copy_from_slice(&380_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[16] = 2;
    message[88..92].copy_from_slice(&[24, 1, 2, 0]);
    assert!(read(&message).is_some_and(|ended| ended.reset));
    message[92 + BYTES_ACKED] = 1;
    assert!(read(&message).is_some_and(|ended| !ended.reset));
    for length in 0..368 {
        assert_eq!(read(&message[..length]), None, "{length}");
    }
    message[88] = 200;
    message[89] = 0;
    assert_eq!(read(&message), None, "a tcp_info of an old kernel");
}

#[test]
#[ignore = "a figure for the manual: cargo test --release -p handover-gate -- --ignored --nocapture what_it_costs"]
fn what_it_costs_while_somebody_listens() {
    const CONNECTIONS: u32 = 20_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let took = || {
        let began = Instant::now();
        come_and_go(&listener, 20_000);
        began.elapsed() / CONNECTIONS
    };
    took();
    for _ in 0..5 {
        let without = took();
        let destroyed = Destroyed::of(&[1].into()).unwrap();
        let with = took();
        drop(destroyed);
        println!(
            "{without:?} for a connection from connect(2) to both ends' close(2), {with:?} while somebody listens"
        );
    }
}
