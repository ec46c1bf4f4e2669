//! A client's body on its way in: counted, bounded, and its stalls timed.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::BodyError;

/// Why no more of a client's body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadFault {
    /// It is longer than it may be.
    #[error("request body longer than {0} bytes")]
    TooLarge(u64),
    /// It was waited for, and nothing of it came for too long.
    #[error("no byte of the request body within {0:?}")]
    Stalled(Duration),
}

/// What is known of a client's body, by whoever reads it and whoever answers the request.
#[derive(Debug, Default)]
pub struct Upload {
    /// Its length in bytes, as the head has it.
    declared: Option<u64>,
    received: Cell<u64>,
    most: Cell<Option<u64>>,
    patience: Cell<Option<Duration>>,
    awaited: Cell<bool>,
    fault: Cell<Option<UploadFault>>,
}

impl Upload {
    /// One without bounds. `declared`: its length in bytes, if the head has one.
    #[must_use]
    pub fn new(declared: Option<u64>) -> Self {
        Self { declared, ..Self::default() }
    }
    /// Sets the most bytes that it may have, and how long nothing of it may come while it is waited for.
    pub fn bound(&self, most: Option<u64>, patience: Option<Duration>) {
        self.most.set(most);
        self.patience.set(patience);
    }
    /// The response has begun: client and upstream may take turns as they like.
    pub fn answered(&self) {
        self.patience.set(None);
    }
    /// Nothing is expected of it any more.
    pub fn lift(&self) {
        self.bound(None, None);
    }
    /// Body bytes that have been read.
    #[must_use]
    pub fn received(&self) -> &Cell<u64> {
        &self.received
    }
    /// Whether somebody waits for more of it.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.awaited.get()
    }
    /// Why no more of it is read.
    #[must_use]
    pub fn fault(&self) -> Option<UploadFault> {
        self.fault.get()
    }
    /// What is wrong with its length: the one that it says, or the one that it has so far.
    ///
    /// # Errors
    /// It is longer than it may be.
    pub fn check_length(&self) -> Result<(), UploadFault> {
        let length = self.received.get().max(self.declared.unwrap_or(0));
        match self.most.get() {
            Some(most) if length > most => Err(self.fails(UploadFault::TooLarge(most))),
            Some(_) | None => Ok(()),
        }
    }
    fn fails(&self, fault: UploadFault) -> UploadFault {
        self.fault.set(Some(fault));
        fault
    }
}

/// A client's body, read within its bounds.
pub struct ClientBody {
    incoming: Incoming,
    upload: Rc<Upload>,
    /// Made when it stalls for the first time; set anew whenever it stalls again.
    timer: Option<Pin<Box<Sleep>>>,
}

impl ClientBody {
    /// The body of which `upload` tells.
    #[must_use]
    pub fn new(incoming: Incoming, upload: Rc<Upload>) -> Self {
        Self { incoming, upload, timer: None }
    }
    /// Ready when nothing has come for too long. `waited`: it was waited for before.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, waited: bool) -> Poll<UploadFault> {
        let Some(patience) = self.upload.patience.get() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if !waited {
            timer.as_mut().reset(Instant::now() + patience);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(UploadFault::Stalled(patience))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // What is too long by its own word is not read at all: a client that waits for `100 Continue` is never told to go on.
        if let Err(fault) = this.upload.check_length() {
            return Poll::Ready(Some(Err(fault.into())));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            let waited = this.upload.awaited.replace(true);
            let fault = ready!(this.poll_stalled(cx, waited));
            return Poll::Ready(Some(Err(this.upload.fails(fault).into())));
        };
        this.upload.awaited.set(false);
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.upload.received.set(this.upload.received.get().saturating_add(data.len() as u64));
            if let Err(fault) = this.upload.check_length() {
                return Poll::Ready(Some(Err(fault.into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
