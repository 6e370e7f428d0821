//! A stream of answers that keeps its place for as long as it lives: also one that its reader leaves half read.

use crate::limits::Place;
use futures_util::Stream;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Messages, and the place of the caller who gets them.
#[derive(Debug)]
pub struct Held<T, K: Ord> {
    messages: ReceiverStream<Result<T, Status>>,
    _place: Place<K>,
}

impl<T, K: Ord> Held<T, K> {
    pub(super) const fn new(messages: ReceiverStream<Result<T, Status>>, place: Place<K>) -> Self {
        Self { messages, _place: place }
    }
}

impl<T, K: Ord + Unpin> Stream for Held<T, K> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.messages).poll_next(context)
    }
}
