//! Writes the version that matches what is there, so that nobody types a runtime by hand.
//!
//! ```text
//!  manifest ─ templates ─┐
//!  pod ──────────────────┤
//!  workload ─ template ──┴─► Runtime ── images by digest ─┬─► ModelVersion ─ yaml, json
//!             pods ─ status.containerStatuses[].imageID ──┘        │
//!  newest version of the system ── mayVary, provenance ────────────┴─► the difference, one kubectl patch
//! ```
//!
//! A pod has what other mutations added. What is trusted of that is left out, as where a pod is compared with a
//! version; the template of a workload never had it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    api::{
        CLEARANCE_NAME, Clearance, Digest, GROUP, ModelVersion, ModelVersionSpec, Provenance, Runtime,
        SYSTEM_LABEL,
    },
    cli::{
        commands::{
            check::{manifests, templates::templates},
            explain::{Target, pods_of, read_pod, read_workload, statuses},
        },
        connect::session::{Session, quoted},
        error::{Error, Next, Result},
        render::{
            difference,
            escape::visible,
            output::{self, ManifestFormat},
            page::{PLAIN, Page},
        },
    },
    policy::{runtime_of_pod, unpinned, without_trusted},
    watch::request,
};

/// As what it is captured.
#[derive(Clone, Debug)]
pub struct CaptureRequest {
    /// The system; otherwise the one that its label names.
    pub system: Option<String>,
    /// The name of the version; otherwise one made of the system's and the runtime's digest.
    pub version: Option<String>,
    /// The format.
    pub format: ManifestFormat,
}

impl CaptureRequest {
    /// The version of `system` that runs `runtime`.
    fn model_version(
        &self,
        system: &str,
        namespace: &str,
        (runtime, provenance): (&Runtime, &Provenance),
    ) -> Value {
        let made = || format!("{system}-{}", fingerprint(runtime));
        let spec = ModelVersionSpec {
            system: system.to_owned(),
            runtime: runtime.clone().into(),
            provenance: provenance.clone(),
        };
        json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": "ModelVersion",
            "metadata": { "name": self.version.clone().unwrap_or_else(made), "namespace": namespace },
            "spec": spec,
        })
    }

    fn text(&self, manifest: &Value) -> Result<String> {
        match self.format {
            ManifestFormat::Yaml => output::yaml(manifest),
            ManifestFormat::Json => output::json(manifest),
        }
    }
}

/// Prints the version of a pod or a workload.
pub async fn capture(session: &Session, target: &Target, request: &CaptureRequest) -> Result<()> {
    let found = Found::read(session, target).await?;
    let mut runtime = found.runtime(session, target).await?;
    let moved = pin(&mut runtime, &found.digests(session, target)?);
    let Some(system) = request.system.as_ref().or(found.system.as_ref()) else {
        let place = format!(" -n {}{}", session.namespace, session.flags);
        return Err(no_system(&target.in_words(), &target.in_words(), &place));
    };
    let newest = newest(session, system).await;
    let (runtime, provenance) = match &newest {
        Some(version) => {
            (difference::varying_as(&version.spec.runtime, runtime), version.spec.provenance.clone())
        }
        None => (runtime, Provenance::default()),
    };
    let manifest = request.model_version(system, &session.namespace, (&runtime, &provenance));
    anstream::print!("{}", request.text(&manifest)?);
    say_what_is_named_by_tag(
        &runtime,
        "no node has reported its digest yet, so capture it again once it runs, or name it by digest",
    );
    if let Some(version) = &newest {
        anstream::eprint!("{}", since(version, &runtime, &target.in_words()));
    }
    let label = (found.system.as_ref() != Some(system)).then_some(system.as_str());
    say_how_to_roll_out(session, target, label, &moved);
    Ok(())
}

/// The newest version of `system`. `None` if there is none, or if this person may not read it.
async fn newest(session: &Session, system: &str) -> Option<ModelVersion> {
    let api = Api::<ModelVersion>::namespaced(session.client.clone(), &session.namespace);
    let versions = request::list(&api, &ListParams::default()).await.ok()?.items.into_iter();
    versions
        .filter(|version| version.spec.system == system)
        .max_by_key(|version| (version.creation_timestamp(), version.name_any()))
}

/// Shows the difference to the newest version. The captured version keeps its `mayVary` and provenance.
fn since(newest: &ModelVersion, runtime: &Runtime, what: &str) -> String {
    let (mut page, name) = (Page::default(), newest.name_any());
    let difference = difference::of_pod(&newest.spec.runtime, runtime);
    if difference.is_empty() {
        page.mark("-", PLAIN, &format!("{name} describes {what} already: no new version is needed"));
    } else {
        let text = format!("mayVary and provenance are those of {name}; what differs (- {name}, + {what}):");
        page.mark("-", PLAIN, &text);
        page.difference(&difference);
    }
    page.finish()
}

/// Prints the version of every pod template that a file has, without a cluster.
pub fn capture_file(path: &Path, namespace: &str, request: &CaptureRequest) -> Result<()> {
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
            let typed = format!("-f {}", quoted(&path.display().to_string()));
            let system = request.system.as_ref().or(labelled.as_ref());
            let system = system.ok_or_else(|| no_system(&what, &typed, ""))?;
            let content = (&runtime, &Provenance::default());
            versions.push(request.model_version(system, own.unwrap_or(namespace), content));
            say_what_is_named_by_tag(&runtime, "capture the workload once it runs, or name it by digest");
        }
    }
    let one = match &versions[..] {
        [] => return Err(no_template(path)),
        [one] => one,
        _ if request.version.is_some() => {
            let question =
                format!("{} has {} pod templates, and --version names one", path.display(), versions.len());
            return Err(Error::Choose { question, next: Vec::new() });
        }
        several => &json!({ "apiVersion": "v1", "kind": "List", "items": several }),
    };
    anstream::print!("{}", request.text(one)?);
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
    /// It is an init container.
    init: bool,
    to: String,
}

/// Names every image by the digest that it has on the nodes, where that is known.
fn pin(runtime: &mut Runtime, digests: &BTreeMap<String, String>) -> Vec<Moved> {
    let mut moved = Vec::new();
    let main = runtime.containers.iter_mut().map(|container| (container, false));
    for (container, init) in main.chain(runtime.init_containers.iter_mut().map(|container| (container, true)))
    {
        if let (false, Some(digest)) = (container.image.contains('@'), digests.get(&*container.name)) {
            container.image = format!("{}@{digest}", repository(&container.image)).into();
            let (container, to) = (container.name.to_string(), container.image.to_string());
            moved.push(Moved { container, init, to });
        }
    }
    moved
}

/// An image's name without its tag; a registry's port is none.
pub fn repository(image: &str) -> &str {
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

/// Says how to make the pods match. It prints to standard error, so that the manifest can be piped. `label` is the
/// system that the workload does not name.
fn say_how_to_roll_out(session: &Session, target: &Target, label: Option<&str>, moved: &[Moved]) {
    let what = target.in_words();
    if !moved.is_empty() {
        anstream::eprintln!(
            "! {what} names images by tag: pin these digests in the workload too, or its pods will not match"
        );
    }
    if label.is_some() {
        anstream::eprintln!("! {what} has no label {SYSTEM_LABEL}: without it, its pods name no AI system");
    }
    if moved.is_empty() && label.is_none() {
        return;
    }
    let command = match target {
        Target::Workload(kind, _) if kind.kind != "Job" => {
            anstream::eprintln!("Once the version is approved, this does all of it in one rollout:");
            let patch = quoted(&patch(kind.template, label, moved).to_string());
            format!(
                "kubectl patch {what} --type=strategic -p {patch} -n {}{}",
                session.namespace, session.flags
            )
        }
        // The pods of others are changed where they are made.
        _ => {
            let images = moved.iter().map(|m| format!("{}={}", m.container, m.to));
            images.chain(label.map(|system| format!("{SYSTEM_LABEL}={system}"))).collect::<Vec<_>>().join(" ")
        }
    };
    anstream::eprintln!("    {}", visible(&command));
}

/// The strategic merge patch of a workload whose pod template stands at `template`.
fn patch(template: &str, label: Option<&str>, moved: &[Moved]) -> Value {
    let images = |init: bool| -> Vec<Value> {
        let those = moved.iter().filter(|m| m.init == init);
        those.map(|m| json!({ "name": m.container, "image": m.to })).collect()
    };
    let mut spec = serde_json::Map::new();
    for (field, images) in [("containers", images(false)), ("initContainers", images(true))] {
        if !images.is_empty() {
            spec.insert(field.to_owned(), images.into());
        }
    }
    let mut patch = serde_json::Map::new();
    if let Some(system) = label {
        patch.insert("metadata".to_owned(), json!({ "labels": { SYSTEM_LABEL: system } }));
    }
    if !spec.is_empty() {
        patch.insert("spec".to_owned(), spec.into());
    }
    template
        .rsplit('/')
        .filter(|part| !part.is_empty())
        .fold(patch.into(), |inner: Value, part| json!({ part: inner }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{EnvVar, MayVary},
        cli::fixtures::record,
    };

    #[test]
    fn a_captured_version_keeps_what_the_newest_lets_vary_and_shows_the_difference() {
        let newest = &record().versions[0];
        let mut runtime = Runtime::clone(&newest.spec.runtime);
        let container = &mut runtime.containers[0];
        container.may_vary = MayVary::default();
        container.env.push(EnvVar {
            name: "VLLM_LOGGING_LEVEL".into(),
            value: Some("DEBUG".into()),
            ..EnvVar::default()
        });
        let captured = difference::varying_as(&newest.spec.runtime, runtime.clone());
        assert_eq!(captured, *newest.spec.runtime);
        let said = since(newest, &captured, "deployment/scorer");
        assert!(said.contains("describes deployment/scorer already"), "{said}");
        runtime.containers[0].args.push("--new".into());
        let said = since(newest, &difference::varying_as(&newest.spec.runtime, runtime), "deployment/scorer");
        assert!(said.contains("- --new") && !said.contains("LOGGING_LEVEL"), "{said}");
    }

    #[test]
    fn one_patch_sets_the_label_and_the_images_in_the_template() {
        let moved =
            |container: &str, init| Moved { container: container.to_owned(), init, to: "i@d".to_owned() };
        let moved = [moved("server", false), moved("fetch", true)];
        let template = json!({ "metadata": { "labels": { SYSTEM_LABEL: "scorer" } }, "spec": {
            "containers": [{ "name": "server", "image": "i@d" }],
            "initContainers": [{ "name": "fetch", "image": "i@d" }] } });
        assert_eq!(
            patch("/spec/jobTemplate/spec/template", Some("scorer"), &moved),
            json!({ "spec": { "jobTemplate": { "spec": { "template": template } } } })
        );
        let label =
            json!({ "spec": { "template": { "metadata": { "labels": { SYSTEM_LABEL: "scorer" } } } } });
        assert_eq!(patch("/spec/template", Some("scorer"), &[]), label);
    }

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
