//! Strategies of proptest for runtimes, and conversions of runtimes to pods.

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::api::{
    ConfigMapVolume, Container, DownwardApiFile, DownwardApiVolume, EmptyDirVolume, EnvFrom, EnvVar,
    EnvVarSource, ExecHooks, FieldRef, HttpGet, HttpHeader, HttpHooks, ImageVolume, KeyRef, KeyToPath,
    MayVary, PersistentVolumeClaimVolume, Placeholder, ProjectedObject, ProjectedSource, ProjectedVolume,
    ResourceFieldRef, Runtime, SecretVolume, ServiceAccountTokenSource, SourceRef, Text, Volume,
    VolumeDevice, VolumeMount,
};

/// A runtime with random containers and volumes, from a small set of words. Some fields never vary.
pub fn any_runtime() -> impl Strategy<Value = Runtime> {
    let containers = |names: &'static [&str], least: usize| {
        subsequence(names.to_vec(), least..=2)
            .prop_shuffle()
            .prop_flat_map(|names| names.into_iter().map(any_container).collect::<Vec<_>>())
    };
    let volumes = subsequence(vec!["cache", "weights", "config"], 0..=3)
        .prop_shuffle()
        .prop_flat_map(|names| names.into_iter().map(any_volume).collect::<Vec<_>>());
    (containers(&["serve", "proxy"], 1), containers(&["fetch", "warm-up"], 0), volumes).prop_map(
        |(containers, init_containers, volumes)| Runtime {
            containers,
            init_containers,
            volumes,
            ..Runtime::default()
        },
    )
}

fn full_container(name: &str) -> Container {
    Container {
        name: name.into(),
        image: format!("registry.example/{name}:v1").into(),
        command: words(&["python", "-m"]),
        args: words(&["serve", "--model", "/models/triage"]),
        working_dir: Some("/srv".into()),
        restart_policy: None,
        env: vec![
            plain_env("MODEL", "triage"),
            plain_env("BATCH", "8"),
            EnvVar {
                name: "POD".into(),
                value: None,
                value_from: Some(Box::new(EnvVarSource {
                    field_ref: Some(field("metadata.name")),
                    ..Default::default()
                })),
            },
            EnvVar {
                name: "MEMORY".into(),
                value: None,
                value_from: Some(Box::new(EnvVarSource {
                    resource_field_ref: Some(ResourceFieldRef {
                        container_name: Some("serve".into()),
                        resource: "limits.memory".into(),
                        divisor: "1Mi".into(),
                    }),
                    ..Default::default()
                })),
            },
            EnvVar {
                name: "KEY".into(),
                value: None,
                value_from: Some(Box::new(EnvVarSource {
                    secret_key_ref: Some(key("keys")),
                    ..Default::default()
                })),
            },
        ],
        env_from: vec![
            EnvFrom {
                prefix: Some("P_".into()),
                config_map_ref: Some(SourceRef { name: "settings".into(), optional: Some(true) }),
                secret_ref: None,
            },
            EnvFrom {
                prefix: None,
                config_map_ref: None,
                secret_ref: Some(SourceRef { name: "keys".into(), optional: None }),
            },
        ],
        volume_mounts: vec![
            VolumeMount {
                name: "weights".into(),
                mount_path: "/models".into(),
                sub_path: Some("triage".into()),
                sub_path_expr: None,
                read_only: true,
                mount_propagation: Some("HostToContainer".into()),
            },
            VolumeMount { name: "cache".into(), mount_path: "/cache".into(), ..Default::default() },
        ],
        volume_devices: vec![VolumeDevice { name: "data".into(), device_path: "/dev/data".into() }],
        exec: ExecHooks {
            post_start: words(&["warm"]),
            pre_stop: words(&["drain"]),
            liveness_probe: words(&["alive"]),
            readiness_probe: words(&["ready"]),
            startup_probe: words(&["started"]),
        },
        http: HttpHooks { post_start: Some(get("/warm")), pre_stop: Some(get("/drain")) },
        may_vary: MayVary { env: words(&["LOG_LEVEL", "TOKEN"]) },
    }
}

/// A runtime with nearly every field.
pub fn full_runtime() -> Runtime {
    let volume = |name: &str| Volume { name: name.into(), ..Volume::default() };
    Runtime {
        containers: vec![full_container("serve"), full_container("proxy")],
        init_containers: vec![full_container("fetch"), full_container("warm-up")],
        volumes: vec![
            Volume { image: Some(ImageVolume { reference: "weights:v1".into() }), ..volume("weights") },
            Volume { empty_dir: Some(EmptyDirVolume {}), ..volume("cache") },
            Volume {
                config_map: Some(ConfigMapVolume { name: "settings".into(), items: full_items() }),
                ..volume("config")
            },
            Volume {
                secret: Some(SecretVolume { secret_name: "keys".into(), items: full_items() }),
                ..volume("keys")
            },
            Volume {
                persistent_volume_claim: Some(PersistentVolumeClaimVolume { claim_name: "data".into() }),
                ..volume("data")
            },
            Volume { downward_api: Some(full_downward_api()), ..volume("labels") },
            Volume { projected: Some(full_projection()), ..volume("all") },
        ]
        .into_iter()
        .chain(full_sources())
        .collect(),
        host_aliases: json_as(&json!([
            { "ip": "192.0.2.1", "hostnames": ["models.example", "hub.example"] }, { "ip": "192.0.2.2" },
        ])),
        dns_config: json_as(
            &json!({ "nameservers": ["192.0.2.3", "192.0.2.4"], "searches": ["models.example", "b"] }),
        ),
        host_network: true,
        host_pid: true,
        host_ipc: true,
        share_process_namespace: true,
        placeholders: vec![Placeholder::Ordinal, Placeholder::HostPort],
    }
}

/// A volume for each source of which a runtime states every field. The sources have all fields.
pub fn full_sources() -> Vec<Volume> {
    let selector = json!({ "matchLabels": { "tier": "fast" }, "matchExpressions": [
        { "key": "a", "operator": "In", "values": ["b", "c"] }, { "key": "d", "operator": "Exists" }] });
    json_as(&json!([
        { "name": "node", "hostPath": { "path": "/models", "type": "Directory" } },
        { "name": "bucket", "csi": { "driver": "bucket.example", "readOnly": true, "fsType": "ext4",
            "volumeAttributes": { "bucket": "models", "mode": "ro" }, "nodePublishSecretRef": { "name": "key" } } },
        { "name": "share", "nfs": { "server": "nfs.example", "path": "/models", "readOnly": true } },
        { "name": "disk", "iscsi": { "targetPortal": "192.0.2.5:3260", "iqn": "iqn.2026-01.example:m", "lun": 1,
            "iscsiInterface": "eth", "fsType": "ext4", "readOnly": true, "portals": ["192.0.2.6", "192.0.2.7"],
            "chapAuthDiscovery": true, "chapAuthSession": true, "secretRef": { "name": "chap" },
            "initiatorName": "iqn.2026-01.example:n" } },
        { "name": "scratch", "ephemeral": { "volumeClaimTemplate": {
            "metadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } },
            "spec": { "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "storageClassName": "fast",
                "volumeMode": "Block", "volumeName": "pv", "volumeAttributesClassName": "gold",
                "resources": { "requests": { "storage": "1Gi" }, "limits": { "storage": "3Gi" } },
                "selector": selector,
                "dataSource": { "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s" },
                "dataSourceRef": { "apiGroup": "g.example", "kind": "K", "name": "s", "namespace": "n" } } } } },
        { "name": "identity", "projected": { "sources": [
            { "clusterTrustBundle": { "name": "b", "signerName": "example.org/s", "labelSelector": selector,
                "optional": true, "path": "ca.crt" } },
            { "podCertificate": { "signerName": "example.org/s", "keyType": "ED25519", "maxExpirationSeconds": 86400,
                "credentialBundlePath": "c.pem", "keyPath": "k.pem", "certificateChainPath": "h.pem",
                "userAnnotations": { "example.org/a": "b" } } }] } },
    ]))
}

/// Parses JSON as a part of a runtime or of a pod. If a runtime states every field of a part, the JSON of the part is
/// the same for the runtime and the pod.
pub fn json_as<T: DeserializeOwned>(part: &Value) -> T {
    serde_json::from_value(part.clone()).expect("a part of a runtime or of a pod")
}

fn same<T: DeserializeOwned>(part: &impl Serialize) -> T {
    json_as(&serde_json::to_value(part).expect("serialises"))
}

pub fn get(path: &str) -> HttpGet {
    let header = |name: &str| HttpHeader { name: name.into(), value: "text/plain".into() };
    HttpGet {
        path: path.into(),
        port: 8022,
        scheme: "HTTPS".into(),
        http_headers: vec![header("Accept"), header("Content-Type")],
    }
}

fn full_items() -> Vec<KeyToPath> {
    let item = |key: &str, path: &str| KeyToPath { key: key.into(), path: path.into() };
    vec![item("config.json", "model/config.json"), item("prompt", "prompt")]
}

fn full_downward_api() -> DownwardApiVolume {
    let labels = DownwardApiFile {
        path: "labels".into(),
        field_ref: Some(field("metadata.labels")),
        resource_field_ref: None,
    };
    let memory = DownwardApiFile {
        path: "memory".into(),
        field_ref: None,
        resource_field_ref: Some(ResourceFieldRef {
            container_name: Some("serve".into()),
            resource: "limits.memory".into(),
            divisor: "1Mi".into(),
        }),
    };
    DownwardApiVolume { items: vec![labels, memory] }
}

fn full_projection() -> ProjectedVolume {
    let object = |name: &str| Some(ProjectedObject { name: name.into(), items: full_items() });
    let sources = vec![
        ProjectedSource {
            service_account_token: Some(ServiceAccountTokenSource { path: "mesh-token".into() }),
            ..ProjectedSource::default()
        },
        ProjectedSource { downward_api: Some(full_downward_api()), ..ProjectedSource::default() },
        ProjectedSource { config_map: object("settings"), ..ProjectedSource::default() },
        ProjectedSource { secret: object("keys"), ..ProjectedSource::default() },
    ];
    ProjectedVolume { sources }
}

fn projection_of(volume: &ProjectedVolume) -> core::ProjectedVolumeSource {
    let source = |s: &ProjectedSource| core::VolumeProjection {
        service_account_token: s.service_account_token.as_ref().map(|token| {
            core::ServiceAccountTokenProjection { path: token.path.to_string(), ..Default::default() }
        }),
        downward_api: s
            .downward_api
            .as_ref()
            .map(|d| core::DownwardAPIProjection { items: list(d.items.iter().map(file_of).collect()) }),
        config_map: s.config_map.as_ref().map(|c| core::ConfigMapProjection {
            name: c.name.to_string(),
            items: items_of(&c.items),
            optional: None,
        }),
        secret: s.secret.as_ref().map(|s| core::SecretProjection {
            name: s.name.to_string(),
            items: items_of(&s.items),
            optional: None,
        }),
        cluster_trust_bundle: s.cluster_trust_bundle.as_deref().map(same),
        pod_certificate: s.pod_certificate.as_deref().map(same),
    };
    let sources = list(volume.sources.iter().map(source).collect());
    core::ProjectedVolumeSource { sources, ..Default::default() }
}

fn items_of(items: &[KeyToPath]) -> Option<Vec<core::KeyToPath>> {
    let item = |item: &KeyToPath| core::KeyToPath {
        key: item.key.to_string(),
        path: item.path.to_string(),
        ..Default::default()
    };
    list(items.iter().map(item).collect())
}

fn file_of(file: &DownwardApiFile) -> core::DownwardAPIVolumeFile {
    core::DownwardAPIVolumeFile {
        path: file.path.to_string(),
        field_ref: file.field_ref.as_ref().map(field_of),
        resource_field_ref: file.resource_field_ref.as_ref().map(resource_of),
        ..Default::default()
    }
}

fn field_of(field: &FieldRef) -> core::ObjectFieldSelector {
    core::ObjectFieldSelector {
        api_version: Some(field.api_version.to_string()),
        field_path: field.field_path.to_string(),
    }
}

fn resource_of(resource: &ResourceFieldRef) -> core::ResourceFieldSelector {
    core::ResourceFieldSelector {
        container_name: resource.container_name.as_deref().map(str::to_owned),
        resource: resource.resource.to_string(),
        divisor: Some(Quantity(resource.divisor.to_string())),
    }
}

pub fn pod_of(runtime: &Runtime) -> core::PodSpec {
    let volumes = runtime.volumes.iter().map(|v| core::Volume {
        name: v.name.to_string(),
        image: v.image.as_ref().map(|i| core::ImageVolumeSource {
            reference: Some(i.reference.to_string()),
            ..Default::default()
        }),
        persistent_volume_claim: v.persistent_volume_claim.as_ref().map(|p| {
            core::PersistentVolumeClaimVolumeSource {
                claim_name: p.claim_name.to_string(),
                ..Default::default()
            }
        }),
        config_map: v.config_map.as_ref().map(|c| core::ConfigMapVolumeSource {
            name: c.name.to_string(),
            items: items_of(&c.items),
            ..Default::default()
        }),
        secret: v.secret.as_ref().map(|s| core::SecretVolumeSource {
            secret_name: Some(s.secret_name.to_string()),
            items: items_of(&s.items),
            ..Default::default()
        }),
        downward_api: v.downward_api.as_ref().map(|d| core::DownwardAPIVolumeSource {
            items: list(d.items.iter().map(file_of).collect()),
            ..Default::default()
        }),
        projected: v.projected.as_ref().map(projection_of),
        empty_dir: v.empty_dir.as_ref().map(|_| core::EmptyDirVolumeSource::default()),
        host_path: v.host_path.as_ref().map(same),
        csi: v.csi.as_deref().map(same),
        nfs: v.nfs.as_ref().map(same),
        iscsi: v.iscsi.as_deref().map(same),
        ephemeral: v.ephemeral.as_deref().map(same),
        ..Default::default()
    });
    core::PodSpec {
        containers: runtime.containers.iter().map(container_of).collect(),
        init_containers: list(runtime.init_containers.iter().map(container_of).collect()),
        volumes: list(volumes.collect()),
        host_aliases: list(runtime.host_aliases.iter().map(same).collect()),
        dns_config: Some(same(&runtime.dns_config)),
        host_network: runtime.host_network.then_some(true),
        host_pid: runtime.host_pid.then_some(true),
        host_ipc: runtime.host_ipc.then_some(true),
        share_process_namespace: runtime.share_process_namespace.then_some(true),
        ..Default::default()
    }
}

/// Every single change of `value`, with a description: a changed leaf, a removed or repeated part, or two swapped
/// neighbours.
pub fn variants(value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::String(text) => {
            let mut other = text.clone();
            let last = if other.pop() == Some('0') { '1' } else { '0' };
            vec![
                (" longer".to_owned(), format!("{text}x").into()),
                (" other".to_owned(), format!("{other}{last}").into()),
            ]
        }
        Value::Bool(truth) => vec![(" truth".to_owned(), (!truth).into())],
        Value::Array(items) => {
            let mut all = Vec::new();
            for (n, item) in items.iter().enumerate() {
                let with = |change: &dyn Fn(&mut Vec<Value>)| {
                    let mut items = items.clone();
                    change(&mut items);
                    Value::Array(items)
                };
                all.push((format!(" drop {n}"), with(&|items| drop(items.remove(n)))));
                all.push((format!(" twice {n}"), with(&|items| items.insert(n, item.clone()))));
                if n > 0 {
                    all.push((format!(" swap {n}"), with(&|items| items.swap(n, n - 1))));
                }
                all.extend(
                    variants(item).into_iter().map(|(change, item)| {
                        (format!("/{n}{change}"), with(&|items| items[n] = item.clone()))
                    }),
                );
            }
            all
        }
        Value::Object(fields) => {
            let mut all = Vec::new();
            for (name, field) in fields {
                let mut without = fields.clone();
                without.remove(name);
                all.push((format!(" drop {name}"), without.into()));
                all.extend(variants(field).into_iter().map(|(change, field)| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), field);
                    (format!("/{name}{change}"), fields.into())
                }));
            }
            all
        }
        Value::Number(number) => {
            vec![(" number".to_owned(), (number.as_i64().unwrap_or_default() + 1).into())]
        }
        Value::Null => unreachable!("a runtime has no null"),
    }
}

fn container_of(c: &Container) -> core::Container {
    let exec = |command: &Vec<Text>| {
        list(strings(command)).map(|command| core::ExecAction { command: Some(command) })
    };
    let probe = |command| exec(command).map(|exec| core::Probe { exec: Some(exec), ..Default::default() });
    let hook = |command, get: &Option<HttpGet>| {
        let handler = core::LifecycleHandler {
            exec: exec(command),
            http_get: get.as_ref().map(get_of),
            ..Default::default()
        };
        (handler != core::LifecycleHandler::default()).then_some(handler)
    };
    let source = |s: &EnvVarSource| core::EnvVarSource {
        field_ref: s.field_ref.as_ref().map(field_of),
        resource_field_ref: s.resource_field_ref.as_ref().map(resource_of),
        config_map_key_ref: s.config_map_key_ref.as_ref().map(|k| core::ConfigMapKeySelector {
            name: k.name.to_string(),
            key: k.key.to_string(),
            optional: k.optional,
        }),
        secret_key_ref: s.secret_key_ref.as_ref().map(|k| core::SecretKeySelector {
            name: k.name.to_string(),
            key: k.key.to_string(),
            optional: k.optional,
        }),
        file_key_ref: None,
    };
    let env = c.env.iter().map(|e| core::EnvVar {
        name: e.name.to_string(),
        value: e.value.as_deref().map(str::to_owned),
        value_from: e.value_from.as_deref().map(source),
    });
    let env_from = c.env_from.iter().map(|e| core::EnvFromSource {
        prefix: e.prefix.as_deref().map(str::to_owned),
        config_map_ref: e
            .config_map_ref
            .as_ref()
            .map(|r| core::ConfigMapEnvSource { name: r.name.to_string(), optional: r.optional }),
        secret_ref: e
            .secret_ref
            .as_ref()
            .map(|r| core::SecretEnvSource { name: r.name.to_string(), optional: r.optional }),
    });
    let mounts = c.volume_mounts.iter().map(|m| core::VolumeMount {
        name: m.name.to_string(),
        mount_path: m.mount_path.to_string(),
        sub_path: m.sub_path.as_deref().map(str::to_owned),
        sub_path_expr: m.sub_path_expr.as_deref().map(str::to_owned),
        read_only: m.read_only.then_some(true),
        mount_propagation: m.mount_propagation.as_deref().map(str::to_owned),
        ..Default::default()
    });
    core::Container {
        name: c.name.to_string(),
        image: Some(c.image.to_string()),
        command: list(strings(&c.command)),
        args: list(strings(&c.args)),
        working_dir: c.working_dir.as_deref().map(str::to_owned),
        restart_policy: c.restart_policy.as_deref().map(str::to_owned),
        env: list(env.collect()),
        env_from: list(env_from.collect()),
        volume_mounts: list(mounts.collect()),
        volume_devices: list(c.volume_devices.iter().map(same).collect()),
        lifecycle: Some(core::Lifecycle {
            post_start: hook(&c.exec.post_start, &c.http.post_start),
            pre_stop: hook(&c.exec.pre_stop, &c.http.pre_stop),
            stop_signal: None,
        }),
        liveness_probe: probe(&c.exec.liveness_probe),
        readiness_probe: probe(&c.exec.readiness_probe),
        startup_probe: probe(&c.exec.startup_probe),
        ..Default::default()
    }
}

fn get_of(get: &HttpGet) -> core::HTTPGetAction {
    let header = |h: &HttpHeader| core::HTTPHeader { name: h.name.to_string(), value: h.value.to_string() };
    core::HTTPGetAction {
        path: Some(get.path.to_string()),
        port: IntOrString::Int(get.port),
        scheme: Some(get.scheme.to_string()),
        http_headers: list(get.http_headers.iter().map(header).collect()),
        ..Default::default()
    }
}

fn strings(texts: &[Text]) -> Vec<String> {
    texts.iter().map(Text::to_string).collect()
}

/// Returns `None` for an empty list, because the API server leaves out empty lists.
fn list<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn any_container(name: &'static str) -> impl Strategy<Value = Container> {
    let mount = |(name, path): (&str, &str), (sub_path, read_only)| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        sub_path,
        sub_path_expr: None,
        read_only,
        mount_propagation: None,
    };
    let places = subsequence(vec![("weights", "/models"), ("cache", "/cache"), ("config", "/etc")], 0..=2);
    let mounts = places.prop_shuffle().prop_flat_map(move |places| {
        let how = (option::of(Just(Text::from("triage"))), any::<bool>());
        places.into_iter().map(|place| how.clone().prop_map(move |how| mount(place, how))).collect::<Vec<_>>()
    });
    let names = subsequence(vec!["MODEL", "BATCH", "HF_HOME"], 0..=3).prop_shuffle();
    let env = names.prop_flat_map(|names| names.into_iter().map(any_env).collect::<Vec<_>>());
    let exec = [any_words(), any_words(), any_words(), any_words(), any_words()];
    let exec = exec.prop_map(|[post_start, pre_stop, liveness_probe, readiness_probe, startup_probe]| {
        ExecHooks { post_start, pre_stop, liveness_probe, readiness_probe, startup_probe }
    });
    let may_vary = subsequence(words(&["LOG_LEVEL", "TOKEN"]), 0..=2);
    (
        select(vec!["registry.example/serve:v1", "serve"]),
        (any_words(), any_words()),
        option::of(Just(Text::from("/srv"))),
        env,
        vec(any_env_from(), 0..=2),
        mounts,
        exec,
        may_vary,
    )
        .prop_map(
            move |(image, (command, args), working_dir, env, env_from, volume_mounts, exec, may_vary)| {
                Container {
                    name: name.into(),
                    image: image.into(),
                    command,
                    args,
                    working_dir,
                    restart_policy: None,
                    env,
                    env_from,
                    volume_mounts,
                    volume_devices: Vec::new(),
                    exec,
                    http: HttpHooks::default(),
                    may_vary: MayVary { env: may_vary },
                }
            },
        )
}

fn any_words() -> impl Strategy<Value = Vec<Text>> + Clone {
    vec(select(words(&["serve", "--fast", ""])), 0..=2)
}

fn any_env(name: &'static str) -> impl Strategy<Value = EnvVar> {
    let source = prop_oneof![
        Just(EnvVarSource { field_ref: Some(field("metadata.name")), ..Default::default() }),
        Just(EnvVarSource { config_map_key_ref: Some(key("settings")), ..Default::default() }),
        Just(EnvVarSource { secret_key_ref: Some(key("keys")), ..Default::default() }),
        Just(EnvVarSource {
            resource_field_ref: Some(ResourceFieldRef {
                container_name: None,
                resource: "limits.cpu".into(),
                divisor: "0".into(),
            }),
            ..Default::default()
        }),
    ];
    let said = prop_oneof![
        Just((None, None)),
        Just((Some(Text::from("triage")), None)),
        source.prop_map(|source| (None, Some(source))),
    ];
    said.prop_map(move |(value, value_from)| EnvVar {
        name: name.into(),
        value,
        value_from: value_from.map(Box::new),
    })
}

fn any_env_from() -> impl Strategy<Value = EnvFrom> {
    let source = (select(vec!["settings", "keys"]), option::of(any::<bool>()))
        .prop_map(|(name, optional)| SourceRef { name: name.into(), optional });
    (option::of(Just(Text::from("P_"))), source, any::<bool>()).prop_map(|(prefix, source, secret)| {
        let (config_map_ref, secret_ref) = if secret { (None, Some(source)) } else { (Some(source), None) };
        EnvFrom { prefix, config_map_ref, secret_ref }
    })
}

fn any_volume(name: &'static str) -> impl Strategy<Value = Volume> {
    let volume = move || Volume { name: name.into(), ..Volume::default() };
    let named = Text::from("named");
    prop_oneof![
        Just(Volume { image: Some(ImageVolume { reference: named.clone() }), ..volume() }),
        Just(Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolume { claim_name: named }),
            ..volume()
        }),
        any_items().prop_map(move |items| Volume {
            config_map: Some(ConfigMapVolume { name: "named".into(), items }),
            ..volume()
        }),
        any_items().prop_map(move |items| Volume {
            secret: Some(SecretVolume { secret_name: "named".into(), items }),
            ..volume()
        }),
        select(vec![DownwardApiVolume::default(), full_downward_api()])
            .prop_map(move |downward_api| Volume { downward_api: Some(downward_api), ..volume() }),
        Just(Volume { projected: Some(full_projection()), ..volume() }),
        Just(Volume { empty_dir: Some(EmptyDirVolume {}), ..volume() }),
        select(full_sources()).prop_map(move |full| Volume { name: name.into(), ..full }),
    ]
}

fn any_items() -> impl Strategy<Value = Vec<KeyToPath>> {
    vec(select(full_items()), 0..=2)
}

fn words(words: &[&str]) -> Vec<Text> {
    words.iter().map(|&word| word.into()).collect()
}

fn plain_env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

fn field(path: &str) -> FieldRef {
    FieldRef { api_version: "v1".into(), field_path: path.into() }
}

fn key(object: &str) -> KeyRef {
    KeyRef { name: object.into(), key: "it".into(), optional: None }
}
