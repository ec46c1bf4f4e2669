//! Held writes: when they leave, in which order, and what happens when they cannot.

use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::{Builder, LocalOptions};

use super::*;

async fn pair() -> (Corked, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    (Corked::new(ours), theirs)
}

/// Runs a test as a worker runs its connections.
fn worker(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        tokio::task::spawn_local(turns());
        tokio::task::yield_now().await;
        test.await;
    });
}

/// Whether something can be read without waiting for anything.
fn has_arrived(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0; 1]), Ok(1))
}

#[test]
fn what_is_written_in_a_turn_leaves_at_its_end() {
    worker(async {
        let (mut ours, mut theirs) = pair().await;
        ours.write_all(b"one ").await.unwrap();
        ours.write_all(b"two").await.unwrap();
        ours.flush().await.unwrap();
        assert_eq!(ours.shared.lock().held, b"one two", "both wait");
        let mut read = [0; 7];
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"one two");
        assert!(ours.shared.lock().held.is_empty());
    });
}

#[test]
fn writes_to_a_unix_socket_wait_for_the_end_of_the_turn_too() {
    worker(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut ours = Corked::of_unix(ours);
        ours.write_all(b"one ").await.unwrap();
        ours.write_all(b"two").await.unwrap();
        assert_eq!(ours.shared.lock().held, b"one two", "both wait");
        let mut read = [0; 7];
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"one two");
        assert!(ours.shared.lock().held.is_empty());
        theirs.write_all(b"three").await.unwrap();
        drop(theirs);
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"three");
    });
}

#[test]
fn many_connections_do_not_wait_for_the_end_of_a_turn() {
    worker(async {
        let mut pairs = Vec::new();
        for _ in 0..MOST_HELD {
            pairs.push(pair().await);
        }
        for (ours, _) in &mut pairs {
            ours.write_all(b"x").await.unwrap();
        }
        assert!(pairs.iter().all(|(ours, _)| ours.shared.lock().held.is_empty()), "the last one sends them all");
    });
}

#[test]
fn long_writes_go_through_behind_what_was_held() {
    worker(async {
        let (mut ours, mut theirs) = pair().await;
        ours.write_all(b"first").await.unwrap();
        let long = vec![b'x'; MOST_BYTES + 1];
        let written = ours.write(&long).await.unwrap();
        assert!(ours.shared.lock().held.is_empty());
        let mut read = vec![0; 5 + written];
        theirs.read_exact(&mut read).await.unwrap();
        assert!(read.starts_with(b"firstx"));
    });
}

#[test]
fn a_peer_that_does_not_read_holds_back_the_writer_and_gets_everything_later() {
    worker(async {
        let (mut ours, mut theirs) = pair().await;
        let piece = [b'x'; 1000];
        let mut written = 0_usize;
        let mut cx = Context::from_waker(Waker::noop());
        let mut turn = 0;
        let blocked = loop {
            match Pin::new(&mut ours).poll_write(&mut cx, &piece) {
                Poll::Ready(count) => written += count.unwrap(),
                Poll::Pending => break ours.shared.lock().held.len(),
            }
            turn += 1;
            if turn % 3 == 0 {
                // The turn ends.
                release_all();
            }
        };
        assert!(blocked > 0 && blocked <= MOST_BYTES, "{blocked}");
        assert!(Pin::new(&mut ours).poll_flush(&mut cx).is_pending(), "flushing waits for the peer");
        let mut read = Vec::new();
        let (closed, all) = tokio::join!(
            async {
                ours.shutdown().await.unwrap();
                drop(ours);
            },
            theirs.read_to_end(&mut read)
        );
        let () = closed;
        assert_eq!((all.unwrap(), read.len()), (written, written));
    });
}

#[test]
fn what_a_slow_peer_does_not_take_at_once_needs_nobody_to_look_again() {
    worker(async {
        let (mut ours, mut theirs) = pair().await;
        let piece = [b'x'; 1000];
        let mut written = 0;
        while ours.shared.lock().rest.is_none() {
            ours.write_all(&piece).await.unwrap();
            ours.flush().await.unwrap();
            written += piece.len();
            // The turn ends.
            release_all();
        }
        let mut read = vec![0; written];
        // From now on it is only read from.
        let mut scratch = [0; 1];
        tokio::select! {
            _ = ours.read(&mut scratch) => panic!("the peer says nothing"),
            all = theirs.read_exact(&mut read) => assert_eq!(all.unwrap(), written),
        }
    });
}

#[test]
fn what_is_held_when_a_connection_is_dropped_still_leaves() {
    worker(async {
        let (mut ours, mut theirs) = pair().await;
        ours.write_all(b"bye").await.unwrap();
        drop(ours);
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"bye");
    });
}

#[test]
fn a_write_that_fails_later_is_told_by_the_next_call() {
    worker(async {
        let (mut ours, theirs) = pair().await;
        socket2::SockRef::from(&theirs).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(theirs);
        // The reset has arrived when reading tells it.
        assert!(ours.read(&mut [0; 1]).await.is_err());
        ours.write_all(b"too late").await.unwrap();
        release_all();
        assert!(ours.flush().await.is_err());
    });
}

#[test]
fn a_thread_without_turns_sends_at_once() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut ours, theirs) = pair().await;
        ours.write_all(b"now").await.unwrap();
        assert!(ours.shared.lock().held.is_empty());
        theirs.readable().await.unwrap();
        assert!(has_arrived(&theirs));
    });
}

#[test]
fn the_task_of_turns_never_ends() {
    let mut turns = pin!(turns());
    assert!(turns.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}
