//! Threads for relays of small messages: each connection stays on one of them for good.
//!
//! A statement and its answer are a few hundred bytes that go through four sockets' worth of waking up. Where any worker may take up
//! any task, most of what that costs is one thread waking another. Here a thread reads, judges, records and writes by itself; what takes
//! long (reading a long text, a disk, a store) is done elsewhere in any case.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tokio_util::sync::{CancellationToken, DropGuard};

thread_local! {
    /// Whose handshake is worked out on this thread.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// Meets a client over TLS.
///
/// What a handshake costs it costs in one piece. However many begin at once, a thread works one out and then looks at its other connections
/// before the next: whoever connects over and over delays others who connect, and no session.
pub(crate) async fn accept(tls: &TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    // Nobody waits for the client while it is theirs.
    let turn = TURN.with(Arc::clone).acquire_owned().await.map_err(io::Error::other)?;
    let accepting = hello.into_stream(Arc::clone(tls.config()));
    tokio::task::yield_now().await;
    drop(turn);
    accepting.await
}

/// The threads; dropped with the last of its clones, they end.
#[derive(Debug, Clone)]
pub struct RelayThreads(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    handles: Vec<Handle>,
    next: AtomicUsize,
    _stop: DropGuard,
}

impl RelayThreads {
    /// Starts so many threads with stacks of so many bytes.
    ///
    /// # Errors
    /// The system gives no more threads or descriptors.
    pub fn start(threads: usize, stack: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut handles = Vec::with_capacity(threads);
        for number in 0..threads.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let stop = stop.clone();
            std::thread::Builder::new()
                .name(format!("relay-{number}"))
                .stack_size(stack)
                .spawn(move || runtime.block_on(stop.cancelled()))?;
        }
        Ok(Self(Arc::new(Threads { handles, next: AtomicUsize::new(0), _stop: stop.drop_guard() })))
    }

    /// Runs what is made of a connection on one of the threads, in turn.
    ///
    /// # Errors
    /// The connection cannot be taken along; it is closed then.
    pub(crate) fn run<F>(&self, stream: TcpStream, attend: impl FnOnce(TcpStream) -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stream = stream.into_std()?;
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        let Some(handle) = self.0.handles.get(turn % self.0.handles.len().max(1)) else { return Ok(()) };
        handle.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => attend(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be taken up; check the limit of open files"),
            }
        });
        Ok(())
    }
}
