//! Whether a pod is what was approved.
//!
//! ```text
//!  PodSpec ── runtime_of_pod ──► Runtime, without what is trusted ─┐
//!     │                                                             ├─ matches ──► yes | no
//!     └─► Unmatchable: no Runtime can say                           │
//!         what this pod does                     approved Runtime ──┘
//! ```
//!
//! The API server decides the same in `admission/matches.cel`; a test holds the two equal. `fields` says
//! of each field what happens to it, and why. Pods, containers, variables and mounts are taken apart
//! field by field, so that a field of a newer Kubernetes does not compile until somebody classifies it.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::util::intstr::IntOrString};

use super::{
    fields::{instead_of, is_refused_annotation},
    volumes::{is_token, is_token_mount, volume},
    without_trusted,
};
use crate::api::{
    Container, EnvFrom, EnvVar, EnvVarSource, ExecHooks, FieldRef, HttpGet, HttpHeader, HttpHooks, KeyRef,
    MayVary, ResourceFieldRef, Runtime, SourceRef, Text, Trusted, VolumeMount,
};

/// Where the node puts the last words of a container unless the pod says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// A pod has something that can change what runs and that a [`Runtime`] cannot express.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0}")]
pub struct Unmatchable(Box<str>);

impl Unmatchable {
    /// `what` of a pod sets the field `field`, as `fields` names it.
    pub(super) fn new(field: &str, what: impl fmt::Display) -> Self {
        Self(format!("{what} cannot be part of an approved runtime: {}", instead_of(field)).into())
    }
}

/// An error if `present`: `what` of a pod sets the field `field`.
pub(super) fn refuse(present: bool, field: &str, what: impl fmt::Display) -> Result<(), Unmatchable> {
    if present { Err(Unmatchable::new(field, what)) } else { Ok(()) }
}

/// Whether a pod with the runtime `pod` is, but for what is `trusted`, the model with the runtime `approved`.
pub fn matches(approved: &Runtime, trusted: &Trusted, pod: &Runtime) -> bool {
    let pod = without_trusted(approved, trusted, pod);
    same_set(&approved.containers, &pod.containers, |c| &c.name, container_matches)
        && approved.init_containers.len() == pod.init_containers.len()
        && approved.init_containers.iter().zip(&pod.init_containers).all(|(a, p)| container_matches(a, p))
        && same_set(&approved.volumes, &pod.volumes, |v| &v.name, |a, p| a == p)
        && approved.host_network == pod.host_network
        && approved.host_pid == pod.host_pid
        && approved.host_ipc == pod.host_ipc
        && approved.share_process_namespace == pod.share_process_namespace
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
        http,
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
        && *http == pod.http
}

/// The runtime of a pod with these annotations.
///
/// # Errors
/// [`Unmatchable`] if the pod has something that can change what runs and is never approved.
pub fn runtime_of_pod(
    annotations: Option<&BTreeMap<String, String>>,
    pod: &core::PodSpec,
) -> Result<Runtime, Unmatchable> {
    if let Some(name) = annotations.into_iter().flat_map(BTreeMap::keys).find(|a| is_refused_annotation(a)) {
        return Err(Unmatchable(format!(
            "the annotation {name} cannot be part of an approved runtime, since a container runtime that reads it changes what runs: leave it out"
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
    refuse(host_aliases.iter().flatten().next().is_some(), "hostAliases", "hostAliases")?;
    refuse(is_set(hostname_override.as_ref()), "hostnameOverride", "hostnameOverride")?;
    refuse(
        ephemeral_containers.iter().flatten().next().is_some(),
        "ephemeralContainers",
        "an ephemeral container",
    )?;
    let windows = security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    refuse(is_host_process(windows), "securityContext.windowsOptions.hostProcess", "hostProcess")?;
    dns_config.as_ref().map_or(Ok(()), dns)?;
    let volumes = volumes.iter().flatten().filter(|v| !is_token(v));
    Ok(Runtime {
        containers: containers.iter().map(container).collect::<Result<_, _>>()?,
        init_containers: init_containers.iter().flatten().map(container).collect::<Result<_, _>>()?,
        volumes: volumes.map(volume).collect::<Result<_, _>>()?,
        host_network: host_network.unwrap_or_default(),
        host_pid: host_pid.unwrap_or_default(),
        host_ipc: host_ipc.unwrap_or_default(),
        share_process_namespace: share_process_namespace.unwrap_or_default(),
    })
}

fn is_set(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn is_host_process(options: Option<&core::WindowsSecurityContextOptions>) -> bool {
    options.and_then(|options| options.host_process).unwrap_or_default()
}

/// An option is a word of the file that also lists the name servers, and the API server takes any text.
fn dns(config: &core::PodDNSConfig) -> Result<(), Unmatchable> {
    let core::PodDNSConfig { nameservers, searches, options } = config;
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".:_-".contains(c));
    let strange = |option: &core::PodDNSConfigOption| {
        [&option.name, &option.value].into_iter().flatten().any(|text| !is_word(text))
    };
    let nameservers = nameservers.iter().flatten().next().is_some();
    refuse(nameservers, "dnsConfig.nameservers", "dnsConfig.nameservers")?;
    refuse(searches.iter().flatten().next().is_some(), "dnsConfig.searches", "dnsConfig.searches")?;
    let strange = options.iter().flatten().any(strange);
    refuse(strange, "dnsConfig.options", "an option of dnsConfig with other than letters, digits and . : _ -")
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
        security_context,
        stdin: _,
        stdin_once: _,
        termination_message_path,
        termination_message_policy: _,
        tty: _,
    } = pod;
    let refuse = |present: bool, field: &str| {
        let what = field.rsplit('.').next().unwrap_or(field);
        refuse(present, &format!("containers.{field}"), format_args!("{what} of container {name}"))
    };
    refuse(volume_devices.iter().flatten().next().is_some(), "volumeDevices")?;
    let path = termination_message_path.as_deref().unwrap_or_default();
    refuse(!path.is_empty() && path != TERMINATION_LOG, "terminationMessagePath")?;
    let windows = security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    refuse(is_host_process(windows), "securityContext.windowsOptions.hostProcess")?;
    let probes = [liveness_probe, readiness_probe, startup_probe];
    for probe in probes.into_iter().flatten() {
        refuse(is_set(probe.http_get.as_ref().and_then(|get| get.host.as_ref())), "probe.httpGet.host")?;
        refuse(is_set(probe.tcp_socket.as_ref().and_then(|tcp| tcp.host.as_ref())), "probe.tcpSocket.host")?;
    }
    let (post_start, pre_stop) = match lifecycle {
        Some(core::Lifecycle { post_start, pre_stop, stop_signal: _ }) => {
            (post_start.as_ref(), pre_stop.as_ref())
        }
        None => (None, None),
    };
    let http = |hook: Option<&core::LifecycleHandler>| {
        let Some(hook) = hook else { return Ok(None) };
        refuse(hook.tcp_socket.is_some(), "lifecycle.hook.tcpSocket")?;
        hook.http_get.as_ref().map(|get| http_get(name, get)).transpose()
    };
    let hook = |hook: Option<&core::LifecycleHandler>| command_of(hook.and_then(|h| h.exec.as_ref()));
    let probe = |probe: &Option<core::Probe>| command_of(probe.as_ref().and_then(|p| p.exec.as_ref()));
    let mounts = volume_mounts.iter().flatten().filter(|m| !is_token_mount(m));
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
            post_start: hook(post_start),
            pre_stop: hook(pre_stop),
            liveness_probe: probe(liveness_probe),
            readiness_probe: probe(readiness_probe),
            startup_probe: probe(startup_probe),
        },
        http: HttpHooks { post_start: http(post_start)?, pre_stop: http(pre_stop)? },
        may_vary: MayVary::default(),
    })
}

/// A request that a hook sends; without its host, the node sends it to the pod itself.
fn http_get(container: &str, pod: &core::HTTPGetAction) -> Result<HttpGet, Unmatchable> {
    let core::HTTPGetAction { host, http_headers, path, port, protocol, scheme } = pod;
    let refuse = |present: bool, field: &str| {
        let path = format!("containers.lifecycle.hook.httpGet.{field}");
        refuse(present, &path, format_args!("{field} of an httpGet hook of container {container}"))
    };
    refuse(is_set(host.as_ref()), "host")?;
    refuse(protocol.is_some(), "protocol")?;
    let IntOrString::Int(port) = port else {
        return Err(Unmatchable(
            format!("the name of a port in an httpGet hook of container {container} cannot be part of an approved runtime: write its number").into(),
        ));
    };
    let or = |text: &Option<String>, default: &str| {
        text.as_deref().filter(|text| !text.is_empty()).unwrap_or(default).into()
    };
    let header = |header: &core::HTTPHeader| HttpHeader {
        name: header.name.as_str().into(),
        value: header.value.as_str().into(),
    };
    Ok(HttpGet {
        path: or(path, "/"),
        port: *port,
        scheme: or(scheme, "HTTP"),
        http_headers: http_headers.iter().flatten().map(header).collect(),
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

pub(super) fn field(pod: &core::ObjectFieldSelector) -> FieldRef {
    FieldRef {
        api_version: pod.api_version.as_deref().unwrap_or("v1").into(),
        field_path: pod.field_path.as_str().into(),
    }
}

pub(super) fn resource(pod: &core::ResourceFieldSelector) -> ResourceFieldRef {
    ResourceFieldRef {
        container_name: pod.container_name.as_deref().map(Text::from),
        resource: pod.resource.as_str().into(),
        divisor: pod.divisor.as_ref().map_or("0", |d| &d.0).into(),
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
    let refuse = |present: bool, field: &str| {
        let path = format!("containers.volumeMounts.{field}");
        refuse(present, &path, format_args!("{field} of the mount at {mount_path}"))
    };
    refuse(bind_mount_options.is_some(), "bindMountOptions")?;
    refuse(mount_propagation.is_some(), "mountPropagation")?;
    refuse(recursive_read_only.is_some(), "recursiveReadOnly")?;
    Ok(VolumeMount {
        name: name.as_str().into(),
        mount_path: mount_path.as_str().into(),
        sub_path: sub_path.as_deref().map(Text::from),
        sub_path_expr: sub_path_expr.as_deref().map(Text::from),
        read_only: read_only.unwrap_or_default(),
    })
}
