//! Tests of the signed digest: changes of a version or a system that change the digest, and changes that do not.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    generate::second,
    runtime::{any_runtime, full_runtime, variants},
};
use crate::{
    api::{
        AISystemSpec, Artifact, Certification, Decommission, Digest, Document, ModelVersionSpec,
        OverdueAction, Owner, OwnerKind, Provenance, Provider, RequiredReview, RequiredRisks, RiskLevelSpec,
    },
    policy::Subject,
};

fn digest(namespace: &str, system: &AISystemSpec, version: &ModelVersionSpec) -> Digest {
    Subject::new(namespace, system, None, version).digest()
}

fn system() -> AISystemSpec {
    AISystemSpec {
        intended_purpose: "sorts letters".to_owned(),
        risk_level: "high".to_owned(),
        jurisdictions: vec!["DE".to_owned(), "EU".to_owned()],
        ..AISystemSpec::default()
    }
}

fn version() -> ModelVersionSpec {
    let artifact = |name: &str, byte| Artifact {
        name: name.to_owned(),
        uri: Some(format!("https://example.org/{name}")),
        digest: Digest::from_sha256([byte; 32]),
    };
    ModelVersionSpec {
        system: "triage".to_owned(),
        runtime: full_runtime().into(),
        provenance: Provenance {
            data: vec![artifact("letters", 1), artifact("answers", 2)],
            base_model: Some(artifact("base", 3)),
            architecture: Some("transformer".to_owned()),
            rationale: Some("less bias".to_owned()),
            tests: vec![artifact("bias", 4)],
            sbom: Some(artifact("sbom", 5)),
        },
    }
}

/// The expected digest comes from Python: `json.dumps(subject, ensure_ascii=False, sort_keys=True,
/// separators=(",", ":"))` and `hashlib.sha256`. If all keys are ASCII, this JSON is canonical (RFC 8785).
#[test]
fn the_digest_equals_that_of_another_implementation() {
    let system: AISystemSpec = serde_json::from_str(
        r#"{
            "intendedPurpose": "Sorts letters — \"urgent\" first\n€ 😀 \u0007\u007f\u2028 \\",
            "owners": [{ "name": "alice" }],
            "riskLevel": "high",
            "jurisdictions": ["EU", "Ö", "DE"]
        }"#,
    )
    .expect("a system");
    let version: ModelVersionSpec = serde_json::from_str(
        r#"{
            "system": "triage",
            "runtime": {
                "containers": [{
                    "name": "serve",
                    "image": "registry.example/serve@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
                    "args": ["--temperature=0.10", "1e21", ""],
                    "env": [{ "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
                    "volumeMounts": [{ "name": "weights", "mountPath": "/models", "readOnly": true }],
                    "exec": { "preStop": ["drain"] },
                    "mayVary": { "env": ["TOKEN", "LOG_LEVEL"] }
                }],
                "volumes": [{ "name": "weights", "image": { "reference": "weights:v1" } }]
            },
            "provenance": {
                "data": [{
                    "name": "letters",
                    "digest": "sha256:1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b"
                }],
                "rationale": "less bias"
            }
        }"#,
    )
    .expect("a version");
    assert_eq!(
        digest("clinic", &system, &version).to_string(),
        "sha256:1f10296cb6f4e37c339b88c090faddc3a80ec02988da4addff2278cbc6f0d1fe"
    );
}

#[test]
fn the_format_of_the_json_does_not_change_the_digest() {
    let written = [
        r#"{"system":"triage","runtime":{"containers":[{"name":"serve","image":"a:1","args":["x"]}]}}"#,
        r#"{ "runtime" : { "volumes": [], "containers": [
              { "args": ["\u0078"], "image": "a:1", "env": [], "name": "serve" } ] },
             "provenance": {}, "system": "triage" }"#,
    ];
    let [a, b] = written.map(|json| {
        let version: ModelVersionSpec = serde_json::from_str(json).expect("a version");
        digest("clinic", &system(), &version)
    });
    assert_eq!(a, b);
}

#[test]
fn required_documents_are_part_of_the_digest() {
    let version = version();
    let with = |documents: &[(&str, &str, Option<u8>)]| {
        let documentation = documents.iter().map(|(type_, uri, byte)| Document {
            type_: (*type_).to_owned(),
            uri: (*uri).to_owned(),
            digest: byte.map(|byte| Digest::from_sha256([byte; 32])),
            ..Document::default()
        });
        AISystemSpec { documentation: documentation.collect(), ..system() }
    };
    let requires = |documents: &[&str]| RiskLevelSpec {
        documents: documents.iter().map(|&document| document.to_owned()).collect(),
        ..RiskLevelSpec::default()
    };
    let of = |system: &AISystemSpec, level: &RiskLevelSpec| {
        Subject::new("clinic", system, Some(level), &version).digests()
    };
    let (before, level) =
        (with(&[("impact", "a", Some(1)), ("manual", "m", Some(2))]), requires(&["impact"]));
    let signed = of(&before, &level);
    let plain = digest("clinic", &before, &version);
    assert_eq!(
        of(&before, &requires(&[])).signed,
        plain,
        "a level without required documents does not change the digest"
    );
    assert_eq!(signed.without_documents, Some(plain));
    for (what, system, same) in [
        ("another impact assessment", with(&[("impact", "a", Some(9)), ("manual", "m", Some(2))]), false),
        (
            "the same assessment at another URI",
            with(&[("impact", "b", Some(1)), ("manual", "m", Some(2))]),
            true,
        ),
        (
            "another manual, which is not required",
            with(&[("impact", "a", Some(1)), ("manual", "m", Some(9))]),
            true,
        ),
        ("in another order", with(&[("manual", "m", Some(2)), ("impact", "a", Some(1))]), true),
        ("no impact assessment", with(&[("manual", "m", Some(2))]), false),
        (
            "an impact assessment without a digest",
            with(&[("impact", "a", None), ("manual", "m", Some(2))]),
            false,
        ),
    ] {
        assert_eq!(of(&system, &level).signed == signed.signed, same, "{what}");
    }
    let [here, there] = ["a", "b"].map(|uri| of(&with(&[("impact", uri, None)]), &level).signed);
    assert_ne!(here, there, "the URI is signed if there is no digest");
    assert_ne!(of(&before, &requires(&["impact", "manual"])).signed, signed.signed);
}

/// A system with a hosted model, a risk and a document, in JSON.
fn with_hosted_model() -> serde_json::Value {
    serde_json::json!({
        "intendedPurpose": "Sorts letters.", "owners": [{ "name": "olga" }], "riskLevel": "high",
        "hostedModels": [{ "name": "chat", "provider": "OpenAI", "model": "gpt-5", "version": "1", "region": "eu",
            "endpoint": "https://api.openai.com/v1", "retiresAt": "2027-10-01T00:00:00Z",
            "agreement": { "uri": "https://example.org", "digest": Digest::from_sha256([3; 32]) } }],
        "risks": [{ "name": "bias", "description": "It is unfair.", "treatment": "Mitigate", "measures": "tests",
            "owner": "olga", "residual": "Low",
            "review": { "last": "2026-01-01T00:00:00Z", "next": "2027-01-01T00:00:00Z" } }],
        "documentation": [{ "type": "manual", "uri": "https://example.org", "owner": "olga", "version": "1",
            "review": { "last": "2026-01-01T00:00:00Z", "next": "2027-01-01T00:00:00Z" } }],
    })
}

#[test]
fn hosted_models_are_part_of_the_digest_and_required_risks_and_dates_too() {
    let requires_nothing = RiskLevelSpec::default();
    let requires_all = RiskLevelSpec {
        documents: vec!["manual".to_owned()],
        risks: Some(RequiredRisks { review: Some(RequiredReview::default()), ..RequiredRisks::default() }),
        document_review: Some(RequiredReview::default()),
        ..RiskLevelSpec::default()
    };
    let version = version();
    let of = |system: &serde_json::Value, level| {
        let system: AISystemSpec = serde_json::from_value(system.clone()).expect("a system");
        Subject::new("clinic", &system, Some(level), &version).digests()
    };
    let before = with_hosted_model();
    assert_eq!(of(&before, &requires_all).without_documents, None, "older releases had no risks");
    let warns = RequiredReview { overdue: OverdueAction::Warn, ..RequiredReview::default() };
    let only_warns = RiskLevelSpec {
        risks: Some(RequiredRisks { review: Some(warns.clone()), ..RequiredRisks::default() }),
        document_review: Some(warns),
        ..requires_all.clone()
    };
    let other_digest = Digest::from_sha256([4; 32]).to_string();
    let changes = [
        ("/hostedModels/0/name", "other", true, true),
        ("/hostedModels/0/provider", "Other", true, true),
        ("/hostedModels/0/model", "other", true, true),
        ("/hostedModels/0/version", "2", true, true),
        ("/hostedModels/0/region", "us", true, true),
        ("/hostedModels/0/endpoint", "https://other.example", true, true),
        ("/hostedModels/0/agreement/digest", &*other_digest, true, true),
        ("/hostedModels/0/agreement/uri", "https://moved.example", false, false),
        ("/hostedModels/0/retiresAt", "2028-10-01T00:00:00Z", false, false),
        ("/risks/0/name", "other", false, true),
        ("/risks/0/description", "It is slow.", false, true),
        ("/risks/0/treatment", "Accept", false, true),
        ("/risks/0/measures", "none", false, true),
        ("/risks/0/owner", "vera", false, true),
        ("/risks/0/residual", "High", false, true),
        ("/risks/0/review/last", "2026-02-01T00:00:00Z", false, true),
        ("/risks/0/review/next", "2028-01-01T00:00:00Z", false, true),
        ("/documentation/0/review/last", "2026-02-01T00:00:00Z", false, true),
        ("/documentation/0/review/next", "2028-01-01T00:00:00Z", false, true),
        ("/documentation/0/owner", "vera", false, false),
        ("/documentation/0/version", "2", false, false),
    ];
    for (path, value, always, if_required) in changes {
        let mut after = before.clone();
        *after.pointer_mut(path).expect(path) = value.into();
        for (level, expected) in [(&requires_nothing, always), (&requires_all, if_required)] {
            let is_new = of(&before, level).signed != of(&after, level).signed;
            assert_eq!(is_new, expected, "{path}, level {level:?}");
        }
        let is_new = of(&before, &only_warns).signed != of(&after, &only_warns).signed;
        assert_eq!(is_new, if_required && !path.contains("/review/"), "{path}, a level that only warns");
    }
}

#[test]
fn any_single_change_to_a_version_changes_the_digest() {
    let signed = digest("clinic", &system(), &version());
    let mut tried = 0;
    for (change, value) in variants(&serde_json::to_value(version()).expect("serialises")) {
        let Ok(changed) = serde_json::from_value::<ModelVersionSpec>(value) else { continue };
        if changed != version() {
            assert_ne!(digest("clinic", &system(), &changed), signed, "{change}");
            tried += 1;
        }
    }
    assert!(tried > 500, "only {tried} changes were tried");
}

type Change = (&'static str, fn(&mut AISystemSpec));

#[test]
fn any_change_to_a_signed_field_of_a_system_changes_the_digest() {
    let signed = digest("clinic", &system(), &version());
    let signed_fields: [Change; 5] = [
        ("the purpose", |s| s.intended_purpose.push('!')),
        ("the level", |s| s.risk_level = "low".to_owned()),
        ("one more jurisdiction", |s| s.jurisdictions.push("US".to_owned())),
        ("one jurisdiction less", |s| s.jurisdictions.truncate(1)),
        ("no jurisdiction", |s| s.jurisdictions.clear()),
    ];
    for (what, change) in signed_fields {
        let mut system = system();
        change(&mut system);
        assert_ne!(digest("clinic", &system, &version()), signed, "{what}");
    }
    assert_ne!(digest("other", &system(), &version()), signed, "the namespace");
}

#[test]
fn fields_that_are_not_signed_do_not_change_the_digest() {
    let signed = digest("clinic", &system(), &version());
    let unsigned_fields: [Change; 6] = [
        ("jurisdictions in another order", |s| s.jurisdictions.reverse()),
        ("a jurisdiction a second time", |s| s.jurisdictions.push("EU".to_owned())),
        ("the owners", |s| s.owners.push(Owner { kind: OwnerKind::Group, name: "board".to_owned() })),
        ("the documentation", |s| {
            let (type_, uri) = ("manual".to_owned(), "https://example.org".to_owned());
            s.documentation.push(Document { type_, uri, ..Document::default() });
        }),
        ("the provider", |s| {
            let held = Certification {
                name: "ISO/IEC 42001".to_owned(),
                not_after: Some(Time(second(1))),
                ..Certification::default()
            };
            s.provider = Some(Provider { name: "Acme".to_owned(), certifications: vec![held] });
        }),
        ("the decommission", |s| {
            let (date, reason) = (Time(second(1)), "replaced".to_owned());
            s.decommission = Some(Decommission { date, reason, successor: None });
        }),
    ];
    for (what, change) in unsigned_fields {
        let mut system = system();
        change(&mut system);
        assert_eq!(digest("clinic", &system, &version()), signed, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn two_digests_are_equal_exactly_if_the_signed_content_is_equal(
        (a, b) in (any_signed(), any_signed()),
        same in any::<bool>(),
        jurisdictions in any_jurisdictions(),
    ) {
        let b = if same { Signed { jurisdictions, ..a.clone() } } else { b };
        prop_assert_eq!(a.digest() == b.digest(), a.content() == b.content());
    }

    /// A ModelVersion that the operator reads back from the API server has the same digest.
    #[test]
    fn serialization_keeps_the_digest(signed in any_signed()) {
        let json = serde_json::to_string_pretty(&signed.version).expect("serialises");
        let version = serde_json::from_str(&json).expect("parses");
        prop_assert_eq!(signed.digest(), Signed { version, ..signed }.digest());
    }
}

/// The content that a digest covers. The generator uses few words, so that two contents are often equal.
#[derive(Clone, Debug)]
struct Signed {
    namespace: &'static str,
    purpose: &'static str,
    level: &'static str,
    jurisdictions: Vec<String>,
    version: ModelVersionSpec,
}

impl Signed {
    fn digest(&self) -> Digest {
        let system = AISystemSpec {
            intended_purpose: self.purpose.to_owned(),
            risk_level: self.level.to_owned(),
            jurisdictions: self.jurisdictions.clone(),
            ..AISystemSpec::default()
        };
        digest(self.namespace, &system, &self.version)
    }

    fn content(&self) -> impl PartialEq + '_ {
        let jurisdictions: BTreeSet<_> = self.jurisdictions.iter().collect();
        (self.namespace, self.purpose, self.level, jurisdictions, &self.version)
    }
}

fn any_signed() -> impl Strategy<Value = Signed> {
    let version = (select(vec!["a", "b", "ab"]), prop_oneof![Just(full_runtime()), any_runtime()]);
    let version = version.prop_map(|(system, runtime)| ModelVersionSpec {
        system: system.to_owned(),
        runtime: runtime.into(),
        provenance: Provenance::default(),
    });
    let words = || select(vec!["a", "b", "ab", "a\",\"b"]);
    (words(), words(), words(), any_jurisdictions(), version).prop_map(
        |(namespace, purpose, level, jurisdictions, version)| Signed {
            namespace,
            purpose,
            level,
            jurisdictions,
            version,
        },
    )
}

fn any_jurisdictions() -> impl Strategy<Value = Vec<String>> {
    vec(select(vec!["EU".to_owned(), "DE".to_owned(), "E".to_owned()]), 0..=3)
}
