//! Tests that the policy ignores exactly the trusted sidecars of a pod, and no imitation of them.

use proptest::prelude::*;

use super::runtime::{any_runtime, full_runtime, pod_of, variants};
use crate::{
    api::{
        Container, EmptyDirVolume, EnvVar, MayVary, Runtime, Trusted, TrustedContainer, TrustedImages,
        Volume, VolumeMount,
    },
    policy::{matches, runtime_of_pod},
};

const REPOSITORY: &str = "registry.example:5000/mesh/proxy";

type Change = fn(&mut Runtime);

fn is_match(approved: &Runtime, trusted: &Trusted, pod: &Runtime) -> bool {
    runtime_of_pod(None, &pod_of(pod)).is_ok_and(|runtime| matches(approved, trusted, &runtime))
}

/// The containers and volumes that a mesh injects: those of `full_runtime`, with other names.
fn mesh() -> Runtime {
    let Runtime { mut containers, mut init_containers, mut volumes, .. } = full_runtime();
    for container in containers.iter_mut().chain(&mut init_containers) {
        container.name = format!("mesh-{}", container.name).into();
        for mount in &mut container.volume_mounts {
            mount.name = format!("mesh-{}", mount.name).into();
        }
        container.may_vary = MayVary::default();
    }
    for volume in &mut volumes {
        volume.name = format!("mesh-{}", volume.name).into();
    }
    Runtime { containers, init_containers, volumes, ..Runtime::default() }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

fn mount() -> VolumeMount {
    VolumeMount {
        name: "mesh-cache".into(),
        mount_path: "/mesh".into(),
        read_only: true,
        ..VolumeMount::default()
    }
}

fn trusted(mesh: &Runtime) -> Trusted {
    let exactly = |container: &Container| TrustedContainer {
        container: container.clone(),
        ..TrustedContainer::default()
    };
    Trusted {
        containers: mesh.containers.iter().map(exactly).collect(),
        init_containers: mesh.init_containers.iter().map(exactly).collect(),
        volumes: mesh.volumes.clone(),
        volume_mounts: vec![mount()],
        env: vec![variable("MESH", "on")],
    }
}

/// The approved runtime after a mesh injected its containers, volumes, variables and mounts.
fn injected(approved: &Runtime, mesh: &Runtime) -> Runtime {
    let mut pod = approved.clone();
    for container in pod.containers.iter_mut().chain(&mut pod.init_containers) {
        container.env.insert(0, variable("MESH", "on"));
        container.volume_mounts.push(mount());
    }
    pod.containers.splice(0..0, mesh.containers.clone());
    let after_first = 1.min(pod.init_containers.len());
    pod.init_containers.splice(after_first..after_first, mesh.init_containers.clone());
    pod.volumes.extend(mesh.volumes.clone());
    pod
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_trusted_sidecar_may_be_in_any_pod(approved in any_runtime()) {
        let mesh = mesh();
        let pod = injected(&approved, &mesh);
        prop_assert!(is_match(&approved, &trusted(&mesh), &pod));
        prop_assert!(is_match(&approved, &trusted(&mesh), &approved), "the sidecar is optional");
        prop_assert!(!is_match(&approved, &Trusted::default(), &pod));
    }

    #[test]
    fn two_runtimes_match_with_a_sidecar_exactly_if_they_match_without(a in any_runtime(), b in any_runtime()) {
        let (mesh, nothing) = (mesh(), Trusted::default());
        prop_assert_eq!(is_match(&a, &trusted(&mesh), &injected(&b, &mesh)), is_match(&a, &nothing, &b));
    }
}

#[test]
fn any_single_change_to_an_injected_sidecar_breaks_the_match() {
    let (approved, mesh) = (full_runtime(), mesh());
    let trusted = trusted(&mesh);
    let mut count = 0;
    for (change, value) in variants(&serde_json::to_value(&mesh).expect("serialises")) {
        let Ok(changed) = serde_json::from_value::<Runtime>(value) else { continue };
        // These changes may match: a pod may lack trusted parts, or have them in another order or twice.
        let is_less = ["containers", "initContainers", "volumes"].iter().any(|list| {
            let of = change.trim_start_matches(' ').trim_start_matches('/');
            of == format!("drop {list}")
                || of.starts_with(&format!("{list} drop"))
                || of.starts_with(&format!("{list} swap"))
        });
        if changed == mesh || is_less || change.contains(" twice") && change.matches('/').count() == 1 {
            continue;
        }
        assert!(!is_match(&approved, &trusted, &injected(&approved, &changed)), "{change}");
        count += 1;
    }
    assert!(count > 250, "only {count} changes were tried");
}

#[test]
fn every_approved_container_must_be_present() {
    let (approved, mesh) = (full_runtime(), mesh());
    let trusted = trusted(&mesh);
    for gone in 0..approved.containers.len() {
        let mut pod = injected(&approved, &mesh);
        pod.containers.retain(|c| c.name != approved.containers[gone].name);
        assert!(!is_match(&approved, &trusted, &pod), "without container {gone}");
    }
    // A trusted container does not replace an approved container of the same name.
    let mut same_name = trusted.clone();
    same_name.containers[0].container.name.clone_from(&approved.containers[0].name);
    let mut pod = injected(&approved, &mesh);
    pod.containers.retain(|c| c.name != approved.containers[0].name && c.name != mesh.containers[0].name);
    pod.containers.push(same_name.containers[0].container.clone());
    pod.containers[0].args = vec!["other".into()];
    assert!(!is_match(&approved, &same_name, &pod));
    // An approved container must not become an init container.
    let mut pod = injected(&approved, &mesh);
    let moved = pod.containers.pop().expect("has some");
    pod.init_containers.push(moved);
    assert!(!is_match(&approved, &trusted, &pod));
}

#[test]
fn trusted_additions_match_exactly() {
    let (approved, mesh) = (full_runtime(), mesh());
    let trusted = trusted(&mesh);
    let changes: [(&str, Change); 7] = [
        ("another value", |pod| pod.containers[2].env[0].value = Some("off".into())),
        ("an approved variable", |pod| pod.containers[2].env.push(variable("MODEL", "on"))),
        ("another path", |pod| {
            pod.containers[2].volume_mounts.push(VolumeMount { mount_path: "/srv".into(), ..mount() });
        }),
        ("another volume", |pod| {
            pod.containers[2].volume_mounts.push(VolumeMount { name: "weights".into(), ..mount() });
        }),
        ("a sub path", |pod| {
            pod.containers[2].volume_mounts.push(VolumeMount { sub_path: Some("x".into()), ..mount() });
        }),
        ("a writable mount", |pod| {
            pod.containers[2].volume_mounts.push(VolumeMount { read_only: false, ..mount() });
        }),
        ("another volume of the pod", |pod| {
            let (name, empty_dir) = ("mesh-more".to_owned(), Some(EmptyDirVolume {}));
            pod.volumes.push(Volume { name: name.into(), empty_dir, ..Volume::default() });
        }),
    ];
    for (what, change) in changes {
        let mut pod = injected(&approved, &mesh);
        change(&mut pod);
        assert!(!is_match(&approved, &trusted, &pod), "{what}");
    }
}

#[test]
fn a_trusted_mount_of_an_approved_volume_does_not_match() {
    let mut approved = full_runtime();
    let (name, empty_dir) = ("mesh-cache".to_owned(), Some(EmptyDirVolume {}));
    approved.volumes.push(Volume { name: name.into(), empty_dir, ..Volume::default() });
    let trusted = trusted(&mesh());
    let mut pod = approved.clone();
    assert!(is_match(&approved, &trusted, &pod));
    pod.containers[0].volume_mounts.push(mount());
    assert!(!is_match(&approved, &trusted, &pod));
}

#[test]
fn a_trusted_container_varies_only_in_its_listed_fields() {
    let (approved, mesh) = (full_runtime(), mesh());
    let with = |list: fn(&mut TrustedContainer), change: fn(&mut Container)| {
        let (mut trusted, mut pod) = (trusted(&mesh), injected(&approved, &mesh));
        list(&mut trusted.containers[0]);
        change(&mut pod.containers[0]);
        is_match(&approved, &trusted, &pod)
    };
    let any_args: fn(&mut TrustedContainer) = |t| t.any_args = true;
    assert!(with(any_args, |c| c.args = vec!["any".into()]));
    assert!(!with(any_args, |c| c.command = vec!["any".into()]));
    assert!(!with(any_args, |c| c.env.push(variable("ANY", ""))));
    let prefix: fn(&mut TrustedContainer) = |t| t.env_prefixes = vec!["MESH_".to_owned()];
    assert!(with(prefix, |c| c.env.insert(0, variable("MESH_ANY", "any"))));
    assert!(!with(prefix, |c| c.env.insert(0, variable("A_MESH_ANY", "any"))));
    assert!(!with(prefix, |c| c.args = vec!["any".into()]));
    let names: fn(&mut TrustedContainer) = |t| t.container.may_vary.env = vec!["ANY".into()];
    assert!(with(names, |c| c.env.insert(0, variable("ANY", "any"))));
    assert!(!with(names, |c| c.env.insert(0, variable("ANYTHING", "any"))));
    let repository: fn(&mut TrustedContainer) = |t| {
        t.images = TrustedImages::Name;
        t.container.image = REPOSITORY.into();
    };
    let image = |image: &'static str| {
        let (mut trusted, mut pod) = (trusted(&mesh), injected(&approved, &mesh));
        repository(&mut trusted.containers[0]);
        pod.containers[0].image = image.into();
        is_match(&approved, &trusted, &pod)
    };
    assert!(image("registry.example:5000/mesh/proxy:1"));
    assert!(image("registry.example:5000/mesh/proxy@sha256:0"));
    for other in
        ["registry.example:5000/mesh/proxy2:1", "registry.example:5000/mesh/proxy/x:1", "mesh/proxy:1", "x"]
    {
        assert!(!image(other), "{other}");
    }
}
