//! What the kubelet and Prometheus ask: `/healthz`, `/readyz` and `/metrics`.

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

use crate::metrics::Metrics;

/// How far the operator is.
#[derive(Debug, Default)]
pub struct Health {
    /// It leads, or stands by on purpose.
    ready: AtomicBool,
}

impl Health {
    /// From now on it is ready.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Answers on `address` until the process ends.
///
/// # Errors
/// The address is taken, or not ours.
pub async fn serve(address: SocketAddr, health: Arc<Health>, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let ready = move || {
        let ready = health.ready.load(Ordering::Relaxed);
        async move { if ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting") } }
    };
    let measured = move || {
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
