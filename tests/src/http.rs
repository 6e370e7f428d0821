//! One request for one answer, for tests that want to see it. No runtime, no retries.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// For the connection, and for each wait on it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers; names in lower case, of several with one name the last.
    pub headers: BTreeMap<String, String>,
    /// The body; what is no UTF-8 is replaced.
    pub body: String,
}

/// One GET on a connection of its own, with 5 s for each wait.
///
/// # Errors
/// No connection, no whole answer, or one that is no HTTP.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// The `x-version` of the answer to one GET of `/`, or `error: ` and what happened.
#[must_use]
pub fn version(address: SocketAddr) -> String {
    match get(address, "/") {
        Ok(answer) => match answer.headers.get("x-version") {
            Some(version) => version.clone(),
            None => format!("error: an answer with status {} and without x-version", answer.status),
        },
        Err(error) => format!("error: {error}"),
    }
}

fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{what} in an answer of {} bytes", bytes.len()));
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the first byte of an answer"));
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| malformed("no end of the headers"))?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).and_then(|rest| rest.get(2..5));
    let status = status.and_then(|digits| digits.parse().ok()).ok_or_else(|| malformed("no HTTP/1 status line"))?;
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &bytes[end + 4..];
    if let Some(length) = headers.get("content-length")
        && length.parse() != Ok(body.len())
    {
        return Err(malformed(&format!("a body of {} bytes instead of {length}", body.len())));
    }
    Ok(Answer { status, headers, body: String::from_utf8_lossy(body).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    /// A server for one connection that answers with these bytes.
    fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        });
        address
    }

    #[test]
    fn a_version_is_what_the_header_says() {
        assert_eq!(version(server(b"HTTP/1.1 503 Busy\r\nX-Version: v7\r\ncontent-length: 2\r\n\r\nhi")), "v7");
    }

    #[test]
    fn what_is_no_whole_answer_is_an_error_in_words() {
        for (answer, words) in [
            (&b""[..], "closed before"),
            (b"SSH-2.0\r\n\r\n", "no HTTP/1 status line"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", "a body of 2 bytes instead of 3"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "without x-version"),
        ] {
            let said = version(server(answer));
            assert!(said.starts_with("error: ") && said.contains(words), "{said}");
        }
    }

    #[test]
    fn nobody_listening_is_an_error_in_words() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(version(free).starts_with("error: "), "{}", version(free));
    }
}
