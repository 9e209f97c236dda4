//! Between an operator and the API server, and not to be relied on: it loses answers, invents others, ends
//! watches, and sometimes lets nothing through at all.
//!
//! ```text
//!  operator ──http──► Proxy ──https──► API server          Weather
//!                       │                                  Drizzle     few requests fail
//!                       ├─ passed on, perhaps late          Storm       many do
//!                       ├─ passed on, the answer lost       Partition   nothing passes, nothing is refused
//!                       └─ answered: 409, 429, 500, 503
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

/// How large a request may be.
const REQUEST_BYTES: usize = 4 << 20;

/// What happens to requests now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Weather {
    /// All is passed on.
    Calm,
    /// One of fifty fails.
    Drizzle,
    /// Many fail; how many of a hundred.
    Storm(u8),
    /// Nothing passes, and nothing is refused.
    Partition,
}

/// What happens to one request.
enum Fate {
    Passed,
    Late(Duration),
    AnswerLost,
    Answered(StatusCode, Option<u8>),
}

/// A proxy that answers until it is dropped.
pub struct Proxy {
    /// Where it listens.
    pub server: String,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Between {
    upstream: Client,
    weather: watch::Receiver<Weather>,
    cuts: watch::Receiver<u32>,
    dice: Arc<Mutex<Rng>>,
}

impl Proxy {
    /// A proxy to where `upstream`, which adds no credentials, leads.
    pub async fn start(upstream: Client, seed: u64) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("a port for the proxy")?;
        let server = format!("http://{}", listener.local_addr()?);
        let (weather, (cuts, _)) = (watch::Sender::new(Weather::Calm), watch::channel(0));
        let between = Between {
            upstream,
            weather: weather.subscribe(),
            cuts: cuts.subscribe(),
            dice: Arc::new(Mutex::new(Rng::with_seed(seed))),
        };
        let router = Router::new().fallback(between_the_two).with_state(between);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { server, weather, cuts, task })
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Ends every watch.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn between_the_two(State(mut between): State<Between>, request: Request) -> Response {
    between.connected().await;
    let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
    match between.fate() {
        Fate::Passed => between.pass(request, watches).await,
        Fate::Late(delay) => {
            tokio::time::sleep(delay).await;
            between.pass(request, watches).await
        }
        Fate::AnswerLost => {
            let answer = between.pass(request, false).await;
            if !watches {
                let _ = to_bytes(answer.into_body(), usize::MAX).await;
            }
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Fate::Answered(status, retry_after) => answer(status, retry_after),
    }
}

impl Between {
    async fn connected(&mut self) {
        // The sender lives as long as the proxy does.
        let _ = self.weather.wait_for(|weather| *weather != Weather::Partition).await;
    }

    fn fate(&self) -> Fate {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = match *self.weather.borrow() {
            Weather::Calm | Weather::Partition => 0,
            Weather::Drizzle => 2,
            Weather::Storm(percent) => percent,
        };
        if dice.u8(0..100) >= failing {
            return Fate::Passed;
        }
        match dice.u8(0..8) {
            0 => Fate::Answered(StatusCode::CONFLICT, None),
            1 => Fate::Answered(StatusCode::TOO_MANY_REQUESTS, None),
            2 => Fate::Answered(StatusCode::TOO_MANY_REQUESTS, Some(1)),
            3 => Fate::Answered(StatusCode::INTERNAL_SERVER_ERROR, None),
            4 | 5 => Fate::Answered(StatusCode::SERVICE_UNAVAILABLE, None),
            6 => Fate::Late(Duration::from_millis(dice.u64(50..1500))),
            _ => Fate::AnswerLost,
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

    /// A watch: silent while nothing passes, and broken off at a cut.
    fn watched(&self, body: Body) -> Body {
        let (mut cuts, between) = (self.cuts.clone(), self.clone());
        cuts.mark_unchanged();
        let told = body.into_data_stream().then(move |chunk| {
            let mut between = between.clone();
            async move {
                between.connected().await;
                chunk
            }
        });
        let broken = stream::once(async { Err::<Bytes, _>(axum::Error::new("cut")) });
        Body::from_stream(told.take_until(Box::pin(async move { cuts.changed().await })).chain(broken))
    }
}

fn answer(status: StatusCode, retry_after: Option<u8>) -> Response {
    let reason = match status {
        StatusCode::CONFLICT => "Conflict",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
        _ => "ServiceUnavailable",
    };
    let said = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the proxy says so", "reason": reason, "code": status.as_u16() });
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/json")], said.to_string()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, u16::from(seconds).into());
    }
    response
}
