//! Runs what hyper wants to run beside a connection, on this worker.

/// A [`hyper::rt::Executor`] whose tasks stay on the current thread, so that nothing has to be `Send`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
