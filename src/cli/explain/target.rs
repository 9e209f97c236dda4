//! What a person can ask about, by the names that kubectl gives it.
//!
//! ```text
//!  "deploy/x", "pod x", "ais/x" ──► Target
//! ```

use kube::core::{ApiResource, GroupVersionKind};

/// An object to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A pod.
    Pod(String),
    /// What makes pods.
    Workload(Workload, String),
    /// An `AISystem`.
    System(String),
    /// A `ModelVersion`.
    Version(String),
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

const WORKLOADS: [Workload; 6] = [
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
            _ => match WORKLOADS.into_iter().find(|workload| workload.names.contains(&kind)) {
                Some(workload) => Ok(Self::Workload(workload, name)),
                None => Err(format!(
                    "{kind} makes no pods that this command knows: want pod, deployment, statefulset, daemonset, replicaset, job, cronjob, aisystem or modelversion"
                )),
            },
        }
    }

    /// As kubectl writes it.
    pub fn in_words(&self) -> String {
        match self {
            Self::Pod(name) => format!("pod/{name}"),
            Self::Workload(workload, name) => format!("{}/{name}", workload.names[0]),
            Self::System(name) => format!("aisystem/{name}"),
            Self::Version(name) => format!("modelversion/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(Target::parse(typed, name).map(|target| target.in_words()), Ok(words.to_owned()));
        }
        for (typed, name) in [("x", None), ("pod/x", Some("y")), ("pod/", None), ("service/x", None)] {
            assert!(Target::parse(typed, name).is_err(), "{typed} {name:?} parsed");
        }
    }
}
