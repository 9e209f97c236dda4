//! What would become of the pods in a set of manifests: the compile of the operator and the explanation of `explain`,
//! on files instead of a cluster.
//!
//! ```text
//!  AISystem, ModelVersion, Approval ─┐ by namespace
//!  RiskLevel, ApproverRole, … ───────┼─► World ── compile ──► Clearance ─┐
//!  Namespace ── labels ──────────────┘                                   ├─► Checked
//!  anything else ──► templates ──────────────────────────────────────────┘
//! ```
//!
//! A namespace that is not among them is taken to enforce: what is unknown must not look as if it were free.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    manifests::Manifest,
    proof::{Unproven, proven},
    strict::unknown_field,
    templates::{names_a_system, templates},
};
use crate::{
    api::{
        AISystem, Approval, ApproverRole, CLEARANCE_NAME, Clearance, Governance, Mode, ModelVersion,
        RiskLevel, Trusted, TrustedSidecar,
    },
    cli::{
        commands::explain::{ExplainInput, PodFinding, PodGroup, Seen},
        connect::system_record::SystemRecord,
    },
    compile,
    policy::Accelerators,
};

/// What would become of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// It would run, or nobody governs it.
    Runs,
    /// What it makes cannot be told from its manifest.
    Unforeseen,
    /// It would be held until people have approved, and nothing else is missing.
    AwaitsApproval,
    /// It would be held, and no approval changes that.
    Held,
    /// It cannot be read as what it says it is.
    Invalid,
    /// It is an approval that proves nothing.
    NotCounted,
}

/// One object, or one part of it that makes pods.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The file; `-`: standard input.
    pub path: String,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The line on which the part begins that was judged.
    #[serde(skip)]
    pub part_line: u64,
    /// Kind and name.
    pub object: String,
    /// Its namespace.
    pub namespace: String,
    /// Where the pod template stands in it (RFC 6901).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// What would become of it.
    pub outcome: Outcome,
    /// Why.
    pub conclusion: String,
    /// What to do.
    pub next: Vec<String>,
    /// Its namespace is not among the manifests, and is taken to enforce.
    pub enforcement_assumed: bool,
    /// The system that it names.
    pub system: Option<String>,
    /// The versions that it is.
    pub matches: Vec<String>,
    /// From the version that it is closest to, if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// Judges all of `manifests` at `now`; those that name no namespace are of `namespace`.
pub fn judge(manifests: &[Manifest], namespace: &str, now: Timestamp) -> Vec<Checked> {
    let mut world = World { namespace: namespace.to_owned(), now, ..World::default() };
    let mut checked: Vec<Checked> = manifests.iter().filter_map(|manifest| world.take_in(manifest)).collect();
    checked.extend(manifests.iter().filter_map(|manifest| world.weigh(manifest)));
    world.trusted = Arc::new(compile::trust(&world.sidecars).0);
    let mut places = BTreeMap::new();
    for manifest in manifests {
        let found = templates(manifest);
        if found.is_empty()
            && manifest.text("/kind") != "Namespace"
            && !manifest.is_ours()
            && names_a_system(&manifest.value)
        {
            checked.push(Checked {
                conclusion: "its controller makes the pods, and what they will be is not in the manifest"
                    .to_owned(),
                next: vec![format!(
                    "once they are there: kubectl assent capture {} -n {}",
                    manifest.object(),
                    world.namespace_of(manifest)
                )],
                ..world.checked(manifest, Outcome::Unforeseen)
            });
        }
        for template in found {
            let judged = match &template.template {
                Err(why) => Checked { conclusion: why.clone(), ..world.checked(manifest, Outcome::Invalid) },
                Ok(pod) => {
                    let namespace = world.namespace_of(manifest);
                    let place = places.entry(namespace.to_owned()).or_insert_with(|| world.place(namespace));
                    world.pods(manifest, &PodGroup::of_template(pod, &Accelerators::default()), place)
                }
            };
            let part_line = manifest.line_at(&template.pointer);
            checked.push(Checked { part_line, pointer: template.pointer, ..judged });
        }
    }
    checked
}

/// All that the manifests say of what Assent reads.
#[derive(Debug, Default)]
struct World {
    namespace: String,
    now: Timestamp,
    governed: BTreeMap<String, Governance>,
    levels: BTreeMap<String, Arc<RiskLevel>>,
    sidecars: BTreeMap<String, Arc<TrustedSidecar>>,
    roles: BTreeMap<String, Arc<ApproverRole>>,
    /// Of the sidecars, once all are known.
    trusted: Arc<Trusted>,
    described: BTreeMap<String, Described>,
}

/// What the manifests describe in one namespace.
#[derive(Clone, Debug, Default)]
struct Described {
    systems: BTreeMap<String, Arc<AISystem>>,
    versions: BTreeMap<String, Arc<ModelVersion>>,
    approvals: BTreeMap<String, Arc<Approval>>,
}

impl World {
    fn namespace_of<'a>(&'a self, manifest: &'a Manifest) -> &'a str {
        match manifest.text("/metadata/namespace") {
            "" => &self.namespace,
            namespace => namespace,
        }
    }

    fn checked(&self, manifest: &Manifest, outcome: Outcome) -> Checked {
        Checked {
            path: manifest.path.clone(),
            line: manifest.line,
            part_line: manifest.line,
            object: manifest.object(),
            namespace: self.namespace_of(manifest).to_owned(),
            pointer: String::new(),
            outcome,
            conclusion: String::new(),
            next: Vec::new(),
            enforcement_assumed: false,
            system: None,
            matches: Vec::new(),
            difference: None,
        }
    }

    /// Takes in what is Assent's, and a namespace; what cannot be read is told of.
    fn take_in(&mut self, manifest: &Manifest) -> Option<Checked> {
        let namespace = self.namespace_of(manifest).to_owned();
        let place = Some(&*namespace);
        let read = match (manifest.is_ours(), manifest.text("/kind")) {
            (false, "Namespace") => {
                let labels = manifest.value.pointer("/metadata/labels").cloned().unwrap_or_default();
                let labels = serde_json::from_value(labels).unwrap_or_default();
                self.governed.insert(manifest.text("/metadata/name").to_owned(), Governance::of(&labels));
                Ok(())
            }
            (true, "RiskLevel") => keep(&mut self.levels, manifest, None),
            (true, "ApproverRole") => keep(&mut self.roles, manifest, None),
            (true, "TrustedSidecar") => keep(&mut self.sidecars, manifest, None),
            (true, "AISystem") => keep(&mut self.of(&namespace).systems, manifest, place),
            (true, "ModelVersion") => keep(&mut self.of(&namespace).versions, manifest, place),
            (true, "Approval") => approval(manifest, &namespace).map(drop),
            _ => Ok(()),
        };
        let strict = || manifest.is_ours().then(|| unknown_field(manifest.text("/kind"), &manifest.value));
        let why = read.err().or_else(|| strict().flatten())?;
        let next = vec![format!("kubectl explain {}.spec", manifest.text("/kind").to_lowercase())];
        Some(Checked { conclusion: why, next, ..self.checked(manifest, Outcome::Invalid) })
    }

    /// Takes in an approval that counts, and tells of one that does not. All roles have to be known before.
    fn weigh(&mut self, manifest: &Manifest) -> Option<Checked> {
        if !manifest.is_ours() || manifest.text("/kind") != "Approval" {
            return None;
        }
        let namespace = self.namespace_of(manifest).to_owned();
        match proven(approval(manifest, &namespace).ok()?, &self.roles, self.now) {
            Ok(approval) => {
                self.of(&namespace).approvals.insert(approval.name_any(), Arc::new(approval));
                None
            }
            Err(Unproven { why, next }) => {
                Some(Checked { conclusion: why, next, ..self.checked(manifest, Outcome::NotCounted) })
            }
        }
    }

    fn of(&mut self, namespace: &str) -> &mut Described {
        self.described.entry(namespace.to_owned()).or_default()
    }

    /// A namespace as the API server would see it once all was applied and compiled.
    fn place(&self, namespace: &str) -> Place {
        let described = self.described.get(namespace).cloned().unwrap_or_default();
        let facts = compile::NamespaceFacts {
            systems: described.systems.iter().map(as_kept).collect(),
            versions: described.versions.iter().map(as_kept).collect(),
            approvals: described.approvals.clone(),
            clearance: None,
            roles: self.roles.clone(),
            levels: self.levels.clone(),
            trusted: Arc::clone(&self.trusted),
        };
        let known = self.governed.get(namespace);
        let enforcing = Governance { mode: Some(Mode::Enforce), ..Governance::default() };
        let governance = known.copied().unwrap_or(enforcing);
        let compiled = compile::compile(namespace, governance, &facts, self.now);
        let clearance = compiled.clearance.map(|spec| Clearance::new(CLEARANCE_NAME, spec));
        let records =
            described.systems.keys().map(|name| (name.clone(), self.record(namespace, name, &described)));
        Place {
            assumed: known.is_none(),
            facts: ExplainInput {
                namespace: namespace.to_owned(),
                place: format!(" -n {namespace}"),
                governance: Seen::There(governance),
                clearance: clearance.map_or(Seen::Absent, Seen::There),
                records: records.collect(),
                holders: None,
                now: self.now,
            },
        }
    }

    fn record(&self, namespace: &str, name: &str, described: &Described) -> SystemRecord {
        let system = described.systems.get(name).map(|system| AISystem::clone(system));
        let level = system.as_ref().and_then(|system| self.levels.get(&system.spec.risk_level));
        let level = level.map(|level| RiskLevel::clone(level));
        let (namespace, name, keys) = (namespace.to_owned(), name.to_owned(), self.roles.clone());
        let (versions, approvals) = (described.versions.values(), described.approvals.values());
        SystemRecord { namespace, name, system, level, keys, ..SystemRecord::default() }
            .with_objects(versions.map(AsRef::as_ref), approvals.map(AsRef::as_ref))
    }

    fn pods(&self, manifest: &Manifest, group: &PodGroup, place: &Place) -> Checked {
        let finding = PodFinding::new(group, &place.facts);
        let only_says =
            place.facts.governance.mode().filter(|mode| *mode != Mode::Enforce && !finding.cleared);
        let outcome = match (finding.cleared || only_says.is_some(), finding.is_for_want_of_approval) {
            (true, _) => Outcome::Runs,
            (false, true) => Outcome::AwaitsApproval,
            (false, false) => Outcome::Held,
        };
        let conclusion = match only_says {
            Some(mode) => {
                let (namespace, mode) = (&place.facts.namespace, mode.name());
                format!(
                    "namespace {namespace} has the mode {mode}; if it enforced, it would be held: {}",
                    finding.conclusion
                )
            }
            None => finding.conclusion,
        };
        Checked {
            conclusion,
            next: finding.next,
            enforcement_assumed: place.assumed,
            system: finding.system,
            matches: finding.matches,
            difference: finding.closest.map(|closest| closest.difference),
            ..self.checked(manifest, outcome)
        }
    }
}

/// A namespace, compiled.
struct Place {
    assumed: bool,
    facts: ExplainInput,
}

/// As the operator keeps it.
fn as_kept<K: Clone, V: From<K>>((name, object): (&String, &Arc<K>)) -> (String, Arc<V>) {
    (name.clone(), Arc::new(K::clone(object).into()))
}

/// An approval, in the namespace that it is applied to.
fn approval(manifest: &Manifest, namespace: &str) -> Result<Approval, String> {
    let mut approval: Approval =
        serde_json::from_value(manifest.value.clone()).map_err(|error| error.to_string())?;
    approval.metadata.namespace = Some(namespace.to_owned());
    Ok(approval)
}

/// Keeps an object by its name, in the namespace that it is applied to.
fn keep<K>(
    kept: &mut BTreeMap<String, Arc<K>>,
    manifest: &Manifest,
    namespace: Option<&str>,
) -> Result<(), String>
where
    K: DeserializeOwned + kube::Resource,
{
    let mut object: K = serde_json::from_value(manifest.value.clone()).map_err(|error| error.to_string())?;
    object.meta_mut().namespace = namespace.map(str::to_owned);
    kept.insert(object.name_any(), Arc::new(object));
    Ok(())
}
