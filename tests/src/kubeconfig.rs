//! The account of a user: a kubeconfig for programs, and a client for the test code.
//!
//! ```text
//!                     ┌─ kubeconfig ──> kubectl, helm, the operator
//! user ──> Account ───┤
//!                     └─ client() ────> the tests
//! ```

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kube::config::{AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig};
use kube::config::{NamedAuthInfo, NamedCluster, NamedContext};
use kube::{Client, Config};

use crate::people::Person;

/// The name of the cluster, the user and the context in the kubeconfig of an account, which has one of each.
const NAME: &str = "assent";

/// A user of the cluster, with credentials.
#[derive(Clone)]
pub struct Account {
    kubeconfig: PathBuf,
    config: Config,
}

impl Account {
    /// Writes the kubeconfig of a new account to `path`.
    pub async fn create(path: PathBuf, cluster: &Cluster, auth: AuthInfo) -> Result<Self> {
        let kubeconfig = kubeconfig(NAME, cluster, auth);
        let yaml = serde_saphyr::to_string(&kubeconfig).context("writing a kubeconfig as YAML")?;
        write(&path, &yaml).with_context(|| format!("writing {}", path.display()))?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("loading {}", path.display()))?;
        if cluster.server.as_ref().is_some_and(|server| server.starts_with("https://127.0.0.1:")) {
            config.proxy_url = None;
        }
        Ok(Self { kubeconfig: path, config })
    }

    /// The path of the kubeconfig with which a program acts as this user.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new client with its own connections and without a rate limit.
    pub fn client(&self) -> Result<Client> {
        Client::try_from(self.config.clone()).context("making a client")
    }
}

/// Writes a kubeconfig with one context for each pair of context name and account. The first context is the current
/// one.
pub fn write_contexts<'a>(path: &Path, accounts: impl Iterator<Item = (&'a str, &'a Account)>) -> Result<()> {
    let mut merged = Kubeconfig::default();
    for (name, account) in accounts {
        let (cluster, auth) = current(Kubeconfig::read_from(account.kubeconfig())?)?;
        merged = merged.merge(kubeconfig(name, &cluster, auth))?;
    }
    let yaml = serde_saphyr::to_string(&merged).context("writing a kubeconfig as YAML")?;
    write(path, &yaml).with_context(|| format!("writing {}", path.display()))
}

pub fn with_token(token: &str) -> AuthInfo {
    AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() }
}

/// The credentials with which the user of `auth` impersonates `person`. For [`Person::Admin`], the unchanged
/// credentials.
pub fn impersonating(auth: &AuthInfo, person: Person) -> AuthInfo {
    let mut auth = auth.clone();
    if person != Person::Admin {
        auth.impersonate = Some(person.name().to_owned());
        auth.impersonate_groups = Some(person.groups().iter().map(ToString::to_string).collect());
    }
    auth
}

/// The cluster and the user of the current context of a kubeconfig.
pub fn current(kubeconfig: Kubeconfig) -> Result<(Cluster, AuthInfo)> {
    let Kubeconfig { clusters, auth_infos, contexts, current_context, .. } = kubeconfig;
    let name = current_context.context("the kubeconfig has no current context")?;
    let context = contexts.into_iter().find(|context| context.name == name);
    let context = context
        .and_then(|context| context.context)
        .context("the kubeconfig has no entry for its current context")?;
    let cluster = clusters.into_iter().find(|cluster| cluster.name == context.cluster);
    let cluster = cluster
        .and_then(|cluster| cluster.cluster)
        .context("the kubeconfig has no entry for the cluster of its current context")?;
    let user = auth_infos.into_iter().find(|user| Some(&user.name) == context.user.as_ref());
    let user = user
        .and_then(|user| user.auth_info)
        .context("the kubeconfig has no entry for the user of its current context")?;
    Ok((cluster, user))
}

fn kubeconfig(name: &str, cluster: &Cluster, auth: AuthInfo) -> Kubeconfig {
    let context = Context { cluster: name.into(), user: Some(name.into()), ..Context::default() };
    Kubeconfig {
        api_version: Some("v1".into()),
        kind: Some("Config".into()),
        clusters: vec![NamedCluster {
            name: name.into(),
            cluster: Some(cluster.clone()),
            ..Default::default()
        }],
        auth_infos: vec![NamedAuthInfo { name: name.into(), auth_info: Some(auth), ..Default::default() }],
        contexts: vec![NamedContext { name: name.into(), context: Some(context), ..Default::default() }],
        current_context: Some(name.into()),
        ..Kubeconfig::default()
    }
}

/// Writes a file that only its owner can read, because helm warns about files that other users can read.
fn write(path: &Path, yaml: &str) -> io::Result<()> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(yaml.as_bytes())
}
