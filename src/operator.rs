//! The operator's life: lead, compile and enforce, and stop in good order.
//!
//! ```text
//!  start ─► serve /healthz … ─► watch ─► wait for the Lease ─► compile + enforce ─► SIGTERM: finish, hand over
//!                                 ▲                                  └─► lease lost: exit, and start anew
//!                                 └─ a standby knows everything, and writes nothing
//! ```

use std::{net::SocketAddr, sync::Arc};

use futures::FutureExt;
use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;

use crate::{
    compile, enforce,
    leader::Leadership,
    metrics::Metrics,
    serve::{Health, serve},
};

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// The namespace of its Lease.
    pub namespace: String,
    /// What it calls itself in the Lease: the name of its pod.
    pub identity: String,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to be found.
    #[error("no cluster: {0}; set KUBECONFIG, or run in a pod with a service account")]
    Config(#[from] kube::config::InferConfigError),
    /// The cluster cannot be talked to.
    #[error("no client for the cluster: {0}")]
    Client(#[from] kube::Error),
    /// Health and metrics cannot be served.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signal(std::io::Error),
    /// Another operator may lead by now.
    #[error("the lease was lost; starting anew")]
    LeaseLost,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// There is no cluster, the address is taken, or the lease was lost.
pub async fn run(options: Options) -> Result<(), Error> {
    let client = client().await?;
    let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
    let leadership = Leadership::new(client.clone(), &options.namespace, options.identity.clone());
    let shutdown = shutdown().map_err(Error::Signal)?.shared();
    let serving = serve(options.listen, Arc::clone(&health), Arc::clone(&metrics));
    let working = work(client, &leadership, &health, metrics, shutdown.clone());
    tokio::select! {
        served = serving => served.map_err(|source| Error::Listen { address: options.listen, source }),
        worked = working => worked,
    }
}

/// A client that does not try again by itself: it would wait as long as the API server says, ten seconds
/// for an eviction that a budget forbids, and know nothing of the grace that runs out meanwhile.
async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn work(
    client: Client,
    leadership: &Leadership,
    health: &Health,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> Result<(), Error> {
    health.set_ready();
    let (lead, leading) = watch::channel(false);
    let compiling = compile::run(client.clone(), Arc::clone(&metrics), leading.clone(), shutdown.clone());
    let enforcing = enforce::run(client, metrics, leading.clone(), shutdown.clone());
    let retiring = async {
        shutdown.await;
        if *leading.borrow() {
            std::future::pending::<()>().await;
        }
    };
    let tenure = async {
        leadership.acquire().await;
        lead.send_replace(true);
        leadership.keep().await;
    };
    tokio::select! {
        () = retiring => return Ok(()),
        _ = async { tokio::join!(compiling, enforcing) } => {}
        () = tenure => return Err(Error::LeaseLost),
    }
    leadership.release().await;
    info!("stopped");
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
