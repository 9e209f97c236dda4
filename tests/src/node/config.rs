//! The configuration of the kubelet, containerd and the pod network.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{LABEL, PAUSE};

/// Writes the configuration files of a node to `directory`. `group` is the parent of the control groups of all pods on
/// the node. `port` is the port of the kubelet, and must be unique on this machine.
pub fn write(directory: &Path, programs: &Path, group: &str, port: u16) -> Result<()> {
    fs::write(directory.join("containerd.toml"), containerd(directory, programs))?;
    fs::write(directory.join("kubelet.yaml"), kubelet(directory, group, port).to_string())?;
    fs::write(directory.join("cni/10-node.conflist"), network(directory, port).to_string())?;
    Ok(())
}

fn containerd(directory: &Path, programs: &Path) -> String {
    let (directory, programs) = (directory.display(), programs.display());
    format!(
        r#"version = 3
root = "{directory}/var/containerd"
state = "{directory}/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.image-verifier.v1.bindir"]
[grpc]
  address = "{directory}/run/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
  # The OOM score of the pause container needs CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{programs}"]
  conf_dir = "{directory}/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"#
    )
}

/// The configuration of the kubelet. The kubelet accepts cgroup v1, and needs neither iptables nor systemd. It never
/// removes images, because no registry can deliver them again.
fn kubelet(directory: &Path, group: &str, port: u16) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{group}"), "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{}/run/containerd.sock", directory.display()),
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "address": "127.0.0.1", "port": port, "healthzPort": 0, "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false, "resolvConf": "",
        "evictionHard": { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                          "nodefs.inodesFree": "1%" },
        "imageGCHighThresholdPercent": 100,
        "registerWithTaints": [{ "key": LABEL, "value": "true", "effect": "NoSchedule" }],
    })
}

/// The configuration of the pod network. The subnet depends on the port, so two nodes on one machine have different
/// subnets.
fn network(directory: &Path, port: u16) -> Value {
    let number = port - 20_000;
    let subnet = format!("10.{}.{}.0/24", 100 + number / 256, number % 256);
    json!({ "cniVersion": "1.0.0", "name": "node", "plugins": [{ "type": "ptp", "ipMasq": false,
        "ipam": { "type": "host-local", "dataDir": directory.join("run/ipam"),
                  "ranges": [[{ "subnet": subnet }]], "routes": [{ "dst": "0.0.0.0/0" }] } }] })
}
