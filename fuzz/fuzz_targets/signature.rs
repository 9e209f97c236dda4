//! Property: any text in the signature of an Approval gives an error, or an approver with a key in the list of the
//! role.

#![no_main]

use std::{collections::BTreeMap, sync::Arc};

use assent::{
    api::{Approval, ApproverRole},
    policy::{approver_of, statements},
};
use kube::ResourceExt;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    approval: Approval,
    role: ApproverRole,
}

fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    assent_fuzz::mutate(data, size, max, seed)
});

fuzz_target!(|data: &[u8]| {
    let Ok(Case { mut approval, role }) = serde_json::from_slice(data) else { return };
    // Only the operator writes a status. A status may name a signer whose key is no longer in the role.
    approval.status = None;
    let roles = BTreeMap::from([(role.name_any(), Arc::new(role.clone()))]);
    match approver_of(&approval, &roles) {
        Ok(approver) => {
            let listed = role.spec.keys.iter().any(|key| key.approver == *approver);
            assert!(approval.spec.signature.is_none() || listed, "the role lists no key of {approver:?}");
        }
        Err(why) => drop(why.to_string()),
    }
    for statement in statements([&approval], &roles) {
        let recorded = approval.metadata.creation_timestamp.as_ref().map(|at| at.0);
        assert!(Some(statement.at) <= recorded, "it counts from a time after its creation");
    }
});
