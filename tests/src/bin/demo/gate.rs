//! The gate itself: who may lift it, and what else would let a pod past it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::stage::{Attempt, CREDIT_SCORER, SUPPORT_ASSISTANT, Stage, lift_gate, manifest};

/// Why only Assent lifts it.
const LIFTED_BY_ASSENT: &str = "only Assent lifts the gate";

/// Every way past the gate that does not change what runs.
pub async fn dev_attacks_the_gate(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "dev tries to get past the gate",
        "The rules are CEL in the API server itself: there is no webhook that could be down, or gone around. \
         credit-scorer runs by now; support-assistant is still held.",
    );
    let held = stage.name(&SUPPORT_ASSISTANT, true)?;
    let live = stage.name(&CREDIT_SCORER, false)?;
    let preset = async { stage.applies(&stage.dev, &preset()?).await };
    let what = "creates a pod that has the gate already, so as to be the one who removes it; it is held";
    stage.time.expect("dev", what, preset).await?;
    stage.refused(on_a_held_pod(stage, &held)?).await?;
    stage.refused(on_a_live_pod(stage, &live)).await?;
    stage.refused(on_what_the_gate_goes_by(stage)).await?;
    stage.run(&stage.dev, "kubectl delete pod preset -n lending --wait=false", None).await?.ok().map(drop)
}

fn on_a_held_pod<'a>(stage: &'a Stage<'_>, pod: &str) -> Result<Vec<Attempt<'a>>> {
    let Stage { dev, admin, .. } = stage;
    let lift = lift_gate(SUPPORT_ASSISTANT.namespace, pod);
    let unlabel = format!("kubectl label pod {pod} -n customer-service assent.dev/held-");
    let bind = format!("kubectl create --raw /api/v1/namespaces/customer-service/pods/{pod}/binding -f -");
    let node = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "node-1" } });
    let mut placed = template()?;
    placed["spec"]["nodeName"] = json!("node-1");
    let placed = pod_of(&placed, "placed", SUPPORT_ASSISTANT.namespace);
    let own = lift_gate(CREDIT_SCORER.namespace, "preset");
    Ok(vec![
        Attempt::new(dev, "removes the gate from that pod", own, LIFTED_BY_ASSENT),
        Attempt::new(dev, "removes it from a pod of support-assistant", &lift, LIFTED_BY_ASSENT),
        Attempt::new(admin, "removes it as a cluster administrator (system:masters)", lift, LIFTED_BY_ASSENT),
        Attempt::new(
            dev,
            "removes the label by which held pods are found",
            unlabel,
            "stays as long as the gate",
        ),
        Attempt::new(dev, "binds the held pod to a node, in the scheduler's place", bind, "schedulingGates")
            .with(node),
        Attempt::new(
            dev,
            "starts a pod that names its node, past the scheduler",
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
            "swaps the image of a pod that runs",
            format!("kubectl set image pod/{pod} vllm={other} -n lending"),
            "does not change in place",
        ),
        attempt(
            "adds an ephemeral container to it (kubectl debug)",
            format!("kubectl debug {pod} --image={other} -n lending"),
            "an ephemeral container is not part of what was approved",
        ),
        attempt(
            "gives it to another system",
            format!("kubectl label pod {pod} assent.dev/system=support-assistant --overwrite -n lending"),
            "label assent.dev/system of a pod does not change",
        ),
        attempt(
            "makes it nobody's",
            format!("kubectl label pod {pod} assent.dev/system- -n lending"),
            "label assent.dev/system of a pod does not change",
        ),
    ]
}

fn on_what_the_gate_goes_by<'a>(stage: &'a Stage<'_>) -> Vec<Attempt<'a>> {
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
    let written_by_assent = "are derived from approvals and written by Assent alone";
    vec![
        Attempt::new(
            dev,
            "takes the label off the namespace",
            "kubectl label namespace lending assent.dev/mode-",
            "may not take namespace lending out of governance",
        ),
        Attempt::new(
            dev,
            "sets it to something that does not enforce",
            "kubectl label namespace lending assent.dev/mode=off --overwrite",
            "is not known",
        ),
        Attempt::new(
            dev,
            "edits the Clearance, which is what the API server goes by",
            off,
            written_by_assent,
        ),
        Attempt::new(dev, "creates one", "kubectl create -f -", written_by_assent).with(clearance),
        Attempt::new(dev, "deletes it", "kubectl delete clearance clearance -n lending", written_by_assent),
        Attempt::new(admin, "edits it as a cluster administrator", off, written_by_assent),
        Attempt::new(
            dev,
            "writes into a ModelVersion's status that it is cleared",
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
