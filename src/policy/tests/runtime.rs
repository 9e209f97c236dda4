//! Runtimes made up by proptest, and the pods that have them.

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::api::resource::Quantity};
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::Value;

use crate::api::{
    ConfigMapVolume, Container, DownwardApiVolume, EmptyDirVolume, EnvFrom, EnvVar, EnvVarSource, ExecHooks,
    FieldRef, ImageVolume, KeyRef, MayVary, PersistentVolumeClaimVolume, ProjectedObject, ProjectedSource,
    ProjectedVolume, ResourceFieldRef, Runtime, SecretVolume, ServiceAccountTokenSource, SourceRef, Volume,
    VolumeMount,
};

/// Any runtime that the schema takes, of few words.
pub fn any_runtime() -> impl Strategy<Value = Runtime> {
    let containers = |names: &'static [&str], least: usize| {
        subsequence(names.to_vec(), least..=2)
            .prop_shuffle()
            .prop_flat_map(|names| names.into_iter().map(any_container).collect::<Vec<_>>())
    };
    let volumes = subsequence(vec!["cache", "weights", "config"], 0..=3)
        .prop_shuffle()
        .prop_flat_map(|names| names.into_iter().map(any_volume).collect::<Vec<_>>());
    (containers(&["serve", "proxy"], 1), containers(&["fetch", "warm-up"], 0), volumes)
        .prop_map(|(containers, init_containers, volumes)| Runtime { containers, init_containers, volumes })
}

/// A runtime that says everything that a runtime can say.
pub fn full_runtime() -> Runtime {
    let container = |name: &str| Container {
        name: name.to_owned(),
        image: format!("registry.example/{name}:v1"),
        command: words(&["python", "-m"]),
        args: words(&["serve", "--model", "/models/triage"]),
        working_dir: Some("/srv".to_owned()),
        restart_policy: None,
        env: vec![
            plain_env("MODEL", "triage"),
            plain_env("BATCH", "8"),
            EnvVar {
                name: "POD".to_owned(),
                value: None,
                value_from: Some(Box::new(EnvVarSource {
                    field_ref: Some(field("metadata.name")),
                    ..Default::default()
                })),
            },
            EnvVar {
                name: "MEMORY".to_owned(),
                value: None,
                value_from: Some(Box::new(EnvVarSource {
                    resource_field_ref: Some(ResourceFieldRef {
                        container_name: Some("serve".to_owned()),
                        resource: "limits.memory".to_owned(),
                        divisor: "1Mi".to_owned(),
                    }),
                    ..Default::default()
                })),
            },
            EnvVar {
                name: "KEY".to_owned(),
                value: None,
                value_from: Some(Box::new(EnvVarSource {
                    secret_key_ref: Some(key("keys")),
                    ..Default::default()
                })),
            },
        ],
        env_from: vec![
            EnvFrom {
                prefix: Some("P_".to_owned()),
                config_map_ref: Some(SourceRef { name: "settings".to_owned(), optional: Some(true) }),
                secret_ref: None,
            },
            EnvFrom {
                prefix: None,
                config_map_ref: None,
                secret_ref: Some(SourceRef { name: "keys".to_owned(), optional: None }),
            },
        ],
        volume_mounts: vec![
            VolumeMount {
                name: "weights".to_owned(),
                mount_path: "/models".to_owned(),
                sub_path: Some("triage".to_owned()),
                sub_path_expr: None,
                read_only: true,
            },
            VolumeMount { name: "cache".to_owned(), mount_path: "/cache".to_owned(), ..Default::default() },
        ],
        exec: ExecHooks {
            post_start: words(&["warm"]),
            pre_stop: words(&["drain"]),
            liveness_probe: words(&["alive"]),
            readiness_probe: words(&["ready"]),
            startup_probe: words(&["started"]),
        },
        may_vary: MayVary { env: words(&["LOG_LEVEL", "TOKEN"]) },
    };
    let volume = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    Runtime {
        containers: vec![container("serve"), container("proxy")],
        init_containers: vec![container("fetch"), container("warm-up")],
        volumes: vec![
            Volume { image: Some(ImageVolume { reference: "weights:v1".to_owned() }), ..volume("weights") },
            Volume { empty_dir: Some(EmptyDirVolume {}), ..volume("cache") },
            Volume { config_map: Some(ConfigMapVolume { name: "settings".to_owned() }), ..volume("config") },
            Volume { secret: Some(SecretVolume { secret_name: "keys".to_owned() }), ..volume("keys") },
            Volume {
                persistent_volume_claim: Some(PersistentVolumeClaimVolume { claim_name: "data".to_owned() }),
                ..volume("data")
            },
            Volume { downward_api: Some(DownwardApiVolume {}), ..volume("labels") },
            Volume { projected: Some(full_projection()), ..volume("all") },
        ],
    }
}

fn full_projection() -> ProjectedVolume {
    let object = |name: &str| Some(ProjectedObject { name: name.to_owned() });
    let sources = vec![
        ProjectedSource {
            service_account_token: Some(ServiceAccountTokenSource {}),
            ..ProjectedSource::default()
        },
        ProjectedSource { downward_api: Some(DownwardApiVolume {}), ..ProjectedSource::default() },
        ProjectedSource { config_map: object("settings"), ..ProjectedSource::default() },
        ProjectedSource { secret: object("keys"), ..ProjectedSource::default() },
    ];
    ProjectedVolume { sources }
}

fn projection_of(volume: &ProjectedVolume) -> core::ProjectedVolumeSource {
    let source = |s: &ProjectedSource| core::VolumeProjection {
        service_account_token: s
            .service_account_token
            .as_ref()
            .map(|_| core::ServiceAccountTokenProjection { path: "token".to_owned(), ..Default::default() }),
        downward_api: s.downward_api.as_ref().map(|_| core::DownwardAPIProjection::default()),
        config_map: s
            .config_map
            .as_ref()
            .map(|c| core::ConfigMapProjection { name: c.name.clone(), ..Default::default() }),
        secret: s
            .secret
            .as_ref()
            .map(|s| core::SecretProjection { name: s.name.clone(), ..Default::default() }),
        ..Default::default()
    };
    let sources = list(volume.sources.iter().map(source).collect());
    core::ProjectedVolumeSource { sources, ..Default::default() }
}

/// A pod that has `runtime` and nothing else.
pub fn pod_of(runtime: &Runtime) -> core::PodSpec {
    let volumes = runtime.volumes.iter().map(|v| core::Volume {
        name: v.name.clone(),
        image: v
            .image
            .as_ref()
            .map(|i| core::ImageVolumeSource { reference: Some(i.reference.clone()), ..Default::default() }),
        persistent_volume_claim: v.persistent_volume_claim.as_ref().map(|p| {
            core::PersistentVolumeClaimVolumeSource { claim_name: p.claim_name.clone(), ..Default::default() }
        }),
        config_map: v
            .config_map
            .as_ref()
            .map(|c| core::ConfigMapVolumeSource { name: c.name.clone(), ..Default::default() }),
        secret: v.secret.as_ref().map(|s| core::SecretVolumeSource {
            secret_name: Some(s.secret_name.clone()),
            ..Default::default()
        }),
        downward_api: v.downward_api.as_ref().map(|_| core::DownwardAPIVolumeSource::default()),
        projected: v.projected.as_ref().map(projection_of),
        empty_dir: v.empty_dir.as_ref().map(|_| core::EmptyDirVolumeSource::default()),
        ..Default::default()
    });
    core::PodSpec {
        containers: runtime.containers.iter().map(container_of).collect(),
        init_containers: list(runtime.init_containers.iter().map(container_of).collect()),
        volumes: list(volumes.collect()),
        ..Default::default()
    }
}

/// `value` changed in one place, in every way: a leaf is another, something is gone, neighbours swap.
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
        Value::Null | Value::Number(_) => unreachable!("a runtime has none"),
    }
}

fn container_of(c: &Container) -> core::Container {
    let exec = |command: &Vec<String>| {
        (!command.is_empty()).then(|| core::ExecAction { command: Some(command.clone()) })
    };
    let probe = |command| exec(command).map(|exec| core::Probe { exec: Some(exec), ..Default::default() });
    let hook =
        |command| exec(command).map(|exec| core::LifecycleHandler { exec: Some(exec), ..Default::default() });
    let source = |s: &EnvVarSource| core::EnvVarSource {
        field_ref: s.field_ref.as_ref().map(|f| core::ObjectFieldSelector {
            api_version: Some(f.api_version.clone()),
            field_path: f.field_path.clone(),
        }),
        resource_field_ref: s.resource_field_ref.as_ref().map(|r| core::ResourceFieldSelector {
            container_name: r.container_name.clone(),
            resource: r.resource.clone(),
            divisor: Some(Quantity(r.divisor.clone())),
        }),
        config_map_key_ref: s.config_map_key_ref.as_ref().map(|k| core::ConfigMapKeySelector {
            name: k.name.clone(),
            key: k.key.clone(),
            optional: k.optional,
        }),
        secret_key_ref: s.secret_key_ref.as_ref().map(|k| core::SecretKeySelector {
            name: k.name.clone(),
            key: k.key.clone(),
            optional: k.optional,
        }),
        file_key_ref: None,
    };
    let env = c.env.iter().map(|e| core::EnvVar {
        name: e.name.clone(),
        value: e.value.clone(),
        value_from: e.value_from.as_deref().map(source),
    });
    let env_from = c.env_from.iter().map(|e| core::EnvFromSource {
        prefix: e.prefix.clone(),
        config_map_ref: e
            .config_map_ref
            .as_ref()
            .map(|r| core::ConfigMapEnvSource { name: r.name.clone(), optional: r.optional }),
        secret_ref: e
            .secret_ref
            .as_ref()
            .map(|r| core::SecretEnvSource { name: r.name.clone(), optional: r.optional }),
    });
    let mounts = c.volume_mounts.iter().map(|m| core::VolumeMount {
        name: m.name.clone(),
        mount_path: m.mount_path.clone(),
        sub_path: m.sub_path.clone(),
        sub_path_expr: m.sub_path_expr.clone(),
        read_only: m.read_only.then_some(true),
        ..Default::default()
    });
    core::Container {
        name: c.name.clone(),
        image: Some(c.image.clone()),
        command: list(c.command.clone()),
        args: list(c.args.clone()),
        working_dir: c.working_dir.clone(),
        restart_policy: c.restart_policy.clone(),
        env: list(env.collect()),
        env_from: list(env_from.collect()),
        volume_mounts: list(mounts.collect()),
        lifecycle: Some(core::Lifecycle {
            post_start: hook(&c.exec.post_start),
            pre_stop: hook(&c.exec.pre_stop),
            stop_signal: None,
        }),
        liveness_probe: probe(&c.exec.liveness_probe),
        readiness_probe: probe(&c.exec.readiness_probe),
        startup_probe: probe(&c.exec.startup_probe),
        ..Default::default()
    }
}

/// As the API server writes an empty list: not at all.
fn list<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn any_container(name: &'static str) -> impl Strategy<Value = Container> {
    let mount = |(name, path): (&str, &str), (sub_path, read_only)| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        sub_path,
        sub_path_expr: None,
        read_only,
    };
    let places = subsequence(vec![("weights", "/models"), ("cache", "/cache"), ("config", "/etc")], 0..=2);
    let mounts = places.prop_shuffle().prop_flat_map(move |places| {
        let how = (option::of(Just("triage".to_owned())), any::<bool>());
        places.into_iter().map(|place| how.clone().prop_map(move |how| mount(place, how))).collect::<Vec<_>>()
    });
    let names = subsequence(vec!["MODEL", "BATCH", "HF_HOME"], 0..=3).prop_shuffle();
    let env = names.prop_flat_map(|names| names.into_iter().map(any_env).collect::<Vec<_>>());
    let exec = [any_words(), any_words(), any_words(), any_words(), any_words()];
    let exec = exec.prop_map(|[post_start, pre_stop, liveness_probe, readiness_probe, startup_probe]| {
        ExecHooks { post_start, pre_stop, liveness_probe, readiness_probe, startup_probe }
    });
    let may_vary = btree_set(select(vec!["LOG_LEVEL".to_owned(), "TOKEN".to_owned()]), 0..=2);
    (
        select(vec!["registry.example/serve:v1", "serve"]),
        (any_words(), any_words()),
        option::of(Just("/srv".to_owned())),
        env,
        vec(any_env_from(), 0..=2),
        mounts,
        exec,
        may_vary,
    )
        .prop_map(
            move |(image, (command, args), working_dir, env, env_from, volume_mounts, exec, may_vary)| {
                Container {
                    name: name.to_owned(),
                    image: image.to_owned(),
                    command,
                    args,
                    working_dir,
                    restart_policy: None,
                    env,
                    env_from,
                    volume_mounts,
                    exec,
                    may_vary: MayVary { env: may_vary.into_iter().collect() },
                }
            },
        )
}

fn any_words() -> impl Strategy<Value = Vec<String>> + Clone {
    vec(select(vec!["serve".to_owned(), "--fast".to_owned(), String::new()]), 0..=2)
}

fn any_env(name: &'static str) -> impl Strategy<Value = EnvVar> {
    let source = prop_oneof![
        Just(EnvVarSource { field_ref: Some(field("metadata.name")), ..Default::default() }),
        Just(EnvVarSource { config_map_key_ref: Some(key("settings")), ..Default::default() }),
        Just(EnvVarSource { secret_key_ref: Some(key("keys")), ..Default::default() }),
        Just(EnvVarSource {
            resource_field_ref: Some(ResourceFieldRef {
                container_name: None,
                resource: "limits.cpu".to_owned(),
                divisor: "0".to_owned(),
            }),
            ..Default::default()
        }),
    ];
    let said = prop_oneof![
        Just((None, None)),
        Just((Some("triage".to_owned()), None)),
        source.prop_map(|source| (None, Some(source))),
    ];
    said.prop_map(move |(value, value_from)| EnvVar {
        name: name.to_owned(),
        value,
        value_from: value_from.map(Box::new),
    })
}

fn any_env_from() -> impl Strategy<Value = EnvFrom> {
    let source = (select(vec!["settings", "keys"]), option::of(any::<bool>()))
        .prop_map(|(name, optional)| SourceRef { name: name.to_owned(), optional });
    (option::of(Just("P_".to_owned())), source, any::<bool>()).prop_map(|(prefix, source, secret)| {
        let (config_map_ref, secret_ref) = if secret { (None, Some(source)) } else { (Some(source), None) };
        EnvFrom { prefix, config_map_ref, secret_ref }
    })
}

fn any_volume(name: &'static str) -> impl Strategy<Value = Volume> {
    let volume = move || Volume { name: name.to_owned(), ..Volume::default() };
    let named = "named".to_owned();
    prop_oneof![
        Just(Volume { image: Some(ImageVolume { reference: named.clone() }), ..volume() }),
        Just(Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolume { claim_name: named.clone() }),
            ..volume()
        }),
        Just(Volume { config_map: Some(ConfigMapVolume { name: named.clone() }), ..volume() }),
        Just(Volume { secret: Some(SecretVolume { secret_name: named }), ..volume() }),
        Just(Volume { empty_dir: Some(EmptyDirVolume {}), ..volume() }),
    ]
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn plain_env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn field(path: &str) -> FieldRef {
    FieldRef { api_version: "v1".to_owned(), field_path: path.to_owned() }
}

fn key(object: &str) -> KeyRef {
    KeyRef { name: object.to_owned(), key: "it".to_owned(), optional: None }
}
