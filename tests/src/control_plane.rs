//! A cluster and the people who use it: a new control plane, or an existing cluster.
//!
//! ```text
//! ControlPlane ── processes ───> Process of each Component     none on an existing cluster
//!              ├─ people ──────> Account of each Person
//!              ├─ reader ──────> objects as JSON
//!              ├─ programs ────> kubectl, helm, …
//!              └─ directory ───> all files                     removed last
//! ```

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use http::Request;
use http::header::CONTENT_TYPE;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use kube::{Api, Client};
use serde_json::Value;
use tokio::process::Command;

use crate::command::{Output, Programs};
use crate::component::Component;
use crate::directory::Directory;
use crate::kubeconfig::{self, Account};
use crate::people::Person;
use crate::process::Process;
use crate::reader::Reader;
use crate::start::{self, Processes};

pub const AUDIT_LOG: &str = "audit.jsonl";

/// The options of a new control plane.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of simulated nodes. Each has 128 CPUs, 1 TiB of memory and 8 GPUs.
    pub nodes: u32,
    /// Components that do not start. Without `Kwok`, there are no simulated nodes.
    pub without: Vec<Component>,
    /// Additional arguments of components, such as `(ApiServer, "--runtime-config=api/all=true")`.
    pub extra_args: Vec<(Component, String)>,
    /// Whether the API server writes an audit log, with the requests and the audit annotations of admission policies.
    pub audit: bool,
    /// The number of requests per second that the controller manager and the scheduler may each make.
    pub qps: u32,
    /// Directories before `PATH` in the search for programs and kubectl plugins.
    pub path: Vec<PathBuf>,
    /// The minor version of Kubernetes, such as `1.30`. The Go module `tests/controlplane/kubernetes-VERSION` must
    /// exist. The default is the newest version.
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
    /// Sets the minor version of Kubernetes, such as `1.30`.
    #[must_use]
    pub fn on_kubernetes(mut self, version: &str) -> Self {
        self.kubernetes = Some(version.to_owned());
        self
    }

    /// Disables `MutatingAdmissionPolicy`, as in Kubernetes before 1.36.
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

/// A cluster and its users. On drop, its processes end and its files are removed.
pub struct ControlPlane {
    // Rust drops the fields in this order. The processes must end before the directory is removed.
    processes: Processes,
    cluster: Cluster,
    people: BTreeMap<Person, Account>,
    reader: Reader,
    programs: Programs,
    directory: Directory,
}

impl ControlPlane {
    /// Starts a control plane with the default options. Returns when a new pod can run.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a control plane. Returns when users can create pods. If there are nodes, pods can also run.
    pub async fn start_with(options: Options) -> Result<Self> {
        let start::Started { processes, cluster, people, binaries, directory } =
            start::start(&options).await?;
        let programs =
            Programs { path: [options.path, vec![binaries]].concat(), home: directory.join("home") };
        let reader = Reader::new(people[&Person::Admin].client()?);
        Ok(Self { processes, cluster, people, reader, programs, directory })
    }

    /// Uses the cluster in the current context of `kubeconfig`. The tests impersonate the people, so the user of this
    /// context needs the permission to impersonate. kubectl and helm come from `path` and `PATH`.
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
        let reader = Reader::new(people[&Person::Admin].client()?);
        Ok(Self { processes: Processes::new(), cluster, people, reader, programs, directory })
    }

    /// Uses the cluster of `KUBECONFIG` if `ASSENT_DEMO_CLUSTER=existing`, and starts a control plane otherwise.
    pub async fn open(options: Options) -> Result<Self> {
        if env::var_os("ASSENT_DEMO_CLUSTER").is_none_or(|cluster| cluster != "existing") {
            return Self::start_with(options).await;
        }
        let kubeconfig = Kubeconfig::from_env().context("reading the files of KUBECONFIG")?;
        let kubeconfig = kubeconfig.context("ASSENT_DEMO_CLUSTER=existing needs KUBECONFIG")?;
        Self::existing(kubeconfig, options.path).await
    }

    /// The temporary directory with all files. `log/` has the log of each component.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of the logs.
    pub fn log_dir(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The path of the audit log, which has one event per line.
    pub fn audit_log(&self) -> PathBuf {
        self.log_dir().join(AUDIT_LOG)
    }

    /// The URL of the API server.
    pub fn server(&self) -> &str {
        self.cluster.server.as_deref().unwrap_or_default()
    }

    /// Whether this is an existing cluster. The test cannot kill its processes, because the test did not start them.
    pub fn is_existing(&self) -> bool {
        self.processes.is_empty()
    }
}

impl ControlPlane {
    /// The account of `person`.
    pub fn account(&self, person: Person) -> &Account {
        &self.people[&person]
    }

    /// The kubeconfig of `person`.
    pub fn kubeconfig(&self, person: Person) -> &Path {
        self.account(person).kubeconfig()
    }

    /// Writes a kubeconfig with one context for each person. The current context is that of [`Person::Admin`].
    pub fn write_contexts(&self, path: &Path) -> Result<()> {
        let people = self.people.iter().map(|(person, account)| (person.name(), account));
        kubeconfig::write_contexts(path, people)
    }

    /// The directories of kubectl and of its plugins.
    pub fn programs(&self) -> Vec<&Path> {
        self.programs.path.iter().map(PathBuf::as_path).collect()
    }

    /// Reads objects as [`Person::Admin`].
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// A new client that acts as `person`.
    pub fn client(&self, person: Person) -> Result<Client> {
        self.account(person).client()
    }

    /// An [`Account`] with a new token of an existing service account. The token is valid for a day, or for less if the
    /// cluster limits it.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Account> {
        self.service_account_via(namespace, name, self.server(), &format!("{namespace}.{name}")).await
    }

    /// An [`Account`] with a new token of an existing service account. Its clients connect to the API server at the URL
    /// `server`, for example through a proxy. `user` is the name of the kubeconfig file, without its extension.
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

    /// An account whose clients send no credentials.
    pub async fn anonymous(&self) -> Result<Account> {
        Account::create(self.directory.kubeconfig("anonymous"), &self.cluster, AuthInfo::default()).await
    }
}

impl ControlPlane {
    /// Runs kubectl as `person`.
    pub async fn kubectl(&self, person: Person, args: &[&str]) -> Result<Output> {
        self.run(self.account(person), "kubectl", args, None).await
    }

    /// Runs kubectl as `person` with `stdin`, for `apply -f -`.
    pub async fn kubectl_stdin(&self, person: Person, args: &[&str], stdin: &str) -> Result<Output> {
        self.run(self.account(person), "kubectl", args, Some(stdin)).await
    }

    /// Creates an object as `person`, with the field manager `manager`. Returns the object. Sends the request without
    /// kubectl, because a kubectl process would cost a quarter of a second of CPU time.
    pub async fn create(&self, person: Person, manifest: &Value, manager: &str) -> Result<Value> {
        let created = self.post(person, manifest, &format!("fieldManager={manager}")).await?;
        created.with_context(|| format!("creating {} as {}", manifest["kind"], person.name()))
    }

    /// The object that the API server would create for `person`. If the API server refuses the request, the message of
    /// the refusal.
    pub async fn dry_run(&self, person: Person, manifest: &Value) -> Result<Result<Value, String>> {
        match self.post(person, manifest, "dryRun=All").await? {
            Ok(object) => Ok(Ok(object)),
            Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
            Err(error) => Err(error.into()),
        }
    }

    async fn post(&self, person: Person, manifest: &Value, query: &str) -> Result<kube::Result<Value>> {
        let collection = self.reader.collection(manifest).await?;
        let request = Request::post(format!("{collection}?{query}&fieldValidation=Strict"))
            .header(CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(manifest)?)?;
        Ok(self.client(person)?.request(request).await)
    }

    /// Runs helm as [`Person::Admin`].
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

    /// The command that runs `program`, for callers that read its output while it runs.
    pub fn command(&self, account: &Account, program: impl AsRef<OsStr>) -> Result<Command> {
        self.programs.command(account.kubeconfig(), program)
    }
}

/// Faults. The methods fail for components that this control plane did not start.
impl ControlPlane {
    /// Sends SIGKILL, and returns when the process is gone.
    pub fn kill(&self, component: Component) -> Result<()> {
        self.process(component).map(Process::kill)
    }

    /// Sends SIGSTOP: the process hangs and keeps its connections open.
    pub fn pause(&self, component: Component) -> Result<()> {
        self.process(component)?.pause()
    }

    /// Sends SIGCONT: the paused process continues.
    pub fn resume(&self, component: Component) -> Result<()> {
        self.process(component)?.resume()
    }

    /// Restarts a component with the same data and port. Sends SIGKILL first if the component still runs. Then waits
    /// until the API server is ready, unless the API server is down.
    pub async fn restart(&self, component: Component) -> Result<()> {
        self.process(component)?.restart()?;
        if self.process(Component::ApiServer)?.is_running() {
            start::api_server_ready(&self.client(Person::Admin)?, &self.processes).await?;
        }
        Ok(())
    }

    /// The process of `component`. Fails if this control plane did not start the component.
    pub fn process(&self, component: Component) -> Result<&Process> {
        let process = self.processes.get(&component);
        process.with_context(|| format!("{} was not started by this control plane", component.program()))
    }
}
