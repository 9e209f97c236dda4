//! The signs that a pod uses an accelerator, such as the resource `nvidia.com/gpu`. The values of the Helm chart can
//! add signs.
//!
//! [`Accelerators::of`] finds the signs of a pod. The module `admission::scope_cel` finds the same signs in CEL.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// A kind of sign that a pod uses an accelerator. Assent compares the name of a sign with a name in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// An extended resource, such as `nvidia.com/gpu`. The name of the resource begins with the name of the sign, and
    /// the quantity is not zero.
    Resource,
    /// A `RuntimeClass` that gives devices of the node to a pod, such as `kata-qemu-nvidia-gpu`. If the name of the
    /// class is split at its hyphens, one part equals the name of the sign, such as `nvidia`.
    RuntimeClass,
    /// An environment variable with the name of the sign, such as `NVIDIA_VISIBLE_DEVICES`. The container runtime gives
    /// devices to a container with this variable.
    Variable,
    /// An annotation whose name begins with the name of the sign.
    Annotation,
}

impl Sign {
    /// All kinds of signs.
    pub const ALL: [Self; 4] = [Self::Resource, Self::RuntimeClass, Self::Variable, Self::Annotation];

    /// The keyword of this kind of sign in the texts that [`Accelerators`] parses and writes.
    const fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::RuntimeClass => "runtimeClass",
            Self::Variable => "variable",
            Self::Annotation => "annotation",
        }
    }

    const fn known(self) -> &'static [&'static str] {
        match self {
            Self::Resource => RESOURCES,
            Self::RuntimeClass => RUNTIME_CLASSES,
            Self::Variable => VARIABLES,
            Self::Annotation => ANNOTATIONS,
        }
    }
}

/// Prefixes of the names of extended resources, from device plugins and from schedulers that share devices. The prefix
/// `deviceclass.resource.kubernetes.io/` is for the resources of a `DeviceClass` (KEP-5004).
const RESOURCES: &[&str] = &[
    "aliyun.com/gpu",
    "aliyun.com/ppu",
    "amd.com/gpu",
    "aws.amazon.com/neuron",
    "birentech.com/",
    "cambricon.com/",
    "cloud-tpus.google.com/",
    "deviceclass.resource.kubernetes.io/",
    "elasticgpu.io/",
    "enflame.com/",
    "furiosa.ai/",
    "google.com/tpu",
    "gpu.intel.com/",
    "graphcore.ai/",
    "habana.ai/gaudi",
    "huawei.com/Ascend",
    "huawei.com/ascend",
    "huawei.com/npu",
    "hygon.com/dcu",
    "iluvatar.ai/",
    "intel.com/gpu",
    "koordinator.sh/gpu",
    "kunlunxin.com/",
    "metax-tech.com/",
    "mthreads.com/",
    "npu.intel.com/",
    "nvidia.com/",
    "qualcomm.com/qaic",
    "rebellions.ai/",
    "tencent.com/vcuda",
    "tenstorrent.com/",
    "tke.cloud.tencent.com/qgpu",
    "vastaitech.com/",
    "vke.volcengine.com/mgpu",
    "volcano.sh/gpu",
    "volcano.sh/vgpu",
];

const RUNTIME_CLASSES: &[&str] = &["amd", "ascend", "habana", "mthreads", "nvidia"];

/// The list leaves out `CUDA_VISIBLE_DEVICES` and similar variables, because they only select from the devices that a
/// container already has.
const VARIABLES: &[&str] = &[
    "AMD_VISIBLE_DEVICES",
    "ASCEND_VISIBLE_DEVICES",
    "HABANA_VISIBLE_DEVICES",
    "MTHREADS_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
];

/// The values with which a [`Sign::Variable`] gives no device to a container.
pub const NO_DEVICE: [&str; 3] = ["", "none", "void"];

/// Prefixes of annotations of the Container Device Interface, and of KAI and Run:ai for fractions of a GPU.
const ANNOTATIONS: &[&str] = &["cdi.k8s.io/", "gpu-fraction", "gpu-memory"];

/// The names of all signs of accelerators: the built-in names, and the names that the values of the Helm chart add. The
/// struct stores only the added names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accelerators(Arc<[(Sign, String)]>);

impl Accelerators {
    /// The names of the signs of the kind `sign`: first the built-in names, then the added names in their order.
    pub fn names(&self, sign: Sign) -> impl Iterator<Item = &str> {
        let added = self.0.iter().filter(move |(of, _)| *of == sign).map(|(_, name)| name.as_str());
        sign.known().iter().copied().chain(added)
    }

    /// The signs that a pod or pod template shows. The result has the names of resources, variables and annotations,
    /// and the name of the runtime class. `resourceClaims` (Dynamic Resource Allocation) always count as a sign,
    /// because Assent does not know the kind of the claimed devices.
    pub fn of<'a>(
        &'a self,
        annotations: Option<&'a BTreeMap<String, String>>,
        pod: &'a PodSpec,
    ) -> impl Iterator<Item = &'a str> {
        let is = |sign, is: fn(&str, &str) -> bool| {
            move |name: &str| self.names(sign).any(|known| is(name, known))
        };
        let begins = |name: &str, known: &str| name.starts_with(known);
        let containers = || pod.containers.iter().chain(pod.init_containers.iter().flatten());
        let resources = containers().filter_map(|c| c.resources.as_ref()).chain(&pod.resources);
        let quantities = resources.flat_map(|r| r.requests.iter().chain(&r.limits)).flatten();
        let is_resource = is(Sign::Resource, begins);
        let resources = quantities.filter(move |(name, quantity)| quantity.0 != "0" && is_resource(name));
        let claims = pod.resource_claims.iter().flatten().map(|_| "resourceClaims");
        let is_class = is(Sign::RuntimeClass, |name, known| name.split('-').any(|part| part == known));
        let class = pod.runtime_class_name.as_deref().filter(move |name| is_class(name));
        let is_variable = is(Sign::Variable, |name, known| name == known);
        let variables = containers().flat_map(gives_devices).filter(move |name| is_variable(name));
        let is_annotation = is(Sign::Annotation, begins);
        let annotations = annotations.into_iter().flat_map(|all| all.keys());
        let annotations = annotations.map(String::as_str).filter(move |name| is_annotation(name));
        resources
            .map(|(name, _)| name.as_str())
            .chain(claims)
            .chain(class)
            .chain(variables)
            .chain(annotations)
    }
}

/// The names of the variables of a container, without the variables that have a value in [`NO_DEVICE`]. A variable with
/// `valueFrom` is in the result, because Assent does not know the value of this variable.
fn gives_devices(container: &Container) -> impl Iterator<Item = &str> {
    let variables = container.env.iter().flatten().filter(|variable| {
        variable.value_from.is_some() || !NO_DEVICE.contains(&variable.value.as_deref().unwrap_or_default())
    });
    variables.map(|variable| variable.name.as_str())
}

/// Writes only the added names, one sign per line, such as `resource example.com/npu`. The Helm chart writes the added
/// names in the same format.
impl fmt::Display for Accelerators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(sign, name)| writeln!(f, "{} {name}", sign.name()))
    }
}

/// The error for a line that is not a sign of an accelerator.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a sign of accelerators: use resource, runtimeClass, variable or annotation, then a space, then a name of letters, digits and . _ - /"
)]
pub struct NotASign(String);

impl FromStr for Accelerators {
    type Err = NotASign;

    fn from_str(lines: &str) -> Result<Self, Self::Err> {
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        let sign = |line: &str| {
            let (kind, name) = line.split_once(' ')?;
            let sign = Sign::ALL.into_iter().find(|sign| sign.name() == kind)?;
            // A name becomes part of a CEL expression, so the name must not contain characters that need quoting.
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
            (!name.is_empty() && name.chars().all(plain)).then(|| (sign, name.to_owned()))
        };
        lines
            .map(|line| sign(line).ok_or_else(|| NotASign(line.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn signs(accelerators: &Accelerators, pod: Value) -> Vec<String> {
        let pod = serde_json::from_value(pod).expect("a PodSpec");
        accelerators.of(None, &pod).map(str::to_owned).collect()
    }

    #[test]
    fn resources_are_found_in_all_parts_of_a_pod() {
        let known = Accelerators::default();
        let asks = |pod| !signs(&known, pod).is_empty();
        let gpu = json!({ "name": "c", "resources": { "requests": { "nvidia.com/mig-1g.5gb": "1" } } });
        let limited = json!({ "name": "c", "resources": { "limits": { "volcano.sh/vgpu-number": "4" } } });
        let none = json!({ "name": "c", "resources": { "limits": { "nvidia.com/gpu": "0", "cpu": "4" } } });
        assert!(!asks(json!({ "containers": [none] })));
        assert!(asks(json!({ "containers": [none, gpu] })));
        assert!(asks(json!({ "containers": [none], "initContainers": [limited] })));
        assert!(asks(json!({ "containers": [none], "resources": limited["resources"] })));
        assert!(asks(json!({ "containers": [none], "resourceClaims": [{ "name": "gpu" }] })));
    }

    #[test]
    fn a_runtime_class_or_a_variable_gives_devices_without_a_request() {
        let known = Accelerators::default();
        let class = |name: &str| signs(&known, json!({ "containers": [], "runtimeClassName": name }));
        assert_eq!(class("kata-qemu-nvidia-gpu"), ["kata-qemu-nvidia-gpu"]);
        assert_eq!(class("amd64-sandbox"), [""; 0]);
        let variable = |env: Value| {
            let container = json!({ "name": "c", "env": [env] });
            signs(&known, json!({ "containers": [container] })).len()
        };
        let name = "NVIDIA_VISIBLE_DEVICES";
        assert_eq!(variable(json!({ "name": name, "value": "all" })), 1);
        assert_eq!(variable(json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": "x" } } })), 1);
        for nothing in NO_DEVICE {
            assert_eq!(variable(json!({ "name": name, "value": nothing })), 0, "{nothing:?}");
        }
        assert_eq!(variable(json!({ "name": name })), 0);
        assert_eq!(variable(json!({ "name": "CUDA_VISIBLE_DEVICES", "value": "0" })), 0);
    }

    #[test]
    fn values_add_names_and_cannot_add_expressions() {
        let text = "resource example.com/npu\nvariable EXAMPLE_DEVICES\nresource a.example/x\n";
        let more: Accelerators = text.parse().expect("a list");
        assert_eq!(more.to_string(), text);
        let added: Vec<_> = more.names(Sign::Resource).skip(RESOURCES.len()).collect();
        assert_eq!(added, ["example.com/npu", "a.example/x"]);
        let npu = json!({ "name": "c", "resources": { "limits": { "example.com/npu-core": "1" } } });
        assert_eq!(signs(&more, json!({ "containers": [npu] })), ["example.com/npu-core"]);
        for wrong in ["example.com/npu", "resource ", "gpu example.com/npu", "resource a'b", "resource a b"] {
            assert!(wrong.parse::<Accelerators>().is_err(), "{wrong}");
        }
    }
}
