//! Finds the pods that an object would make, whatever its kind: a list of the kinds that are known today would be
//! wrong tomorrow.
//!
//! ```text
//!  Pod ─────────────────────────────────────────────► itself
//!  anything else ─ every `X` with X.spec.containers ──► X as a pod template
//! ```

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::manifests::Manifest;
use crate::api::SYSTEM_LABEL;

/// The pods that one part of an object makes.
#[derive(Debug)]
pub struct Template {
    /// Where it stands in the object, as a JSON pointer (RFC 6901); empty: it is the object.
    pub pointer: String,
    /// The template, or why it is none.
    pub template: Result<PodTemplateSpec, String>,
}

/// The pods that an object makes, as far as it says so itself.
pub fn templates(manifest: &Manifest) -> Vec<Template> {
    let (version, kind) = (manifest.text("/apiVersion"), manifest.text("/kind"));
    let mut found = Vec::new();
    if manifest.is_ours() {
        return found;
    }
    if (version, kind) == ("v1", "Pod") {
        found.push(Template::new(String::new(), &manifest.value));
    } else if let Some(spec) = manifest.value.get("spec") {
        descend(spec, "/spec", &mut found);
    }
    found
}

/// Whether an object names a system somewhere, though it has no pod template.
pub fn names_a_system(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key == SYSTEM_LABEL || names_a_system(value))
        }
        Value::Array(items) => items.iter().any(names_a_system),
        _ => false,
    }
}

fn descend(value: &Value, pointer: &str, found: &mut Vec<Template>) {
    match value {
        Value::Object(_) if value.pointer("/spec/containers").is_some_and(Value::is_array) => {
            found.push(Template::new(pointer.to_owned(), value));
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                descend(value, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                descend(value, &format!("{pointer}/{index}"), found);
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
    fn pods_of_any_kind_are_found() {
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
