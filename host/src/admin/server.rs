//! Connections of the admin API: HTTP/1.1, few, and none for long.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};

use super::change::{Asker, Over};
use super::{Admin, Asked};

/// Most open connections; a further one takes the place of the oldest, so that nobody who holds them shuts the others out.
const MAX_CONNECTIONS: usize = 64;
/// Time for a request's head, and for the next request on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may live, so that a reader that stalls cannot keep its place.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// How long a shutdown waits for answers that are being written.
const GRACE: Duration = Duration::from_secs(1);
/// Pause after a failed accept: file descriptors may be spent, and trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `shutdown` resolves, then completes what is being answered and returns.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, shutdown: impl Future<Output = ()>) {
    let mut places: VecDeque<AbortHandle> = VecDeque::new();
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (admin, stopped) = (Arc::clone(&admin), stopped.clone());
                places.retain(|place| !place.is_finished());
                if places.len() >= MAX_CONNECTIONS
                    && let Some(oldest) = places.pop_front()
                {
                    oldest.abort();
                }
                places.push_back(connections.spawn(connection(stream, peer, admin, stopped)));
            }
            Err(error) => {
                warn!(%error, "The admin API cannot accept a connection.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, stop));
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        debug!("Connections of the admin API were cut off.");
    }
}

/// With TLS or without, as it is configured now.
async fn connection(stream: TcpStream, address: SocketAddr, admin: Arc<Admin>, stopped: watch::Receiver<()>) {
    let Some(tls) = admin.status.access().tls else {
        return answer(stream, Asker { address, over: Over::Cleartext }, admin, stopped).await;
    };
    match tls.open(stream, HEAD_TIMEOUT).await {
        Ok((stream, shown)) => {
            let over = if shown { Over::ClientCertificate } else { Over::Tls };
            answer(stream, Asker { address, over }, admin, stopped).await;
        }
        Err(error) => debug!(error, %address, "A connection of the admin API has no TLS."),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    asker: Asker,
    admin: Arc<Admin>,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, admin) = (admin.ask(&request, asker), Arc::clone(&admin));
        async move {
            Ok::<_, Infallible>(match asked {
                Asked::Answer(answer) => answer,
                Asked::Change(change) => change.make(admin).await,
            })
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            // The sender is dropped when the shutdown begins.
            _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, ended).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "A connection of the admin API failed."),
        Err(_) => debug!("A connection of the admin API was open for too long."),
    }
}
