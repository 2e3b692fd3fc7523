//! Serves a router over TLS, HTTP/1.1 and HTTP/2, to many clients of whom some are hostile.
//!
//! Handshakes and headers are waited for a bounded time, connections are counted by their source, and a stop lets calls end that are
//! under way. Plain text is spoken on loopback alone.

use std::net::SocketAddr;
use std::sync::Arc;
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
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::places::{Call, Place, Places};

/// How many connections there are at most.
const CONNECTIONS: usize = 8192;
/// How many one source has at most: an address, or a /64 of IPv6.
const PER_SOURCE: usize = 512;
/// After so long without a call a connection is closed.
const IDLE: Duration = Duration::from_secs(120);
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
    let server = Arc::new(Server { tls, router, http: http(), places: Places::new(CONNECTIONS, PER_SOURCE) });
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener) => accepted,
        };
        let (stream, peer) = accepted;
        let Some(place) = server.places.admit(peer.ip()) else { continue };
        let (server, watcher, stop) = (Arc::clone(&server), graceful.watcher(), stop.clone());
        connections.spawn(async move {
            let greeted = tokio::select! {
                biased;
                // A client that has not even greeted has nothing under way.
                () = stop.cancelled() => None,
                () = place.shown_out() => None,
                greeted = server.greet(stream) => greeted,
            };
            match greeted {
                Some(Greeted::Plain(io)) => server.talk(io, peer, watcher, stop, &place).await,
                Some(Greeted::Tls(io)) => server.talk(*io, peer, watcher, stop, &place).await,
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

/// The next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
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
    places: Places,
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
        .max_concurrent_streams(64)
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

    async fn talk<I>(&self, io: I, peer: SocketAddr, watcher: Watcher, stop: CancellationToken, place: &Place)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let (router, calls) = (self.router.clone(), place.calls());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let (answer, stop) = (router.clone().oneshot(request.map(Body::new)), stop.clone());
            let call = Call::begin(&calls);
            async move { answer.await.map(|response| call.until_answered(until_stop(response, stop))) }
        });
        let connection = self.http.serve_connection(io, service).into_owned();
        tokio::select! {
            ended = watcher.watch(connection) => {
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "a connection ended in the middle");
                }
            }
            () = place.to_go(IDLE) => {}
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
