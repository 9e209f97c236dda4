//! The one thing a test, the demo or the benchmark holds: a cluster, and the people who use it. Whether the
//! cluster was started here or was there before makes no difference to them.
//!
//! ```text
//! ControlPlane ── processes ───> Process of each Component     none on an existing cluster
//!              ├─ people ──────> Account of each Person
//!              ├─ programs ────> kubectl, helm, …
//!              └─ directory ───> everything on disk            removed last
//! ```

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use kube::{Api, Client};
use tokio::process::Command;

use crate::command::{Output, Programs};
use crate::component::Component;
use crate::directory::Directory;
use crate::kubeconfig::{self, Account};
use crate::people::Person;
use crate::process::Process;
use crate::start::{self, Processes};

/// The name of the audit log.
pub const AUDIT_LOG: &str = "audit.jsonl";

/// What kind of control plane to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes KWOK plays; each has 128 CPUs, 1 TiB and 8 GPUs.
    pub nodes: u32,
    /// Components that are not started; without Kwok there are no nodes.
    pub without: Vec<Component>,
    /// Arguments beyond the usual, such as `(ApiServer, "--runtime-config=api/all=true")`.
    pub extra_args: Vec<(Component, String)>,
    /// Whether the API server keeps an audit log, of who asked for what and what its policies noted.
    pub audit: bool,
    /// How many requests per second each built-in controller may make.
    pub qps: u32,
    /// Directories with programs, searched first: kubectl finds its plugins there.
    pub path: Vec<PathBuf>,
    /// The minor version of Kubernetes, such as `1.30`, of which `tests/controlplane` has a module; by default the
    /// newest.
    pub kubernetes: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            without: Vec::new(),
            extra_args: Vec::new(),
            audit: false,
            qps: 1000,
            path: Vec::new(),
            kubernetes: None,
        }
    }
}

impl Options {
    /// Another minor version of Kubernetes, such as `1.30`.
    #[must_use]
    pub fn on_kubernetes(mut self, version: &str) -> Self {
        self.kubernetes = Some(version.to_owned());
        self
    }

    /// As before Kubernetes 1.36: there is no `MutatingAdmissionPolicy`.
    #[must_use]
    pub fn without_mutation(mut self) -> Self {
        let resources = ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];
        let versions = ["v1", "v1beta1", "v1alpha1"];
        let off = versions.iter().flat_map(|version| {
            resources.map(|resource| format!("admissionregistration.k8s.io/{version}/{resource}=false"))
        });
        let off = format!("--runtime-config={}", off.collect::<Vec<_>>().join(","));
        let plugin = "--disable-admission-plugins=MutatingAdmissionPolicy".to_owned();
        self.extra_args.extend([(Component::ApiServer, off), (Component::ApiServer, plugin)]);
        self
    }
}

/// A cluster and its users. Dropping it ends its processes and removes its files.
pub struct ControlPlane {
    // Fields are dropped in this order: nothing may write when the directory is removed.
    processes: Processes,
    cluster: Cluster,
    people: BTreeMap<Person, Account>,
    programs: Programs,
    directory: Directory,
}

impl ControlPlane {
    /// Starts a control plane with the default options; returns when pods can be created and will run.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a control plane; returns when pods can be created and, given nodes, will run.
    pub async fn start_with(options: Options) -> Result<Self> {
        let start::Started { processes, cluster, people, binaries, directory } =
            start::start(&options).await?;
        let programs =
            Programs { path: [options.path, vec![binaries]].concat(), home: directory.join("home") };
        Ok(Self { processes, cluster, people, programs, directory })
    }

    /// A cluster that is there already: the current context of `kubeconfig`, whose user must be allowed to
    /// impersonate, for that is how the people act. kubectl and helm come from `path` and PATH.
    pub async fn existing(kubeconfig: Kubeconfig, path: Vec<PathBuf>) -> Result<Self> {
        let (cluster, auth) = kubeconfig::current(kubeconfig)?;
        let directory = Directory::create()?;
        let mut people = BTreeMap::new();
        for person in Person::ALL {
            let file = directory.kubeconfig(person.name());
            let auth = kubeconfig::impersonating(&auth, person);
            people.insert(person, Account::create(file, &cluster, auth).await?);
        }
        let programs = Programs { path, home: directory.join("home") };
        Ok(Self { processes: Processes::new(), cluster, people, programs, directory })
    }

    /// The cluster of `KUBECONFIG` if `ASSENT_DEMO_CLUSTER=existing`, else one that is started.
    pub async fn open(options: Options) -> Result<Self> {
        if env::var_os("ASSENT_DEMO_CLUSTER").is_none_or(|cluster| cluster != "existing") {
            return Self::start_with(options).await;
        }
        let kubeconfig = Kubeconfig::from_env().context("reading the files of KUBECONFIG")?;
        let kubeconfig = kubeconfig.context("ASSENT_DEMO_CLUSTER=existing needs KUBECONFIG")?;
        Self::existing(kubeconfig, options.path).await
    }

    /// The temporary directory of everything; `log/` has what each component said.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where logs go; for processes that belong to this cluster.
    pub fn log_dir(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The audit log, one event a line.
    pub fn audit_log(&self) -> PathBuf {
        self.log_dir().join(AUDIT_LOG)
    }

    /// Where the API server answers.
    pub fn server(&self) -> &str {
        self.cluster.server.as_deref().unwrap_or_default()
    }

    /// Whether the cluster was there before; then it has no processes to kill.
    pub fn is_existing(&self) -> bool {
        self.processes.is_empty()
    }
}

/// Who uses the cluster.
impl ControlPlane {
    /// The account of `person`.
    pub fn account(&self, person: Person) -> &Account {
        &self.people[&person]
    }

    /// A file that makes a program act as `person`.
    pub fn kubeconfig(&self, person: Person) -> &Path {
        self.account(person).kubeconfig()
    }

    /// A new client that acts as `person`.
    pub fn client(&self, person: Person) -> Result<Client> {
        self.account(person).client()
    }

    /// The account of a service account that exists; its token lasts a day, or what the cluster allows.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Account> {
        self.service_account_via(namespace, name, self.server(), &format!("{namespace}.{name}")).await
    }

    /// The same, for somebody who calls itself `user` and reaches the API server at `server`, by way of a proxy.
    pub async fn service_account_via(
        &self,
        namespace: &str,
        name: &str,
        server: &str,
        user: &str,
    ) -> Result<Account> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(Person::Admin)?, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(24 * 60 * 60), ..Default::default() };
        let request = TokenRequest { spec: Some(spec), ..Default::default() };
        let answer = api.create_token_request(name, &PostParams::default(), &request).await;
        let status = answer.with_context(|| format!("asking for a token of {namespace}/{name}"))?.status;
        let token = status.and_then(|status| status.token).context("no token in the answer")?;
        let cluster = Cluster { server: Some(server.to_owned()), ..self.cluster.clone() };
        Account::create(self.directory.kubeconfig(user), &cluster, kubeconfig::with_token(&token)).await
    }

    /// The account of nobody: a client that adds no credentials to what it is given to send.
    pub async fn anonymous(&self) -> Result<Account> {
        Account::create(self.directory.kubeconfig("anonymous"), &self.cluster, AuthInfo::default()).await
    }
}

/// Programs, to use the cluster as people do.
impl ControlPlane {
    /// Runs kubectl as `person`.
    pub async fn kubectl(&self, person: Person, args: &[&str]) -> Result<Output> {
        self.run(self.account(person), "kubectl", args, None).await
    }

    /// Runs kubectl as `person` with `stdin`, for `apply -f -`.
    pub async fn kubectl_stdin(&self, person: Person, args: &[&str], stdin: &str) -> Result<Output> {
        self.run(self.account(person), "kubectl", args, Some(stdin)).await
    }

    /// Runs helm as the admin.
    pub async fn helm(&self, args: &[&str]) -> Result<Output> {
        self.run(self.account(Person::Admin), "helm", args, None).await
    }

    /// Runs any program as any account.
    pub async fn run(
        &self,
        account: &Account,
        program: &str,
        args: &[&str],
        stdin: Option<&str>,
    ) -> Result<Output> {
        self.programs.run(account.kubeconfig(), program, args, stdin).await
    }

    /// The command that would run `program`, for those who want to see its output as it comes.
    pub fn command(&self, account: &Account, program: impl AsRef<OsStr>) -> Result<Command> {
        self.programs.command(account.kubeconfig(), program)
    }
}

/// Faults; on an existing cluster, or for a component that was left out, they are errors.
impl ControlPlane {
    /// SIGKILL; returns once the process is gone.
    pub fn kill(&self, component: Component) -> Result<()> {
        self.process(component).map(Process::kill)
    }

    /// SIGSTOP: it hangs, with its connections open.
    pub fn pause(&self, component: Component) -> Result<()> {
        self.process(component)?.pause()
    }

    /// SIGCONT: it goes on where it was paused.
    pub fn resume(&self, component: Component) -> Result<()> {
        self.process(component)?.resume()
    }

    /// Runs it again with the same data and port, after SIGKILL if it still runs; returns when the API
    /// server, if that runs, is ready.
    pub async fn restart(&self, component: Component) -> Result<()> {
        self.process(component)?.restart()?;
        if self.process(Component::ApiServer)?.is_running() {
            start::api_server_ready(&self.client(Person::Admin)?, &self.processes).await?;
        }
        Ok(())
    }

    /// The process of `component`.
    pub fn process(&self, component: Component) -> Result<&Process> {
        let process = self.processes.get(&component);
        process.with_context(|| format!("{} was not started here", component.program()))
    }
}
