//! `/livez` and `/readyz` for probes, `/metrics`. Liveness never depends on the API server.

use std::convert::Infallible;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Whether the process can do its work, with a word for people if not.
pub type Ready = std::sync::Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What `/metrics` says, and of which type.
pub type Measured = (std::sync::Arc<dyn Fn() -> String + Send + Sync>, &'static str);

/// Serves until it is dropped. A port that is taken costs only this listener.
pub async fn serve(address: &str, ready: Ready, metrics: Measured) {
    let address =
        if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
    let listener = match TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(
                "routecert.adminAddress {address}: {error}; health is not served, all else goes on"
            );
            return;
        }
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let ready = std::sync::Arc::clone(&ready);
                let metrics = (std::sync::Arc::clone(&metrics.0), metrics.1);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let reply = answer(&request, &ready, &metrics);
                        async move { Ok::<_, Infallible>(reply) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = connection.await {
                        tracing::debug!("health: {error}");
                    }
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    ready: &Ready,
    (metrics, metrics_type): &Measured,
) -> Response<Full<Bytes>> {
    let mut content_type = "text/plain; charset=utf-8";
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match ready() {
            Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => {
            content_type = metrics_type;
            (StatusCode::OK, metrics())
        }
        _ => (StatusCode::NOT_FOUND, "/livez, /readyz, /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
