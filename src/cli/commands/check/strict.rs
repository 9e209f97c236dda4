//! Finds unknown fields in the objects of Assent, as the API server does for kubectl. Without this step, the check would
//! ignore a misspelled field.
//!
//! ```text
//!  object, schema of its kind ──► the first unknown field, and the known field with the nearest name
//! ```

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::{api::definitions, nearest::nearest};

const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The schema of each kind of Assent. The program builds the schemas only once, because the build takes longer than the
/// check of a hundred objects.
static SCHEMAS: LazyLock<BTreeMap<String, JSONSchemaProps>> = LazyLock::new(|| {
    let schema = |definition: CustomResourceDefinition| {
        let version = definition.spec.versions.into_iter().next()?;
        let mut schema = version.schema?.open_api_v3_schema?;
        let known = schema.properties.get_or_insert_default();
        for field in OF_EVERY_OBJECT {
            let any = JSONSchemaProps {
                x_kubernetes_preserve_unknown_fields: Some(true),
                ..JSONSchemaProps::default()
            };
            known.insert(field.to_owned(), any);
        }
        Some((definition.spec.names.kind, schema))
    };
    definitions().into_iter().filter_map(schema).collect()
});

/// Describes the first unknown field of an object. `None` if the schema knows all fields, or if the kind has no schema.
pub fn unknown_field(kind: &str, object: &Value) -> Option<String> {
    first_unknown(SCHEMAS.get(kind)?, object, "")
}

fn first_unknown(schema: &JSONSchemaProps, value: &Value, place: &str) -> Option<String> {
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return None;
    }
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            if let Some(property) = schema.properties.as_ref().and_then(|known| known.get(name)) {
                return first_unknown(property, value, &place);
            }
            match &schema.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(any)) => first_unknown(any, value, &place),
                Some(JSONSchemaPropsOrBool::Bool(true)) => None,
                _ => schema.properties.as_ref().map(|known| unknown(name, &place, known.keys())),
            }
        }),
        Value::Array(items) => {
            let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items else { return None };
            items
                .iter()
                .enumerate()
                .find_map(|(index, value)| first_unknown(item, value, &format!("{place}[{index}]")))
        }
        _ => None,
    }
}

fn unknown<'a>(name: &str, place: &str, known: impl Iterator<Item = &'a String>) -> String {
    let similar = nearest(name, known.map(String::as_str));
    let hint = similar.map(|similar| format!("; did you mean {similar}?")).unwrap_or_default();
    format!("unknown field {place}{hint}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn misspelled_field_is_found_at_any_depth() {
        let of = |spec: Value| {
            json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem",
            "metadata": { "name": "x", "labels": { "any": "thing" } }, "spec": spec })
        };
        let good = of(json!({ "intendedPurpose": "p", "riskLevel": "high", "owners": [{ "name": "dev" }] }));
        assert_eq!(unknown_field("AISystem", &good), None);
        for (spec, wanted) in [
            (json!({ "risklevel": "high" }), "unknown field spec.risklevel; did you mean riskLevel?"),
            (json!({ "owners": [{ "nme": "dev" }] }), "unknown field spec.owners[0].nme; did you mean name?"),
            (json!({ "zzz": 1 }), "unknown field spec.zzz"),
        ] {
            assert_eq!(unknown_field("AISystem", &of(spec)).as_deref(), Some(wanted));
        }
    }
}
