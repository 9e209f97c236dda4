//! Merges all [`TrustedSidecar`]s into one [`Trusted`], which each Clearance contains.
//!
//! A sidecar that does not fit into the limits is left out. The trusted additions raise the CEL cost of the admission
//! of every pod, so the size of the additions is limited.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    cost::{self, Added, Shape},
    stored::stored_size,
};
use crate::api::{Trusted, TrustedSidecar};

/// The maximum number of trusted containers, of trusted volumes or mounts, and of trusted variables. The schema of the
/// Clearance sets these limits.
const CONTAINERS: usize = 16;
const VOLUMES: usize = 32;
const ENV: usize = 64;

/// The maximum size of the trusted additions in a `Clearance`, in bytes.
const BYTES: usize = 64 * 1024;

/// The maximum CEL cost of comparing a pod that has all trusted additions with one empty version.
const COST: u64 = cost::LIMIT / 5;

/// Merges the additions of `sidecars` in the order of their names. Returns the merged additions, and the names of the
/// sidecars that do not fit.
pub fn trust(sidecars: &BTreeMap<String, Arc<TrustedSidecar>>) -> (Trusted, BTreeSet<String>) {
    let (mut all, mut left_out) = (Trusted::default(), BTreeSet::new());
    for (name, sidecar) in sidecars {
        let next = joined(all.clone(), &sidecar.spec.trusted);
        if fits(&next) {
            all = next;
        } else {
            left_out.insert(name.clone());
        }
    }
    (all, left_out)
}

fn joined(mut all: Trusted, more: &Trusted) -> Trusted {
    fn extend<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
        for item in more {
            if !all.contains(item) {
                all.push(item.clone());
            }
        }
    }
    let Trusted { containers, init_containers, volumes, volume_mounts, env } = more;
    extend(&mut all.containers, containers);
    extend(&mut all.init_containers, init_containers);
    extend(&mut all.volumes, volumes);
    extend(&mut all.volume_mounts, volume_mounts);
    extend(&mut all.env, env);
    all
}

fn fits(trusted: &Trusted) -> bool {
    let Trusted { containers, init_containers, volumes, volume_mounts, env } = trusted;
    containers.len().max(init_containers.len()) <= CONTAINERS
        && volumes.len().max(volume_mounts.len()) <= VOLUMES
        && env.len() <= ENV
        && stored_size(trusted) <= BYTES
        && cost::bound(std::iter::once(&Shape::default()), &Added::from(trusted)) <= COST
}

#[cfg(test)]
mod tests {
    use crate::api::{Container, EnvVar, TrustedContainer, TrustedSidecarSpec};

    use super::*;

    fn sidecar(name: &str, env: usize) -> (String, Arc<TrustedSidecar>) {
        let container = Container { name: name.into(), ..Container::default() };
        let variable = |n| EnvVar { name: format!("{name}_{n}").into(), ..EnvVar::default() };
        let trusted = Trusted {
            containers: vec![TrustedContainer { container, ..TrustedContainer::default() }],
            env: (0..env).map(variable).collect(),
            ..Trusted::default()
        };
        let spec = TrustedSidecarSpec { description: None, trusted };
        (name.to_owned(), Arc::new(TrustedSidecar::new(name, spec)))
    }

    #[test]
    fn a_sidecar_that_does_not_fit_is_left_out_completely_and_named() {
        let (trusted, left_out) =
            trust(&BTreeMap::from([sidecar("a", 40), sidecar("b", 40), sidecar("c", 20)]));
        let names: Vec<_> = trusted.containers.iter().map(|c| &*c.container.name).collect();
        assert_eq!((names, trusted.env.len()), (vec!["a", "c"], 60));
        assert_eq!(left_out, BTreeSet::from(["b".to_owned()]));
    }

    #[test]
    fn equal_additions_of_two_sidecars_are_merged() {
        let (name, one) = sidecar("a", 2);
        let (trusted, left_out) = trust(&BTreeMap::from([(name, Arc::clone(&one)), ("b".to_owned(), one)]));
        assert_eq!((trusted.containers.len(), trusted.env.len(), left_out.len()), (1, 2, 0));
    }
}
