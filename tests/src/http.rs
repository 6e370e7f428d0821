//! One request for one answer, for tests that want to see the answer. No runtime, no retries.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// For the connection, and for each wait on it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

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

impl Answer {
    /// It says that its connection is closed after it.
    #[must_use]
    pub fn says_close(&self) -> bool {
        self.headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection that is kept as long as the service keeps it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
}

impl Connection {
    /// Connects, with 5 s for that and for each wait after it.
    ///
    /// # Errors
    /// No connection.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, address })
    }

    /// Sends a GET without waiting for the answer; `headers` are whole lines.
    ///
    /// # Errors
    /// Those of writing.
    pub fn ask(&mut self, path: &str, headers: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", self.address);
        self.stream.write_all(request.as_bytes())
    }

    /// One PUT.
    ///
    /// # Errors
    /// Those of writing, and of [`answer`](Self::answer).
    pub fn put(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        let length = body.len();
        let head =
            format!("PUT {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n", self.address);
        self.stream.write_all(format!("{head}{body}").as_bytes())?;
        self.answer()
    }

    /// Reads one answer, whose length must be given by its headers or by the close.
    ///
    /// # Errors
    /// No whole answer, or one that is no HTTP.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        let mut end = None;
        while end.is_none_or(|end| bytes.len() < end) {
            let mut piece = [0; 16 * 1024];
            let read = self.stream.read(&mut piece)?;
            bytes.extend_from_slice(&piece[..read]);
            if bytes.len() > MAX_ANSWER {
                return Err(malformed("more than 16 MiB", &bytes));
            }
            end = if read == 0 { Some(bytes.len()) } else { length(&bytes) };
        }
        parse(&bytes)
    }

    /// One GET.
    ///
    /// # Errors
    /// Those of [`ask`](Self::ask) and [`answer`](Self::answer).
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(path, "")?;
        self.answer()
    }

    /// Waits until the service closes: true where it did so in the ordinary way and without a further byte.
    #[must_use]
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }
}

/// One GET on a connection of its own, with 5 s for each wait.
///
/// # Errors
/// No connection, no whole answer, or one that is no HTTP.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    get_within(address, path, TIMEOUT)
}

/// As [`get`], for an answer that takes its time: up to `timeout` for each wait.
///
/// # Errors
/// No connection, no whole answer, or one that is no HTTP.
pub fn get_within(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    let mut connection = Connection::open(address)?;
    connection.stream.set_read_timeout(Some(timeout))?;
    connection.ask(path, "connection: close\r\n")?;
    connection.answer()
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

fn malformed(what: &str, bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} in an answer of {} bytes", bytes.len()))
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n")
}

/// How long the whole answer is, where its head tells.
fn length(bytes: &[u8]) -> Option<usize> {
    let end = head_end(bytes)?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    Some(end + 4 + length.trim().parse::<usize>().ok()?)
}

fn parse(bytes: &[u8]) -> io::Result<Answer> {
    if bytes.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "closed before the first byte of an answer",
        ));
    }
    let end = head_end(bytes).ok_or_else(|| malformed("no end of the headers", bytes))?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).and_then(|rest| rest.get(2..5));
    let status = status.and_then(|digits| digits.parse().ok());
    let status = status.ok_or_else(|| malformed("no HTTP/1 status line", bytes))?;
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &bytes[end + 4..];
    if let Some(length) = headers.get("content-length")
        && length.parse() != Ok(body.len())
    {
        return Err(malformed(&format!("a body of {} bytes instead of {length}", body.len()), bytes));
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
        assert_eq!(
            version(server(b"HTTP/1.1 503 Busy\r\nX-Version: v7\r\ncontent-length: 2\r\n\r\nhi")),
            "v7"
        );
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
