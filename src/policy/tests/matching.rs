//! Tests of the match between a pod and an approved runtime: changes that break the match, and changes that do not.

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::runtime::{any_runtime, full_runtime, full_sources, get, json_as, pod_of, variants};
use crate::{
    api::{
        Container, EmptyDirVolume, EnvFrom, EnvVar, Runtime, SourceRef, Text, Trusted, Volume, VolumeMount,
    },
    policy::{matches, runtime_of_pod},
};

fn is_match(approved: &Runtime, pod: &core::PodSpec) -> bool {
    runtime_of_pod(None, pod).is_ok_and(|runtime| matches(approved, &Trusted::default(), &runtime))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_pod_made_from_a_runtime_matches_it(runtime in any_runtime()) {
        prop_assert!(is_match(&runtime, &pod_of(&runtime)));
    }

    #[test]
    fn any_single_change_breaks_the_match(runtime in any_runtime()) {
        any_single_change_is_detected(&runtime);
    }

    #[test]
    fn two_runtimes_match_exactly_if_they_are_equal(a in any_runtime(), b in any_runtime()) {
        let canonical = |runtime: &Runtime| {
            let mut runtime = runtime.clone();
            runtime.containers.sort_by(|a, b| a.name.cmp(&b.name));
            runtime.volumes.sort_by(|a, b| a.name.cmp(&b.name));
            let Runtime { containers, init_containers, .. } = &mut runtime;
            containers.iter_mut().chain(init_containers).for_each(|c| c.may_vary.env.clear());
            runtime
        };
        prop_assert_eq!(is_match(&a, &pod_of(&b)), canonical(&a) == canonical(&b));
    }

    #[test]
    fn fields_that_cannot_select_a_model_may_change(runtime in any_runtime()) {
        for (what, change) in harmless() {
            let mut pod = pod_of(&runtime);
            change(&mut pod);
            prop_assert!(is_match(&runtime, &pod), "{} breaks the match", what);
        }
    }

    #[test]
    fn fields_that_no_runtime_contains_never_match(runtime in any_runtime()) {
        for (what, change) in unmatchable() {
            let mut pod = pod_of(&runtime);
            change(&mut pod);
            prop_assert!(runtime_of_pod(None, &pod).is_err(), "{} still matches", what);
        }
    }

    #[test]
    fn only_the_exact_token_volume_is_ignored(runtime in any_runtime()) {
        for (what, change) in fake_tokens() {
            let mut pod = pod_of(&runtime);
            change(&mut pod);
            prop_assert!(!is_match(&runtime, &pod), "{} still matches", what);
        }
    }
}

#[test]
fn any_single_change_to_the_full_runtime_breaks_the_match() {
    let changes = any_single_change_is_detected(&full_runtime());
    assert!(changes > 250, "only {changes} changes were tried");
}

/// Checks that each single change or addition breaks the match, and that another order of containers or volumes does
/// not. Returns the number of checked changes.
fn any_single_change_is_detected(runtime: &Runtime) -> usize {
    let whole = serde_json::to_value(runtime).expect("serialises");
    let mut count = 0;
    for (change, value) in variants(&whole) {
        // A pod has no fields `mayVary` and `placeholders`, so a change of them is not visible in the pod.
        let Ok(changed) = serde_json::from_value::<Runtime>(value) else { continue };
        if changed == *runtime || change.contains("mayVary") || change.contains("placeholders") {
            continue;
        }
        let is_order = change.starts_with("/containers swap") || change.starts_with("/volumes swap");
        assert_eq!(is_match(runtime, &pod_of(&changed)), is_order, "{change}");
        count += 1;
    }
    for (what, add) in additions() {
        let mut more = runtime.clone();
        add(&mut more);
        assert!(!is_match(runtime, &pod_of(&more)), "{what}");
        count += 1;
    }
    count
}

type Change<T> = (&'static str, fn(&mut T));

fn additions() -> Vec<Change<Runtime>> {
    fn env(name: &str) -> EnvVar {
        EnvVar { name: name.into(), value: Some("other".into()), value_from: None }
    }
    vec![
        ("a container", |r| {
            r.containers.push(Container { name: "extra".into(), ..r.containers[0].clone() });
        }),
        ("an init container", |r| {
            let extra = Container { name: "extra".into(), ..r.containers[0].clone() };
            r.init_containers.insert(0, extra);
        }),
        ("a container made an init container", |r| {
            let container = r.containers.remove(0);
            r.init_containers.push(container);
        }),
        ("a volume", |r| {
            let (name, empty_dir) = ("extra".into(), Some(EmptyDirVolume {}));
            r.volumes.push(Volume { name, empty_dir, ..Volume::default() });
        }),
        ("an environment variable at the end", |r| r.containers[0].env.push(env("EXTRA"))),
        ("an environment variable at the start", |r| r.containers[0].env.insert(0, env("EXTRA"))),
        ("a second variable of the same name", |r| r.containers[0].env.push(env("MODEL"))),
        ("a variable that differs by case from one that may vary", |r| {
            r.containers[0].env.push(env("log_level"));
        }),
        ("another source of variables", |r| {
            let secret_ref = Some(SourceRef { name: "extra".into(), optional: None });
            r.containers[0].env_from.push(EnvFrom { secret_ref, ..EnvFrom::default() });
        }),
        ("a mount", |r| {
            let (name, mount_path) = ("weights".into(), "/extra".into());
            r.containers[0].volume_mounts.push(VolumeMount { name, mount_path, ..VolumeMount::default() });
        }),
        ("a sub path from the environment", |r| {
            let (name, mount_path) = ("weights".into(), "/extra".into());
            let sub_path_expr = Some("$(LOG_LEVEL)".into());
            let mount = VolumeMount { name, mount_path, sub_path_expr, ..VolumeMount::default() };
            r.containers[0].volume_mounts.insert(0, mount);
        }),
        ("another word of the command", |r| r.containers[0].command.push(Text::default())),
        ("another argument", |r| r.containers[0].args.push(Text::default())),
        ("another restart policy of a container", |r| {
            r.containers[0].restart_policy = Some("Always".into());
        }),
        ("another working directory", |r| r.containers[0].working_dir = Some("/extra".into())),
        ("a command after start", |r| r.containers[0].exec.post_start.push("extra".into())),
        ("a command before stop", |r| r.containers[0].exec.pre_stop.push("extra".into())),
        ("a liveness command", |r| r.containers[0].exec.liveness_probe.push("extra".into())),
        ("a readiness command", |r| r.containers[0].exec.readiness_probe.push("extra".into())),
        ("a request after start", |r| {
            r.containers[0].http.post_start.get_or_insert_with(|| get("/extra")).port = 9;
        }),
        ("a request before stop", |r| {
            r.containers[0].http.pre_stop.get_or_insert_with(|| get("/extra")).path = "/other".into();
        }),
        ("a block device", |r| {
            r.containers[0]
                .volume_devices
                .push(json_as(&json!({ "name": "data", "devicePath": "/dev/extra" })));
        }),
        ("later mounts of the node", |r| {
            let mount =
                json!({ "name": "cache", "mountPath": "/extra", "mountPropagation": "Bidirectional" });
            r.containers[0].volume_mounts.push(json_as(&mount));
        }),
        ("a name with another address", |r| {
            r.host_aliases.insert(0, json_as(&json!({ "ip": "192.0.2.9", "hostnames": ["models.example"] })));
        }),
        ("another name server", |r| r.dns_config.nameservers.insert(0, "192.0.2.9".into())),
        ("another search domain", |r| r.dns_config.searches.insert(0, "evil.example".into())),
        ("a path of the node", |r| {
            r.volumes.push(json_as(&json!({ "name": "extra", "hostPath": { "path": "/" } })));
        }),
        ("the network of the node", |r| r.host_network ^= true),
        ("the processes of the node", |r| r.host_pid ^= true),
        ("the memory of the node", |r| r.host_ipc ^= true),
        ("the processes of the pod", |r| r.share_process_namespace ^= true),
        ("a startup command", |r| r.containers[0].exec.startup_probe.push("extra".into())),
    ]
}

/// Adds the service account token, as the API server does at admission.
fn token(pod: &mut core::PodSpec) {
    let source = |json| serde_json::from_value(json).expect("a projection");
    let sources = vec![
        source(serde_json::json!({ "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } })),
        source(serde_json::json!({ "configMap": {
            "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } })),
        source(serde_json::json!({ "downwardAPI": { "items": [
            { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } })),
    ];
    pod.volumes.get_or_insert_default().push(core::Volume {
        name: TOKEN.to_owned(),
        projected: Some(core::ProjectedVolumeSource { sources: Some(sources), ..Default::default() }),
        ..Default::default()
    });
    token_mounts(pod, TOKEN);
}

const TOKEN: &str = "kube-api-access-x7k2p";

fn token_mounts(pod: &mut core::PodSpec, volume: &str) {
    for container in pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten()) {
        container.volume_mounts.get_or_insert_default().push(core::VolumeMount {
            name: volume.to_owned(),
            mount_path: "/var/run/secrets/kubernetes.io/serviceaccount".to_owned(),
            read_only: Some(true),
            ..Default::default()
        });
    }
}

fn harmless() -> Vec<Change<core::PodSpec>> {
    fn http() -> core::Probe {
        let http_get = core::HTTPGetAction { port: IntOrString::Int(8080), ..Default::default() };
        core::Probe { http_get: Some(http_get), period_seconds: Some(3), ..Default::default() }
    }
    vec![
        ("resources", |pod| {
            let limits = [("nvidia.com/gpu".to_owned(), Quantity("1".to_owned()))];
            let resources = core::ResourceRequirements { limits: Some(limits.into()), ..Default::default() };
            pod.containers[0].resources = Some(resources);
        }),
        ("a port", |pod| {
            let port = core::ContainerPort { container_port: 8080, ..Default::default() };
            pod.containers[0].ports = Some(vec![port]);
        }),
        ("HTTP probes of a container without probe commands", |pod| {
            let c = &mut pod.containers[0];
            for probe in [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe] {
                probe.get_or_insert_with(http);
            }
        }),
        ("the period of a probe command", |pod| {
            pod.containers[0].liveness_probe.iter_mut().for_each(|p| p.period_seconds = Some(1));
        }),
        ("the pull policy", |pod| pod.containers[0].image_pull_policy = Some("Always".to_owned())),
        ("the security context", |pod| {
            let context = core::SecurityContext { run_as_non_root: Some(true), ..Default::default() };
            pod.containers[0].security_context = Some(context);
            pod.security_context = Some(core::PodSecurityContext::default());
        }),
        ("the termination message", |pod| {
            pod.containers[0].termination_message_path = Some("/dev/termination-log".to_owned());
            pod.containers[0].termination_message_policy = Some("File".to_owned());
        }),
        ("scheduling", |pod| {
            pod.node_name = Some("node-1".to_owned());
            pod.node_selector = Some([("gpu".to_owned(), "a100".to_owned())].into());
            pod.priority = Some(1000);
            pod.tolerations = Some(vec![core::Toleration::default()]);
        }),
        ("a service account and its token", |pod| {
            pod.service_account_name = Some("triage".to_owned());
            token(pod);
        }),
        ("the token of OpenShift", |pod| {
            token(pod);
            let source = serde_json::json!({ "configMap": {
                "name": "openshift-service-ca.crt", "items": [{ "key": "service-ca.crt", "path": "service-ca.crt" }] } });
            let projected = pod.volumes.iter_mut().flatten().last().and_then(|v| v.projected.as_mut());
            let sources = projected.and_then(|p| p.sources.as_mut()).expect("added by token");
            sources.push(serde_json::from_value(source).expect("a projection"));
        }),
        ("empty lists", |pod| {
            pod.host_aliases.get_or_insert_default();
            pod.ephemeral_containers = Some(Vec::new());
            let dns = pod.dns_config.get_or_insert_default();
            dns.nameservers.get_or_insert_default();
            dns.searches.get_or_insert_default();
            dns.options = Some(vec![core::PodDNSConfigOption {
                name: Some("ndots".to_owned()),
                value: Some("2".to_owned()),
            }]);
            let c = &mut pod.containers[0];
            c.volume_devices.get_or_insert_default();
            c.command.get_or_insert_default();
            c.env.get_or_insert_default();
            pod.hostname_override = Some(String::new());
            pod.volumes.get_or_insert_default();
        }),
        ("empty texts and false instead of none", |pod| {
            let c = &mut pod.containers[0];
            c.working_dir.get_or_insert_default();
            for mount in c.volume_mounts.iter_mut().flatten() {
                mount.sub_path.get_or_insert_default();
                mount.sub_path_expr.get_or_insert_default();
                mount.read_only.get_or_insert_default();
            }
        }),
        ("an empty value instead of no value", |pod| {
            for env in pod.containers.iter_mut().flat_map(|c| c.env.iter_mut().flatten()) {
                if env.value_from.is_none() {
                    env.value.get_or_insert_default();
                }
            }
        }),
    ]
}

/// Changes of a pod that can change what the pod runs. A `Runtime` has no field for these changes, so the changed pod
/// never matches.
fn unmatchable() -> Vec<Change<core::PodSpec>> {
    fn volume(pod: &mut core::PodSpec, kind: &str) {
        let value = serde_json::json!({ "name": "extra", kind: {} });
        pod.volumes.get_or_insert_default().push(serde_json::from_value(value).expect("a volume"));
    }
    fn mount(pod: &mut core::PodSpec, change: fn(&mut core::VolumeMount)) {
        let mut mount = core::VolumeMount { name: "weights".to_owned(), ..Default::default() };
        change(&mut mount);
        pod.containers[0].volume_mounts.get_or_insert_default().push(mount);
    }
    vec![
        ("an ephemeral container", |pod| {
            pod.ephemeral_containers = Some(vec![core::EphemeralContainer::default()]);
        }),
        ("an unknown kind of a projected source", |pod| {
            let value =
                serde_json::json!({ "name": "extra", "projected": { "sources": [{ "quantumKey": {} }] } });
            pod.volumes.get_or_insert_default().push(serde_json::from_value(value).expect("a volume"));
        }),
        ("gitRepo", |pod| volume(pod, "gitRepo")),
        ("an unknown kind of volume", |pod| volume(pod, "quantumDisk")),
        ("hostnameOverride", |pod| pod.hostname_override = Some("huggingface.co".to_owned())),
        ("a name server in a resolver option", |pod| {
            let options = Some(vec![core::PodDNSConfigOption {
                name: Some("ndots".to_owned()),
                value: Some("2\nnameserver 192.0.2.1".to_owned()),
            }]);
            pod.dns_config = Some(core::PodDNSConfig { options, ..Default::default() });
        }),
        ("terminationMessagePath", |pod| {
            pod.containers[0].termination_message_path = Some("/models/a/config.json".to_owned());
        }),
        ("a Windows host process", |pod| {
            let windows =
                core::WindowsSecurityContextOptions { host_process: Some(true), ..Default::default() };
            let context = core::SecurityContext { windows_options: Some(windows), ..Default::default() };
            pod.containers[0].security_context = Some(context);
        }),
        ("a probe to another host", |pod| {
            let http_get = core::HTTPGetAction { host: Some("192.0.2.1".to_owned()), ..Default::default() };
            pod.containers[0].readiness_probe =
                Some(core::Probe { http_get: Some(http_get), ..Default::default() });
        }),
        ("a hook to another host", |pod| {
            let http_get = core::HTTPGetAction { host: Some("192.0.2.1".to_owned()), ..Default::default() };
            let pre_stop = core::LifecycleHandler { http_get: Some(http_get), ..Default::default() };
            pod.containers[0].lifecycle =
                Some(core::Lifecycle { pre_stop: Some(pre_stop), ..Default::default() });
        }),
        ("recursiveReadOnly", |pod| mount(pod, |m| m.recursive_read_only = Some("Disabled".to_owned()))),
    ]
}

/// Changes that imitate the volume of the service account token.
fn fake_tokens() -> Vec<Change<core::PodSpec>> {
    fn volume(pod: &mut core::PodSpec, source: &Value) {
        let mut value = serde_json::json!({ "name": TOKEN });
        value.as_object_mut().expect("an object").extend(source.as_object().expect("an object").clone());
        pod.volumes.get_or_insert_default().push(serde_json::from_value(value).expect("a volume"));
        token_mounts(pod, TOKEN);
    }
    vec![
        ("a host path", |pod| volume(pod, &serde_json::json!({ "hostPath": { "path": "/evil" } }))),
        ("a claim", |pod| {
            volume(pod, &serde_json::json!({ "persistentVolumeClaim": { "claimName": "evil" } }));
        }),
        ("an image", |pod| volume(pod, &serde_json::json!({ "image": { "reference": "evil" } }))),
        ("a secret", |pod| volume(pod, &serde_json::json!({ "secret": { "secretName": "evil" } }))),
        ("a projected secret", |pod| {
            volume(
                pod,
                &serde_json::json!({ "projected": { "sources": [{ "secret": { "name": "evil" } }] } }),
            );
        }),
        ("a projected config map", |pod| {
            let sources = serde_json::json!([{ "configMap": { "name": "evil" } }]);
            volume(pod, &serde_json::json!({ "projected": { "sources": sources } }));
        }),
        ("another volume in its place", |pod| token_mounts(pod, "weights")),
        ("an additional file in it", |pod| {
            token(pod);
            let source = serde_json::json!({ "downwardAPI": { "items": [
                { "path": "config.json", "fieldRef": { "fieldPath": "metadata.annotations['a']" } }] } });
            let projected = pod.volumes.iter_mut().flatten().last().and_then(|v| v.projected.as_mut());
            let sources = projected.and_then(|p| p.sources.as_mut()).expect("added by token");
            sources.push(serde_json::from_value(source).expect("a projection"));
        }),
        ("every key of its config map", |pod| {
            let sources = serde_json::json!([{ "configMap": { "name": "kube-root-ca.crt" } }]);
            volume(pod, &serde_json::json!({ "projected": { "sources": sources } }));
        }),
        ("a sub path of it", |pod| {
            token(pod);
            let mounts = pod.containers[0].volume_mounts.iter_mut().flatten();
            mounts.last().expect("added by token").sub_path = Some("ca.crt".to_owned());
        }),
        ("a writable mount of it", |pod| {
            token(pod);
            let mounts = pod.containers[0].volume_mounts.iter_mut().flatten();
            mounts.last().expect("added by token").read_only = None;
        }),
        ("a mount of it at another path", |pod| {
            token(pod);
            let mount = core::VolumeMount {
                name: TOKEN.to_owned(),
                mount_path: "/models".to_owned(),
                ..Default::default()
            };
            pod.containers[0].volume_mounts.get_or_insert_default().push(mount);
        }),
    ]
}

/// In each pair, both volumes mean the same. The text of the pod can differ, because the API server fills in defaults,
/// drops empty fields, and writes quantities in one form.
#[test]
fn equal_meanings_match() {
    let spec = |volume: Value| json!({ "containers": [{ "name": "c", "image": "i" }], "volumes": [volume] });
    let claim = |spec: Value| json!({ "name": "v", "ephemeral": { "volumeClaimTemplate": spec } });
    let target = json!({ "targetPortal": "192.0.2.5", "iqn": "iqn.2026-01.example:m", "lun": 0 });
    let full_target = json!({ "targetPortal": "192.0.2.5", "iqn": "iqn.2026-01.example:m", "lun": 0,
        "iscsiInterface": "default", "fsType": "", "readOnly": false, "portals": [] });
    for (approved, pod) in [
        (
            json!({ "name": "v", "hostPath": { "path": "/m" } }),
            json!({ "name": "v", "hostPath": { "path": "/m", "type": "" } }),
        ),
        (
            json!({ "name": "v", "csi": { "driver": "d" } }),
            json!({ "name": "v", "csi": { "driver": "d", "readOnly": false, "fsType": "", "volumeAttributes": {} } }),
        ),
        (
            json!({ "name": "v", "nfs": { "server": "s", "path": "/" } }),
            json!({ "name": "v", "nfs": { "server": "s", "path": "/", "readOnly": false } }),
        ),
        (json!({ "name": "v", "iscsi": target }), json!({ "name": "v", "iscsi": full_target })),
        (
            claim(json!({ "spec": { "resources": { "requests": { "storage": "1Gi" } } } })),
            claim(
                json!({ "metadata": { "labels": {} }, "spec": { "accessModes": [], "volumeMode": "Filesystem",
                "volumeName": "", "resources": { "limits": {}, "requests": { "storage": "1024Mi" } } } }),
            ),
        ),
        (
            claim(json!({ "spec": { "dataSource": { "kind": "PersistentVolumeClaim", "name": "w" } } })),
            claim(
                json!({ "spec": { "dataSource": { "apiGroup": "", "kind": "PersistentVolumeClaim", "name": "w" } } }),
            ),
        ),
    ] {
        for (one, other) in [(&approved, &pod), (&pod, &approved)] {
            assert!(is_match(&json_as(&spec(one.clone())), &json_as(&spec(other.clone()))), "{one}\n{other}");
        }
    }
}

/// In each pair, the volumes look alike and mean different things.
#[test]
fn similar_meanings_do_not_match() {
    let claim = |spec: Value| json!({ "ephemeral": { "volumeClaimTemplate": { "spec": spec } } });
    for (approved, pod) in [
        (json!({ "hostPath": { "path": "/m" } }), json!({ "hostPath": { "path": "/m/" } })),
        (
            json!({ "hostPath": { "path": "/m" } }),
            json!({ "hostPath": { "path": "/m", "type": "FileOrCreate" } }),
        ),
        (json!({ "nfs": { "server": "s", "path": "/m" } }), json!({ "hostPath": { "path": "/m" } })),
        (claim(json!({})), claim(json!({ "storageClassName": "" }))),
        (claim(json!({})), claim(json!({ "selector": {} }))),
        (claim(json!({})), claim(json!({ "resources": { "requests": { "storage": "1G" } } }))),
        (json!({ "emptyDir": {} }), json!({ "csi": { "driver": "d" } })),
    ] {
        let spec = |source: &Value| {
            let mut volume = source.clone();
            volume["name"] = json!("v");
            json!({ "containers": [{ "name": "c", "image": "i" }], "volumes": [volume] })
        };
        for (one, other) in [(&approved, &pod), (&pod, &approved)] {
            assert!(!is_match(&json_as(&spec(one)), &json_as(&spec(other))), "{one}\n{other}");
        }
    }
}

#[test]
fn images_with_one_digest_match_whatever_their_tags() {
    let digest = |c: &str| format!("sha256:{}", c.repeat(64));
    let (a, b) = (digest("a"), digest("b"));
    for (approved, pod, expected) in [
        (format!("r.example:5000/i@{a}"), format!("r.example:5000/i:v1@{a}"), true),
        (format!("r.example:5000/i:v2@{a}"), format!("r.example:5000/i:v1@{a}"), true),
        (format!("i:v1@{a}"), format!("i@{a}"), true),
        (format!("i:v1@{a}"), format!("i:v1@{b}"), false),
        (format!("i:v1@{a}"), "i:v1".to_owned(), false),
        (format!("i@{a}"), format!("j:v1@{a}"), false),
        (format!("r.example:5000/i@{a}"), format!("r.example/i@{a}"), false),
        (format!("i@{a}"), format!("i@{a}@{a}"), false),
        (format!("x/i@{a}"), format!("i@{a}"), false),
        (format!("i:v1:v2@{a}"), format!("i@{a}"), false),
        (format!("i:v1@{a}"), format!("i@{a}@{a}"), false),
        ("i:v1".to_owned(), "i:v2".to_owned(), false),
    ] {
        for (one, other) in [(&approved, &pod), (&pod, &approved)] {
            let spec = |image: &str| {
                json!({ "containers": [{ "name": "c", "image": image }],
                    "volumes": [{ "name": "v", "image": { "reference": image } }] })
            };
            let container_only = |image: &str| json!({ "containers": [{ "name": "c", "image": image }] });
            assert_eq!(is_match(&json_as(&spec(one)), &json_as(&spec(other))), expected, "{one} {other}");
            let is_match = is_match(&json_as(&container_only(one)), &json_as(&container_only(other)));
            assert_eq!(is_match, expected, "{one} {other}");
        }
    }
}

#[test]
fn every_source_that_a_runtime_states_in_full_differs_from_every_other() {
    let all = full_sources();
    for (n, approved) in all.iter().enumerate() {
        for (m, pod) in all.iter().enumerate() {
            let of = |volume: &Volume| Runtime {
                volumes: vec![Volume { name: "v".into(), ..volume.clone() }],
                ..full_runtime()
            };
            assert_eq!(is_match(&of(approved), &pod_of(&of(pod))), n == m, "{n} {m}");
        }
    }
}

#[test]
fn unknown_kind_of_volume_is_refused_with_a_message_that_says_so() {
    let refused = |volume: Value| {
        let pod = json!({ "containers": [{ "name": "c", "image": "i" }], "volumes": [volume] });
        runtime_of_pod(None, &json_as(&pod)).expect_err("refused").to_string()
    };
    let said = refused(json!({ "name": "v", "quantumDisk": {} }));
    assert!(said.contains("the kind of volume v is unknown to this release of Assent"), "{said}");
    let said = refused(json!({ "name": "v", "projected": { "sources": [{ "quantumKey": {} }] } }));
    assert!(said.contains("the kind of a source of volume v is unknown"), "{said}");
    let said = refused(json!({ "name": "v", "gitRepo": { "repository": "r" } }));
    assert!(said.contains("clone the repository in an init container, into an emptyDir"), "{said}");
}

#[test]
fn a_pod_with_an_annotation_that_a_container_runtime_reads_never_matches() {
    let approved = full_runtime();
    for (name, refused) in [("cdi.k8s.io/gpu", true), ("example.com/note", false)] {
        let annotations = [(name.to_owned(), "x".to_owned())].into();
        assert_eq!(runtime_of_pod(Some(&annotations), &pod_of(&approved)).is_err(), refused, "{name}");
    }
}

#[test]
fn a_variable_that_may_vary_has_any_value_at_any_position() {
    let approved = full_runtime();
    let values = [
        serde_json::json!({ "name": "LOG_LEVEL", "value": "debug" }),
        serde_json::json!({ "name": "TOKEN", "value": "" }),
        serde_json::json!({ "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "a", "key": "b" } } }),
        serde_json::json!({ "name": "TOKEN", "valueFrom": { "fileKeyRef": {
            "volumeName": "cache", "path": "env", "key": "TOKEN" } } }),
    ];
    for value in values {
        for place in 0..=approved.containers[0].env.len() {
            let mut pod = pod_of(&approved);
            let env = pod.containers[0].env.as_mut().expect("has some");
            env.insert(place, serde_json::from_value(value.clone()).expect("a variable"));
            assert!(is_match(&approved, &pod), "{value} at position {place}");
        }
    }
}

#[test]
fn may_vary_applies_to_its_own_container_only() {
    let mut approved = full_runtime();
    approved.containers[1].may_vary.env.clear();
    for (n, may) in [(0, true), (1, false)] {
        let mut pod = pod_of(&approved);
        let level = core::EnvVar { name: "LOG_LEVEL".to_owned(), ..Default::default() };
        pod.containers[n].env.as_mut().expect("has some").push(level);
        assert_eq!(is_match(&approved, &pod), may, "container {n}");
    }
}

/// A runtime has no field for a variable from a file, so an approved variable never comes from a file.
#[test]
fn an_approved_variable_from_a_file_does_not_match() {
    let approved = full_runtime();
    for n in 0..approved.containers[0].env.len() {
        let mut pod = pod_of(&approved);
        let variable = &mut pod.containers[0].env.as_mut().expect("has some")[n];
        let from = serde_json::json!({ "fileKeyRef": { "volumeName": "cache", "path": "env", "key": "A" } });
        variable.value = None;
        variable.value_from = Some(serde_json::from_value(from).expect("a source"));
        assert!(!is_match(&approved, &pod), "{}", approved.containers[0].env[n].name);
    }
}

/// The schema refuses two containers with the same name. If such a runtime bypasses the schema, a pod with another
/// container must not match.
#[test]
fn a_duplicate_container_name_admits_no_other_container() {
    let mut approved = full_runtime();
    approved.containers[1] = approved.containers[0].clone();
    let mut other = approved.clone();
    other.containers[1].image = "evil".into();
    assert!(is_match(&approved, &pod_of(&approved)));
    assert!(!is_match(&approved, &pod_of(&other)));
}
