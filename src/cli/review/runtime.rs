//! Shows every field of the runtime and of the provenance, so that no person signs a field without seeing it.
//!
//! ```text
//!  Runtime ─────► RUNS, RUNS FIRST, VOLUMES, NAMES, SHARES
//!  Provenance ──► PROVENANCE
//! ```
//!
//! Most functions destructure their argument. So the compiler reports a new field that this Rust module does not show
//! yet.

use std::collections::BTreeSet;

use crate::{
    api::{
        Artifact, Container, DnsConfig, DownwardApiVolume, EnvFrom, EnvVar, EnvVarSource, ExecHooks,
        FieldRef, HostAlias, HttpGet, HttpHooks, KeyToPath, MayVary, ProjectedSource, Provenance,
        ResourceFieldRef, Runtime, Text, Volume, VolumeDevice, VolumeMount,
    },
    cli::{
        render::page::{FAINT, LOOK, Page, STRONG},
        review::volume_sources::{
            cluster_trust_bundle, csi, ephemeral, host_path, iscsi, nfs, pod_certificate,
        },
    },
    policy::{self, free_fields},
};

pub fn runtime(page: &mut Page, runtime: &Runtime, full: bool) {
    let Runtime {
        containers,
        init_containers,
        volumes,
        host_aliases,
        dns_config,
        host_network,
        host_pid,
        host_ipc,
        share_process_namespace,
        placeholders: _,
    } = runtime;
    for init in init_containers {
        page.heading(&format!("RUNS FIRST: init container {}", init.name));
        container(page, init);
    }
    for main in containers {
        page.heading(&format!("RUNS: container {}", main.name));
        container(page, main);
    }
    page.heading("VOLUMES");
    if volumes.is_empty() {
        page.mark("-", FAINT, "none");
    }
    for volume in volumes {
        page.field(&volume.name, &source(volume));
    }
    names(page, host_aliases, dns_config);
    placeholders(page, runtime);
    let shared = [
        (host_network, "the network of its node (hostNetwork)"),
        (host_pid, "the processes of its node (hostPID)"),
        (host_ipc, "the shared memory of its node (hostIPC)"),
        (share_process_namespace, "the processes of its containers with each other (shareProcessNamespace)"),
    ];
    let shared: Vec<_> = shared.iter().filter(|(shares, _)| **shares).map(|(_, what)| *what).collect();
    if !shared.is_empty() {
        page.heading("SHARES");
        for what in &shared {
            page.mark("!", LOOK, what);
        }
    }
    if full {
        free(page);
    } else {
        let fields: BTreeSet<&str> =
            free_fields().iter().flat_map(|(_, fields)| fields.iter().copied()).collect();
        page.mark("-", FAINT, &format!("{} fields of a pod are not compared (--full)", fields.len()));
    }
}

/// Shows the host aliases, the name servers and the search domains. These settings determine to which server a host
/// name resolves.
fn names(page: &mut Page, host_aliases: &[HostAlias], dns_config: &DnsConfig) {
    let DnsConfig { nameservers, searches } = dns_config;
    if host_aliases.is_empty() && nameservers.is_empty() && searches.is_empty() {
        return;
    }
    page.heading("NAMES");
    for HostAlias { ip, hostnames } in host_aliases {
        page.mark("!", LOOK, &format!("{} means the address {ip} (hostAliases)", joined(hostnames)));
    }
    if !nameservers.is_empty() {
        page.mark("!", LOOK, &format!("the pod asks the name servers {} (dnsConfig)", joined(nameservers)));
    }
    if !searches.is_empty() {
        page.mark("!", LOOK, &format!("the pod adds {} to short names (dnsConfig)", joined(searches)));
    }
}

/// Shows the values that may differ between pods of the version.
fn placeholders(page: &mut Page, runtime: &Runtime) {
    if runtime.placeholders.is_empty() {
        return;
    }
    page.heading("PLACEHOLDERS: each pod may have another value");
    if let Some(reason) = policy::placeholders_not_used(runtime) {
        page.mark("!", LOOK, &format!("no placeholder has a meaning, so no pod matches: {reason}"));
    }
    for placeholder in &runtime.placeholders {
        page.field(placeholder.text(), placeholder.meaning());
    }
}

fn joined(texts: &[Text]) -> String {
    texts.iter().map(|text| &**text).collect::<Vec<_>>().join(", ")
}

/// Shows the fields that may have any value in a pod of the version, each as the first two segments of its path.
fn free(page: &mut Page) {
    page.heading("NOT COMPARED");
    for (reason, fields) in free_fields() {
        let mut short: Vec<String> =
            fields.iter().map(|field| field.split('.').take(2).collect::<Vec<_>>().join(".")).collect();
        short.dedup();
        page.mark("-", FAINT, &format!("{}: {reason}", short.join(", ")));
    }
}

fn container(page: &mut Page, container: &Container) {
    let Container {
        name: _,
        image,
        command,
        args,
        working_dir,
        restart_policy,
        env,
        env_from,
        volume_mounts,
        volume_devices,
        exec,
        http,
        may_vary: MayVary { env: varying },
    } = container;
    page.styled_field("image", STRONG, image);
    words(page, "command", command);
    words(page, "args", args);
    if let Some(directory) = working_dir {
        page.field("directory", directory);
    }
    if let Some(policy) = restart_policy {
        page.field("restart policy", policy);
    }
    list_unless_empty(page, "env", env.iter().map(env_var));
    list_unless_empty(page, "env from", env_from.iter().map(env_source));
    list_unless_empty(page, "mounts", volume_mounts.iter().map(mount));
    list_unless_empty(page, "devices", volume_devices.iter().map(device));
    hooks(page, exec);
    http_hooks(page, http);
    if !varying.is_empty() {
        page.styled_field("may vary", LOOK, &format!("env {}", joined(varying)));
    }
}

/// Shows each word of a command on a separate line. Otherwise a space in a word would look like a space
/// between words.
fn words(page: &mut Page, label: &str, words: &[Text]) {
    let shown = words.iter().map(|word| &**word).map(|word| {
        if word.trim() == word && !word.is_empty() { word.to_string() } else { format!("{word:?}") }
    });
    list_unless_empty(page, label, shown);
}

fn list_unless_empty(page: &mut Page, label: &str, values: impl ExactSizeIterator<Item = String>) {
    if values.len() > 0 {
        page.list(label, values);
    }
}

fn hooks(page: &mut Page, exec: &ExecHooks) {
    let ExecHooks { post_start, pre_stop, liveness_probe, readiness_probe, startup_probe } = exec;
    words(page, "after start", post_start);
    words(page, "before stop", pre_stop);
    words(page, "liveness", liveness_probe);
    words(page, "readiness", readiness_probe);
    words(page, "startup", startup_probe);
}

fn http_hooks(page: &mut Page, http: &HttpHooks) {
    let HttpHooks { post_start, pre_stop } = http;
    for (label, hook) in [("after start", post_start), ("before stop", pre_stop)] {
        if let Some(get) = hook {
            let HttpGet { path, port, scheme, http_headers } = get;
            let headers = http_headers.iter().map(|h| format!(", {}: {}", h.name, h.value));
            let headers = headers.collect::<Vec<_>>().concat();
            page.field(label, &format!("{scheme} GET {path} on port {port}{headers}"));
        }
    }
}

fn env_var(var: &EnvVar) -> String {
    let EnvVar { name, value, value_from } = var;
    match value_from {
        Some(source) => format!("{name} from {}", env_var_source(source)),
        None => format!("{name}={}", value.as_deref().unwrap_or_default()),
    }
}

fn env_var_source(source: &EnvVarSource) -> String {
    let EnvVarSource { field_ref, resource_field_ref, config_map_key_ref, secret_key_ref } = source;
    let optional = |optional: Option<bool>| if optional == Some(true) { ", may be missing" } else { "" };
    let field = field_ref.as_ref().map(field_of_pod);
    let resource = resource_field_ref.as_ref().map(resource_of_container);
    let key = |kind: &str, r: &crate::api::KeyRef| {
        format!("key {} of {kind} {}{}", r.key, r.name, optional(r.optional))
    };
    let config_map = config_map_key_ref.as_ref().map(|r| key("config map", r));
    let secret = secret_key_ref.as_ref().map(|r| key("secret", r));
    [field, resource, config_map, secret].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn field_of_pod(field: &FieldRef) -> String {
    let FieldRef { api_version, field_path } = field;
    format!("the pod's {field_path} ({api_version})")
}

fn resource_of_container(resource: &ResourceFieldRef) -> String {
    let ResourceFieldRef { container_name, resource, divisor } = resource;
    let of = container_name.as_deref().unwrap_or("this container");
    format!("{resource} of {of}, in units of {divisor}")
}

fn env_source(from: &EnvFrom) -> String {
    let EnvFrom { prefix, config_map_ref, secret_ref } = from;
    let source = |kind: &str, r: &crate::api::SourceRef| {
        format!(
            "every key of {kind} {}{}",
            r.name,
            if r.optional == Some(true) { ", may be missing" } else { "" }
        )
    };
    let sources = config_map_ref
        .iter()
        .map(|r| source("config map", r))
        .chain(secret_ref.iter().map(|r| source("secret", r)));
    let prefix = prefix.as_ref().map(|p| format!(", prefixed with {p}")).unwrap_or_default();
    sources.collect::<Vec<_>>().join(" and ") + &prefix
}

fn mount(mount: &VolumeMount) -> String {
    let VolumeMount { name, mount_path, sub_path, sub_path_expr, read_only, mount_propagation } = mount;
    let sub = sub_path.iter().chain(sub_path_expr).map(|path| format!(", its path {path}"));
    let sub = sub.collect::<Vec<_>>().concat();
    let writes = if *read_only { "read only" } else { "can write" };
    let later = match mount_propagation.as_deref() {
        None | Some("None") => "",
        Some("HostToContainer") => ", later mounts of the node appear in the container",
        Some(_) => ", later mounts of the node and of the container appear in both",
    };
    format!("{mount_path} is volume {name}{sub}, {writes}{later}")
}

fn device(device: &VolumeDevice) -> String {
    let VolumeDevice { name, device_path } = device;
    format!("{device_path} is the block device of volume {name}, can write")
}

fn source(volume: &Volume) -> String {
    let Volume {
        name: _,
        image,
        persistent_volume_claim,
        config_map,
        secret,
        downward_api,
        projected,
        empty_dir,
        host_path: of_node,
        csi: of_driver,
        nfs: of_server,
        iscsi: of_target,
        ephemeral: of_pod,
    } = volume;
    let sources = [
        image.as_ref().map(|i| format!("image {}", i.reference)),
        persistent_volume_claim.as_ref().map(|c| format!("claim {}", c.claim_name)),
        config_map.as_ref().map(|c| format!("config map {}{}", c.name, keys(&c.items))),
        secret.as_ref().map(|s| format!("secret {}{}", s.secret_name, keys(&s.items))),
        downward_api.as_ref().map(files),
        projected.as_ref().map(|p| p.sources.iter().map(projected_source).collect::<Vec<_>>().join(", ")),
        empty_dir.as_ref().map(|_| "an empty directory".to_owned()),
        of_node.as_ref().map(host_path),
        of_driver.as_deref().map(csi),
        of_server.as_ref().map(nfs),
        of_target.as_deref().map(iscsi),
        of_pod.as_deref().map(ephemeral),
    ];
    sources.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn projected_source(source: &ProjectedSource) -> String {
    let ProjectedSource {
        service_account_token,
        downward_api,
        config_map,
        secret,
        cluster_trust_bundle: bundle,
        pod_certificate: certificate,
    } = source;
    let sources = [
        service_account_token
            .as_ref()
            .map(|token| format!("a token of the service account as file {}", token.path)),
        downward_api.as_ref().map(files),
        config_map.as_ref().map(|c| format!("config map {}{}", c.name, keys(&c.items))),
        secret.as_ref().map(|s| format!("secret {}{}", s.name, keys(&s.items))),
        bundle.as_deref().map(cluster_trust_bundle),
        certificate.as_deref().map(pod_certificate),
    ];
    sources.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn keys(items: &[KeyToPath]) -> String {
    let each = items.iter().map(|KeyToPath { key, path }| format!(", key {key} as file {path}"));
    each.collect::<Vec<_>>().concat()
}

fn files(volume: &DownwardApiVolume) -> String {
    let each = volume.items.iter().map(|file| {
        let field = file.field_ref.as_ref().map(field_of_pod);
        let resource = file.resource_field_ref.as_ref().map(resource_of_container);
        let what = field.or(resource).unwrap_or_default();
        format!(", {what} as file {}", file.path)
    });
    format!("fields of the pod{}", each.collect::<Vec<_>>().concat())
}

pub fn provenance(page: &mut Page, provenance: &Provenance, full: bool) {
    let Provenance { data, base_model, architecture, rationale, tests, sbom } = provenance;
    page.heading("PROVENANCE");
    if provenance.is_empty() {
        page.mark("!", LOOK, "no provenance is stated");
    }
    artifacts(page, "base model", base_model, full);
    if let Some(architecture) = architecture {
        page.prose("architecture", architecture);
    }
    artifacts(page, "data", data, full);
    artifacts(page, "tests", tests, full);
    artifacts(page, "materials", sbom, full);
    if let Some(rationale) = rationale {
        page.prose("rationale", rationale);
    }
}

fn artifacts<'a>(
    page: &mut Page,
    label: &str,
    artifacts: impl IntoIterator<Item = &'a Artifact>,
    full: bool,
) {
    let mut label = label;
    for Artifact { name, uri, digest } in artifacts {
        let uri = uri.as_deref().unwrap_or_default();
        if full {
            page.field(label, &[name.as_str(), uri].join("  "));
            page.styled_field("", FAINT, &digest.to_string());
        } else {
            page.field(label, &[name.as_str(), uri, &digest.short()].join("  "));
        }
        label = "";
    }
}
