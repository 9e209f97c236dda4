//! Tests each rule of the policy with examples.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Duration;
use serde_json::json;

use super::{
    generate::{Case, Said, VERSION, half, just_before, second},
    runtime::json_as,
};
use crate::{
    api::{
        AISystemSpec, Approver, Artifact, Certification, Container, Decision, Decommission, Digest, Document,
        Evidence, ImagePolicy, ImageVolume, ModelVersionSpec, Owner, OwnerKind, Provider, RequiredApproval,
        RiskLevelSpec, Runtime, Volume, VolumeKind,
    },
    policy::{Reason, Verdict},
};

/// Decisions about a version, with the expected judgement. Olga and the group "owners" own the system, vera created the
/// version, and sam last changed the system.
struct Example {
    rule: &'static str,
    /// The requirements of the level: `role count, …`, then optionally `separate` (separation of duties) and `for N`
    /// (validity in seconds).
    asks: &'static str,
    /// The decisions, each as `second person role decision`, then optionally `until N` and `in GROUP`.
    said: &'static [&'static str],
    now: i64,
    /// The codes of the reasons. The version is cleared if the list is empty.
    withheld: &'static [&'static str],
    /// The second at which the verdict changes.
    until: Option<i64>,
    /// The effect of each decision, in the order of `said`.
    effects: &'static [&'static str],
}

const EXAMPLES: &[Example] = &[
    Example {
        rule: "a level without required approvals clears at once and without end",
        asks: "",
        said: &[],
        now: 0,
        withheld: &[],
        until: None,
        effects: &[],
    },
    Example {
        rule: "without an approval the version waits",
        asks: "risk 1",
        said: &[],
        now: 0,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &[],
    },
    Example {
        rule: "one approval is enough if one is required",
        asks: "risk 1",
        said: &["1 alice risk Approve"],
        now: 1,
        withheld: &[],
        until: None,
        effects: &["Counted"],
    },
    Example {
        rule: "every required role must approve",
        asks: "ethics 1, risk 1",
        said: &["1 alice risk Approve"],
        now: 2,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["Counted"],
    },
    Example {
        rule: "a count of two needs two people, not two approvals by one person",
        asks: "risk 2",
        said: &["1 alice risk Approve", "2 alice risk Approve"],
        now: 3,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "two people fill a count of two",
        asks: "risk 2",
        said: &["1 alice risk Approve", "2 bob risk Approve"],
        now: 3,
        withheld: &[],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "a decision in a role that is not required neither counts nor withholds",
        asks: "risk 1",
        said: &["1 alice risk Approve", "2 bob legal Approve", "3 carol legal Reject"],
        now: 4,
        withheld: &[],
        until: None,
        effects: &["Counted", "RoleNotRequired", "RoleNotRequired"],
    },
    Example {
        rule: "one person may fill two roles without separation of duties",
        asks: "ethics 1, risk 1",
        said: &["1 carol ethics Approve", "1 carol risk Approve"],
        now: 2,
        withheld: &[],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "one person fills only one role with separation of duties",
        asks: "ethics 1, risk 1, separate",
        said: &["1 carol ethics Approve", "1 carol risk Approve"],
        now: 2,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "a person in two roles fills the role that lacks approvals",
        asks: "ethics 1, risk 1, separate",
        said: &["1 carol ethics Approve", "1 carol risk Approve", "2 alice ethics Approve"],
        now: 3,
        withheld: &[],
        until: None,
        effects: &["Counted", "Counted", "Counted"],
    },
    Example {
        rule: "an owner may approve without separation of duties",
        asks: "risk 1",
        said: &["1 olga risk Approve"],
        now: 2,
        withheld: &[],
        until: None,
        effects: &["Counted"],
    },
    Example {
        rule: "an owner does not count with separation of duties",
        asks: "risk 1, separate",
        said: &["1 olga risk Approve"],
        now: 2,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["ApproverIsOwner"],
    },
    Example {
        rule: "a member of an owning group does not count with separation of duties",
        asks: "risk 1, separate",
        said: &["1 alice risk Approve in owners"],
        now: 2,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["ApproverIsOwner"],
    },
    Example {
        rule: "the creator of the version does not count with separation of duties",
        asks: "risk 1, separate",
        said: &["1 vera risk Approve"],
        now: 2,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["ApproverIsAuthor"],
    },
    Example {
        rule: "the person who last changed the system does not count with separation of duties",
        asks: "risk 1, separate",
        said: &["1 sam risk Approve"],
        now: 2,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["ApproverIsAuthor"],
    },
    Example {
        rule: "an author may approve without separation of duties",
        asks: "risk 2",
        said: &["1 vera risk Approve", "1 sam risk Approve"],
        now: 2,
        withheld: &[],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "an author can reject with separation of duties",
        asks: "risk 1, separate",
        said: &["1 alice risk Approve", "2 sam risk Reject"],
        now: 2,
        withheld: &["Rejected"],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "a group named like an owner, and a user named like an owning group, are not owners",
        asks: "risk 2, separate",
        said: &["1 alice risk Approve in olga", "1 owners risk Approve"],
        now: 2,
        withheld: &[],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "a rejection by an owner withholds even with separation of duties",
        asks: "risk 1, separate",
        said: &["1 alice risk Approve", "2 olga risk Reject"],
        now: 3,
        withheld: &["Rejected"],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "an approval counts until its end",
        asks: "risk 1",
        said: &["1 alice risk Approve until 5"],
        now: 4,
        withheld: &[],
        until: Some(5),
        effects: &["Counted"],
    },
    Example {
        rule: "an approval does not count at its end",
        asks: "risk 1",
        said: &["1 alice risk Approve until 5"],
        now: 5,
        withheld: &["ApprovalExpired"],
        until: None,
        effects: &["Expired"],
    },
    Example {
        rule: "the validity of the level ends an approval",
        asks: "risk 1, for 4",
        said: &["1 alice risk Approve"],
        now: 4,
        withheld: &[],
        until: Some(5),
        effects: &["Counted"],
    },
    Example {
        rule: "the earlier end counts: here the end by the level",
        asks: "risk 1, for 4",
        said: &["1 alice risk Approve until 9"],
        now: 4,
        withheld: &[],
        until: Some(5),
        effects: &["Counted"],
    },
    Example {
        rule: "the earlier end counts: here the end of the approval",
        asks: "risk 1, for 9",
        said: &["1 alice risk Approve until 5"],
        now: 4,
        withheld: &[],
        until: Some(5),
        effects: &["Counted"],
    },
    Example {
        rule: "an approval with an end in the past has expired",
        asks: "risk 1",
        said: &["5 alice risk Approve until 3"],
        now: 5,
        withheld: &["ApprovalExpired"],
        until: None,
        effects: &["Expired"],
    },
    Example {
        rule: "with three approvals and two required, the clearance ends with the second approval to end",
        asks: "risk 2",
        said: &["1 alice risk Approve until 5", "1 bob risk Approve until 7", "1 carol risk Approve until 9"],
        now: 2,
        withheld: &[],
        until: Some(7),
        effects: &["Counted", "Counted", "Counted"],
    },
    Example {
        rule: "a new approval after the end counts",
        asks: "risk 1",
        said: &["1 alice risk Approve until 5", "6 alice risk Approve until 9"],
        now: 6,
        withheld: &[],
        until: Some(9),
        effects: &["Expired", "Counted"],
    },
    Example {
        rule: "a second approval does not shorten the first; only a rejection does",
        asks: "risk 1",
        said: &["1 alice risk Approve until 9", "2 alice risk Approve until 5"],
        now: 6,
        withheld: &[],
        until: Some(9),
        effects: &["Counted", "Expired"],
    },
    Example {
        rule: "after a rejection, a shorter approval replaces the first",
        asks: "risk 1",
        said: &["1 alice risk Approve until 9", "2 alice risk Reject", "3 alice risk Approve until 5"],
        now: 4,
        withheld: &[],
        until: Some(5),
        effects: &["Superseded", "Superseded", "Counted"],
    },
    Example {
        rule: "a person with a new approval is not reported as expired",
        asks: "risk 2",
        said: &["1 alice risk Approve until 5", "6 alice risk Approve"],
        now: 7,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["Expired", "Counted"],
    },
    Example {
        rule: "one rejection withholds in spite of approvals by others",
        asks: "risk 1",
        said: &["1 alice risk Approve", "2 bob risk Reject"],
        now: 3,
        withheld: &["Rejected"],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "the last decision of a person counts: a rejection",
        asks: "risk 1",
        said: &["1 alice risk Approve", "2 alice risk Reject"],
        now: 3,
        withheld: &["Rejected", "AwaitingApproval"],
        until: None,
        effects: &["Superseded", "Counted"],
    },
    Example {
        rule: "the last decision of a person counts: an approval",
        asks: "risk 1",
        said: &["1 alice risk Reject", "2 alice risk Approve"],
        now: 3,
        withheld: &[],
        until: None,
        effects: &["Superseded", "Counted"],
    },
    Example {
        rule: "two rejections by one person count once",
        asks: "risk 1",
        said: &["1 alice risk Reject", "2 alice risk Reject", "3 bob risk Approve"],
        now: 4,
        withheld: &["Rejected"],
        until: None,
        effects: &["Superseded", "Counted", "Counted"],
    },
    Example {
        rule: "a rejection wins over an approval in the same second",
        asks: "risk 1",
        said: &["2 alice risk Reject", "2 alice risk Approve"],
        now: 3,
        withheld: &["Rejected", "AwaitingApproval"],
        until: None,
        effects: &["Counted", "Superseded"],
    },
    Example {
        rule: "a rejection in one role does not affect the same person's approval in another role",
        asks: "ethics 1, risk 1",
        said: &["1 carol ethics Approve", "2 carol risk Reject", "3 alice risk Approve"],
        now: 4,
        withheld: &["Rejected"],
        until: None,
        effects: &["Counted", "Counted", "Counted"],
    },
    Example {
        rule: "only the same person in the same role can take a rejection back",
        asks: "risk 1",
        said: &["1 alice risk Reject", "2 bob risk Approve", "3 alice ethics Approve"],
        now: 4,
        withheld: &["Rejected"],
        until: None,
        effects: &["Counted", "Counted", "RoleNotRequired"],
    },
    Example {
        rule: "a rejection stays superseded after the later approval has expired",
        asks: "risk 1",
        said: &["1 alice risk Reject", "2 alice risk Approve until 5", "3 bob risk Approve"],
        now: 6,
        withheld: &[],
        until: None,
        effects: &["Superseded", "Expired", "Counted"],
    },
    Example {
        rule: "a revocation in any role revokes every earlier approval by any person",
        asks: "ethics 1, risk 1",
        said: &["1 alice risk Approve", "2 bob ethics Approve", "3 carol legal Revoke"],
        now: 3,
        withheld: &["Revoked", "AwaitingApproval", "AwaitingApproval"],
        until: None,
        effects: &["Revoked", "Revoked", "Counted"],
    },
    Example {
        rule: "a revocation wins over an approval in the same second",
        asks: "risk 1",
        said: &["2 alice risk Revoke", "2 alice risk Approve"],
        now: 3,
        withheld: &["Revoked", "AwaitingApproval"],
        until: None,
        effects: &["Counted", "Revoked"],
    },
    Example {
        rule: "new approvals lift a revocation",
        asks: "risk 1",
        said: &["1 alice risk Approve", "2 bob risk Revoke", "3 alice risk Approve"],
        now: 3,
        withheld: &[],
        until: None,
        effects: &["Revoked", "Counted", "Counted"],
    },
    Example {
        rule: "after a revocation every role must approve again",
        asks: "ethics 1, risk 1",
        said: &[
            "1 alice risk Approve",
            "1 bob ethics Approve",
            "2 bob ethics Revoke",
            "3 alice risk Approve",
        ],
        now: 4,
        withheld: &["AwaitingApproval"],
        until: None,
        effects: &["Revoked", "Revoked", "Counted", "Counted"],
    },
    Example {
        rule: "when the approval that lifted a revocation ends, the version is expired and not revoked",
        asks: "risk 1",
        said: &["1 bob risk Revoke", "2 alice risk Approve until 5"],
        now: 6,
        withheld: &["ApprovalExpired"],
        until: None,
        effects: &["Counted", "Expired"],
    },
    Example {
        rule: "a revocation does not supersede a rejection",
        asks: "risk 1",
        said: &["1 alice risk Reject", "2 bob risk Revoke", "3 bob risk Approve"],
        now: 4,
        withheld: &["Rejected"],
        until: None,
        effects: &["Counted", "Counted", "Counted"],
    },
    Example {
        rule: "an owner cannot lift a revocation with separation of duties",
        asks: "risk 1, separate",
        said: &["1 bob risk Revoke", "2 olga risk Approve"],
        now: 3,
        withheld: &["Revoked", "AwaitingApproval"],
        until: None,
        effects: &["Counted", "ApproverIsOwner"],
    },
    Example {
        rule: "a revocation withholds at a level without required approvals",
        asks: "",
        said: &["1 bob risk Revoke"],
        now: 2,
        withheld: &["Revoked"],
        until: None,
        effects: &["Counted"],
    },
    Example {
        rule: "at a level without required approvals, any approval lifts a revocation",
        asks: "",
        said: &["1 bob risk Revoke", "2 alice legal Approve"],
        now: 2,
        withheld: &[],
        until: None,
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "at a level without required approvals, a revocation is lifted until that approval ends",
        asks: "for 4",
        said: &["1 bob risk Revoke", "2 alice legal Approve"],
        now: 2,
        withheld: &[],
        until: Some(6),
        effects: &["Counted", "Counted"],
    },
    Example {
        rule: "at a level without required approvals, the revocation withholds again when that approval ends",
        asks: "for 4",
        said: &["1 bob risk Revoke", "2 alice legal Approve"],
        now: 6,
        withheld: &["Revoked"],
        until: None,
        effects: &["Counted", "Expired"],
    },
    Example {
        rule: "at a level without required approvals, any rejection withholds",
        asks: "",
        said: &["1 bob legal Reject"],
        now: 2,
        withheld: &["Rejected"],
        until: None,
        effects: &["Counted"],
    },
];

#[test]
fn every_example_has_its_verdict_and_effects() {
    for example in EXAMPLES {
        let case = example.case();
        let judged = case.judge(second(example.now));
        assert_eq!(codes(&judged.verdict), example.withheld, "{}", example.rule);
        assert_eq!(judged.not_after, example.until.map(second), "end of the verdict: {}", example.rule);
        let effects: Vec<_> = judged.effects.iter().map(|(_, effect)| effect.code()).collect();
        assert_eq!(effects, example.effects, "effects: {}", example.rule);
        if let Some(end) = example.until.map(second) {
            assert_eq!(case.judge(just_before(end)).verdict, judged.verdict, "{}", example.rule);
            assert_ne!(case.judge(end).verdict, judged.verdict, "{}", example.rule);
        }
    }
}

impl Example {
    fn case(&self) -> Case {
        let mut level = RiskLevelSpec::default();
        for ask in self.asks.split(", ").filter(|ask| !ask.is_empty()) {
            match ask.split(' ').collect::<Vec<_>>()[..] {
                ["separate"] => level.separation_of_duties = true,
                ["for", seconds] => level.validity = Some(seconds_long(seconds.parse().expect("a number"))),
                [role, count] => level.approvals.push(RequiredApproval {
                    role: role.to_owned(),
                    count: count.parse().expect("a number"),
                }),
                _ => panic!("unknown requirement: {ask}"),
            }
        }
        let said = self.said.iter().enumerate().map(|(n, words)| said(n, words));
        Case {
            version: version(),
            system: Some(AISystemSpec {
                owners: vec![
                    Owner { kind: OwnerKind::User, name: "olga".to_owned() },
                    Owner { kind: OwnerKind::Group, name: "owners".to_owned() },
                ],
                risk_level: "high".to_owned(),
                ..AISystemSpec::default()
            }),
            level: Some(level),
            authors: [Some("vera".to_owned()), Some("sam".to_owned())],
            said: said.collect(),
            assessed: Vec::new(),
            unmet: Vec::new(),
            overrides: crate::policy::OverrideFacts::default(),
            unmonitored: Vec::new(),
        }
    }
}

fn said(n: usize, words: &str) -> Said {
    let words: Vec<_> = words.split(' ').collect();
    let after = |word: &str| words.iter().position(|w| *w == word).map(|n| words[n + 1]);
    let decision = match words[3] {
        "Approve" => Decision::Approve,
        "Reject" => Decision::Reject,
        "Revoke" => Decision::Revoke,
        other => panic!("unknown decision: {other}"),
    };
    Said {
        name: format!("approval-{n:02}"),
        version: VERSION.to_owned(),
        approver: Approver {
            user: words[1].to_owned(),
            uid: None,
            groups: after("in").map(str::to_owned).into_iter().collect(),
        },
        role: words[2].to_owned(),
        decision,
        reason: Some(format!("said in {n}")),
        at: second(words[0].parse().expect("a number")),
        not_after: after("until").map(|end| second(end.parse().expect("a number"))),
    }
}

pub(super) fn seconds_long(seconds: u64) -> Duration {
    Duration::from(std::time::Duration::from_secs(seconds))
}

fn version() -> ModelVersionSpec {
    ModelVersionSpec { system: "triage".to_owned(), ..ModelVersionSpec::default() }
}

fn reasons(verdict: Verdict) -> Vec<Reason> {
    match verdict {
        Verdict::Cleared => Vec::new(),
        Verdict::Withheld(reasons) => reasons,
    }
}

pub(super) fn codes(verdict: &Verdict) -> Vec<&'static str> {
    match verdict {
        Verdict::Cleared => Vec::new(),
        Verdict::Withheld(reasons) => reasons.iter().map(Reason::code).collect(),
    }
}

/// A case that is cleared, because its level requires only image digests, and its version has no image.
pub(super) fn cleared() -> Case {
    Case {
        version: version(),
        system: Some(AISystemSpec { risk_level: "high".to_owned(), ..AISystemSpec::default() }),
        level: Some(RiskLevelSpec::default()),
        authors: [None, None],
        said: Vec::new(),
        assessed: Vec::new(),
        unmet: Vec::new(),
        overrides: crate::policy::OverrideFacts::default(),
        unmonitored: Vec::new(),
    }
}

impl Case {
    pub(super) fn at_level(mut self, change: impl FnOnce(&mut RiskLevelSpec)) -> Self {
        change(self.level.as_mut().expect("there is one"));
        self
    }

    pub(super) fn of_system(mut self, change: impl FnOnce(&mut AISystemSpec)) -> Self {
        change(self.system.as_mut().expect("there is one"));
        self
    }

    pub(super) fn with_version(mut self, change: impl FnOnce(&mut ModelVersionSpec)) -> Self {
        change(&mut self.version);
        self
    }

    pub(super) fn with_runtime(self, change: impl FnOnce(&mut Runtime)) -> Self {
        self.with_version(|version| {
            let mut runtime = Runtime::clone(&version.runtime);
            change(&mut runtime);
            version.runtime = runtime.into();
        })
    }

    pub(super) fn with_decisions(mut self, words: &[&str]) -> Self {
        self.said = words.iter().enumerate().map(|(n, words)| said(n, words)).collect();
        self
    }
}

/// Each case is withheld for exactly one reason at second 10. Other tests check the reasons about assessments,
/// expressions, risks, reviews and hosted models.
#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn every_reason_carries_its_details() {
    let risk = |count| vec![RequiredApproval { role: "risk".to_owned(), count }];
    let cases: Vec<(Case, Reason)> = vec![
        (Case { system: None, ..cleared() }, Reason::SystemNotFound { system: "triage".to_owned() }),
        (
            Case { system: None, level: None, ..cleared() },
            Reason::SystemNotFound { system: "triage".to_owned() },
        ),
        (Case { level: None, ..cleared() }, Reason::RiskLevelNotFound { level: "high".to_owned() }),
        (cleared().at_level(|l| l.prohibited = true), Reason::Prohibited { level: "high".to_owned() }),
        (
            cleared().of_system(|s| s.decommission = Some(end_at(second(10), Some("next")))),
            Reason::Decommissioned {
                since: second(10),
                why: "replaced".to_owned(),
                successor: Some("next".to_owned()),
            },
        ),
        (
            cleared().with_decisions(&["1 alice risk Revoke", "2 bob risk Revoke", "2 carol risk Revoke"]),
            Reason::Revoked {
                by: "carol".to_owned(),
                at: second(2),
                why: Some("said in 2".to_owned()),
                elsewhere: None,
            },
        ),
        (
            cleared().with_decisions(&["1 alice risk Reject"]),
            Reason::Rejected {
                by: "alice".to_owned(),
                role: "risk".to_owned(),
                why: Some("said in 0".to_owned()),
                elsewhere: None,
            },
        ),
        (
            cleared().with_runtime(|r| r.containers = vec![container("serve:v1")]),
            Reason::ImageNotPinned { image: "serve:v1".to_owned() },
        ),
        (
            cleared()
                .at_level(|l| l.forbidden_volumes = vec![VolumeKind::HostPath, VolumeKind::Nfs])
                .with_runtime(|r| {
                    r.volumes =
                        vec![json_as(&json!({ "name": "models", "hostPath": { "path": "/models" } }))];
                }),
            Reason::VolumeForbidden { volume: "models".to_owned(), kind: VolumeKind::HostPath },
        ),
        (
            cleared().at_level(|l| l.documents = vec!["manual".to_owned()]),
            Reason::DocumentMissing { document: "manual".to_owned() },
        ),
        (
            cleared().at_level(|l| l.evidence = vec![Evidence::Sbom]),
            Reason::EvidenceMissing { evidence: Evidence::Sbom },
        ),
        (
            cleared().at_level(|l| l.certifications = vec!["ISO/IEC 42001".to_owned()]),
            Reason::CertificationMissing {
                certification: "ISO/IEC 42001".to_owned(),
                supplier: None,
                role: None,
            },
        ),
        (
            cleared().at_level(|l| l.approvals = risk(2)).with_decisions(&[
                "1 alice risk Approve until 4",
                "1 bob risk Approve until 6",
                "1 carol risk Approve",
            ]),
            Reason::ApprovalExpired { role: "risk".to_owned(), needed: 2, have: 1, since: second(6) },
        ),
        (
            cleared()
                .at_level(|l| (l.approvals, l.separation_of_duties) = (risk(2), true))
                .of_system(|s| {
                    s.owners = vec![Owner { kind: OwnerKind::User, name: "olga".to_owned() }];
                })
                .with_decisions(&["1 alice risk Approve", "1 olga risk Approve"]),
            Reason::AwaitingApproval {
                role: "risk".to_owned(),
                needed: 2,
                have: 1,
                owners: vec!["olga".to_owned()],
                authors: Vec::new(),
                in_several_roles: Vec::new(),
            },
        ),
        (
            cleared()
                .at_level(|l| {
                    l.approvals = ["ethics", "risk"]
                        .map(|role| RequiredApproval { role: role.to_owned(), count: 1 })
                        .into();
                    l.separation_of_duties = true;
                })
                .with_decisions(&["1 carol ethics Approve", "1 carol risk Approve"]),
            Reason::AwaitingApproval {
                role: "risk".to_owned(),
                needed: 1,
                have: 0,
                owners: Vec::new(),
                authors: Vec::new(),
                in_several_roles: vec!["carol".to_owned()],
            },
        ),
    ];
    for (case, reason) in cases {
        assert_eq!(reasons(case.judge(second(10)).verdict), [reason]);
    }
}

#[test]
fn message_about_people_who_do_not_count_agrees_with_their_number() {
    let message = |owners: &[&str], authors: &[&str]| {
        let people = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (owners, authors) = (people(owners), people(authors));
        let (role, in_several_roles) = ("risk".to_owned(), Vec::new());
        Reason::AwaitingApproval { role, needed: 1, have: 0, owners, authors, in_several_roles }.to_string()
    };
    let short = "awaiting approval by role risk: 0 of 1 given";
    assert_eq!(message(&[], &[]), short);
    assert_eq!(message(&["olga"], &[]), format!("{short}; olga owns the system and does not count"));
    assert_eq!(
        message(&["olga", "otto"], &[]),
        format!("{short}; olga, otto own the system and do not count")
    );
    let wrote = "created the version or last changed the system, and";
    assert_eq!(message(&[], &["vera"]), format!("{short}; vera {wrote} does not count"));
    assert_eq!(message(&[], &["vera", "sam"]), format!("{short}; vera, sam {wrote} do not count"));
}

#[test]
fn all_reasons_are_listed_most_important_first() {
    let case = cleared()
        .at_level(|l| {
            l.prohibited = true;
            l.approvals = vec![RequiredApproval { role: "risk".to_owned(), count: 1 }];
            l.documents = vec!["manual".to_owned()];
            l.evidence = vec![Evidence::Data];
            l.certifications = vec!["ISO/IEC 42001".to_owned()];
            l.forbidden_volumes = vec![VolumeKind::EmptyDir];
        })
        .of_system(|s| s.decommission = Some(end_at(second(1), None)))
        .with_runtime(|r| {
            r.containers = vec![container("serve:v1"), container("serve:v1")];
            r.volumes = vec![json_as(&json!({ "name": "cache", "emptyDir": {} }))];
        })
        .with_decisions(&["1 alice risk Reject", "1 bob risk Revoke"]);
    assert_eq!(
        codes(&case.judge(second(10)).verdict),
        [
            "Prohibited",
            "Decommissioned",
            "Revoked",
            "Rejected",
            "ImageNotPinned",
            "VolumeForbidden",
            "DocumentMissing",
            "EvidenceMissing",
            "CertificationMissing",
            "AwaitingApproval"
        ]
    );
}

/// A source in a projected volume counts as a volume of the kind of the source, and as a projected volume.
#[test]
fn a_forbidden_kind_of_volume_is_found_in_a_projected_volume_too() {
    let volumes = [
        ("configMap", json!({ "configMap": { "name": "c" } })),
        ("secret", json!({ "secret": { "secretName": "s" } })),
        ("downwardAPI", json!({ "downwardAPI": {} })),
        ("configMap", json!({ "projected": { "sources": [{ "configMap": { "name": "c" } }] } })),
        (
            "secret",
            json!({ "projected": { "sources": [{ "serviceAccountToken": {} }, { "secret": { "name": "s" } }] } }),
        ),
        ("downwardAPI", json!({ "projected": { "sources": [{ "downwardAPI": {} }] } })),
        ("serviceAccountToken", json!({ "projected": { "sources": [{ "serviceAccountToken": {} }] } })),
        ("projected", json!({ "projected": { "sources": [{ "serviceAccountToken": {} }] } })),
    ];
    for (kind, mut volume) in volumes {
        volume["name"] = json!("v");
        let withheld = |forbidden: &str| {
            let case = cleared()
                .at_level(|l| l.forbidden_volumes = vec![json_as(&json!(forbidden))])
                .with_runtime(|r| r.volumes = vec![json_as(&volume)]);
            !case.is_cleared(second(0))
        };
        assert!(withheld(kind), "{kind} {volume}");
        assert!(!withheld("hostPath"), "{volume}");
    }
}

#[test]
fn an_image_is_pinned_only_by_a_complete_digest() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let images = [
        (format!("serve@{digest}"), true),
        (format!("registry.example:5000/a/serve:v1@{digest}"), true),
        ("serve".to_owned(), false),
        ("serve:v1".to_owned(), false),
        (format!("serve:{}", "0a".repeat(32)), false),
        (format!("@{digest}"), false),
        (digest.clone(), false),
        (format!("serve@{}", &digest[..70]), false),
        (format!("serve@{}", digest.to_uppercase()), false),
        (format!("serve@{digest}@{digest}"), false),
        (format!("serve@{digest} "), false),
        (String::new(), false),
    ];
    for (image, pinned) in images {
        let in_volume = Volume {
            name: "weights".into(),
            image: Some(ImageVolume { reference: image.as_str().into() }),
            ..Volume::default()
        };
        let places = [
            cleared().with_runtime(|r| r.containers = vec![container(&image)]),
            cleared().with_runtime(|r| r.init_containers = vec![container(&image)]),
            cleared().with_runtime(|r| r.volumes = vec![in_volume]),
        ];
        for case in places {
            assert_eq!(case.is_cleared(second(0)), pinned, "{image:?}");
            assert!(case.at_level(|l| l.images = ImagePolicy::Tag).is_cleared(second(0)), "{image:?}");
        }
    }
}

#[test]
fn a_decommissioned_system_stops_in_the_second_of_its_date() {
    for date in [second(5), half(11)] {
        let case = cleared().of_system(|s| s.decommission = Some(end_at(date, None)));
        let before = case.judge(just_before(second(5)));
        assert_eq!((before.verdict, before.not_after), (Verdict::Cleared, Some(second(5))));
        assert_eq!(codes(&case.judge(second(5)).verdict), ["Decommissioned"]);
    }
}

#[test]
fn a_certification_counts_until_its_latest_end() {
    let held = |ends: &[Option<i64>]| {
        let certification = |end: &Option<i64>| Certification {
            name: "ISO/IEC 42001".to_owned(),
            not_after: end.map(|end| Time(half(end))),
            ..Certification::default()
        };
        let certifications = ends.iter().map(certification).collect();
        cleared()
            .at_level(|l| l.certifications = vec!["ISO/IEC 42001".to_owned()])
            .of_system(|s| s.provider = Some(Provider { name: "Acme".to_owned(), certifications }))
    };
    let until = |ends: &[Option<i64>]| {
        let judged = held(ends).judge(second(1));
        (judged.verdict == Verdict::Cleared, judged.not_after)
    };
    assert_eq!(until(&[]), (false, None));
    assert_eq!(until(&[Some(2)]), (false, None), "it ends now");
    assert_eq!(until(&[Some(3)]), (false, None), "it ends within the current second");
    assert_eq!(until(&[Some(4)]), (true, Some(second(2))));
    assert_eq!(until(&[Some(5)]), (true, Some(second(2))), "the end is a whole second");
    assert_eq!(until(&[Some(4), Some(8)]), (true, Some(second(4))));
    assert_eq!(until(&[Some(4), None]), (true, None));
}

#[test]
fn required_documents_and_evidence_must_be_present() {
    type State = fn(&mut ModelVersionSpec, Artifact);
    let artifact = Artifact { name: "it".to_owned(), uri: None, digest: Digest::from_sha256([0; 32]) };
    let document = |type_: &str| Document { type_: type_.to_owned(), ..Document::default() };
    let wants_manual = || cleared().at_level(|l| l.documents = vec!["manual".to_owned()]);
    assert!(!wants_manual().of_system(|s| s.documentation = vec![document("Manual")]).is_cleared(second(0)));
    assert!(wants_manual().of_system(|s| s.documentation = vec![document("manual")]).is_cleared(second(0)));
    let stated: [(Evidence, State); 6] = [
        (Evidence::Data, |v, it| v.provenance.data = vec![it]),
        (Evidence::BaseModel, |v, it| v.provenance.base_model = Some(it)),
        (Evidence::Architecture, |v, it| v.provenance.architecture = Some(it.name)),
        (Evidence::Rationale, |v, it| v.provenance.rationale = Some(it.name)),
        (Evidence::Tests, |v, it| v.provenance.tests = vec![it]),
        (Evidence::Sbom, |v, it| v.provenance.sbom = Some(it)),
    ];
    for (wanted, _) in stated {
        for (given, state) in stated {
            let case = cleared().at_level(|l| l.evidence = vec![wanted]);
            let case = case.with_version(|v| state(v, artifact.clone()));
            assert_eq!(case.is_cleared(second(0)), wanted == given, "{wanted:?} by {given:?}");
        }
    }
}

/// The version is approved, expires, is approved again, revoked, approved again, and decommissioned.
#[test]
fn the_verdict_changes_over_the_life_of_a_version() {
    let case = cleared()
        .at_level(|l| {
            l.approvals = vec![RequiredApproval { role: "risk".to_owned(), count: 1 }];
            l.validity = Some(seconds_long(10));
        })
        .of_system(|s| s.decommission = Some(end_at(second(50), None)));
    let said = ["2 alice risk Approve", "14 alice risk Approve", "17 bob risk Revoke", "20 bob risk Approve"];
    let life: [(usize, i64, &[&str], Option<i64>); 7] = [
        (0, 0, &["AwaitingApproval"], Some(50)),
        (1, 2, &[], Some(12)),
        (1, 12, &["ApprovalExpired"], Some(50)),
        (2, 14, &[], Some(24)),
        (3, 17, &["Revoked", "AwaitingApproval"], Some(50)),
        (4, 20, &[], Some(30)),
        (4, 50, &["Decommissioned", "ApprovalExpired"], None),
    ];
    for (decisions, now, withheld, until) in life {
        let judged = case.clone().with_decisions(&said[..decisions]).judge(second(now));
        assert_eq!(codes(&judged.verdict), withheld, "at {now}");
        assert_eq!(judged.not_after, until.map(second), "at {now}");
    }
}

fn end_at(date: k8s_openapi::jiff::Timestamp, successor: Option<&str>) -> Decommission {
    let successor = successor.map(str::to_owned);
    Decommission { date: Time(date), reason: "replaced".to_owned(), successor }
}

fn container(image: &str) -> Container {
    Container { name: "serve".into(), image: image.into(), ..Container::default() }
}
