//! Runs a real Prometheus and a real Alertmanager with the rules and the routes of `examples/alerting`. A server of the
//! test receives the alerts. In the webhook of each route, the path of the URL is the name of the receiver.
//!
//! ```text
//!  operator (/metrics) ◄── Prometheus ── alerts ──► Alertmanager ── webhook ──► Receiver
//! ```

use anyhow::{Context, Result, ensure};
use axum::extract::{Path as UrlPath, State};
use axum::{Json, Router, routing::post};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::prometheus::{Additions, Prometheus};
use crate::{Assent, ControlPlane, Process, SOON, binaries, installation::root, ports, until};

/// The received alerts, by the name of the receiver, such as `on-call`.
type Received = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

/// A Prometheus, an Alertmanager and a receiver.
pub struct Alerting {
    prometheus: Prometheus,
    _alertmanager: Process,
    collected: Received,
    receiving: JoinHandle<()>,
}

impl Alerting {
    /// Starts the three servers. Prometheus reads the metrics of `assent` each second.
    pub async fn start(cluster: &ControlPlane, assent: &Assent) -> Result<Self> {
        let built = binaries::built(&["alertmanager"]).await?;
        let directory = cluster.directory().join("alerting");
        std::fs::create_dir_all(&directory)?;
        let (collected, address_of_receiver, receiving) = receiver().await?;
        let routes = directory.join("alertmanager.yaml");
        write_routes(&routes, &address_of_receiver)?;
        let check =
            std::process::Command::new(built.join("amtool")).arg("check-config").arg(&routes).output()?;
        ensure!(check.status.success(), "amtool check-config: {check:?}");
        let none: [(&str, &str); 0] = [];
        let port = ports::free_port().context("no free port")?;
        let address = format!("127.0.0.1:{port}");
        let args = [
            format!("--config.file={}", routes.display()),
            format!("--storage.path={}", directory.join("alertmanager").display()),
            format!("--web.listen-address={address}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let program = built.join("alertmanager");
        let alertmanager = Process::spawn("alertmanager", program, args, none, &cluster.log_dir())?;
        let additions = Additions {
            scraped: Some(assent.address.clone()),
            rules: Some(root().join("examples/alerting/rules.yaml")),
            alertmanager: Some(address),
        };
        let prometheus = Prometheus::start_with(cluster, &additions).await?;
        Ok(Self { prometheus, _alertmanager: alertmanager, collected, receiving })
    }

    /// The Prometheus server. A test can query it and add series to it.
    pub fn prometheus(&self) -> &Prometheus {
        &self.prometheus
    }

    /// Waits until `receiver` has an alert with this name. Returns the alert.
    pub async fn received(&self, receiver: &str, alert: &str) -> Result<Value> {
        until(SOON, &format!("alert {alert} at {receiver}"), async || {
            let collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
            let alerts = collected.get(receiver).into_iter().flatten();
            Ok(alerts.into_iter().find(|found| found["labels"]["alertname"] == alert).cloned())
        })
        .await
    }
}

impl Drop for Alerting {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

/// Starts the server that receives the alerts. Returns the map that collects the alerts, the address of the server, and
/// the task of the server.
async fn receiver() -> Result<(Received, String, JoinHandle<()>)> {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let router = Router::new().route("/{receiver}", post(receive)).with_state(Arc::clone(&received));
    let receiving = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok((received, address, receiving))
}

async fn receive(
    State(collected): State<Received>,
    UrlPath(receiver): UrlPath<String>,
    Json(body): Json<Value>,
) {
    let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
    let firing = alerts.into_iter().filter(|alert| alert["status"] == "firing");
    collected.lock().unwrap_or_else(PoisonError::into_inner).entry(receiver).or_default().extend(firing);
}

/// Writes the routes of the example, with the address `receiver` and shorter waits.
fn write_routes(to: &Path, receiver: &str) -> Result<()> {
    let example = std::fs::read_to_string(root().join("examples/alerting/alertmanager.yaml"))?;
    let own = example.replace("https://alerts.example.org", &format!("http://{receiver}"));
    ensure!(own != example, "the example has another address");
    let fast =
        own.replace("group_wait: 10s", "group_wait: 1s").replace("group_interval: 1m", "group_interval: 1s");
    Ok(std::fs::write(to, fast)?)
}
