use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::{
    api::{Decision, EnvVar},
    cli::{
        commands::explain::render::render,
        fixtures::{now, record},
    },
};

const V1: &str = "credit-scorer-v1";
const V2: &str = "credit-scorer-v2";

fn facts(record: SystemRecord) -> ExplainInput {
    ExplainInput {
        namespace: "lending".to_owned(),
        place: " -n lending".to_owned(),
        governance: Seen::Found(Governance { mode: Some(Mode::Enforce), ..Governance::default() }),
        clearance: Seen::Hidden,
        pins: true,
        records: BTreeMap::from([("credit-scorer".to_owned(), record)]),
        holders: Err("you may not list clusterroles and clusterrolebindings".to_owned()),
        now: now(),
    }
}

fn pods_of(version: &str, change: fn(&mut Runtime)) -> PodGroup {
    let mut runtime = Runtime::clone(&record().version(version).expect("a version").spec.runtime);
    runtime.containers.iter_mut().for_each(|container| container.may_vary.env.clear());
    change(&mut runtime);
    PodGroup {
        pods: vec!["credit-scorer-1".to_owned(), "credit-scorer-2".to_owned()],
        state: State::Held,
        system: Some("credit-scorer".to_owned()),
        scope: Scope::Labelled,
        runtime: Ok(runtime),
    }
}

fn explain(group: PodGroup, facts: &ExplainInput) -> Explanation {
    let found = PodGroups { groups: vec![group], ..PodGroups::default() };
    let target = Target::parse("deployment/credit-scorer", None).expect("a target");
    Explanation::new(&target, &found, facts)
}

fn text(group: PodGroup, facts: &ExplainInput, now: Timestamp) -> String {
    anstream::adapter::strip_str(&render(&explain(group, facts), now)).to_string()
}

fn approved(record: SystemRecord, version: &str) -> SystemRecord {
    let record = record.with("alice", Decision::Approve, "risk-officer", version, "2026-11-02T09:00:00Z");
    record.with("bob", Decision::Approve, "ethics-board", version, "2026-11-03T09:00:00Z")
}

#[test]
fn pod_without_enough_approvals_is_held() {
    let record =
        approved(record(), V1).with("alice", Decision::Approve, "risk-officer", V2, "2026-11-23T09:00:00Z");
    insta::assert_snapshot!(text(pods_of(V2, |_| {}), &facts(record), now()));
}

#[test]
fn pod_that_matches_no_version_shows_the_closest_one() {
    let group = pods_of(V2, |runtime| {
        runtime.containers[0].args[1] = "--max-model-len=32768".into();
        let log = EnvVar { name: "VLLM_LOGGING_LEVEL".into(), value: Some("DEBUG".into()), value_from: None };
        runtime.containers[0].env.push(log);
        runtime.volumes.reverse();
    });
    insta::assert_snapshot!(text(group, &facts(approved(record(), V2)), now()));
}

#[test]
fn pod_of_a_cleared_version_is_cleared() {
    let finding = explain(pods_of(V1, |_| {}), &facts(approved(record(), V1)));
    assert!(finding.pods[0].cleared);
    assert_eq!(finding.pods[0].matches, [V1]);
    assert_eq!(
        finding.pods[0].conclusion,
        "it is credit-scorer-v1 of credit-scorer, which is cleared to run"
    );
}

fn by_tag(state: State) -> PodGroup {
    let group = pods_of(V1, |runtime| {
        for container in &mut runtime.containers {
            let end = container.image.find('@').expect("an image with a digest");
            container.image = container.image[..end].into();
        }
    });
    PodGroup { state, ..group }
}

#[test]
fn a_pod_by_tag_is_cleared_with_its_digest_unless_it_runs() {
    let facts = facts(approved(record(), V1));
    for state in [State::Held, State::NotCreated] {
        let finding = explain(by_tag(state), &facts).pods.remove(0);
        assert!(finding.cleared, "{finding:?}");
        assert_eq!(
            finding.conclusion,
            "it is credit-scorer-v1 of credit-scorer, which is cleared to run; its images get the digests that credit-scorer-v1 approves"
        );
    }
    let finding = explain(by_tag(State::Admitted), &facts).pods.remove(0);
    assert!(!finding.cleared && finding.matches.is_empty(), "{finding:?}");
    assert!(
        finding.conclusion.contains("only a new pod gets the digests that credit-scorer-v1"),
        "{finding:?}"
    );
    assert!(finding.next[0].contains("kubectl delete pod credit-scorer-1 -n lending"), "{finding:?}");
}

#[test]
fn a_template_by_tag_is_refused_if_the_api_server_cannot_pin() {
    let facts = ExplainInput { pins: false, ..facts(approved(record(), V1)) };
    let finding = explain(by_tag(State::NotCreated), &facts).pods.remove(0);
    assert!(!finding.cleared, "{finding:?}");
    assert!(finding.next[0].starts_with("kubectl set image KIND/NAME "), "{finding:?}");
    assert!(finding.next[0].ends_with(" -n lending"), "{finding:?}");
}

#[test]
fn conclusion_is_the_first_check_of_admission_that_fails() {
    let conclusion = |group: PodGroup, facts: &ExplainInput| explain(group, facts).pods.remove(0).conclusion;
    let good = || pods_of(V1, |_| {});
    let everything = facts(approved(record(), V1));
    let not_enforced = ExplainInput { governance: Seen::Found(Governance::default()), ..everything.clone() };
    assert!(conclusion(good(), &not_enforced).contains("has no label assent.dev/mode=enforce"));
    let scoped = Governance { mode: Some(Mode::Enforce), scope: Scope::Labelled };
    let labelled_only = ExplainInput { governance: Seen::Found(scoped), ..everything.clone() };
    let other = PodGroup { system: None, scope: Scope::All, ..good() };
    assert!(
        conclusion(other, &labelled_only).contains("assent.dev/scope=labelled, which does not include it")
    );
    let unlabelled = PodGroup { system: None, ..good() };
    assert!(conclusion(unlabelled, &everything).contains("it has no label assent.dev/system"));
    let unknown = PodGroup { system: Some("chat".to_owned()), ..good() };
    assert_eq!(conclusion(unknown, &everything), "there is no AISystem chat");
    let unmatchable = PodGroup { runtime: Err("hostAliases cannot be part of it".to_owned()), ..good() };
    assert_eq!(conclusion(unmatchable, &everything), "hostAliases cannot be part of it");
    let no_versions = facts(SystemRecord { versions: Vec::new(), ..record() });
    assert!(conclusion(good(), &no_versions).contains("has no ModelVersion"));
}
