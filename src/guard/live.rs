//! The policies as they are, and which of them are not as they should be.

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
use kube::{Resource, runtime::watcher::Event};
use serde::de::DeserializeOwned;

use crate::{
    admission::{Holding, Key, Manifest},
    watch::{Lenient, Watches},
};

/// What changed, and of which kind.
type Change = (&'static str, Event<Manifest>);

/// What changes.
pub type Changes = SelectAll<BoxStream<'static, Change>>;

/// Watches all policies there are: whoever takes a label off must not hide one.
pub fn watch(watches: &Arc<Watches>, holding: Holding) -> Changes {
    let mut all = select_all([
        of_kind::<ValidatingAdmissionPolicy>(watches),
        of_kind::<ValidatingAdmissionPolicyBinding>(watches),
    ]);
    if holding == Holding::Gate {
        all.push(of_kind::<MutatingAdmissionPolicy>(watches));
        all.push(of_kind::<MutatingAdmissionPolicyBinding>(watches));
    }
    all
}

fn of_kind<K>(watches: &Arc<Watches>) -> BoxStream<'static, Change>
where
    K: Resource<DynamicType = ()> + k8s_openapi::Resource + Into<Manifest>,
    K: Clone + Default + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let kind: &'static str = <K as k8s_openapi::Resource>::KIND;
    let events = watches.all::<K>();
    events
        .map(move |event| {
            let change = match event {
                Event::Init => Event::Init,
                Event::InitApply(policy) => Event::InitApply(manifest(policy)),
                Event::InitDone => Event::InitDone,
                Event::Apply(policy) => Event::Apply(manifest(policy)),
                Event::Delete(policy) => Event::Delete(manifest(policy)),
            };
            (kind, change)
        })
        .boxed()
}

/// A policy that cannot be read is one that was changed.
fn manifest<K: Resource<DynamicType = ()> + Default + Into<Manifest>>(policy: Lenient<K>) -> Manifest {
    let policy = policy.0.unwrap_or_else(|unreadable| {
        let mut policy = K::default();
        *policy.meta_mut() = unreadable.metadata;
        policy
    });
    policy.into()
}

/// The policies of Assent as the API server last told them.
#[derive(Debug, Default)]
pub struct Live {
    policies: BTreeMap<Key, Manifest>,
    relisting: BTreeMap<Key, Manifest>,
    listed: BTreeSet<&'static str>,
    seen_right: BTreeSet<Key>,
}

impl Live {
    /// Takes in a change, if it is of a policy that is `wanted`.
    pub fn take_in(&mut self, kind: &'static str, event: Event<Manifest>, wanted: &BTreeMap<Key, Manifest>) {
        match event {
            Event::Init => self.relisting.retain(|key, _| key.kind != kind),
            Event::InitApply(policy) => drop(self.relisting.insert(policy.key(), policy)),
            Event::InitDone => {
                self.policies.retain(|key, _| key.kind != kind);
                let listed = std::mem::take(&mut self.relisting).into_iter();
                let (listed, others): (BTreeMap<_, _>, _) = listed.partition(|(key, _)| key.kind == kind);
                self.relisting = others;
                self.policies.extend(listed.into_iter().filter(|(key, _)| wanted.contains_key(key)));
                self.listed.insert(kind);
            }
            Event::Apply(policy) if wanted.contains_key(&policy.key()) => self.set(policy.key(), policy),
            Event::Apply(_) => {}
            Event::Delete(policy) => drop(self.policies.remove(&policy.key())),
        }
    }

    /// Takes in what was just written, ahead of the watch.
    pub fn set(&mut self, key: Key, policy: Manifest) {
        self.policies.insert(key, policy);
    }

    /// The policy as it is.
    pub fn get(&self, key: &Key) -> Option<&Manifest> {
        self.policies.get(key)
    }

    /// Those that are not as `wanted` any longer, and those that have not been so since this operator began.
    pub fn broken(&mut self, wanted: &BTreeMap<Key, Manifest>) -> (Vec<Key>, Vec<Key>) {
        let (mut broken, mut never_right) = (Vec::new(), Vec::new());
        for (key, wanted) in wanted.iter().filter(|(key, _)| self.listed.contains(key.kind)) {
            if self.policies.get(key).is_some_and(|is| wanted.stands_as(is)) {
                self.seen_right.insert(key.clone());
            } else if self.seen_right.contains(key) {
                broken.push(key.clone());
            } else {
                never_right.push(key.clone());
            }
        }
        (broken, never_right)
    }
}
