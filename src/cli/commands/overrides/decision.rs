//! Makes the `Approval` that grants or reviews an override, and finds the rules of the risk level for overrides.

use clap::ValueEnum;
use kube::{ResourceExt, api::ObjectMeta};

use crate::{
    api::{
        Approval, ApprovalSpec, Approver, Decision, Override, OverrideRules, RecordReference, ReviewOutcome,
        Waiver,
    },
    cli::{
        connect::system_record::SystemRecord,
        error::{Error, Next, Result},
    },
};

/// The fields of an Approval about an override that do not follow from the override.
pub struct Decided<'a> {
    pub role: &'a str,
    pub reason: Option<String>,
    pub outcome: Option<ReviewOutcome>,
    pub approver: Option<Approver>,
}

pub fn decision(
    record: &SystemRecord,
    about: &Override,
    decision: Decision,
    decided: Decided<'_>,
) -> Approval {
    let verb = if decision == Decision::Review { "review" } else { "override" };
    let spec = &about.spec;
    Approval {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-{verb}-", spec.model_version)),
            ..ObjectMeta::default()
        },
        spec: ApprovalSpec {
            system: record.name.clone(),
            model_version: spec.model_version.to_string(),
            subject_digest: spec.subject_digest.clone(),
            decision,
            role: decided.role.to_owned(),
            assessments: Vec::new(),
            incident: None,
            override_: Some(RecordReference {
                name: about.name_any().into(),
                digest: spec.digest(&record.namespace),
            }),
            outcome: decided.outcome,
            reason: decided.reason,
            not_after: None,
            approver: decided.approver,
            signature: None,
        },
        status: None,
    }
}

pub fn may_grant(rules: &OverrideRules) -> impl Iterator<Item = &str> {
    rules.roles.iter().map(|required| required.role.as_str())
}

/// The rules of the risk level for overrides. Fails if the level allows no override.
pub fn rules(record: &SystemRecord) -> Result<&OverrideRules> {
    record.override_rules().ok_or_else(|| {
        let level = record.system.as_ref().map_or("", |system| &*system.spec.risk_level);
        Error::Choose {
            question: format!("risk level {level} allows no override"),
            next: vec![Next::new(
                "kubectl explain risklevel.spec.overrides",
                "see how governance allows overrides",
            )],
        }
    })
}

/// The waiver as `TYPE/NAME`, such as `approval/risk-officer`.
pub fn in_words_of(waiver: &Waiver) -> String {
    let type_ = waiver.type_.to_possible_value();
    format!("{}/{}", type_.map(|type_| type_.get_name().to_owned()).unwrap_or_default(), waiver.name)
}

pub fn refused(why: &str) -> Error {
    Error::Choose { question: why.to_owned(), next: Vec::new() }
}
