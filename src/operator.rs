//! The operator's life: lead, compile and enforce, and stop in good order.
//!
//! ```text
//!  start ─► serve /healthz … ─► watch pods ─► wait for the Lease ─► list, compile, enforce, guard ─► SIGTERM:
//!                                   ▲                                        │                     finish, hand over
//!                                   └─ a standby knows them, writes nothing  └─► lease lost: exit, and start anew
//! ```
//!
//! What is compiled is listed only once the Lease is held: a watch may lag, and from old facts a standby would
//! bring back what the one before it had withdrawn. Of what it does to pods the API server judges again.

use std::{net::SocketAddr, sync::Arc};

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
    watch::Watches,
};

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// Its service account, in whose namespace its Lease is.
    pub account: admission::Operator,
    /// What it calls itself in the Lease: the name of its pod.
    pub identity: String,
    /// Which images are those of AI workloads.
    pub images: ImagePatterns,
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
    let metrics = Arc::new(Metrics::default());
    let watches = Watches::new(client.clone(), Arc::clone(&metrics));
    let health = Arc::new(Health::new(Arc::clone(&watches)));
    let leadership = Leadership::new(client.clone(), &options.account.namespace, options.identity.clone());
    let shutdown = shutdown().map_err(Error::Signal)?.shared();
    let serving = serve(options.listen, Arc::clone(&health), Arc::clone(&metrics));
    let working = work(
        client,
        options.account,
        options.images,
        &leadership,
        &health,
        (metrics, watches),
        shutdown.clone(),
    );
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
    account: admission::Operator,
    images: ImagePatterns,
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
    let writing = write(client, account, (metrics, watches), leading.clone(), shutdown.clone());
    let retiring = async {
        shutdown.await;
        if *leading.borrow() {
            std::future::pending::<()>().await;
        }
    };
    let tenure = async {
        leadership.acquire().await;
        lead.send_replace(true);
        health.set_leading();
        leadership.renew().await;
    };
    tokio::select! {
        // The lease first: who was paused until it ran out does nothing more.
        biased;
        () = tenure => return Err(Error::LeaseLost),
        () = retiring => {}
        // Who leads and cannot write must not go on enforcing what it does not compile.
        ended = async { tokio::try_join!(enforcing.map(Ok), writing) } => drop(ended?),
    }
    leadership.release().await;
    info!("stopped");
    Ok(())
}

/// What only the one that leads does, beside enforcing.
async fn write(
    client: Client,
    account: admission::Operator,
    (metrics, watches): (Arc<Metrics>, Arc<Watches>),
    mut leading: state::Receiver<bool>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> Result<(), Error> {
    // The sender lives as long as the operator does.
    let _ = leading.wait_for(|leading| *leading).await;
    let hold_method = admission::HoldMethod::of(&client).await?;
    let guarding =
        guard::run(client.clone(), account, hold_method, Arc::clone(&metrics), &watches, shutdown.clone());
    if hold_method == admission::HoldMethod::Refuse {
        info!("no MutatingAdmissionPolicy v1 here: what is not cleared is refused and not held");
    }
    let retrying = enforce::retry_workloads::run(client.clone(), &watches, shutdown.clone());
    let compiling =
        compile::run(client.clone(), Arc::clone(&metrics), Arc::clone(&watches), shutdown.clone());
    tokio::join!(compiling, guarding, retrying);
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
