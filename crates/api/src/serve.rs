//! Serves a router over TLS, HTTP/1.1 and HTTP/2, to many clients of whom some are hostile.
//!
//! Handshakes and headers are waited for a bounded time, connections are counted by address, and a stop lets calls end that are
//! under way. Plain text is spoken on loopback alone.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header;
use axum::response::Response;
use futures::StreamExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How many connections there are at most.
const CONNECTIONS: usize = 8192;
/// How many one address has at most.
const PER_ADDRESS: usize = 512;
/// How long a TLS handshake, or the head of a request, may take.
const GREETING: Duration = Duration::from_secs(10);
/// How long calls that are under way may take to end when the server stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without TLS everybody on the way reads the tokens.
    #[error("the API would speak plain text on {0}; give it a certificate, or listen on 127.0.0.1 or ::1")]
    PlainText(SocketAddr),
    /// The listener is no good.
    #[error("the API's listener cannot be used")]
    Listener(#[from] std::io::Error),
}

/// Serves until told to stop; then takes no new connections, and gives calls under way ten seconds to end.
///
/// # Errors
/// If the listener can't be used, or would speak plain text beyond loopback.
pub async fn serve(
    listener: TcpListener,
    tls: Option<rustls::ServerConfig>,
    router: Router,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if tls.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::PlainText(address));
    }
    let tls = tls.map(|mut config| {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let server = Arc::new(Server { tls, router, http: http(), by_address: ByAddress::default() });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { break };
        let Some(counted) = server.by_address.count(peer.ip().to_canonical()) else { continue };
        let (server, watcher, stop) = (Arc::clone(&server), graceful.watcher(), stop.clone());
        connections.spawn(async move {
            let _held = (place, counted);
            let greeted = tokio::select! {
                biased;
                // A client that has not even greeted has nothing under way.
                () = stop.cancelled() => None,
                Some(greeted) = server.greet(stream) => Some(greeted),
                else => None,
            };
            match greeted {
                Some(Greeted::Plain(io)) => server.talk(io, peer, watcher, stop).await,
                Some(Greeted::Tls(io)) => server.talk(*io, peer, watcher, stop).await,
                None => {}
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::info!("some calls had not ended in time when the API stopped");
    }
    connections.shutdown().await;
    Ok(())
}

/// The next connection for which there is room; `None` if the listener is gone for good.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            Err(error) => {
                // Out of descriptors, or a client that was gone at once: neither ends the server.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

struct Server {
    tls: Option<TlsAcceptor>,
    router: Router,
    http: auto::Builder<TokioExecutor>,
    by_address: ByAddress,
}

enum Greeted {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<tokio_rustls::server::TlsStream<TcpStream>>>),
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(GREETING).max_headers(100).max_buf_size(64 * 1024);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(32 * 1024)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(GREETING);
    http
}

impl Server {
    async fn greet(&self, stream: TcpStream) -> Option<Greeted> {
        let _slower = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Some(Greeted::Plain(TokioIo::new(stream))) };
        match tokio::time::timeout(GREETING, tls.accept(stream)).await {
            Ok(Ok(stream)) => Some(Greeted::Tls(Box::new(TokioIo::new(stream)))),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }

    async fn talk<I>(&self, io: I, peer: SocketAddr, watcher: Watcher, stop: CancellationToken)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let (answer, stop) = (router.clone().oneshot(request.map(Body::new)), stop.clone());
            async move { answer.await.map(|response| until_stop(response, stop)) }
        });
        let connection = self.http.serve_connection(io, service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(error = %error, "a connection ended in the middle");
        }
    }
}

/// Events have no end of their own: they end when the server stops.
fn until_stop(response: Response, stop: CancellationToken) -> Response {
    let endless = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if !endless {
        return response;
    }
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(stop.cancelled_owned())))
}

/// How many connections each address has.
#[derive(Debug, Default, Clone)]
struct ByAddress(Arc<Mutex<HashMap<IpAddr, usize>>>);

struct Counted {
    all: ByAddress,
    address: IpAddr,
}

impl ByAddress {
    fn count(&self, address: IpAddr) -> Option<Counted> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(address).or_insert(0);
        if *count >= PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Counted { all: self.clone(), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}
