//! The admin address: metrics, health and the policy over HTTP, for those who watch.
//!
//! ```text
//! GET /metrics   OpenMetrics text
//! GET /ready     200 where preflights are answered, 503 and the reason where not
//! GET /live      200 where the main loop answers
//! GET /policy    the policy that is in use, as JSON
//! ```
//!
//! Nothing can be changed here. What is told comes from the main loop, by the same requests as on
//! the agent's socket.

use std::{convert::Infallible, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request as Http, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    control::Asker,
    metrics,
    protocol::{Answer, Request},
};
use crate::{config::model::Admin, proxy::Sockets};

/// Why nobody can watch.
#[derive(Debug, Error)]
#[error("the admin address {address} cannot be used: {source}; set another `listen` in [admin]")]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

/// So many connections may wait.
const BACKLOG: i32 = 128;
/// So many connections are served at a time.
const CONNECTIONS: usize = 32;
/// For how long somebody may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long the main loop may take to answer before it counts as stuck.
const STUCK: Duration = Duration::from_secs(3);

/// Begins to listen where that is wanted, on a socket that is there already if there is one. Returns what
/// serves there, and another descriptor of the socket.
pub(super) fn start(
    admin: Admin,
    asker: Asker,
    there: &mut Sockets,
) -> Result<Option<(JoinHandle<()>, OwnedFd)>, AdminError> {
    let address = match admin {
        Admin::Off => return Ok(None),
        Admin::Usual => Admin::USUAL,
        Admin::At(address) => address,
    };
    let socket = there.take(address).map_or_else(|| bind(address), Ok);
    let listen = |socket: std::net::TcpListener| {
        socket.set_nonblocking(true)?;
        Ok((TcpListener::from_std(socket.try_clone()?)?, socket.into()))
    };
    match socket.and_then(listen) {
        Ok((listener, socket)) => {
            info!("metrics and health are told at http://{address}/");
            Ok(Some((tokio::spawn(accept(listener, asker)), socket)))
        }
        // Nobody asked for this address, and another agent may be there.
        Err(error) if admin == Admin::Usual => {
            warn!("metrics and health are told nowhere: {address}: {error}");
            Ok(None)
        }
        Err(source) => Err(AdminError { address, source }),
    }
}

/// As tokio would; in a restart the address may have connections that are not quite over.
fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept(listener: TcpListener, asker: Asker) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((connection, _)) => {
                let asker = asker.clone();
                tokio::spawn(async move {
                    serve(connection, asker).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("a connection to the admin address fails: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(connection: TcpStream, asker: Asker) {
    let service = service_fn(|request| {
        let asker = asker.clone();
        async move { Ok::<_, Infallible>(respond(&request, &asker).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(connection), service)
        .await;
    if let Err(error) = served {
        debug!("a connection to the admin address fails: {error}");
    }
}

async fn respond(request: &Http<Incoming>, asker: &Asker) -> Response<Full<Bytes>> {
    let wanted = match request.uri().path() {
        "/metrics" | "/ready" | "/live" => Request::Status,
        "/policy" => Request::Policy,
        _ => return text(StatusCode::NOT_FOUND, "/metrics, /ready, /live, /policy\n"),
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let Ok(Some(answer)) = timeout(STUCK, asker.ask(wanted)).await else {
        return unavailable("the agent is stuck or stopping");
    };
    match (request.uri().path(), answer) {
        ("/metrics", Answer::Status(status)) => match metrics::text(*status) {
            Ok(metrics) => with_type(metrics::CONTENT_TYPE, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        ("/ready", Answer::Status(status)) => match status.idle {
            None => text(StatusCode::OK, "ready\n"),
            Some(idle) => unavailable(&idle),
        },
        ("/live", Answer::Status(_)) => text(StatusCode::OK, "live\n"),
        (_, Answer::Policy(policy)) => match serde_json::to_string(&policy) {
            Ok(policy) => with_type("application/json", policy),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        (_, Answer::Error(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, error),
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "the agent says something else"),
    }
}

fn unavailable(reason: &str) -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

fn with_type(kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
