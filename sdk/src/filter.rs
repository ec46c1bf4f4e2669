//! The trait that a plugin implements, through `#[filter]`.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::end::End;
use crate::error::Result;
use crate::request::Request;
use crate::response::Response;

/// A filter. Written as a block under `#[filter]`, which takes these functions, all of them optional, `async` or not:
///
/// | function | when |
/// |---|---|
/// | `fn new(config: Config) -> Result<Self>` | the configuration was read; an error refuses it. Without it the struct is its own configuration |
/// | `fn start(&self) -> Result` | once after that; may make callouts. An error before the first await refuses the configuration |
/// | `fn request(&self, req: &mut Request) -> Result` | a request came in |
/// | `fn response(&self, res: &mut Response) -> Result` | its response is on the way back |
/// | `fn done(&self, end: &End)` | the exchange is over, both ways; not `async` |
/// | `#[every("30s")] fn name(&self) -> Result` | again and again; also `#[every(self.period)]` with a `Duration` |
///
/// Only what is written is ever called. Functions that await nothing should not be `async`: they cost no allocation.
pub trait Filter: Sized + 'static {
    /// What `new` takes.
    type Config: Config;

    /// Makes the filter from its configuration.
    ///
    /// # Errors
    /// The configuration cannot work.
    fn new(config: Self::Config) -> Result<Self>;

    #[doc(hidden)]
    const __CALLBACKS: Callbacks;
    #[doc(hidden)]
    fn __request(self: Rc<Self>, _message: Request) -> Phase {
        Phase::Done(Ok(()))
    }
    #[doc(hidden)]
    fn __response(self: Rc<Self>, _message: Response) -> Phase {
        Phase::Done(Ok(()))
    }
    #[doc(hidden)]
    fn __start(self: Rc<Self>) -> Phase {
        Phase::Done(Ok(()))
    }
    #[doc(hidden)]
    fn __done(&self, _end: &End) {}
    #[doc(hidden)]
    fn __timers(&self) -> Vec<(&'static str, Duration)> {
        Vec::new()
    }
    #[doc(hidden)]
    fn __timer(self: Rc<Self>, _index: usize) -> Phase {
        Phase::Done(Ok(()))
    }
}

/// Says to the compiler that a filter is in use where no module is made, for `#[filter]`.
#[cfg(not(target_arch = "wasm32"))]
pub fn in_use<F: Filter>() {}

/// A call of one of the author's functions: over, or to be polled.
pub enum Phase {
    /// It ran to its end.
    Done(Result),
    /// It awaits something.
    Later(PhaseFuture),
}

/// The rest of a phase.
pub(crate) type PhaseFuture = Pin<Box<dyn Future<Output = Result>>>;

/// What the author wrote, as `#[filter]` saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, clippy::struct_excessive_bools, reason = "the fields are the manifest's words")]
pub struct Callbacks {
    pub request: bool,
    pub request_body: bool,
    pub request_streams: bool,
    pub response: bool,
    pub response_body: bool,
    pub response_streams: bool,
    pub done: bool,
}
