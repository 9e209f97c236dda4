//! Writes the version that matches what is there, so that nobody types a runtime by hand.
//!
//! ```text
//!  manifest ─ templates ─┐
//!  pod ──────────────────┤
//!  workload ─ template ──┴─► Runtime ── images by digest ──► ModelVersion ─ yaml, json
//!             pods ─ status.containerStatuses[].imageID ──┘
//! ```
//!
//! A pod has what other mutations added. What is trusted of that is left out, as where a pod is compared with a
//! version; the template of a workload never had it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    check::{manifests, templates::templates},
    connect::{Session, quoted},
    error::{Error, Next, Result},
    explain::{Target, pods_of, read_pod, read_workload, statuses},
    output::{self, Manifest},
    visible::visible,
};
use crate::{
    api::{CLEARANCE_NAME, Clearance, Digest, GROUP, Runtime, SYSTEM_LABEL},
    policy::{runtime_of_pod, unpinned, without_trusted},
};

/// As what it is captured.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The system; otherwise the one that its label names.
    pub system: Option<String>,
    /// The name of the version; otherwise one made of the system's and the runtime's digest.
    pub version: Option<String>,
    /// The format.
    pub format: Manifest,
}

impl Wish {
    /// The version that runs `runtime`, of the system that was asked for or is `labelled`.
    fn model_version(&self, labelled: Option<&String>, namespace: &str, runtime: &Runtime) -> Option<Value> {
        let system = self.system.as_ref().or(labelled)?;
        let made = || format!("{system}-{}", fingerprint(runtime));
        Some(json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": "ModelVersion",
            "metadata": { "name": self.version.clone().unwrap_or_else(made), "namespace": namespace },
            "spec": { "system": system, "runtime": runtime },
        }))
    }

    fn text(&self, manifest: &Value) -> Result<String> {
        match self.format {
            Manifest::Yaml => output::yaml(manifest),
            Manifest::Json => output::json(manifest),
        }
    }
}

/// Prints the version of a pod or a workload.
pub async fn capture(session: &Session, target: &Target, wish: &Wish) -> Result<()> {
    let found = Found::read(session, target).await?;
    let mut runtime = found.runtime(session, target).await?;
    let moved = pin(&mut runtime, &found.digests(session, target)?);
    let Some(manifest) = wish.model_version(found.system.as_ref(), &session.namespace, &runtime) else {
        let place = format!(" -n {}{}", session.namespace, session.flags);
        return Err(no_system(&target.in_words(), &target.in_words(), &place));
    };
    anstream::print!("{}", wish.text(&manifest)?);
    say_what_is_left(session, target, &runtime, &moved);
    Ok(())
}

/// Prints the version of every pod template that a file has, without a cluster.
pub fn capture_file(path: &Path, namespace: &str, wish: &Wish) -> Result<()> {
    let manifests = manifests::read(&[path.to_owned()], false)?;
    let mut versions = Vec::new();
    for manifest in &manifests {
        for found in templates(manifest) {
            let what = format!("{}{}", manifest.object(), found.pointer);
            let template = found.template.map_err(|why| not_captured(&what, &why, None))?;
            let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
            let runtime = runtime_of_pod(annotations, &template.spec.unwrap_or_default());
            let runtime = runtime.map_err(|why| not_captured(&what, &why, None))?;
            let labelled = template.metadata.and_then(|metadata| metadata.labels?.remove(SYSTEM_LABEL));
            let own = Some(manifest.text("/metadata/namespace")).filter(|own| !own.is_empty());
            let version = wish.model_version(labelled.as_ref(), own.unwrap_or(namespace), &runtime);
            let typed = format!("-f {}", quoted(&path.display().to_string()));
            versions.push(version.ok_or_else(|| no_system(&what, &typed, ""))?);
            say_what_is_named_by_tag(&runtime, "capture the workload once it runs, or name it by digest");
        }
    }
    let one = match &versions[..] {
        [] => return Err(no_template(path)),
        [one] => one,
        _ if wish.version.is_some() => {
            let question =
                format!("{} has {} pod templates, and --version names one", path.display(), versions.len());
            return Err(Error::Choose { question, next: Vec::new() });
        }
        several => &json!({ "apiVersion": "v1", "kind": "List", "items": several }),
    };
    anstream::print!("{}", wish.text(one)?);
    Ok(())
}

fn not_captured(what: &str, why: &dyn ToString, next: Option<Next>) -> Error {
    Error::NotCaptured { what: what.to_owned(), why: why.to_string(), next: next.into_iter().collect() }
}

fn no_template(path: &Path) -> Error {
    Error::NotCaptured {
        what: path.display().to_string(),
        why: "no object in it says what its pods are".to_owned(),
        next: vec![Next::new(
            "kubectl assent capture KIND/NAME",
            "if a controller makes the pods, such as those of a KServe InferenceService: apply it, and capture that",
        )],
    }
}

/// What was found of a pod or workload.
struct Found {
    system: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    spec: PodSpec,
    pods: Vec<Pod>,
    /// The pod itself, and not what it was made from.
    mutated: bool,
}

impl Found {
    async fn read(session: &Session, target: &Target) -> Result<Self> {
        let spec = |pod: &Pod| pod.spec.clone().unwrap_or_default();
        let of_pod = |pod: &Pod, pods| Self {
            system: pod.labels().get(SYSTEM_LABEL).cloned(),
            annotations: pod.metadata.annotations.clone(),
            spec: spec(pod),
            pods,
            mutated: true,
        };
        match target {
            Target::Pod(name) => {
                let pod = read_pod(session, name).await?;
                Ok(of_pod(&pod, vec![pod.clone()]))
            }
            Target::Root(kind, name) => {
                let pods = pods_of(session, kind, name).await?;
                let mut runtimes =
                    pods.iter().map(|pod| runtime_of_pod(pod.metadata.annotations.as_ref(), &spec(pod)).ok());
                let first = runtimes.next();
                let alike = runtimes.all(|other| Some(other) == first);
                let Some(pod) = pods.first().filter(|_| alike) else {
                    return Err(several_runtimes(target, &pods));
                };
                Ok(of_pod(&pod.clone(), pods))
            }
            Target::Workload(kind, name) => {
                let made = read_workload(session, kind, name).await?;
                let metadata = made.template.metadata.unwrap_or_default();
                let system = metadata.labels.and_then(|mut labels| labels.remove(SYSTEM_LABEL));
                let spec = made.template.spec.unwrap_or_default();
                Ok(Self { system, annotations: metadata.annotations, spec, pods: made.pods, mutated: false })
            }
            Target::System(_) | Target::Version(_) | Target::Image(_) => Err(Error::Flag {
                flag: "capture",
                value: target.in_words(),
                why: "want a pod or a workload, such as deployment/NAME".to_owned(),
            }),
        }
    }

    async fn runtime(&self, session: &Session, target: &Target) -> Result<Runtime> {
        let what = target.in_words();
        let to_see = || {
            let command = format!("kubectl get {what} -n {}{} -o yaml", session.namespace, session.flags);
            Next::new(command, "to see it; it has to go before the workload can be approved")
        };
        let runtime = runtime_of_pod(self.annotations.as_ref(), &self.spec)
            .map_err(|why| not_captured(&what, &why, Some(to_see())))?;
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

/// A predictor and a transformer, say.
fn several_runtimes(target: &Target, pods: &[Pod]) -> Error {
    let each = pods.iter().map(|pod| format!("kubectl assent capture pod/{}", pod.name_any()));
    Error::NotCaptured {
        what: target.in_words(),
        why: "its pods do not all run the same".to_owned(),
        next: each.take(4).map(|command| Next::new(command, "one of them")).collect(),
    }
}

/// The image of each container as it is named.
fn images(spec: &PodSpec) -> BTreeMap<&str, Option<&str>> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.map(|container| (&*container.name, container.image.as_deref())).collect()
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
        if let (false, Some(digest)) = (container.image.contains('@'), digests.get(&*container.name)) {
            container.image = format!("{}@{digest}", repository(&container.image)).into();
            moved.push(Moved { container: container.name.to_string(), to: container.image.to_string() });
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
    Digest::from_sha256(Sha256::digest(bytes).into()).eight().to_owned()
}

/// `typed` is how it was asked for, and `place` the flags that say where.
fn no_system(what: &str, typed: &str, place: &str) -> Error {
    Error::Choose {
        question: format!("of which AI system is {what}? It has no label {SYSTEM_LABEL}"),
        next: vec![
            Next::new(format!("kubectl assent capture {typed} --system SYSTEM{place}"), "if you know it"),
            Next::new(format!("kubectl get aisystems{place}"), "those there are"),
        ],
    }
}

fn say_what_is_named_by_tag(runtime: &Runtime, what_to_do: &str) {
    for image in unpinned(runtime) {
        anstream::eprintln!("! {} is named by tag, which can move: {what_to_do}", visible(image));
    }
}

/// What a person has to do before the version matches, on standard error: the manifest can be piped.
fn say_what_is_left(session: &Session, target: &Target, runtime: &Runtime, moved: &[Moved]) {
    say_what_is_named_by_tag(
        runtime,
        "no node has reported its digest yet, so capture it again once it runs, or name it by digest",
    );
    if moved.is_empty() {
        return;
    }
    let what = target.in_words();
    let images: Vec<_> = moved.iter().map(|m| quoted(&format!("{}={}", m.container, m.to))).collect();
    let images = images.join(" ");
    anstream::eprintln!(
        "! {what} names images by tag: pin these digests in the workload too, or its pods will not match"
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
