//! Reading one HTTP/1.x response from bytes as they arrive (RFC 9112), and nothing more than a load generator needs.

/// Longest head (status line and headers) that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Longest line between chunks and longest trailers, in bytes.
const MAX_CHUNK_LINE: usize = 8 * 1024;

/// What came is no HTTP response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no HTTP/1.x response: {0}")]
pub(crate) struct Malformed(pub(crate) String);

/// What the head of a response says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The service closes after this response.
    pub(crate) close: bool,
    /// The header `x-version`.
    pub(crate) version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Head,
    Exactly(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// One response being read; its body is counted and thrown away. Feed it with [`advance`](Self::advance) until it says done.
#[derive(Debug, Default)]
pub(crate) struct Response {
    state: State,
    head: Option<Head>,
}

impl Response {
    /// What the head said, if it has come.
    pub(crate) fn into_head(self) -> Option<Head> {
        self.head
    }

    /// The whole response has been read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The other side closed: was that the end of the response? Only where its length was given by the close.
    pub(crate) fn ends_with_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Reads what it can from the front of `input` and removes it.
    pub(crate) fn advance(&mut self, input: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut at = 0;
        while self.state != State::Done {
            let used = self.step(&input[at..])?;
            at += used;
            if used == 0 {
                break;
            }
        }
        input.drain(..at);
        Ok(())
    }

    /// Reads one piece; 0 where more bytes are needed.
    fn step(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        match self.state {
            State::Done => Ok(0),
            State::Head => self.read_head(input),
            State::Exactly(left) => {
                Ok(self.take(input, left, |left| if left == 0 { State::Done } else { State::Exactly(left) }))
            }
            State::Chunk(left) => Ok(
                self.take(input, left, |left| if left == 0 { State::ChunkEnd } else { State::Chunk(left) })
            ),
            State::UntilClose => Ok(input.len()),
            State::ChunkSize | State::ChunkEnd | State::Trailers => self.read_line(input),
        }
    }

    fn take(&mut self, input: &[u8], left: u64, next: impl Fn(u64) -> State) -> usize {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        self.state = next(left - n as u64);
        n
    }

    fn read_line(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let Some(end) = find(input, b"\r\n") else {
            if input.len() > MAX_CHUNK_LINE {
                return Err(Malformed(format!(
                    "a line of a chunked body is longer than {MAX_CHUNK_LINE} bytes"
                )));
            }
            return Ok(0);
        };
        let line = &input[..end];
        self.state = match self.state {
            State::ChunkSize => match chunk_size(line)? {
                0 => State::Trailers,
                size => State::Chunk(size),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err(Malformed("a chunk is longer than its size".to_owned())),
            State::Trailers if line.is_empty() => State::Done,
            same => same,
        };
        Ok(end + 2)
    }

    fn read_head(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let prefix = &b"HTTP/1."[..input.len().min(7)];
        if !input.starts_with(prefix) {
            let beginning = String::from_utf8_lossy(&input[..input.len().min(40)]).into_owned();
            return Err(Malformed(format!("it begins with {beginning:?}")));
        }
        let Some(end) = find(input, b"\r\n\r\n") else {
            if input.len() > MAX_HEAD {
                return Err(Malformed(format!("its head is longer than {MAX_HEAD} bytes")));
            }
            return Ok(0);
        };
        let (head, state) = parse_head(&input[..end])?;
        // 1xx are followed by the real response on the same connection.
        if !(100..200).contains(&head.status) {
            self.head = Some(head);
            self.state = state;
        }
        Ok(end + 4)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let malformed = || Malformed(format!("{:?} is no chunk size", String::from_utf8_lossy(line)));
    let digits = line.split(|&b| b == b';').next().unwrap_or(line);
    let text = std::str::from_utf8(digits).map_err(|_| malformed())?;
    u64::from_str_radix(text.trim_end(), 16).map_err(|_| malformed())
}

fn parse_head(head: &[u8]) -> Result<(Head, State), Malformed> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status: u16 = status_line
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Malformed(format!("status line {status_line:?}")))?;
    let mut head = Head { status, close: status_line.starts_with("HTTP/1.0"), version: None };
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(Malformed(format!("header {line:?}")));
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let parsed: u64 = value.parse().map_err(|_| Malformed(format!("content-length {value:?}")))?;
            if length.replace(parsed).is_some_and(|earlier| earlier != parsed) {
                return Err(Malformed("two different content-lengths".to_owned()));
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.to_ascii_lowercase().ends_with("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            for option in value.split(',').map(str::trim) {
                head.close |= option.eq_ignore_ascii_case("close");
                head.close &= !option.eq_ignore_ascii_case("keep-alive");
            }
        } else if name.eq_ignore_ascii_case("x-version") {
            head.version = Some(value.chars().take(100).collect());
        }
    }
    let state = match (status, chunked, length) {
        (100..200 | 204 | 304, ..) | (_, false, Some(0)) => State::Done,
        (_, true, _) => State::ChunkSize,
        (_, false, Some(length)) => State::Exactly(length),
        (_, false, None) => State::UntilClose,
    };
    head.close |= state == State::UntilClose;
    Ok((head, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Version: v2\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n";
    const COUNTED: &[u8] = b"HTTP/1.1 503 Busy\r\ncontent-length: 11\r\nconnection: Close\r\n\r\nhello world";

    fn read(bytes: &[u8]) -> Result<Response, Malformed> {
        let mut response = Response::default();
        response.advance(&mut bytes.to_vec())?;
        Ok(response)
    }

    proptest! {
        #[test]
        fn a_response_reads_the_same_however_it_is_cut(cuts in prop::collection::vec(1_usize..9, 200), chunked: bool) {
            let mut rest = if chunked { CHUNKED } else { COUNTED };
            let mut response = Response::default();
            let mut buffer = Vec::new();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                prop_assert_eq!(response.is_done(), now.is_empty());
                buffer.extend_from_slice(now);
                response.advance(&mut buffer).unwrap();
                rest = later;
            }
            let version = chunked.then(|| "v2".to_owned());
            let expected = Head { status: if chunked { 200 } else { 503 }, close: !chunked, version };
            prop_assert_eq!(response.into_head(), Some(expected));
            prop_assert_eq!(buffer, b"");
        }
    }

    #[test]
    fn bytes_after_the_response_stay_in_the_buffer() {
        let mut buffer = [COUNTED, b"HTTP/1.1 200 OK"].concat();
        let mut response = Response::default();
        response.advance(&mut buffer).unwrap();
        assert!(response.is_done());
        assert_eq!(buffer, b"HTTP/1.1 200 OK");
    }

    #[test]
    fn a_response_without_length_ends_with_the_close() {
        let response = read(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap();
        assert!(!response.is_done() && response.ends_with_close() && response.into_head().unwrap().close);
        let counted = read(&COUNTED[..COUNTED.len() - 1]).unwrap();
        assert!(!counted.is_done() && !counted.ends_with_close());
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for bytes in [
            &b"SSH-2.0-x\r\n"[..],
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_interim_response_is_passed_over() {
        let response = read(&[b"HTTP/1.1 100 Continue\r\n\r\n", COUNTED].concat()).unwrap();
        assert!(response.is_done());
        assert_eq!(response.into_head().unwrap().status, 503);
    }
}
