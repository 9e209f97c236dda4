//! Property: all facts have a verdict. The verdict does not depend on the order of the approvals. It stays the same
//! until `not_after`, and then it changes.

#![no_main]

use assent::{
    api::{AISystemSpec, Approval, ModelVersionSpec, RiskLevelSpec},
    policy::{ApproverRoles, Authors, Facts, SignedCertifications, judge, statements},
};
use jiff::Timestamp;
use kube::ResourceExt;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    now: Timestamp,
    version: ModelVersionSpec,
    system: Option<AISystemSpec>,
    level: Option<RiskLevelSpec>,
    #[serde(default)]
    author: Option<String>,
    approvals: Vec<Approval>,
}

fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    assent_fuzz::mutate(data, size, max, seed)
});

fuzz_target!(|data: &[u8]| {
    let Ok(mut case) = serde_json::from_slice::<Case>(data) else { return };
    // The API server allows each name only once in a namespace.
    case.approvals.sort_by_key(ResourceExt::name_any);
    case.approvals.dedup_by_key(|approval| approval.name_any());
    let roles = ApproverRoles::new();
    let facts = |backwards: bool| {
        let mut statements = statements(&case.approvals, &roles);
        if backwards {
            statements.reverse();
        }
        Facts {
            name: "version",
            version: &case.version,
            system: case.system.as_ref(),
            level: case.level.as_ref(),
            authors: Authors { version: case.author.as_deref(), system: None },
            statements,
            assessments: Vec::new(),
            unmet: Vec::new(),
            holds: Vec::new(),
            overrides: assent::policy::OverrideFacts::default(),
            unmonitored: Vec::new(),
            certified: SignedCertifications::default(),
        }
    };
    let (forwards, backwards) = (facts(false), facts(true));
    let judgement = judge(&forwards, case.now);
    assert_eq!(judgement, judge(&backwards, case.now), "the verdict depends on the order");
    for reason in judgement.verdict.reasons() {
        drop((reason.to_string(), reason.remedy("namespace", "system", "version")));
    }
    if let Some(end) = judgement.not_after {
        assert!(end > case.now, "the verdict has ended at {end}");
        assert_ne!(judge(&forwards, end).verdict, judgement.verdict, "the verdict is the same after {end}");
        let before = Timestamp::from_second(end.as_second() - 1).unwrap_or(case.now).max(case.now);
        assert_eq!(judge(&forwards, before).verdict, judgement.verdict, "the verdict changes before {end}");
    }
});
