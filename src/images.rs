//! Recognises the pods of AI workloads by their images and accelerators. The platform team lists image patterns and
//! additional accelerators in the chart's values, and the chart writes them into the `ConfigMap` `assent-inventory`.
//! The operator reads them from environment variables, and `kubectl assent` reads them from the `ConfigMap`.

use std::str::FromStr;

use globset::{Glob, GlobSet, GlobSetBuilder};
use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::policy::Accelerators;

/// The signs by which Assent recognises the pods of AI workloads.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    /// The image patterns. Only the metric `assent_shadow_pods` and `kubectl assent inventory` use them.
    pub images: ImagePatterns,
    /// The signs of accelerators. The scope `accelerated` covers the pods that have such a sign.
    pub accelerators: Accelerators,
}

impl Signs {
    /// Whether a pod has a sign of an AI workload.
    pub fn suspect(&self, metadata: &ObjectMeta, pod: &PodSpec) -> bool {
        self.accelerators.of(metadata.annotations.as_ref(), pod).next().is_some()
            || self.images.matched(pod).next().is_some()
    }
}

/// Patterns of image names, in which `*` matches any text.
#[derive(Clone, Debug, Default)]
pub struct ImagePatterns(GlobSet);

impl ImagePatterns {
    /// The images of a pod that match a pattern, including the images of volumes.
    pub fn matched<'a>(&self, pod: &'a PodSpec) -> impl Iterator<Item = &'a str> {
        let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
        let volumes = pod.volumes.iter().flatten().filter_map(|v| v.image.as_ref()?.reference.as_deref());
        let images = containers.filter_map(|c| c.image.as_deref()).chain(volumes);
        // A pinned pod matches like its template, which names the image by tag.
        images.filter(|image| self.0.is_match(image) || self.0.is_match(without_digest(image)))
    }
}

/// Parses one pattern per line.
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

fn without_digest(image: &str) -> &str {
    image.split('@').next().unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Images of serving stacks. The default patterns must match them.
    const SERVING: [&str; 24] = [
        "vllm/vllm-openai-cpu:v0.11",
        "quay.io/opendatahub/vllm:stable",
        "lmsysorg/sglang:v0.5",
        "ghcr.io/huggingface/text-generation-inference:3.3",
        "ghcr.io/huggingface/tgi-gaudi:2.3",
        "ghcr.io/huggingface/text-embeddings-inference:cpu-1.8",
        "michaelf34/infinity:0.0.77",
        "ollama/ollama:0.12",
        "ghcr.io/ggml-org/llama.cpp:server",
        "openmmlab/lmdeploy:v0.10",
        "localai/localai:latest-cpu",
        "nvcr.io/nvidia/tritonserver:25.10-py3",
        "nvcr.io/nim/meta/llama-3.1-8b-instruct:1",
        "kserve/huggingfaceserver:v0.15.2",
        "docker.io/kserve/sklearnserver:v0.15.2",
        "kserve/xgbserver:v0.15.2",
        "docker.io/seldonio/mlserver:1.7",
        "seldonio/sklearnserver:1.18",
        "pytorch/torchserve-kfs:0.9.0",
        "tensorflow/serving:2.19",
        "openvino/model_server:2025.3",
        "rayproject/ray:2.49",
        "rayproject/ray-ml:2.9",
        "anyscale/ray-llm:2.49",
    ];

    const OTHERS: [&str; 7] = [
        "nginx:1.29",
        "kserve/storage-initializer:v0.15.2",
        "kserve/kserve-controller:v0.15.2",
        "quay.io/kuberay/operator:v1.4.2",
        "tensorflow/tensorflow:2.19",
        "grafana/grafana:12",
        "docker.io/istio/proxyv2:1.27",
    ];

    #[test]
    fn the_default_patterns_of_the_chart_match_serving_stacks_and_no_other_images() {
        let values = include_str!("../charts/assent/values.yaml");
        let values: serde_json::Value = serde_saphyr::from_str(values).expect("values");
        let listed = values["inventory"]["imagePatterns"].as_array().expect("a list");
        let lines: Vec<&str> = listed.iter().filter_map(|line| line.as_str()).collect();
        let patterns: ImagePatterns = lines.join("\n").parse().expect("patterns");
        let is_one = |image: &str| {
            let pod = json!({ "containers": [{ "name": "c", "image": image }] });
            patterns.matched(&serde_json::from_value(pod).expect("a PodSpec")).next().is_some()
        };
        let missed: Vec<_> = SERVING.iter().filter(|image| !is_one(image)).collect();
        let too_many: Vec<_> = OTHERS.iter().filter(|image| is_one(image)).collect();
        assert!(missed.is_empty() && too_many.is_empty(), "missed {missed:?}, and found {too_many:?}");
    }

    #[test]
    fn patterns_match_whole_image_names_in_all_parts_of_a_pod() {
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
        let exact: ImagePatterns = "registry.example/bot:1".parse().expect("a pattern");
        let pinned = json!({ "containers": [{ "name": "c", "image": "registry.example/bot:1@sha256:0" }] });
        assert!(exact.matched(&serde_json::from_value(pinned).expect("a PodSpec")).next().is_some());
        assert!(!is_one(json!({ "containers": [other] })), "a pattern matched a part of the image name");
        assert!("[".parse::<ImagePatterns>().is_err());
    }
}
