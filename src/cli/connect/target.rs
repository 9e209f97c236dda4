//! Parses the object that a command names, with the kind names of kubectl.
//!
//! ```text
//!  "deploy/x", "pod x", "ais/x", "image/ghcr.io/x" ──► Target
//! ```

use kube::{
    ResourceExt,
    core::{ApiResource, GroupVersionKind},
};

use crate::api::ModelVersion;

/// The object that a command names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Pod(String),
    Workload(WorkloadKind, String),
    /// The kind and name of an object whose controller creates the workloads, such as an `InferenceService`.
    Root(String, String),
    System(String),
    Version(String),
    /// An image of a container or a volume. The text is the full name, the name without digest, the name without digest
    /// and tag, or only the digest.
    Image(String),
}

/// A kind with a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadKind {
    pub kind: &'static str,
    group: &'static str,
    names: &'static [&'static str],
    /// The JSON pointer to the pod template.
    pub template: &'static str,
}

const TEMPLATE: &str = "/spec/template";

pub const WORKLOADS: [WorkloadKind; 6] = [
    WorkloadKind {
        kind: "Deployment",
        group: "apps",
        names: &["deployment", "deployments", "deploy"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "StatefulSet",
        group: "apps",
        names: &["statefulset", "statefulsets", "sts"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "DaemonSet",
        group: "apps",
        names: &["daemonset", "daemonsets", "ds"],
        template: TEMPLATE,
    },
    WorkloadKind {
        kind: "ReplicaSet",
        group: "apps",
        names: &["replicaset", "replicasets", "rs"],
        template: TEMPLATE,
    },
    WorkloadKind { kind: "Job", group: "batch", names: &["job", "jobs"], template: TEMPLATE },
    WorkloadKind {
        kind: "CronJob",
        group: "batch",
        names: &["cronjob", "cronjobs", "cj"],
        template: "/spec/jobTemplate/spec/template",
    },
];

impl WorkloadKind {
    pub fn resource(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(self.group, "v1", self.kind))
    }
}

impl Target {
    /// Parses `KIND/NAME`, or `KIND` and `NAME`.
    pub fn parse(kind_or_both: &str, name: Option<&str>) -> Result<Self, String> {
        let (kind, name) = match (kind_or_both.split_once('/'), name) {
            (Some((kind, name)), None) => (kind, name),
            (None, Some(name)) => (kind_or_both, name),
            (Some(_), Some(_)) => return Err("give KIND/NAME or KIND NAME, not both".to_owned()),
            (None, None) => {
                return Err(format!("its kind is missing: write for example pod/{kind_or_both}"));
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

    /// `KIND/NAME`, as kubectl writes it.
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

    /// Whether a command about the target also concerns `version`. A target that is a version concerns only this
    /// version. A target that is an image concerns the versions that run the image. Every other target concerns all
    /// versions.
    pub fn concerns(&self, version: &ModelVersion) -> bool {
        match self {
            Self::Version(name) => version.name_any() == *name,
            Self::Image(wanted) => version.spec.runtime.images().any(|image| is_image(image, wanted)),
            Self::Pod(_) | Self::Workload(..) | Self::Root(..) | Self::System(_) => true,
        }
    }
}

/// Whether `wanted` names `image`: in full, without digest, without digest and tag, or only by digest.
pub fn is_image(image: &str, wanted: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let repository = match name.rsplit_once(':') {
        // A colon before the last slash belongs to a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    [image, name, repository].contains(&wanted) || digest == Some(wanted)
}

/// Parses the name of a system. Also accepts the form of kubectl, `aisystem/NAME`.
pub fn system_name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        None => Ok(text.to_owned()),
        Some(_) => match Target::parse(text, None)? {
            Target::System(name) => Ok(name),
            other => Err(format!("{} is not an AI system", other.in_words())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_matches_in_full_or_by_repository_or_by_digest() {
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
    fn kinds_have_the_names_of_kubectl() {
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
