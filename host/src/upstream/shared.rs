//! A target's one HTTP/2 connection, and whether its peer takes extended CONNECTs (RFC 8441 §3).

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::client::conn::http2::{Connection, SendRequest};
use hyper::rt::{Read, Write};

use super::body::RequestBody;
use super::executor::LocalExecutor;

/// How long the peer of a new connection has for its settings, and how often they are looked for.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sender: SendRequest<RequestBody>,
    /// When it was made.
    pub(super) made: tokio::time::Instant,
    offer: Rc<Offer>,
}

/// What the connection's task is asked and answers: nobody else can tell what settings have come.
#[derive(Default)]
struct Offer {
    asked: Cell<bool>,
    made: Cell<bool>,
    /// It was waited for in vain.
    missing: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Shared {
    /// The connection, and what has to be run for it.
    pub(super) fn new<T>(
        sender: SendRequest<RequestBody>,
        connection: Connection<T, RequestBody, LocalExecutor>,
    ) -> (Self, impl Future<Output = hyper::Result<()>>)
    where
        T: Read + Write + Unpin + 'static,
    {
        let offer = Rc::<Offer>::default();
        (Self { sender, made: tokio::time::Instant::now(), offer: Rc::clone(&offer) }, Running { connection, offer })
    }
    /// Whether an extended CONNECT may be sent. Waits for the peer's settings, once. That the connection is closed is told by sending.
    pub(super) async fn takes_connect(&self) -> bool {
        let (offer, until) = (&self.offer, Instant::now() + SETTINGS_TIMEOUT);
        offer.asked.set(true);
        while !offer.made.get() && !offer.missing.get() && !self.sender.is_closed() {
            offer.missing.set(Instant::now() >= until);
            if let Some(task) = &*offer.task.borrow() {
                task.wake_by_ref();
            }
            tokio::time::sleep(LOOK).await;
        }
        offer.made.get() || self.sender.is_closed()
    }
}

struct Running<T: Read + Write + Unpin + 'static> {
    connection: Connection<T, RequestBody, LocalExecutor>,
    offer: Rc<Offer>,
}

impl<T: Read + Write + Unpin + 'static> Future for Running<T> {
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.connection).poll(cx);
        let offer = &this.offer;
        if offer.asked.get() && !offer.made.get() {
            offer.made.set(this.connection.is_extended_connect_protocol_enabled());
        }
        if offer.task.borrow().as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            *offer.task.borrow_mut() = Some(cx.waker().clone());
        }
        ended
    }
}
