//! Compares a pod with an approved runtime.
//!
//! ```text
//!  PodSpec ── runtime_of_pod ──► Runtime ── without_trusted ──┐
//!                                                             ├─► matches ──► yes or no
//!  approved Runtime ──────────────────────────────────────────┘
//! ```
//!
//! If no runtime can describe the pod, [`runtime_of_pod`] returns the error [`Unmatchable`].
//!
//! The API server makes the same comparison with `admission/cel/matches.cel`. A test compares both implementations. The
//! table [`FIELDS`](super::FIELDS) has the class of each field. The code destructures pods, containers and mounts
//! without `..`. So a new field of a later Kubernetes version is a compile error until a developer classifies the
//! field.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::{
    convert::{field, is_set, non_empty, resource, texts},
    fields::is_refused_annotation,
    hooks::hooks,
    placeholders::Placeholders,
    unmatchable::{Unmatchable, refuse, refuse_of},
    volumes::{is_token, is_token_mount, volume},
    without_trusted,
};
use crate::api::{
    Container, DnsConfig, EnvFrom, EnvVar, EnvVarSource, HostAlias, ImageVolume, KeyRef, MayVary, Runtime,
    SourceRef, Text, Trusted, Volume, VolumeDevice, VolumeMount,
};

/// The default `terminationMessagePath` of Kubernetes.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Whether the runtime `pod`, without its `trusted` additions, equals the runtime `approved`. Values for placeholders
/// in `approved`, and variables that may vary, can differ.
pub fn matches(approved: &Runtime, trusted: &Trusted, pod: &Runtime) -> bool {
    let placeholders = Placeholders::of(approved);
    let pod = placeholders.with_volume_name(approved, pod);
    let pod = without_trusted(approved, trusted, &pod);
    let same_container = |a: &Container, p: &Container| container_matches(a, p, placeholders);
    let same_volume = |a: &Volume, p: &Volume| volume_matches(a, p, placeholders);
    same_set(&approved.containers, &pod.containers, |c| &c.name, same_container)
        && approved.init_containers.len() == pod.init_containers.len()
        && approved.init_containers.iter().zip(&pod.init_containers).all(|(a, p)| same_container(a, p))
        && same_set(&approved.volumes, &pod.volumes, |v| &v.name, same_volume)
        && approved.host_aliases == pod.host_aliases
        && approved.dns_config == pod.dns_config
        && approved.host_network == pod.host_network
        && approved.host_pid == pod.host_pid
        && approved.host_ipc == pod.host_ipc
        && approved.share_process_namespace == pod.share_process_namespace
}

fn same_set<T>(approved: &[T], pod: &[T], name: fn(&T) -> &str, same: impl Fn(&T, &T) -> bool) -> bool {
    approved.len() == pod.len()
        && approved.iter().all(|a| pod.iter().any(|p| name(p) == name(a) && same(a, p)))
        && pod.iter().all(|p| approved.iter().any(|a| name(p) == name(a) && same(a, p)))
}

/// Whether two references name the same image: their texts are equal, or they have the same repository and digest. A
/// container runtime ignores the tag beside a digest.
fn image_matches(approved: &str, pod: &str) -> bool {
    approved == pod || without_tag(approved).is_some_and(|approved| Some(approved) == without_tag(pod))
}

/// The repository and the digest of an image. `None` if the image has no digest.
fn without_tag(image: &str) -> Option<(&str, &str)> {
    let (name, digest) = image.rsplit_once('@')?;
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
    Some((tag.map_or(name, |colon| &name[..colon]), digest))
}

pub(super) fn volume_matches(approved: &Volume, pod: &Volume, placeholders: Placeholders<'_>) -> bool {
    if let (Some(ImageVolume { reference: approved_image }), Some(ImageVolume { reference })) =
        (&approved.image, &pod.image)
    {
        return approved.name == pod.name && image_matches(approved_image, reference);
    }
    match (&approved.persistent_volume_claim, &pod.persistent_volume_claim) {
        (Some(claim), Some(of_pod)) => {
            approved.name == pod.name && placeholders.text_matches(&claim.claim_name, &of_pod.claim_name)
        }
        _ => approved == pod,
    }
}

pub(super) fn container_matches(
    approved: &Container,
    pod: &Container,
    placeholders: Placeholders<'_>,
) -> bool {
    let Container {
        name,
        image,
        command,
        args,
        working_dir,
        restart_policy,
        env: _,
        env_from,
        volume_mounts,
        volume_devices,
        exec,
        http,
        may_vary: _,
    } = approved;
    *name == pod.name
        && image_matches(image, &pod.image)
        && placeholders.texts_match(command, &pod.command)
        && placeholders.texts_match(args, &pod.args)
        && *working_dir == pod.working_dir
        && *restart_policy == pod.restart_policy
        && env_matches(approved, &pod.env, placeholders)
        && *env_from == pod.env_from
        && *volume_mounts == pod.volume_mounts
        && *volume_devices == pod.volume_devices
        && *exec == pod.exec
        && *http == pod.http
}

/// Whether the variables of the pod equal the variables of the approved container, in the same order. The comparison
/// leaves out variables of the pod that may vary.
pub(super) fn env_matches(approved: &Container, pod: &[EnvVar], placeholders: Placeholders<'_>) -> bool {
    let varies = |var: &EnvVar| approved.may_vary.env.iter().any(|entry| placeholders.covers(entry, var));
    let mut remaining = pod.iter().filter(|var| !varies(var));
    approved.env.iter().all(|a| remaining.next().is_some_and(|p| placeholders.variable_matches(a, p)))
        && remaining.next().is_none()
}

/// Converts a pod with these annotations to the [`Runtime`] that [`matches()`] compares.
///
/// # Errors
/// [`Unmatchable`] if the pod has a field or an annotation that is never approved.
pub fn runtime_of_pod(
    annotations: Option<&BTreeMap<String, String>>,
    pod: &core::PodSpec,
) -> Result<Runtime, Unmatchable> {
    if let Some(name) = annotations.into_iter().flat_map(BTreeMap::keys).find(|a| is_refused_annotation(a)) {
        return Err(Unmatchable(format!(
            "the annotation {name} cannot be part of an approved runtime: leave it out, because a container runtime that reads it changes what runs"
        ).into()));
    }
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
        host_ipc,
        host_network,
        host_pid,
        host_users: _,
        hostname: _,
        hostname_override,
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
        security_context,
        service_account: _,
        service_account_name: _,
        set_hostname_as_fqdn: _,
        share_process_namespace,
        subdomain: _,
        termination_grace_period_seconds: _,
        tolerations: _,
        topology_spread_constraints: _,
    } = pod;
    refuse(is_set(hostname_override.as_ref()), "hostnameOverride", "hostnameOverride")?;
    refuse(
        ephemeral_containers.iter().flatten().next().is_some(),
        "ephemeralContainers",
        "an ephemeral container",
    )?;
    let windows = security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    refuse(is_host_process(windows), "securityContext.windowsOptions.hostProcess", "hostProcess")?;
    let volumes = volumes.iter().flatten().filter(|v| !is_token(v));
    Ok(Runtime {
        containers: containers.iter().map(container).collect::<Result<_, _>>()?,
        init_containers: init_containers.iter().flatten().map(container).collect::<Result<_, _>>()?,
        volumes: volumes.map(volume).collect::<Result<_, _>>()?,
        host_aliases: host_aliases.iter().flatten().map(host_alias).collect(),
        dns_config: dns_config.as_ref().map(dns).transpose()?.unwrap_or_default(),
        host_network: host_network.unwrap_or_default(),
        host_pid: host_pid.unwrap_or_default(),
        host_ipc: host_ipc.unwrap_or_default(),
        share_process_namespace: share_process_namespace.unwrap_or_default(),
        placeholders: Vec::new(),
    })
}

fn is_host_process(options: Option<&core::WindowsSecurityContextOptions>) -> bool {
    options.and_then(|options| options.host_process).unwrap_or_default()
}

fn host_alias(pod: &core::HostAlias) -> HostAlias {
    let core::HostAlias { hostnames, ip } = pod;
    HostAlias { ip: ip.as_str().into(), hostnames: texts(hostnames.as_ref()) }
}

/// Converts the name servers and search domains. Returns an error if an option has special characters.
///
/// The node writes options and name servers to the same file, `resolv.conf`. The API server accepts any text as an
/// option. So an option with a line break could add a name server.
fn dns(config: &core::PodDNSConfig) -> Result<DnsConfig, Unmatchable> {
    let core::PodDNSConfig { nameservers, searches, options } = config;
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".:_-".contains(c));
    let is_special = |option: &core::PodDNSConfigOption| {
        [&option.name, &option.value].into_iter().flatten().any(|text| !is_word(text))
    };
    refuse(
        options.iter().flatten().any(is_special),
        "dnsConfig.options",
        "an option of dnsConfig with characters other than letters, digits and . : _ -",
    )?;
    Ok(DnsConfig { nameservers: texts(nameservers.as_ref()), searches: texts(searches.as_ref()) })
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
        lifecycle: _,
        liveness_probe: _,
        readiness_probe: _,
        startup_probe: _,
        volume_devices,
        image_pull_policy: _,
        ports: _,
        resize_policy: _,
        resources: _,
        restart_policy,
        restart_policy_rules: _,
        security_context,
        stdin: _,
        stdin_once: _,
        termination_message_path,
        termination_message_policy: _,
        tty: _,
    } = pod;
    let this = format_args!("container {name}");
    let path = termination_message_path.as_deref().unwrap_or_default();
    let moved = !path.is_empty() && path != TERMINATION_LOG;
    refuse_of(moved, "containers.terminationMessagePath", this)?;
    let windows = security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    refuse_of(is_host_process(windows), "containers.securityContext.windowsOptions.hostProcess", this)?;
    let (exec, http) = hooks(pod)?;
    let mounts = volume_mounts.iter().flatten().filter(|m| !is_token_mount(m));
    Ok(Container {
        name: name.as_str().into(),
        image: image.as_deref().unwrap_or_default().into(),
        command: texts(command.as_ref()),
        args: texts(args.as_ref()),
        working_dir: non_empty(working_dir.as_ref()),
        restart_policy: restart_policy.as_deref().map(Text::from),
        env: env.iter().flatten().map(env_var).collect(),
        env_from: env_from.iter().flatten().map(env_from_source).collect(),
        volume_mounts: mounts.map(volume_mount).collect::<Result<_, _>>()?,
        volume_devices: volume_devices.iter().flatten().map(volume_device).collect(),
        exec,
        http,
        may_vary: MayVary::default(),
    })
}

fn env_var(pod: &core::EnvVar) -> EnvVar {
    EnvVar {
        name: pod.name.as_str().into(),
        value: non_empty(pod.value.as_ref()),
        value_from: pod.value_from.as_ref().map(|source| Box::new(env_var_source(source))),
    }
}

/// Converts the source of a variable. For a `fileKeyRef`, the result is an empty source, because a runtime has no such
/// field. No approved variable has an empty source. So a variable from a file matches only if `mayVary` names the
/// variable.
fn env_var_source(source: &core::EnvVarSource) -> EnvVarSource {
    let core::EnvVarSource {
        config_map_key_ref,
        field_ref,
        file_key_ref: _,
        resource_field_ref,
        secret_key_ref,
    } = source;
    EnvVarSource {
        field_ref: field_ref.as_ref().map(field),
        resource_field_ref: resource_field_ref.as_ref().map(resource),
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
        prefix: non_empty(prefix.as_ref()),
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
    let this = format_args!("the mount at {mount_path}");
    refuse_of(bind_mount_options.is_some(), "containers.volumeMounts.bindMountOptions", this)?;
    refuse_of(recursive_read_only.is_some(), "containers.volumeMounts.recursiveReadOnly", this)?;
    Ok(VolumeMount {
        name: name.as_str().into(),
        mount_path: mount_path.as_str().into(),
        sub_path: non_empty(sub_path.as_ref()),
        sub_path_expr: non_empty(sub_path_expr.as_ref()),
        read_only: read_only.unwrap_or_default(),
        mount_propagation: mount_propagation.as_deref().map(Text::from),
    })
}

fn volume_device(pod: &core::VolumeDevice) -> VolumeDevice {
    let core::VolumeDevice { device_path, name } = pod;
    VolumeDevice { name: name.as_str().into(), device_path: device_path.as_str().into() }
}
