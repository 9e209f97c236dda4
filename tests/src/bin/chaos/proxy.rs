//! An unreliable proxy between an operator and the API server. It delays requests, loses responses, returns errors,
//! closes watches, and can stop all traffic.
//!
//! ```text
//!  operator ── http ──► Proxy ─┬─ passes the request, perhaps late ────────► API server
//!                              ├─ passes the request, loses the response ──► API server
//!                              └─ answers with 409, 429, 500 or 503
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use fastrand::Rng;
use futures::{StreamExt as _, stream};
use http::{StatusCode, header};
use kube::Client;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The maximum size of the body of a request.
const REQUEST_BYTES: usize = 4 << 20;

/// The current treatment of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Traffic {
    /// All requests pass.
    Normal,
    /// 2 % of requests fail or are late.
    FewErrors,
    /// This percentage of requests fails or is late.
    ManyErrors(u8),
    /// No data passes, and connections stay open.
    Blocked,
}

/// The treatment of one request.
enum Outcome {
    Pass,
    PassLate(Duration),
    LoseAnswer,
    Answer(StatusCode, Option<u8>),
}

pub struct Proxy {
    pub server: String,
    traffic: watch::Sender<Traffic>,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Relay {
    upstream: Client,
    traffic: watch::Receiver<Traffic>,
    cuts: watch::Receiver<u32>,
    rng: Arc<Mutex<Rng>>,
}

impl Proxy {
    /// Starts a proxy to the API server of `upstream`, a client without credentials.
    pub async fn start(upstream: Client, seed: u64) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("a port for the proxy")?;
        let server = format!("http://{}", listener.local_addr()?);
        let (traffic, (cuts, _)) = (watch::Sender::new(Traffic::Normal), watch::channel(0));
        let relay = Relay {
            upstream,
            traffic: traffic.subscribe(),
            cuts: cuts.subscribe(),
            rng: Arc::new(Mutex::new(Rng::with_seed(seed))),
        };
        let router = Router::new().fallback(handle).with_state(relay);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { server, traffic, cuts, task })
    }

    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }

    /// Closes all open watches.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(State(mut relay): State<Relay>, request: Request) -> Response {
    relay.connected().await;
    let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
    match relay.outcome() {
        Outcome::Pass => relay.pass(request, watches).await,
        Outcome::PassLate(delay) => {
            tokio::time::sleep(delay).await;
            relay.pass(request, watches).await
        }
        Outcome::LoseAnswer => {
            let answer = relay.pass(request, false).await;
            if !watches {
                let _ = to_bytes(answer.into_body(), usize::MAX).await;
            }
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Outcome::Answer(status, retry_after) => answer(status, retry_after),
    }
}

impl Relay {
    async fn connected(&mut self) {
        // `wait_for` fails only if the proxy was dropped.
        let _ = self.traffic.wait_for(|traffic| *traffic != Traffic::Blocked).await;
    }

    fn outcome(&self) -> Outcome {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = match *self.traffic.borrow() {
            Traffic::Normal | Traffic::Blocked => 0,
            Traffic::FewErrors => 2,
            Traffic::ManyErrors(percent) => percent,
        };
        if rng.u8(0..100) >= failing {
            return Outcome::Pass;
        }
        match rng.u8(0..8) {
            0 => Outcome::Answer(StatusCode::CONFLICT, None),
            1 => Outcome::Answer(StatusCode::TOO_MANY_REQUESTS, None),
            2 => Outcome::Answer(StatusCode::TOO_MANY_REQUESTS, Some(1)),
            3 => Outcome::Answer(StatusCode::INTERNAL_SERVER_ERROR, None),
            4 | 5 => Outcome::Answer(StatusCode::SERVICE_UNAVAILABLE, None),
            6 => Outcome::PassLate(Duration::from_millis(rng.u64(50..1500))),
            _ => Outcome::LoseAnswer,
        }
    }

    async fn pass(&self, request: Request, watches: bool) -> Response {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(header::HOST);
        let Ok(body) = to_bytes(body, REQUEST_BYTES).await else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let request = Request::from_parts(parts, kube::client::Body::from(body));
        match self.upstream.send(request).await {
            Ok(response) => {
                let response = response.map(Body::new);
                if watches { response.map(|body| self.watched(body)) } else { response }
            }
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    }

    /// The body of the response to a watch. The body delivers nothing while traffic is blocked. It ends with an error
    /// when [`Proxy::cut`] is called or the API server ends the watch.
    fn watched(&self, body: Body) -> Body {
        let (mut cuts, relay) = (self.cuts.clone(), self.clone());
        cuts.mark_unchanged();
        let chunks = body.into_data_stream().then(move |chunk| {
            let mut relay = relay.clone();
            async move {
                relay.connected().await;
                chunk
            }
        });
        let broken = stream::once(async { Err::<Bytes, _>(axum::Error::new("cut")) });
        Body::from_stream(chunks.take_until(Box::pin(async move { cuts.changed().await })).chain(broken))
    }
}

fn answer(status: StatusCode, retry_after: Option<u8>) -> Response {
    let reason = match status {
        StatusCode::CONFLICT => "Conflict",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
        _ => "ServiceUnavailable",
    };
    let status_body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "an error of the chaos proxy", "reason": reason, "code": status.as_u16() });
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/json")], status_body.to_string()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, u16::from(seconds).into());
    }
    response
}
