//! Adds withheld versions with their messages to a Clearance, if they fit. The Events about held pods quote the
//! messages.

use std::collections::BTreeMap;

use super::{room::MESSAGE_BYTES, stored::stored_size};
use crate::{
    api::{SystemClearance, WithheldVersion},
    truncate::shorten,
};

/// The maximum number of withheld versions in the entry of one system.
pub const VERSIONS: usize = 16;

/// The maximum length of a message in bytes. The operator tries one length after the other, until all messages fit.
const LENGTHS: [usize; 4] = [4096, 1024, 256, 64];

/// Adds the `withheld` versions, newest first, to the entries of their systems. If not all versions fit, the newest
/// version of each system precedes the second version of any system. `bytes` is the size of the Clearance without
/// withheld versions.
pub fn add(
    systems: &mut BTreeMap<String, SystemClearance>,
    withheld: BTreeMap<&str, Vec<WithheldVersion>>,
    bytes: usize,
) {
    let mut entries: Vec<(usize, &str, WithheldVersion)> = withheld
        .into_iter()
        .filter(|(system, _)| systems.contains_key(*system))
        .flat_map(|(system, all)| all.into_iter().enumerate().map(move |(rank, entry)| (rank, system, entry)))
        .collect();
    entries
        .sort_by(|(a_rank, a_system, _), (b_rank, b_system, _)| (a_rank, a_system).cmp(&(b_rank, b_system)));
    let mut free = MESSAGE_BYTES.saturating_sub(bytes);
    for length in LENGTHS {
        for (_, _, entry) in &mut entries {
            entry.message = shorten(std::mem::take(&mut entry.message), length);
        }
        if entries.iter().map(|(_, _, entry)| stored_size(entry) + 1).sum::<usize>() <= free {
            break;
        }
    }
    for (_, system, entry) in entries {
        let size = stored_size(&entry) + 1;
        if let Some(system) = systems.get_mut(system).filter(|_| size <= free) {
            free -= size;
            system.withheld.push(entry);
        }
    }
}
