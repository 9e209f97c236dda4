//! Whether the scope of a namespace takes in a pod, or the template of one, in CEL.

use crate::{
    api::{SYSTEM_LABEL, Scope},
    policy::{Accelerators, NO_DEVICE, Sign},
};

/// The scope of the namespace, as its `Clearance` repeats it.
const SCOPE: &str = "params.?spec.?scope.orValue('')";

/// Whether the scope takes `pod` in: the same as `policy::narrowest_scope`.
pub(super) fn governs(pod: &str, accelerators: &Accelerators) -> String {
    let [labelled, accelerated] = [Scope::Labelled, Scope::Accelerated].map(Scope::name);
    format!(
        "({SCOPE} == '{labelled}' ? {names_system} : {SCOPE} != '{accelerated}' || ({names_system} || {}))",
        uses_accelerator(pod, accelerators),
        names_system = names_system(pod),
    )
}

/// Whether it shows a sign of an accelerator: the same as `Accelerators::of`.
fn uses_accelerator(pod: &str, accelerators: &Accelerators) -> String {
    let [resources, classes, variables, annotations] = Sign::ALL.map(|sign| list(accelerators.names(sign)));
    format!(
        "{pod}.spec.?resourceClaims.orValue([]).size() > 0
|| has({pod}.spec.runtimeClassName) && {classes}.exists(p, ('-' + {pod}.spec.runtimeClassName + '-').contains('-' + p + '-'))
|| {pod}.metadata.?annotations.orValue({{}}).exists(a, {annotations}.exists(p, a.startsWith(p)))
|| ([{pod}.spec] + {pod}.spec.containers + {pod}.spec.?initContainers.orValue([])).exists(c,
    [c.?resources.?requests.orValue({{}}), c.?resources.?limits.orValue({{}})].exists(q,
        q.exists(r, q[r] != '0' && {resources}.exists(p, r.startsWith(p))))
    || c.?env.orValue([]).exists(e, e.name in {variables} && (has(e.valueFrom) || !(e.?value.orValue('') in {}))))",
        list(NO_DEVICE)
    )
}

/// A list of strings that need no quoting, in CEL.
fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn names_system(pod: &str) -> String {
    format!("'{SYSTEM_LABEL}' in {pod}.metadata.?labels.orValue({{}})")
}
