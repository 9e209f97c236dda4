//! Requirements that governance writes as expressions in a `RiskLevel`.
//!
//! If all expressions are true, a version meets the requirements. If an expression is false or fails, the version is
//! withheld. If an expression is invalid, the level is not ready, and no version of this level may run.

use std::time::Instant;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, until};
use serde_json::{Value, json};

use Person::{Admin, Dev};

async fn scene<'a>(cluster: &'a ControlPlane, name: &str, requirements: &Value) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "minimal").await?;
    require(&scene, requirements).await?;
    scene.apply(Admin, &scene.system(&scene.namespace)).await?;
    scene.publish("v1", &container("1")).await?;
    Ok(scene)
}

async fn require(scene: &Scenario<'_>, requirements: &Value) -> Result<()> {
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "onLoss": { "gracePeriodSeconds": 10 }, "requirements": requirements } });
    scene.apply(Admin, &level).await.map(drop)
}

fn requirement(name: &str, expression: &str) -> Value {
    json!({ "name": name, "expression": expression, "message": format!("see the rule {name}") })
}

async fn withheld(scene: &Scenario<'_>, version: &str, reason: &str) -> Result<String> {
    scene.condition("modelversion", version, "Cleared", "False", reason).await
}

pub async fn a_version_runs_only_while_it_meets_the_expressions_of_its_level(
    cluster: &ControlPlane,
) -> Result<()> {
    let registry = r#"version.spec.runtime.containers.all(c, c.image.startsWith("registry.example/"))"#;
    let region = r#"namespaceObject.metadata.labels["region"] == "eu""#;
    let both = json!([requirement("registry", registry), requirement("region", region)]);
    let scene = scene(cluster, "expressions", &both).await?;
    let message = withheld(&scene, "v1", "RequirementNotMet").await?;
    ensure!(message.contains("requirement region is not met: see the rule region"), "{message}");
    ensure!(message.contains(r#"the key "region" is not set"#), "{message}");
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let explained = scene.assent(Dev, &["explain", "deployment/scorer"]).await?.ok()?;
    ensure!(explained.contains("requirement region is not met"), "{explained}");

    let namespace = scene.namespace.clone();
    let label = async |label: &str| {
        let args = ["label", "namespace", &namespace, "--overwrite", label];
        scene.cluster.kubectl(Admin, &args).await?.ok().map(drop)
    };
    label("region=eu").await?;
    scene.is_cleared("v1").await?;
    scene.running("scorer", 2).await?;
    label("region=us").await?;
    withheld(&scene, "v1", "RequirementNotMet").await?;
    scene.held("scorer", 2).await?;
    label("region=eu").await?;
    scene.running("scorer", 2).await?;

    let mut other = container("2");
    other["image"] =
        json!(other["image"].as_str().unwrap_or_default().replace("registry.example", "docker.io"));
    scene.apply(Admin, &scene.version("v2", &other)).await?;
    let message = withheld(&scene, "v2", "RequirementNotMet").await?;
    ensure!(message.contains("see the rule registry") && !message.contains("region"), "{message}");
    Ok(())
}

pub async fn an_invalid_expression_withholds_only_its_own_level(cluster: &ControlPlane) -> Result<()> {
    let good = requirement("system", r#"system.metadata.name == "scorer""#);
    let scene = scene(cluster, "invalid-expression", &json!([good])).await?;
    scene.is_cleared("v1").await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    // The operator writes the status of a level separately from the statuses of versions.
    until(SOON, "the status of the level", async || {
        let level = scene.get("risklevel", &scene.namespace).await?;
        ensure!(level["status"]["requires"] == "requirement system", "{level}");
        Ok(Some(()))
    })
    .await?;

    require(&scene, &json!([good, requirement("typing-error", "version.spec.runtme.containers.size() > 0")]))
        .await?;
    let message = withheld(&scene, "v1", "RequirementInvalid").await?;
    ensure!(message.contains("typing-error of the level is invalid: 1:14: "), "{message}");
    let level = &scene.namespace;
    let message = scene.condition("risklevel", level, "Ready", "False", "RequirementInvalid").await?;
    ensure!(message.contains("no version of this level may run: requirement typing-error"), "{message}");
    scene.condition("risklevel", level, "Stalled", "True", "RequirementInvalid").await?;
    scene.held("scorer", 2).await?;

    let other = Scenario::new(cluster, "other-expression", "minimal").await?;
    other.publish("v1", &container("1")).await?;
    other.is_cleared("v1").await?;
    require(&scene, &json!([good])).await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn an_expensive_expression_withholds_and_delays_no_other_namespace(
    cluster: &ControlPlane,
) -> Result<()> {
    let nested = "version.spec.runtime.containers.all(c, c.args.all(a, c.args.all(b, c.args.all(d, a != b || d != ''))))";
    let all: Vec<_> = (0..16).map(|n| requirement(&format!("nested-{n}"), nested)).collect();
    let scene = scene(cluster, "expensive", &json!(all)).await?;
    let mut large = container("2");
    large["args"] = (0..256).map(|n| format!("--flag-{n}={}", "a".repeat(500))).collect();
    for n in 0..20 {
        let mut version = large.clone();
        version["args"][0] = json!(format!("--version={n}"));
        scene.apply(Dev, &scene.version(&format!("large-{n}"), &version)).await?;
    }
    let message = withheld(&scene, "large-19", "RequirementNotMet").await?;
    ensure!(message.contains("the expression needs too many steps"), "{message}");

    let other = Scenario::new(cluster, "beside-expensive", "minimal").await?;
    // After a change of the level, the operator compiles every version of the expensive namespace again.
    require(&scene, &json!(all[1..])).await?;
    let begin = Instant::now();
    other.publish("v1", &container("1")).await?;
    other.is_cleared("v1").await?;
    println!("another namespace was cleared within {:.1?}", begin.elapsed());
    ensure!(begin.elapsed().as_secs() < 10, "another namespace was cleared only after {:?}", begin.elapsed());
    Ok(())
}

pub async fn the_api_server_refuses_too_many_and_too_long_expressions(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "refused-expressions", "minimal").await?;
    let level = |requirements: Value| {
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
            "spec": { "requirements": requirements } })
    };
    let many: Vec<_> = (0..17).map(|n| requirement(&format!("rule-{n}"), "true")).collect();
    for (requirements, refusal) in [
        (json!(many), "must have at most 16 items"),
        (json!([requirement("long", &"t".repeat(4097))]), "may not be more than 4096 bytes"),
        (json!([requirement("same", "true"), requirement("same", "false")]), "Duplicate value"),
        (json!([requirement("Not a name", "true")]), "spec.requirements[0].name"),
    ] {
        let refused = scene.refused(Admin, &level(requirements)).await?;
        ensure!(refused.contains(refusal), "{refusal}: {refused}");
    }
    Ok(())
}

pub async fn an_expression_reads_network_policies_and_storage_classes(cluster: &ControlPlane) -> Result<()> {
    let egress = r#"networkPolicies.exists(p, p.selectsEveryPod && "Egress" in p.spec.policyTypes)"#;
    let encrypted = r#"claims.all(c, has(c.storageClass) && has(c.storageClass.parameters)
        && "encrypted" in c.storageClass.parameters && c.storageClass.parameters["encrypted"] == "true")"#;
    let both = json!([requirement("egress", egress), requirement("encrypted", encrypted)]);
    let scene = scene(cluster, "cluster-objects", &both).await?;
    let mut with_claim = scene.version("v2", &container("2"));
    with_claim["spec"]["runtime"]["volumes"] =
        json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    scene.apply(Dev, &with_claim).await?;
    let message = withheld(&scene, "v1", "RequirementNotMet").await?;
    ensure!(message.contains("see the rule egress") && !message.contains("encrypted"), "{message}");

    let policy = |labels: Value| {
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": "egress", "namespace": scene.namespace },
            "spec": { "podSelector": { "matchLabels": labels }, "policyTypes": ["Egress"] } })
    };
    // This policy does not select every pod of the system, because a pod can lack the label `app`. So the version does
    // not meet the requirement `egress`.
    scene.apply(Admin, &policy(json!({ "app": "scorer" }))).await?;
    withheld(&scene, "v1", "RequirementNotMet").await?;
    scene.apply(Admin, &policy(json!({ "assent.dev/system": "scorer" }))).await?;
    scene.is_cleared("v1").await?;
    let message = withheld(&scene, "v2", "RequirementNotMet").await?;
    ensure!(message.contains("see the rule encrypted") && !message.contains("egress"), "{message}");

    let class = |name: &str, encrypted: &str| {
        json!({ "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": name },
            "provisioner": "ebs.csi.aws.com", "parameters": { "encrypted": encrypted } })
    };
    let claim = |class: &str| {
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": "data", "namespace": scene.namespace },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": { "requests": { "storage": "1Gi" } } } })
    };
    scene.apply(Admin, &class("plain", "false")).await?;
    scene.apply(Dev, &claim("plain")).await?;
    withheld(&scene, "v2", "RequirementNotMet").await?;
    scene.kubectl(Dev, &["delete", "persistentvolumeclaim/data"]).await?;
    scene.apply(Dev, &claim("secret")).await?;
    withheld(&scene, "v2", "RequirementNotMet").await?;
    scene.apply(Admin, &class("secret", "true")).await?;
    scene.is_cleared("v2").await?;

    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    scene.kubectl(Admin, &["delete", "networkpolicy/egress"]).await?;
    withheld(&scene, "v1", "RequirementNotMet").await?;
    scene.held("scorer", 2).await?;
    let explained = scene.assent(Dev, &["explain", "deployment/scorer"]).await?.ok()?;
    ensure!(explained.contains("requirement egress is not met"), "{explained}");
    Ok(())
}
