//! What the cluster itself put into a pod, where governance trusts it, is taken out before the rest is
//! compared with what was approved.
//!
//! ```text
//!  pod's Runtime ─┬─ has a name of the approved Runtime ──► stays: it must be equal
//!                 ├─ is trusted ──────────────────────────► out
//!                 └─ else ────────────────────────────────► stays: nothing is equal to it
//! ```

use std::borrow::Cow;

use super::matching::container_matches;
use crate::api::{Container, Runtime, Text, Trusted, TrustedContainer, TrustedImages, Volume};

/// The runtime of `pod` without what is trusted and the runtime `approved` does not name itself.
pub fn without_trusted<'a>(approved: &Runtime, trusted: &Trusted, pod: &'a Runtime) -> Cow<'a, Runtime> {
    if trusted.is_empty() {
        return Cow::Borrowed(pod);
    }
    let remaining = |approved_ones: &[Container], trusted_ones: &[TrustedContainer], pod: &[Container]| {
        let strange = pod.iter().filter_map(|container| {
            match approved_ones.iter().find(|a| a.name == container.name) {
                Some(same) => Some(without_additions(same, approved, trusted, container)),
                None if trusted_ones.iter().any(|t| is_trusted(t, approved, trusted, container)) => None,
                None => Some(container.clone()),
            }
        });
        strange.collect()
    };
    let volume_remains = |volume: &&Volume| {
        approved.volumes.iter().any(|a| a.name == volume.name) || !trusted.volumes.contains(volume)
    };
    Cow::Owned(Runtime {
        containers: remaining(&approved.containers, &trusted.containers, &pod.containers),
        init_containers: remaining(&approved.init_containers, &trusted.init_containers, &pod.init_containers),
        volumes: pod.volumes.iter().filter(volume_remains).cloned().collect(),
        ..pod.clone()
    })
}

/// Whether a container of a pod is the trusted one, in what must be equal.
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
    container_matches(container, &without_additions(container, approved, trusted, &pod))
}

fn is_of_repository(image: &str, repository: &str) -> bool {
    image.strip_prefix(repository).is_some_and(|rest| rest.starts_with([':', '@']))
}

/// A container of a pod without the variables and mounts that are trusted in any: variables that `same`
/// does not have, and mounts of volumes that the approved runtime does not have.
fn without_additions(same: &Container, approved: &Runtime, trusted: &Trusted, pod: &Container) -> Container {
    let mut pod = pod.clone();
    let varies = |name: &Text| same.may_vary.env.contains(name);
    if !same.env.iter().eq(pod.env.iter().filter(|e| !varies(&e.name))) {
        pod.env.retain(|e| !trusted.env.contains(e) || same.env.iter().any(|s| s.name == e.name));
    }
    if same.volume_mounts != pod.volume_mounts {
        let ours = |volume: &Text| approved.volumes.iter().any(|a| a.name == *volume);
        pod.volume_mounts.retain(|m| !trusted.volume_mounts.contains(m) || ours(&m.name));
    }
    pod
}
