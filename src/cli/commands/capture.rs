//! Writes a `ModelVersion` that matches a pod, a workload or a manifest. So users need not write a runtime by hand.
//!
//! ```text
//!  manifest or workload ─► pod template ─┐
//!  pod ──────────────────────────────────┴─► Runtime ─► ModelVersion ─► yaml, json
//! ```
//!
//! For a pod or a workload, the command names an image by its digest if the nodes report the digest. The command copies
//! the placeholders, `mayVary` and the provenance from the newest version of the system, and prints the difference from
//! this version. For a workload other than a Job, the command also prints a kubectl patch. The patch names the images
//! by digest and adds a missing label `assent.dev/system`.
//!
//! Admission webhooks can make additions to a pod, such as a sidecar container. If the Clearance lists an addition as
//! trusted, the capture leaves the addition out, because the comparison of a pod with a version ignores it. The pod
//! template of a workload does not have these additions.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::{Api, CustomResourceExt, ResourceExt, api::ListParams};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    api::{
        CLEARANCE_NAME, Clearance, Digest, GROUP, ModelVersion, ModelVersionSpec, Provenance, Runtime,
        SYSTEM_LABEL,
    },
    cli::{
        bounds::violation,
        commands::{
            check::{manifests, templates::templates},
            explain::{pins, pods_of, read_pod, read_workload, statuses},
        },
        connect::{session::Session, target::Target},
        error::{Error, Next, Result},
        render::{
            difference,
            escape::visible,
            output::ManifestFormat,
            page::{PLAIN, Page},
            shell::{CommandLine, quoted, value_name},
        },
    },
    policy::{is_pinned_by, runtime_of_pod, unpinned, without_trusted},
    watch::request,
};

#[derive(Clone, Debug)]
pub struct CaptureRequest {
    /// The name of the `AISystem`. If `None`, the capture uses the label `assent.dev/system` of the pod or the pod
    /// template.
    pub system: Option<String>,
    /// The name of the new ModelVersion. If `None`, the name consists of the name of the system and the first digits of
    /// a digest of the runtime.
    pub version: Option<String>,
    pub format: ManifestFormat,
}

impl CaptureRequest {
    fn typed(&self, target: &str, place: &str) -> CommandLine {
        self.add_to(CommandLine::new("capture", &[target], place))
    }

    fn typed_with_file(&self, file: &Path, place: &str) -> CommandLine {
        self.add_to(CommandLine::new("capture", &[], place).with("-f", [file.display()]))
    }

    fn add_to(&self, command: CommandLine) -> CommandLine {
        let format = (self.format != ManifestFormat::default()).then(|| value_name(&self.format));
        command.with("--system", &self.system).with("--version", &self.version).with("-o", format)
    }

    fn model_version(
        &self,
        system: &str,
        namespace: &str,
        (runtime, provenance): (&Runtime, &Provenance),
    ) -> Value {
        let generated = || format!("{system}-{}", fingerprint(runtime));
        let spec = ModelVersionSpec {
            system: system.to_owned(),
            runtime: runtime.clone().into(),
            provenance: provenance.clone(),
        };
        json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": "ModelVersion",
            "metadata": { "name": self.version.clone().unwrap_or_else(generated), "namespace": namespace },
            "spec": spec,
        })
    }
}

pub async fn capture(session: &Session, target: &Target, request: &CaptureRequest) -> Result<()> {
    let found = Found::read(session, target, request).await?;
    let mut runtime = found.runtime(session, target).await?;
    let pinned = pin(&mut runtime, &found.digests(session, target)?);
    let Some(system) = request.system.as_ref().or(found.system.as_ref()) else {
        let (what, place) = (target.in_words(), session.place());
        return Err(no_system(&what, request.typed(&what, &place), &place));
    };
    let newest = newest(session, system).await;
    let (runtime, provenance) = match &newest {
        Some(version) => {
            (difference::varying_as(&version.spec.runtime, &runtime), version.spec.provenance.clone())
        }
        None => (runtime, Provenance::default()),
    };
    let manifest = request.model_version(system, &session.namespace, (&runtime, &provenance));
    is_accepted(&manifest, &target.in_words(), &request.typed("KIND/NAME", &session.place()))?;
    anstream::print!("{}", request.format.text(&manifest)?);
    warn_about_tags(
        &runtime,
        "no node has reported its digest yet; capture again when it runs, or name it by digest",
    );
    if let Some(version) = &newest {
        anstream::eprint!("{}", changes_since(version, &runtime, &target.in_words()));
    }
    let label = (found.system.as_ref() != Some(system)).then_some(system.as_str());
    let by_tag = if pinned.is_empty() || !pins(session).await { pinned } else { Vec::new() };
    print_rollout(session, target, label, &by_tag);
    Ok(())
}

/// The newest version of `system`. `None` if the system has no version, or if the versions cannot be read.
async fn newest(session: &Session, system: &str) -> Option<ModelVersion> {
    let api = Api::<ModelVersion>::namespaced(session.client.clone(), &session.namespace);
    let versions = request::list(&api, &ListParams::default()).await.ok()?.items.into_iter();
    versions
        .filter(|version| version.spec.system == system)
        .max_by_key(|version| (version.creation_timestamp(), version.name_any()))
}

/// Describes how `runtime` differs from the version `newest`. The caller has already copied the placeholders and
/// `mayVary` of `newest` into `runtime`. `what` is the captured object.
fn changes_since(newest: &ModelVersion, runtime: &Runtime, what: &str) -> String {
    let (mut page, name) = (Page::default(), newest.name_any());
    let difference = difference::of_pod(&newest.spec.runtime, runtime);
    if difference.is_empty() {
        page.mark("-", PLAIN, &format!("{name} already describes {what}: no new version is needed"));
    } else {
        let text = format!(
            "placeholders, mayVary and provenance come from {name}; the difference (- {name}, + {what}):"
        );
        page.mark("-", PLAIN, &text);
        page.difference(&difference);
    }
    page.finish()
}

/// Prints a `ModelVersion` for each pod template in a file. Does not contact a cluster. `place` is the flag `-n` with
/// its value as the user typed it, or empty.
pub fn capture_file(path: &Path, (namespace, place): (&str, &str), request: &CaptureRequest) -> Result<()> {
    let piped = request.typed_with_file(Path::new("-"), place);
    let applied = request.typed("KIND/NAME", place);
    let manifests = manifests::read(&[path.to_owned()], false, &piped)?;
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
            let typed = request.typed_with_file(path, place);
            let of_object = own.map_or_else(|| place.to_owned(), |own| format!(" -n {own}"));
            let system = request.system.as_ref().or(labelled.as_ref());
            let system = system.ok_or_else(|| no_system(&what, typed, &of_object))?;
            let content = (&runtime, &Provenance::default());
            let version = request.model_version(system, own.unwrap_or(namespace), content);
            is_accepted(&version, &what, &applied)?;
            versions.push(version);
            warn_about_tags(&runtime, "capture the workload when it runs, or name it by digest");
        }
    }
    let one = match &versions[..] {
        [] => return Err(no_template(path, &applied)),
        [one] => one,
        _ if request.version.is_some() => {
            let question = format!(
                "{} has {} pod templates, but --version names only one",
                path.display(),
                versions.len()
            );
            return Err(Error::Choose { question, next: Vec::new() });
        }
        several => &json!({ "apiVersion": "v1", "kind": "List", "items": several }),
    };
    anstream::print!("{}", request.format.text(one)?);
    Ok(())
}

fn not_captured(what: &str, why: &dyn ToString, next: Option<Next>) -> Error {
    Error::NotCaptured { what: what.to_owned(), why: why.to_string(), next: next.into_iter().collect() }
}

/// Fails if `version` violates the schema of the kind ModelVersion. For example, the image in a pod template can be
/// empty if a controller sets the image later. The error proposes the command `applied`, which captures an object of
/// the cluster.
fn is_accepted(version: &Value, what: &str, applied: &CommandLine) -> Result<()> {
    let schema = serde_json::to_value(ModelVersion::crd()).unwrap_or_default();
    let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let Some(why) = violation(schema, version) else { return Ok(()) };
    let next = Next::new(
        applied.to_string(),
        "if a controller changes this field: apply the manifest and capture the object",
    );
    Err(not_captured(what, &why, Some(next)))
}

fn no_template(path: &Path, applied: &CommandLine) -> Error {
    Error::NotCaptured {
        what: path.display().to_string(),
        why: "no object in it has a pod template".to_owned(),
        next: vec![Next::new(
            applied.to_string(),
            "if a controller creates the pods, as for a KServe InferenceService: apply the file and capture the object",
        )],
    }
}

struct Found {
    system: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    spec: PodSpec,
    pods: Vec<Pod>,
    /// Whether `spec` comes from a pod. An admission webhook for pods can have changed this `spec`.
    mutated: bool,
}

impl Found {
    async fn read(session: &Session, target: &Target, request: &CaptureRequest) -> Result<Self> {
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
                    return Err(several_runtimes(target, &pods, request, &session.place()));
                };
                Ok(of_pod(&pod.clone(), pods))
            }
            Target::Workload(kind, name) => {
                let workload = read_workload(session, kind, name).await?;
                let metadata = workload.template.metadata.unwrap_or_default();
                let system = metadata.labels.and_then(|mut labels| labels.remove(SYSTEM_LABEL));
                let spec = workload.template.spec.unwrap_or_default();
                Ok(Self {
                    system,
                    annotations: metadata.annotations,
                    spec,
                    pods: workload.pods,
                    mutated: false,
                })
            }
            Target::System(_) | Target::Version(_) | Target::Image(_) => Err(Error::Flag {
                flag: "capture",
                value: target.in_words(),
                why: "needs a pod or a workload, such as deployment/NAME".to_owned(),
            }),
        }
    }

    async fn runtime(&self, session: &Session, target: &Target) -> Result<Runtime> {
        let what = target.in_words();
        let show = || {
            let command = format!("kubectl get {what} -n {}{} -o yaml", session.namespace, session.flags);
            Next::new(command, "find this field and remove it from the workload")
        };
        let runtime = runtime_of_pod(self.annotations.as_ref(), &self.spec)
            .map_err(|why| not_captured(&what, &why, Some(show())))?;
        if !self.mutated {
            return Ok(runtime);
        }
        let api = Api::<Clearance>::namespaced(session.client.clone(), &session.namespace);
        // The Clearance lists the trusted additions. If the Clearance is missing or not readable, the capture keeps all
        // additions.
        let Ok(Some(clearance)) = api.get_opt(CLEARANCE_NAME).await else { return Ok(runtime) };
        Ok(without_trusted(&Runtime::default(), &clearance.spec.trusted, &runtime).into_owned())
    }

    /// Returns the image digest that the nodes report for each container, by the name of the container. Reads only the
    /// pods that run the captured images. Fails if two of these pods have different digests for one container.
    fn digests(&self, session: &Session, target: &Target) -> Result<BTreeMap<String, String>> {
        let mut digests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| self.runs_this(pod)) {
            let stated = pod.spec.as_ref().map(images).unwrap_or_default();
            for status in statuses(pod) {
                // The image of a pinned pod states the digest. A node can report another digest, of the manifest for
                // its platform.
                let stated = stated.get(&*status.name).copied().flatten().filter(|image| image.contains('@'));
                if let Some((_, digest)) = stated.unwrap_or(&status.image_id).split_once('@') {
                    digests.entry(status.name.clone()).or_default().insert(digest.to_owned());
                }
            }
        }
        let one = |(container, digests): (String, BTreeSet<String>)| {
            let mut digests = digests.into_iter();
            match (digests.next(), digests.next()) {
                (Some(digest), None) => Ok((container, digest)),
                (first, second) => Err(Error::NotCaptured {
                    what: target.in_words(),
                    why: format!(
                        "its pods run different images with the same tag in container {container}: {}",
                        [first, second].into_iter().flatten().collect::<Vec<_>>().join(" and ")
                    ),
                    next: vec![Next::new(
                        format!("kubectl get pods -n {}{} -o yaml", session.namespace, session.flags),
                        "find these pods, then name the image by digest in the workload",
                    )],
                }),
            }
        };
        digests.into_iter().map(one).collect()
    }

    /// Whether a pod has the same images as the captured `spec`. A pod of an earlier revision can have other images.
    fn runs_this(&self, pod: &Pod) -> bool {
        let running = pod.spec.as_ref().map(images).unwrap_or_default();
        images(&self.spec).iter().all(|(container, image)| {
            running.get(container).is_some_and(|running| {
                running == image
                    || running.zip(*image).is_some_and(|(running, image)| is_pinned_by(image, running))
            })
        })
    }
}

/// The error for pods with different runtimes, such as the predictor pods and transformer pods of one
/// `InferenceService`.
fn several_runtimes(target: &Target, pods: &[Pod], request: &CaptureRequest, place: &str) -> Error {
    let of_pod = |pod: &Pod| request.typed(&format!("pod/{}", pod.name_any()), place).to_string();
    let each = pods.iter().map(of_pod);
    Error::NotCaptured {
        what: target.in_words(),
        why: "its pods have different runtimes".to_owned(),
        next: each.take(4).map(|command| Next::new(command, "capture one of them")).collect(),
    }
}

fn images(spec: &PodSpec) -> BTreeMap<&str, Option<&str>> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.map(|container| (&*container.name, container.image.as_deref())).collect()
}

/// A container in which `pin` replaced the image by an image with a digest.
struct Pinned {
    container: String,
    init: bool,
    image: String,
}

/// Names each image by the digest in `digests` for its container. Does not change an image that already has a digest,
/// or whose digest is not in `digests`. Returns the changed containers.
fn pin(runtime: &mut Runtime, digests: &BTreeMap<String, String>) -> Vec<Pinned> {
    let mut pinned = Vec::new();
    let main = runtime.containers.iter_mut().map(|container| (container, false));
    for (container, init) in main.chain(runtime.init_containers.iter_mut().map(|container| (container, true)))
    {
        if let (false, Some(digest)) = (container.image.contains('@'), digests.get(&*container.name)) {
            container.image = format!("{}@{digest}", container.image).into();
            let (container, image) = (container.name.to_string(), container.image.to_string());
            pinned.push(Pinned { container, init, image });
        }
    }
    pinned
}

/// The first eight hexadecimal digits of the digest of a runtime.
fn fingerprint(runtime: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(runtime).unwrap_or_default();
    Digest::from_sha256(Sha256::digest(bytes).into()).eight()
}

/// The error for an object without the label of its AI system. `place` is the flag for the namespace and the connection
/// flags, such as `-n lending --context prod`.
fn no_system(what: &str, typed: CommandLine, place: &str) -> Error {
    Error::Choose {
        question: format!("{what} has no label {SYSTEM_LABEL}: name its AI system with --system"),
        next: vec![
            Next::new(typed.with("--system", ["SYSTEM"]).to_string(), "name the system"),
            Next::new(format!("kubectl get aisystems{place}"), "list the systems"),
        ],
    }
}

fn warn_about_tags(runtime: &Runtime, what_to_do: &str) {
    for image in unpinned(runtime) {
        anstream::eprintln!("! {} is named by tag, which can move: {what_to_do}", visible(image));
    }
}

/// Prints how to change the target so that its pods match the version. Prints to standard error, because the manifest
/// on standard output can go to a pipe. `label` is the name of the system if the target must get the label
/// `assent.dev/system` with this name.
fn print_rollout(session: &Session, target: &Target, label: Option<&str>, pinned: &[Pinned]) {
    let what = target.in_words();
    if !pinned.is_empty() {
        anstream::eprintln!(
            "! {what} names images by tag: pin these digests in the workload too, or its pods will not match"
        );
    }
    if let Some(system) = label {
        anstream::eprintln!(
            "! {what} has no label {SYSTEM_LABEL}={system}: its pods do not name this AI system"
        );
    }
    if pinned.is_empty() && label.is_none() {
        return;
    }
    let command = match target {
        Target::Workload(kind, _) if kind.kind != "Job" => {
            anstream::eprintln!("Once the version is approved, make all changes in one rollout:");
            let patch = quoted(&patch(kind.template, label, pinned).to_string());
            format!(
                "kubectl patch {what} --type=strategic -p {patch} -n {}{}",
                session.namespace, session.flags
            )
        }
        // For the other targets, a patch does not help: the template of a Job is immutable, and a controller can
        // replace a patched pod. The user changes the manifest of the Job, or of the object that creates the pod.
        _ => {
            let images = pinned.iter().map(|m| format!("{}={}", m.container, m.image));
            images.chain(label.map(|system| format!("{SYSTEM_LABEL}={system}"))).collect::<Vec<_>>().join(" ")
        }
    };
    anstream::eprintln!("    {}", visible(&command));
}

/// The strategic merge patch of a workload whose pod template is at the JSON pointer `template`.
fn patch(template: &str, label: Option<&str>, pinned: &[Pinned]) -> Value {
    let images = |init: bool| -> Vec<Value> {
        let those = pinned.iter().filter(|m| m.init == init);
        those.map(|m| json!({ "name": m.container, "image": m.image })).collect()
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
        cli::fixtures::{PLACE, record},
    };

    #[test]
    fn proposed_capture_keeps_every_typed_flag() {
        let request = CaptureRequest {
            system: Some("chat".to_owned()),
            version: Some("v2".to_owned()),
            format: ManifestFormat::Json,
        };
        let flags = "--system chat --version v2 -o json -n lending";
        let object = format!("kubectl assent capture pod/chat-0 {flags}");
        assert_eq!(request.typed("pod/chat-0", PLACE).to_string(), object);
        let file = format!("kubectl assent capture -f chat.yaml {flags}");
        assert_eq!(request.typed_with_file(Path::new("chat.yaml"), PLACE).to_string(), file);
    }

    #[test]
    fn captured_version_keeps_the_may_vary_of_the_newest_and_shows_the_difference() {
        let newest = &record().versions[0];
        let mut runtime = Runtime::clone(&newest.spec.runtime);
        let container = &mut runtime.containers[0];
        container.may_vary = MayVary::default();
        container.env.push(EnvVar {
            name: "VLLM_LOGGING_LEVEL".into(),
            value: Some("DEBUG".into()),
            ..EnvVar::default()
        });
        let captured = difference::varying_as(&newest.spec.runtime, &runtime);
        assert_eq!(captured, *newest.spec.runtime);
        let shown = changes_since(newest, &captured, "deployment/scorer");
        assert!(shown.contains("already describes deployment/scorer"), "{shown}");
        runtime.containers[0].args.push("--new".into());
        let shown = changes_since(
            newest,
            &difference::varying_as(&newest.spec.runtime, &runtime),
            "deployment/scorer",
        );
        assert!(shown.contains("- --new") && !shown.contains("LOGGING_LEVEL"), "{shown}");
    }

    #[test]
    fn one_patch_sets_the_label_and_the_images_in_the_template() {
        let pinned =
            |container: &str, init| Pinned { container: container.to_owned(), init, image: "i@d".to_owned() };
        let pinned = [pinned("server", false), pinned("fetch", true)];
        let template = json!({ "metadata": { "labels": { SYSTEM_LABEL: "scorer" } }, "spec": {
            "containers": [{ "name": "server", "image": "i@d" }],
            "initContainers": [{ "name": "fetch", "image": "i@d" }] } });
        assert_eq!(
            patch("/spec/jobTemplate/spec/template", Some("scorer"), &pinned),
            json!({ "spec": { "jobTemplate": { "spec": { "template": template } } } })
        );
        let label =
            json!({ "spec": { "template": { "metadata": { "labels": { SYSTEM_LABEL: "scorer" } } } } });
        assert_eq!(patch("/spec/template", Some("scorer"), &[]), label);
    }
}
