//! The command lines of all components. They are in one file, because they must agree on ports, keys and files.
//!
//! ```text
//! binaries, directory, certificates, ports, options ──> Setup ── spawn(Component) ──> Process
//! ```

use std::path::Path;

use anyhow::Result;

use crate::binaries::controlplane;
use crate::certificates::Certificates;
use crate::component::Component;
use crate::control_plane::{AUDIT_LOG, Options};
use crate::directory::Directory;
use crate::ports::Ports;
use crate::process::Process;

pub struct Setup<'a> {
    pub binaries: &'a Path,
    /// The directory of the programs of Kubernetes: API server, controller manager and scheduler.
    pub kubernetes: &'a Path,
    pub directory: &'a Directory,
    pub certificates: &'a Certificates,
    pub ports: &'a Ports,
    pub options: &'a Options,
}

impl Setup<'_> {
    pub fn spawn(&self, component: Component) -> Result<Process> {
        let name = component.program();
        // Without this variable, kwok also reads ~/.kwok/kwok.yaml.
        let envs = [("KWOK_WORKDIR", self.directory.join("home"))];
        let log = self.directory.join("log");
        let directory = if component.is_kubernetes() { self.kubernetes } else { self.binaries };
        Process::spawn(name, directory.join(name), self.args(component), envs, &log)
    }

    /// The arguments of `component`. `extra_args` of the options come last, so that they override earlier arguments.
    fn args(&self, component: Component) -> Vec<String> {
        let mut args = match component {
            Component::Etcd => self.etcd(),
            Component::ApiServer if self.options.audit => [self.api_server(), self.audit()].concat(),
            Component::ApiServer => self.api_server(),
            Component::ControllerManager => self.controller_manager(),
            Component::Scheduler => self.scheduler(),
            Component::Kwok => self.kwok(),
        };
        let extra = self.options.extra_args.iter().filter(|(of, _)| *of == component);
        args.extend(extra.map(|(_, arg)| arg.clone()));
        args
    }

    fn etcd(&self) -> Vec<String> {
        let Ports { etcd, etcd_peer, .. } = self.ports;
        vec![
            format!("--data-dir={}", self.directory.join("etcd").display()),
            format!("--listen-client-urls=http://127.0.0.1:{etcd}"),
            format!("--advertise-client-urls=http://127.0.0.1:{etcd}"),
            format!("--listen-peer-urls=http://127.0.0.1:{etcd_peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{etcd_peer}"),
            format!("--initial-cluster=default=http://127.0.0.1:{etcd_peer}"),
            // The data must survive the end of etcd, but not a crash of the machine.
            "--unsafe-no-fsync".into(),
            // A single member needs no long election timeout.
            "--heartbeat-interval=20".into(),
            "--election-timeout=200".into(),
            "--quota-backend-bytes=8589934592".into(),
            "--log-level=warn".into(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let Ports { etcd, api_server, .. } = self.ports;
        let keys = self.certificates;
        vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={api_server}"),
            // No client uses this address. Without this flag, the API server does not start on a machine without a
            // default route.
            "--advertise-address=192.0.2.1".into(),
            format!("--tls-cert-file={}", keys.server.display()),
            format!("--tls-private-key-file={}", keys.server_key.display()),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-signing-key-file={}", keys.service_account_key.display()),
            format!("--service-account-key-file={}", keys.service_account_public_key.display()),
            format!("--token-auth-file={}", self.directory.join("pki/tokens.csv").display()),
            "--authorization-mode=RBAC".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--allow-privileged".into(),
            "--profiling=false".into(),
        ]
    }

    /// The arguments for an audit log of create, update, patch and delete requests, without the content of the objects.
    fn audit(&self) -> Vec<String> {
        let (policy, log) = (controlplane("audit.yaml"), self.directory.join("log").join(AUDIT_LOG));
        vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", log.display()),
            "--audit-log-mode=blocking".into(),
        ]
    }

    fn controller_manager(&self) -> Vec<String> {
        let key = self.certificates.service_account_key.display();
        let mut args = self.client(Component::ControllerManager);
        args.extend([
            "--use-service-account-credentials".into(),
            format!("--service-account-private-key-file={key}"),
            format!("--root-ca-file={}", self.certificates.ca.display()),
            // On a busy machine, late heartbeats must not make a node `NotReady`.
            "--node-monitor-grace-period=10m".into(),
        ]);
        // The built-in controllers work on many objects at the same time, so that they do not limit a benchmark.
        let syncs = ["deployment", "replicaset", "statefulset", "job", "cron-job", "namespace", "gc"];
        args.extend(syncs.map(|controller| format!("--concurrent-{controller}-syncs=20")));
        args
    }

    fn scheduler(&self) -> Vec<String> {
        self.client(Component::Scheduler)
    }

    /// The common arguments of the controller manager and the scheduler.
    fn client(&self, component: Component) -> Vec<String> {
        let qps = self.options.qps;
        vec![
            format!("--kubeconfig={}", self.kubeconfig(component)),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            format!("--kube-api-qps={qps}"),
            format!("--kube-api-burst={}", qps * 2),
        ]
    }

    fn kwok(&self) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.kubeconfig(Component::Kwok)),
            format!("--config={}", controlplane("stages.yaml").display()),
        ]
    }

    fn kubeconfig(&self, component: Component) -> String {
        self.directory.kubeconfig(component.program()).display().to_string()
    }
}
