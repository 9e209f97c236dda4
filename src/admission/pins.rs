//! Pins: a new pod that names an approved image without its digest gets the digest.
//!
//! ```text
//!  pod: repo:tag ─► assent-gate: newest cleared version with repo:tag@sha256:… ─► pod: repo:tag@sha256:…
//! ```
//!
//! One policy pins and gates, because mutating policies run in random order. If a separate policy pinned, the gate could
//! judge the pod before it has its digests. A separate policy would also cost each pod another copy of the `Clearance`.

use super::cel::filled;

/// Whether a container or a volume of the pod names an image without a digest. This check is cheap, and false for most
/// pods.
pub(super) fn names_tag() -> &'static str {
    "((object.spec.containers + object.spec.?initContainers.orValue([])).exists(container, !container.?image.orValue('').contains('@'))
|| object.spec.?volumes.orValue([]).exists(volume, has(volume.image) && !volume.image.?reference.orValue('').contains('@')))"
}

/// Whether `image` is the image `approved` without its digest.
pub(super) fn is_pinned_by(image: &str, approved: &str) -> String {
    format!("{image} + '@' == {approved}.substring(0, {approved}.indexOf('@') + 1)")
}

/// The containers in the list `field` of `version` whose images the pod gets.
fn containers(field: &str) -> String {
    format!(
        "version.runtime.?{field}.orValue([]).filter(approved, object.spec.?{field}.orValue([]).exists(container, container.name == approved.name && {}))",
        is_pinned_by("container.?image.orValue('')", "approved.image")
    )
}

/// The volumes of `version` whose images the pod gets.
fn volumes() -> String {
    format!(
        "version.runtime.?volumes.orValue([]).filter(approved, has(approved.image) && object.spec.?volumes.orValue([]).exists(volume, has(volume.image)
  && [volume.name].map(name, {})[0] == approved.name && {}))",
        filled("{{VOLUME_NAME}}"),
        is_pinned_by("volume.image.?reference.orValue('')", "approved.image.reference")
    )
}

/// Whether the pod gets an image of `version`. The rest of the pod can differ from the version.
pub(super) fn exist() -> String {
    let [main, init] = ["containers", "initContainers"].map(containers);
    format!("({main}.size() + {init}.size() + {}.size() > 0)", volumes())
}

/// The patch that gives the pod the images of `version`.
pub(super) fn patch() -> String {
    let of_containers = |field: &str| {
        format!(
            "{}.map(approved, JSONPatch{{op: 'replace', path: '/spec/{field}/' + string(object.spec.{field}.map(container, container.name).indexOf(approved.name)) + '/image', value: approved.image}})",
            containers(field)
        )
    };
    format!(
        "{}\n+ {}\n+ {}.map(approved, JSONPatch{{op: 'replace', path: '/spec/volumes/' + string(object.spec.volumes.map(volume, volume.name).map(name, {}).indexOf(approved.name)) + '/image/reference', value: approved.image.reference}})",
        of_containers("containers"),
        of_containers("initContainers"),
        volumes(),
        filled("{{VOLUME_NAME}}"),
    )
}

/// The result of `list` for the first of `versions` from which the pod gets an image. An empty list if there is none.
fn of_newest(versions: &str, list: &str) -> String {
    format!(
        "[{versions}.filter(version, {})].map(found, found.size() > 0 ? [found[0]].map(version, {list})[0] : [])[0]",
        exist()
    )
}

/// The images that containers of the pod would get from `versions`, as arguments of `kubectl set image`.
pub(super) fn of_containers(versions: &str) -> String {
    let [main, init] = ["containers", "initContainers"].map(containers);
    of_newest(versions, &format!("({main} + {init}).map(approved, approved.name + '=' + approved.image)"))
}

/// The images that volumes of the pod would get from `versions`. `kubectl set image` cannot set them.
pub(super) fn of_volumes(versions: &str) -> String {
    of_newest(
        versions,
        &format!("{}.map(approved, 'volume ' + approved.name + ': ' + approved.image.reference)", volumes()),
    )
}

/// The workload of the pod, for a command. A pod shows only its direct owner, so the name of a Deployment is the name of
/// the `ReplicaSet` without the hash of the pod template.
pub(super) fn workload() -> &'static str {
    "[object.metadata.?ownerReferences.orValue([]).filter(owner, owner.?controller.orValue(false))].map(owners, owners.size() == 0 ? 'KIND/NAME'
  : ['-' + object.metadata.?labels[?'pod-template-hash'].orValue('')].map(hash, hash.size() > 1 && owners[0].name.endsWith(hash)
    ? 'deployment/' + owners[0].name.substring(0, owners[0].name.size() - hash.size()) : owners[0].kind.lowerAscii() + '/' + owners[0].name)[0])[0]"
}
