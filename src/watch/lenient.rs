//! Deserialises an object that may be unreadable. The deserialisation of [`Lenient`] succeeds with any valid JSON.
//!
//! [`Lenient`] first reads the whole object. If this fails, it reads the object without `managedFields`, and then also
//! without the status. If all attempts fail, the result is [`Unreadable`], with the name of the object.
//!
//! The parser of a list skips the text of each object without recursion. So a deeply nested object does not make the
//! whole list unreadable.

use std::{collections::BTreeMap, fmt};

use kube::{Resource, api::Evict, core::ObjectMeta};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{error::Category, value::RawValue};

use crate::truncate::shorten;

/// The maximum size of the field path in an error text, in bytes.
const PATH_BYTES: usize = 200;

#[derive(Clone, Debug)]
pub(crate) struct Lenient<K>(pub(crate) Result<K, Unreadable>);

#[derive(Clone)]
pub(crate) struct Unreadable {
    /// Only the name, namespace, labels, UID, generation and resource version of the object.
    pub(crate) metadata: ObjectMeta,
    /// The path of the field that cannot be read, and the kind of the error. The text quotes no value of the object,
    /// because a value can be secret.
    pub(crate) why: String,
    /// The object without its `managedFields` and its status. The operator never logs this text.
    pub(crate) text: Box<str>,
}

impl fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        write!(f, "Unreadable({namespace:?}, {name:?}: {})", self.why)
    }
}

impl<K: DeserializeOwned> Lenient<K> {
    fn read(text: &str) -> Self {
        if let Ok(object) = serde_json::from_str(text) {
            return Self(Ok(object));
        }
        let text = without_managed_fields(text);
        if let Ok(object) = serde_json::from_str(&text) {
            return Self(Ok(object));
        }
        let text = without_status(&text);
        let mut json = serde_json::Deserializer::from_str(&text);
        Self(serde_path_to_error::deserialize(&mut json).map_err(|error| Unreadable {
            metadata: identity(&text),
            why: describe(&error.path().to_string(), error.inner()),
            text: text.into(),
        }))
    }
}

impl<K> Lenient<K> {
    /// Returns the object, or an error that quotes no value of the object.
    pub(crate) fn readable(self) -> Result<K, kube::Error> {
        self.0.map_err(|unreadable| kube::Error::SerdeError(serde::de::Error::custom(unreadable.why)))
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self::read(raw.get()))
    }
}

impl<K: Resource> Resource for Lenient<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

impl<K: Evict> Evict for Lenient<K> {}

#[derive(Deserialize)]
struct WithMetadata<T> {
    metadata: T,
}

/// Replaces the `managedFields` by null. A user who may patch an object may write any text into its `managedFields`,
/// and so could make the object unreadable.
fn without_managed_fields(text: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Part<'a> {
        #[serde(borrow)]
        managed_fields: &'a RawValue,
    }
    let part =
        serde_json::from_str(text).map(|object: WithMetadata<Part<'_>>| object.metadata.managed_fields);
    part.map_or_else(|_| text.to_owned(), |part| without(text, part))
}

/// Replaces the status by null, because an invalid status must not make the spec unreadable.
fn without_status(text: &str) -> String {
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow)]
        status: &'a RawValue,
    }
    let part = serde_json::from_str(text).map(|object: Part<'_>| object.status);
    part.map_or_else(|_| text.to_owned(), |part| without(text, part))
}

/// Replaces `part` by null. `part` must borrow from `text`.
fn without(text: &str, part: &RawValue) -> String {
    let begin = part.get().as_ptr().addr() - text.as_ptr().addr();
    format!("{}null{}", &text[..begin], &text[begin + part.get().len()..])
}

/// Reads the fields that identify an object. The API server sets or validates these fields, so they are readable.
fn identity(text: &str) -> ObjectMeta {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase")]
    struct Identity {
        namespace: Option<String>,
        name: Option<String>,
        uid: Option<String>,
        generation: Option<i64>,
        labels: Option<BTreeMap<String, String>>,
        resource_version: Option<String>,
    }
    let metadata = serde_json::from_str(text).map(|object: WithMetadata<Identity>| object.metadata);
    let Identity { namespace, name, uid, generation, labels, resource_version } =
        metadata.unwrap_or_default();
    ObjectMeta { namespace, name, uid, generation, labels, resource_version, ..ObjectMeta::default() }
}

/// The path and the kind of a parse error. The error text of the parser quotes values of the object, so it is left out.
fn describe(path: &str, error: &serde_json::Error) -> String {
    let path = path.chars().filter(char::is_ascii_graphic).collect();
    let cause = match error.classify() {
        Category::Data => "Assent cannot read this value",
        Category::Syntax | Category::Eof | Category::Io => {
            "the value is nested too deeply, or the number is out of range"
        }
    };
    format!("{}: {cause} (byte {} of the JSON)", shorten(path, PATH_BYTES), error.column())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::Job;
    use kube::{
        ResourceExt,
        core::{ObjectList, WatchEvent},
    };
    use serde_json::{Value, json};

    use super::*;

    const FAR_FUTURE: &str = "9999-12-31T23:59:59Z";

    fn job(name: &str) -> Value {
        json!({ "metadata": { "name": name, "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 2 },
            "spec": { "template": { "spec": { "containers": [] } } } })
    }

    fn with(mut job: Value, pointer: &str, field: &str, value: Value) -> Value {
        job.pointer_mut(pointer).and_then(Value::as_object_mut).map(|o| o.insert(field.to_owned(), value));
        job
    }

    /// JSON with more nested levels than the parser accepts.
    fn deep() -> String {
        format!("{}1{}", r#"{"f:a":"#.repeat(5000), "}".repeat(5000))
    }

    fn read(job: &str) -> Lenient<Job> {
        let list = format!(
            r#"{{"apiVersion":"batch/v1","kind":"JobList","metadata":{{"resourceVersion":"9"}},"items":[{job}]}}"#
        );
        let list: ObjectList<Lenient<Job>> =
            serde_json::from_str(&list).expect("a list is readable with any item");
        let event = format!(r#"{{"type":"ADDED","object":{job}}}"#);
        let event: WatchEvent<Lenient<Job>> =
            serde_json::from_str(&event).expect("an event is readable with any object");
        let WatchEvent::Added(seen) = event else { panic!("not an ADDED event") };
        let [listed] = <[_; 1]>::try_from(list.items).expect("one object");
        assert_eq!(listed.0.is_ok(), seen.0.is_ok());
        assert_eq!(listed.name_any(), seen.name_any());
        listed
    }

    #[test]
    fn object_with_invalid_managed_fields_is_readable() {
        let late =
            with(job("late"), "/metadata", "managedFields", json!([{ "manager": "m", "time": FAR_FUTURE }]));
        let late = read(&late.to_string()).0.expect("readable");
        assert!(late.managed_fields().is_empty());
        let entry = format!(r#"[{{"manager":"m","fieldsV1":{}}}]"#, deep());
        let deep = with(job("deep"), "/metadata", "managedFields", json!("HERE"));
        let deep = read(&deep.to_string().replace(r#""HERE""#, &entry)).0.expect("readable");
        assert_eq!(deep.name_any(), "deep");
    }

    #[test]
    fn invalid_status_counts_as_missing() {
        let odd = with(job("odd"), "", "status", json!({ "active": 1, "startTime": FAR_FUTURE }));
        assert_eq!(read(&odd.to_string()).0.expect("readable").status, None);
    }

    #[test]
    fn valid_managed_fields_are_kept() {
        let fields = json!([{ "manager": "m", "time": "2030-01-01T00:00:00Z" }]);
        let job =
            read(&with(job("j"), "/metadata", "managedFields", fields).to_string()).0.expect("readable");
        assert_eq!(job.managed_fields()[0].manager.as_deref(), Some("m"));
    }

    #[test]
    fn unreadable_object_keeps_its_name_and_its_error_contains_no_value() {
        let job = with(job("odd"), "/spec/template", "metadata", json!({ "creationTimestamp": "hunter2" }));
        let odd = read(&job.to_string());
        assert_eq!((odd.name_any().as_str(), odd.namespace().as_deref()), ("odd", Some("n")));
        assert_eq!((odd.uid().as_deref(), odd.resource_version().as_deref()), (Some("u"), Some("7")));
        assert_eq!(odd.meta().generation, Some(2));
        let unreadable = odd.0.expect_err("unreadable");
        assert!(
            unreadable.why.starts_with("spec.template.metadata.creationTimestamp: "),
            "{}",
            unreadable.why
        );
        assert!(!format!("{unreadable:?}").contains("hunter2"));
    }

    #[test]
    fn list_is_readable_with_any_json_item() {
        let numbers = ["1e999", "123456789012345678901234567890", "-0.0", "1.5"];
        let replicas = |number: &str| {
            let job = with(job("n"), "/spec", "parallelism", json!("HERE"));
            job.to_string().replace(r#""HERE""#, number)
        };
        for object in numbers.map(replicas) {
            assert!(read(&object).0.is_err(), "{object}");
        }
        let strange =
            ["null", "[]", "{}", "1", r#""text""#, r#"{"metadata":null}"#, r#"{"metadata":{"name":1}}"#];
        for object in strange {
            assert_eq!(read(object).namespace(), None);
        }
        read(&deep());
        let lone = r#"{"metadata":{"name":"s","annotations":{"a":"\ud800"}},"spec":{}}"#;
        assert_eq!(read(lone).name_any(), "s");
    }
}
