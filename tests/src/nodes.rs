//! Creates the nodes that KWOK simulates. The pods of ordinary tests always fit on these large nodes.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

/// Creates the nodes `node-1`, `node-2`, …
pub async fn create(client: &Client, count: u32) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let nodes = (1..=count).map(node).collect::<Result<Vec<_>>>()?;
    let creations = nodes.iter().map(async |node| api.create(&PostParams::default(), node).await);
    try_join_all(creations).await.context("creating the nodes").map(drop)
}

/// The names of the nodes that are not ready for pods.
pub async fn not_ready(client: &Client) -> Result<Vec<String>> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    Ok(nodes.iter().filter(|node| !is_ready(node)).map(ResourceExt::name_any).collect())
}

fn is_ready(node: &Node) -> bool {
    let tainted = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|t| !t.is_empty());
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    !tainted
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn node(number: u32) -> Result<Node> {
    let name = format!("node-{number}");
    let capacity = json!({
        "cpu": "128", "memory": "1Ti", "ephemeral-storage": "10Ti", "pods": "10000", "nvidia.com/gpu": "8",
    });
    let node = json!({
        "metadata": {
            "name": name,
            "labels": { "type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                        "kubernetes.io/arch": "amd64", "node-role.kubernetes.io/worker": "" },
            "annotations": { "kwok.x-k8s.io/node": "fake" },
        },
        "status": {
            "capacity": capacity, "allocatable": capacity,
            "nodeInfo": { "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "kwok",
                          "kernelVersion": "kwok", "kubeProxyVersion": "", "kubeletVersion": "kwok",
                          "machineID": "", "operatingSystem": "linux", "osImage": "kwok", "systemUUID": "" },
        },
    });
    serde_json::from_value(node).context("describing a node")
}
