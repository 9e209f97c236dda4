//! Replays the entries of a log with the rules that need no risk level.
//!
//! ```text
//!  decided, declared ─► facts by index ─┬─► cleared   rests on approvals of this content that last and are not revoked
//!                                       └─► lost      rests on the clearance that ends
//! ```
//!
//! Which approvals a version needs is in its risk level, which these rules do not know.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use jiff::Timestamp;

use super::{
    entry::Entry,
    fact::{Fact, Version},
};
use crate::api::Decision;

/// What later entries need of a decision. A log can have millions of entries, so names are hashed. The keys of the hashes
/// are random, so nobody can choose names with equal hashes.
#[derive(Clone, Copy, Debug)]
struct Decided {
    about: About,
    decision: Decision,
    proven: bool,
    at: Timestamp,
    not_after: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct About {
    system: u64,
    version: u64,
    digest: u64,
}

impl About {
    /// The keys under which a revocation is found: it applies by name and by content.
    const fn keys(self) -> [(u64, u64); 2] {
        [(self.system, self.version), (self.system, self.digest)]
    }
}

/// The state of the log after the entries that were replayed.
#[derive(Debug, Default)]
pub(super) struct Replay {
    hashes: RandomState,
    decided: HashMap<u64, Decided>,
    /// The latest revocation, by system and version and by system and digest.
    revoked: HashMap<(u64, u64), Timestamp>,
    /// The clearance of each version that is cleared.
    cleared: HashMap<(u64, u64), u64>,
    /// The entries with disclosures.
    disclosing: HashSet<u64>,
}

impl Replay {
    /// Adds the entry at a position. Returns the contradictions to earlier entries.
    pub(super) fn entry(&mut self, index: u64, entry: &Entry) -> Vec<String> {
        let mut why = Vec::new();
        let future = entry.rests_on.iter().filter(|on| **on >= index);
        why.extend(future.map(|on| format!("it rests on entry {on}, which does not exist before it")));
        if why.is_empty() {
            match &entry.fact {
                Fact::Cleared { version, until } => self.cleared(entry, version, *until, &mut why),
                Fact::Lost { version, .. } => self.lost(entry, version, &mut why),
                Fact::Erased { .. } => self.erased(entry, &mut why),
                _ => {}
            }
        }
        if !entry.disclosures.is_empty() {
            self.disclosing.insert(index);
        }
        self.keep(index, entry);
        why
    }

    fn cleared(&self, entry: &Entry, version: &Version, until: Option<Timestamp>, why: &mut Vec<String>) {
        if entry.rests_on.is_empty() {
            why.push("it clears a version and rests on no entry".to_owned());
        }
        let about = self.about(version);
        for on in &entry.rests_on {
            let decided = self.decided.get(on);
            let reasons =
                decided.map(|decided| self.reasons_against(decided, about, until)).unwrap_or_default();
            why.extend(
                reasons
                    .iter()
                    .map(|reason| format!("it rests on the decision in entry {on}, which {reason}")),
            );
        }
    }

    /// Why a decision cannot carry a clearance of this content until this time.
    fn reasons_against(&self, on: &Decided, about: About, until: Option<Timestamp>) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if on.about.system != about.system {
            reasons.push("is about another system");
        }
        if on.decision.withholds() {
            reasons.push("withholds a version");
        }
        if !on.proven {
            reasons.push("has no proven author");
        }
        if on.decision != Decision::Approve {
            return reasons;
        }
        if on.about != about {
            reasons.push("approves another version or other content");
        }
        if on.not_after.is_some_and(|end| until.is_none_or(|until| until > end)) {
            reasons.push("ends before the clearance");
        }
        let is_revoked = |of| self.revoked.get(of).is_some_and(|revoked| *revoked >= on.at);
        if about.keys().iter().any(is_revoked) {
            reasons.push("was revoked before");
        }
        reasons
    }

    fn lost(&self, entry: &Entry, version: &Version, why: &mut Vec<String>) {
        let about = self.about(version);
        match self.cleared.get(&(about.system, about.version)) {
            None => why.push("it ends a clearance, and the version is not cleared".to_owned()),
            Some(clearance) if !entry.rests_on.contains(clearance) => {
                why.push(format!("it does not rest on entry {clearance}, which cleared the version"));
            }
            Some(_) => {}
        }
    }

    fn erased(&self, entry: &Entry, why: &mut Vec<String>) {
        let is_one = matches!(entry.rests_on[..], [on] if self.disclosing.contains(&on));
        if !is_one {
            why.push("it does not rest on exactly one entry with personal data".to_owned());
        }
    }

    /// Keeps what later entries need.
    fn keep(&mut self, index: u64, entry: &Entry) {
        match &entry.fact {
            Fact::Decided { version, decision, proven, decided, not_after, .. } => {
                let (about, decision, proven) = (self.about(version), *decision, *proven);
                if decision == Decision::Revoke && proven {
                    for of in about.keys() {
                        let latest = self.revoked.entry(of).or_insert(*decided);
                        *latest = (*latest).max(*decided);
                    }
                }
                let (at, not_after) = (*decided, *not_after);
                self.decided.insert(index, Decided { about, decision, proven, at, not_after });
            }
            Fact::Cleared { version, .. } => {
                let about = self.about(version);
                self.cleared.insert((about.system, about.version), index);
            }
            Fact::Lost { version, .. } => {
                let about = self.about(version);
                self.cleared.remove(&(about.system, about.version));
            }
            _ => {}
        }
    }

    fn about(&self, version: &Version) -> About {
        let Version { namespace, system, model_version, subject_digest } = version;
        About {
            system: self.hashes.hash_one((namespace, system)),
            version: self.hashes.hash_one((1, model_version)),
            // The hash of an interned digest is its address, which is not the same for the whole replay.
            digest: self.hashes.hash_one((2, subject_digest.to_string())),
        }
    }
}
