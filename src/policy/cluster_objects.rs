//! The Kubernetes objects that the expressions of a risk level can read: network policies, claims and storage classes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::PersistentVolumeClaim,
        networking::v1::{NetworkPolicy, NetworkPolicySpec},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::{SYSTEM_LABEL, Volume},
    expression::Type,
};

/// An optional variable in expressions. Each optional variable is off by default, because the operator needs more
/// permissions to read the objects of the variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClusterVariable {
    /// `networkPolicies`: the policies that select every pod of the system, or can select some of its pods.
    NetworkPolicies,
    /// `claims`: the claims that the version names, with their storage classes.
    Claims,
}

impl ClusterVariable {
    /// All optional variables.
    pub const ALL: [Self; 2] = [Self::NetworkPolicies, Self::Claims];

    /// The name of the variable in expressions, in an option of the operator, and in a chart value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkPolicies => "networkPolicies",
            Self::Claims => "claims",
        }
    }

    /// Parses names with commas between them. An empty text has no names.
    ///
    /// # Errors
    /// A name is not the name of an optional variable.
    pub fn list(names: &str) -> Result<BTreeSet<Self>, String> {
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect()
    }

    pub(super) fn type_of(self) -> Type {
        match self {
            Self::NetworkPolicies => Type::list(network_policy_type()),
            Self::Claims => Type::list(claim_type()),
        }
    }
}

impl FromStr for ClusterVariable {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|variable| variable.name() == name);
        found
            .ok_or_else(|| format!("no optional variable {name}; the variables are: networkPolicies, claims"))
    }
}

impl fmt::Display for ClusterVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The fields of a `NetworkPolicy` that expressions can read.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkPolicyFacts {
    name: String,
    spec: NetworkPolicySpec,
}

impl From<NetworkPolicy> for NetworkPolicyFacts {
    fn from(NetworkPolicy { metadata, spec }: NetworkPolicy) -> Self {
        let mut spec = spec.unwrap_or_default();
        // The API server sets the default of `policyTypes` in each stored policy. A policy in a manifest file can lack
        // this field.
        let egress = spec.egress.is_some().then(|| "Egress".to_owned());
        let default = || std::iter::once("Ingress".to_owned()).chain(egress).collect();
        spec.policy_types = Some(spec.policy_types.unwrap_or_else(default));
        Self { name: metadata.name.unwrap_or_default(), spec }
    }
}

impl NetworkPolicyFacts {
    /// Finds which pods of `system` the policy selects. Only one label of these pods is known: `assent.dev/system`,
    /// with the name of the system as its value.
    fn selection(&self, system: &str) -> Selection {
        let selector = &self.spec.pod_selector;
        let labels = selector.iter().flat_map(|selector| selector.match_labels.iter().flatten());
        let labels = labels.map(|(key, value)| (key == SYSTEM_LABEL).then_some(value == system));
        let expressions = selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
        let holds: Vec<_> = labels.chain(expressions.map(|expression| holds(expression, system))).collect();
        if holds.contains(&Some(false)) {
            Selection::None
        } else if holds.contains(&None) {
            Selection::Some
        } else {
            Selection::Every
        }
    }
}

/// Which pods of a system a `NetworkPolicy` selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selection {
    Every,
    /// Other labels of a pod decide whether the policy selects the pod.
    Some,
    None,
}

/// Whether a requirement of a selector is true for the pods of `system`. `None` if the answer depends on another label.
fn holds(expression: &LabelSelectorRequirement, system: &str) -> Option<bool> {
    let has_value = || expression.values.iter().flatten().any(|value| value == system);
    let holds = || match &*expression.operator {
        "In" => has_value(),
        "NotIn" => !has_value(),
        operator => operator == "Exists",
    };
    (expression.key == SYSTEM_LABEL).then(holds)
}

/// The fields of a `PersistentVolumeClaim` that expressions can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    name: String,
    storage_class: Option<String>,
}

impl From<PersistentVolumeClaim> for ClaimFacts {
    fn from(PersistentVolumeClaim { metadata, spec, .. }: PersistentVolumeClaim) -> Self {
        let storage_class = spec.and_then(|spec| spec.storage_class_name).filter(|name| !name.is_empty());
        Self { name: metadata.name.unwrap_or_default(), storage_class }
    }
}

/// The fields of a `StorageClass` that expressions can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StorageClassFacts {
    name: String,
    labels: BTreeMap<String, String>,
    provisioner: String,
    parameters: BTreeMap<String, String>,
}

impl From<StorageClass> for StorageClassFacts {
    fn from(StorageClass { metadata, provisioner, parameters, .. }: StorageClass) -> Self {
        Self {
            name: metadata.name.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            provisioner,
            parameters: parameters.unwrap_or_default(),
        }
    }
}

/// The Kubernetes objects that expressions about one namespace can read.
#[derive(Clone, Debug, Default)]
pub struct ClusterObjects {
    /// The `NetworkPolicies` of the namespace, by name. `None` if they are not known.
    pub network_policies: Option<BTreeMap<String, Arc<NetworkPolicyFacts>>>,
    /// The claims of the namespace and the storage classes. `None` if they are not known.
    pub storage: Option<Storage>,
}

/// The claims of a namespace, and the storage classes of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// The claims, by name.
    pub claims: BTreeMap<String, Arc<ClaimFacts>>,
    /// The storage classes, by name.
    pub classes: BTreeMap<String, Arc<StorageClassFacts>>,
    /// Whether `claims` and `classes` contain all objects that exist. False for manifest files, because a user can
    /// leave out some objects.
    pub is_complete: bool,
}

impl ClusterObjects {
    /// The value of `variable` for a version of `system` with these volumes. `None` if the value is not known.
    pub(super) fn value(&self, variable: ClusterVariable, system: &str, volumes: &[Volume]) -> Option<Value> {
        match variable {
            ClusterVariable::NetworkPolicies => {
                let all = self.network_policies.as_ref()?.values();
                Some(all.filter_map(|policy| seen_network_policy(policy, system)).collect())
            }
            ClusterVariable::Claims => {
                let storage = self.storage.as_ref()?;
                let claims = volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref());
                claims.map(|claim| storage.claim(&claim.claim_name)).collect()
            }
        }
    }
}

impl Storage {
    /// The claim `name` in the form that expressions see. If `claims` lacks the claim and `is_complete` is true, the
    /// claim does not exist, so the result contains only the name. If `is_complete` is false, the result is `None` for
    /// a claim or storage class that is not listed.
    fn claim(&self, name: &str) -> Option<Value> {
        let mut seen = json!({ "name": name });
        let Some(claim) = self.claims.get(name) else { return self.is_complete.then_some(seen) };
        let Some(class_name) = &claim.storage_class else { return Some(seen) };
        seen["storageClassName"] = json!(class_name);
        match self.classes.get(class_name) {
            Some(class) => seen["storageClass"] = json!(**class),
            None if !self.is_complete => return None,
            None => {}
        }
        Some(seen)
    }
}

/// A network policy in the form that expressions see. `None` if the policy selects no pod of the system.
fn seen_network_policy(policy: &NetworkPolicyFacts, system: &str) -> Option<Value> {
    let selection = policy.selection(system);
    let seen = || {
        json!({ "metadata": { "name": policy.name }, "selectsEveryPod": selection == Selection::Every,
            "spec": policy.spec })
    };
    (selection != Selection::None).then(seen)
}

fn network_policy_type() -> Type {
    let selector =
        Type::object([("matchLabels", Type::map(Type::String)), ("matchExpressions", Type::list(Type::Dyn))]);
    let spec = Type::object([
        ("podSelector", selector),
        ("policyTypes", Type::list(Type::String)),
        ("ingress", Type::list(Type::Dyn)),
        ("egress", Type::list(Type::Dyn)),
    ]);
    Type::object([
        ("metadata", Type::object([("name", Type::String)])),
        ("selectsEveryPod", Type::Bool),
        ("spec", spec),
    ])
}

fn claim_type() -> Type {
    let class = Type::object([
        ("name", Type::String),
        ("labels", Type::map(Type::String)),
        ("provisioner", Type::String),
        ("parameters", Type::map(Type::String)),
    ]);
    Type::object([("name", Type::String), ("storageClassName", Type::String), ("storageClass", class)])
}
