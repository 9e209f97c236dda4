//! Checks the time to judge thousands of decisions.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::generate::{Case, Said, VERSION, second};
use crate::{
    api::{
        AISystemSpec, Approver, Decision, Decommission, ModelVersionSpec, Owner, OwnerKind, RequiredApproval,
        RiskLevelSpec,
    },
    policy::Verdict,
};

const STATEMENTS: i64 = 2000;

/// The limit is about thirty times the duration of this test in a debug build, so that a busy machine does not break
/// the test. A policy that judges again at the end of every approval exceeds the limit.
const LIMIT: Duration = Duration::from_secs(3);

/// `STATEMENTS` approvals with different ends, by `people` people in `roles` roles. Each role requires `count`
/// approvals.
fn crowd(people: i64, roles: u32, count: u32) -> Case {
    let role = |n: i64| format!("role-{:02}", n % i64::from(roles));
    let groups: Vec<String> = (0..20).map(|n| format!("group-{n}")).collect();
    let said = (0..STATEMENTS).map(|n| Said {
        name: format!("approval-{n:04}"),
        version: VERSION.to_owned(),
        approver: Approver { user: format!("user-{:04}", n % people), uid: None, groups: groups.clone() },
        role: role(n),
        decision: Decision::Approve,
        reason: None,
        at: second(n),
        not_after: Some(second(10_000 + n)),
    });
    let owner = |n: usize| Owner { kind: OwnerKind::Group, name: format!("owners-{n}") };
    Case {
        version: ModelVersionSpec::default(),
        system: Some(AISystemSpec { owners: (0..32).map(owner).collect(), ..AISystemSpec::default() }),
        level: Some(RiskLevelSpec {
            approvals: (0..roles).map(|n| RequiredApproval { role: role(n.into()), count }).collect(),
            separation_of_duties: true,
            ..RiskLevelSpec::default()
        }),
        authors: [None, None],
        said: said.collect(),
        assessed: Vec::new(),
        unmet: Vec::new(),
        overrides: crate::policy::OverrideFacts::default(),
        unmonitored: Vec::new(),
    }
}

#[test]
fn thousands_of_decisions_are_judged_within_the_limit() {
    let decommissioned = |case: Case| {
        let end = Decommission { date: Time(second(0)), reason: String::new(), successor: None };
        let system = case.system.map(|system| AISystemSpec { decommission: Some(end), ..system });
        Case { system, ..case }
    };
    let mut rejected = crowd(2000, 1, 1);
    rejected.said[0].decision = Decision::Reject;
    let shapes = [
        ("one person approves many times", crowd(1, 1, 1), true),
        ("each person approves once", crowd(2000, 1, 16), true),
        ("sixteen roles of sixteen people", crowd(2000, 16, 16), true),
        ("one person too few for sixteen roles of sixteen people", crowd(255, 16, 16), false),
        ("the system is decommissioned", decommissioned(crowd(2000, 4, 2)), false),
        ("one person of many rejects", rejected, false),
    ];
    for (name, case, clears) in shapes {
        let start = Instant::now();
        let judged = case.judge(second(5000));
        let took = start.elapsed();
        println!("{name}: {took:?}");
        assert_eq!(judged.verdict == Verdict::Cleared, clears, "{name}: {:?}", judged.verdict);
        assert!(took < LIMIT, "{name}: {took:?}");
    }
}
