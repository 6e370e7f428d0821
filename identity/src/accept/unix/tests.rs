use super::*;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn the_kernel_says_who_connects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    let mut incoming = UnixIncoming::bind(&path).await.unwrap();
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let mut stream = incoming.next().await.unwrap().unwrap();
    let expected = LocalPeer {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        pid: Some(std::process::id() as i32),
    };
    assert_eq!(stream.connect_info(), expected);
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_living_server_is_not_pushed_aside_and_a_dead_ones_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    let living = UnixIncoming::bind(&path).await.unwrap();
    let error = UnixIncoming::bind(&path).await.unwrap_err();
    assert!(matches!(error, UnixListenError::InUse(_)), "{error}");
    drop(living);
    assert!(!path.exists(), "an orderly end leaves no file");
    // A killed server leaves its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let successor = UnixIncoming::bind(&path).await.unwrap();
    assert!(UnixStream::connect(&path).await.is_ok());
    drop(successor);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    fs::write(&path, "precious").unwrap();
    let error = UnixIncoming::bind(&path).await.unwrap_err();
    assert!(matches!(error, UnixListenError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}
