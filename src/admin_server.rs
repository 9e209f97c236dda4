//! Serves `/healthz` and `/readyz` for the kubelet, and `/metrics` for Prometheus.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use crate::{metrics::Metrics, watch::Watches};

/// The state of the operator from which [`Self::readiness`] makes the response to `/readyz`.
pub(crate) struct Health {
    /// Whether the operator has started, as a leader or as a standby.
    ready: AtomicBool,
    leading: AtomicBool,
    watches: Arc<Watches>,
}

impl Health {
    pub(crate) fn new(watches: Arc<Watches>) -> Self {
        Self { ready: AtomicBool::default(), leading: AtomicBool::default(), watches }
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_leading(&self) {
        self.leading.store(true, Ordering::Relaxed);
    }

    /// The response to `/readyz`. A leader with a broken watch is not ready, because it does not see the changes about
    /// which it must decide. A standby decides nothing, so it stays ready.
    fn readiness(&self) -> (StatusCode, String) {
        if !self.ready.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned());
        }
        let problems = self.watches.problems();
        let leads_without_watch = !problems.is_empty() && self.leading.load(Ordering::Relaxed);
        let status = if leads_without_watch { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, if problems.is_empty() { "ok".to_owned() } else { problems.join("\n") })
    }
}

/// Serves HTTP on `address` until the process ends.
///
/// # Errors
/// The address is in use, or this machine does not have it.
pub(crate) async fn serve(
    address: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> std::io::Result<()> {
    let watches = Arc::clone(&health.watches);
    let ready = move || {
        let readiness = health.readiness();
        async move { readiness }
    };
    let measured = move || {
        watches.measure();
        let text = metrics.encode();
        async move {
            let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            text.map_or_else(
                |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                |text| (kind, text).into_response(),
            )
        }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured));
    axum::serve(tokio::net::TcpListener::bind(address).await?, router).await
}
