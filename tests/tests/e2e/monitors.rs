//! Monitors with a real Prometheus. A test sets the value of a series in Prometheus. If the value breaches the limit of
//! a Monitor with `onBreach: Hold`, the operator opens an incident. The incident holds the system until people resume
//! it.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Person, Prometheus, SOON, Scenario, container, until};
use serde_json::{Value, json};

use Person::{Admin, Alice, Dev};

pub fn series(scene: &Scenario<'_>, metric: &str) -> String {
    format!("{metric}{{namespace=\"{}\"}}", scene.namespace)
}

pub async fn set(prometheus: &Prometheus, scene: &Scenario<'_>, metric: &str, value: &str) -> Result<()> {
    let series = series(scene, metric);
    prometheus.set(&series, value);
    prometheus.has(&format!("{series} == {value}"), 1).await
}

pub async fn within(scene: &Scenario<'_>, monitor: &str, status: &str, reason: &str) -> Result<String> {
    scene.condition("monitor", monitor, "WithinLimits", status, reason).await
}

pub async fn incidents(scene: &Scenario<'_>, monitor: &str) -> Result<Vec<Value>> {
    let all = scene.list("incidents").await?;
    Ok(all.into_iter().filter(|incident| incident["spec"]["monitor"] == monitor).collect())
}

pub async fn incident(scene: &Scenario<'_>, monitor: &str) -> Result<String> {
    until(SOON, &format!("an incident of monitor/{monitor}"), async || {
        let status = scene.get("monitor", monitor).await?["status"].take();
        Ok(status["breach"]["incident"].as_str().map(str::to_owned))
    })
    .await
}

pub async fn a_drifting_metric_holds_the_system_until_people_resume_it(cluster: &ControlPlane) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "drift", "limited").await?;
    scene.clear("v1", &container("v1")).await?;
    set(prometheus, &scene, "spd", "0.03").await?;
    scene.apply(Admin, &scene.monitor("drift", &json!({ "severity": "High" }))).await?;
    let message = within(&scene, "drift", "True", "Within").await?;
    ensure!(message.contains("0.03"), "{message}");
    let status = scene.get("monitor", "drift").await?["status"].take();
    ensure!(status["query"] == series(&scene, "spd"), "{status}");
    scene.is_cleared("v1").await?;

    set(prometheus, &scene, "spd", "0.14").await?;
    let name = incident(&scene, "drift").await?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(message.contains(&format!("held by incident/{name}")), "{message}");
    let opened = scene.get("incident", &name).await?["spec"].take();
    ensure!(
        opened["effect"] == "Hold"
            && opened["openedBy"]["user"] == "system:serviceaccount:assent-system:assent",
        "{opened}"
    );
    let description = opened["description"].as_str().unwrap_or_default();
    ensure!(
        description.contains("0.14 is above 0.1") && description.contains("severity High"),
        "{description}"
    );
    scene.event("Monitor", "drift", "MonitorBreached").await?;

    // The hold stays after the metric is within its limit again, and after a user deletes the monitor.
    set(prometheus, &scene, "spd", "0.02").await?;
    within(&scene, "drift", "True", "Within").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    scene.kubectl(Admin, &["delete", "monitor", "drift"]).await?;
    for type_ in ["root-cause", "action", "verification"] {
        let note = ["incident", "note", &name, "--type", type_, "--text", "for the test"];
        scene.assent(Dev, &note).await?.ok()?;
    }
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    scene.assent(Alice, &["resume", "scorer", "--yes"]).await?.ok()?;
    scene.is_cleared("v1").await
}

async fn breach_again(prometheus: &Prometheus, scene: &Scenario<'_>) -> Result<String> {
    set(prometheus, scene, "spd", "0.01").await?;
    within(scene, "drift", "True", "Within").await?;
    set(prometheus, scene, "spd", "0.4").await?;
    incident(scene, "drift").await
}

pub async fn a_breach_opens_an_incident_unless_an_earlier_one_still_counts(
    cluster: &ControlPlane,
) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "drift-twice", "limited").await?;
    scene.clear("v1", &container("v1")).await?;
    set(prometheus, &scene, "spd", "0.2").await?;
    scene.apply(Dev, &scene.monitor("drift", &json!({ "onBreach": "OpenIncident" }))).await?;
    let first = incident(&scene, "drift").await?;
    // If a user changes the monitor during the breach, the operator opens no second incident.
    let edited = json!({ "onBreach": "OpenIncident", "metric": "renamed", "breach": { "above": "0.15" } });
    scene.apply(Dev, &scene.monitor("drift", &edited)).await?;
    until(SOON, "the new spec", async || {
        let status = scene.get("monitor", "drift").await?["status"].take();
        Ok((status["observedGeneration"] == 2 && status["breach"]["incident"] == first.as_str())
            .then_some(()))
    })
    .await?;
    ensure!(
        breach_again(prometheus, &scene).await? == first,
        "the breach has another incident, although the first incident is open"
    );
    ensure!(incidents(&scene, "drift").await?.len() == 1, "the breach opened a second incident");
    scene.is_cleared("v1").await?;

    // `onBreach` becomes `Hold` during the breach. The first incident holds nothing, so the operator opens a second
    // incident.
    scene.apply(Admin, &scene.monitor("drift", &json!({ "onBreach": "Hold" }))).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    let second = breach_again(prometheus, &scene).await?;
    ensure!(second != first && incidents(&scene, "drift").await?.len() == 2, "{first}, {second}");

    // After people resume the system, the second incident no longer holds it. The next breach opens a third incident.
    for type_ in ["root-cause", "action", "verification"] {
        let note = ["incident", "note", &second, "--type", type_, "--text", "for the test"];
        scene.assent(Dev, &note).await?.ok()?;
    }
    scene.assent(Alice, &["resume", "scorer", "--yes"]).await?.ok()?;
    scene.is_cleared("v1").await?;
    let third = breach_again(prometheus, &scene).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(third != second && incidents(&scene, "drift").await?.len() == 3, "{second}, {third}");
    Ok(())
}

pub async fn a_value_that_is_not_one_number_is_unknown(cluster: &ControlPlane) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "drift-unknown", "limited").await?;
    let namespace = &scene.namespace;
    prometheus.set(&format!("twice{{namespace=\"{namespace}\",pod=\"a\"}}"), "1");
    prometheus.set(&format!("twice{{namespace=\"{namespace}\",pod=\"b\"}}"), "1");
    for (metric, value) in
        [("not", "NaN"), ("infinite", "+Inf"), ("gone", "0.01"), ("few", "0.5"), ("drift_alarm", "1")]
    {
        prometheus.set(&series(&scene, metric), value);
    }
    prometheus.has(&format!("ALERTS{{namespace=\"{namespace}\",alertstate=\"firing\"}}"), 1).await?;
    prometheus
        .has(&format!("{{namespace=\"{namespace}\",__name__!=\"ALERTS\",__name__!=\"ALERTS_FOR_STATE\"}}"), 7)
        .await?;
    let warn = |name: &str, spec: Value| {
        let mut monitor = scene.monitor(name, &spec);
        monitor["spec"]["onBreach"] = json!("Warn");
        monitor
    };
    for applied in [
        warn("not", json!({ "query": "not" })),
        warn("infinite", json!({ "query": "infinite" })),
        warn("twice", json!({ "query": "twice" })),
        warn("divided", json!({ "query": "0 / vector(0)" })),
        warn("missing", json!({ "query": "missing" })),
        warn("text", json!({ "query": "\"text\"" })),
        warn("invalid", json!({ "query": "sum(" })),
        warn("wrong", json!({ "query": "rate(gone)" })),
        warn("elsewhere", json!({ "source": "elsewhere" })),
        warn("few", json!({ "query": "few", "samples": { "query": "few", "atLeast": "500" } })),
        warn("silent", json!({ "query": "missing", "noData": { "after": "3s", "then": "Breach" } })),
        warn("gone", json!({ "query": "gone" })),
        warn(
            "alert",
            json!({ "query": null, "alert": { "name": "CreditDrift", "labels": { "severity": "critical" } }, "breach": {} }),
        ),
        warn(
            "quiet",
            json!({ "query": null, "alert": { "name": "CreditDrift", "labels": { "severity": "low" } }, "breach": {} }),
        ),
    ] {
        scene.apply(Dev, &applied).await?;
    }
    for (name, reason, why) in [
        ("not", "NoValue", "NaN"),
        ("infinite", "NoValue", "inf"),
        ("twice", "NoValue", "2 series"),
        ("divided", "NoValue", "NaN"),
        ("missing", "NoValue", "no series"),
        ("text", "NoValue", "string"),
        ("invalid", "QueryInvalid", "not valid PromQL"),
        ("wrong", "QueryInvalid", "not valid PromQL"),
        ("elsewhere", "SourceNotFound", "no Prometheus named elsewhere"),
        ("few", "NoValue", "0.5 samples"),
    ] {
        let message = within(&scene, name, "Unknown", reason).await?;
        ensure!(message.contains(why), "{name}: {message}");
    }
    within(&scene, "silent", "False", "Breached").await?;
    within(&scene, "alert", "False", "Breached").await?;
    within(&scene, "quiet", "True", "Within").await?;
    within(&scene, "gone", "True", "Within").await?;
    prometheus.remove(&series(&scene, "gone"));
    within(&scene, "gone", "Unknown", "NoValue").await?;
    ensure!(scene.list("incidents").await?.is_empty(), "a warning opened an incident");
    Ok(())
}

pub async fn a_monitor_reads_only_its_own_namespace(cluster: &ControlPlane) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "drift-spy", "limited").await?;
    let other = "drift-victim";
    prometheus.set(&format!("secret{{namespace=\"{other}\"}}"), "4242");
    prometheus.set("secret_of_nobody", "4242");
    set(prometheus, &scene, "own", "1").await?;
    prometheus.has("secret", 1).await?;
    let attempts = [
        "secret".to_owned(),
        "max(secret)".to_owned(),
        "secret_of_nobody".to_owned(),
        format!("secret{{namespace=\"{other}\"}}"),
        format!("own < 0 or secret{{namespace=\"{other}\"}} offset 1s"),
        "own * on () group_left () secret".to_owned(),
        "max({__name__=~\".+\"} == 4242)".to_owned(),
        format!("max_over_time(secret{{namespace=~\"{other}\"}}[1h])"),
        "max_over_time((secret + 0)[1h:1s])".to_owned(),
        "own - 1 + scalar(secret)".to_owned(),
        "quantile(scalar(secret) / 4242, own * 4242)".to_owned(),
        "label_replace(secret, \"namespace\", \"drift-spy\", \"\", \"\")".to_owned(),
        "{\"secret\"}".to_owned(),
        "info(secret)".to_owned(),
        format!("secret{{namespace=\"{other}\" or namespace=\"drift-spy\"}}"),
        "secret{a!=\"x\\\"} or secret{b=\\\"y\"}".to_owned(),
        "secret @ end()".to_owned(),
        "secret @ end() offset 1s".to_owned(),
        "topk(1, secret or own * 0)".to_owned(),
        "sum(count_values(\"value\", secret)) * 4242 + 0".to_owned(),
        "label_join(secret, \"namespace\", \"\", \"namespace\")".to_owned(),
        "sum(max_over_time(secret[5m:1s] @ start() offset 1s)) by (namespace)".to_owned(),
        "last_over_time({__name__=\"secret\"}[5m])".to_owned(),
        format!("secret{{namespace!~\"\",namespace=\"{other}\"}}"),
        "limitk(1, secret)".to_owned(),
        "{\"secret\",\"namespace\"=~\".+\"}".to_owned(),
    ];
    for query in &attempts {
        // Prometheus itself answers each query with the secret value 4242, or with an error because the function is
        // experimental. So only the operator can keep the value secret: the operator limits each query to one
        // namespace. A query with an offset has no result at first, so the test waits for a result.
        until(SOON, &format!("a result of {query}"), async || {
            let answer = prometheus.query(query).await?;
            let is_refused = answer["status"] == "error";
            ensure!(is_refused || answer["data"].to_string().contains("\"4242\""), "{query}: {answer}");
            Ok(Some(()))
        })
        .await?;
    }
    for (n, query) in attempts.iter().enumerate() {
        let spy = scene.monitor(&format!("spy-{n}"), &json!({ "query": query, "onBreach": "Warn" }));
        scene.apply(Dev, &spy).await?;
    }
    for (n, query) in attempts.iter().enumerate() {
        let name = format!("spy-{n}");
        let status = until(SOON, &format!("a status of {name}"), async || {
            let status = scene.get("monitor", &name).await?["status"].take();
            let is_asked =
                status["conditions"].as_array().into_iter().flatten().any(|c| c["reason"] == "QueryInvalid");
            Ok((is_asked || status["measurements"][0].is_object()).then_some(status))
        })
        .await?;
        ensure!(!status.to_string().contains("4242\""), "{query}: {status}");
        let limited = status["query"].as_str().unwrap_or_default();
        ensure!(
            limited.is_empty() || limited.contains(&format!("namespace=\"{}\"", scene.namespace)),
            "{limited}"
        );
    }
    // The namespace of the monitor has no series `secret`, so the value of the query is 1. The series `secret` of the
    // other namespace must not change this value.
    let absent = scene.monitor("absent", &json!({ "query": "absent(secret)", "onBreach": "Warn" }));
    scene.apply(Dev, &absent).await?;
    within(&scene, "absent", "False", "Breached").await?;
    let status = scene.get("monitor", "absent").await?["status"].take();
    ensure!(status["value"] == "1", "{status}");
    Ok(())
}

pub async fn only_an_account_with_the_verb_hold_writes_a_monitor_that_holds(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "drift-verb", "limited").await?;
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "mallory", "namespace": scene.namespace },
        "roleRef": { "kind": "ClusterRole", "name": "admin", "apiGroup": "rbac.authorization.k8s.io" },
        "subjects": [{ "kind": "User", "name": "mallory" }] });
    scene.apply(Admin, &role).await?;
    let write = async |verb: &str, spec: &Value| {
        let manifest = scene.monitor("mine", spec);
        cluster.kubectl_stdin(Admin, &[verb, "-f", "-", "--as=mallory"], &manifest.to_string()).await
    };
    let refused = write("create", &json!({ "onBreach": "Hold" })).await?.denied()?;
    ensure!(refused.contains("user mallory may not hold AI system scorer"), "{refused}");
    write("create", &json!({ "onBreach": "OpenIncident" })).await?.ok()?;
    let refused = write("apply", &json!({ "onBreach": "Hold" })).await?.denied()?;
    ensure!(refused.contains("may not hold"), "{refused}");
    let refused = write("apply", &json!({ "onBreach": "Warn", "system": "other" })).await?.denied()?;
    ensure!(refused.contains("create another Monitor for other"), "{refused}");

    // Without the verb `hold`, nobody may loosen or delete a monitor that holds the system. Nobody may give this
    // monitor an owner either, because the garbage collector deletes an object whose owner does not exist.
    scene.apply(Admin, &scene.monitor("guard", &json!({}))).await?;
    let owner =
        r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"a"}]}}"#;
    let patch = |patch| vec!["patch", "monitor", "guard", "--type=merge", "-p", patch, "--as=mallory"];
    for attempt in [
        vec!["delete", "monitor", "guard", "--as=mallory"],
        vec!["delete", "monitors", "--all", "--as=mallory"],
        patch(r#"{"spec":{"onBreach":"OpenIncident"}}"#),
        patch(r#"{"spec":{"breach":{"above":"1000"}}}"#),
        patch(r#"{"spec":{"query":"vector(0)"}}"#),
        patch(owner),
    ] {
        let refused = scene.denied(Admin, &attempt).await?;
        ensure!(refused.contains("may not hold AI system scorer"), "{attempt:?}: {refused}");
    }
    let label = ["label", "monitor", "guard", "team=risk", "--as=mallory"];
    scene.kubectl(Admin, &label).await?;
    // `delete monitors --all` was refused for the monitor `guard`, but it deleted the monitor `mine`. Create `mine`
    // again.
    write("apply", &json!({ "onBreach": "OpenIncident" })).await?.ok()?;

    // No user can forge a measurement of a monitor, or open an incident in the name of a monitor.
    let status = r#"{"status":{"measured":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}}"#;
    let forge = ["patch", "monitor", "mine", "--subresource=status", "--type=merge", "-p", status];
    let refused = scene.denied(Admin, &forge).await?;
    ensure!(refused.contains("written by Assent only"), "{refused}");
    let refused = scene.refused(Admin, &scene.incident("forged", &json!({ "monitor": "mine" }))).await?;
    ensure!(refused.contains("spec.monitor is set by Assent only"), "{refused}");

    for (spec, why) in [
        (json!({ "breach": { "above": "1", "below": "0" } }), "exactly one of breach.above and breach.below"),
        (json!({ "alert": { "name": "a" } }), "exactly one of query and alert"),
        (json!({ "clear": { "below": "0.2" } }), "must not be higher"),
        (json!({ "clear": { "above": "0.2" } }), "clear.above needs breach.below"),
        (json!({ "interval": "1s" }), "from 5s to 1h"),
        (json!({ "source": "http://169.254.169.254/" }), "spec.source"),
        (json!({ "noData": null }), "noData"),
        (json!({ "breach": { "above": "NaN" } }), "spec.breach.above"),
    ] {
        let refused = scene.refused(Admin, &scene.monitor("wrong", &spec)).await?;
        ensure!(refused.contains(why), "{spec}: {refused}");
    }
    Ok(())
}

pub async fn a_level_withholds_versions_until_its_monitors_measure(cluster: &ControlPlane) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "drift-level", "limited").await?;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "monitors": [{ "name": "fairness", "metric": "drift", "query": "spd", "onBreach": "OpenIncident",
            "breach": { "above": "0.1", "for": "1m" } }] } });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system(&scene.namespace)).await?;
    scene.publish("v1", &container("v1")).await?;
    let missing = async |why: &str| {
        until(SOON, &format!("the version to lack a monitor: {why}"), async || {
            let message = scene.condition("modelversion", "v1", "Cleared", "False", "MonitorMissing").await?;
            Ok(message.contains(why).then_some(message))
        })
        .await
    };
    missing("no monitor of the system has the metric drift").await?;
    scene.apply(Admin, &scene.monitor("drift", &json!({ "query": "spd * 0" }))).await?;
    missing("query of monitor/drift differs from the risk level").await?;
    scene.apply(Admin, &scene.monitor("drift", &json!({ "breach": { "above": "0.2" } }))).await?;
    missing("breach of monitor/drift is looser").await?;
    scene.apply(Admin, &scene.monitor("drift", &json!({}))).await?;
    missing("monitor/drift has not measured drift yet").await?;
    let explained = scene.assent(Dev, &["status", "scorer"]).await?.ok()?;
    ensure!(explained.contains("monitor/drift"), "{explained}");

    set(prometheus, &scene, "spd", "0.03").await?;
    scene.is_cleared("v1").await?;
    let status = scene.assent(Dev, &["status", "scorer"]).await?.ok()?;
    ensure!(status.contains("1 within") && status.contains("MONITOR "), "{status}");
    let explained = scene.assent(Dev, &["explain", "modelversion/v1"]).await?.ok()?;
    ensure!(explained.contains("drift (drift) is Within"), "{explained}");
    // The RBAC role below is like a role that was written before the kind Monitor existed. Its users may not list
    // monitors. For such a user, the plugin must not report that a monitor is missing.
    let reads = json!({ "apiGroups": ["assent.dev"], "verbs": ["get", "list"], "resources": ["aisystems", "modelversions",
        "approvals", "assessments", "incidents", "incidentnotes", "overrides", "clearances", "risklevels", "approverroles"] });
    let pods = json!({ "apiGroups": [""], "verbs": ["get", "list"], "resources": ["pods", "namespaces"] });
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "blind-to-monitors" }, "rules": [reads, pods] });
    scene.apply(Admin, &role).await?;
    let bind = ["create", "clusterrolebinding", "blind", "--clusterrole=blind-to-monitors", "--user=blind"];
    cluster.kubectl(Admin, &bind).await?.ok()?;
    let said = scene.assent(Admin, &["explain", "modelversion/v1", "--as=blind"]).await?;
    ensure!(said.stderr.contains("You may not list monitors.assent.dev"), "{said:?}");
    let said = said.ok()?;
    ensure!(said.contains("v1 is cleared") && !said.contains("no monitor of the system"), "{said}");
    // The monitor has measured a value once. So the version stays cleared after the series vanishes.
    prometheus.remove(&series(&scene, "spd"));
    within(&scene, "drift", "Unknown", "NoValue").await?;
    scene.is_cleared("v1").await?;
    scene.kubectl(Admin, &["delete", "monitor", "drift"]).await?;
    missing("no monitor of the system has the metric drift").await.map(drop)
}

pub async fn a_restart_continues_the_time_of_a_breach_and_an_outage_of_prometheus_changes_nothing(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let prometheus = Prometheus::start(cluster).await?;
    let scene = Scenario::new(cluster, "drift-restart", "limited").await?;
    scene.clear("v1", &container("v1")).await?;
    set(&prometheus, &scene, "spd", "0.2").await?;
    let slow = scene.monitor("slow", &json!({ "breach": { "above": "0.1", "for": "20s" } }));
    scene.apply(Admin, &slow).await?;
    within(&scene, "slow", "True", "BeyondLimit").await?;
    let begun = std::time::Instant::now();
    assent.operator().restart()?;
    let name = incident(&scene, "slow").await?;
    ensure!(begun.elapsed() >= Duration::from_secs(10), "a breach after {:?}", begun.elapsed());
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;

    // While Prometheus is down, the hold stays, and the operator opens no other incident.
    prometheus.process().kill();
    let message = until(SOON, "the outage in the status", async || {
        let message = within(&scene, "slow", "False", "Breached").await?;
        Ok(message.contains("no value now").then_some(message))
    });
    ensure!(message.await?.contains("only people lift the hold"), "the message does not name the hold");
    assent.operator().restart()?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    let all = incidents(&scene, "slow").await?;
    ensure!(all.len() == 1 && all[0]["metadata"]["name"] == name.as_str(), "{all:?}");
    Ok(())
}

pub async fn the_example_monitors_are_accepted_and_measured(cluster: &ControlPlane) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "drift-examples", "limited").await?;
    for series in ["trustyai_spd", "trustyai_dir"] {
        set(prometheus, &scene, series, "0.9").await?;
    }
    for file in ["trustyai", "evidently", "vllm", "dcgm"] {
        let path = assent_tests::root().join(format!("examples/monitors/{file}.yaml")).display().to_string();
        scene.kubectl(Admin, &["apply", "-f", &path]).await?;
    }
    // 0.9 is beyond the limit of `statistical-parity`, and within the limit of `disparate-impact`.
    within(&scene, "statistical-parity", "True", "BeyondLimit").await?;
    within(&scene, "disparate-impact", "True", "Within").await?;
    within(&scene, "data-drift", "Unknown", "NoValue").await?;
    within(&scene, "llm-errors", "Unknown", "NoValue").await?;
    within(&scene, "gpu-alert", "True", "Within").await.map(drop)
}
