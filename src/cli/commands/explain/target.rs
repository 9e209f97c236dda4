//! What a person can ask about, by the names that kubectl gives it.
//!
//! ```text
//!  "deploy/x", "pod x", "ais/x", "image/ghcr.io/x" ──► Target
//! ```

use kube::{
    ResourceExt,
    core::{ApiResource, GroupVersionKind},
};

use crate::api::ModelVersion;

/// An object to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A pod.
    Pod(String),
    /// What makes pods.
    Workload(Workload, String),
    /// What makes pods by way of other controllers, such as an `InferenceService`: its kind and name.
    Root(String, String),
    /// An `AISystem`.
    System(String),
    /// A `ModelVersion`.
    Version(String),
    /// An image of a container or a volume: as it is written, without tag and digest, or its digest alone.
    Image(String),
}

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its kind.
    pub kind: &'static str,
    group: &'static str,
    names: &'static [&'static str],
    /// Where its pod template is.
    pub template: &'static str,
}

const TEMPLATE: &str = "/spec/template";

/// The kinds that have a pod template.
pub const WORKLOADS: [Workload; 6] = [
    Workload {
        kind: "Deployment",
        group: "apps",
        names: &["deployment", "deployments", "deploy"],
        template: TEMPLATE,
    },
    Workload {
        kind: "StatefulSet",
        group: "apps",
        names: &["statefulset", "statefulsets", "sts"],
        template: TEMPLATE,
    },
    Workload {
        kind: "DaemonSet",
        group: "apps",
        names: &["daemonset", "daemonsets", "ds"],
        template: TEMPLATE,
    },
    Workload {
        kind: "ReplicaSet",
        group: "apps",
        names: &["replicaset", "replicasets", "rs"],
        template: TEMPLATE,
    },
    Workload { kind: "Job", group: "batch", names: &["job", "jobs"], template: TEMPLATE },
    Workload {
        kind: "CronJob",
        group: "batch",
        names: &["cronjob", "cronjobs", "cj"],
        template: "/spec/jobTemplate/spec/template",
    },
];

impl Workload {
    /// How it is asked for.
    pub fn resource(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(self.group, "v1", self.kind))
    }
}

impl Target {
    /// From `KIND/NAME`, or from `KIND` and `NAME`.
    pub fn parse(kind_or_both: &str, name: Option<&str>) -> Result<Self, String> {
        let (kind, name) = match (kind_or_both.split_once('/'), name) {
            (Some((kind, name)), None) => (kind, name),
            (None, Some(name)) => (kind_or_both, name),
            (Some(_), Some(_)) => return Err("give KIND/NAME or KIND NAME, not both".to_owned()),
            (None, None) => {
                return Err(format!("of which kind is {kind_or_both}? For example pod/{kind_or_both}"));
            }
        };
        if name.is_empty() {
            return Err("the name is missing".to_owned());
        }
        let lower = kind.to_ascii_lowercase();
        let kind = lower.split_once('.').map_or(lower.as_str(), |(kind, _group)| kind);
        let name = name.to_owned();
        match kind {
            "pod" | "pods" | "po" => Ok(Self::Pod(name)),
            "aisystem" | "aisystems" | "ais" => Ok(Self::System(name)),
            "modelversion" | "modelversions" | "mv" => Ok(Self::Version(name)),
            "image" | "images" => Ok(Self::Image(name)),
            _ => Ok(match WORKLOADS.into_iter().find(|workload| workload.names.contains(&kind)) {
                Some(workload) => Self::Workload(workload, name),
                None => Self::Root(kind.to_owned(), name),
            }),
        }
    }

    /// As kubectl writes it.
    pub fn in_words(&self) -> String {
        match self {
            Self::Pod(name) => format!("pod/{name}"),
            Self::Workload(workload, name) => format!("{}/{name}", workload.names[0]),
            Self::Root(kind, name) => format!("{kind}/{name}"),
            Self::System(name) => format!("aisystem/{name}"),
            Self::Version(name) => format!("modelversion/{name}"),
            Self::Image(name) => format!("image/{name}"),
        }
    }

    /// Whether a version is one of those that are asked about.
    pub fn concerns(&self, version: &ModelVersion) -> bool {
        match self {
            Self::Version(name) => version.name_any() == *name,
            Self::Image(wanted) => version.spec.runtime.images().any(|image| is_image(image, wanted)),
            Self::Pod(_) | Self::Workload(..) | Self::Root(..) | Self::System(_) => true,
        }
    }
}

/// Whether an image is the one that is asked for.
pub fn is_image(image: &str, wanted: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let repository = match name.rsplit_once(':') {
        // A colon before the last slash is that of a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    [image, name, repository].contains(&wanted) || digest == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_by_what_people_know_of_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = format!("registry.example:5000/models/scorer:v1@{digest}");
        for wanted in
            [&image, "registry.example:5000/models/scorer:v1", "registry.example:5000/models/scorer", &digest]
        {
            assert!(is_image(&image, wanted), "{wanted}");
        }
        for other in ["scorer", "registry.example", "registry.example:5000/models", "v1", ""] {
            assert!(!is_image(&image, other), "{other}");
        }
        assert!(is_image("registry.example:5000/scorer", "registry.example:5000/scorer"));
        assert!(!is_image("registry.example:5000/scorer", "registry.example"));
    }

    #[test]
    fn kinds_by_the_names_that_kubectl_gives_them() {
        for (typed, name, words) in [
            ("pod/x", None, "pod/x"),
            ("po", Some("x"), "pod/x"),
            ("Deployment.apps/x", None, "deployment/x"),
            ("sts/x", None, "statefulset/x"),
            ("cj/x", None, "cronjob/x"),
            ("aisystems.assent.dev/x", None, "aisystem/x"),
            ("mv", Some("x"), "modelversion/x"),
            ("InferenceService.serving.kserve.io/x", None, "inferenceservice/x"),
            ("image/ghcr.io/x/y:v1", None, "image/ghcr.io/x/y:v1"),
        ] {
            assert_eq!(Target::parse(typed, name).map(|target| target.in_words()), Ok(words.to_owned()));
        }
        for (typed, name) in [("x", None), ("pod/x", Some("y")), ("pod/", None)] {
            assert!(Target::parse(typed, name).is_err(), "{typed} {name:?} parsed");
        }
    }
}
