//! Converts fields that both containers and volumes of a pod can have to fields of a runtime.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use crate::api::{FieldRef, ResourceFieldRef, Text, canonical_quantity};

pub(super) fn is_set(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// `None` for an empty text, because Kubernetes treats an empty text like an absent text.
pub(super) fn non_empty(text: Option<&String>) -> Option<Text> {
    text.filter(|text| !text.is_empty()).map(|text| text.as_str().into())
}

pub(super) fn map(map: Option<&BTreeMap<String, String>>) -> BTreeMap<Text, Text> {
    map.into_iter().flatten().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}

pub(super) fn texts(texts: Option<&Vec<String>>) -> Vec<Text> {
    texts.into_iter().flatten().map(|text| text.as_str().into()).collect()
}

pub(super) fn field(pod: &core::ObjectFieldSelector) -> FieldRef {
    FieldRef {
        api_version: pod.api_version.as_deref().unwrap_or("v1").into(),
        field_path: pod.field_path.as_str().into(),
    }
}

pub(super) fn resource(pod: &core::ResourceFieldSelector) -> ResourceFieldRef {
    ResourceFieldRef {
        container_name: non_empty(pod.container_name.as_ref()),
        resource: pod.resource.as_str().into(),
        divisor: canonical_quantity(pod.divisor.as_ref().map_or("0", |d| &d.0)),
    }
}
