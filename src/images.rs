//! How pods of AI workloads are known: by their images and accelerators, as the platform's team lists them in the
//! chart's values, for the operator and the plugin alike.
//!
//! ```text
//!  values.yaml ──► ConfigMap assent-inventory ─┬─ ASSENT_IMAGE_PATTERNS, ASSENT_ACCELERATORS ──► operator
//!                                              └─ read ──► kubectl assent inventory, explain, status
//! ```

use std::str::FromStr;

use globset::{Glob, GlobSet, GlobSetBuilder};
use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::policy::Accelerators;

/// Both ways to know a pod of an AI workload.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    /// By its images; this is for the inventory only.
    pub images: ImagePatterns,
    /// By its accelerators; the scope accelerated takes in what uses one.
    pub accelerators: Accelerators,
}

impl Signs {
    /// Whether a pod looks like one of an AI workload.
    pub fn suspect(&self, metadata: &ObjectMeta, pod: &PodSpec) -> bool {
        self.accelerators.of(metadata.annotations.as_ref(), pod).next().is_some()
            || self.images.matched(pod).next().is_some()
    }
}

/// Patterns of images, in which `*` stands for anything.
#[derive(Clone, Debug, Default)]
pub struct ImagePatterns(GlobSet);

impl ImagePatterns {
    /// The images of a pod that are matched, those of volumes included.
    pub fn matched<'a>(&self, pod: &'a PodSpec) -> impl Iterator<Item = &'a str> {
        let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
        let volumes = pod.volumes.iter().flatten().filter_map(|v| v.image.as_ref()?.reference.as_deref());
        let images = containers.filter_map(|c| c.image.as_deref()).chain(volumes);
        images.filter(|image| self.0.is_match(image))
    }
}

/// One pattern a line.
impl FromStr for ImagePatterns {
    type Err = globset::Error;

    fn from_str(lines: &str) -> Result<Self, Self::Err> {
        let mut patterns = GlobSetBuilder::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            patterns.add(Glob::new(line)?);
        }
        Ok(Self(patterns.build()?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_match_whole_images_wherever_a_pod_has_them() {
        let patterns: ImagePatterns = "*/vllm-openai*\n\n ollama/*\n".parse().expect("patterns");
        let is_one = |pod| {
            let pod = serde_json::from_value(pod).expect("a PodSpec");
            patterns.matched(&pod).next().is_some()
        };
        let vllm = json!({ "name": "c", "image": "docker.io/vllm/vllm-openai:v0.9@sha256:0" });
        let other = json!({ "name": "c", "image": "registry.example/ollama/ollama" });
        assert!(is_one(json!({ "containers": [vllm] })));
        assert!(is_one(json!({ "containers": [other], "initContainers": [vllm] })));
        assert!(is_one(json!({ "containers": [other],
            "volumes": [{ "name": "m", "image": { "reference": "ollama/llama" } }] })));
        assert!(!is_one(json!({ "containers": [other] })), "a pattern is of the whole image");
        assert!("[".parse::<ImagePatterns>().is_err());
    }
}
