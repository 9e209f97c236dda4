//! A dry run of enforcement: the pods that would stop if a namespace enforced. This module sends no request.
//!
//! ```text
//!  core::Pod ─► PodReader ─► would_stop ─► WouldStop, with the reason
//!  ClearanceSpec ───────────────┘
//! ```

use std::sync::Arc;

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::ResourceExt;

use super::{
    cleared,
    owner::OwnerRef,
    pod_reader::PodReader,
    subject::{EventSubject, why},
};
use crate::{api::ClearanceSpec, images::Signs, policy::Accelerators};

#[derive(Clone, Debug)]
pub(crate) struct WouldStop {
    pub(crate) pod: String,
    /// Empty if the pod names no system.
    pub(crate) system: Arc<str>,
    pub(crate) owner: Option<Arc<OwnerRef>>,
    pub(crate) why: String,
}

/// The running pods of one namespace that would stop if the namespace enforced.
pub(crate) fn would_stop(
    pods: &[core::Pod],
    clearance: &ClearanceSpec,
    accelerators: &Accelerators,
    now: Timestamp,
) -> Vec<WouldStop> {
    let signs = Signs { accelerators: accelerators.clone(), ..Signs::default() };
    let mut reader = PodReader::new(signs);
    let mut stopped = Vec::new();
    for core in pods {
        let pod = reader.read(core);
        if !pod.gated && cleared::would_stop(&pod, clearance, now) {
            let key = reader.key(&core.namespace().unwrap_or_default(), &core.name_any());
            let why = why(&EventSubject::pod(&key, &pod), Some(clearance));
            stopped.push(WouldStop { pod: core.name_any(), system: pod.system, owner: pod.owner, why });
        }
    }
    stopped
}
