//! Runs the operator: leader election, compile, enforce, guard, monitor, and a clean shutdown.
//!
//! ```text
//!  start ─► serve /healthz … ─► watch pods ─► wait for the Lease ─► list, compile, enforce, guard ─► SIGTERM:
//!                                   ▲                                        │                     finish, release Lease
//!                                   └─ also a standby, but without writes    └─► lease lost: exit, restart
//! ```
//!
//! The operator lists the facts for the compile only after it has the Lease. A watch of a standby could lag, and from old
//! facts, the new leader could restore a clearance that the previous leader has withdrawn. But a standby may watch pods,
//! because the API server checks every release.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use futures::FutureExt;
use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch as state,
};
use tracing::info;

use crate::{
    admin_server::{Health, serve},
    admission, compile, enforce, guard,
    images::{ImagePatterns, Signs},
    leader::Leadership,
    metrics::Metrics,
    monitor::{self, MonitorOptions},
    policy::ClusterVariable,
    watch::Watches,
};

/// The options of the operator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address for health and metrics.
    pub listen: SocketAddr,
    /// The service account. The Lease is in its namespace.
    pub account: admission::Operator,
    /// The holder name in the Lease: the name of the pod.
    pub identity: String,
    /// The image patterns of AI workloads.
    pub images: ImagePatterns,
    /// The optional variables that are enabled, so that expressions can read them. By default, none is.
    pub variables: BTreeSet<ClusterVariable>,
    /// The Prometheus servers of the monitors.
    pub monitors: MonitorOptions,
}

/// The reason why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster configuration was found.
    #[error("no cluster: {0}; set KUBECONFIG, or run in a pod with a service account")]
    Config(#[from] kube::config::InferConfigError),
    /// The client could not be created, or a request failed.
    #[error("the API server cannot be reached: {0}")]
    Client(#[from] kube::Error),
    /// The address for health and metrics is not available.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The signal handlers could not be installed.
    #[error("cannot receive signals: {0}")]
    Signal(std::io::Error),
    /// The lease was lost, so another operator can lead.
    #[error("the lease was lost; exiting for a restart")]
    LeaseLost,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// See the variants of [`Error`]: no cluster configuration, a failed request, an address that is not
/// available, no signal handlers, or a lost lease.
pub async fn run(options: Options) -> Result<(), Error> {
    let client = client().await?;
    let metrics = Arc::new(Metrics::default());
    let watches = Watches::new(client.clone(), Arc::clone(&metrics));
    let health = Arc::new(Health::new(Arc::clone(&watches)));
    let leadership = Leadership::new(client.clone(), &options.account.namespace, options.identity.clone());
    let shutdown = shutdown().map_err(Error::Signal)?.shared();
    let serving = serve(options.listen, Arc::clone(&health), Arc::clone(&metrics));
    let working = work(client, options.clone(), &leadership, &health, (metrics, watches), shutdown.clone());
    tokio::select! {
        served = serving => served.map_err(|source| Error::Listen { address: options.listen, source }),
        worked = working => worked,
    }
}

/// A client without automatic retries. A retry of the client waits as long as the API server requests: ten seconds for
/// an eviction that a budget forbids. The grace period of a pod could end in this time.
async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn work(
    client: Client,
    Options { account, images, variables, monitors, .. }: Options,
    leadership: &Leadership,
    health: &Health,
    (metrics, watches): (Arc<Metrics>, Arc<Watches>),
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> Result<(), Error> {
    health.set_ready();
    let (lead, leading) = state::channel(false);
    let signs = Signs { images, accelerators: account.accelerators.clone() };
    let enforcing = enforce::run(
        client.clone(),
        signs,
        Arc::clone(&metrics),
        Arc::clone(&watches),
        leading.clone(),
        shutdown.clone(),
    );
    let writing =
        write(client, account, (variables, monitors), (metrics, watches), leading.clone(), shutdown.clone());
    let standby_shutdown = async {
        shutdown.await;
        if *leading.borrow() {
            std::future::pending::<()>().await;
        }
    };
    let leadership_lost = async {
        leadership.acquire().await;
        lead.send_replace(true);
        health.set_leading();
        leadership.renew().await;
    };
    tokio::select! {
        // The lease comes first: if the process was paused until the lease expired, nothing else may run.
        biased;
        () = leadership_lost => return Err(Error::LeaseLost),
        () = standby_shutdown => {}
        // If `writing` fails, enforcement stops too, because nothing updates the Clearances.
        ended = async { tokio::try_join!(enforcing.map(Ok), writing) } => drop(ended?),
    }
    leadership.release().await;
    info!("stopped");
    Ok(())
}

/// The work of the leader besides enforcement.
async fn write(
    client: Client,
    account: admission::Operator,
    (variables, monitors): (BTreeSet<ClusterVariable>, MonitorOptions),
    (metrics, watches): (Arc<Metrics>, Arc<Watches>),
    mut leading: state::Receiver<bool>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> Result<(), Error> {
    // The wait cannot fail, because the sender lives as long as the operator.
    let _ = leading.wait_for(|leading| *leading).await;
    let hold_method = admission::HoldMethod::of(&client).await?;
    let guarding =
        guard::run(client.clone(), account, hold_method, Arc::clone(&metrics), &watches, shutdown.clone());
    if hold_method == admission::HoldMethod::Refuse {
        info!("the API server has no MutatingAdmissionPolicy v1: uncleared pods are refused, not held");
    }
    let retrying = enforce::retry_workloads::run(client.clone(), &watches, shutdown.clone());
    let compiling =
        compile::run(client.clone(), variables, Arc::clone(&metrics), Arc::clone(&watches), shutdown.clone());
    let monitoring =
        monitor::run(client.clone(), monitors, Arc::clone(&metrics), Arc::clone(&watches), shutdown.clone());
    tokio::join!(compiling, guarding, retrying, monitoring);
    Ok(())
}

fn shutdown() -> std::io::Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
    })
}
