//! Tests of pins: which images of a pod get the digests of a version, and which never do.

use serde_json::{Value, json};

use crate::{
    api::{Runtime, Trusted},
    policy::{Pins, as_in_template, matches, matches_if_pinned},
};

const D: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn runtime(value: &Value) -> Runtime {
    serde_json::from_value(value.clone()).expect("a runtime")
}

fn image(image: &str) -> Runtime {
    runtime(&json!({ "containers": [{ "name": "c", "image": image }] }))
}

fn is_pinned(approved: &str, pod: &str) -> bool {
    let (approved, pod) = (image(&approved.replace("@D", &format!("@{D}"))), image(pod));
    let is_match = matches_if_pinned(&approved, &Trusted::default(), &pod);
    assert_eq!(is_match, !Pins::of(&approved, &pod).is_empty(), "{approved:?} {pod:?}");
    is_match
}

#[test]
fn only_the_exact_name_before_the_digest_is_pinned() {
    for (approved, pod) in [
        ("repo:tag@D", "repo:tag"),
        ("repo@D", "repo"),
        ("reg:5000/repo@D", "reg:5000/repo"),
        ("a:b:c@D", "a:b:c"),
    ] {
        assert!(is_pinned(approved, pod), "{approved} {pod}");
    }
    for (approved, pod) in [
        ("repo:tag@D", "repo"),
        ("repo:tag@D", "repo:tags"),
        ("repo:tag@D", "repo:ta"),
        ("repo:tag@D", "Repo:tag"),
        ("repo:tag@D", "repo:TAG"),
        ("repo:tag@D", "repo:tag@"),
        ("repo:tag@D", "repo:tag "),
        ("repo:tag@D", ""),
        ("repo@D", "repo:latest"),
        ("repo:latest@D", "repo"),
        ("nginx:1@D", "docker.io/library/nginx:1"),
        ("docker.io/library/nginx:1@D", "nginx:1"),
        ("repo:tag@D", "mirror.example/repo:tag"),
        ("mirror.example/repo:tag@D", "repo:tag"),
        ("a@b@D", "a@b"),
    ] {
        assert!(!is_pinned(approved, pod), "{approved} {pod}");
    }
}

#[test]
fn a_running_pod_with_a_tag_never_matches_a_digest() {
    assert!(!matches(&image(&format!("repo:tag@{D}")), &Trusted::default(), &image("repo:tag")));
}

#[test]
fn pins_never_hide_another_difference() {
    let approved =
        json!({ "containers": [{ "name": "c", "image": format!("repo:tag@{D}"), "args": ["a"] }] });
    let pod = |change: fn(&mut Value)| {
        let mut pod = json!({ "containers": [{ "name": "c", "image": "repo:tag", "args": ["a"] }] });
        change(&mut pod);
        matches_if_pinned(&runtime(&approved), &Trusted::default(), &runtime(&pod))
    };
    assert!(pod(|_| {}));
    assert!(!pod(|pod| pod["containers"][0]["args"] = json!(["b"])));
    assert!(!pod(|pod| pod["containers"][0]["name"] = json!("d")));
    assert!(!pod(|pod| pod["hostNetwork"] = json!(true)));
    assert!(!pod(|pod| {
        let other = json!({ "name": "d", "image": "repo:tag" });
        pod["containers"].as_array_mut().expect("a list").push(other);
    }));
    assert!(!pod(|pod| pod["initContainers"] = json!([{ "name": "c", "image": "repo:tag" }])));
}

#[test]
fn a_trusted_container_gets_no_digest() {
    let trusted: Trusted = serde_json::from_value(
        json!({ "containers": [{ "name": "proxy", "image": format!("mesh:1@{D}") }] }),
    )
    .expect("trusted parts");
    let pod = |proxy: &str| {
        let containers = json!([{ "name": "c", "image": "repo:tag" }, { "name": "proxy", "image": proxy }]);
        let pod = runtime(&json!({ "containers": containers }));
        matches_if_pinned(&image(&format!("repo:tag@{D}")), &trusted, &pod)
    };
    assert!(pod(&format!("mesh:1@{D}")) && !pod("mesh:1"));
}

#[test]
fn init_containers_and_volumes_are_pinned_too() {
    let all = |digest: &str, volume: &str| {
        runtime(&json!({
            "placeholders": ["name"],
            "containers": [{ "name": "c", "image": format!("a:1{digest}") }],
            "initContainers": [{ "name": "i", "image": format!("b:1{digest}") }],
            "volumes": [{ "name": volume, "image": { "reference": format!("w:1{digest}") } }],
        }))
    };
    let approved = all(&format!("@{D}"), "model-<name>");
    let mut pod = all("", "model-x");
    pod.placeholders.clear();
    let pins = Pins::of(&approved, &pod);
    assert_eq!([&pins.containers, &pins.init_containers, &pins.volumes].map(Vec::len), [1, 1, 1]);
    assert_eq!(&*pins.volumes[0].name, "model-x", "a pin has the name in the pod");
    assert!(matches(&approved, &Trusted::default(), &pins.apply(&pod)));
    assert!(!matches(&approved, &Trusted::default(), &pod));
}

#[test]
fn a_pinned_pod_is_compared_with_a_new_version_by_the_tag_of_its_template() {
    let pod = image(&format!("repo:tag@{D}"));
    assert_eq!(as_in_template(&pod, &image("repo:tag")), image("repo:tag"));
    for template in [format!("repo:tag@{D}"), "repo:other".to_owned()] {
        assert_eq!(as_in_template(&pod, &image(&template)), pod, "{template}");
    }
}
