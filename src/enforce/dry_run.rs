//! A dry run of enforcement: the pods that would stop if a namespace enforced, and the templates whose pods would be
//! held. This module sends no request.
//!
//! ```text
//!  core::Pod ─► PodReader ─► would_stop, would_be_held ─► WouldStop, with the reason
//!  ClearanceSpec ───────────────┘
//! ```

use std::sync::Arc;

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::ResourceExt;

use super::{
    cleared,
    owner::OwnerRef,
    pod::Pod,
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

/// The running pods of one namespace that would stop if the namespace had the mode `enforce`.
pub(crate) fn would_stop(
    pods: &[core::Pod],
    clearance: &ClearanceSpec,
    accelerators: &Accelerators,
    now: Timestamp,
) -> Vec<WouldStop> {
    let mut reader = reader(accelerators);
    let mut stopped = Vec::new();
    for core in pods {
        let pod = reader.read(core);
        if !pod.gated && cleared::would_stop(&pod, clearance, now) {
            stopped.push(because(&mut reader, core, pod, clearance));
        }
    }
    stopped
}

/// The reason why new pods of a template would be held if the namespace enforced. `template` is a pod with its content.
pub(crate) fn would_be_held(
    template: &core::Pod,
    clearance: &ClearanceSpec,
    accelerators: &Accelerators,
    now: Timestamp,
) -> Option<WouldStop> {
    let mut reader = reader(accelerators);
    let pod = reader.read(template);
    cleared::would_be_held(&pod, clearance, now).then(|| because(&mut reader, template, pod, clearance))
}

fn reader(accelerators: &Accelerators) -> PodReader {
    PodReader::new(Signs { accelerators: accelerators.clone(), ..Signs::default() })
}

fn because(reader: &mut PodReader, core: &core::Pod, pod: Pod, clearance: &ClearanceSpec) -> WouldStop {
    let key = reader.key(&core.namespace().unwrap_or_default(), &core.name_any());
    let why = why(&EventSubject::pod(&key, &pod), Some(clearance));
    WouldStop { pod: core.name_any(), system: pod.system, owner: pod.owner, why }
}
