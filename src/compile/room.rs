//! Which systems and versions of a namespace its Clearance has room for.
//!
//! ```text
//!  systems   1. lost something, is cleared now, or has pods     never more than are in the Clearance now
//!            2. newly cleared     3. in the Clearance     4. others          each: oldest first
//!  versions  1. in the Clearance now                                         they can be running
//!            2. newly cleared: the first version of every system, the second of every system …, oldest first
//!  messages  what is left, in equal parts
//! ```
//!
//! So nobody can push out what a colleague runs: what is new gets what is left.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::{
    cost::{self, Added, Shape},
    stored::stored_size,
};
use crate::{api::ClearedVersion, policy::Capacity};

/// How much of what was compiled is written. The API server can refuse a Clearance that should fit: then the operator
/// tries the next that is smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Everything within the limits.
    #[default]
    Everything,
    /// No messages about versions that are withheld.
    WithoutMessages,
    /// Of what may run, only what is in the Clearance already.
    WhatIsCleared,
    /// What must stop, and nothing that may run.
    Losses,
}

impl Room {
    /// The next that is smaller.
    pub const fn smaller(self) -> Option<Self> {
        match self {
            Self::Everything => Some(Self::WithoutMessages),
            Self::WithoutMessages => Some(Self::WhatIsCleared),
            Self::WhatIsCleared => Some(Self::Losses),
            Self::Losses => None,
        }
    }
}

/// How many systems a Clearance can have: the bound of its schema.
pub const SYSTEMS: usize = 256;

/// How many versions of one system can be cleared: the bound of the schema.
pub const VERSIONS: usize = 32;

/// Bytes that what is in the Clearance already can take. etcd refuses more than 1.5 MiB.
pub const MOST_BYTES: usize = 1400 * 1024;

/// Bytes that a Clearance can take with what is newly cleared.
pub const NEW_BYTES: usize = 1024 * 1024;

/// Bytes that a Clearance can take with messages about what is withheld.
pub const MESSAGE_BYTES: usize = NEW_BYTES + 128 * 1024;

/// Bytes that the versions of one system can take, as long as some of them are new.
const SYSTEM_BYTES: usize = NEW_BYTES / 2;

/// The cost that newly cleared versions can bring the comparison with a pod to. What is left is for what governance
/// trusts later.
const NEW_COST: u64 = cost::LIMIT / 5 * 4;

/// Bytes of an entry without its versions, of its name, and of the name of its level.
const ENTRY: usize = 320;

/// Bytes of the metadata that the API server adds.
pub const METADATA: usize = 2048;

/// How many of those who take the most a message names.
const NAMED: usize = 3;

/// How much a system needs an entry; the first is the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It is in the Clearance, and something of it can be running.
    Runs,
    /// It is newly cleared.
    New,
    /// It is in the Clearance.
    Known,
    /// Nothing.
    None,
}

/// A system that could have an entry.
#[derive(Clone, Debug)]
pub struct CandidateSystem<'a> {
    pub system: &'a str,
    pub level: &'a str,
    pub claim: Claim,
    pub created: Option<Timestamp>,
}

/// A version that may run.
#[derive(Clone, Debug)]
pub struct CandidateVersion<'a> {
    pub system: &'a str,
    pub created: Option<Timestamp>,
    /// It is in the Clearance now.
    pub kept: bool,
    pub entry: ClearedVersion,
}

/// What there is room for.
#[derive(Debug, Default)]
pub struct Allotment<'a> {
    /// The systems that have an entry.
    pub systems: BTreeSet<&'a str>,
    /// The versions that are cleared, by system.
    pub cleared: BTreeMap<&'a str, Vec<ClearedVersion>>,
    /// The versions that there is no room for, by name.
    pub refused: BTreeMap<String, Capacity>,
    /// At least what all this takes where it is stored.
    pub bytes: usize,
}

/// Takes in as much as `room` and the limits allow, of a Clearance that without any system takes `bytes`.
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

/// At most what the entry of a system takes without its versions. Names of objects have no characters that are escaped.
fn entry_bytes(place: &CandidateSystem<'_>) -> usize {
    ENTRY + place.system.len() + place.level.len()
}

/// What is in the Clearance first; of what is new, the first version of each system before the second of any.
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

/// What one system has taken.
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

    /// The bytes and the shape of a version that there is room for.
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
        // A comma between it and the next.
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
