//! Selects the systems and versions of a namespace that fit into its Clearance.
//!
//! ```text
//!  systems   1. in the current Clearance with pods, a cleared version or a grace period: all of them fit
//!            2. newly cleared by this compile    3. in the current Clearance, without pods    4. others
//!  versions  1. in the Clearance now: their pods can be running
//!            2. newly cleared: the first version of each system, then the second of each …
//!  messages  share the remaining bytes
//! ```
//!
//! In each group, the oldest systems and versions come first. New versions come after the running versions,
//! so they cannot displace the running versions of other users.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::{
    cost::{self, Added, Shape},
    stored::stored_size,
};
use crate::{api::ClearedVersion, policy::Capacity};

/// The part of the compiled Clearance that is written. The API server can refuse a Clearance that is within the limits.
/// Then the operator tries the next smaller part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// All parts that fit into the limits.
    #[default]
    Everything,
    /// Everything except the messages about withheld versions.
    WithoutMessages,
    /// The times at which systems lost a clearance, and the cleared versions that the current Clearance has.
    WhatIsCleared,
    /// Only the times at which systems lost a clearance, without cleared versions.
    Losses,
}

impl Room {
    /// The next smaller part.
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

/// The maximum number of cleared versions of one system, according to the schema.
pub const VERSIONS: usize = 32;

/// The maximum size in bytes of a Clearance without newly cleared versions. etcd refuses more than 1.5 MiB.
pub const MOST_BYTES: usize = 1400 * 1024;

/// The maximum size in bytes of a Clearance with newly cleared versions.
pub const NEW_BYTES: usize = 1024 * 1024;

/// The maximum size in bytes of a Clearance with messages about withheld versions.
pub const MESSAGE_BYTES: usize = NEW_BYTES + 128 * 1024;

/// The maximum total size in bytes of the versions of one system, if one of them is newly cleared.
const SYSTEM_BYTES: usize = NEW_BYTES / 2;

/// The maximum comparison cost of a system with newly cleared versions. The rest of the limit is reserved for trusted
/// sidecars that governance adds later.
const NEW_COST: u64 = cost::LIMIT / 5 * 4;

/// The maximum size in bytes of an entry, without its versions, its name and the name of its level.
const ENTRY: usize = 320;

/// The maximum size in bytes of the metadata that the API server adds.
pub const METADATA: usize = 2048;

/// The maximum number of systems that a message names. The message names the largest systems.
const NAMED: usize = 3;

/// The priority with which a system gets an entry in the Clearance. The first variant has the highest priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The system is in the current Clearance, and its pods can run.
    Runs,
    /// The system is newly cleared.
    New,
    /// The system is in the current Clearance, but none of its pods can run.
    Known,
    None,
}

/// A system that gets an entry if it fits.
#[derive(Clone, Debug)]
pub struct CandidateSystem<'a> {
    pub system: &'a str,
    pub level: &'a str,
    pub claim: Claim,
    pub created: Option<Timestamp>,
}

/// A cleared version that gets an entry if it fits.
#[derive(Clone, Debug)]
pub struct CandidateVersion<'a> {
    pub system: &'a str,
    pub created: Option<Timestamp>,
    /// Whether the version is in the current Clearance.
    pub kept: bool,
    pub entry: ClearedVersion,
}

/// The selected systems and versions, and the versions that do not fit.
#[derive(Debug, Default)]
pub struct Allotment<'a> {
    /// The systems with an entry.
    pub systems: BTreeSet<&'a str>,
    /// The cleared versions, by system.
    pub cleared: BTreeMap<&'a str, Vec<ClearedVersion>>,
    /// The versions that do not fit, by name.
    pub refused: BTreeMap<String, Capacity>,
    /// An upper bound of the stored size of the Clearance, in bytes.
    pub bytes: usize,
}

/// Selects as much as `room` and the limits allow. `bytes` is the size of the Clearance without systems.
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

/// The maximum size in bytes of an entry without its versions. JSON escapes no character of an object name, so a name
/// takes as many bytes as its length.
fn entry_bytes(place: &CandidateSystem<'_>) -> usize {
    ENTRY + place.system.len() + place.level.len()
}

/// Sorts the kept versions first. Then the first version of each system precedes the second version of any system, and
/// so on. The kept versions of a system count as its first versions.
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

/// The capacity that one system uses.
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

    /// The size of the version in bytes and its shape, or the limit that the version would exceed.
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
        // The list needs one more byte, for a comma.
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
