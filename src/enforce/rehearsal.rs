//! What would stop if a namespace enforced: the enforcer's own decision, about which nothing is done.
//!
//! ```text
//!  pods ── PodReader ──► would_stop ──► Stopped, and why      nothing is asked of the API server
//!  ClearanceSpec ────────┘
//! ```

use std::sync::Arc;

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::ResourceExt;

use super::{
    cleared,
    owner::OwnerRef,
    pod_reader::PodReader,
    say::{Subject, why},
};
use crate::{api::ClearanceSpec, images::Signs, policy::Accelerators};

/// A pod that would be stopped.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// Its name.
    pub pod: String,
    /// The system that it names; empty: none.
    pub system: Arc<str>,
    /// Its controller.
    pub owner: Option<Arc<OwnerRef>>,
    /// Why.
    pub why: String,
}

/// Those of `pods`, all of one namespace, that run and would not if it enforced.
pub fn would_stop(
    pods: &[core::Pod],
    clearance: &ClearanceSpec,
    accelerators: &Accelerators,
    now: Timestamp,
) -> Vec<Stopped> {
    let signs = Signs { accelerators: accelerators.clone(), ..Signs::default() };
    let mut reader = PodReader::new(signs);
    let mut stopped = Vec::new();
    for core in pods {
        let pod = reader.read(core);
        if !pod.gated && cleared::would_stop(&pod, clearance, now) {
            let key = reader.key(&core.namespace().unwrap_or_default(), &core.name_any());
            let why = why(&Subject::pod(&key, &pod), Some(clearance));
            stopped.push(Stopped { pod: core.name_any(), system: pod.system, owner: pod.owner, why });
        }
    }
    stopped
}
