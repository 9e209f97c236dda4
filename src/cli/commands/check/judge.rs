//! Predicts whether the pods in a set of manifests would run. Runs the compile step of the operator and the code of
//! `explain` on the manifests.
//!
//! ```text
//!  objects that the compile step reads ─► Objects ─► compile ─► Clearance ─┐
//!  all other objects ─► pod templates ─────────────────────────────────────┴─► Checked
//! ```
//!
//! If a namespace is not in the manifests, the check assumes that the namespace enforces. Without this assumption, the
//! check could miss a pod that would be held.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{core::v1::PersistentVolumeClaim, networking::v1::NetworkPolicy, storage::v1::StorageClass},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
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
        AISystem, Approval, ApproverRole, Assessment, CLEARANCE_NAME, Clearance, Governance, Incident,
        IncidentNote, Mode, ModelVersion, Monitor, MonitorStatus, Override, RiskLevel, Trusted,
        TrustedSidecar,
    },
    cli::{
        commands::explain::{ExplainInput, PodFinding, PodGroup, Seen},
        connect::{cluster_objects::ReadObjects, system_record::SystemRecord},
    },
    compile,
    policy::{self, Accelerators, Requirements},
    promql::{LimitedQueries, NAMESPACE_LABEL},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// The pods would run, because their version is cleared or their namespace does not hold such pods.
    Runs,
    /// The outcome is unknown, because a controller creates the pods and the manifest does not contain a pod template.
    Unforeseen,
    /// The pods would be held, and only approvals are missing.
    AwaitsApproval,
    /// The pods would be held, and missing approvals are not the only reason.
    Held,
    /// The object, or a pod template in the object, is not valid.
    Invalid,
    /// The object is an Approval that does not count, because a valid signature is missing.
    NotCounted,
}

/// The result for one object, or for one pod template in an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The file, or `-` for standard input.
    pub path: String,
    /// The number of the first line of the object. The file begins at line 1.
    pub line: u64,
    /// The number of the first line of the pod template. Equals `line` if the result is for the whole object.
    #[serde(skip)]
    pub part_line: u64,
    pub object: String,
    pub namespace: String,
    /// The JSON pointer to the pod template (RFC 6901). Empty if the object is a pod, or if the result is for
    /// the whole object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    pub outcome: Outcome,
    pub conclusion: String,
    pub next: Vec<String>,
    /// Warnings about providers that the pods seem to call but the system does not name, and about requirements whose
    /// result is not known. A warning does not change the outcome.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether the check assumes that the namespace enforces, because the namespace is not in the manifests.
    pub enforcement_assumed: bool,
    pub system: Option<String>,
    pub matches: Vec<String>,
    /// The difference between the pods and the closest version. `None` if the pods match a version, or if no difference
    /// is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// Judges the manifests at `now`. An object that states no namespace belongs to `namespace`. Returns a result for each
/// pod template, and for each object that is not valid, does not count or has an unknown outcome.
pub fn judge(manifests: &[Manifest], namespace: &str, now: Timestamp) -> Vec<Checked> {
    let mut objects = Objects { namespace: namespace.to_owned(), now, ..Objects::default() };
    let mut checked: Vec<Checked> = manifests.iter().filter_map(|manifest| objects.add(manifest)).collect();
    checked.extend(manifests.iter().filter_map(|manifest| objects.add_approval(manifest)));
    objects.trusted = Arc::new(compile::trust(&objects.sidecars).0);
    let mut compiled = BTreeMap::new();
    for manifest in manifests {
        let found = templates(manifest);
        if found.is_empty()
            && manifest.text("/kind") != "Namespace"
            && !manifest.is_of_assent()
            && names_a_system(&manifest.value)
        {
            checked.push(Checked {
                conclusion: "its controller creates the pods, and the manifest does not show them".to_owned(),
                next: vec![format!(
                    "once they exist: kubectl assent capture {} -n {}",
                    manifest.object(),
                    objects.namespace_of(manifest)
                )],
                ..objects.checked(manifest, Outcome::Unforeseen)
            });
        }
        for template in found {
            let judged = match &template.template {
                Err(why) => {
                    Checked { conclusion: why.clone(), ..objects.checked(manifest, Outcome::Invalid) }
                }
                Ok(pod) => {
                    let namespace = objects.namespace_of(manifest);
                    let place =
                        compiled.entry(namespace.to_owned()).or_insert_with(|| objects.compiled(namespace));
                    objects.pods(manifest, &PodGroup::of_template(pod, &Accelerators::default()), place)
                }
            };
            let part_line = manifest.line_at(&template.pointer);
            checked.push(Checked { part_line, pointer: template.pointer, ..judged });
        }
    }
    checked
}

/// The parsed manifests, which are the input of the compile step.
#[derive(Debug, Default)]
struct Objects {
    namespace: String,
    now: Timestamp,
    governed: BTreeMap<String, Governance>,
    labels: BTreeMap<String, BTreeMap<String, String>>,
    levels: BTreeMap<String, Arc<RiskLevel>>,
    requirements: BTreeMap<String, Arc<Requirements>>,
    /// The Kubernetes objects that the CEL expressions of requirements can read.
    read: ReadObjects,
    sidecars: BTreeMap<String, Arc<TrustedSidecar>>,
    roles: BTreeMap<String, Arc<ApproverRole>>,
    /// The trusted additions to a pod, compiled from all `TrustedSidecar` objects.
    trusted: Arc<Trusted>,
    by_namespace: BTreeMap<String, InNamespace>,
}

#[derive(Clone, Debug, Default)]
struct InNamespace {
    systems: BTreeMap<String, Arc<AISystem>>,
    versions: BTreeMap<String, Arc<ModelVersion>>,
    approvals: BTreeMap<String, Arc<Approval>>,
    assessments: BTreeMap<String, Arc<Assessment>>,
    incidents: BTreeMap<String, Arc<Incident>>,
    notes: BTreeMap<String, Arc<IncidentNote>>,
    overrides: BTreeMap<String, Arc<Override>>,
    monitors: BTreeMap<String, Arc<Monitor>>,
}

impl Objects {
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
            warnings: Vec::new(),
            enforcement_assumed: false,
            system: None,
            matches: Vec::new(),
            difference: None,
        }
    }

    /// Adds the object in a manifest if the compile step reads the kind of the object. Returns a result only if the
    /// object is not valid. Checks an Approval but does not add it, because `add_approval` adds the Approvals later.
    fn add(&mut self, manifest: &Manifest) -> Option<Checked> {
        let namespace = self.namespace_of(manifest).to_owned();
        let place = Some(&*namespace);
        let read = match (manifest.is_of_assent(), manifest.text("/kind")) {
            (false, "Namespace") => {
                let labels = manifest.value.pointer("/metadata/labels").cloned().unwrap_or_default();
                let labels: BTreeMap<String, String> = serde_json::from_value(labels).unwrap_or_default();
                let name = manifest.text("/metadata/name").to_owned();
                self.governed.insert(name.clone(), Governance::of(&labels));
                self.labels.insert(name, labels);
                Ok(())
            }
            (false, "NetworkPolicy") => read(manifest).map(|policy: NetworkPolicy| {
                ReadObjects::add(&mut self.read.network_policies, &namespace, policy);
            }),
            (false, "PersistentVolumeClaim") => read(manifest).map(|claim: PersistentVolumeClaim| {
                ReadObjects::add(&mut self.read.claims, &namespace, claim);
            }),
            (false, "StorageClass") => {
                read(manifest).map(|class: StorageClass| ReadObjects::add(&mut self.read.classes, "", class))
            }
            (true, "RiskLevel") => self.add_level(manifest),
            (true, "ApproverRole") => insert(&mut self.roles, manifest, None),
            (true, "TrustedSidecar") => insert(&mut self.sidecars, manifest, None),
            (true, "AISystem") => insert(&mut self.of(&namespace).systems, manifest, place),
            (true, "ModelVersion") => insert(&mut self.of(&namespace).versions, manifest, place),
            (true, "Assessment") => self.add_assessment(manifest, &namespace),
            (true, "Incident") => insert(&mut self.of(&namespace).incidents, manifest, place),
            (true, "IncidentNote") => self.add_note(manifest, &namespace),
            (true, "Override") => insert(&mut self.of(&namespace).overrides, manifest, place),
            (true, "Monitor") => self.add_monitor(manifest, &namespace),
            (true, "Approval") => approval(manifest, &namespace).map(drop),
            _ => Ok(()),
        };
        let strict =
            || manifest.is_of_assent().then(|| unknown_field(manifest.text("/kind"), &manifest.value));
        let why = read.err().or_else(|| strict().flatten())?;
        let next = vec![format!("kubectl explain {}.spec", manifest.text("/kind").to_lowercase())];
        Some(Checked { conclusion: why, next, ..self.checked(manifest, Outcome::Invalid) })
    }

    /// Adds a risk level with its compiled requirements. Fails if the CEL expression of a requirement is not valid,
    /// because the operator would withhold every version of this level.
    fn add_level(&mut self, manifest: &Manifest) -> Result<(), String> {
        insert(&mut self.levels, manifest, None)?;
        let name = manifest.text("/metadata/name");
        let level = self.levels.get(name);
        let requirements = level.map(|l| Requirements::compile(&l.spec.requirements)).unwrap_or_default();
        let invalid = requirements.invalid().map(|(name, why)| format!("requirement {name}: {why}"));
        let invalid: Vec<_> = invalid.collect();
        self.requirements.insert(name.to_owned(), Arc::new(requirements));
        if invalid.is_empty() { Ok(()) } else { Err(invalid.join("; ")) }
    }

    /// Adds an assessment with the current time as its creation time. Like the API server, refuses a `performedAt` in the
    /// future.
    fn add_assessment(&mut self, manifest: &Manifest, namespace: &str) -> Result<(), String> {
        let now = Time(self.now);
        insert(&mut self.of(namespace).assessments, manifest, Some(namespace))?;
        let name = manifest.text("/metadata/name");
        if let Some(assessment) = self.of(namespace).assessments.get_mut(name) {
            let assessment = Arc::make_mut(assessment);
            assessment.metadata.creation_timestamp = Some(now.clone());
            if assessment.spec.performed_at > now {
                let why = format!("spec.performedAt {} is in the future", assessment.spec.performed_at.0);
                self.of(namespace).assessments.remove(name);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Adds an `IncidentNote`. A decision to resume counts only after certain notes, but a file does not prove when a
    /// person wrote a note. So the check treats each note as older than every decision to resume.
    fn add_note(&mut self, manifest: &Manifest, namespace: &str) -> Result<(), String> {
        let notes = &mut self.of(namespace).notes;
        insert(notes, manifest, Some(namespace))?;
        if let Some(note) = notes.get_mut(manifest.text("/metadata/name")) {
            Arc::make_mut(note).metadata.creation_timestamp = Some(Time(Timestamp::MIN));
        }
        Ok(())
    }

    /// Adds a monitor, with a status as if the operator had queried the metric. Fails if a query cannot be limited to
    /// the namespace, because the operator would refuse this query.
    fn add_monitor(&mut self, manifest: &Manifest, namespace: &str) -> Result<(), String> {
        let monitors = &mut self.of(namespace).monitors;
        insert(monitors, manifest, Some(namespace))?;
        let Some(monitor) = monitors.get_mut(manifest.text("/metadata/name")) else { return Ok(()) };
        let monitor = Arc::make_mut(monitor);
        let measured = Some(monitor.spec.measured_digest());
        monitor.status = Some(MonitorStatus { measured, ..MonitorStatus::default() });
        let limited = LimitedQueries::of(&monitor.spec, NAMESPACE_LABEL, namespace);
        limited.map(drop).map_err(|refused| refused.to_string())
    }

    /// Adds the Approval in a manifest. Returns a result instead if the Approval does not count. Ignores other kinds.
    /// The caller must first add all `ApproverRole` objects, because an `ApproverRole` lists the keys of the approvers.
    fn add_approval(&mut self, manifest: &Manifest) -> Option<Checked> {
        if !manifest.is_of_assent() || manifest.text("/kind") != "Approval" {
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

    fn of(&mut self, namespace: &str) -> &mut InNamespace {
        self.by_namespace.entry(namespace.to_owned()).or_default()
    }

    /// Compiles the objects of a namespace, as the operator would after a user applies all manifests.
    fn compiled(&self, namespace: &str) -> Compiled {
        let described = self.by_namespace.get(namespace).cloned().unwrap_or_default();
        let facts = compile::NamespaceFacts {
            systems: described.systems.iter().map(cached).collect(),
            versions: described.versions.iter().map(cached).collect(),
            approvals: described.approvals.iter().map(cached).collect(),
            assessments: described.assessments.iter().map(cached).collect(),
            incidents: described.incidents.iter().map(cached).collect(),
            notes: described.notes.iter().map(cached).collect(),
            overrides: described.overrides.iter().map(cached).collect(),
            monitors: described.monitors.iter().map(cached).collect(),
            clearance: None,
            roles: self.roles.clone(),
            levels: self.levels.clone(),
            requirements: self.requirements.clone(),
            labels: self.labels.get(namespace).cloned(),
            cluster: self.read.of(namespace),
            trusted: Arc::clone(&self.trusted),
        };
        let known = self.governed.get(namespace);
        let enforcing = Governance { mode: Some(Mode::Enforce), ..Governance::default() };
        let governance = known.copied().unwrap_or(enforcing);
        let compiled = compile::compile(namespace, governance, &facts, self.now);
        let clearance = compiled.clearance.map(|spec| Clearance::new(CLEARANCE_NAME, spec));
        let records =
            described.systems.keys().map(|name| (name.clone(), self.record(namespace, name, &described)));
        Compiled {
            assumed: known.is_none(),
            facts: ExplainInput {
                namespace: namespace.to_owned(),
                place: format!(" -n {namespace}"),
                governance: Seen::Found(governance),
                clearance: clearance.map_or(Seen::Absent, Seen::Found),
                pins: true,
                records: records.collect(),
                holders: Err("the check reads no cluster".to_owned()),
                now: self.now,
            },
        }
    }

    fn record(&self, namespace: &str, name: &str, described: &InNamespace) -> SystemRecord {
        let system = described.systems.get(name).map(|system| AISystem::clone(system));
        let level = system.as_ref().and_then(|system| self.levels.get(&system.spec.risk_level));
        let level = level.map(|level| RiskLevel::clone(level));
        let labels = self.labels.get(namespace).cloned();
        let (namespace, name, keys) = (namespace.to_owned(), name.to_owned(), self.roles.clone());
        let (versions, approvals) = (described.versions.values(), described.approvals.values());
        let cluster = self.read.of(&namespace);
        SystemRecord { namespace, name, system, level, keys, labels, cluster, ..SystemRecord::default() }
            .with_objects(
                versions.map(AsRef::as_ref),
                approvals.map(AsRef::as_ref),
                described.assessments.values().map(AsRef::as_ref),
            )
            .with_incidents(
                described.incidents.values().map(AsRef::as_ref),
                described.notes.values().map(AsRef::as_ref),
            )
            .with_overrides(described.overrides.values().map(AsRef::as_ref))
            .with_monitors(Some(described.monitors.values().map(AsRef::as_ref)))
    }

    fn pods(&self, manifest: &Manifest, group: &PodGroup, place: &Compiled) -> Checked {
        let finding = PodFinding::new(group, &place.facts);
        let not_enforcing =
            place.facts.governance.mode().filter(|mode| *mode != Mode::Enforce && !finding.cleared);
        let outcome = match (finding.cleared || not_enforcing.is_some(), finding.is_for_want_of_approval) {
            (true, _) => Outcome::Runs,
            (false, true) => Outcome::AwaitsApproval,
            (false, false) => Outcome::Held,
        };
        let conclusion = match not_enforcing {
            Some(mode) => {
                let (namespace, mode) = (&place.facts.namespace, mode.name());
                format!(
                    "namespace {namespace} has the mode {mode}; if it enforced, the pod would be held: {}",
                    finding.conclusion
                )
            }
            None => finding.conclusion,
        };
        Checked {
            warnings: warnings(group, &finding.matches, &place.facts),
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

/// The reasons why the prediction for `group` is uncertain. One reason is that the pods seem to call a provider that
/// their system does not name. The other reason is that a requirement reads an object that is not in the manifests.
fn warnings(group: &PodGroup, matches: &[String], facts: &ExplainInput) -> Vec<String> {
    let record = group.system.as_ref().and_then(|system| facts.records.get(system));
    let Some((record, system)) = record.and_then(|record| Some((record, record.system.as_ref()?))) else {
        return Vec::new();
    };
    let undeclared = group.runtime.as_ref().map(|runtime| policy::undeclared(runtime, &system.spec));
    let undeclared = undeclared.unwrap_or_default().into_iter().map(|(provider, sign)| {
        format!("{sign}: it may call {provider}, which spec.hostedModels of the system does not name")
    });
    let matching = matches.iter().filter_map(|version| record.version(version));
    let unknown: BTreeSet<_> = matching.flat_map(|v| record.requirement_results(v).unknown).collect();
    let unknown = unknown.into_iter().map(|name| {
        format!(
            "requirement {name} reads an object that is not in the manifests, such as the Namespace: its result is \
             not known"
        )
    });
    undeclared.chain(unknown).collect()
}

struct Compiled {
    assumed: bool,
    facts: ExplainInput,
}

/// Converts an object to the type that the operator keeps in its cache.
fn cached<K: Clone, V: From<K>>((name, object): (&String, &Arc<K>)) -> (String, Arc<V>) {
    (name.clone(), Arc::new(K::clone(object).into()))
}

/// Parses an Approval. Sets the namespace, because a manifest can omit the namespace.
fn approval(manifest: &Manifest, namespace: &str) -> Result<Approval, String> {
    let mut approval: Approval =
        serde_json::from_value(manifest.value.clone()).map_err(|error| error.to_string())?;
    approval.metadata.namespace = Some(namespace.to_owned());
    Ok(approval)
}

fn read<K: DeserializeOwned>(manifest: &Manifest) -> Result<K, String> {
    serde_json::from_value(manifest.value.clone()).map_err(|error| error.to_string())
}

/// Parses an object and inserts the object by name. Sets the namespace, because a manifest can omit the namespace.
fn insert<K>(
    objects: &mut BTreeMap<String, Arc<K>>,
    manifest: &Manifest,
    namespace: Option<&str>,
) -> Result<(), String>
where
    K: DeserializeOwned + kube::Resource,
{
    let mut object: K = read(manifest)?;
    object.meta_mut().namespace = namespace.map(str::to_owned);
    objects.insert(object.name_any(), Arc::new(object));
    Ok(())
}
