//! The clock of deadlines: one thread advances the epoch of every engine each millisecond, and sleeps while no guest runs.
//!
//! Each thread that calls guests counts its crossings: one on the way in, one on the way out. That is a plain addition to a
//! number of its own, because it happens many times per request. So the clock falls asleep in two steps: it says so, and
//! a while later looks whether anybody has entered a guest who had not heard it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::EngineWeak;

/// Length of an epoch.
const TICK: Duration = Duration::from_millis(1);
/// Epochs without a crossing after which the clock goes to sleep.
const IDLE_TICKS: u32 = 1000;
/// How long it listens after it has said so. What one thread writes is seen by the others within nanoseconds.
const SETTLE: Duration = Duration::from_millis(10);

static CLOCK: Clock = Clock {
    engines: Mutex::new(Vec::new()),
    threads: Mutex::new(Vec::new()),
    asleep: AtomicBool::new(false),
    thread: OnceLock::new(),
};

thread_local! {
    /// This thread's crossings: odd while it is inside a guest.
    static CROSSINGS: Arc<AtomicU64> = CLOCK.join();
}

struct Clock {
    engines: Mutex<Vec<EngineWeak>>,
    threads: Mutex<Vec<Weak<AtomicU64>>>,
    asleep: AtomicBool,
    /// `None`: it could not be started.
    thread: OnceLock<Option<Thread>>,
}

/// Advances the epoch of this engine too, as long as it exists.
///
/// # Errors
/// The clock's thread does not start.
pub(super) fn follow(engine: &wasmtime::Engine) -> io::Result<()> {
    lock(&CLOCK.engines).push(engine.weak());
    let start = || {
        let clock = thread::Builder::new().name("epoch".into()).spawn(|| CLOCK.run());
        clock.ok().map(|clock| clock.thread().clone())
    };
    match CLOCK.thread.get_or_init(start) {
        Some(_) => Ok(()),
        None => Err(io::Error::other("no thread could be started")),
    }
}

/// This thread is inside a guest until the answer is dropped.
pub(super) fn enter() -> Inside {
    cross();
    if CLOCK.asleep.load(Ordering::Relaxed) {
        CLOCK.wake();
    }
    Inside(())
}

/// See [`enter`].
pub(super) struct Inside(());

impl Drop for Inside {
    fn drop(&mut self) {
        cross();
    }
}

fn cross() {
    // A thread that is being torn down calls no guests.
    CROSSINGS.try_with(|own| own.store(own.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed)).unwrap_or(());
}

impl Clock {
    fn join(&self) -> Arc<AtomicU64> {
        let own = Arc::default();
        lock(&self.threads).push(Arc::downgrade(&own));
        own
    }
    fn run(&self) {
        let (mut before, mut idle) = (self.crossings(), 0);
        loop {
            lock(&self.engines).retain(|engine| engine.upgrade().inspect(wasmtime::Engine::increment_epoch).is_some());
            thread::park_timeout(TICK);
            let now = self.crossings();
            idle = if now == before && now.is_some() { idle + 1 } else { 0 };
            before = now;
            if idle == IDLE_TICKS {
                self.sleep(before);
                idle = 0;
            }
        }
    }
    /// Sleeps until somebody enters a guest.
    fn sleep(&self, before: Option<u64>) {
        self.asleep.store(true, Ordering::SeqCst);
        thread::park_timeout(SETTLE);
        if self.crossings() == before {
            while self.asleep.load(Ordering::SeqCst) {
                thread::park();
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
    fn wake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        if let Some(Some(thread)) = self.thread.get() {
            thread.unpark();
        }
    }
    /// The crossings of all threads together; `None` while one is inside a guest.
    fn crossings(&self) -> Option<u64> {
        let mut sum: Option<u64> = Some(0);
        lock(&self.threads).retain(|thread| {
            let Some(thread) = thread.upgrade() else { return false };
            let crossings = thread.load(Ordering::Relaxed);
            sum = sum.filter(|_| crossings % 2 == 0).map(|sum| sum.wrapping_add(crossings));
            true
        });
        sum
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
