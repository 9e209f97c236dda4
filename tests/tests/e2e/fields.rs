//! Pod fields other than the image. A change of a compared field holds the pod. A change of a field that Assent does
//! not compare does not hold the pod. Each case changes a few fields of an approved pod.

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, Scenario, container, pod_spec};
use serde_json::{Value, json};

use Person::{Admin, Dev};

type Change = fn(&mut Value);

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

async fn cleared<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.clear("v1", &container("1")).await?;
    Ok(scene)
}

async fn create(scene: &Scenario<'_>, approved: &Value, changes: &[(&str, Change)]) -> Result<()> {
    let pod_with = |(name, change): &(&str, Change)| {
        let mut pod = scene.workload("v1", "Pod", name, approved);
        change(&mut pod);
        pod
    };
    let pods: Vec<Value> = changes.iter().map(pod_with).collect();
    scene.apply(Dev, &json!({ "apiVersion": "v1", "kind": "List", "items": pods })).await.map(drop)
}

async fn are_held(scene: &Scenario<'_>, pods: &[(&str, &str)]) -> Result<()> {
    for (name, words) in pods {
        scene.event("Pod", name, "Held").await?;
        let pod = scene.get("pod", name).await?;
        ensure!(pod["metadata"]["labels"]["assent.dev/held"] == "true", "{name} is not held: {pod}");
        ensure!(pod["spec"]["nodeName"].is_null(), "{name} is bound to a node: {pod}");
        let said = scene.assent(Dev, &["explain", &format!("pod/{name}")]).await?.stdout;
        ensure!(said.contains(words), "{name}: {words:?} is missing in: {said}");
    }
    Ok(())
}

fn main_container(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["containers"][0]
}

pub async fn fields_that_replace_files_or_names_hold_an_approved_pod(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "fields-refused").await?;
    let changes: [(&str, Change); 11] = [
        ("message-path", |pod| main_container(pod)["terminationMessagePath"] = json!("/etc/ld.so.preload")),
        ("hostname-override", |pod| pod["spec"]["hostnameOverride"] = json!("huggingface.co")),
        ("name-server", |pod| {
            let option = json!({ "name": "ndots", "value": "2\nnameserver 192.0.2.1" });
            pod["spec"]["dnsConfig"] = json!({ "options": [option] });
        }),
        ("probe-host", |pod| {
            main_container(pod)["readinessProbe"] = json!({ "httpGet": { "port": 80, "host": "192.0.2.1" } });
        }),
        ("probe-tcp-host", |pod| {
            main_container(pod)["startupProbe"] = json!({ "tcpSocket": { "port": 80, "host": "192.0.2.1" } });
        }),
        ("hook-host", |pod| {
            let get = json!({ "port": 80, "host": "192.0.2.1" });
            main_container(pod)["lifecycle"] = json!({ "postStart": { "httpGet": get } });
        }),
        ("hook-request", |pod| {
            let get = json!({ "port": 80, "path": "/load?model=other" });
            main_container(pod)["lifecycle"] = json!({ "postStart": { "httpGet": get } });
        }),
        ("cdi", |pod| pod["metadata"]["annotations"] = json!({ "cdi.k8s.io/x": "vendor.com/device=model" })),
        ("kata", |pod| {
            let annotations = json!({ "io.katacontainers.config.hypervisor.kernel": "/x" });
            pod["metadata"]["annotations"] = annotations;
        }),
        ("host-ipc", |pod| pod["spec"]["hostIPC"] = json!(true)),
        ("processes", |pod| pod["spec"]["shareProcessNamespace"] = json!(true)),
    ];
    create(&scene, &pod_spec(&container("1")), &changes).await?;
    are_held(
        &scene,
        &[
            ("message-path", "terminationMessagePath of container server"),
            ("hostname-override", "hostnameOverride cannot be part of an approved runtime: use hostname"),
            ("name-server", "an option of dnsConfig"),
            ("probe-host", "host of a probe of container server"),
            ("probe-tcp-host", "host of a probe of container server"),
            ("hook-host", "host of a hook of container server"),
            ("hook-request", "/load?model=other"),
            ("cdi", "the annotation cdi.k8s.io/x"),
            ("kata", "the annotation io.katacontainers."),
            ("host-ipc", "hostIPC: true"),
            ("processes", "shareProcessNamespace: true"),
        ],
    )
    .await
}

/// Adds a projected volume with `sources` that imitates the volume of the service account token. The main container
/// mounts this volume.
fn with_token(pod: &mut Value, sources: &Value, mount: &Value) {
    let mut mount = mount.clone();
    mount["name"] = json!("kube-api-access-mine");
    mount["mountPath"] = json!(TOKEN_PATH);
    pod["spec"]["volumes"] = json!([{ "name": "kube-api-access-mine", "projected": { "sources": sources } }]);
    main_container(pod)["volumeMounts"] = json!([mount]);
}

fn token_sources() -> Value {
    json!([
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } },
    ])
}

pub async fn a_volume_that_imitates_the_service_account_token_holds_a_pod(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = cleared(cluster, "fields-token").await?;
    let changes: [(&str, Change); 6] = [
        ("annotation-file", |pod| {
            let file =
                json!({ "path": "config.json", "fieldRef": { "fieldPath": "metadata.annotations['a']" } });
            with_token(pod, &json!([{ "downwardAPI": { "items": [file] } }]), &json!({ "readOnly": true }));
        }),
        ("every-key", |pod| {
            let sources = json!([{ "configMap": { "name": "kube-root-ca.crt" } }]);
            with_token(pod, &sources, &json!({ "readOnly": true }));
        }),
        ("other-file", |pod| {
            let items = json!([{ "key": "ca.crt", "path": "model.py" }]);
            let sources = json!([{ "configMap": { "name": "kube-root-ca.crt", "items": items } }]);
            with_token(pod, &sources, &json!({ "readOnly": true }));
        }),
        ("token-elsewhere", |pod| {
            let sources = json!([{ "serviceAccountToken": { "path": "model.py" } }]);
            with_token(pod, &sources, &json!({ "readOnly": true }));
        }),
        ("sub-path", |pod| {
            with_token(pod, &token_sources(), &json!({ "readOnly": true, "subPath": "namespace" }));
        }),
        ("writable", |pod| with_token(pod, &token_sources(), &json!({}))),
    ];
    create(&scene, &pod_spec(&container("1")), &changes).await?;
    let unlike = "that differs from the one that the API server adds";
    are_held(
        &scene,
        &[
            ("annotation-file", unlike),
            ("every-key", unlike),
            ("other-file", unlike),
            ("token-elsewhere", unlike),
            ("sub-path", "subPath: namespace"),
            ("writable", "kube-api-access-mine"),
        ],
    )
    .await?;
    // The token volume that the API server adds does not hold a pod. A manifest with the same volume does not hold its
    // pod either.
    let honest: [(&str, Change); 2] = [
        ("automatic", |pod| pod["spec"]["automountServiceAccountToken"] = json!(true)),
        ("by-hand", |pod| with_token(pod, &token_sources(), &json!({ "readOnly": true }))),
    ];
    create(&scene, &pod_spec(&container("1")), &honest).await?;
    let pod = scene.get("pod", "automatic").await?;
    ensure!(pod["spec"]["volumes"][0]["name"].as_str().is_some(), "the pod has no token: {pod}");
    scene.running_pod("automatic").await?;
    scene.running_pod("by-hand").await
}

pub async fn free_fields_do_not_hold_a_pod(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "fields-free").await?;
    let changes: [(&str, Change); 6] = [
        ("probes", |pod| {
            let get =
                json!({ "port": 8080, "path": "/health", "httpHeaders": [{ "name": "X", "value": "y" }] });
            main_container(pod)["readinessProbe"] = json!({ "httpGet": get });
            main_container(pod)["livenessProbe"] = json!({ "grpc": { "port": 9000 } });
            main_container(pod)["startupProbe"] = json!({ "tcpSocket": { "port": 8080 } });
        }),
        ("messages", |pod| {
            main_container(pod)["terminationMessagePath"] = json!("/dev/termination-log");
            main_container(pod)["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
        }),
        ("names", |pod| {
            pod["spec"]["hostname"] = json!("scorer-0");
            pod["spec"]["subdomain"] = json!("scorers");
        }),
        ("dns", |pod| {
            pod["spec"]["dnsConfig"] =
                json!({ "options": [{ "name": "ndots", "value": "2" }, { "name": "edns0" }] });
        }),
        ("notes", |pod| {
            let notes = json!({ "prometheus.io/scrape": "true", "io.kubernetes.cri-o.ShmSize": "1Gi" });
            pod["metadata"]["annotations"] = notes;
        }),
        ("sleep", |pod| {
            main_container(pod)["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 1 } } });
        }),
    ];
    create(&scene, &pod_spec(&container("1")), &changes).await?;
    for (name, _) in changes {
        scene.running_pod(name).await?;
    }
    Ok(())
}

/// Returns a pod spec with volume items, a hook and the IPC namespace of the node. A version can approve all of these
/// fields.
fn rich() -> Value {
    let mut spec = pod_spec(&container("1"));
    let files = json!([{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }]);
    spec["hostIPC"] = json!(true);
    spec["volumes"] = json!([
        { "name": "config", "configMap": { "name": "config", "items": [{ "key": "a", "path": "sub/a" }] } },
        { "name": "labels", "downwardAPI": { "items": files } },
        { "name": "all", "projected": { "sources": [
            { "serviceAccountToken": { "path": "mesh-token" } },
            { "secret": { "name": "keys", "items": [{ "key": "k", "path": "k" }] } },
            { "downwardAPI": { "items": files } }] } },
    ]);
    spec["containers"][0]["volumeMounts"] = json!([
        { "name": "config", "mountPath": "/config" }, { "name": "labels", "mountPath": "/labels" },
        { "name": "all", "mountPath": "/all" }]);
    spec["containers"][0]["lifecycle"] =
        json!({ "preStop": { "httpGet": { "port": 8022, "path": "/drain" } } });
    spec
}

pub async fn changed_items_hooks_or_shared_namespaces_hold_a_pod(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "fields-compared", "high").await?;
    scene.apply(Dev, &scene.workload("v1", "Pod", "captured", &rich())).await?;
    // After the approvals, the version that `capture` wrote clears the captured pod.
    let said = scene.assent(Dev, &["capture", "pod/captured", "--version=v1", "-o=json"]).await?.ok()?;
    let captured: Value = serde_json::from_str(&said)?;
    let runtime = &captured["spec"]["runtime"];
    ensure!(runtime["containers"][0]["http"]["preStop"]["path"] == "/drain", "{said}");
    ensure!(runtime["hostIPC"] == true, "{said}");
    scene.apply(Admin, &scene.version_of("v1", runtime)).await?;
    scene.digest_of("v1").await?;
    scene.approve("v1").await?;
    scene.running_pod("captured").await?;
    let changes: [(&str, Change); 8] = [
        ("config-path", |pod| pod["spec"]["volumes"][0]["configMap"]["items"][0]["path"] = json!("b")),
        ("config-all", |pod| {
            pod["spec"]["volumes"][0]["configMap"].as_object_mut().map(|fields| fields.remove("items"));
        }),
        ("annotation", |pod| {
            let field = json!({ "fieldPath": "metadata.annotations['a']" });
            pod["spec"]["volumes"][1]["downwardAPI"]["items"][0]["fieldRef"] = field;
        }),
        ("token-path", |pod| {
            pod["spec"]["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]["path"] =
                json!("model.py");
        }),
        ("secret-key", |pod| {
            pod["spec"]["volumes"][2]["projected"]["sources"][1]["secret"]["items"][0]["key"] =
                json!("other");
        }),
        ("projected-file", |pod| {
            let file = json!({ "path": "x", "fieldRef": { "fieldPath": "metadata.name" } });
            let items = &mut pod["spec"]["volumes"][2]["projected"]["sources"][2]["downwardAPI"]["items"];
            if let Some(items) = items.as_array_mut() {
                items.push(file);
            }
        }),
        ("hook-path", |pod| {
            main_container(pod)["lifecycle"]["preStop"]["httpGet"]["path"] = json!("/other");
        }),
        ("own-memory", |pod| pod["spec"]["hostIPC"] = json!(false)),
    ];
    create(&scene, &rich(), &changes).await?;
    are_held(
        &scene,
        &[
            ("config-path", "path: b"),
            ("config-all", "sub/a"),
            ("annotation", "metadata.annotations['a']"),
            ("token-path", "path: model.py"),
            ("secret-key", "key: other"),
            ("projected-file", "metadata.name"),
            ("hook-path", "path: /other"),
            ("own-memory", "hostIPC: true"),
        ],
    )
    .await?;
    // Assent does not compare file modes, the field `optional`, or the audience of a token.
    let free: [(&str, Change); 1] = [("free", |pod| {
        pod["spec"]["volumes"][0]["configMap"]["optional"] = json!(true);
        pod["spec"]["volumes"][0]["configMap"]["items"][0]["mode"] = json!(0o400);
        pod["spec"]["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"]["audience"] =
            json!("vault");
    })];
    create(&scene, &rich(), &free).await?;
    scene.running_pod("free").await
}

pub async fn nobody_adds_runtime_annotations_to_a_running_pod(cluster: &ControlPlane) -> Result<()> {
    let scene = cleared(cluster, "fields-annotations").await?;
    scene.apply(Dev, &scene.pod("pod", &container("1"))).await?;
    scene.running_pod("pod").await?;
    for person in [Dev, Admin] {
        for value in ["vendor.com/device=model", ""] {
            let annotation = format!("cdi.k8s.io/x={value}");
            let said = scene.denied(person, &["annotate", "pod", "pod", &annotation]).await?;
            ensure!(said.contains("an annotation that container runtimes read does not change"), "{said}");
        }
    }
    let patch =
        json!({ "metadata": { "annotations": { "dev.gvisor.spec.mount.a.source": "/x" } } }).to_string();
    let said = scene.denied(Dev, &["patch", "pod", "pod", "--subresource=status", "-p", &patch]).await?;
    ensure!(said.contains("an annotation that container runtimes read does not change"), "{said}");
    scene.kubectl(Dev, &["annotate", "pod", "pod", "example.com/note=mine"]).await.map(drop)
}
