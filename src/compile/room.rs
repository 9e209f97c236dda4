//! Selects the systems and versions of a namespace that fit into its Clearance.
//!
//! Systems come in this order:
//!
//! 1. Systems in the current Clearance with pods, a cleared version or a grace period. All of these systems fit.
//! 2. Systems with a newly cleared version.
//! 3. Other systems in the current Clearance.
//! 4. All other systems.
//!
//! Versions come in this order:
//!
//! 1. Versions in the current Clearance, because their pods can be running.
//! 2. Newly cleared versions: the first version of each system, then the second version of each system, and so on.
//!
//! Messages about withheld versions share the remaining bytes. In each group, the oldest systems and versions come
//! first. New versions come after the versions in the current Clearance. So a user cannot displace the running versions
//! of other users.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::{
    cost::{self, Added, Shape},
    stored::stored_size,
};
use crate::{api::ClearedVersion, policy::Capacity};

/// The part of the Clearance that the operator writes. The API server can refuse a Clearance that is within the limits
/// of this module. In this case, the operator tries the next smaller part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Everything that fits into the limits of this module.
    #[default]
    Everything,
    /// Everything except the messages about withheld versions.
    WithoutMessages,
    /// Only versions that are in the current Clearance and still cleared, and the times at which systems lost a
    /// clearance.
    WhatIsCleared,
    /// No versions: only the systems whose pods can be running, with the times at which these systems lost a clearance.
    Losses,
}

impl Room {
    pub const fn smaller(self) -> Option<Self> {
        match self {
            Self::Everything => Some(Self::WithoutMessages),
            Self::WithoutMessages => Some(Self::WhatIsCleared),
            Self::WhatIsCleared => Some(Self::Losses),
            Self::Losses => None,
        }
    }
}

/// The maximum number of systems in a Clearance, according to its schema.
pub const SYSTEMS: usize = 256;

/// The maximum number of cleared versions of one system, according to the schema of the Clearance.
pub const VERSIONS: usize = 32;

/// A version in the current Clearance stays only if the new Clearance does not exceed this size in bytes. etcd refuses
/// more than 1.5 MiB.
pub const MOST_BYTES: usize = 1400 * 1024;

/// A newly cleared version fits only if the Clearance does not exceed this size in bytes.
pub const NEW_BYTES: usize = 1024 * 1024;

/// A message about a withheld version fits only if the Clearance does not exceed this size in bytes.
pub const MESSAGE_BYTES: usize = NEW_BYTES + 128 * 1024;

/// A newly cleared version fits only if the cleared versions of its system do not exceed this size in bytes.
const SYSTEM_BYTES: usize = NEW_BYTES / 2;

/// A newly cleared version fits only if the cleared versions of its system do not exceed this CEL cost. The rest of the
/// API server's limit is for trusted sidecars that governance adds later.
const NEW_COST: u64 = cost::LIMIT / 5 * 4;

/// The maximum size in bytes of a system's entry, without its versions, its name and the name of its level.
const ENTRY: usize = 320;

/// The maximum size in bytes of the metadata that the API server adds.
pub const METADATA: usize = 2048;

/// The maximum number of systems that a message about a full Clearance names. The message names the largest systems.
const NAMED: usize = 3;

/// The priority of a system for an entry in the Clearance. The first variant has the highest priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The system is in the current Clearance, and its pods can be running.
    Runs,
    /// This compile clears a version of the system.
    New,
    /// The system is in the current Clearance, but none of its pods can be running.
    Known,
    None,
}

#[derive(Clone, Debug)]
pub struct CandidateSystem<'a> {
    pub system: &'a str,
    pub level: &'a str,
    pub claim: Claim,
    pub created: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct CandidateVersion<'a> {
    pub system: &'a str,
    pub created: Option<Timestamp>,
    /// Whether the version is in the current Clearance.
    pub kept: bool,
    pub entry: ClearedVersion,
}

#[derive(Debug, Default)]
pub struct Allotment<'a> {
    pub systems: BTreeSet<&'a str>,
    /// The selected versions, by system.
    pub cleared: BTreeMap<&'a str, Vec<ClearedVersion>>,
    /// Why each other candidate does not fit, by the name of the version.
    pub refused: BTreeMap<String, Capacity>,
    /// An upper bound of the stored size of the Clearance, in bytes.
    pub bytes: usize,
}

/// Selects the systems and versions for the Clearance, within the limits of this module. `room` says which part of the
/// Clearance the operator writes. `bytes` is the size of the Clearance without systems.
pub fn allot<'a>(
    room: Room,
    bytes: usize,
    mut places: Vec<CandidateSystem<'a>>,
    candidates: Vec<CandidateVersion<'a>>,
    added: &Added,
) -> Allotment<'a> {
    places.retain(|place| room != Room::Losses || place.claim == Claim::Runs);
    places.sort_by_key(|place| (place.claim, place.created, place.system));
    places.truncate(SYSTEMS);
    let bytes = bytes + places.iter().map(entry_bytes).sum::<usize>();
    let systems = places.iter().map(|place| place.system).collect();
    let mut allocator = Allocator {
        room,
        added,
        by_system: BTreeMap::new(),
        allotment: Allotment { systems, bytes, ..Allotment::default() },
    };
    for candidate in in_order(candidates) {
        allocator.add(candidate);
    }
    allocator.allotment
}

/// The maximum size in bytes of a system's entry without its versions. The name of a system or level has no character
/// that JSON escapes, so its stored size is its length.
fn entry_bytes(place: &CandidateSystem<'_>) -> usize {
    ENTRY + place.system.len() + place.level.len()
}

/// Sorts the versions. The kept versions come first. After them, the first version of each system precedes the second
/// version of any system, and so on. The kept versions of a system count as its first versions.
fn in_order(mut candidates: Vec<CandidateVersion<'_>>) -> Vec<CandidateVersion<'_>> {
    candidates.sort_by(|a, b| key(a).cmp(&key(b)));
    let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ranked: Vec<_> = candidates
        .into_iter()
        .map(|candidate| {
            let rank = ranks.entry(candidate.system).or_default();
            *rank += 1;
            (if candidate.kept { 0 } else { *rank }, candidate)
        })
        .collect();
    ranked.sort_by(|(a_rank, a), (b_rank, b)| (a_rank, key(a)).cmp(&(b_rank, key(b))));
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

fn key<'a>(candidate: &'a CandidateVersion<'_>) -> (bool, Option<Timestamp>, &'a str) {
    (!candidate.kept, candidate.created, &candidate.entry.model_version)
}

/// The capacity that the selected versions of one system use.
#[derive(Default)]
struct Taken {
    bytes: usize,
    shapes: Vec<Shape>,
}

struct Allocator<'a, 'b> {
    room: Room,
    added: &'b Added,
    by_system: BTreeMap<&'a str, Taken>,
    allotment: Allotment<'a>,
}

impl<'a> Allocator<'a, '_> {
    fn add(&mut self, candidate: CandidateVersion<'a>) {
        let CandidateVersion { system, entry, kept, .. } = candidate;
        match self.room_for(system, &entry, kept) {
            Ok((bytes, shape)) => {
                let taken = self.by_system.entry(system).or_default();
                taken.bytes += bytes;
                taken.shapes.push(shape);
                self.allotment.bytes += bytes;
                self.allotment.cleared.entry(system).or_default().push(entry);
            }
            Err(capacity) => {
                self.allotment.refused.insert(entry.model_version, capacity);
            }
        }
    }

    /// Returns the size of the version in bytes and its shape, or the reason why the version does not fit.
    fn room_for(&self, system: &str, entry: &ClearedVersion, kept: bool) -> Result<(usize, Shape), Capacity> {
        if self.room == Room::Losses || (self.room == Room::WhatIsCleared && !kept) {
            return Err(Capacity::Refused);
        }
        if !self.allotment.systems.contains(system) {
            return Err(Capacity::Systems { limit: SYSTEMS });
        }
        let none = Taken::default();
        let taken = self.by_system.get(system).unwrap_or(&none);
        if taken.shapes.len() >= VERSIONS {
            return Err(Capacity::Versions { limit: VERSIONS });
        }
        // One byte for the comma after the entry.
        let bytes = stored_size(entry).saturating_add(1);
        if !kept && taken.bytes.saturating_add(bytes) > SYSTEM_BYTES {
            return Err(Capacity::Share { bytes, used: taken.bytes, limit: SYSTEM_BYTES });
        }
        let free = if kept { MOST_BYTES } else { NEW_BYTES }.saturating_sub(self.allotment.bytes);
        if bytes > free {
            return Err(Capacity::Bytes { bytes, free, largest: self.largest() });
        }
        let shape = Shape::from(&*entry.runtime);
        let cost = cost::bound(taken.shapes.iter().chain([&shape]), self.added);
        if cost > if kept { cost::LIMIT } else { NEW_COST } {
            return Err(Capacity::Cost { versions: taken.shapes.len(), percent: cost * 100 / cost::LIMIT });
        }
        Ok((bytes, shape))
    }

    fn largest(&self) -> Vec<(String, usize)> {
        let mut systems: Vec<_> =
            self.by_system.iter().map(|(system, taken)| ((*system).to_owned(), taken.bytes)).collect();
        systems.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        systems.truncate(NAMED);
        systems
    }
}
