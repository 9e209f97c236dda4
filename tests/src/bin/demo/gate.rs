//! Step: attempts to remove or bypass the gate.

use anyhow::Result;
use serde_json::{Value, json};

use crate::stage::{Attempt, CREDIT_SCORER, SUPPORT_ASSISTANT, Stage, manifest, remove_gate};

/// A part of the message with which the API server refuses to remove the gate.
const LIFTED_BY_ASSENT: &str = "only Assent lifts the gate";

/// Tries to bypass the gate on a held pod and on a running pod. Then tries to change the namespace label, the Clearance
/// and a status.
pub async fn remove_the_gate(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "dev tries to bypass the gate",
        "The rules are CEL in the API server itself. There is no webhook that can be down or bypassed. At this point \
         credit-scorer runs, and support-assistant is still held.",
    );
    let held = stage.pod_name(&SUPPORT_ASSISTANT, true)?;
    let live = stage.pod_name(&CREDIT_SCORER, false)?;
    let preset = async { stage.apply(&stage.dev, &preset()?).await };
    let what = "creates a pod whose manifest already contains the gate";
    stage.time.expect("dev", what, preset).await?;
    stage.expect_refusals(on_a_held_pod(stage, &held)?).await?;
    stage.expect_refusals(on_a_live_pod(stage, &live)).await?;
    stage.expect_refusals(on_the_settings(stage)).await?;
    stage.run(&stage.dev, "kubectl delete pod preset -n lending --wait=false", None).await?.ok().map(drop)
}

fn on_a_held_pod<'a>(stage: &'a Stage<'_>, pod: &str) -> Result<Vec<Attempt<'a>>> {
    let Stage { dev, admin, .. } = stage;
    let lift = remove_gate(SUPPORT_ASSISTANT.namespace, pod);
    let unlabel = format!("kubectl label pod {pod} -n customer-service assent.dev/held-");
    let bind = format!("kubectl create --raw /api/v1/namespaces/customer-service/pods/{pod}/binding -f -");
    let node = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "node-1" } });
    let mut placed = template()?;
    placed["spec"]["nodeName"] = json!("node-1");
    let placed = pod_of(&placed, "placed", SUPPORT_ASSISTANT.namespace);
    let own = remove_gate(CREDIT_SCORER.namespace, "preset");
    Ok(vec![
        Attempt::new(dev, "removes the gate from this pod", own, LIFTED_BY_ASSENT),
        Attempt::new(dev, "removes the gate from a pod of support-assistant", &lift, LIFTED_BY_ASSENT),
        Attempt::new(
            admin,
            "removes the same gate as a cluster administrator (system:masters)",
            lift,
            LIFTED_BY_ASSENT,
        ),
        Attempt::new(
            dev,
            "removes the label by which Assent finds held pods",
            unlabel,
            "stays as long as the gate",
        ),
        Attempt::new(dev, "binds the held pod to a node, in place of the scheduler", bind, "schedulingGates")
            .with(node),
        Attempt::new(
            dev,
            "creates a pod with spec.nodeName, to skip the scheduler",
            "kubectl create -f -",
            "sets spec.nodeName and is not cleared",
        )
        .with(placed),
    ])
}

fn on_a_live_pod<'a>(stage: &'a Stage<'_>, pod: &str) -> Vec<Attempt<'a>> {
    let other = "registry.example/other-model:latest";
    let attempt = |title, command: String, because| Attempt::new(&stage.dev, title, command, because);
    vec![
        attempt(
            "changes the image of a running pod",
            format!("kubectl set image pod/{pod} vllm={other} -n lending"),
            "does not change in place",
        ),
        attempt(
            "adds an ephemeral container to it (kubectl debug)",
            format!("kubectl debug {pod} --image={other} -n lending"),
            "an ephemeral container is not part of what was approved",
        ),
        attempt(
            "changes the label that names its AI system",
            format!("kubectl label pod {pod} assent.dev/system=support-assistant --overwrite -n lending"),
            "label assent.dev/system of a pod does not change",
        ),
        attempt(
            "removes that label",
            format!("kubectl label pod {pod} assent.dev/system- -n lending"),
            "label assent.dev/system of a pod does not change",
        ),
    ]
}

fn on_the_settings<'a>(stage: &'a Stage<'_>) -> Vec<Attempt<'a>> {
    let Stage { dev, admin, .. } = stage;
    let off =
        "kubectl patch clearance clearance -n lending --type=merge -p '{\"spec\":{\"mode\":\"audit\"}}'";
    let clearance = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Clearance",
        "metadata": { "name": "clearance", "namespace": CREDIT_SCORER.namespace }, "spec": { "mode": "audit" } });
    let cleared = json!({ "status": { "conditions": [{ "type": "Cleared", "status": "True", "reason": "Cleared",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }] } });
    let status = format!(
        "kubectl patch modelversion support-assistant-2026-09 -n customer-service --subresource=status \
         --type=merge -p '{cleared}'"
    );
    let written_by_assent = "are derived from approvals and written by Assent only";
    vec![
        Attempt::new(
            dev,
            "removes the label assent.dev/mode from the namespace",
            "kubectl label namespace lending assent.dev/mode-",
            "may not end the governance of namespace lending",
        ),
        Attempt::new(
            dev,
            "sets the label to an unknown mode",
            "kubectl label namespace lending assent.dev/mode=off --overwrite",
            "is not known",
        ),
        Attempt::new(dev, "edits the Clearance, which the admission policies read", off, written_by_assent),
        Attempt::new(dev, "creates a Clearance", "kubectl create -f -", written_by_assent).with(clearance),
        Attempt::new(
            dev,
            "deletes the Clearance",
            "kubectl delete clearance clearance -n lending",
            written_by_assent,
        ),
        Attempt::new(admin, "edits the Clearance as a cluster administrator", off, written_by_assent),
        Attempt::new(
            dev,
            "sets the condition Cleared in the status of a ModelVersion",
            status,
            written_by_assent,
        ),
    ]
}

fn template() -> Result<Value> {
    let deployment = manifest(&format!("{}/deployment.yaml", SUPPORT_ASSISTANT.example));
    Ok(deployment?["spec"]["template"].take())
}

fn preset() -> Result<Value> {
    let mut template = template()?;
    template["spec"]["schedulingGates"] = json!([{ "name": assent::api::GATE }]);
    Ok(pod_of(&template, "preset", CREDIT_SCORER.namespace))
}

fn pod_of(template: &Value, name: &str, namespace: &str) -> Value {
    let mut pod = template.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["namespace"] = json!(namespace);
    pod
}
