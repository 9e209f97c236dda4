//! Caches Assent's admission policies as they are in the API server, and finds missing and changed policies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll, select_all},
};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::{
    admission::{HoldMethod, Key, PolicyObject},
    watch::{Change, Lenient, Relist, Watches},
};

pub type PolicyChange = Change<Key, PolicyObject>;

/// A stream of changes of policies. Each change has the kind of the policy.
pub type Changes = SelectAll<BoxStream<'static, (&'static str, PolicyChange)>>;

/// Watches all policies of the cluster. A watch with a label selector would report a policy as deleted if a user
/// removed its label.
pub fn watch(watches: &Arc<Watches>, hold_method: HoldMethod) -> Changes {
    let mut all = select_all([
        of_kind::<ValidatingAdmissionPolicy>(watches),
        of_kind::<ValidatingAdmissionPolicyBinding>(watches),
    ]);
    if hold_method == HoldMethod::Gate {
        all.push(of_kind::<MutatingAdmissionPolicy>(watches));
        all.push(of_kind::<MutatingAdmissionPolicyBinding>(watches));
    }
    all
}

fn of_kind<K>(watches: &Arc<Watches>) -> BoxStream<'static, (&'static str, PolicyChange)>
where
    K: Resource<DynamicType = ()> + k8s_openapi::Resource + Into<PolicyObject>,
    K: Clone + Default + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let kind: &'static str = <K as k8s_openapi::Resource>::KIND;
    let mut relist = Relist::default();
    let changes = watches.all::<K>().filter_map(move |event| {
        let change = relist.change(event, |policy| Key { kind, name: policy.name_any() });
        std::future::ready(change.map(|change| (kind, change.filter_map(|policy| Some(manifest(policy))))))
    });
    changes.boxed()
}

/// Converts a policy. An unreadable policy counts as changed.
fn manifest<K: Resource<DynamicType = ()> + Default + Into<PolicyObject>>(
    policy: Lenient<K>,
) -> PolicyObject {
    let policy = policy.0.unwrap_or_else(|unreadable| {
        let mut policy = K::default();
        *policy.meta_mut() = unreadable.metadata;
        policy
    });
    policy.into()
}

/// The policies of Assent, as the watches delivered them.
#[derive(Debug, Default)]
pub struct PolicyCache {
    policies: BTreeMap<Key, PolicyObject>,
    listed: BTreeSet<&'static str>,
    /// The policies that were intact at least once since the operator started.
    seen_intact: BTreeSet<Key>,
}

impl PolicyCache {
    /// Applies a change of a policy of `kind`. Ignores a changed policy that is not in `wanted`.
    pub fn apply(&mut self, kind: &'static str, change: PolicyChange, wanted: &BTreeMap<Key, PolicyObject>) {
        match change {
            Change::Apply { key, object, .. } if wanted.contains_key(&key) => self.set(key, object),
            Change::Apply { .. } => {}
            Change::Delete { key } => drop(self.policies.remove(&key)),
            Change::Listed(keys) => {
                self.policies.retain(|key, _| key.kind != kind || keys.contains(key));
                self.listed.insert(kind);
            }
        }
    }

    /// Caches a policy. After the operator writes a policy, it calls this function, so that the cache has the new
    /// policy before the watch delivers it.
    pub fn set(&mut self, key: Key, policy: PolicyObject) {
        self.policies.insert(key, policy);
    }

    pub fn get(&self, key: &Key) -> Option<&PolicyObject> {
        self.policies.get(key)
    }

    /// The policies that are missing or changed, as two lists: those that were intact before, and those that were never
    /// intact since the operator started.
    pub fn broken(&mut self, wanted: &BTreeMap<Key, PolicyObject>) -> (Vec<Key>, Vec<Key>) {
        let (mut broken, mut never_intact) = (Vec::new(), Vec::new());
        for (key, wanted) in wanted.iter().filter(|(key, _)| self.listed.contains(key.kind)) {
            if self.policies.get(key).is_some_and(|live| wanted.stands_as(live)) {
                self.seen_intact.insert(key.clone());
            } else if self.seen_intact.contains(key) {
                broken.push(key.clone());
            } else {
                never_intact.push(key.clone());
            }
        }
        (broken, never_intact)
    }
}
