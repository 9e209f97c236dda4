//! Whether the scope of a namespace takes in a pod, or the template of one, in CEL.

use crate::{
    api::{SYSTEM_LABEL, Scope},
    policy::ACCELERATORS,
};

/// The scope of the namespace, as its `Clearance` repeats it.
const SCOPE: &str = "params.?spec.?scope.orValue('')";

/// Whether the scope takes `pod` in: the same as `policy::narrowest_scope`.
pub(super) fn governs(pod: &str) -> String {
    let [labelled, accelerated] = [Scope::Labelled, Scope::Accelerated].map(Scope::name);
    format!(
        "({SCOPE} == '{labelled}' ? {} : {SCOPE} != '{accelerated}' || {})",
        names_system(pod),
        is_ai(pod)
    )
}

/// Whether it names a system or asks for an accelerator: the same as `policy::asks_for_accelerator`.
fn is_ai(pod: &str) -> String {
    let prefixes = ACCELERATORS.map(|prefix| format!("'{prefix}'")).join(", ");
    format!(
        "({} || {pod}.spec.?resourceClaims.orValue([]).size() > 0
|| ([{pod}.spec] + {pod}.spec.containers + {pod}.spec.?initContainers.orValue([])).exists(c,
    [c.?resources.?requests.orValue({{}}), c.?resources.?limits.orValue({{}})].exists(q,
        q.exists(r, q[r] != '0' && [{prefixes}].exists(p, r.startsWith(p))))))",
        names_system(pod)
    )
}

fn names_system(pod: &str) -> String {
    format!("'{SYSTEM_LABEL}' in {pod}.metadata.?labels.orValue({{}})")
}
