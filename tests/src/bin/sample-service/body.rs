//! Bodies of answers.

use hyper::{
    HeaderMap,
    body::{Body as HttpBody, Bytes, Frame, SizeHint},
};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// Between two bytes of a drip.
const DRIP: Duration = Duration::from_millis(50);

static FILLING: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// What follows an answer's headers.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it at once.
    Whole(Bytes),
    /// So many bytes more.
    Filling(u64),
    /// The same again and again.
    Endless(Bytes),
    /// A byte, a pause, a byte, without end.
    Drip(Pin<Box<Sleep>>),
    /// One message and trailers, as gRPC wants it.
    Message(Option<Bytes>, Option<HeaderMap>),
}

impl Body {
    /// A byte now and then.
    pub(crate) fn drip() -> Self {
        Self::Drip(Box::pin(sleep(DRIP)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(Frame::data(std::mem::take(bytes))),
            Self::Filling(0) => None,
            Self::Filling(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(FILLING.len());
                *left -= n as u64;
                Some(Frame::data(Bytes::from_static(&FILLING[..n])))
            }
            Self::Endless(bytes) => Some(Frame::data(bytes.clone())),
            Self::Drip(pause) => {
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                pause.as_mut().reset(Instant::now() + DRIP);
                Some(Frame::data(Bytes::from_static(b"#")))
            }
            Self::Message(message, trailers) => {
                message.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers))
            }
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Filling(left) => *left == 0,
            Self::Endless(_) | Self::Drip(_) => false,
            Self::Message(message, trailers) => message.is_none() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Filling(left) => SizeHint::with_exact(*left),
            Self::Endless(_) | Self::Drip(_) | Self::Message(..) => SizeHint::default(),
        }
    }
}
