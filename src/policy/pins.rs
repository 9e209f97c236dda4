//! The digests that the API server adds to the images of a new pod.
//!
//! ```text
//!  pod              repo:tag ──────────────┐
//!                                          ├─ Pins ─► repo:tag@sha256:… ─► matches ──► yes | no
//!  approved runtime repo:tag@sha256:… ─────┘
//! ```
//!
//! The policy assent-gate pins a new pod, and the operator pins a held pod when it releases the pod. Both use the newest
//! cleared version that the pod then matches. A pod that runs gets no pins, because nobody approved the image behind its
//! tag.

use std::borrow::Cow;

use super::{matching::matches, placeholders::Placeholders};
use crate::api::{Container, Runtime, Text, Trusted};

/// An image of a pod, and the name of its container or volume in the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The name of the container or volume.
    pub name: Text,
    /// The approved image. Without its digest, it is the image of the pod.
    pub image: Text,
}

/// The images of a pod that approved images replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The images of containers.
    pub containers: Vec<Pin>,
    /// The images of init containers.
    pub init_containers: Vec<Pin>,
    /// The images of volumes. Nobody can change them after the creation of the pod.
    pub volumes: Vec<Pin>,
}

impl Pins {
    /// The pins of a pod of the `approved` runtime. The result must agree with `admission::pins`.
    pub fn of(approved: &Runtime, pod: &Runtime) -> Self {
        let named = Placeholders::of(approved).with_volume_name(approved, pod);
        let volumes = pod.volumes.iter().zip(&named.volumes).filter_map(|(volume, named)| {
            let mut same = approved.volumes.iter().filter(|approved| approved.name == named.name);
            let image = &same.next()?.image.as_ref()?.reference;
            is_pinned_by(&volume.image.as_ref()?.reference, image).then(|| pin(&volume.name, image))
        });
        Self {
            containers: of_containers(&approved.containers, &pod.containers),
            init_containers: of_containers(&approved.init_containers, &pod.init_containers),
            volumes: volumes.collect(),
        }
    }

    /// Whether no image gets a digest.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The pod with the approved images.
    pub fn apply<'a>(&self, pod: &'a Runtime) -> Cow<'a, Runtime> {
        if self.is_empty() {
            return Cow::Borrowed(pod);
        }
        let mut pod = pod.clone();
        let image_of = |pins: &[Pin], name: &Text| {
            pins.iter().find(|pin| pin.name == *name).map(|pin| pin.image.clone())
        };
        for (containers, pins) in
            [(&mut pod.containers, &self.containers), (&mut pod.init_containers, &self.init_containers)]
        {
            for container in containers {
                container.image = image_of(pins, &container.name).unwrap_or(container.image.clone());
            }
        }
        for volume in &mut pod.volumes {
            if let (Some(source), Some(image)) = (&mut volume.image, image_of(&self.volumes, &volume.name)) {
                source.reference = image;
            }
        }
        Cow::Owned(pod)
    }
}

/// Whether the runtime `pod` equals the runtime `approved` after the API server pins its images.
pub fn matches_if_pinned(approved: &Runtime, trusted: &Trusted, pod: &Runtime) -> bool {
    matches(approved, trusted, &Pins::of(approved, pod).apply(pod))
}

/// Whether `image` is the `approved` image without its digest.
pub fn is_pinned_by(image: &str, approved: &str) -> bool {
    approved.split_once('@').is_some_and(|(name, _)| name == image)
}

/// The runtime of a pod, with the images that its `template` states in place of images that were pinned.
pub fn as_in_template(pod: &Runtime, template: &Runtime) -> Runtime {
    let Pins { containers, init_containers, volumes } = Pins::of(pod, template);
    let unpinned = |pins: Vec<Pin>| {
        let without_digest = |Pin { name, image }| {
            let end = image.find('@').unwrap_or(image.len());
            Pin { name, image: image[..end].into() }
        };
        pins.into_iter().map(without_digest).collect()
    };
    Pins {
        containers: unpinned(containers),
        init_containers: unpinned(init_containers),
        volumes: unpinned(volumes),
    }
    .apply(pod)
    .into_owned()
}

fn of_containers(approved: &[Container], pod: &[Container]) -> Vec<Pin> {
    let pinned = pod.iter().filter_map(|container| {
        let image = &approved.iter().find(|approved| approved.name == container.name)?.image;
        is_pinned_by(&container.image, image).then(|| pin(&container.name, image))
    });
    pinned.collect()
}

fn pin(name: &Text, image: &Text) -> Pin {
    Pin { name: name.clone(), image: image.clone() }
}
