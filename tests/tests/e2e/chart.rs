//! The manifests that the Helm chart renders, and the permissions that the chart grants.

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, NAMESPACE, Person, SOON, root, until};
use serde_json::json;

async fn template(cluster: &ControlPlane, args: &[&str]) -> Result<assent_tests::Output> {
    let chart = root().join("charts/assent").display().to_string();
    cluster.helm(&[&["template", "assent", &chart, "--namespace", NAMESPACE], args].concat()).await
}

pub async fn the_chart_passes_helm_lint(cluster: &ControlPlane) -> Result<()> {
    let chart = root().join("charts/assent").display().to_string();
    let said = cluster.helm(&["lint", "--strict", &chart]).await?.ok()?;
    ensure!(said.contains("0 chart(s) failed"), said);
    Ok(())
}

pub async fn the_pod_of_the_operator_is_restricted(cluster: &ControlPlane) -> Result<()> {
    let rendered = template(cluster, &["--show-only", "templates/deployment.yaml"]).await?.ok()?;
    let wanted = [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [ALL]",
        "type: RuntimeDefault",
        "path: /healthz",
        "path: /readyz",
        "replicas: 2",
    ];
    for line in wanted {
        ensure!(rendered.contains(line), "no {line:?} in\n{rendered}");
    }
    Ok(())
}

pub async fn the_api_server_accepts_every_manifest(cluster: &ControlPlane) -> Result<()> {
    let rendered = template(cluster, &["--set", "replicas=2"]).await?.ok()?;
    let apply = ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-"];
    cluster.kubectl_stdin(Person::Admin, &apply, &rendered).await?.ok().map(drop)
}

pub async fn older_clusters_get_no_mutating_policy(cluster: &ControlPlane) -> Result<()> {
    let api = "admissionregistration.k8s.io/v1/";
    let (validates, mutates) =
        (format!("{api}ValidatingAdmissionPolicy"), format!("{api}MutatingAdmissionPolicy"));
    for (args, gates) in [
        // With access to a cluster, Helm knows the API versions of the cluster, as in the first two cases. Without
        // access, Helm knows only a version of Kubernetes, as in the other cases.
        (&["--api-versions", &validates][..], false),
        (&["--api-versions", &validates, "--api-versions", &mutates], true),
        (&["--kube-version=1.30.0"], false),
        (&["--kube-version=1.35.4-eks-1"], false),
        (&["--kube-version=1.36.2-gke.100"], true),
    ] {
        let rendered = template(cluster, args).await?.ok()?;
        ensure!(
            rendered.contains("kind: MutatingAdmissionPolicy\n") == gates,
            "{args:?}: expected MutatingAdmissionPolicy: {gates}"
        );
        ensure!(
            rendered.contains("kind: ValidatingAdmissionPolicy\n"),
            "{args:?}: no ValidatingAdmissionPolicy"
        );
    }
    let said = template(cluster, &["--kube-version=1.29.9"]).await?.denied()?;
    ensure!(said.contains("requires kubeVersion: >=1.30.0-0"), "{said}");
    Ok(())
}

pub async fn bad_values_are_refused(cluster: &ControlPlane) -> Result<()> {
    for (set, words) in [
        ("replicas=-1", "replicas"),
        ("replica=2", "replica"),
        ("log.format=xml", "format"),
        ("image.digest=latest", "digest"),
        ("inventory.imagePatterns[0]=a b", "imagePatterns"),
    ] {
        let said = template(cluster, &["--set", set]).await?.denied()?;
        ensure!(
            said.contains("values don't meet the specifications of the schema") && said.contains(words),
            "{set}: {said}"
        );
    }
    Ok(())
}

pub async fn the_operator_has_no_unneeded_permissions(cluster: &ControlPlane) -> Result<()> {
    let who = format!("--as=system:serviceaccount:{NAMESPACE}:assent");
    for (verb, resource) in [
        ("get", "secrets"),
        ("create", "pods"),
        ("update", "deployments.apps"),
        ("create", "approvals.assent.dev"),
        ("delete", "approvals.assent.dev"),
        ("update", "decisionsubjects.assent.dev"),
        ("delete", "decisionsubjects.assent.dev"),
        ("delete", "systemhistories.assent.dev"),
        ("update", "aisystems.assent.dev"),
        ("update", "risklevels.assent.dev"),
        ("update", "namespaces"),
        ("approve", "approverroles.assent.dev"),
        ("use", "risklevels.assent.dev"),
        ("update", "validatingadmissionpolicies.admissionregistration.k8s.io"),
        ("patch", "validatingadmissionpolicies.admissionregistration.k8s.io"),
        ("delete", "validatingadmissionpolicies.admissionregistration.k8s.io"),
        ("patch", "clusterroles.rbac.authorization.k8s.io"),
        ("get", "clusterroles.rbac.authorization.k8s.io"),
        ("patch", "deployments.apps"),
        ("delete", "replicasets.apps"),
        ("impersonate", "users"),
    ] {
        let said = cluster.kubectl(Person::Admin, &["auth", "can-i", verb, resource, "-A", &who]).await?;
        ensure!(
            said.stdout.trim() == "no",
            "the operator may {verb} {resource}: {}{}",
            said.stdout,
            said.stderr
        );
    }
    Ok(())
}

pub async fn editors_can_describe_but_not_decide(cluster: &ControlPlane) -> Result<()> {
    let bind = ["create", "clusterrolebinding", "editor", "--clusterrole=edit", "--user=editor"];
    cluster.kubectl(Person::Admin, &bind).await?.ok()?;
    for (verb, resource, subresource, may) in [
        ("create", "aisystems.assent.dev", "", "yes"),
        ("update", "modelversions.assent.dev", "", "yes"),
        ("get", "clearances.assent.dev", "", "yes"),
        ("get", "approvals.assent.dev", "", "yes"),
        ("create", "approvals.assent.dev", "", "no"),
        ("delete", "approvals.assent.dev", "", "no"),
        ("update", "clearances.assent.dev", "", "no"),
        ("update", "aisystems.assent.dev", "status", "no"),
    ] {
        let subresource = format!("--subresource={subresource}");
        let can = ["auth", "can-i", verb, resource, &subresource, "-n=default", "--as=editor"];
        let said = cluster.kubectl(Person::Admin, &can).await?;
        ensure!(said.stdout.trim() == may, "may an editor {verb} {resource}? {}", said.stdout);
    }
    Ok(())
}

/// One `kubectl apply` of the output of `make manifests` enables the policies, even before an operator runs.
pub async fn plain_manifests_enable_the_policies() -> Result<()> {
    let (cluster, out) = (ControlPlane::start().await?, tempfile::tempdir()?);
    let render = root().join("packaging/manifests").display().to_string();
    let out_dir = out.path().display().to_string();
    cluster
        .run(cluster.account(Person::Admin), &render, &[&out_dir, "--set=replicas=0"], None)
        .await?
        .ok()?;
    let file = out.path().join("assent.yaml").display().to_string();
    cluster.kubectl(Person::Admin, &["apply", "--server-side", "-f", &file]).await?.ok()?;
    let old = std::fs::read_to_string(out.path().join("assent-before-1.36.yaml"))?;
    ensure!(
        !old.contains("kind: MutatingAdmissionPolicy\n"),
        "the manifests for Kubernetes 1.30 have a MutatingAdmissionPolicy"
    );
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": "governed", "labels": { "assent.dev/mode": "enforce" } } });
    cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &namespace.to_string()).await?.ok()?;
    until(SOON, "a pod to be refused", async || {
        let run = ["run", "probe", "--image=probe", "-n", "governed", "--dry-run=server"];
        let refused = cluster.kubectl(Person::Admin, &run).await?.denied()?;
        ensure!(refused.contains("no params found"), "{refused}");
        Ok(Some(()))
    })
    .await
}
