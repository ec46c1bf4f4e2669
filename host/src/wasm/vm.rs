//! A VM, as the ABI calls it: the entries of the configuration that share one instance, and that instance on one worker.

use std::cell::{Cell, RefCell};
use std::iter;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::FilterSpec;
use super::breaker::{Breaker, Death, Verdict};
use super::filter::WorkerFilter;
use super::host_state::{Stream, Subject};
use super::roots::{Place, Roots};
use super::running::Running;
use crate::filter::{Callouts, Fault};
use crate::state::State;

/// Told of an entry whose instances only die.
pub type Alarm = Rc<dyn Fn(&Arc<FilterSpec>)>;

/// The entries that share an instance on each worker, in the order of the configuration; most often a single one.
pub struct VmSpec {
    first: Arc<FilterSpec>,
    more: Vec<Arc<FilterSpec>>,
}

impl VmSpec {
    /// The VM of that entry alone.
    #[must_use]
    pub fn new(first: Arc<FilterSpec>) -> Self {
        Self { first, more: Vec::new() }
    }
    /// Another entry joins.
    pub fn join(&mut self, spec: Arc<FilterSpec>) {
        self.more.push(spec);
    }
    /// Its entries.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<FilterSpec>> {
        iter::once(&self.first).chain(&self.more)
    }
    /// Whether an entry belongs to it: both name the same VM, and all that makes an instance is the same.
    #[must_use]
    pub fn takes(&self, spec: &FilterSpec) -> bool {
        let (vm, other) = (&self.first.vm, &spec.vm);
        vm.named
            && other.named
            && (&vm.id, &vm.config) == (&other.id, &other.config)
            && self.first.plugin.digest == spec.plugin.digest
            && (self.first.memory, &self.first.env) == (spec.memory, &spec.env)
    }
    /// Its root contexts in an instance that serves nobody.
    pub(super) fn roots(&self, callouts: impl Fn(&Arc<FilterSpec>) -> Rc<dyn Callouts>) -> Rc<Roots> {
        let (first, more) = self.places(callouts);
        Roots::new(&first, &more, false)
    }
    fn places(&self, callouts: impl Fn(&Arc<FilterSpec>) -> Rc<dyn Callouts>) -> (Place, Vec<Place>) {
        let place = |spec: &Arc<FilterSpec>| Place { spec: Arc::clone(spec), callouts: callouts(spec) };
        (place(&self.first), self.more.iter().map(place).collect())
    }
}

/// A VM on one worker: one instance, replaced by a fresh one when it dies.
pub struct WorkerVm {
    first: Place,
    more: Vec<Place>,
    services: Arc<State>,
    running: RefCell<Option<Rc<Running>>>,
    breaker: RefCell<Breaker>,
    /// Told when instances only die.
    alarm: Alarm,
    /// How long streams may go on after [`WorkerVm::retire`].
    retired: Cell<Option<Duration>>,
    /// Whether it is that of the first worker.
    first_worker: bool,
}

impl WorkerVm {
    /// Starts the instance on this worker (errors are kept: its filters then fault each stream until an instance
    /// starts). Timers and queue events of guests need a [`tokio::runtime::LocalRuntime`] around the worker. `callouts` makes
    /// those of an entry. `alarm` is told when instances only die and no further one is made for a while. `first_worker`: this is
    /// the worker that does what is done once.
    #[must_use]
    pub fn new(
        vm: &VmSpec,
        state: Arc<State>,
        callouts: impl Fn(&Arc<FilterSpec>) -> Rc<dyn Callouts>,
        alarm: Alarm,
        first_worker: bool,
    ) -> Rc<Self> {
        let (first, more) = vm.places(callouts);
        let vm = Self {
            first,
            more,
            services: state,
            running: RefCell::default(),
            breaker: RefCell::default(),
            alarm,
            retired: Cell::default(),
            first_worker,
        };
        if let Err(fault) = vm.running() {
            tracing::debug!(filter = &*vm.first.spec.name, %fault, "A filter does not start yet.");
        }
        Rc::new(vm)
    }
    /// Its filters, in the order of its entries.
    pub fn filters(self: &Rc<Self>) -> impl Iterator<Item = Rc<WorkerFilter>> {
        let places = (0..).zip(iter::once(&self.first).chain(&self.more));
        places.map(|(place, Place { spec, .. })| WorkerFilter::new(Arc::clone(spec), Rc::clone(self), place))
    }
    /// No new streams will come: ticks stop; when the last stream has ended the root contexts get `on_done` and
    /// `on_delete` and the instance is dropped. After `deadline` what still runs is ended with a fault.
    pub fn retire(&self, deadline: Duration) {
        self.retired.set(Some(deadline));
        let running = self.running.borrow().clone();
        if let Some(running) = running {
            running.retire(deadline);
        }
    }
    /// Creates a stream context for the entry at that place.
    pub(super) fn open(&self, place: usize, subject: Subject) -> Result<(Rc<Running>, Rc<Stream>), Fault> {
        let running = self.running()?;
        let stream = running.open(place, subject)?;
        if let Some(deadline) = self.retired.get() {
            // A stream of before the swap, whose way has only now come to this filter.
            running.retire(deadline);
        }
        Ok((running, stream))
    }
    /// The instance, made afresh if there is none.
    fn running(&self) -> Result<Rc<Running>, Fault> {
        let last = self.running.borrow().clone();
        match last.as_ref().map(|running| (running, running.death())) {
            Some((running, None)) if !running.is_closing() => return Ok(Rc::clone(running)),
            // Its root contexts say goodbye already.
            Some((_, None)) => drop(self.running.take()),
            Some((_, Some(death))) => {
                self.running.take();
                self.died(&death);
            }
            None => {}
        }
        if let Some(fault) = self.breaker.borrow_mut().holding_off() {
            return Err(fault);
        }
        let roots = Roots::new(&self.first, &self.more, self.first_worker);
        let began = Instant::now();
        let started = Running::start(&roots, &self.services);
        let now = Instant::now();
        self.breaker.borrow_mut().started(now.duration_since(began), now);
        match started {
            Ok(running) => {
                *self.running.borrow_mut() = Some(Rc::clone(&running));
                Ok(running)
            }
            Err(fault) => {
                self.died(&Death { fault: fault.clone(), in_stream: false });
                Err(fault)
            }
        }
    }
    fn died(&self, death: &Death) {
        let ledgers = iter::once(&self.first).chain(&self.more).map(|place| Arc::clone(&place.spec.ledger));
        let verdict = self.breaker.borrow_mut().died(death, ledgers.collect(), Instant::now());
        let (spec, detail) = (&self.first.spec, &*death.fault.detail);
        let (filter, path) = (&*spec.name, &*spec.path);
        match verdict {
            Some(Verdict::Broken(period)) => {
                tracing::error!(
                    filter,
                    path,
                    seconds = period.as_secs_f64(),
                    detail,
                    "Filter held off: its instances die without serving anything; on_error decides what happens to requests."
                );
                (self.alarm)(spec);
            }
            Some(Verdict::Expensive(period)) => tracing::warn!(
                filter,
                path,
                seconds = period.as_secs_f64(),
                detail,
                "Filter held off for a moment: requests kill its instances faster than they are made; on_error decides what happens to the others."
            ),
            None => {}
        }
    }
}
