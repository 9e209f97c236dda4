//! Writes the version that matches what is there, so that nobody types a runtime by hand.
//!
//! ```text
//!  pod ─────────────────┐
//!  workload ─ template ─┴─► Runtime ── images by digest ──► ModelVersion ─ yaml, json
//!             pods ─ status.containerStatuses[].imageID ──┘
//! ```
//!
//! A pod has what other mutations added. What is trusted of that is left out, as where a pod is compared with a
//! version; the template of a workload never had it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec};
use kube::Api;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    connect::{Session, quoted},
    error::{Error, Next, Result},
    explain::{Target, read_pod, read_workload},
    output::{self, Manifest},
    visible::visible,
};
use crate::{
    api::{CLEARANCE_NAME, Clearance, Container, GROUP, Runtime, SYSTEM_LABEL},
    policy::{runtime_of_pod, without_trusted},
};

/// What is captured, and as what.
#[derive(Clone, Debug)]
pub struct Wish {
    /// A pod or a workload.
    pub target: Target,
    /// The system; otherwise the one that its label names.
    pub system: Option<String>,
    /// The name of the version; otherwise one made of the system's and the runtime's digest.
    pub version: Option<String>,
}

/// Prints the version.
pub async fn capture(session: &Session, wish: Wish, format: Manifest) -> Result<()> {
    let found = Found::read(session, &wish.target).await?;
    let Some(system) = wish.system.or_else(|| found.system.clone()) else {
        return Err(no_system(session, &wish.target));
    };
    let mut runtime = found.runtime(session, &wish.target).await?;
    let moved = pin(&mut runtime, &found.digests(session, &wish.target)?);
    let version = wish.version.unwrap_or_else(|| format!("{system}-{}", fingerprint(&runtime)));
    let manifest = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "ModelVersion",
        "metadata": { "name": version, "namespace": session.namespace },
        "spec": { "system": system, "runtime": runtime },
    });
    let text = match format {
        Manifest::Yaml => output::yaml(&manifest)?,
        Manifest::Json => output::json(&manifest)?,
    };
    anstream::print!("{text}");
    say_what_is_left(session, &wish.target, &runtime, &moved);
    Ok(())
}

/// What was found of a pod or workload.
struct Found {
    system: Option<String>,
    spec: PodSpec,
    pods: Vec<Pod>,
    /// The pod itself, and not what it was made from.
    mutated: bool,
}

impl Found {
    async fn read(session: &Session, target: &Target) -> Result<Self> {
        let label =
            |labels: Option<&BTreeMap<String, String>>| labels.and_then(|l| l.get(SYSTEM_LABEL).cloned());
        match target {
            Target::Pod(name) => {
                let pod = read_pod(session, name).await?;
                let (system, spec) =
                    (label(pod.metadata.labels.as_ref()), pod.spec.clone().unwrap_or_default());
                Ok(Self { system, spec, pods: vec![pod], mutated: true })
            }
            Target::Workload(kind, name) => {
                let made = read_workload(session, kind, name).await?;
                let labels = made.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
                let (system, spec) = (label(labels), made.template.spec.unwrap_or_default());
                Ok(Self { system, spec, pods: made.pods, mutated: false })
            }
            Target::System(_) | Target::Version(_) => Err(Error::Flag {
                flag: "capture",
                value: target.in_words(),
                why: "want a pod or a workload, such as deployment/NAME".to_owned(),
            }),
        }
    }

    async fn runtime(&self, session: &Session, target: &Target) -> Result<Runtime> {
        let runtime = runtime_of_pod(&self.spec).map_err(|unmatchable| Error::NotCaptured {
            what: target.in_words(),
            why: unmatchable.to_string(),
            next: vec![Next::new(
                format!(
                    "kubectl get {} -n {}{} -o yaml",
                    target.in_words(),
                    session.namespace,
                    session.flags
                ),
                "to see it; it has to go before the workload can be approved",
            )],
        })?;
        if !self.mutated {
            return Ok(runtime);
        }
        let api = Api::<Clearance>::namespaced(session.client.clone(), &session.namespace);
        // Who may not read it, or has none, captures all that the pod has.
        let Ok(Some(clearance)) = api.get_opt(CLEARANCE_NAME).await else { return Ok(runtime) };
        Ok(without_trusted(&Runtime::default(), &clearance.spec.trusted, &runtime).into_owned())
    }

    /// The digest that each container's image has on the nodes.
    fn digests(&self, session: &Session, target: &Target) -> Result<BTreeMap<String, String>> {
        let mut digests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for status in self.pods.iter().filter(|pod| self.runs_this(pod)).flat_map(statuses) {
            if let Some((_, digest)) = status.image_id.split_once('@') {
                digests.entry(status.name.clone()).or_default().insert(digest.to_owned());
            }
        }
        let one = |(container, digests): (String, BTreeSet<String>)| {
            let mut digests = digests.into_iter();
            match (digests.next(), digests.next()) {
                (Some(digest), None) => Ok((container, digest)),
                (first, second) => Err(Error::NotCaptured {
                    what: target.in_words(),
                    why: format!(
                        "its pods run different images by the same tag in container {container}: {}",
                        [first, second].into_iter().flatten().collect::<Vec<_>>().join(" and ")
                    ),
                    next: vec![Next::new(
                        format!("kubectl get pods -n {}{} -o yaml", session.namespace, session.flags),
                        "to see which; name the image by digest in the workload",
                    )],
                }),
            }
        };
        digests.into_iter().map(one).collect()
    }

    /// Whether a pod has the images that are captured: one of an earlier revision says nothing of this one's.
    fn runs_this(&self, pod: &Pod) -> bool {
        let theirs = pod.spec.as_ref().map(images).unwrap_or_default();
        images(&self.spec).iter().all(|(container, image)| theirs.get(container) == Some(image))
    }
}

/// The image of each container as it is named.
fn images(spec: &PodSpec) -> BTreeMap<&str, Option<&str>> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.map(|container| (&*container.name, container.image.as_deref())).collect()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| s.container_statuses.iter().chain(&s.init_container_statuses).flatten())
}

/// An image that a container names by tag, and by digest.
struct Moved {
    container: String,
    to: String,
}

/// Names every image by the digest that it has on the nodes, where that is known.
fn pin(runtime: &mut Runtime, digests: &BTreeMap<String, String>) -> Vec<Moved> {
    let mut moved = Vec::new();
    for container in runtime.containers.iter_mut().chain(&mut runtime.init_containers) {
        if let (false, Some(digest)) = (container.image.contains('@'), digests.get(&container.name)) {
            container.image = format!("{}@{digest}", repository(&container.image));
            moved.push(Moved { container: container.name.clone(), to: container.image.clone() });
        }
    }
    moved
}

/// An image's name without its tag; a registry's port is none.
fn repository(image: &str) -> &str {
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    image[name..].find(':').map_or(image, |colon| &image[..name + colon])
}

/// Eight hexadecimal digits that are the same for the same runtime.
fn fingerprint(runtime: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(runtime).unwrap_or_default();
    let digest = Sha256::digest(bytes);
    digest.iter().take(4).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn no_system(session: &Session, target: &Target) -> Error {
    let what = target.in_words();
    Error::Choose {
        question: format!("of which AI system is {what}? It has no label {SYSTEM_LABEL}"),
        next: vec![
            Next::new(
                format!(
                    "kubectl assent capture {what} --system SYSTEM -n {}{}",
                    session.namespace, session.flags
                ),
                "if you know it",
            ),
            Next::new(
                format!("kubectl get aisystems -n {}{}", session.namespace, session.flags),
                "those there are",
            ),
        ],
    }
}

/// What a person has to do before the version matches, on standard error: the manifest can be piped.
fn say_what_is_left(session: &Session, target: &Target, runtime: &Runtime, moved: &[Moved]) {
    let by_tag = |container: &&Container| !container.image.contains('@');
    for container in runtime.containers.iter().chain(&runtime.init_containers).filter(by_tag) {
        anstream::eprintln!(
            "! container {} names {} by tag, and no node has reported its digest yet: capture it again once it runs, or name it by digest",
            visible(&container.name),
            visible(&container.image)
        );
    }
    if moved.is_empty() {
        return;
    }
    let what = target.in_words();
    let images: Vec<_> = moved.iter().map(|m| quoted(&format!("{}={}", m.container, m.to))).collect();
    let images = images.join(" ");
    anstream::eprintln!(
        "! {what} names images by tag, which can move, and the version names the digests that run: it matches once they do too"
    );
    let command = match target {
        Target::Workload(..) => {
            format!("kubectl set image {what} {images} -n {}{}", session.namespace, session.flags)
        }
        // A pod's images are changed where it is made.
        _ => images,
    };
    anstream::eprintln!("    {}", visible(&command));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_gives_way_to_a_digest_and_a_port_stays() {
        for (image, name) in [
            ("scorer", "scorer"),
            ("scorer:1", "scorer"),
            ("registry.example:5000/ml/scorer", "registry.example:5000/ml/scorer"),
            ("registry.example:5000/ml/scorer:1.2", "registry.example:5000/ml/scorer"),
        ] {
            assert_eq!(repository(image), name);
        }
    }
}
