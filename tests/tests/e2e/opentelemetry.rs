//! Pods with the auto-instrumentation of OpenTelemetry. The operator of OpenTelemetry adds an agent and variables to
//! each pod. One of these variables has another value in each rollout.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, Webhook, container, digest, until};
use serde_json::{Value, json};

use Person::{Admin, Dev};

const AGENT: &str = "opentelemetry-auto-instrumentation-python";

fn agent() -> Value {
    json!({ "name": AGENT, "image": format!("otel/python@{}", digest('6')),
        "command": ["cp", "-r", "/autoinstrumentation/.", "/otel-auto-instrumentation-python"],
        "volumeMounts": [mount()] })
}

fn mount() -> Value {
    json!({ "name": AGENT, "mountPath": "/otel-auto-instrumentation-python" })
}

fn exporter() -> Value {
    json!({ "name": "OTEL_TRACES_EXPORTER", "value": "otlp" })
}

/// The container of the pod template. The operator of OpenTelemetry extends the variable `PYTHONPATH` of this
/// container.
fn scorer() -> Value {
    let mut scorer = container("1");
    let env = scorer["env"].as_array().into_iter().flatten().cloned();
    scorer["env"] = env.chain([json!({ "name": "PYTHONPATH", "value": "/app" })]).collect();
    scorer
}

/// Returns the JSON patch of the OpenTelemetry operator for a new pod of a `ReplicaSet`. The patch is empty if the pod
/// already has init containers.
fn inject(pod: &Value) -> Value {
    if pod["spec"]["initContainers"].is_array() {
        return json!([]);
    }
    let workload = &pod["metadata"]["ownerReferences"][0]["name"];
    let attributes = format!("k8s.replicaset.name={}", workload.as_str().unwrap_or_default());
    let mut scorer = pod["spec"]["containers"][0].clone();
    let env = scorer["env"].as_array().into_iter().flatten().cloned().map(|mut variable| {
        if variable["name"] == "PYTHONPATH" {
            variable["value"] = json!("/otel-auto-instrumentation-python:/app");
        }
        variable
    });
    scorer["env"] =
        env.chain([exporter(), json!({ "name": "OTEL_RESOURCE_ATTRIBUTES", "value": attributes })]).collect();
    let mut mounts = scorer["volumeMounts"].as_array().cloned().unwrap_or_default();
    mounts.push(mount());
    scorer["volumeMounts"] = json!(mounts);
    let mut volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    volumes.push(json!({ "name": AGENT, "emptyDir": { "sizeLimit": "200Mi" } }));
    json!([
        { "op": "replace", "path": "/spec/containers/0", "value": scorer },
        { "op": "add", "path": "/spec/initContainers", "value": [agent()] },
        { "op": "add", "path": "/spec/volumes", "value": volumes },
    ])
}

fn trusted_agent() -> Value {
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "TrustedSidecar", "metadata": { "name": "otel-python" },
        "spec": { "initContainers": [agent()], "volumes": [{ "name": AGENT, "emptyDir": {} }],
            "volumeMounts": [mount()], "env": [exporter()] } })
}

pub async fn an_instrumented_pod_runs_once_its_version_lets_the_added_variables_vary(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "instrumented", "high").await?;
    scene.apply(Admin, &trusted_agent()).await?;
    let _webhook = Webhook::start(cluster, &scene.namespace, inject).await?;
    scene.publish("v1", &scorer()).await?;
    let mut deployment = scene.deployment("scorer", &scorer());
    scene.apply(Dev, &deployment).await?;
    scene.held("scorer", 2).await?;
    // The TrustedSidecar trusts the agent and the variable OTEL_TRACES_EXPORTER. The values of PYTHONPATH and
    // OTEL_RESOURCE_ATTRIBUTES are neither approved nor trusted.
    until(
        Duration::from_mins(1),
        "an explanation that names both variables, and nothing that is trusted",
        async || {
            let explained = scene.assent(Dev, &["explain", "deployment/scorer"]).await?.stdout;
            let named = |text: &str| explained.contains(text);
            let differs = named("PYTHONPATH") && named("OTEL_RESOURCE_ATTRIBUTES");
            ensure!(differs && !named("OTEL_TRACES_EXPORTER") && !named(AGENT), "{explained}");
            Ok(Some(()))
        },
    )
    .await?;
    scene.approve("v1").await?;
    scene.held("scorer", 2).await?;
    let mut varying = container("1");
    varying["mayVary"] = json!({ "env": ["PYTHONPATH", "OTEL_RESOURCE_ATTRIBUTES"] });
    scene.clear("v2", &varying).await?;
    scene.running("scorer", 2).await?;
    // Each rollout creates another ReplicaSet. The value of OTEL_RESOURCE_ATTRIBUTES contains the name of this
    // ReplicaSet.
    deployment["spec"]["template"]["metadata"]["annotations"] = json!({ "example.com/rollout": "2" });
    scene.apply(Dev, &deployment).await?;
    until(SOON, "the pods of the second rollout to run", async || {
        let pods = scene.pods("scorer").await?;
        let second = |pod: &Value| pod["metadata"]["annotations"]["example.com/rollout"] == "2";
        ensure!(pods.len() == 2 && pods.iter().all(second), "{} pods", pods.len());
        Ok(Some(()))
    })
    .await?;
    scene.running("scorer", 2).await.map(drop)
}
