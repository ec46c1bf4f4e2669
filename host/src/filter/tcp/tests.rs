//! The chain of a connection, with filters that are written here.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

use super::{
    Closing, Peer, Side, TcpAction, TcpCallbacks, TcpChain, TcpFacts, TcpFilter, TcpSource, TcpStage, TcpStop,
};
use crate::address::Address;
use crate::filter::exchange::ConnectionFacts;
use crate::filter::{Fault, FaultKind, OnError, Outcome, Phase};

/// What a filter does with the bytes that contain a letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Appends its name.
    Marks,
    Pauses,
    Closes,
    Dies,
}

struct Source {
    name: &'static str,
    on: &'static str,
    does: Does,
    on_error: OnError,
    seen: Rc<RefCell<Vec<String>>>,
    stages: Rc<RefCell<Vec<TcpStage>>>,
}

struct Scripted {
    name: &'static str,
    on: &'static str,
    does: Does,
    stage: TcpStage,
    seen: Rc<RefCell<Vec<String>>>,
}

impl Scripted {
    fn saw(&self, what: &str) {
        self.seen.borrow_mut().push(format!("{} {what}", self.name));
    }
    fn act(&self, side: Option<Side>) -> Result<TcpAction, Fault> {
        match self.does {
            Does::Marks => {
                if let Some(side) = side {
                    self.stage.set_data(side, usize::MAX, 0, self.name.as_bytes());
                }
            }
            Does::Pauses => return Ok(TcpAction::Pause),
            Does::Closes => self.stage.stop(TcpStop::Closed(self.name.to_owned())),
            Does::Dies => return Err(Fault { kind: FaultKind::Trap, detail: "told to".into() }),
        }
        Ok(TcpAction::Continue)
    }
}

impl TcpFilter for Scripted {
    fn on_new_connection(&mut self) -> Result<TcpAction, Fault> {
        self.saw("new");
        if self.on == "new" { self.act(None) } else { Ok(TcpAction::Continue) }
    }
    fn on_data(&mut self, side: Side, size: usize, end_of_stream: bool) -> Result<TcpAction, Fault> {
        let held = self.stage.with_data(side, |bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap();
        assert_eq!(held.len(), size);
        self.saw(&format!("{side:?} {held} {end_of_stream}"));
        if held.contains(self.on) { self.act(Some(side)) } else { Ok(TcpAction::Continue) }
    }
    fn on_close(&mut self, side: Side, peer: Peer) -> Result<(), Fault> {
        self.saw(&format!("{side:?} closed by {peer:?}"));
        Ok(())
    }
    fn finish(self: Box<Self>) {
        self.saw("finish");
    }
    fn fault(&self) -> Option<Fault> {
        None
    }
}

impl TcpSource for Source {
    fn name(&self) -> &str {
        self.name
    }
    fn callbacks(&self) -> TcpCallbacks {
        TcpCallbacks {
            new_connection: true,
            downstream_data: true,
            upstream_data: true,
            downstream_close: true,
            upstream_close: true,
        }
    }
    fn on_error(&self) -> OnError {
        self.on_error
    }
    fn start(&self, stage: TcpStage) -> Result<Box<dyn TcpFilter>, Fault> {
        self.stages.borrow_mut().push(stage.clone());
        let seen = Rc::clone(&self.seen);
        Ok(Box::new(Scripted { name: self.name, on: self.on, does: self.does, stage, seen }))
    }
    fn record(&self, _: Phase, _: u64, _: Outcome) {}
}

/// A chain of filters, each with a name, what it waits for and what it does then.
struct Setup {
    chain: TcpChain,
    seen: Rc<RefCell<Vec<String>>>,
    stages: Rc<RefCell<Vec<TcpStage>>>,
}

impl Setup {
    fn new(filters: &[(&'static str, &'static str, Does)], on_error: OnError) -> Self {
        let (seen, stages) = (Rc::default(), Rc::default());
        let source = |(name, on, does): &(&'static str, &'static str, Does)| {
            let (seen, stages) = (Rc::clone(&seen), Rc::clone(&stages));
            Rc::new(Source { name, on, does: *does, on_error, seen, stages }) as Rc<dyn TcpSource>
        };
        let address = Address::Ip(([127, 0, 0, 1], 1).into());
        let connection = ConnectionFacts { id: 1, remote: address.clone(), local: address, tls: None };
        let facts =
            TcpFacts { connection, id: "tcp-1".into(), listener: "a".into(), upstream: "b".into(), buffer_limit: 8 };
        let chain = TcpChain::new(facts, filters.iter().map(source).collect());
        Self { chain, seen, stages }
    }
    /// One whose connection all filters have let go on.
    fn open(filters: &[(&'static str, &'static str, Does)], on_error: OnError) -> Self {
        let mut setup = Self::new(filters, on_error);
        assert_eq!(setup.poll_open(), Poll::Ready(Ok(())));
        setup
    }
    fn poll_open(&mut self) -> Poll<Result<(), TcpStop>> {
        self.chain.poll_open(&mut Context::from_waker(Waker::noop()))
    }
    fn push(&mut self, side: Side, text: &str, end: bool) -> (String, bool) {
        let mut out = BytesMut::new();
        let end = self.chain.push(side, text.as_bytes(), end, &mut out);
        (String::from_utf8_lossy(&out).into_owned(), end)
    }
    fn release(&mut self, side: Side) -> (String, bool) {
        let mut out = BytesMut::new();
        let end = self.chain.release(side, &mut out);
        (String::from_utf8_lossy(&out).into_owned(), end)
    }
    fn take_seen(&self) -> Vec<String> {
        self.seen.take()
    }
}

fn went(text: &str, end: bool) -> (String, bool) {
    (text.to_owned(), end)
}

#[test]
fn bytes_pass_the_filters_forth_and_back() {
    let mut setup = Setup::open(&[("1", "x", Does::Marks), ("2", "x", Does::Marks)], OnError::Closed);
    assert_eq!(setup.take_seen(), ["1 new", "2 new"]);
    assert_eq!(setup.push(Side::Downstream, "x", false), went("x12", false));
    assert_eq!(setup.push(Side::Upstream, "x", true), went("x21", true));
    assert_eq!(
        setup.take_seen(),
        [
            "1 Downstream x false",
            "2 Downstream x1 false",
            "2 Upstream x true",
            "2 Upstream closed by Remote",
            "1 Upstream x2 true",
            "1 Upstream closed by Remote",
        ]
    );
    setup.chain.finish(Closing { downstream: Peer::Local, upstream: Some(Peer::Remote) });
    drop(setup.chain);
    let ends = ["1 Downstream closed by Local", "1 finish", "2 Downstream closed by Local", "2 finish"];
    assert_eq!(setup.seen.take(), ends);
}

#[test]
fn what_is_held_grows_and_goes_on_once() {
    let mut setup = Setup::open(&[("1", "x", Does::Marks), ("2", "p", Does::Pauses)], OnError::Closed);
    assert_eq!(setup.push(Side::Downstream, "p", false), went("", false));
    assert_eq!(setup.release(Side::Downstream), went("", false));
    assert_eq!(setup.push(Side::Downstream, "x", true), went("", false));
    assert_eq!(setup.take_seen()[4..], ["1 Downstream x true", "2 Downstream px1 true"]);
    let second = setup.stages.borrow()[1].clone();
    second.resume(Side::Upstream);
    assert_eq!(setup.release(Side::Downstream), went("", false));
    second.resume(Side::Downstream);
    assert_eq!(setup.release(Side::Downstream), went("px1", true));
    // Gone: it can be neither read nor changed.
    assert_eq!(second.with_data(Side::Downstream, <[u8]>::len), None);
    assert!(!second.set_data(Side::Downstream, 0, 0, b"late"));
}

#[test]
fn what_is_further_on_its_way_goes_first() {
    let mut setup = Setup::open(&[("1", "b", Does::Pauses), ("2", "a", Does::Pauses)], OnError::Closed);
    setup.push(Side::Downstream, "a", false);
    setup.push(Side::Downstream, "b", false);
    let stages = setup.stages.borrow().clone();
    stages.iter().for_each(|stage| stage.resume(Side::Downstream));
    assert_eq!(setup.release(Side::Downstream), went("ab", false));
}

#[test]
fn holding_more_than_the_limit_closes() {
    let mut setup = Setup::open(&[("1", "p", Does::Pauses)], OnError::Closed);
    setup.push(Side::Downstream, "p1234567", false);
    assert_eq!(setup.chain.connection().stop(), None);
    setup.push(Side::Downstream, "8", false);
    assert!(matches!(setup.chain.connection().stop(), Some(TcpStop::TooLarge(_))));
}

#[test]
fn after_a_close_nothing_goes_on() {
    for side in Side::BOTH {
        let mut setup = Setup::open(&[("1", "a", Does::Marks), ("2", "c", Does::Closes)], OnError::Closed);
        assert_eq!(setup.push(side, "ca", false), went("", false));
        assert_eq!(setup.chain.connection().stop(), Some(TcpStop::Closed("2".to_owned())));
        setup.take_seen();
        assert_eq!(setup.release(side), went("", false));
        assert_eq!(setup.take_seen(), [""; 0]);
    }
}

#[test]
fn a_new_connection_waits_and_can_be_refused() {
    let mut setup = Setup::new(&[("1", "new", Does::Pauses), ("2", "new", Does::Closes)], OnError::Closed);
    assert!(setup.poll_open().is_pending());
    assert!(setup.poll_open().is_pending());
    assert_eq!(setup.take_seen(), ["1 new"]);
    setup.stages.borrow()[0].resume(Side::Downstream);
    assert_eq!(setup.poll_open(), Poll::Ready(Err(TcpStop::Closed("2".to_owned()))));
}

#[test]
fn a_dead_filter_is_skipped_or_closes() {
    for side in Side::BOTH {
        let filters = [("1", "x", Does::Marks), ("2", "d", Does::Dies)];
        let mut setup = Setup::open(&filters, OnError::Open);
        assert_eq!(setup.push(side, "dx", false), went("dx1", false));
        setup.take_seen();
        assert_eq!(setup.push(side, "dx", true), went("dx1", true));
        assert!(setup.take_seen().iter().all(|line| line.starts_with('1')));
        let mut setup = Setup::open(&filters, OnError::Closed);
        assert_eq!(setup.push(side, "d", false), went("", false));
        assert_eq!(setup.chain.connection().stop(), Some(TcpStop::Fault("2: trap".to_owned())));
    }
}
