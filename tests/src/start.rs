//! Starts a control plane and waits until a new pod can run.
//!
//! If a process ends during the start, the error contains the last lines of its log.
//!
//! ```text
//! keys, tokens ──> etcd, API server ──> /readyz ──> other components, nodes ──> ready nodes, default service account
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::Cluster;
use kube::{Api, Client};

use crate::binaries;
use crate::certificates::Certificates;
use crate::component::Component;
use crate::control_plane::Options;
use crate::directory::Directory;
use crate::kubeconfig::{Account, with_token};
use crate::node;
use crate::nodes;
use crate::people::{Person, User, token_file};
use crate::ports::Ports;
use crate::process::Process;
use crate::setup::Setup;
use crate::wait::until;

/// The timeout of each step. A busy machine needs much less.
const TIMEOUT: Duration = Duration::from_secs(90);

pub type Processes = BTreeMap<Component, Process>;

pub struct Started {
    pub processes: Processes,
    pub cluster: Cluster,
    pub people: BTreeMap<Person, Account>,
    pub binaries: PathBuf,
    pub directory: Directory,
}

pub async fn start(options: &Options) -> Result<Started> {
    let binaries = binaries::directory().await?;
    let kubernetes = match &options.kubernetes {
        None => binaries.clone(),
        Some(version) => binaries::built(&[&format!("kubernetes-{version}")]).await?,
    };
    let directory = Directory::create()?;
    let certificates = Certificates::create(&directory.join("pki"))?;
    let ports = Ports::pick()?;
    let cluster = Cluster {
        server: Some(format!("https://127.0.0.1:{}", ports.api_server)),
        certificate_authority: Some(certificates.ca.display().to_string()),
        ..Cluster::default()
    };
    let people = create_users(&directory, &cluster).await?;
    let setup = Setup {
        binaries: &binaries,
        kubernetes: &kubernetes,
        directory: &directory,
        certificates: &certificates,
        ports: &ports,
        options,
    };
    let processes = run(&setup, &people[&Person::Admin].client()?).await?;
    Ok(Started { processes, cluster, people, binaries, directory })
}

async fn run(setup: &Setup<'_>, client: &Client) -> Result<Processes> {
    let mut processes = Processes::new();
    for component in [Component::Etcd, Component::ApiServer] {
        processes.insert(component, setup.spawn(component)?);
    }
    api_server_ready(client, &processes).await?;
    for component in [Component::ControllerManager, Component::Scheduler, Component::Kwok] {
        if !setup.options.without.contains(&component) {
            processes.insert(component, setup.spawn(component)?);
        }
    }
    let populate = populate(client, &processes, setup.options.nodes);
    unless_one_ends(&processes, populate).await?;
    Ok(processes)
}

/// Waits until the API server is ready. Fails if a process of the control plane ends.
pub async fn api_server_ready(client: &Client, processes: &Processes) -> Result<()> {
    let ready = async || {
        // `/readyz` may report an old state of etcd. A read of an object proves that etcd responds.
        for path in ["/readyz", "/api/v1/namespaces/default"] {
            client.request_text(http::Request::get(path).body(Vec::new())?).await?;
        }
        Ok(Some(()))
    };
    unless_one_ends(processes, until(TIMEOUT, "the API server to be ready", ready)).await
}

/// Creates the nodes, if kwok runs. If the controllers run, waits until the nodes are ready and the default service
/// account exists, because a pod needs both.
async fn populate(client: &Client, processes: &Processes, count: u32) -> Result<()> {
    let nodes_live = processes.contains_key(&Component::Kwok);
    if nodes_live {
        nodes::create(client, count).await?;
    }
    if !processes.contains_key(&Component::ControllerManager) {
        return Ok(());
    }
    let api: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let account = async || Ok(api.get_opt("default").await?);
    until(TIMEOUT, "the service account of the default namespace", account).await?;
    if nodes_live {
        let ready = async || match nodes::not_ready(client).await?.as_slice() {
            [] => Ok(Some(())),
            [first, ..] => bail!("{first} is not ready"),
        };
        until(TIMEOUT, "the nodes", ready).await?;
    }
    Ok(())
}

/// Writes the token file, and a kubeconfig for each person, each component and the kubelet.
async fn create_users(directory: &Directory, cluster: &Cluster) -> Result<BTreeMap<Person, Account>> {
    let mut users = Vec::new();
    let mut people = BTreeMap::new();
    for person in Person::ALL {
        let user = User::new(person.name(), person.groups())?;
        let file = directory.kubeconfig(person.name());
        people.insert(person, Account::create(file, cluster, with_token(&user.token)).await?);
        users.push(user);
    }
    for component in Component::ALL {
        let Some((name, groups)) = component.user() else { continue };
        let user = User::new(name, groups)?;
        let file = directory.kubeconfig(component.program());
        Account::create(file, cluster, with_token(&user.token)).await?;
        users.push(user);
    }
    let kubelet = User::new(&format!("system:node:{}", node::NAME), &["system:nodes"])?;
    Account::create(directory.kubeconfig("kubelet"), cluster, with_token(&kubelet.token)).await?;
    users.push(kubelet);
    let file = directory.join("pki/tokens.csv");
    fs::write(&file, token_file(&users)).with_context(|| format!("writing {}", file.display()))?;
    Ok(people)
}

/// Returns the result of `work`. Fails as soon as a process ends, with the last lines of its log.
async fn unless_one_ends<T>(processes: &Processes, work: impl Future<Output = Result<T>>) -> Result<T> {
    let ended = async {
        loop {
            if let Some(process) = processes.values().find(|process| !process.is_running()) {
                bail!("{} ended. The end of its log:\n{}", process.name(), process.log_tail(20));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        result = work => result,
        failure = ended => failure,
    }
}
