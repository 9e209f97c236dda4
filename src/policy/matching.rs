//! Whether a pod is what was approved.
//!
//! ```text
//!  PodSpec ── runtime_of_pod ──► Runtime, without what is trusted ─┐
//!     │                                                             ├─ matches ──► yes | no
//!     └─► Unmatchable: no Runtime can say                           │
//!         what this pod does                     approved Runtime ──┘
//! ```
//!
//! The API server decides the same in `admission/matches.cel`; a test holds the two equal. Pods,
//! containers, variables and mounts are taken apart field by field, so that a field that a new
//! Kubernetes adds does not compile until somebody has decided whether it can name a model; a kind of
//! volume that it adds is refused.

use k8s_openapi::api::core::v1 as core;

use super::without_trusted;
use crate::api::{
    ConfigMapVolume, Container, DownwardApiVolume, EmptyDirVolume, EnvFrom, EnvVar, EnvVarSource, ExecHooks,
    FieldRef, ImageVolume, KeyRef, MayVary, PersistentVolumeClaimVolume, ProjectedObject, ProjectedSource,
    ProjectedVolume, ResourceFieldRef, Runtime, SecretVolume, ServiceAccountTokenSource, SourceRef, Text,
    Trusted, Volume, VolumeMount,
};

/// Where the API server mounts the service account's token; not part of a runtime.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How the API server names the volume of that token.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// What else than the token is in that volume: the certificates by which to know the API server and,
/// on `OpenShift`, services.
const TOKEN_BUNDLES: [&str; 2] = ["kube-root-ca.crt", "openshift-service-ca.crt"];

/// A pod has something that can name a model and that a [`Runtime`] cannot express.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0} cannot be part of an approved runtime")]
pub struct Unmatchable(Box<str>);

/// Whether a pod with the runtime `pod` is, but for what is `trusted`, the model with the runtime `approved`.
pub fn matches(approved: &Runtime, trusted: &Trusted, pod: &Runtime) -> bool {
    let pod = without_trusted(approved, trusted, pod);
    same_set(&approved.containers, &pod.containers, |c| &c.name, container_matches)
        && approved.init_containers.len() == pod.init_containers.len()
        && approved.init_containers.iter().zip(&pod.init_containers).all(|(a, p)| container_matches(a, p))
        && same_set(&approved.volumes, &pod.volumes, |v| &v.name, |a, p| a == p)
}

fn same_set<T>(approved: &[T], pod: &[T], name: fn(&T) -> &str, same: fn(&T, &T) -> bool) -> bool {
    approved.len() == pod.len()
        && approved.iter().all(|a| pod.iter().any(|p| name(p) == name(a) && same(a, p)))
        && pod.iter().all(|p| approved.iter().any(|a| name(p) == name(a) && same(a, p)))
}

pub(super) fn container_matches(approved: &Container, pod: &Container) -> bool {
    let Container {
        name,
        image,
        command,
        args,
        working_dir,
        restart_policy,
        env,
        env_from,
        volume_mounts,
        exec,
        may_vary: MayVary { env: varying },
    } = approved;
    let pod_env = pod.env.iter().filter(|e| !varying.contains(&e.name));
    *name == pod.name
        && *image == pod.image
        && *command == pod.command
        && *args == pod.args
        && *working_dir == pod.working_dir
        && *restart_policy == pod.restart_policy
        && env.iter().eq(pod_env)
        && *env_from == pod.env_from
        && *volume_mounts == pod.volume_mounts
        && *exec == pod.exec
}

/// The runtime of a pod.
///
/// # Errors
/// [`Unmatchable`] if the pod has something that can name a model and is never approved.
pub fn runtime_of_pod(pod: &core::PodSpec) -> Result<Runtime, Unmatchable> {
    let core::PodSpec {
        containers,
        init_containers,
        volumes,
        host_aliases,
        dns_config,
        ephemeral_containers,
        active_deadline_seconds: _,
        affinity: _,
        automount_service_account_token: _,
        dns_policy: _,
        enable_service_links: _,
        eviction_responders: _,
        host_ipc: _,
        host_network: _,
        host_pid: _,
        host_users: _,
        hostname: _,
        hostname_override: _,
        image_pull_secrets: _,
        node_name: _,
        node_selector: _,
        os: _,
        overhead: _,
        preemption_policy: _,
        priority: _,
        priority_class_name: _,
        readiness_gates: _,
        resource_claims: _,
        resources: _,
        restart_policy: _,
        runtime_class_name: _,
        scheduler_name: _,
        scheduling_gates: _,
        scheduling_group: _,
        security_context: _,
        service_account: _,
        service_account_name: _,
        set_hostname_as_fqdn: _,
        share_process_namespace: _,
        subdomain: _,
        termination_grace_period_seconds: _,
        tolerations: _,
        topology_spread_constraints: _,
    } = pod;
    let refuse = |present: bool, what: &str| if present { Err(Unmatchable(what.into())) } else { Ok(()) };
    refuse(host_aliases.iter().flatten().next().is_some(), "hostAliases")?;
    let nameservers = dns_config.iter().flat_map(|dns| dns.nameservers.iter().flatten());
    refuse(nameservers.count() > 0, "dnsConfig.nameservers")?;
    let searches = dns_config.iter().flat_map(|dns| dns.searches.iter().flatten());
    refuse(searches.count() > 0, "dnsConfig.searches")?;
    refuse(ephemeral_containers.iter().flatten().next().is_some(), "an ephemeral container")?;
    let volumes = volumes.iter().flatten().filter(|v| !is_token(v));
    Ok(Runtime {
        containers: containers.iter().map(container).collect::<Result<_, _>>()?,
        init_containers: init_containers.iter().flatten().map(container).collect::<Result<_, _>>()?,
        volumes: volumes.map(volume).collect::<Result<_, _>>()?,
    })
}

/// Whether a volume is the service account's token as the API server adds it: what has its name and
/// other contents is not.
fn is_token(volume: &core::Volume) -> bool {
    let is_its_part = |source: &core::VolumeProjection| {
        source.service_account_token.is_some()
            || source.downward_api.is_some()
            || source.config_map.as_ref().is_some_and(|c| TOKEN_BUNDLES.contains(&c.name.as_str()))
    };
    volume.name.starts_with(TOKEN_VOLUME)
        && volume.projected.as_ref().is_some_and(|p| p.sources.iter().flatten().all(is_its_part))
}

fn container(pod: &core::Container) -> Result<Container, Unmatchable> {
    let core::Container {
        name,
        image,
        command,
        args,
        working_dir,
        env,
        env_from,
        volume_mounts,
        lifecycle,
        liveness_probe,
        readiness_probe,
        startup_probe,
        volume_devices,
        image_pull_policy: _,
        ports: _,
        resize_policy: _,
        resources: _,
        restart_policy,
        restart_policy_rules: _,
        security_context: _,
        stdin: _,
        stdin_once: _,
        termination_message_path: _,
        termination_message_policy: _,
        tty: _,
    } = pod;
    if volume_devices.iter().flatten().next().is_some() {
        return Err(Unmatchable(format!("volumeDevices of container {name}").into()));
    }
    let probe = |probe: &Option<core::Probe>| command_of(probe.as_ref().and_then(|p| p.exec.as_ref()));
    let hook = |hook: fn(&core::Lifecycle) -> &Option<core::LifecycleHandler>| {
        command_of(lifecycle.as_ref().and_then(|l| hook(l).as_ref()).and_then(|h| h.exec.as_ref()))
    };
    let is_token = |m: &&core::VolumeMount| m.mount_path == TOKEN_PATH && m.name.starts_with(TOKEN_VOLUME);
    let mounts = volume_mounts.iter().flatten().filter(|m| !is_token(m));
    Ok(Container {
        name: name.as_str().into(),
        image: image.as_deref().unwrap_or_default().into(),
        command: texts(command.as_ref()),
        args: texts(args.as_ref()),
        working_dir: working_dir.as_deref().map(Text::from),
        restart_policy: restart_policy.as_deref().map(Text::from),
        env: env.iter().flatten().map(env_var).collect(),
        env_from: env_from.iter().flatten().map(env_from_source).collect(),
        volume_mounts: mounts.map(volume_mount).collect::<Result<_, _>>()?,
        exec: ExecHooks {
            post_start: hook(|l| &l.post_start),
            pre_stop: hook(|l| &l.pre_stop),
            liveness_probe: probe(liveness_probe),
            readiness_probe: probe(readiness_probe),
            startup_probe: probe(startup_probe),
        },
        may_vary: MayVary::default(),
    })
}

fn command_of(exec: Option<&core::ExecAction>) -> Vec<Text> {
    texts(exec.and_then(|exec| exec.command.as_ref()))
}

fn texts(texts: Option<&Vec<String>>) -> Vec<Text> {
    texts.into_iter().flatten().map(|text| text.as_str().into()).collect()
}

fn env_var(pod: &core::EnvVar) -> EnvVar {
    EnvVar {
        name: pod.name.as_str().into(),
        value: pod.value.as_deref().filter(|v| !v.is_empty()).map(Text::from),
        value_from: pod.value_from.as_ref().map(|source| Box::new(env_var_source(source))),
    }
}

/// A file, which no approved variable comes from, becomes no source at all, which no approved variable
/// has either: so that one that may vary may come from a file too.
fn env_var_source(source: &core::EnvVarSource) -> EnvVarSource {
    let core::EnvVarSource {
        config_map_key_ref,
        field_ref,
        file_key_ref: _,
        resource_field_ref,
        secret_key_ref,
    } = source;
    EnvVarSource {
        field_ref: field_ref.as_ref().map(|f| FieldRef {
            api_version: f.api_version.as_deref().unwrap_or("v1").into(),
            field_path: f.field_path.as_str().into(),
        }),
        resource_field_ref: resource_field_ref.as_ref().map(|r| ResourceFieldRef {
            container_name: r.container_name.as_deref().map(Text::from),
            resource: r.resource.as_str().into(),
            divisor: r.divisor.as_ref().map_or("0", |d| &d.0).into(),
        }),
        config_map_key_ref: config_map_key_ref.as_ref().map(|r| KeyRef {
            name: r.name.as_str().into(),
            key: r.key.as_str().into(),
            optional: r.optional,
        }),
        secret_key_ref: secret_key_ref.as_ref().map(|r| KeyRef {
            name: r.name.as_str().into(),
            key: r.key.as_str().into(),
            optional: r.optional,
        }),
    }
}

fn env_from_source(pod: &core::EnvFromSource) -> EnvFrom {
    let core::EnvFromSource { config_map_ref, prefix, secret_ref } = pod;
    EnvFrom {
        prefix: prefix.as_deref().filter(|p| !p.is_empty()).map(Text::from),
        config_map_ref: config_map_ref
            .as_ref()
            .map(|r| SourceRef { name: r.name.as_str().into(), optional: r.optional }),
        secret_ref: secret_ref
            .as_ref()
            .map(|r| SourceRef { name: r.name.as_str().into(), optional: r.optional }),
    }
}

fn volume_mount(pod: &core::VolumeMount) -> Result<VolumeMount, Unmatchable> {
    let core::VolumeMount {
        bind_mount_options,
        mount_path,
        mount_propagation,
        name,
        read_only,
        recursive_read_only,
        sub_path,
        sub_path_expr,
    } = pod;
    if bind_mount_options.is_some() || mount_propagation.is_some() || recursive_read_only.is_some() {
        return Err(Unmatchable(
            format!("bindMountOptions, mountPropagation or recursiveReadOnly of the mount at {mount_path}")
                .into(),
        ));
    }
    Ok(VolumeMount {
        name: name.as_str().into(),
        mount_path: mount_path.as_str().into(),
        sub_path: sub_path.as_deref().map(Text::from),
        sub_path_expr: sub_path_expr.as_deref().map(Text::from),
        read_only: read_only.unwrap_or_default(),
    })
}

fn volume(pod: &core::Volume) -> Result<Volume, Unmatchable> {
    let volume = Volume {
        name: pod.name.as_str().into(),
        image: pod
            .image
            .as_ref()
            .map(|i| ImageVolume { reference: i.reference.as_deref().unwrap_or_default().into() }),
        persistent_volume_claim: pod
            .persistent_volume_claim
            .as_ref()
            .map(|claim| PersistentVolumeClaimVolume { claim_name: claim.claim_name.as_str().into() }),
        config_map: pod.config_map.as_ref().map(|c| ConfigMapVolume { name: c.name.as_str().into() }),
        secret: pod
            .secret
            .as_ref()
            .map(|s| SecretVolume { secret_name: s.secret_name.as_deref().unwrap_or_default().into() }),
        downward_api: pod.downward_api.as_ref().map(|_| DownwardApiVolume {}),
        projected: pod.projected.as_ref().map(|p| projected(&pod.name, p)).transpose()?,
        empty_dir: pod.empty_dir.as_ref().map(|_| EmptyDirVolume {}),
    };
    let sourceless = Volume { name: pod.name.as_str().into(), ..Volume::default() };
    if volume == sourceless {
        return Err(Unmatchable(format!("the kind of volume {}", pod.name).into()));
    }
    Ok(volume)
}

/// What has the name of the service account's token, and is not it, is never approved.
fn projected(name: &str, pod: &core::ProjectedVolumeSource) -> Result<ProjectedVolume, Unmatchable> {
    if name.starts_with(TOKEN_VOLUME) {
        return Err(Unmatchable(format!("what is in volume {name}").into()));
    }
    let sources = pod.sources.iter().flatten().map(|source| projected_source(name, source));
    Ok(ProjectedVolume { sources: sources.collect::<Result<_, _>>()? })
}

fn projected_source(name: &str, pod: &core::VolumeProjection) -> Result<ProjectedSource, Unmatchable> {
    let object = |name: &str| ProjectedObject { name: name.into() };
    let source = ProjectedSource {
        service_account_token: pod.service_account_token.as_ref().map(|_| ServiceAccountTokenSource {}),
        downward_api: pod.downward_api.as_ref().map(|_| DownwardApiVolume {}),
        config_map: pod.config_map.as_ref().map(|c| object(&c.name)),
        secret: pod.secret.as_ref().map(|s| object(&s.name)),
    };
    if source == ProjectedSource::default() {
        return Err(Unmatchable(format!("the kind of a source of volume {name}").into()));
    }
    Ok(source)
}
