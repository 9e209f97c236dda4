//! A node that runs containers with the real kubelet, containerd and runc, next to the simulated nodes.
//!
//! KWOK reports at once that a container runs or has ended. Only a real kubelet shows when the container really ends.
//! The script `run-node` starts containerd and the kubelet in new process and mount namespaces.
//!
//! ```text
//! <cluster>/node/
//! ├── containerd.toml, kubelet.yaml, cni/     the configuration
//! ├── images/                                 the images, because there is no registry
//! └── run/, var/                              sockets, data
//! ```

mod config;
mod image;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::binaries::{self, controlplane};
use crate::{ControlPlane, Person, Process, ports, until};

/// The name of the node. The API server connects to the kubelet by this name, so the name must resolve.
pub const NAME: &str = "localhost";

/// The port on which the modes `serve` and `stubborn` of tests/controlplane/node/app listen.
pub const PORT: u16 = 8080;

/// The key of the taint and of the label of the node. Only pods from [`Node::place`] tolerate the taint, so no other
/// pods run on the node.
const LABEL: &str = "assent.test/real";

const APP: &str = "registry.example/app";
const MODELS: &str = "registry.example/models";
const PAUSE: &str = "registry.k8s.io/pause:3.10.2";

/// The timeout until the node is ready. A busy machine needs much less.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A running node. On drop, all its processes and containers end.
pub struct Node {
    process: Process,
    ctr: PathBuf,
    directory: PathBuf,
    /// The image of the test program with its digest: `registry.example/app@sha256:…`.
    pub image: String,
    /// The image of the test program with its tag: `registry.example/app:1`.
    pub tag: String,
    /// An image for volumes, with the file `a/config.json`.
    pub models: String,
}

/// A running container, as containerd reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The name of the pod of the container.
    pub pod: String,
    /// The name of the container.
    pub container: String,
}

impl Node {
    /// The reason why no node can run on this machine. `None` if a node can run.
    pub fn unavailable() -> Option<String> {
        possible().err().map(|error| format!("{error:#}"))
    }

    /// Starts the node, and waits until it is ready for pods.
    pub async fn start(cluster: &ControlPlane) -> Result<Self> {
        possible()?;
        let programs = binaries::built(&["node", "kubelet"]).await?;
        let directory = cluster.directory().join("node");
        for part in ["cni", "images", "run", "var"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let port = ports::free_port().context("no free port")?;
        config::write(&directory, &programs, &group(cluster)?, port)?;
        let app = fs::read(programs.join("app"))?;
        let tag = format!("{APP}:1");
        let app = image::image(
            &[&tag, PAUSE],
            &["/app"],
            &[("app", 0o755, &app), ("etc/rules", 0o644, b"approved")],
        );
        let config = br#"{"from":"image"}"#;
        let models = image::image(&[&format!("{MODELS}:1")], &[], &[("a/config.json", 0o644, config)]);
        fs::write(directory.join("images/app.tar"), app.archive)?;
        fs::write(directory.join("images/models.tar"), models.archive)?;
        let account =
            ["create", "clusterrolebinding", "nodes", "--clusterrole=system:node", "--group=system:nodes"];
        cluster.kubectl(Person::Admin, &account).await?.ok()?;
        let process = spawn(cluster, &directory, &programs)?;
        let node = Self {
            process,
            ctr: programs.join("ctr"),
            directory,
            image: format!("{APP}@{}", app.digest),
            tag,
            models: format!("{MODELS}@{}", models.digest),
        };
        node.ready(cluster).await?;
        Ok(node)
    }

    async fn ready(&self, cluster: &ControlPlane) -> Result<()> {
        until(TIMEOUT, "the node to be ready", async || {
            ensure!(self.process.is_running(), "the node ended: {}", self.log_tail());
            let get = ["get", "node", NAME, "-o=jsonpath={.status.conditions[?(@.type=='Ready')].status}"];
            Ok((cluster.kubectl(Person::Admin, &get).await?.ok()? == "True").then_some(()))
        })
        .await
        .with_context(|| self.log_tail())
    }

    fn log_tail(&self) -> String {
        let logs = self.directory.with_file_name("log");
        let tail = |name: &str| crate::process::tail(&logs.join(name), 8);
        format!("{}\n{}\n{}", self.process.log_tail(8), tail("containerd.log"), tail("kubelet.log"))
    }

    /// Changes the spec of a pod so that it is scheduled to this node.
    pub fn place(spec: &mut Value) {
        spec["nodeSelector"] = json!({ LABEL: "true" });
        spec["tolerations"] = json!([{ "key": LABEL, "operator": "Exists" }]);
    }

    /// A container that listens on [`PORT`]. In the mode `serve`, it ends after SIGTERM. In the mode `stubborn`, it
    /// ignores SIGTERM. Containers with different revisions belong to different versions.
    pub fn container(&self, mode: &str, revision: &str) -> Value {
        json!({ "name": "server", "image": self.image, "args": [mode, format!(":{PORT}"), revision] })
    }

    /// The running containers of a namespace, without the pause containers.
    pub async fn running(&self, namespace: &str) -> Result<Vec<Running>> {
        let filter = format!(
            r#"labels."io.cri-containerd.kind"==container,labels."io.kubernetes.pod.namespace"=={namespace}"#
        );
        let tasks = self.ctr(&["tasks", "ls"]).await?;
        let runs = |id: &str| tasks.lines().any(|line| line.starts_with(id) && line.ends_with("RUNNING"));
        let mut running = Vec::new();
        for id in self.ctr(&["containers", "ls", "-q", &filter]).await?.lines().filter(|id| runs(id)) {
            // The container may have ended after the list was read.
            let Ok(info) = self.ctr(&["containers", "info", id]).await else { continue };
            let info: Value = serde_json::from_str(&info)?;
            let label = |name: &str| info["Labels"][name].as_str().unwrap_or_default().to_owned();
            running.push(Running {
                pod: label("io.kubernetes.pod.name"),
                container: label("io.kubernetes.container.name"),
            });
        }
        Ok(running)
    }

    async fn ctr(&self, args: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new(&self.ctr)
            .arg("--address")
            .arg(self.directory.join("run/containerd.sock"))
            .args(["--namespace", "k8s.io"])
            .args(args)
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(output.status.success(), "ctr {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Pauses the kubelet with SIGSTOP. Containers continue to run, but nothing reports their state.
    pub fn pause_kubelet(&self) -> Result<()> {
        self.signal_kubelet("-STOP")
    }

    /// Resumes the kubelet with SIGCONT.
    pub fn resume_kubelet(&self) -> Result<()> {
        self.signal_kubelet("-CONT")
    }

    fn signal_kubelet(&self, signal: &str) -> Result<()> {
        let config = format!("--config={}", self.directory.join("kubelet.yaml").display());
        for process in fs::read_dir("/proc")?.flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mut args = line.split(|byte| *byte == 0);
            if args.next() == Some(b"kubelet") && args.any(|arg| arg == config.as_bytes()) {
                let status = Command::new("kill").arg(signal).arg(process.file_name()).status()?;
                ensure!(status.success(), "kill {signal}: {status}");
                return Ok(());
            }
        }
        bail!("no kubelet process with {config} was found")
    }
}

/// Fails with the reason if a node cannot run on this machine.
fn possible() -> Result<()> {
    ensure!(fs::metadata("/proc/self")?.uid() == 0, "a node needs root");
    for program in ["runc", "unshare", "mount"] {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&paths).any(|path| path.join(program).is_file());
        ensure!(found, "a node needs {program}, which is not in PATH");
    }
    // containerd needs overlayfs in the temporary directory, and the kubelet needs control groups. The script checks
    // both.
    let scratch = tempfile::tempdir()?;
    let script = r#"cd "$0" && mkdir lower upper work merged &&
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged &&
        groups=/sys/fs/cgroup && { [[ ! -d $groups/pids ]] || groups+=/pids; } &&
        mkdir "$groups/${0##*/}" && rmdir "$groups/${0##*/}""#;
    let unshared = ["--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script];
    let tried = Command::new("unshare").args(unshared).arg(scratch.path()).output()?;
    let said = String::from_utf8_lossy(&tried.stderr);
    ensure!(tried.status.success(), "a node needs namespaces, overlayfs and control groups: {}", said.trim());
    Ok(())
}

/// The control group of the node. It has the name of the directory of the cluster, so the script `sweep` can find and
/// remove the control group.
fn group(cluster: &ControlPlane) -> Result<String> {
    let name = cluster.directory().file_name().context("the directory has no name")?;
    Ok(name.to_string_lossy().into_owned())
}

fn spawn(cluster: &ControlPlane, directory: &Path, programs: &Path) -> Result<Process> {
    let path = |part: &str| directory.join(part).display().to_string();
    let unshare = ["--pid", "--mount", "--fork", "--kill-child", "--mount-proc"].map(str::to_owned);
    let run = [
        controlplane("run-node").display().to_string(),
        directory.display().to_string(),
        programs.display().to_string(),
        group(cluster)?,
    ];
    let kubelet = [
        format!("--config={}", path("kubelet.yaml")),
        format!("--kubeconfig={}", cluster.directory().join("kubeconfig/kubelet.yaml").display()),
        format!("--root-dir={}", path("var/kubelet")),
        format!("--cert-dir={}", path("var/pki")),
        format!("--hostname-override={NAME}"),
        format!("--node-ip={}", address()?),
        format!("--node-labels={LABEL}=true"),
    ];
    let args = unshare.into_iter().chain(run).chain(kubelet);
    Process::spawn("node", "unshare", args, [("", ""); 0], &cluster.log_dir())
}

/// An address of this machine that is not a loopback address. The kubelet refuses loopback addresses.
fn address() -> Result<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Connecting a UDP socket sends nothing.
    socket.connect("192.0.2.1:9").context("a node needs a network interface with a default route")?;
    Ok(socket.local_addr()?.ip())
}
