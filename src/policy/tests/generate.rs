//! Strategies of proptest for [`Facts`]. The strategies use few people, roles and seconds, so that decisions often
//! interact.

use std::{borrow::Cow, time::Duration as StdDuration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::Duration;
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::json;

use super::{
    generate_system::{any_requirements_of_systems, any_system, document, state_every_review},
    runtime::json_as,
};
use crate::{
    api::{
        AISystemSpec, Approver, AssessmentKind, AssessmentResult, Comparator, Container, Decimal, Decision,
        Digest, Direction, Evidence, ImagePolicy, ImageVolume, Interval, ModelVersionSpec, Provenance,
        Relationship, RequiredApproval, RequiredAssessment, RiskLevelSpec, Runtime, Text, Volume, VolumeKind,
        Waiver, WaiverType,
    },
    policy::{
        ApprovalEffect, Attestation, Authors, Facts, MissedReview, MissingMonitor, MonitorGap, OverrideFacts,
        RecordedAssessment, RecordedDecision, SignedCertifications, UnmetCause, UnmetRequirement, Verdict,
        Waived, Waiving, judge,
    },
};

/// The number of the last half second at which a generated fact begins or ends.
pub const HORIZON: i64 = 50;

pub const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
pub const ROLES: [&str; 4] = ["ethics", "legal", "risk", "security"];
/// The name of the judged version.
pub const VERSION: &str = "v1";
/// The roles that a generated decision can have. No level requires the role `visitor`.
const ANY_ROLE: [&str; 5] = ["ethics", "legal", "risk", "security", "visitor"];
pub const GROUPS: [&str; 2] = ["board", "platform"];
pub const CERTIFICATIONS: [&str; 2] = ["ISO/IEC 27001", "ISO/IEC 42001"];
pub const DOCUMENTS: [&str; 2] = ["impact-assessment", "manual"];

/// The instant that is `n` half seconds after a fixed start.
pub fn half(n: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + n.div_euclid(2), if n.rem_euclid(2) == 1 { 500_000_000 } else { 0 })
        .expect("in range")
}

/// The instant that is `n` seconds after the fixed start that [`half`] uses.
pub fn second(n: i64) -> Timestamp {
    half(2 * n)
}

pub fn just_before(instant: Timestamp) -> Timestamp {
    instant - SignedDuration::from_nanos(1)
}

/// The owned form of `Facts`.
#[derive(Clone, Debug)]
pub struct Case {
    pub version: ModelVersionSpec,
    pub system: Option<AISystemSpec>,
    pub level: Option<RiskLevelSpec>,
    /// The user who created the version, and the user who last changed the system.
    pub authors: [Option<String>; 2],
    pub said: Vec<Said>,
    pub assessed: Vec<Assessed>,
    pub unmet: Vec<UnmetRequirement>,
    pub overrides: OverrideFacts,
    pub unmonitored: Vec<MissingMonitor>,
}

/// The owned form of `RecordedAssessment`.
#[derive(Clone, Debug)]
pub struct Assessed {
    pub name: String,
    pub kind: AssessmentKind,
    pub results: Vec<AssessmentResult>,
    pub relationship: Option<Relationship>,
    pub performed_at: Timestamp,
    pub signatures: Vec<Signed>,
}

/// The owned form of `Attestation`.
#[derive(Clone, Debug)]
pub struct Signed {
    pub approver: Approver,
    pub role: String,
    pub is_valid: bool,
}

/// The owned form of `RecordedDecision`.
#[derive(Clone, Debug)]
pub struct Said {
    pub name: String,
    pub version: String,
    pub approver: Approver,
    pub role: String,
    pub decision: Decision,
    pub reason: Option<String>,
    pub at: Timestamp,
    pub not_after: Option<Timestamp>,
}

/// The owned form of `Judgement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub verdict: Verdict,
    pub waived: Vec<Waived>,
    pub not_after: Option<Timestamp>,
    pub effects: Vec<(String, ApprovalEffect)>,
    pub revisit: Option<Timestamp>,
}

impl Case {
    pub fn facts(&self) -> Facts<'_> {
        let statements = self.said.iter().map(|said| RecordedDecision {
            name: &said.name,
            approver: Cow::Borrowed(&said.approver),
            version: &said.version,
            role: &said.role,
            decision: said.decision,
            reason: said.reason.as_deref(),
            at: said.at,
            not_after: said.not_after,
        });
        Facts {
            name: VERSION,
            version: &self.version,
            system: self.system.as_ref(),
            level: self.level.as_ref(),
            authors: Authors { version: self.authors[0].as_deref(), system: self.authors[1].as_deref() },
            statements: statements.collect(),
            assessments: self.assessed.iter().map(Assessed::recorded).collect(),
            unmet: self.unmet.clone(),
            certified: SignedCertifications::default(),
            holds: Vec::new(),
            overrides: self.overrides.clone(),
            unmonitored: self.unmonitored.clone(),
        }
    }

    pub fn judge(&self, now: Timestamp) -> Judged {
        let facts = self.facts();
        let judgement = judge(&facts, now);
        Judged {
            effects: judgement.effects.iter().map(|(name, s)| ((*name).to_owned(), *s)).collect(),
            verdict: judgement.verdict,
            waived: judgement.waived,
            not_after: judgement.not_after,
            revisit: judgement.revisit,
        }
    }

    pub fn is_cleared(&self, now: Timestamp) -> bool {
        self.judge(now).verdict == Verdict::Cleared
    }

    pub fn with_assessed(&self, assessed: Vec<Assessed>) -> Self {
        Self { assessed, ..self.clone() }
    }

    pub fn without(&self, index: usize) -> Self {
        let mut case = self.clone();
        case.said.remove(index);
        case
    }

    pub fn with(&self, said: Said) -> Self {
        let mut case = self.clone();
        case.said.push(said);
        case
    }
}

impl Assessed {
    fn recorded(&self) -> RecordedAssessment<'_> {
        let attestations = self.signatures.iter().map(|signed| Attestation {
            approver: Cow::Borrowed(&signed.approver),
            role: &signed.role,
            is_valid: signed.is_valid,
        });
        RecordedAssessment {
            name: &self.name,
            kind: self.kind,
            results: &self.results,
            relationship: self.relationship,
            performed_at: self.performed_at,
            attestations: attestations.collect(),
        }
    }
}

/// Cases with facts of every kind. Most versions are withheld for several reasons.
pub fn any_case() -> impl Strategy<Value = Case> {
    let maybe_missing = |percent| prop::bool::weighted(f64::from(percent) / 100.0);
    let (no_system, no_level) = (maybe_missing(5), maybe_missing(5));
    let missing = (no_system, no_level);
    (
        any_version(),
        any_system(),
        any_level(),
        any_authors(),
        any_statements(),
        any_assessed(),
        missing,
        any_unmet(),
        any_overrides(),
        any_unmonitored(),
    )
        .prop_map(
            |(version, system, level, authors, said, assessed, missing, unmet, overrides, unmonitored)| {
                let (no_system, no_level) = missing;
                Case {
                    overrides,
                    version,
                    system: (!no_system).then_some(system),
                    level: (!no_level).then_some(level),
                    authors,
                    said,
                    assessed,
                    unmet,
                    unmonitored,
                }
            },
        )
}

/// At most two overrides that waive any requirements, and sometimes a missed review.
fn any_overrides() -> impl Strategy<Value = OverrideFacts> {
    let names = |type_: WaiverType, names: &[&str]| -> Vec<Waiver> {
        names.iter().map(|name| Waiver { type_, name: (*name).into() }).collect()
    };
    let waivers = [
        names(WaiverType::Approval, &ROLES),
        names(WaiverType::Approval, &ROLES),
        names(WaiverType::Assessment, &["bar", "bar-0", "bar-1"]),
        names(WaiverType::Requirement, &["registry"]),
        names(WaiverType::Document, &DOCUMENTS),
        names(WaiverType::Evidence, &["Data", "Tests"]),
        names(WaiverType::Certification, &CERTIFICATIONS),
        names(WaiverType::SupplierCertification, &CERTIFICATIONS),
        names(WaiverType::HostedModel, &["model-0", "model-1"]),
        names(WaiverType::Risk, &["risk-0", "risk-1"]),
        names(WaiverType::Review, &["risk/risk-0", "document/manual"]),
        names(WaiverType::Monitor, &["fairness"]),
    ];
    let waiving = (subsequence(waivers.concat(), 1..=6), 0..HORIZON).prop_map(|(waives, end)| Waiving {
        name: String::new(),
        end: second(end / 2),
        waives,
    });
    let missed = (0..HORIZON).prop_map(|due| MissedReview { due: second(due / 2), name: "old".to_owned() });
    let missed = option::weighted(0.1, missed).prop_map(|missed| missed.into_iter().collect());
    (vec(waiving, 0..=2), missed).prop_map(|(mut waiving, missed)| {
        for (n, waiving) in waiving.iter_mut().enumerate() {
            waiving.name = format!("override-{n}");
        }
        OverrideFacts { waiving, missed }
    })
}

/// The expressions of the level that are invalid, fail, or are false. Most cases have none.
fn any_unmet() -> impl Strategy<Value = Vec<UnmetRequirement>> {
    let cause = select(vec![
        UnmetCause::False,
        UnmetCause::Failed("x".to_owned()),
        UnmetCause::Invalid("y".to_owned()),
    ]);
    let unmet = cause.prop_map(|cause| UnmetRequirement {
        name: "registry".to_owned(),
        message: "use our registry".to_owned(),
        cause,
    });
    option::weighted(0.1, unmet).prop_map(|unmet| unmet.into_iter().collect())
}

/// The required monitors that no monitor of the system satisfies. Most cases have none.
fn any_unmonitored() -> impl Strategy<Value = Vec<MissingMonitor>> {
    let gap = select(vec![MonitorGap::Absent, MonitorGap::NotMeasured { monitor: "drift".to_owned() }]);
    let missing = gap.prop_map(|gap| MissingMonitor {
        requirement: "fairness".to_owned(),
        metric: "spd".to_owned(),
        gap,
    });
    option::weighted(0.1, missing).prop_map(|missing| missing.into_iter().collect())
}

fn any_authors() -> impl Strategy<Value = [Option<String>; 2]> {
    let author = || option::weighted(0.3, select(&PEOPLE).prop_map(str::to_owned));
    [author(), author()]
}

/// Cases whose verdict usually depends only on decisions, results and the time: nothing is prohibited or unpinned, and
/// no document is missing. Most decisions are in a required role.
pub fn clearable_case() -> impl Strategy<Value = Case> {
    let level = any_level().prop_flat_map(|level| {
        let mut roles: Vec<_> = level.approvals.iter().map(|r| r.role.clone()).collect();
        roles.push(ROLES[0].to_owned());
        (Just(level), vec((any_statement(), select(roles)), 0..=12))
    });
    let overrides = option::weighted(0.5, any_overrides()).prop_map(Option::unwrap_or_default);
    (any_system(), any_authors(), level, any_assessed(), prop::bool::weighted(0.8), overrides).prop_map(
        |(mut system, authors, (mut level, said), mut assessed, meets_bar, overrides)| {
            assessed.extend(level.assessments.iter().filter(|_| meets_bar).map(good_assessment));
            system.documentation.extend(DOCUMENTS.map(document));
            state_every_review(&mut system);
            if meets_bar {
                (level.risks, level.hosted_models) = (
                    level.risks.filter(|risks| risks.max_residual.is_none() && !system.risks.is_empty()),
                    None,
                );
            }
            let held: Vec<_> =
                system.provider.iter().flat_map(|p| &p.certifications).map(|c| &c.name).collect();
            level.certifications.retain(|wanted| held.contains(&wanted));
            Case {
                version: ModelVersionSpec { system: "triage".to_owned(), ..ModelVersionSpec::default() },
                system: Some(system),
                level: Some(RiskLevelSpec { prohibited: false, evidence: Vec::new(), ..level }),
                authors,
                said: numbered(said.into_iter().map(|(said, role)| Said { role, ..said }).collect()),
                assessed,
                unmet: Vec::new(),
                overrides,
                unmonitored: Vec::new(),
            }
        },
    )
}

/// An instant before [`HORIZON`], on a half second.
pub fn any_now() -> impl Strategy<Value = Timestamp> {
    prop_oneof![2 => 0..HORIZON / 2, 1 => 0..HORIZON].prop_map(half)
}

pub fn any_statement() -> impl Strategy<Value = Said> {
    let decision =
        prop_oneof![6 => Just(Decision::Approve), 1 => Just(Decision::Reject), 1 => Just(Decision::Revoke)];
    let groups = subsequence(GROUPS.to_vec(), 0..=1);
    let reason = option::of(select(vec!["bias".to_owned(), "drift".to_owned()]));
    let not_after = option::weighted(0.3, (0..HORIZON).prop_map(half));
    let version = prop_oneof![3 => Just(VERSION), 1 => Just("v0")];
    (select(&PEOPLE), groups, select(&ANY_ROLE), decision, reason, 0..9_i64, not_after, version).prop_map(
        |(user, groups, role, decision, reason, at, not_after, version)| Said {
            name: "one-more".to_owned(),
            version: version.to_owned(),
            approver: Approver {
                user: user.to_owned(),
                uid: None,
                groups: groups.into_iter().map(str::to_owned).collect(),
            },
            role: role.to_owned(),
            decision,
            reason,
            at: second(at),
            not_after,
        },
    )
}

fn any_statements() -> impl Strategy<Value = Vec<Said>> {
    vec(any_statement(), 0..=12).prop_map(numbered)
}

fn numbered(mut said: Vec<Said>) -> Vec<Said> {
    for (n, said) in said.iter_mut().enumerate() {
        said.name = format!("approval-{n:02}");
    }
    said
}

/// Up to four required roles in any order, each with a count.
pub fn any_required() -> impl Strategy<Value = Vec<RequiredApproval>> {
    let roles = prop_oneof![2 => 0..=2_usize, 1 => 3..=4_usize]
        .prop_flat_map(|roles| subsequence(ROLES.to_vec(), roles).prop_shuffle());
    let count = prop_oneof![6 => Just(1_u32), 2 => Just(2), 1 => Just(3)];
    (roles, [count.clone(), count.clone(), count.clone(), count]).prop_map(|(roles, counts)| {
        let required = roles.into_iter().zip(counts);
        required.map(|(role, count)| RequiredApproval { role: role.to_owned(), count }).collect()
    })
}

fn any_level() -> impl Strategy<Value = RiskLevelSpec> {
    let validity = option::of(select(vec![4500_u64, 9000, 16_000]));
    let forbidden = prop_oneof![3 => Just(Vec::new()), 1 => vec(select(FORBIDDEN.to_vec()), 1)];
    let images = (select(vec![ImagePolicy::Digest, ImagePolicy::Tag]), forbidden);
    let owned = |words: [&'static str; 2]| {
        subsequence(words.to_vec(), 0..=1)
            .prop_map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    (
        any_required(),
        any::<bool>(),
        validity,
        prop::bool::weighted(0.05),
        images,
        owned(DOCUMENTS),
        subsequence(EVIDENCE.to_vec(), 0..=1),
        owned(CERTIFICATIONS),
        option::weighted(0.25, any_bar()),
        any_requirements_of_systems(),
    )
        .prop_map(
            |(
                approvals,
                separation_of_duties,
                validity,
                prohibited,
                (images, forbidden_volumes),
                documents,
                evidence,
                certifications,
                bar,
                (risks, document_review, hosted_models),
            )| {
                RiskLevelSpec {
                    approvals,
                    separation_of_duties,
                    validity: validity.map(|ms| Duration::from(std::time::Duration::from_millis(ms))),
                    prohibited,
                    images,
                    forbidden_volumes,
                    documents,
                    evidence,
                    certifications,
                    assessments: bar.into_iter().collect(),
                    risks,
                    document_review,
                    hosted_models,
                    ..RiskLevelSpec::default()
                }
            },
        )
}

const FORBIDDEN: [VolumeKind; 3] = [VolumeKind::Image, VolumeKind::HostPath, VolumeKind::Secret];

const METRICS: [&str; 2] = ["accuracy", "gap"];

fn decimal(tenths: u32) -> Decimal {
    format!("0.{tenths}").parse().expect("a decimal")
}

fn direction(metric: &str) -> Direction {
    if metric == "accuracy" { Direction::HigherIsBetter } else { Direction::LowerIsBetter }
}

fn any_kind() -> impl Strategy<Value = AssessmentKind> {
    prop_oneof![4 => Just(AssessmentKind::Fairness), 1 => Just(AssessmentKind::Performance)]
}

fn any_slice() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just("sex")]
}

/// A required assessment that about half of the generated results meet.
pub fn any_bar() -> impl Strategy<Value = RequiredAssessment> {
    let numbers = (3..=7_u32, 1..=60_u64, select(vec!["0", "0.1", "1"]), option::weighted(0.1, Just("0.9")));
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let age = select(vec![6500_u64, 12_000, 20_000]);
    (any_kind(), select(&METRICS), any_slice(), numbers, flags, age, select(&ROLES[..2])).prop_map(
        |(kind, metric, slice, (tenths, min_samples, rate, level), (independent, third_party), age, role)| {
            RequiredAssessment {
                name: "bar".to_owned(),
                kind,
                metric: metric.to_owned(),
                slice: slice.to_owned(),
                comparator: if metric == "gap" { Comparator::AtMost } else { Comparator::AtLeast },
                threshold: decimal(tenths),
                confidence_level: level.map(|level| level.parse().expect("a decimal")),
                min_samples,
                max_error_rate: rate.parse().expect("a decimal"),
                max_age: Duration::from(StdDuration::from_millis(age)),
                role: role.to_owned(),
                independent,
                third_party,
            }
        },
    )
}

fn any_result() -> impl Strategy<Value = AssessmentResult> {
    let interval = option::weighted(0.3, (0..=9_u32, 0..=9_u32, select(vec!["0.8", "0.95"])));
    let agrees = prop::bool::weighted(0.9);
    (select(&METRICS), 0..=9_u32, agrees, any_slice(), (0..=100_u64, 0..=3_u64), interval).prop_map(
        |(metric, tenths, agrees, slice, (samples, errors), interval)| AssessmentResult {
            metric: metric.into(),
            value: decimal(tenths),
            direction: if agrees { direction(metric) } else { Direction::HigherIsBetter },
            slice: slice.into(),
            samples,
            errors,
            interval: interval.map(|(a, b, level)| {
                let level = level.parse().expect("a decimal");
                Box::new(Interval { lower: decimal(a.min(b)), upper: decimal(a.max(b)), level })
            }),
        },
    )
}

pub fn any_assessment() -> impl Strategy<Value = Assessed> {
    let groups = subsequence(GROUPS.to_vec(), 0..=1);
    let signed = (select(&PEOPLE), groups, select(&ROLES[..2]), prop::bool::weighted(0.9));
    let signed = signed.prop_map(|(user, groups, role, is_valid)| Signed {
        approver: Approver {
            user: user.to_owned(),
            uid: None,
            groups: groups.into_iter().map(str::to_owned).collect(),
        },
        role: role.to_owned(),
        is_valid,
    });
    let relationship = option::of(select(vec![Relationship::FirstParty, Relationship::ThirdParty]));
    (any_kind(), vec(any_result(), 1..=3), relationship, 0..9_i64, vec(signed, 0..=2)).prop_map(
        |(kind, mut results, relationship, at, signatures)| {
            // The API server refuses a second result with the same metric and slice.
            let mut seen = Vec::new();
            results.retain(|r| {
                let key = (r.metric.clone(), r.slice.clone());
                let is_new = !seen.contains(&key);
                seen.push(key);
                is_new
            });
            let name = "one-more".to_owned();
            Assessed { name, kind, results, relationship, performed_at: half(at), signatures }
        },
    )
}

/// An assessment that meets `bar`. It is newer than all generated assessments.
fn good_assessment(bar: &RequiredAssessment) -> Assessed {
    let level = "0.99".parse().expect("a decimal");
    let result = AssessmentResult {
        metric: bar.metric.as_str().into(),
        value: bar.threshold,
        direction: bar.comparator.direction(),
        slice: bar.slice.as_str().into(),
        samples: 100,
        errors: 0,
        interval: Some(Box::new(Interval { lower: bar.threshold, upper: bar.threshold, level })),
    };
    let approver = Approver { user: PEOPLE[0].to_owned(), ..Approver::default() };
    Assessed {
        name: "good".to_owned(),
        kind: bar.kind,
        results: vec![result],
        relationship: Some(Relationship::ThirdParty),
        performed_at: half(9),
        signatures: vec![Signed { approver, role: bar.role.clone(), is_valid: true }],
    }
}

fn any_assessed() -> impl Strategy<Value = Vec<Assessed>> {
    vec(any_assessment(), 0..=6).prop_map(|mut assessed| {
        for (n, assessed) in assessed.iter_mut().enumerate() {
            assessed.name = format!("assessment-{n}");
        }
        assessed
    })
}

fn any_version() -> impl Strategy<Value = ModelVersionSpec> {
    let image = || {
        let pinned = Text::from(format!("registry.example/serve@sha256:{}", "0a".repeat(32)));
        prop_oneof![6 => Just(pinned), 1 => Just("serve:v1".into()), 1 => Just("serve@sha256:beef".into())]
    };
    let container =
        || image().prop_map(|image| Container { name: "serve".into(), image, ..Container::default() });
    let image_volume = option::of(image()).prop_map(|reference| Volume {
        name: "weights".into(),
        image: reference.map(|reference| ImageVolume { reference }),
        ..Volume::default()
    });
    let other = select(vec![
        json!({ "name": "weights", "hostPath": { "path": "/models" } }),
        json!({ "name": "weights", "projected": { "sources": [{ "secret": { "name": "s" } }] } }),
    ]);
    let volume = prop_oneof![3 => image_volume, 1 => other.prop_map(|volume| json_as(&volume))];
    let stated = btree_set(0..EVIDENCE.len(), 0..=EVIDENCE.len());
    (vec(container(), 1..=2), vec(container(), 0..=1), vec(volume, 0..=1), stated).prop_map(
        |(containers, init_containers, volumes, stated)| {
            let artifact = || crate::api::Artifact {
                name: "it".to_owned(),
                uri: None,
                digest: Digest::from_sha256([7; 32]),
            };
            let has = |evidence| stated.iter().any(|n| EVIDENCE[*n] == evidence);
            ModelVersionSpec {
                system: "triage".to_owned(),
                runtime: Runtime { containers, init_containers, volumes, ..Runtime::default() }.into(),
                provenance: Provenance {
                    data: has(Evidence::Data).then(artifact).into_iter().collect(),
                    base_model: has(Evidence::BaseModel).then(artifact),
                    architecture: has(Evidence::Architecture).then(|| "transformer".to_owned()),
                    rationale: has(Evidence::Rationale).then(|| "less bias".to_owned()),
                    tests: has(Evidence::Tests).then(artifact).into_iter().collect(),
                    sbom: has(Evidence::Sbom).then(artifact),
                },
            }
        },
    )
}

const EVIDENCE: [Evidence; 6] = [
    Evidence::Data,
    Evidence::BaseModel,
    Evidence::Architecture,
    Evidence::Rationale,
    Evidence::Tests,
    Evidence::Sbom,
];
