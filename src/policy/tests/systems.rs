//! Tests the rules about risks, reviews and hosted models with examples.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{
    cases::{cleared, codes, seconds_long},
    generate::second,
};
use crate::{
    api::{
        AISystemSpec, Document, HostedModel, OverdueAction, RequiredOfHostedModels, RequiredReview,
        RequiredRisks, ReviewDates, Risk, RiskRating, Runtime,
    },
    policy::{OverdueReview, Reason, Reviewed, Verdict},
};

pub(super) fn hosted() -> HostedModel {
    serde_json::from_value(json!({ "name": "summaries", "provider": "OpenAI", "model": "gpt-5" }))
        .expect("a hosted model")
}

pub(super) fn risk_of(residual: RiskRating) -> Risk {
    serde_json::from_value(json!({ "name": "bias", "description": "It treats groups differently.",
        "treatment": "Mitigate", "owner": "olga", "residual": residual }))
    .expect("a risk")
}

#[test]
fn every_reason_about_a_system_carries_its_details() {
    let cases = [
        (
            cleared().of_system(|s| {
                s.hosted_models = vec![HostedModel { retires_at: Some(Time(second(5))), ..hosted() }];
            }),
            Reason::HostedModelRetired { model: "summaries".to_owned(), since: second(5) },
        ),
        (
            cleared()
                .at_level(|l| {
                    l.hosted_models = Some(RequiredOfHostedModels { agreement: true, ..Default::default() });
                })
                .of_system(|s| s.hosted_models = vec![hosted()]),
            Reason::AgreementMissing { model: "summaries".to_owned() },
        ),
        (
            cleared()
                .at_level(|l| {
                    let certifications = vec!["ISO/IEC 42001".to_owned()];
                    l.hosted_models = Some(RequiredOfHostedModels { certifications, ..Default::default() });
                })
                .of_system(|s| s.hosted_models = vec![hosted()]),
            Reason::CertificationMissing {
                certification: "ISO/IEC 42001".to_owned(),
                supplier: Some("OpenAI".to_owned()),
                role: None,
            },
        ),
        (cleared().at_level(|l| l.risks = Some(RequiredRisks::default())), Reason::RiskMissing),
        (
            cleared()
                .at_level(|l| {
                    l.risks = Some(RequiredRisks { max_residual: Some(RiskRating::Low), review: None });
                })
                .of_system(|s| s.risks = vec![risk_of(RiskRating::Medium)]),
            Reason::RiskTooHigh {
                risk: "bias".to_owned(),
                residual: RiskRating::Medium,
                accepted: RiskRating::Low,
            },
        ),
        (
            cleared()
                .at_level(|l| {
                    l.documents = vec!["manual".to_owned()];
                    l.document_review = Some(RequiredReview::default());
                })
                .of_system(|s| {
                    let review = ReviewDates { last: None, next: Some(Time(second(3))) };
                    s.documentation =
                        vec![Document { type_: "manual".to_owned(), review, ..Document::default() }];
                }),
            Reason::ReviewOverdue(OverdueReview {
                of: Reviewed::Document("manual".to_owned()),
                since: Some(second(3)),
            }),
        ),
    ];
    for (case, reason) in cases {
        assert_eq!(case.judge(second(10)).verdict, Verdict::Withheld(vec![reason]));
    }
}

#[test]
fn a_review_is_overdue_at_its_date_or_at_the_maximum_age() {
    let due = |max_age: Option<u64>, last: Option<i64>, next: Option<i64>| {
        let review =
            Some(RequiredReview { max_age: max_age.map(seconds_long), overdue: OverdueAction::Withhold });
        let dates = ReviewDates { last: last.map(|n| Time(second(n))), next: next.map(|n| Time(second(n))) };
        let judged = cleared()
            .at_level(|l| l.risks = Some(RequiredRisks { max_residual: None, review }))
            .of_system(|s| s.risks = vec![Risk { review: dates, ..risk_of(RiskRating::Critical) }])
            .judge(second(3));
        (judged.verdict == Verdict::Cleared, judged.not_after)
    };
    assert_eq!(due(None, None, Some(7)), (true, Some(second(7))));
    assert_eq!(due(None, Some(2), None), (false, None), "there is no date of the next review");
    assert_eq!(due(Some(4), None, Some(7)), (false, None), "the age is not known");
    assert_eq!(due(Some(4), Some(1), None), (true, Some(second(5))));
    assert_eq!(due(Some(4), Some(1), Some(4)), (true, Some(second(4))), "the earlier end counts");
    assert_eq!(
        due(Some(4), Some(1), Some(40)),
        (true, Some(second(5))),
        "a late date does not extend the age"
    );
    assert_eq!(due(None, None, Some(3)), (false, None), "the review is due now");
}

#[test]
fn an_overdue_review_withholds_only_if_the_level_says_so() {
    let case = |overdue| {
        let rule = RequiredReview { max_age: None, overdue };
        cleared()
            .at_level(|l| l.risks = Some(RequiredRisks { max_residual: None, review: Some(rule) }))
            .of_system(|s| s.risks = vec![risk_of(RiskRating::Low)])
    };
    assert!(!case(OverdueAction::Withhold).is_cleared(second(0)));
    assert!(case(OverdueAction::Warn).is_cleared(second(0)));
}

#[test]
fn a_current_document_of_the_same_type_does_not_hide_an_overdue_one() {
    let document = |next| Document {
        type_: "manual".to_owned(),
        review: ReviewDates { last: None, next: Some(Time(second(next))) },
        ..Document::default()
    };
    let case = cleared()
        .at_level(|l| {
            l.documents = vec!["manual".to_owned()];
            l.document_review = Some(RequiredReview::default());
        })
        .of_system(|s| s.documentation = vec![document(90), document(2)]);
    assert_eq!(codes(&case.judge(second(3)).verdict), ["ReviewOverdue"]);
}

#[test]
fn known_providers_in_a_runtime_must_be_stated() {
    let undeclared = |container: Value, models: Value| {
        let container = serde_json::from_value(container).expect("a container");
        let system = AISystemSpec {
            hosted_models: serde_json::from_value(models).expect("hosted models"),
            ..AISystemSpec::default()
        };
        let runtime = Runtime { containers: vec![container], ..Runtime::default() };
        let found = crate::policy::undeclared(&runtime, &system);
        found.into_iter().map(|(provider, sign)| format!("{provider}: {sign}")).collect::<Vec<_>>()
    };
    let named =
        |env: Value, args: Value| json!({ "name": "app", "image": "app:1", "env": env, "args": args });
    let key = || named(json!([{ "name": "OPENAI_API_KEY", "value": "secret" }]), json!([]));
    let stated = json!([{ "name": "chat", "provider": "OpenAI Ireland Ltd", "model": "gpt-5" }]);
    assert_eq!(undeclared(key(), json!([])), ["OpenAI: container app: variable OPENAI_API_KEY"]);
    assert_eq!(undeclared(key(), stated), [""; 0]);
    let address = |url: &str| named(json!([]), json!([format!("--base-url={url}")]));
    let azure = address("https://Acme.OpenAI.Azure.com/v1");
    assert_eq!(
        undeclared(azure, json!([])),
        ["Microsoft Azure: container app: address acme.openai.azure.com"]
    );
    for other in
        ["https://api.openai.com.evil.example", "https://notapi.openai.company", "http://vllm:8000/v1"]
    {
        assert_eq!(undeclared(address(other), json!([])), [""; 0], "{other}");
    }
    let by_endpoint = json!([{ "name": "chat", "provider": "A reseller", "model": "m", "endpoint": "https://api.mistral.ai/v1" }]);
    assert_eq!(undeclared(address("https://api.mistral.ai/v1"), by_endpoint), [""; 0]);
}
