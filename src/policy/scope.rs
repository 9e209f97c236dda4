//! Which pods a namespace's scope takes in, and what an accelerator is called.
//!
//! ```text
//!                  names a system   asks for an accelerator   any other
//!  labelled              ✓
//!  accelerated           ✓                    ✓
//!  all                   ✓                    ✓                   ✓
//! ```
//!
//! The API server decides the same by expressions that `admission` makes of [`ACCELERATORS`].

use k8s_openapi::api::core::v1 as core;

use crate::api::Scope;

/// How the names of the extended resources begin by which device plugins hand out accelerators, and of those
/// by which a `DeviceClass` does (KEP-5004).
pub const ACCELERATORS: [&str; 18] = [
    "amd.com/gpu",
    "aws.amazon.com/neuron",
    "cambricon.com/",
    "deviceclass.resource.kubernetes.io/",
    "enflame.com/",
    "furiosa.ai/",
    "google.com/tpu",
    "gpu.intel.com/",
    "habana.ai/gaudi",
    "huawei.com/Ascend",
    "hygon.com/dcu",
    "iluvatar.ai/",
    "metax-tech.com/",
    "mthreads.com/",
    "npu.intel.com/",
    "nvidia.com/",
    "qualcomm.com/qaic",
    "rebellions.ai/",
];

/// The narrowest scope that takes a pod in: it is governed in namespaces of that scope and of wider ones.
pub fn narrowest_scope(names_system: bool, pod: &core::PodSpec) -> Scope {
    match (names_system, asks_for_accelerator(pod)) {
        (true, _) => Scope::Labelled,
        (false, true) => Scope::Accelerated,
        (false, false) => Scope::All,
    }
}

/// Whether a pod asks for an accelerator.
pub fn asks_for_accelerator(pod: &core::PodSpec) -> bool {
    accelerators(pod).next().is_some()
}

/// The accelerators that a pod asks for: extended resources, of the pod or of any container, by request or by
/// limit; and claims of Dynamic Resource Allocation, whatever they are for.
pub fn accelerators(pod: &core::PodSpec) -> impl Iterator<Item = &str> {
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    let resources = containers.filter_map(|c| c.resources.as_ref()).chain(&pod.resources);
    let quantities = resources.flat_map(|r| r.requests.iter().chain(&r.limits)).flatten();
    let is_accelerator = |name: &str| ACCELERATORS.iter().any(|prefix| name.starts_with(prefix));
    let extended = quantities.filter(move |(name, quantity)| quantity.0 != "0" && is_accelerator(name));
    let claims = pod.resource_claims.iter().flatten().map(|_| "resourceClaims");
    extended.map(|(name, _)| name.as_str()).chain(claims)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asks(pod: Value) -> bool {
        asks_for_accelerator(&serde_json::from_value(pod).expect("a PodSpec"))
    }

    #[test]
    fn accelerators_are_found_wherever_they_are_asked_for() {
        let gpu = json!({ "name": "c", "resources": { "requests": { "nvidia.com/mig-1g.5gb": "1" } } });
        let limited = json!({ "name": "c", "resources": { "limits": { "google.com/tpu": "4" } } });
        let none = json!({ "name": "c", "resources": { "limits": { "nvidia.com/gpu": "0", "cpu": "4" } } });
        assert!(!asks(json!({ "containers": [none] })));
        assert!(asks(json!({ "containers": [none, gpu] })));
        assert!(asks(json!({ "containers": [none], "initContainers": [limited] })));
        assert!(asks(json!({ "containers": [none], "resources": limited["resources"] })));
        assert!(asks(json!({ "containers": [none], "resourceClaims": [{ "name": "gpu" }] })));
    }

    #[test]
    fn a_wider_scope_takes_in_what_a_narrower_one_does() {
        let gpu: core::PodSpec =
            serde_json::from_value(json!({ "containers": [], "resourceClaims": [{ "name": "g" }] }))
                .expect("a PodSpec");
        let plain = core::PodSpec::default();
        let taken_in = |names, pod| Scope::ALL.map(|scope| narrowest_scope(names, pod) <= scope);
        assert_eq!(taken_in(true, &plain), [true, true, true]);
        assert_eq!(taken_in(true, &gpu), [true, true, true]);
        assert_eq!(taken_in(false, &gpu), [false, true, true]);
        assert_eq!(taken_in(false, &plain), [false, false, true]);
    }
}
