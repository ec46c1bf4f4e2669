//! The lines that a process prints, collected as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::wait::PATIENCE;

/// Everything that was printed to one stream so far.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    changed: Notify,
}

impl Lines {
    /// Reads `stream` to its end on a thread of its own, so that the process never waits for a busy test.
    pub fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = Arc::clone(&lines.shared);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let text = String::from_utf8_lossy(&line).into_owned();
                shared.lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                shared.changed.notify_waiters();
            }
        });
        lines
    }
    /// All lines so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.with(<[String]>::to_vec)
    }
    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(<[String]>::len)
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Forgets all lines so far.
    pub fn forget(&self) {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    /// How many lines contain `text`.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.with(|lines| lines.iter().filter(|line| line.contains(text)).count())
    }
    /// Waits for the first line that contains `text`, those that are there already included.
    ///
    /// # Panics
    /// There is none within [`PATIENCE`].
    pub async fn wait_for(&self, text: &str) -> String {
        self.wait_from(0, text).await
    }
    /// Waits for the first line after the first `from` ones that contains `text`.
    ///
    /// # Panics
    /// There is none within [`PATIENCE`].
    pub async fn wait_from(&self, from: usize, text: &str) -> String {
        self.wait_until(text, |lines| lines.iter().skip(from).find(|line| line.contains(text)).cloned()).await
    }
    /// Waits until `count` lines contain `text`.
    ///
    /// # Panics
    /// There are fewer within [`PATIENCE`].
    pub async fn wait_for_count(&self, text: &str, count: usize) {
        let enough =
            |lines: &[String]| (lines.iter().filter(|line| line.contains(text)).count() >= count).then_some(());
        self.wait_until(text, enough).await;
    }
    async fn wait_until<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = self.with(&find) {
                return found;
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            if tokio::time::timeout(left, changed).await.is_err() {
                panic!("no such line: {what:?}\n{}", self.tail());
            }
        }
    }
    /// The last lines, for a failing test's output.
    #[must_use]
    pub fn tail(&self) -> String {
        self.with(|lines| lines[lines.len().saturating_sub(60)..].join("\n"))
    }
    fn with<T>(&self, look: impl FnOnce(&[String]) -> T) -> T {
        look(&self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
