//! The class of each field of a pod: compared, free, or never approved (`Refused`).
//!
//! A field is compared or never approved if it can change what runs, or which server answers the requests of the pod. A
//! field is free if it only decides where, when, with which rights or with how many resources the pod runs.
//!
//! A test compares [`FIELDS`] with the `OpenAPI` document of the API server, so that every field of a pod has one class.
//! The page `docs/fields.md`, the review before an approval, and the messages of [`Unmatchable`](super::Unmatchable)
//! use these classes.
//!
//! In the paths, `containers` also means init containers. `probe` means `livenessProbe`, `readinessProbe` and
//! `startupProbe`. `hook` means `lifecycle.postStart` and `lifecycle.preStop`. A path covers all fields below it.

use Class::{Compared, Free, Refused};

/// The treatment of a field of a pod in the comparison with an approved runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The field must equal the field of the approved runtime.
    Compared,
    /// The comparison leaves out the field. The text states the reason.
    Free(&'static str),
    /// A pod that sets the field is never approved. The text says what to use instead. There are two exceptions: the
    /// default `terminationMessagePath`, and a `fileKeyRef` of a variable in `mayVary`.
    Refused(&'static str),
}

const WHERE: &str =
    "decides on which node the pod runs, and when it gets a node; the containers stay the same";
const WHEN: &str = "decides when containers stop and restart, not what they run";
const HOW_MUCH: &str = "limits the resources that the containers can use";
const RIGHTS: &str =
    "decides with which rights the approved commands run; the Pod Security Standards can limit them";
const ACCOUNT: &str =
    "decides which credentials the pod has for the API server, registries and other services";
const RUNTIME: &str = "chooses a container runtime that the administrators of the nodes installed";
const SYSCTLS: &str = "sets kernel parameters of the pod's own namespaces";
const DNS: &str =
    "chooses the DNS settings of the cluster or of the node: name servers, search domains and options";
const OWN_NAME: &str = "adds names for the pod's own address: a name without a dot, the pod's own name, or a name in the cluster's domain";
const SERVICES: &str =
    "adds the addresses of Services as variables with names that end in _HOST, _PORT and similar";
const FILE_MODE: &str = "decides who may read or write the files, not what they contain";
const MAY_BE_MISSING: &str =
    "lets a container start without an object; the content of the object is not pinned anyway";
const PULL: &str = "decides when an image is pulled; a digest pins the image, a tag does not";
const PORTS: &str = "declares ports, and forwards ports of the node to them";
const PROBE_ADDRESS: &str =
    "sends a request to the pod's own address; anybody who can reach the pod can send the same";
const PROBE_TIMES: &str = "decides how often the node probes, and which results count";
const TERMINAL: &str = "opens the input of a process to users who may attach to the pod; exec does the same";
const OUTPUT: &str = "decides which message the status of a terminated container shows";
const TOKEN: &str = "decides which services accept the token, and for how long";
const LESS: &str = "only takes rights away";

const OTHER_VOLUME: &str = "use a claim, or the CSI driver that replaces this kind";
const PROBE_HOST: &str = "leave host out, so that the node probes the pod itself";

/// The class of each field, sorted by path. A test checks the order, and that no field has two classes.
pub const FIELDS: &[(&str, Class)] = &[
    ("activeDeadlineSeconds", Free(WHEN)),
    ("affinity", Free(WHERE)),
    ("automountServiceAccountToken", Free(ACCOUNT)),
    ("containers.args", Compared),
    ("containers.command", Compared),
    ("containers.env.name", Compared),
    ("containers.env.value", Compared),
    ("containers.env.valueFrom.configMapKeyRef", Compared),
    ("containers.env.valueFrom.fieldRef", Compared),
    (
        "containers.env.valueFrom.fileKeyRef",
        Refused("state the value, or name the variable in mayVary.env of the ModelVersion"),
    ),
    ("containers.env.valueFrom.resourceFieldRef", Compared),
    ("containers.env.valueFrom.secretKeyRef", Compared),
    ("containers.envFrom", Compared),
    ("containers.image", Compared),
    ("containers.imagePullPolicy", Free(PULL)),
    ("containers.lifecycle.hook.exec", Compared),
    (
        "containers.lifecycle.hook.httpGet.host",
        Refused("leave host out, so that the request goes to the pod itself"),
    ),
    ("containers.lifecycle.hook.httpGet.httpHeaders", Compared),
    ("containers.lifecycle.hook.httpGet.path", Compared),
    ("containers.lifecycle.hook.httpGet.port", Compared),
    ("containers.lifecycle.hook.httpGet.protocol", Refused("leave protocol out")),
    ("containers.lifecycle.hook.httpGet.scheme", Compared),
    ("containers.lifecycle.hook.sleep", Free(WHEN)),
    ("containers.lifecycle.hook.tcpSocket", Refused("use exec, httpGet or sleep")),
    ("containers.lifecycle.stopSignal", Free(WHEN)),
    ("containers.name", Compared),
    ("containers.ports", Free(PORTS)),
    ("containers.probe.exec", Compared),
    ("containers.probe.failureThreshold", Free(PROBE_TIMES)),
    ("containers.probe.grpc", Free(PROBE_ADDRESS)),
    ("containers.probe.httpGet.host", Refused(PROBE_HOST)),
    ("containers.probe.httpGet.httpHeaders", Free(PROBE_ADDRESS)),
    ("containers.probe.httpGet.path", Free(PROBE_ADDRESS)),
    ("containers.probe.httpGet.port", Free(PROBE_ADDRESS)),
    ("containers.probe.httpGet.protocol", Free(PROBE_ADDRESS)),
    ("containers.probe.httpGet.scheme", Free(PROBE_ADDRESS)),
    ("containers.probe.initialDelaySeconds", Free(PROBE_TIMES)),
    ("containers.probe.periodSeconds", Free(PROBE_TIMES)),
    ("containers.probe.successThreshold", Free(PROBE_TIMES)),
    ("containers.probe.tcpSocket.host", Refused(PROBE_HOST)),
    ("containers.probe.tcpSocket.port", Free(PROBE_ADDRESS)),
    ("containers.probe.terminationGracePeriodSeconds", Free(WHEN)),
    ("containers.probe.timeoutSeconds", Free(PROBE_TIMES)),
    ("containers.resizePolicy", Free(HOW_MUCH)),
    ("containers.resources", Free(HOW_MUCH)),
    ("containers.restartPolicy", Compared),
    ("containers.restartPolicyRules", Free(WHEN)),
    ("containers.securityContext.allowPrivilegeEscalation", Free(RIGHTS)),
    ("containers.securityContext.appArmorProfile", Free(RIGHTS)),
    ("containers.securityContext.capabilities", Free(RIGHTS)),
    ("containers.securityContext.privileged", Free(RIGHTS)),
    ("containers.securityContext.procMount", Free(RIGHTS)),
    ("containers.securityContext.readOnlyRootFilesystem", Free(RIGHTS)),
    ("containers.securityContext.runAsGroup", Free(RIGHTS)),
    ("containers.securityContext.runAsNonRoot", Free(RIGHTS)),
    ("containers.securityContext.runAsUser", Free(RIGHTS)),
    ("containers.securityContext.seLinuxOptions", Free(RIGHTS)),
    ("containers.securityContext.seccompProfile", Free(RIGHTS)),
    ("containers.securityContext.windowsOptions.gmsaCredentialSpec", Free(RIGHTS)),
    ("containers.securityContext.windowsOptions.gmsaCredentialSpecName", Free(RIGHTS)),
    ("containers.securityContext.windowsOptions.hostProcess", Refused(NO_HOST_PROCESS)),
    ("containers.securityContext.windowsOptions.runAsUserName", Free(RIGHTS)),
    ("containers.stdin", Free(TERMINAL)),
    ("containers.stdinOnce", Free(TERMINAL)),
    (
        "containers.terminationMessagePath",
        Refused(
            "leave it out, because it replaces the file at that path; the default is /dev/termination-log",
        ),
    ),
    ("containers.terminationMessagePolicy", Free(OUTPUT)),
    ("containers.tty", Free(TERMINAL)),
    ("containers.volumeDevices", Compared),
    ("containers.volumeMounts.bindMountOptions", Refused(PLAIN_MOUNT)),
    ("containers.volumeMounts.mountPath", Compared),
    ("containers.volumeMounts.mountPropagation", Compared),
    ("containers.volumeMounts.name", Compared),
    ("containers.volumeMounts.readOnly", Compared),
    ("containers.volumeMounts.recursiveReadOnly", Refused(PLAIN_MOUNT)),
    ("containers.volumeMounts.subPath", Compared),
    ("containers.volumeMounts.subPathExpr", Compared),
    ("containers.workingDir", Compared),
    ("dnsConfig.nameservers", Compared),
    (
        "dnsConfig.options",
        Free(
            "decides how the pod asks name servers; only letters, digits and . : _ - are allowed, because other characters can add name servers",
        ),
    ),
    ("dnsConfig.searches", Compared),
    ("dnsPolicy", Free(DNS)),
    ("enableServiceLinks", Free(SERVICES)),
    ("ephemeralContainers", Refused("debug a copy of the pod in a namespace that Assent does not govern")),
    ("evictionResponders", Free(WHEN)),
    ("hostAliases", Compared),
    ("hostIPC", Compared),
    ("hostNetwork", Compared),
    ("hostPID", Compared),
    ("hostUsers", Free(LESS)),
    ("hostname", Free(OWN_NAME)),
    (
        "hostnameOverride",
        Refused("use hostname, because hostnameOverride can point any internet name to the pod itself"),
    ),
    ("imagePullSecrets", Free(ACCOUNT)),
    ("nodeName", Free(WHERE)),
    ("nodeSelector", Free(WHERE)),
    ("os", Free(WHERE)),
    ("overhead", Free(HOW_MUCH)),
    ("preemptionPolicy", Free(WHERE)),
    ("priority", Free(WHERE)),
    ("priorityClassName", Free(WHERE)),
    ("readinessGates", Free(WHEN)),
    (
        "resourceClaims",
        Free("requests devices; the administrator who installs a driver decides what the driver mounts"),
    ),
    ("resources", Free(HOW_MUCH)),
    ("restartPolicy", Free(WHEN)),
    ("runtimeClassName", Free(RUNTIME)),
    ("schedulerName", Free(WHERE)),
    ("schedulingGates", Free(WHERE)),
    ("schedulingGroup", Free(WHERE)),
    ("securityContext.appArmorProfile", Free(RIGHTS)),
    ("securityContext.fsGroup", Free(RIGHTS)),
    ("securityContext.fsGroupChangePolicy", Free(RIGHTS)),
    ("securityContext.runAsGroup", Free(RIGHTS)),
    ("securityContext.runAsNonRoot", Free(RIGHTS)),
    ("securityContext.runAsUser", Free(RIGHTS)),
    ("securityContext.seLinuxChangePolicy", Free(RIGHTS)),
    ("securityContext.seLinuxOptions", Free(RIGHTS)),
    ("securityContext.seccompProfile", Free(RIGHTS)),
    ("securityContext.supplementalGroups", Free(RIGHTS)),
    ("securityContext.supplementalGroupsPolicy", Free(RIGHTS)),
    ("securityContext.sysctls", Free(SYSCTLS)),
    ("securityContext.windowsOptions.gmsaCredentialSpec", Free(RIGHTS)),
    ("securityContext.windowsOptions.gmsaCredentialSpecName", Free(RIGHTS)),
    ("securityContext.windowsOptions.hostProcess", Refused(NO_HOST_PROCESS)),
    ("securityContext.windowsOptions.runAsUserName", Free(RIGHTS)),
    ("serviceAccount", Free(ACCOUNT)),
    ("serviceAccountName", Free(ACCOUNT)),
    ("setHostnameAsFQDN", Free(OWN_NAME)),
    ("shareProcessNamespace", Compared),
    ("subdomain", Free(OWN_NAME)),
    ("terminationGracePeriodSeconds", Free(WHEN)),
    ("tolerations", Free(WHERE)),
    ("topologySpreadConstraints", Free(WHERE)),
    ("volumes.awsElasticBlockStore", Refused(OTHER_VOLUME)),
    ("volumes.azureDisk", Refused(OTHER_VOLUME)),
    ("volumes.azureFile", Refused(OTHER_VOLUME)),
    ("volumes.cephfs", Refused(OTHER_VOLUME)),
    ("volumes.cinder", Refused(OTHER_VOLUME)),
    ("volumes.configMap.defaultMode", Free(FILE_MODE)),
    ("volumes.configMap.defaultUser", Free(FILE_MODE)),
    ("volumes.configMap.items.key", Compared),
    ("volumes.configMap.items.mode", Free(FILE_MODE)),
    ("volumes.configMap.items.path", Compared),
    ("volumes.configMap.items.user", Free(FILE_MODE)),
    ("volumes.configMap.name", Compared),
    ("volumes.configMap.optional", Free(MAY_BE_MISSING)),
    ("volumes.csi.driver", Compared),
    ("volumes.csi.fsType", Compared),
    ("volumes.csi.nodePublishSecretRef", Compared),
    ("volumes.csi.readOnly", Compared),
    ("volumes.csi.volumeAttributes", Compared),
    ("volumes.downwardAPI.defaultMode", Free(FILE_MODE)),
    ("volumes.downwardAPI.defaultUser", Free(FILE_MODE)),
    ("volumes.downwardAPI.items.fieldRef", Compared),
    ("volumes.downwardAPI.items.mode", Free(FILE_MODE)),
    ("volumes.downwardAPI.items.path", Compared),
    ("volumes.downwardAPI.items.resourceFieldRef", Compared),
    ("volumes.downwardAPI.items.user", Free(FILE_MODE)),
    ("volumes.emptyDir", Free("decides the medium and the size of an empty directory")),
    ("volumes.ephemeral", Compared),
    ("volumes.fc", Refused(OTHER_VOLUME)),
    ("volumes.flexVolume", Refused(OTHER_VOLUME)),
    ("volumes.flocker", Refused(OTHER_VOLUME)),
    ("volumes.gcePersistentDisk", Refused(OTHER_VOLUME)),
    ("volumes.gitRepo", Refused("clone the repository in an init container, into an emptyDir")),
    ("volumes.glusterfs", Refused(OTHER_VOLUME)),
    ("volumes.hostPath.path", Compared),
    ("volumes.hostPath.type", Compared),
    ("volumes.image.pullPolicy", Free(PULL)),
    ("volumes.image.reference", Compared),
    ("volumes.iscsi", Compared),
    ("volumes.name", Compared),
    ("volumes.nfs", Compared),
    ("volumes.persistentVolumeClaim.claimName", Compared),
    ("volumes.persistentVolumeClaim.readOnly", Free(LESS)),
    ("volumes.photonPersistentDisk", Refused(OTHER_VOLUME)),
    ("volumes.portworxVolume", Refused(OTHER_VOLUME)),
    ("volumes.projected.defaultMode", Free(FILE_MODE)),
    ("volumes.projected.defaultUser", Free(FILE_MODE)),
    ("volumes.projected.sources.clusterTrustBundle.labelSelector", Compared),
    ("volumes.projected.sources.clusterTrustBundle.name", Compared),
    ("volumes.projected.sources.clusterTrustBundle.optional", Compared),
    ("volumes.projected.sources.clusterTrustBundle.path", Compared),
    ("volumes.projected.sources.clusterTrustBundle.signerName", Compared),
    ("volumes.projected.sources.clusterTrustBundle.user", Refused(NO_OWNER)),
    ("volumes.projected.sources.configMap.items.key", Compared),
    ("volumes.projected.sources.configMap.items.mode", Free(FILE_MODE)),
    ("volumes.projected.sources.configMap.items.path", Compared),
    ("volumes.projected.sources.configMap.items.user", Free(FILE_MODE)),
    ("volumes.projected.sources.configMap.name", Compared),
    ("volumes.projected.sources.configMap.optional", Free(MAY_BE_MISSING)),
    ("volumes.projected.sources.downwardAPI.items.fieldRef", Compared),
    ("volumes.projected.sources.downwardAPI.items.mode", Free(FILE_MODE)),
    ("volumes.projected.sources.downwardAPI.items.path", Compared),
    ("volumes.projected.sources.downwardAPI.items.resourceFieldRef", Compared),
    ("volumes.projected.sources.downwardAPI.items.user", Free(FILE_MODE)),
    ("volumes.projected.sources.podCertificate.certificateChainPath", Compared),
    ("volumes.projected.sources.podCertificate.credentialBundlePath", Compared),
    ("volumes.projected.sources.podCertificate.keyPath", Compared),
    ("volumes.projected.sources.podCertificate.keyType", Compared),
    ("volumes.projected.sources.podCertificate.maxExpirationSeconds", Compared),
    ("volumes.projected.sources.podCertificate.signerName", Compared),
    ("volumes.projected.sources.podCertificate.user", Refused(NO_OWNER)),
    ("volumes.projected.sources.podCertificate.userAnnotations", Compared),
    ("volumes.projected.sources.secret.items.key", Compared),
    ("volumes.projected.sources.secret.items.mode", Free(FILE_MODE)),
    ("volumes.projected.sources.secret.items.path", Compared),
    ("volumes.projected.sources.secret.items.user", Free(FILE_MODE)),
    ("volumes.projected.sources.secret.name", Compared),
    ("volumes.projected.sources.secret.optional", Free(MAY_BE_MISSING)),
    ("volumes.projected.sources.serviceAccountToken.audience", Free(TOKEN)),
    ("volumes.projected.sources.serviceAccountToken.expirationSeconds", Free(TOKEN)),
    ("volumes.projected.sources.serviceAccountToken.path", Compared),
    ("volumes.projected.sources.serviceAccountToken.user", Free(FILE_MODE)),
    ("volumes.quobyte", Refused(OTHER_VOLUME)),
    ("volumes.rbd", Refused(OTHER_VOLUME)),
    ("volumes.scaleIO", Refused(OTHER_VOLUME)),
    ("volumes.secret.defaultMode", Free(FILE_MODE)),
    ("volumes.secret.defaultUser", Free(FILE_MODE)),
    ("volumes.secret.items.key", Compared),
    ("volumes.secret.items.mode", Free(FILE_MODE)),
    ("volumes.secret.items.path", Compared),
    ("volumes.secret.items.user", Free(FILE_MODE)),
    ("volumes.secret.optional", Free(MAY_BE_MISSING)),
    ("volumes.secret.secretName", Compared),
    ("volumes.storageos", Refused(OTHER_VOLUME)),
    ("volumes.vsphereVolume", Refused(OTHER_VOLUME)),
    ("workloadRef", Free(WHERE)),
];

/// Fields of Kubernetes 1.35 that later versions do not have.
pub const FORMER_FIELDS: &[&str] = &["workloadRef"];

const NO_HOST_PROCESS: &str = "leave it out, because such a container runs programs of its node";
const NO_OWNER: &str = "leave it out, and set fsGroup in the securityContext of the pod";
const PLAIN_MOUNT: &str = "leave it out, so that the mount has no special options";

/// Prefixes of annotations that are never approved, with the program that reads each annotation.
///
/// The program is a container runtime or a plugin of a container runtime. Most of these annotations make the runtime
/// mount files into a container, inject devices, or replace the programs that run the container.
pub const ANNOTATIONS: &[(&str, &str)] = &[
    ("cdi-devices.noderesource.dev", "a plugin of containerd and CRI-O (NRI)"),
    ("cdi-devices.nri.io", "a plugin of containerd and CRI-O (NRI)"),
    ("cdi.k8s.io/", "the Container Device Interface"),
    ("dev.gvisor.", "gVisor"),
    ("devices.crio.io", "CRI-O"),
    ("devices.noderesource.dev", "a plugin of containerd and CRI-O (NRI)"),
    ("devices.nri.io", "a plugin of containerd and CRI-O (NRI)"),
    ("io.containers.", "hooks of CRI-O and Podman"),
    ("io.katacontainers.", "Kata Containers"),
    ("io.kubernetes.cri-o.", "CRI-O"),
    ("io.kubernetes.cri.", "containerd"),
    ("module.wasm.image/", "crun"),
    ("mounts.noderesource.dev", "a plugin of containerd and CRI-O (NRI)"),
    ("mounts.nri.io", "a plugin of containerd and CRI-O (NRI)"),
    ("nvidia.cdi.k8s.io/", "NVIDIA's container runtime"),
    ("platform-runtime-path.crio.io", "CRI-O"),
    ("run.oci.", "crun"),
    ("seccomp-profile.crio.io", "CRI-O"),
];

/// Annotations that have a prefix in [`ANNOTATIONS`] but do not change what runs.
pub const HARMLESS_ANNOTATIONS: &[&str] = &[
    "io.kubernetes.cri-o.ShmSize",
    "io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel",
    "io.kubernetes.cri-o.userns-mode",
];

/// Whether a pod with the annotation `name` is never approved.
pub fn is_refused_annotation(name: &str) -> bool {
    ANNOTATIONS.iter().any(|(prefix, _)| name.starts_with(prefix)) && !HARMLESS_ANNOTATIONS.contains(&name)
}

/// Says what to use instead of the field `path`, which is never approved.
pub(super) fn instead_of(path: &str) -> &'static str {
    let class = FIELDS.iter().find(|(field, _)| *field == path).map(|(_, class)| class);
    match class {
        Some(Refused(instead)) => instead,
        _ if path == "containers.lifecycle.hook.httpGet.port" => "write its number",
        _ => "leave it out",
    }
}

/// The free fields, in one group for each reason. The groups are in the order of their first fields in [`FIELDS`].
pub fn free_fields() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (field, class) in FIELDS {
        let Free(reason) = class else { continue };
        match groups.iter_mut().find(|(known, _)| *known == *reason) {
            Some((_, fields)) => fields.push(*field),
            None => groups.push((reason, vec![*field])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_have_one_class_each() {
        assert!(FIELDS.is_sorted_by(|(a, _), (b, _)| a < b));
        for (field, _) in FIELDS {
            let below = format!("{field}.");
            let inside = FIELDS.iter().find(|(other, _)| other.starts_with(&below));
            assert_eq!(inside, None, "{field} has a class, and so has a field below it");
        }
    }

    #[test]
    fn annotations_that_runtimes_read_are_refused() {
        for name in
            ["cdi.k8s.io/x", "io.katacontainers.config.hypervisor.kernel", "io.kubernetes.cri-o.Devices"]
        {
            assert!(is_refused_annotation(name), "{name}");
        }
        for name in [
            "io.kubernetes.cri-o.ShmSize",
            "prometheus.io/scrape",
            "cdi.example/x",
            "kubectl.kubernetes.io/restartedAt",
        ] {
            assert!(!is_refused_annotation(name), "{name}");
        }
        assert!(ANNOTATIONS.is_sorted(), "ANNOTATIONS is sorted, so that duplicates are easy to find");
    }
}
