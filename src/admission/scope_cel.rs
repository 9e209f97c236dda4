//! CEL expressions that check whether the scope of a namespace covers a pod or a pod template.

use crate::{
    api::{SYSTEM_LABEL, Scope},
    policy::{Accelerators, NO_DEVICE, Sign},
};

/// The scope of the namespace, from its `Clearance`.
const SCOPE: &str = "params.?spec.?scope.orValue('')";

/// Whether the scope covers `pod`. The result must agree with `policy::narrowest_scope`.
pub(super) fn governs(pod: &str, accelerators: &Accelerators) -> String {
    let [labelled, accelerated] = [Scope::Labelled, Scope::Accelerated].map(Scope::name);
    format!(
        "({SCOPE} == '{labelled}' ? {names_system} : {SCOPE} != '{accelerated}' || ({names_system} || {}))",
        uses_accelerator(pod, accelerators),
        names_system = names_system(pod),
    )
}

/// Whether the pod shows a sign of an accelerator. The result must agree with `Accelerators::of`.
fn uses_accelerator(pod: &str, accelerators: &Accelerators) -> String {
    let [resources, classes, variables, annotations] = Sign::ALL.map(|sign| list(accelerators.names(sign)));
    format!(
        "{pod}.spec.?resourceClaims.orValue([]).size() > 0
|| has({pod}.spec.runtimeClassName) && {classes}.exists(part, ('-' + {pod}.spec.runtimeClassName + '-').contains('-' + part + '-'))
|| {pod}.metadata.?annotations.orValue({{}}).exists(annotation, {annotations}.exists(prefix, annotation.startsWith(prefix)))
|| ([{pod}.spec] + {pod}.spec.containers + {pod}.spec.?initContainers.orValue([])).exists(container,
    [container.?resources.?requests.orValue({{}}), container.?resources.?limits.orValue({{}})].exists(quantities,
        quantities.exists(resource, quantities[resource] != '0' && {resources}.exists(prefix, resource.startsWith(prefix))))
    || container.?env.orValue([]).exists(variable, variable.name in {variables} && (has(variable.valueFrom) || !(variable.?value.orValue('') in {}))))",
        list(NO_DEVICE)
    )
}

/// A CEL list of strings that need no escapes.
fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn names_system(pod: &str) -> String {
    format!("'{SYSTEM_LABEL}' in {pod}.metadata.?labels.orValue({{}})")
}
