//! Runs a real Prometheus, which scrapes the series of a test each second.
//!
//! ```text
//!  test ── set ──► exporter (/metrics) ◄── each second ── Prometheus ◄── instant queries ── operator
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::{ControlPlane, Process, binaries, ports, until};

/// The file with the port of Prometheus, in the directory of a control plane. The operator needs the port when it
/// starts, and a test can start Prometheus later.
const PORT_FILE: &str = "prometheus-port";

/// The value of each series, by the text of the series, such as `spd{namespace="a"}`.
type Series = Arc<Mutex<BTreeMap<String, String>>>;

#[derive(Default)]
pub struct Additions {
    /// The address of another server that Prometheus scrapes, in the job `assent`.
    pub scraped: Option<String>,
    pub rules: Option<PathBuf>,
    pub alertmanager: Option<String>,
}

/// A Prometheus with the series of the tests.
pub struct Prometheus {
    process: Process,
    address: String,
    series: Series,
    _exporter: JoinHandle<()>,
}

impl Prometheus {
    /// The address that the Prometheus of a control plane has or will have.
    pub fn address(cluster: &ControlPlane) -> Result<String> {
        let file = cluster.directory().join(PORT_FILE);
        let port = if let Ok(port) = std::fs::read_to_string(&file) {
            port
        } else {
            let port = ports::free_port().context("no free port")?.to_string();
            std::fs::write(&file, &port)?;
            port
        };
        Ok(format!("127.0.0.1:{port}"))
    }

    /// The value of `ASSENT_PROMETHEUS` with which the operator queries this server.
    pub fn configuration(cluster: &ControlPlane) -> Result<String> {
        let address = Self::address(cluster)?;
        Ok(json!([{ "name": "default", "url": format!("http://{address}") }]).to_string())
    }

    /// The server for all tests on the shared control plane. The first call starts it.
    pub async fn shared(cluster: &ControlPlane) -> Result<&'static Self> {
        static SHARED: OnceCell<Prometheus> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(cluster)).await
    }

    /// Starts the server of a control plane.
    pub async fn start(cluster: &ControlPlane) -> Result<Self> {
        Self::start_with(cluster, &Additions::default()).await
    }

    /// Starts the server of a control plane with additional rules, targets or receivers.
    pub async fn start_with(cluster: &ControlPlane, additions: &Additions) -> Result<Self> {
        let built = binaries::built(&["prometheus"]).await?;
        let (series, address) = (Series::default(), Self::address(cluster)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let exporter = listener.local_addr()?.to_string();
        let router = axum::Router::new()
            .route("/metrics", axum::routing::get(metrics))
            .with_state(Arc::clone(&series));
        let exporting = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let directory = cluster.directory().join("prometheus");
        std::fs::create_dir_all(&directory)?;
        let (config, rules) = (directory.join("prometheus.yml"), directory.join("rules.yml"));
        std::fs::write(&config, configuration(&exporter, additions).to_string())?;
        std::fs::write(&rules, RULES)?;
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
            format!("--web.listen-address={address}"),
            "--log.level=warn".to_owned(),
        ];
        let none: [(&str, &str); 0] = [];
        let process = Process::spawn("prometheus", built.join("prometheus"), args, none, &cluster.log_dir())?;
        let prometheus = Self { process, address, series, _exporter: exporting };
        prometheus.set("ready_to_read", "1");
        prometheus.has("ready_to_read", 1).await?;
        Ok(prometheus)
    }

    /// The process, to kill and restart it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sets the value of a series, such as `spd{namespace="a"}`.
    pub fn set(&self, series: &str, value: &str) {
        self.lock().insert(series.to_owned(), value.to_owned());
    }

    /// Removes a series. Prometheus marks it as stale at its next scrape.
    pub fn remove(&self, series: &str) {
        self.lock().remove(series);
    }

    /// Waits until a query returns this number of series.
    pub async fn has(&self, query: &str, count: usize) -> Result<()> {
        until(Duration::from_secs(30), &format!("Prometheus to have {count} series of {query}"), async || {
            let answer = self.query(query).await?;
            let found = answer["data"]["result"].as_array().map_or(0, Vec::len);
            ensure!(found == count, "{answer}");
            Ok(Some(()))
        })
        .await
    }

    /// The answer to an instant query. Unlike the operator, this function adds no matcher for the namespace.
    pub async fn query(&self, query: &str) -> Result<serde_json::Value> {
        let encoded: String = query.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02X}");
            text
        });
        let path = format!("/api/v1/query?query={encoded}");
        let answer = crate::installation::get(&self.address, &path).await?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let start = body.find('{').context("no JSON in the answer")?;
        let end = body.rfind('}').context("no JSON in the answer")?;
        Ok(serde_json::from_str(&body[start..=end])?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn metrics(State(series): State<Series>) -> String {
    let series = series.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = series.iter().map(|(series, value)| format!("{series} {value}"));
    lines.chain([String::new()]).collect::<Vec<_>>().join("\n")
}

/// An alert that fires for each series of the metric `drift_alarm` with a value above 0.
const RULES: &str = "
groups:
  - name: tests
    interval: 1s
    rules:
      - { alert: CreditDrift, expr: 'drift_alarm > 0', labels: { severity: critical } }
";

/// The configuration of Prometheus, as JSON. Prometheus reads YAML, and each JSON text is valid YAML.
fn configuration(exporter: &str, additions: &Additions) -> serde_json::Value {
    let Additions { scraped, rules, alertmanager } = additions;
    let job = |name: &str, target: &str| json!({ "job_name": name, "honor_labels": name == "tests", "static_configs": [{ "targets": [target] }] });
    let jobs: Vec<_> = iter::once(job("tests", exporter))
        .chain(scraped.iter().map(|target| job("assent", target)))
        .collect();
    let rules: Vec<_> = iter::once(Path::new("rules.yml")).chain(rules.as_deref()).collect();
    let alertmanagers: Vec<_> =
        alertmanager.iter().map(|address| json!({ "static_configs": [{ "targets": [address] }] })).collect();
    json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
        "rule_files": rules,
        "alerting": { "alertmanagers": alertmanagers },
        "scrape_configs": jobs,
    })
}
