//! What the API server hands to the operator: an object of each kind, whoever wrote it. One that cannot be read
//! counts as missing and says which it is; one that can is the same when it is written and read again.

#![no_main]

use std::fmt::Debug;

use assent::api::{AISystem, Approval, Clearance, ModelVersion, RiskLevel};
use kube::{Resource, core::DeserializeGuard};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::{Serialize, de::DeserializeOwned};

fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    assent_fuzz::mutate(data, size, max, seed)
});

fuzz_target!(|data: &[u8]| {
    // The API server takes no year before 0, which k8s-openapi reads and then writes as it cannot read it.
    if data.windows(2).any(|two| two == b"\"-") {
        return;
    }
    read::<RiskLevel>(data);
    read::<AISystem>(data);
    read::<ModelVersion>(data);
    read::<Approval>(data);
    read::<Clearance>(data);
});

fn read<K: Resource + Serialize + DeserializeOwned + Debug + PartialEq>(data: &[u8]) {
    match serde_json::from_slice::<DeserializeGuard<K>>(data) {
        Err(_) => {}
        Ok(DeserializeGuard(Err(invalid))) => drop(invalid.to_string()),
        Ok(DeserializeGuard(Ok(object))) => {
            let written = serde_json::to_vec(&object).expect("an object serialises");
            let again: K = serde_json::from_slice(&written).expect("what was written can be read");
            assert_eq!(object, again);
        }
    }
}
