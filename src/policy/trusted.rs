//! Removes the trusted additions of the cluster from the runtime of a pod. Then [`matches`](super::matches) compares
//! the rest with an approved runtime.
//!
//! An item is a container, volume, mount or variable of the pod. The name of a mount is the name of its volume.
//!
//! - If the approved runtime has an item with the same name, the item of the pod stays.
//! - Any other item is removed if it is trusted.
//! - All other items stay, so the pod does not match.

use std::borrow::Cow;

use super::{
    matching::{container_matches, env_matches, volume_matches},
    placeholders::Placeholders,
};
use crate::api::{Container, Runtime, Text, Trusted, TrustedContainer, TrustedImages, Volume};

/// The runtime `pod` without its trusted additions. A container, volume or variable is never an addition if the
/// approved runtime has one with the same name.
pub fn without_trusted<'a>(approved: &Runtime, trusted: &Trusted, pod: &'a Runtime) -> Cow<'a, Runtime> {
    if trusted.is_empty() {
        return Cow::Borrowed(pod);
    }
    let remaining = |approved_ones: &[Container], trusted_ones: &[TrustedContainer], pod: &[Container]| {
        let kept = pod.iter().filter_map(|container| {
            match approved_ones.iter().find(|a| a.name == container.name) {
                Some(same) => {
                    Some(without_additions(same, approved, trusted, container, Placeholders::of(approved)))
                }
                None if trusted_ones.iter().any(|t| is_trusted(t, approved, trusted, container)) => None,
                None => Some(container.clone()),
            }
        });
        kept.collect()
    };
    let volume_remains = |volume: &&Volume| {
        approved.volumes.iter().any(|a| a.name == volume.name)
            || !trusted.volumes.iter().any(|t| volume_matches(t, volume, Placeholders::default()))
    };
    Cow::Owned(Runtime {
        containers: remaining(&approved.containers, &trusted.containers, &pod.containers),
        init_containers: remaining(&approved.init_containers, &trusted.init_containers, &pod.init_containers),
        volumes: pod.volumes.iter().filter(volume_remains).cloned().collect(),
        ..pod.clone()
    })
}

/// Whether the container `pod` equals the trusted container `one` in all fields that must be equal. Trusted variables
/// and mounts in `pod` do not matter.
fn is_trusted(one: &TrustedContainer, approved: &Runtime, trusted: &Trusted, pod: &Container) -> bool {
    let TrustedContainer { container, images, any_args, env_prefixes } = one;
    let mut pod = pod.clone();
    if *images == TrustedImages::Name && is_of_repository(&pod.image, &container.image) {
        pod.image.clone_from(&container.image);
    }
    if *any_args {
        pod.args.clone_from(&container.args);
    }
    pod.env.retain(|env| !env_prefixes.iter().any(|prefix| env.name.starts_with(prefix)));
    let none = Placeholders::default();
    container_matches(container, &without_additions(container, approved, trusted, &pod, none), none)
}

fn is_of_repository(image: &str, repository: &str) -> bool {
    image.strip_prefix(repository).is_some_and(|rest| rest.starts_with([':', '@']))
}

/// Removes trusted variables and mounts from the container `pod`, which the caller compares with the container `same`.
/// Does not remove variables whose names are in `same`, and mounts of volumes of the approved runtime.
fn without_additions(
    same: &Container,
    approved: &Runtime,
    trusted: &Trusted,
    pod: &Container,
    placeholders: Placeholders<'_>,
) -> Container {
    let mut pod = pod.clone();
    if !env_matches(same, &pod.env, placeholders) {
        pod.env.retain(|e| !trusted.env.contains(e) || same.env.iter().any(|s| s.name == e.name));
    }
    if same.volume_mounts != pod.volume_mounts {
        let is_approved = |volume: &Text| Placeholders::of(approved).is_approved_volume(approved, volume);
        pod.volume_mounts.retain(|m| !trusted.volume_mounts.contains(m) || is_approved(&m.name));
    }
    pod
}
