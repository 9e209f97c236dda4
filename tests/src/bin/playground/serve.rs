//! The server of the playground.

use anyhow::{Context as _, Result};
use assent_tests::{Assent, ControlPlane, Node, Options, Person, binaries, root};
use tokio::signal::unix::{SignalKind, signal};

use crate::Nodes;
use crate::place::Place;

/// The examples and their namespaces, in which dev may do everything.
const EXAMPLES: [(&str, &str); 2] = [("credit-scorer", "lending"), ("chatbot", "helpdesk")];

/// Runs the cluster until SIGTERM or SIGINT. All processes of the cluster end with this process, even after SIGKILL.
pub async fn serve(nodes: Nodes) -> Result<()> {
    let place = Place::find()?;
    let _lock = place.lock()?;
    let (mut end, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // When the terminal closes, this process gets SIGHUP. The cluster must continue to run.
    let _ignored = signal(SignalKind::hangup())?;
    let run = async {
        let programs = tokio::task::spawn_blocking(binaries).await.context("building")??;
        let cluster =
            ControlPlane::start_with(Options { path: vec![programs], ..Options::default() }).await?;
        let _assent = Assent::install(&cluster).await?;
        let _node = match nodes {
            Nodes::Simulated => None,
            Nodes::Real => Some(Node::start(&cluster).await?),
        };
        apply_examples(&cluster).await?;
        cluster.write_contexts(&place.kubeconfig())?;
        place.set_ready(&cluster.programs())?;
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        done = run => done,
        _ = end.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn apply_examples(cluster: &ControlPlane) -> Result<()> {
    for (example, namespace) in EXAMPLES {
        let directory = root().join("examples").join(example).display().to_string();
        cluster.kubectl(Person::Admin, &["apply", "-k", &directory]).await?.ok()?;
        let bind =
            ["create", "rolebinding", "dev", "--clusterrole=cluster-admin", "--user=dev", "-n", namespace];
        cluster.kubectl(Person::Admin, &bind).await?.ok()?;
    }
    Ok(())
}
