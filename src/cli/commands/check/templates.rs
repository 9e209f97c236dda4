//! Finds the pod templates in an object of any kind. The search uses no list of kinds, so it also works for future
//! kinds.
//!
//! A Pod is its own template. In any other object, each value `X` below `spec` with a list `X.spec.containers` is a pod
//! template.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::manifests::Manifest;
use crate::api::SYSTEM_LABEL;

#[derive(Debug)]
pub struct Template {
    /// The JSON pointer (RFC 6901) to the template. Empty if the object is a pod.
    pub pointer: String,
    pub template: Result<PodTemplateSpec, String>,
}

/// The pod templates in an object. Empty for the objects of Assent, because a `ModelVersion` describes a pod but
/// creates none.
pub fn templates(manifest: &Manifest) -> Vec<Template> {
    let (version, kind) = (manifest.text("/apiVersion"), manifest.text("/kind"));
    let mut found = Vec::new();
    if manifest.is_of_assent() {
        return found;
    }
    if (version, kind) == ("v1", "Pod") {
        found.push(Template::new(String::new(), &manifest.value));
    } else if let Some(spec) = manifest.value.get("spec") {
        search(spec, "/spec", &mut found);
    }
    found
}

/// Whether the label `assent.dev/system` occurs anywhere in an object, such as in the spec of a custom resource.
pub fn names_a_system(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key == SYSTEM_LABEL || names_a_system(value))
        }
        Value::Array(items) => items.iter().any(names_a_system),
        _ => false,
    }
}

fn search(value: &Value, pointer: &str, found: &mut Vec<Template>) {
    match value {
        Value::Object(_) if value.pointer("/spec/containers").is_some_and(Value::is_array) => {
            found.push(Template::new(pointer.to_owned(), value));
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                search(value, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                search(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

impl Template {
    fn new(pointer: String, value: &Value) -> Self {
        let template = json!({ "metadata": value.get("metadata"), "spec": value.get("spec") });
        Self { pointer, template: PodTemplateSpec::deserialize(template).map_err(|error| error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: Value) -> Vec<String> {
        let manifest = Manifest { path: "-".to_owned(), line: 1, value, located: None };
        templates(&manifest).into_iter().map(|template| template.pointer).collect()
    }

    #[test]
    fn pod_templates_of_any_kind_are_found() {
        let template = json!({ "metadata": { "labels": {} }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
        let of = |version: &str, kind: &str, spec: Value| json!({ "apiVersion": version, "kind": kind, "spec": spec });
        assert_eq!(found(of("v1", "Pod", template["spec"].clone())), [""]);
        assert_eq!(found(of("apps/v1", "Deployment", json!({ "template": template }))), ["/spec/template"]);
        let job = json!({ "jobTemplate": { "spec": { "template": template } } });
        assert_eq!(found(of("batch/v1", "CronJob", job)), ["/spec/jobTemplate/spec/template"]);
        let ray = json!({ "headGroupSpec": { "template": template }, "workerGroupSpecs": [{ "template": template }] });
        assert_eq!(
            found(of("ray.io/v1", "RayCluster", ray)),
            ["/spec/headGroupSpec/template", "/spec/workerGroupSpecs/0/template"]
        );
        assert!(found(of("v1", "Service", json!({ "ports": [] }))).is_empty());
        let runtime = json!({ "runtime": template["spec"], "like": template });
        assert!(found(of("assent.dev/v1alpha1", "ModelVersion", runtime)).is_empty());
    }
}
