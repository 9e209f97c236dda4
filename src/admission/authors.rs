//! Records the authors of an object in two annotations. The names are those of users that the API server authenticated.
//!
//! If a request creates the object or changes a field to which the annotation applies, a mutating policy sets the
//! annotation to the user of the request. Otherwise, the mutating policy sets the annotation to its earlier value. A
//! validating policy refuses any other value.
//!
//! Before Kubernetes 1.36, the API server has no mutating policies, so no policy adds the annotations. The validating
//! policies still refuse a forged name.

use super::{
    PolicyObject,
    policy_object::{Answer, MatchScope, Rule, mutating, validating},
    records::RECORDS,
};
use crate::api::{AUTHOR, CHANGED_BY};

/// An annotation that names a user, and the kinds that have it. Two policies set and protect the annotation.
struct Stamp {
    policy: &'static str,
    annotation: &'static str,
    resources: &'static [&'static str],
    /// A CEL expression over `object` and `oldObject`. If the expression is true, an update sets the annotation to the
    /// user of the request.
    renewed: String,
}

/// The fields of an `AISystem` that approvers rely on: all but `decommission`.
const AUTHORED: [&str; 10] = [
    "intendedPurpose",
    "owners",
    "riskLevel",
    "jurisdictions",
    "provider",
    "documentation",
    "risks",
    "hostedModels",
    "suppliers",
    "dependsOn",
];

pub(super) fn policies() -> Vec<PolicyObject> {
    let differs = AUTHORED.map(|field| format!("object.spec.?{field} != oldObject.spec.?{field}"));
    let stamps = [
        Stamp {
            policy: "assent-author",
            annotation: AUTHOR,
            resources: &["aisystems", "modelversions", "assessments"],
            renewed: differs.join(" || "),
        },
        Stamp {
            policy: "assent-changed-by",
            annotation: CHANGED_BY,
            resources: &["aisystems", "risklevels", "approverroles", "trustedsidecars"],
            renewed: "object.spec != oldObject.spec".to_owned(),
        },
    ];
    stamps.iter().flat_map(|stamp| [stamp.write(), stamp.check()]).flatten().collect()
}

impl Stamp {
    fn scope(&self) -> MatchScope {
        MatchScope { resources: self.resources, operations: &["CREATE", "UPDATE"], ..RECORDS }
    }

    /// The value of the annotation on `object`, as a CEL optional.
    fn on(&self, object: &str) -> String {
        format!("{object}.metadata.?annotations[?'{}']", self.annotation)
    }

    /// The only correct value of the annotation after this request, as a CEL optional.
    fn correct(&self) -> String {
        format!(
            "(request.operation == 'CREATE' || {} ? optional.of(request.userInfo.username) : {})",
            self.renewed,
            self.on("oldObject")
        )
    }

    fn write(&self) -> [PolicyObject; 2] {
        let (now, correct) = (self.on("object"), self.correct());
        let key = format!("'/metadata/annotations/' + jsonpatch.escapeKey('{}')", self.annotation);
        let patch = format!(
            "(has(object.metadata.annotations) ? [] : [JSONPatch{{op: 'add', path: '/metadata/annotations', value: {{}}}}])
+ ({correct}.hasValue()
  ? [JSONPatch{{op: 'add', path: {key}, value: {correct}.orValue('')}}]
  : [JSONPatch{{op: 'remove', path: {key}}}])"
        );
        let conditions = [("not-right", format!("{now} != {correct}"))];
        mutating(&format!("{}-stamp", self.policy), &self.scope(), &conditions, patch, "IfNeeded")
    }

    fn check(&self) -> [PolicyObject; 2] {
        let (now, correct) = (self.on("object"), self.correct());
        let rule = Rule {
            holds: format!("!{now}.hasValue() || {now} == {correct}"),
            else_say: format!(
                "request.resource.resource + '/' + object.metadata.name + ': annotation {} names who wrote it, and the API server sets it: remove it'",
                self.annotation
            ),
        };
        validating(self.policy, Answer::Refuse, &self.scope(), &[], &[], vec![rule])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::CustomResourceExt;
    use serde_json::Value;

    use super::AUTHORED;
    use crate::api::AISystem;

    #[test]
    fn every_field_of_a_system_except_decommission_has_an_author() {
        let definition = serde_json::to_value(AISystem::crd()).expect("a definition serialises");
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let fields = definition.pointer(spec).and_then(Value::as_object).expect("the spec has fields");
        let fields: BTreeSet<_> = fields.keys().map(String::as_str).collect();
        assert_eq!(fields, AUTHORED.into_iter().chain(["decommission"]).collect());
    }
}
