//! `cargo xtask serve-hyper`: a server as bare as hyper allows, which answers preflights from a set of
//! origins. One thread; the kernel's accept queue is its only balance.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{Either, Empty, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

type Body = Either<Empty<Bytes>, Full<Bytes>>;

pub(crate) fn run() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<()> {
    let socket = TcpSocket::new_v6()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 80))?;
    let listener = socket.listen(16384)?;
    tokio::task::LocalSet::new()
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::task::spawn_local(async move {
                    let connection = http1::Builder::new()
                        .pipeline_flush(true)
                        .serve_connection(TokioIo::new(stream), service_fn(answer));
                    // A client that leaves is none of our business.
                    connection.await.ok();
                });
            }
        })
        .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Either::Left(Empty::new()));
    let headers = request.headers();
    match headers.get(header::ORIGIN) {
        Some(origin) if *request.method() == Method::OPTIONS && is_allowed(origin.as_bytes()) => {
            *response.status_mut() = StatusCode::NO_CONTENT;
            let origin = origin.clone();
            let set = response.headers_mut();
            set.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let fixed = |text| HeaderValue::from_static(text);
            set.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, fixed("true"));
            set.insert(header::ACCESS_CONTROL_ALLOW_METHODS, fixed("PUT, PATCH, DELETE"));
            set.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fixed("authorization, content-type"));
            set.insert(header::ACCESS_CONTROL_MAX_AGE, fixed("600"));
            set.insert(header::VARY, fixed("Origin"));
        }
        _ if *request.method() == Method::GET => {
            *response.body_mut() = Either::Right(Full::new(Bytes::from_static(b"hello\n")));
        }
        _ => *response.status_mut() = StatusCode::FORBIDDEN,
    }
    Ok(response)
}

/// `https://app-NN.tenant-NNNN.customers.example.org`, without a table: the least that a server can do.
fn is_allowed(origin: &[u8]) -> bool {
    origin.starts_with(b"https://app-") && origin.ends_with(b".customers.example.org")
}
