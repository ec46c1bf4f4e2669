//! Lines to standard output and standard error, written by threads of their own: a reader that does not read must never hold
//! up a worker. What does not fit in the queue is dropped and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait for their reader.
const QUEUE: usize = 8192;
/// How long lines are gathered before they are written together: waking the writer for each would cost the worker more than
/// the line.
const GATHER: Duration = Duration::from_millis(5);
/// Bytes that are written at once, at most.
const BATCH: usize = 64 << 10;
/// How long the end of the process waits for a reader.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Where access records go.
pub static STDOUT: Output = Output::new("stdout");
/// Where the log goes.
pub static STDERR: Output = Output::new("stderr");

/// One of the two standard streams.
pub struct Output {
    name: &'static str,
    queue: OnceLock<Option<SyncSender<Message>>>,
    dropped: AtomicU64,
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Output {
    const fn new(name: &'static str) -> Self {
        Self { name, queue: OnceLock::new(), dropped: AtomicU64::new(0) }
    }

    /// Queues bytes, which end with a line break. Never waits.
    pub fn line(&'static self, line: Vec<u8>) {
        let queued = self.queue().is_some_and(|queue| queue.try_send(Message::Line(line)).is_ok());
        if !queued {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that nobody read in time, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what is queued is written, for a bounded time.
    pub fn flush(&'static self) {
        let (done, written) = sync_channel(1);
        if self.queue().is_some_and(|queue| queue.try_send(Message::Flush(done)).is_ok()) {
            written.recv_timeout(FLUSH_TIMEOUT).unwrap_or_default();
        }
    }

    fn queue(&'static self) -> Option<&'static SyncSender<Message>> {
        let start = || {
            let (sender, receiver) = sync_channel(QUEUE);
            let write = move || match self.name {
                "stdout" => write_all(&receiver, io::stdout()),
                _ => write_all(&receiver, io::stderr()),
            };
            std::thread::Builder::new().name(self.name.to_owned()).spawn(write).ok().map(|_| sender)
        };
        self.queue.get_or_init(start).as_ref()
    }
}

fn write_all(messages: &Receiver<Message>, mut stream: impl Write) {
    let mut batch = Vec::new();
    while let Ok(first) = messages.recv() {
        let mut flushed = Vec::new();
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Flush(done) => flushed.push(done),
            }
            if batch.len() >= BATCH {
                break;
            }
        }
        // A stream that is closed has no reader; there is nobody to tell.
        stream.write_all(&batch).and_then(|()| stream.flush()).unwrap_or_default();
        batch.clear();
        for done in flushed {
            done.try_send(()).unwrap_or_default();
        }
        std::thread::park_timeout(GATHER);
    }
}

/// Writes each whole write as one line of the log.
pub(super) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        STDERR.line(bytes.to_vec());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
