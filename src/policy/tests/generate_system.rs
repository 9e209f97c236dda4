//! Strategies of proptest for systems with documents, risks and hosted models, and for the requirements of a level for
//! these systems.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Duration;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::generate::{CERTIFICATIONS, DOCUMENTS, GROUPS, HORIZON, PEOPLE, half};
use crate::api::{
    AISystemSpec, Agreement, Certification, Decommission, Digest, Document, HostedModel, OverdueAction,
    Owner, OwnerKind, Provider, RequiredOfHostedModels, RequiredReview, RequiredRisks, ReviewDates, Risk,
    RiskRating, RiskTreatment,
};

const SUPPLIERS: [&str; 2] = ["OpenAI", "Mistral AI"];
const RATINGS: [RiskRating; 3] = [RiskRating::Low, RiskRating::Medium, RiskRating::High];

/// An end that is usually later than the time of the judgement.
fn any_end() -> impl Strategy<Value = Time> {
    (20..HORIZON).prop_map(|n| Time(half(n)))
}

pub fn any_system() -> BoxedStrategy<AISystemSpec> {
    let owner = prop_oneof![
        3 => select(&PEOPLE).prop_map(|name| (OwnerKind::User, name)),
        1 => select(&GROUPS).prop_map(|name| (OwnerKind::Group, name)),
    ]
    .prop_map(|(kind, name)| Owner { kind, name: name.to_owned() });
    let provider = option::weighted(0.8, any_provider("Acme"));
    let decommission = option::weighted(
        0.15,
        (0..HORIZON).prop_map(|n| Decommission {
            date: Time(half(n)),
            reason: "replaced".to_owned(),
            successor: (n % 3 == 0).then(|| "next".to_owned()),
        }),
    );
    let documentation = vec(any_document(), 0..=3);
    let suppliers = SUPPLIERS.map(|name| option::weighted(0.7, any_provider(name)));
    (vec(owner, 0..=1), provider, documentation, decommission, any_risks(), any_hosted_models(), suppliers)
        .prop_map(|(owners, provider, documentation, decommission, risks, hosted_models, suppliers)| {
            AISystemSpec {
                intended_purpose: "sorts letters".to_owned(),
                owners,
                risk_level: "high".to_owned(),
                jurisdictions: vec!["EU".to_owned()],
                depends_on: Vec::new(),
                provider,
                documentation,
                decommission,
                risks,
                hosted_models,
                suppliers: suppliers.into_iter().flatten().collect(),
            }
        })
        .boxed()
}

fn any_provider(name: &'static str) -> impl Strategy<Value = Provider> {
    let certification = (select(&CERTIFICATIONS), option::weighted(0.3, any_end()));
    let certification = certification.prop_map(|(name, not_after)| Certification {
        name: name.to_owned(),
        not_after,
        uri: None,
        digest: None,
        signature: None,
    });
    vec(certification, 1..=4).prop_map(|certifications| Provider { name: name.to_owned(), certifications })
}

fn any_document() -> impl Strategy<Value = Document> {
    (select(&DOCUMENTS), any_dates()).prop_map(|(type_, review)| Document { review, ..document(type_) })
}

pub fn document(type_: &str) -> Document {
    Document { type_: type_.to_owned(), uri: "https://example.org".to_owned(), ..Document::default() }
}

fn any_dates() -> impl Strategy<Value = ReviewDates> {
    let last = option::weighted(0.7, (0..HORIZON / 4).prop_map(|n| Time(half(n))));
    (last, option::weighted(0.5, any_end())).prop_map(|(last, next)| ReviewDates { last, next })
}

/// Adds the missing dates to all reviews, so that no review is overdue for lack of a date.
pub fn state_every_review(system: &mut AISystemSpec) {
    let documents = system.documentation.iter_mut().map(|document| &mut document.review);
    let risks = system.risks.iter_mut().map(|risk| &mut risk.review);
    for dates in documents.chain(risks) {
        dates.last.get_or_insert(Time(half(0)));
        dates.next.get_or_insert(Time(half(HORIZON)));
    }
}

fn any_risks() -> impl Strategy<Value = Vec<Risk>> {
    vec((select(&RATINGS), any_dates()), 0..=2).prop_map(|risks| {
        let risk = |(n, (residual, review))| Risk {
            name: format!("risk-{n}"),
            description: "It can be wrong.".to_owned(),
            treatment: RiskTreatment::Mitigate,
            measures: None,
            owner: "olga".to_owned(),
            residual,
            review,
        };
        risks.into_iter().enumerate().map(risk).collect()
    })
}

fn any_hosted_models() -> impl Strategy<Value = Vec<HostedModel>> {
    let agreement = Agreement { uri: "https://example.org".to_owned(), digest: Digest::from_sha256([3; 32]) };
    let model =
        (select(&SUPPLIERS), option::weighted(0.8, Just(agreement)), option::weighted(0.2, any_end()));
    vec(model, 0..=2).prop_map(|models| {
        let model = |(n, (provider, agreement, retires_at))| HostedModel {
            name: format!("model-{n}"),
            provider: String::from(provider),
            model: "large".to_owned(),
            version: None,
            region: None,
            endpoint: None,
            agreement,
            retires_at,
        };
        models.into_iter().enumerate().map(model).collect()
    })
}

/// The requirements of a level for risks, reviews of documents and hosted models. Few levels have such a requirement,
/// so that versions are often cleared.
pub fn any_requirements_of_systems()
-> BoxedStrategy<(Option<RequiredRisks>, Option<RequiredReview>, Option<RequiredOfHostedModels>)> {
    let risks = (option::of(select(&RATINGS)), option::of(any_required_review()))
        .prop_map(|(max_residual, review)| RequiredRisks { max_residual, review });
    let certifications = subsequence(CERTIFICATIONS.to_vec(), 0..=1);
    let hosted =
        (certifications, any::<bool>()).prop_map(|(certifications, agreement)| RequiredOfHostedModels {
            certifications: certifications.into_iter().map(str::to_owned).collect(),
            agreement,
        });
    (
        option::weighted(0.3, risks),
        option::weighted(0.3, any_required_review()),
        option::weighted(0.3, hosted),
    )
        .boxed()
}

fn any_required_review() -> impl Strategy<Value = RequiredReview> {
    let max_age = option::of(select(vec![4500_u64, 9000, 12_000]));
    let action = prop_oneof![2 => Just(OverdueAction::Withhold), 1 => Just(OverdueAction::Warn)];
    (max_age, action).prop_map(|(max_age, overdue)| RequiredReview {
        max_age: max_age.map(|ms| Duration::from(std::time::Duration::from_millis(ms))),
        overdue,
    })
}
