//! Records the history of each system: changed verdicts, the changed objects that altered them, and deleted objects.
//!
//! ```text
//!  NamespaceFacts, statuses ──► Snapshot ──► differs from the last written state? ──► append to the SystemHistory
//! ```
//!
//! A `SystemHistory` stores its entries and the state of the system at the last write. So after an outage, the operator
//! records the changes that happened during the outage.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use tokio::sync::OnceCell;
use tracing::warn;

use super::{
    Error, by_namespace::ByNamespace, fingerprint::fingerprint, index::NamespaceFacts, status::Statuses,
    write::MANAGER,
};
use crate::{
    api::{
        ApproverRole, Attribution, CLEARED_BY_OVERRIDE, Change, Condition, HistoryEntry, Observed,
        ObservedSource, ObservedVersion, SystemHistory, SystemHistorySpec, Text,
    },
    policy::required_to_resume,
    truncate::{plain, shorten},
    watch::request,
};

/// The maximum number of entries, versions and sources, and the maximum length of a note in bytes. The schema of
/// `SystemHistory` sets these limits.
const ENTRIES: usize = 256;
const VERSIONS: usize = 512;
const SOURCES: usize = 64;
const NOTE: usize = 512;

/// The page size with which the operator lists all histories after its start. Pages are small, because a history can be
/// large.
const PAGE: u32 = 100;

/// The maximum number of histories of a namespace that the operator writes after one compile.
const AT_ONCE: usize = 32;

/// The kind of an `ApproverRole` in the references of a history. A reference has the kind and the name, such as
/// `approverrole/risk-officer`.
const ROLE: &str = "approverrole";

/// The reason of the condition `Cleared` of a version that may run without an override.
const CLEARED: &str = "Cleared";

fn is_cleared(verdict: &str) -> bool {
    [CLEARED, CLEARED_BY_OVERRIDE].contains(&verdict)
}

/// The state of one system, and the details for its next history entries.
#[derive(Default)]
pub struct Snapshot {
    observed: Observed,
    /// The author of each object on which the verdicts depend, by kind and name, such as `aisystem/scorer`.
    writers: BTreeMap<String, Attribution>,
    /// The message of the verdict on each version, by the name of the version.
    messages: BTreeMap<String, Text>,
    /// The UIDs of all versions of the system, by name. In contrast, `observed` has at most [`VERSIONS`] versions.
    uids: BTreeMap<String, Option<String>>,
    /// The UIDs of all existing approver roles, by kind and name, even of roles that the level does not name.
    roles: Arc<BTreeMap<String, Option<String>>>,
}

/// One snapshot for each system, by the name of the system. A system that does not exist has a snapshot if a version
/// names it.
pub fn snapshots(facts: &NamespaceFacts, statuses: &Statuses) -> BTreeMap<String, Snapshot> {
    let mut snapshots: BTreeMap<String, Snapshot> = BTreeMap::new();
    let mut newest: Vec<_> = facts.versions.values().collect();
    newest.sort_by(|a, b| (b.created, &b.name).cmp(&(a.created, &a.name)));
    for version in newest {
        let Some(cleared) = statuses.versions.get(&version.name).and_then(|s| verdict(&s.conditions)) else {
            continue;
        };
        let snapshot = snapshots.entry(version.spec.system.clone()).or_default();
        snapshot.uids.insert(version.name.clone(), version.uid.clone());
        snapshot.observed.versions.push(ObservedVersion {
            name: version.name.clone(),
            uid: version.uid.clone(),
            verdict: cleared.reason.to_string(),
        });
        snapshot.messages.insert(version.name.clone(), cleared.message.clone());
    }
    for (name, system) in &facts.systems {
        let snapshot = snapshots.entry(name.clone()).or_default();
        snapshot.source("aisystem", name, (system.uid.clone(), system.generation), &system.attribution);
        let Some(level) = facts.levels.get(&system.spec.risk_level) else { continue };
        let of = |meta: &kube::core::ObjectMeta| (meta.uid.clone(), meta.generation);
        let by = Attribution::of(&level.metadata);
        snapshot.source("risklevel", &system.spec.risk_level, of(&level.metadata), &by);
        let approvers = level.spec.approvals.iter().map(|required| &required.role);
        let assessors = level.spec.assessments.iter().map(|required| &required.role);
        let resumers = required_to_resume(&level.spec).iter().map(|required| &required.role);
        let of_overrides = level.spec.overrides.iter();
        let overriders =
            of_overrides.clone().flat_map(|rules| rules.roles.iter().map(|required| &required.role));
        let reviewers = of_overrides.flat_map(|rules| &rules.review.roles);
        let roles = approvers.chain(assessors).chain(resumers).chain(overriders).chain(reviewers);
        let roles = roles.collect::<BTreeSet<_>>();
        for (role, object) in roles.into_iter().filter_map(|role| facts.roles.get_key_value(role)) {
            snapshot.source(ROLE, role, of(&object.metadata), &Attribution::of(&object.metadata));
        }
    }
    let uid = |(name, role): (&String, &Arc<ApproverRole>)| (role_object(name), role.metadata.uid.clone());
    let roles = Arc::new(facts.roles.iter().map(uid).collect());
    for snapshot in snapshots.values_mut() {
        snapshot.roles = Arc::clone(&roles);
        bound(&mut snapshot.observed);
    }
    snapshots
}

fn verdict(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == "Cleared")
}

/// Cuts the lists of versions and sources to their maximum lengths. Of the versions, keeps the cleared ones first, and
/// then the newest ones.
fn bound(observed: &mut Observed) {
    observed.versions.sort_by_key(|version| !is_cleared(&version.verdict));
    observed.versions.truncate(VERSIONS);
    observed.versions.sort_by(|a, b| a.name.cmp(&b.name));
    observed.sources.truncate(SOURCES);
}

impl Snapshot {
    fn source(
        &mut self,
        kind: &str,
        name: &str,
        (uid, generation): (Option<String>, Option<i64>),
        by: &Attribution,
    ) {
        let object = format!("{kind}/{name}");
        self.writers.insert(object.clone(), by.clone());
        self.observed.sources.push(ObservedSource { object, uid, generation });
    }

    /// The history entries for the changes since `before`: deletions, then changed objects, then changed verdicts.
    /// Changed objects get an entry only if a verdict changed.
    fn since(&self, before: &Observed, at: Timestamp) -> Vec<HistoryEntry> {
        let verdicts: Vec<_> = self.verdicts(before).collect();
        let altered = !verdicts.is_empty();
        let mut entries = self.deletions(before, altered, at);
        if altered {
            entries.extend(self.changes(before).map(|object| self.change(object, at)));
        }
        entries.extend(verdicts.into_iter().map(|version| {
            let is_cleared = is_cleared(&version.verdict);
            let change = if is_cleared { Change::Cleared } else { Change::Withheld };
            HistoryEntry {
                reason: (!is_cleared).then(|| version.verdict.clone()),
                note: self.messages.get(&version.name).map(|message| bounded(message, NOTE)),
                ..entry(change, version_object(&version.name), at)
            }
        }));
        entries
    }

    /// The versions whose verdict changed since `before`. A new version that is not cleared does not count.
    fn verdicts<'a>(&'a self, before: &'a Observed) -> impl Iterator<Item = &'a ObservedVersion> {
        let known: BTreeMap<_, _> = before.versions.iter().map(|v| (&v.name, &v.verdict)).collect();
        self.observed.versions.iter().filter(move |version| match known.get(&version.name) {
            Some(verdict) => **verdict != version.verdict,
            None => is_cleared(&version.verdict),
        })
    }

    /// The history entries for deleted objects. A deleted system or version always gets an entry. A deleted level or
    /// role gets an entry only if a verdict changed (`altered`). An object that was deleted and created again counts as
    /// deleted.
    fn deletions(&self, before: &Observed, altered: bool, at: Timestamp) -> Vec<HistoryEntry> {
        let is_same =
            |source: &ObservedSource| self.source_of(&source.object).is_some_and(|now| now.uid == source.uid);
        let sources = before.sources.iter().filter(|source| {
            !is_same(source) && (is_system(source) || altered && self.is_deleted(source, before))
        });
        let versions =
            before.versions.iter().filter(|version| self.uids.get(&version.name) != Some(&version.uid));
        let gone = sources.map(|source| source.object.clone());
        let gone = gone.chain(versions.map(|version| version_object(&version.name)));
        gone.map(|object| entry(Change::Deleted, object, at)).collect()
    }

    /// Whether the level or role `source` of the snapshot `before` was deleted. If not, only the reference is gone: the
    /// system no longer names the level, or the level no longer names the role.
    fn is_deleted(&self, source: &ObservedSource, before: &Observed) -> bool {
        if is_role(source) {
            return self.roles.get(&source.object) != Some(&source.uid);
        }
        // If the system is gone or changed, the level can still exist although the snapshot lacks it.
        self.observed.sources.iter().any(is_system) && !self.system_changed(before)
    }

    /// The sources (system, level and roles) that are new or changed since `before`. A new source does not count in the
    /// first snapshot, or if the system changed. A new role does not count if the level changed. In these cases, a new
    /// source can be an old object to which only the reference is new.
    fn changes<'a>(&'a self, before: &'a Observed) -> impl Iterator<Item = &'a ObservedSource> {
        let is_first = before.sources.is_empty();
        let system_changed = self.system_changed(before);
        let level = self.observed.sources.iter().find(|source| is_level(source));
        let level_changed = level.is_some_and(|level| !before.sources.contains(level));
        self.observed.sources.iter().filter(move |source| {
            match before.sources.iter().find(|b| b.object == source.object) {
                Some(before) => *source != before,
                None => !(is_first || system_changed || level_changed && is_role(source)),
            }
        })
    }

    /// Whether the system itself changed. A changed system can name another level, and so other roles.
    fn system_changed(&self, before: &Observed) -> bool {
        let system = before.sources.iter().find(|source| is_system(source));
        system.is_some_and(|before| self.source_of(&before.object).is_some_and(|now| now != before))
    }

    fn source_of(&self, object: &str) -> Option<&ObservedSource> {
        self.observed.sources.iter().find(|source| source.object == object)
    }

    fn change(&self, source: &ObservedSource, at: Timestamp) -> HistoryEntry {
        let by = self.writers.get(&source.object).cloned().unwrap_or_default();
        let user = by.user().map(|user| bounded(user, 1024));
        let field_manager = by.field_manager.filter(|_| user.is_none()).map(|name| bounded(&name, 256));
        HistoryEntry { by: user, field_manager, ..entry(Change::Changed, source.object.clone(), at) }
    }
}

fn is_system(source: &ObservedSource) -> bool {
    source.object.starts_with("aisystem/")
}

fn is_level(source: &ObservedSource) -> bool {
    source.object.starts_with("risklevel/")
}

fn is_role(source: &ObservedSource) -> bool {
    source.object.split('/').next() == Some(ROLE)
}

fn role_object(name: &str) -> String {
    format!("{ROLE}/{name}")
}

fn version_object(name: &str) -> String {
    format!("modelversion/{name}")
}

fn entry(change: Change, object: String, at: Timestamp) -> HistoryEntry {
    HistoryEntry { at: Time(at), change, object, by: None, field_manager: None, reason: None, note: None }
}

/// `text` without the characters that the API server refuses, cut to `bytes` bytes.
fn bounded(text: &str, bytes: usize) -> String {
    shorten(plain(text).into_owned(), bytes)
}

/// The fingerprint of the last written state, by the name of the system.
type Written = BTreeMap<String, u64>;

/// The fingerprints of all histories that this operator read or wrote, by namespace.
#[derive(Default)]
pub struct Histories {
    listed: OnceCell<()>,
    written: ByNamespace<Written>,
}

impl Histories {
    /// Records the changes in `namespace` since the previous call. Writes at most [`AT_ONCE`] histories, so that a user
    /// with many systems does not delay the next compile of the namespace. Returns whether some histories are not
    /// written yet.
    pub async fn record(
        &self,
        client: &Client,
        namespace: &str,
        mut snapshots: BTreeMap<String, Snapshot>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.listed.get_or_try_init(|| self.list(client)).await?;
        let api: Api<SystemHistory> = Api::namespaced(client.clone(), namespace);
        let mut written = self.written.take(namespace);
        // A deleted system has a history but no snapshot. With an empty snapshot, the deletion is recorded.
        for name in written.keys() {
            snapshots.entry(name.clone()).or_default();
        }
        let due = snapshots.iter().filter(|(name, snapshot)| has_history(&written, name, snapshot));
        let due = due.map(|(name, snapshot)| (name, snapshot, fingerprint(&snapshot.observed)));
        let due: Vec<_> = due.filter(|(name, _, now)| written.get(*name) != Some(now)).collect();
        let mut outcome = Ok(due.len() > AT_ONCE);
        for (name, snapshot, fingerprint) in due.into_iter().take(AT_ONCE) {
            match append(&api, name, snapshot, now).await {
                Ok(()) => drop(written.insert(name.clone(), fingerprint)),
                Err(source) => {
                    let what = format!("systemhistory {name} of namespace {namespace}");
                    outcome = Err(Error::Write { what, source });
                }
            }
        }
        if !written.is_empty() {
            self.written.put(namespace, written);
        }
        outcome
    }

    /// Lists the histories of all namespaces, and caches their fingerprints.
    async fn list(&self, client: &Client) -> Result<(), Error> {
        let api: Api<SystemHistory> = Api::all(client.clone());
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = request::list(&api, &params)
                .await
                .map_err(|source| Error::Write { what: "list of systemhistories".to_owned(), source })?;
            for history in page.items {
                let namespace = history.namespace().unwrap_or_default();
                let fingerprint = fingerprint(&history.spec.observed);
                let mut written = self.written.take(&namespace);
                written.insert(history.name_any(), fingerprint);
                self.written.put(&namespace, written);
            }
            let Some(next) = page.metadata.continue_.filter(|next| !next.is_empty()) else { return Ok(()) };
            params = params.continue_token(&next);
        }
    }

    pub fn forget(&self, namespace: &str) {
        self.written.forget(namespace);
    }
}

/// Whether the system `name` already has a history, or needs a history because a version names the system.
fn has_history(written: &Written, name: &str, snapshot: &Snapshot) -> bool {
    written.contains_key(name) || !snapshot.observed.versions.is_empty()
}

/// Appends the changes of the system `name` to its history. The write states the resource version that this function
/// read. So a former leader gets a conflict and cannot overwrite newer entries.
async fn append(
    api: &Api<SystemHistory>,
    name: &str,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let found = request::get_opt(api, name).await?;
    let mut history = found.unwrap_or_else(|| SystemHistory::new(name, SystemHistorySpec::default()));
    let entries = snapshot.since(&history.spec.observed, now);
    extend(&mut history.spec, entries);
    history.spec.observed = snapshot.observed.clone();
    match request::put(api, &params, &history).await {
        Ok(()) => Ok(()),
        // No retry: the API server would refuse the same object again.
        Err(kube::Error::Api(answer)) if [413, 422].contains(&answer.code) => {
            warn!(system = name, "the history of the system cannot be recorded: {}", answer.message);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn extend(history: &mut SystemHistorySpec, entries: Vec<HistoryEntry>) {
    history.entries.extend(entries);
    let excess = history.entries.len().saturating_sub(ENTRIES);
    history.entries.drain(..excess);
    history.dropped = history.dropped.saturating_add(excess as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(generation: i64, versions: &[(&str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let by = Attribution { changed_by: Some("dev".into()), ..Attribution::default() };
        snapshot.source("aisystem", "s", (None, Some(generation)), &by);
        snapshot.source("risklevel", "high", (None, Some(1)), &Attribution::default());
        for (name, verdict) in versions {
            snapshot.uids.insert((*name).to_owned(), None);
            let observed =
                ObservedVersion { name: (*name).to_owned(), uid: None, verdict: (*verdict).to_owned() };
            snapshot.observed.versions.push(observed);
        }
        snapshot
    }

    fn changes(before: &Snapshot, now: &Snapshot) -> Vec<(Change, String, Option<String>)> {
        let entries = now.since(&before.observed, Timestamp::UNIX_EPOCH);
        entries.into_iter().map(|entry| (entry.change, entry.object, entry.by)).collect()
    }

    #[test]
    fn a_change_is_recorded_with_its_author_and_the_changed_verdicts() {
        let before = snapshot(1, &[("v1", "Cleared"), ("v2", "Rejected")]);
        let now = snapshot(2, &[("v1", "AwaitingApproval"), ("v2", "Rejected")]);
        let expected = [
            (Change::Changed, "aisystem/s".to_owned(), Some("dev".to_owned())),
            (Change::Withheld, "modelversion/v1".to_owned(), None),
        ];
        assert_eq!(changes(&before, &now), expected);
    }

    #[test]
    fn a_change_that_alters_no_verdict_is_not_recorded() {
        let versions = [("v1", "AwaitingApproval")];
        assert_eq!(changes(&snapshot(1, &[]), &snapshot(1, &versions)), []);
        assert_eq!(changes(&snapshot(1, &versions), &snapshot(2, &versions)), []);
    }

    #[test]
    fn every_deletion_is_recorded() {
        let before = snapshot(1, &[("v1", "Cleared"), ("v2", "Rejected")]);
        let deleted = |object: &str| (Change::Deleted, object.to_owned(), None);
        let now = snapshot(1, &[("v1", "Cleared")]);
        assert_eq!(changes(&before, &now), [deleted("modelversion/v2")]);
        let gone = Snapshot::default();
        let all = ["aisystem/s", "modelversion/v1", "modelversion/v2"].map(deleted);
        assert_eq!(changes(&before, &gone), all);
    }

    /// Adds an approver role that exists and that the level requires.
    fn with_role(mut snapshot: Snapshot, name: &str) -> Snapshot {
        snapshot.source(ROLE, name, (None, Some(1)), &Attribution::default());
        exists(snapshot, &[name])
    }

    fn exists(mut snapshot: Snapshot, roles: &[&str]) -> Snapshot {
        snapshot.roles = Arc::new(roles.iter().map(|name| (role_object(name), None)).collect());
        snapshot
    }

    #[test]
    fn a_level_or_role_that_still_exists_is_not_recorded_as_deleted() {
        let before = with_role(snapshot(1, &[("v1", "Cleared")]), "risk-officer");
        let withheld = (Change::Withheld, "modelversion/v1".to_owned(), None);
        let deleted = |object: &str| (Change::Deleted, object.to_owned(), None);
        // The level no longer requires the role.
        let mut now = exists(snapshot(1, &[("v1", "NotRequired")]), &["risk-officer"]);
        now.observed.sources[1].generation = Some(2);
        let level = (Change::Changed, "risklevel/high".to_owned(), None);
        assert_eq!(changes(&before, &now), [level.clone(), withheld.clone()]);
        // The system is deleted, and its version remains.
        let mut now = exists(snapshot(1, &[("v1", "SystemNotFound")]), &["risk-officer"]);
        now.observed.sources.clear();
        assert_eq!(changes(&before, &now), [deleted("aisystem/s"), withheld.clone()]);
        // The level is deleted, and its role remains.
        let mut now = exists(snapshot(1, &[("v1", "RiskLevelNotFound")]), &["risk-officer"]);
        now.observed.sources.remove(1);
        assert_eq!(changes(&before, &now), [deleted("risklevel/high"), withheld.clone()]);
        // The role itself is deleted.
        let now = snapshot(1, &[("v1", "AwaitingApproval")]);
        assert_eq!(changes(&before, &now), [deleted("approverrole/risk-officer"), withheld.clone()]);
        // The level requires another role, which existed before.
        let mut now = with_role(snapshot(1, &[("v1", "AwaitingApproval")]), "ethics-board");
        now.observed.sources[1].generation = Some(2);
        now.roles = Arc::new(["risk-officer", "ethics-board"].map(|name| (role_object(name), None)).into());
        assert_eq!(changes(&before, &now), [level, withheld]);
    }

    #[test]
    fn a_recreated_object_is_recorded_as_deleted() {
        let before = snapshot(1, &[("v1", "Cleared")]);
        let mut now = snapshot(1, &[("v1", "Cleared")]);
        now.observed.sources[0].uid = Some("other".to_owned());
        now.uids.insert("v1".to_owned(), Some("other".to_owned()));
        let expected = ["aisystem/s", "modelversion/v1"];
        let changes = changes(&before, &now);
        assert_eq!(changes, expected.map(|object| (Change::Deleted, object.to_owned(), None)));
    }

    #[test]
    fn a_switch_to_another_level_is_recorded_as_a_change_of_the_system() {
        let before = snapshot(1, &[("v1", "Cleared")]);
        let mut now = snapshot(2, &[("v1", "AwaitingApproval")]);
        now.observed.sources[1].object = "risklevel/other".to_owned();
        let changed: Vec<_> = changes(&before, &now).into_iter().map(|(_, object, _)| object).collect();
        assert_eq!(changed, ["aisystem/s", "modelversion/v1"]);
    }

    #[test]
    fn the_oldest_entries_are_dropped_and_counted() {
        let mut history = SystemHistorySpec::default();
        for n in 0..ENTRIES {
            let (before, now) = (snapshot(1, &[]), snapshot(1, &[("v1", CLEARED)]));
            let at = Timestamp::from_second(i64::try_from(n).expect("few")).expect("in range");
            extend(&mut history, now.since(&before.observed, at));
        }
        assert_eq!((history.entries.len(), history.dropped), (ENTRIES, 0));
        let more = history.entries[0].clone();
        extend(&mut history, vec![more; 2]);
        assert_eq!((history.entries.len(), history.dropped), (ENTRIES, 2));
        assert_eq!(history.entries[0].at.0.as_second(), 2);
    }

    #[test]
    fn a_cleared_version_stays_in_a_full_snapshot() {
        let names: Vec<_> = (0..=VERSIONS).map(|n| format!("v{n:04}")).collect();
        let mut versions: Vec<_> = names.iter().map(|name| (name.as_str(), "Rejected")).collect();
        versions[VERSIONS].1 = CLEARED;
        let mut observed = snapshot(1, &versions).observed;
        bound(&mut observed);
        assert_eq!(observed.versions.len(), VERSIONS);
        assert!(observed.versions.iter().any(|version| version.verdict == CLEARED));
    }
}
