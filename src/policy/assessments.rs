//! Selects the result that decides about each requirement of a risk level.
//!
//! ```text
//!  Assessment (results) ──────┐
//!  Approval (Attest) ─────────┼─► newest signed result ──► Finding
//!  RiskLevel (requirement) ───┘
//! ```
//!
//! A [`Finding`] contains the newest signed result, and the effect of this result at a given time. Only signed results
//! count. The newest signed result decides, so an older good result does not hide a newer bad result. A bad result
//! stays in effect until a person signs a newer result.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use k8s_openapi::jiff::Timestamp;

use super::{
    Attestation, Attestations, CitedResult, Comparison, Measured, Reason, ResultEffect,
    effect::{Authors, is_involved, whole_seconds},
    result_effect::{Validity, effect, end},
};
use crate::api::{
    Approver, AssessmentKind, AssessmentResult, AssessmentSpec, Digest, Owner, Relationship,
    RequiredAssessment,
};

/// A recorded assessment of the content of the judged version.
#[derive(Clone, Debug)]
pub struct RecordedAssessment<'a> {
    /// The name of the `Assessment`.
    pub name: &'a str,
    /// The property that the assessment examines, such as fairness or security.
    pub kind: AssessmentKind,
    /// The results, each with its metric, slice and value.
    pub results: &'a [AssessmentResult],
    /// The relation of the assessor to the provider, if the assessment states this relation.
    pub relationship: Option<Relationship>,
    /// The time at which the assessment was performed. If the API server recorded the assessment earlier, the time of
    /// this record.
    pub performed_at: Timestamp,
    /// The signatures of the assessment.
    pub attestations: Vec<Attestation<'a>>,
}

impl<'a> RecordedAssessment<'a> {
    /// The assessment `name`, which the API server recorded at `recorded_at`. `digest` is the digest of `spec`.
    pub fn new(
        name: &'a str,
        spec: &'a AssessmentSpec,
        digest: &Digest,
        recorded_at: Timestamp,
        attestations: &Attestations<'a>,
    ) -> Self {
        Self {
            // The admission policies refuse an `Assessment` whose `performedAt` is later than its creation. Even if the
            // policies are missing, a time in the future must not make a result newer.
            performed_at: spec.performed_at.0.min(recorded_at),
            attestations: attestations.of(name, digest, spec),
            ..Self::unsigned(name, spec)
        }
    }

    fn unsigned(name: &'a str, spec: &'a AssessmentSpec) -> Self {
        Self {
            name,
            kind: spec.kind,
            results: &spec.results,
            relationship: spec.relationship,
            performed_at: spec.performed_at.0,
            attestations: Vec::new(),
        }
    }

    fn measured(&self, result: &'a AssessmentResult) -> Measured<'a> {
        let performed_at = whole_seconds(self.performed_at);
        Measured { assessment: self.name, result, performed_at, signer: None }
    }
}

/// The state of one requirement of the level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// The requirement of the level.
    pub required: &'a RequiredAssessment,
    /// The newest result that a person signed in the required role, and its effect. `None` if there is no such result.
    pub decided: Option<(Measured<'a>, ResultEffect)>,
    /// A result that nobody signed in the required role and that is at least as new as the result in `decided`. Of
    /// several such results, the newest result that would not meet the requirement, or else the newest result.
    pub unsigned: Option<Measured<'a>>,
}

impl Finding<'_> {
    /// The reason why the requirement withholds the version. `None` if the requirement is met.
    pub fn reason(&self) -> Option<Reason> {
        let requirement = self.required.name.clone();
        let role = self.required.role.clone();
        let Some((measured, effect)) = &self.decided else {
            return Some(Reason::AssessmentMissing {
                requirement,
                measure: self.required.measure(),
                role,
                unsigned: self.unsigned.as_ref().map(|measured| measured.assessment.to_owned()),
            });
        };
        let result = CitedResult {
            assessment: measured.assessment.to_owned(),
            measure: self.required.measure(),
            value: measured.compared(self.required),
            signer: measured.signer.clone().unwrap_or_default(),
        };
        let (comparator, threshold) = (self.required.comparator, self.required.threshold);
        let needed = Comparison { comparator, threshold };
        match *effect {
            ResultEffect::Met => None,
            ResultEffect::Failed => Some(Reason::AssessmentFailed { requirement, result, needed }),
            ResultEffect::Inconclusive(cause) => {
                Some(Reason::AssessmentInconclusive { requirement, result, cause })
            }
            ResultEffect::Expired(since) => {
                Some(Reason::AssessmentExpired { requirement, result, since, role })
            }
        }
    }

    /// The time at which the result in `decided` gets too old. `None` if the requirement is not met now.
    pub fn end(&self) -> Option<Timestamp> {
        let (measured, effect) = self.decided.as_ref()?;
        (*effect == ResultEffect::Met).then(|| end(measured, self.required))
    }

    /// The effect at `now` that the result in `unsigned` would have if a person signed the result. `None` without such
    /// a result.
    pub fn effect_if_signed(&self, now: Timestamp) -> Option<ResultEffect> {
        self.unsigned.as_ref().map(|measured| effect(measured, self.required, Validity::Valid, now))
    }
}

/// A requirement, the result that decides about the requirement, and an unsigned result. The selection of the two
/// results does not depend on the present time. So [`Selected::at`] can compute a finding for any time.
#[derive(Clone, Debug)]
pub struct Selected<'a> {
    required: &'a RequiredAssessment,
    decided: Option<(Measured<'a>, Validity)>,
    unsigned: Option<Measured<'a>>,
}

impl<'a> Selected<'a> {
    /// The state of the requirement at `now`.
    pub fn at(&self, now: Timestamp) -> Finding<'a> {
        let at_now =
            |(m, validity): &(Measured<'a>, _)| (m.clone(), effect(m, self.required, *validity, now));
        Finding {
            required: self.required,
            decided: self.decided.as_ref().map(at_now),
            unsigned: self.unsigned.clone(),
        }
    }
}

/// Selects the result that decides about each requirement. Returns one item for each requirement, in the order of
/// `required`.
pub fn select<'a>(
    required: &'a [RequiredAssessment],
    assessments: &[RecordedAssessment<'a>],
    owners: &[Owner],
    authors: Authors<'_>,
) -> Vec<Selected<'a>> {
    let is_involved = |approver: &Approver| is_involved(owners, authors, approver);
    required.iter().map(|required| select_one(required, assessments, &is_involved)).collect()
}

fn select_one<'a>(
    required: &'a RequiredAssessment,
    assessments: &[RecordedAssessment<'a>],
    is_involved: &dyn Fn(&Approver) -> bool,
) -> Selected<'a> {
    let validity = |a: &Attestation<'_>| match a.is_valid {
        false => Validity::KeyRemoved,
        true if required.independent && is_involved(&a.approver) => Validity::Involved,
        true => Validity::Valid,
    };
    let mut decided: Option<(Measured<'a>, Validity)> = None;
    let mut unsigned = Vec::new();
    for assessment in assessments {
        let Some(result) = result_for(required, assessment) else { continue };
        let in_role = assessment.attestations.iter().filter(|a| a.role == required.role);
        let best = in_role.max_by_key(|a| (validity(a), Reverse(&a.approver.user)));
        let mut measured = assessment.measured(result);
        let Some(signature) = best else {
            unsigned.push(measured);
            continue;
        };
        measured.signer = Some(signature.approver.user.clone());
        let candidate = (measured, validity(signature));
        // Of several results from the same second, the worst result decides. Of equally bad results, the result of the
        // assessment with the alphabetically first name decides. The rank ignores whether a result is too old, because
        // results from the same second get too old at the same time.
        let rank = |(m, validity): &(Measured<'a>, Validity)| {
            let effect = effect(m, required, *validity, Timestamp::MIN);
            (m.performed_at, effect.severity(), Reverse(m.assessment))
        };
        if decided.as_ref().is_none_or(|decided| rank(decided) < rank(&candidate)) {
            decided = Some(candidate);
        }
    }
    let is_newer = |m: &Measured<'_>| decided.as_ref().is_none_or(|(d, _)| d.performed_at <= m.performed_at);
    let fails = |m: &Measured<'_>| effect(m, required, Validity::Valid, Timestamp::MIN) != ResultEffect::Met;
    // A newer unsigned result that is good must not hide an older unsigned result that is bad.
    let unsigned =
        unsigned.into_iter().filter(is_newer).max_by_key(|m| (fails(m), m.performed_at, m.assessment));
    Selected { required, decided, unsigned }
}

/// The effect that `result` would have on `required` at `now`, if a person signed the assessment `spec`. `None` if
/// `required` does not concern `result`.
pub fn effect_if_signed(
    required: &RequiredAssessment,
    spec: &AssessmentSpec,
    result: &AssessmentResult,
    now: Timestamp,
) -> Option<ResultEffect> {
    let assessment = RecordedAssessment::unsigned("", spec);
    let concerned = result_for(required, &assessment)?;
    (concerned == result).then(|| effect(&assessment.measured(result), required, Validity::Valid, now))
}

/// The effect of an assessment on the requirements of a level, from the least to the most important.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssessmentEffect {
    /// No requirement concerns a result of the assessment.
    NotRequired,
    /// No result of the assessment decides about a requirement. In at least one required role, no person signed the
    /// assessment.
    Unsigned {
        /// The required roles in which no person signed the assessment.
        roles: BTreeSet<String>,
        /// The requirements in these roles that the assessment would not meet if a person signed the assessment.
        failing: BTreeSet<String>,
    },
    /// Another signed result decides about each requirement that the assessment concerns.
    Superseded,
    /// A result of the assessment decides about these requirements.
    Counted(BTreeSet<String>),
}

/// The effect of each assessment at `now`, by the name of the assessment. `findings` must be the findings for these
/// assessments at `now`.
pub fn effects<'a>(
    assessments: &[RecordedAssessment<'a>],
    findings: &[Finding<'_>],
    now: Timestamp,
) -> BTreeMap<&'a str, AssessmentEffect> {
    let effect = |assessment: &RecordedAssessment<'a>| {
        let asking = || findings.iter().filter(|f| result_for(f.required, assessment).is_some());
        let is_decided_here =
            |f: &&Finding<'_>| f.decided.as_ref().is_some_and(|(m, _)| m.assessment == assessment.name);
        let names = |findings: Vec<&Finding<'_>>| findings.iter().map(|f| f.required.name.clone()).collect();
        let decided: Vec<_> = asking().filter(is_decided_here).collect();
        if !decided.is_empty() {
            return AssessmentEffect::Counted(names(decided));
        }
        if asking().next().is_none() {
            return AssessmentEffect::NotRequired;
        }
        let is_signed = |f: &&Finding<'_>| assessment.attestations.iter().any(|a| a.role == f.required.role);
        let unsigned: Vec<_> = asking().filter(|f| !is_signed(f)).collect();
        if unsigned.is_empty() {
            return AssessmentEffect::Superseded;
        }
        let fails = |f: &Finding<'_>| {
            let measured = result_for(f.required, assessment).map(|result| assessment.measured(result));
            measured.is_some_and(|m| effect(&m, f.required, Validity::Valid, now) != ResultEffect::Met)
        };
        AssessmentEffect::Unsigned {
            roles: unsigned.iter().map(|f| f.required.role.clone()).collect(),
            failing: names(unsigned.into_iter().filter(|f| fails(f)).collect()),
        }
    };
    assessments.iter().map(|assessment| (assessment.name, effect(assessment))).collect()
}

fn result_for<'a>(
    required: &RequiredAssessment,
    assessment: &RecordedAssessment<'a>,
) -> Option<&'a AssessmentResult> {
    let is_right = assessment.kind == required.kind
        && (!required.third_party || assessment.relationship == Some(Relationship::ThirdParty));
    let of =
        |result: &&AssessmentResult| result.metric == *required.metric && result.slice == *required.slice;
    assessment.results.iter().filter(|_| is_right).find(of)
}
