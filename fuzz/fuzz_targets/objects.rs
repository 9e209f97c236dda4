//! Property: the operator handles all objects that the API server may return. An unreadable object gives an error with
//! its name. A readable object stays the same if the operator writes it and reads it again.

#![no_main]

use std::fmt::Debug;

use assent::api::{AISystem, Approval, Clearance, ModelVersion, RiskLevel, TrustedSidecar};
use kube::{Resource, core::DeserializeGuard};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    assent_fuzz::mutate(data, size, max, seed)
});

fuzz_target!(|data: &[u8]| {
    let Some(document) = assent_fuzz::document(data) else { return };
    read::<RiskLevel>(&document);
    read::<TrustedSidecar>(&document);
    read::<AISystem>(&document);
    read::<ModelVersion>(&document);
    read::<Approval>(&document);
    read::<Clearance>(&document);
});

fn read<K: Resource + Serialize + DeserializeOwned + Debug + PartialEq>(document: &Value) {
    match serde_json::from_value::<DeserializeGuard<K>>(document.clone()) {
        Err(_) => {}
        Ok(DeserializeGuard(Err(invalid))) => drop(invalid.to_string()),
        Ok(DeserializeGuard(Ok(object))) => {
            let written = serde_json::to_vec(&object).expect("an object serialises");
            let again: K = serde_json::from_slice(&written).expect("its own output can be read");
            assert_eq!(object, again);
        }
    }
}
