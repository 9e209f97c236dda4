//! Property: equal content has the same digest in any serialization, and changed content has another digest.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use assent::{
    api::{AISystemSpec, Digest, ModelVersionSpec},
    policy::Subject,
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Signed {
    namespace: String,
    system: AISystemSpec,
    version: ModelVersionSpec,
}

impl Signed {
    fn digest(&self) -> Digest {
        Subject::new(&self.namespace, &self.system, None, &self.version).digest()
    }

    /// The content that the digest covers, for a comparison. Without a risk level, this content has no risks and no
    /// documents. The order of jurisdictions and hosted models does not matter. The digest does not cover the date on which
    /// a provider retires a model.
    fn material(&self) -> impl PartialEq {
        let AISystemSpec { intended_purpose, risk_level, jurisdictions, hosted_models, .. } =
            self.system.clone();
        let jurisdictions: BTreeSet<_> = jurisdictions.into_iter().collect();
        let hosted_models: BTreeMap<_, _> = hosted_models
            .into_iter()
            .map(|hosted| {
                let agreement = hosted.agreement.map(|agreement| agreement.digest);
                let of_provider = (hosted.provider, hosted.model, hosted.version);
                (hosted.name, (of_provider, hosted.region, hosted.endpoint, agreement))
            })
            .collect();
        (
            self.namespace.clone(),
            intended_purpose,
            risk_level,
            jurisdictions,
            hosted_models,
            self.version.clone(),
        )
    }
}

fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    assent_fuzz::mutate(data, size, max, seed)
});

fuzz_target!(|data: &[u8]| {
    let Some(document) = assent_fuzz::document(data) else { return };
    let Ok(signed) = serde_json::from_value::<Signed>(document.clone()) else { return };
    let digest = signed.digest();
    let written = serde_json::to_string(&signed).expect("it serialises");
    let again: Signed = serde_json::from_str(&written).expect("its own output can be read");
    assert_eq!(again.digest(), digest, "the digest after it is read again");
    let mut rng = assent_fuzz::rng(data);
    let mut changed = document;
    assent_fuzz::change(&mut changed, &mut rng);
    let Ok(changed) = serde_json::from_value::<Signed>(changed) else { return };
    assert_eq!(changed.material() == signed.material(), changed.digest() == digest, "{changed:#?}");
});
