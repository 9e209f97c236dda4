//! Verifies a log or an export without a cluster.
//!
//! ```text
//!  checkpoint ── policy ──► signature, cosignatures ─┐
//!  tiles ◄── equal? ── entries ──► root ── equal? ───┤
//!                        ├─► index, identity, time   ├─► Verified: facts, findings
//!                        ├─► disclosures             │
//!                        └─► replay                  │
//!  files that the checkpoint does not explain ───────┘
//! ```

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::{
    checkpoint::{Checkpoint, Head},
    disclosure::Content,
    entry::{Entry, EntryId},
    export::OUTSIDE,
    fact::{Fact, GapCause},
    finding::{Finding, read_tile},
    key::VerifierKey,
    replay::Replay,
    scan::{Visitor, scan},
    stage::{CHECKPOINT, key_index, key_path},
    storage::Files,
    tile::Tile,
    tree::{Frontier, Hash},
    trust::{Cosignature, TrustPolicy},
};

/// The largest number of findings that are kept. A changed entry can cause hundreds.
const MAX_FINDINGS: usize = 100;

/// The result of a verification.
#[derive(Debug)]
pub struct Verified {
    /// The statement of the checkpoint.
    pub head: Head,
    /// The key that signs the checkpoint.
    pub key: Option<VerifierKey>,
    /// The number of entries of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// The times of the first and the last entry.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The valid cosignatures.
    pub cosignatures: Vec<Cosignature>,
    /// The entries that state a gap.
    pub gaps: Vec<(u64, GapCause)>,
    /// The number of disclosures that are those of the entries.
    pub disclosed: u64,
    /// The number of disclosures that were erased.
    pub erased: u64,
    /// The entries that changed the key.
    pub key_changes: Vec<u64>,
    /// The first reasons why the log does not prove what it states. Empty if it does.
    pub findings: Vec<Finding>,
    /// The number of all findings.
    pub found: u64,
}

/// Verifies a log against a policy, and against a checkpoint that the auditor kept. Calls `progress` with the number of
/// entries that were read and the number of all entries.
pub fn verify(
    files: &impl Files,
    policy: &TrustPolicy,
    kept: Option<&Checkpoint>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, Finding> {
    let file = files.read(CHECKPOINT)?.ok_or_else(|| Finding::Missing { path: CHECKPOINT.to_owned() })?;
    let damaged = |why: String| Finding::Damaged { path: CHECKPOINT.to_owned(), why };
    let checkpoint = Checkpoint::parse(&file).map_err(|error| damaged(error.to_string()))?;
    let size = checkpoint.head().size;
    let mut verifier = Verifier::new(files, policy, &checkpoint, kept, progress);
    let root = scan(files, size, &mut verifier).frontier().root();
    if root != checkpoint.head().root {
        verifier.finding(Finding::Root);
    }
    verifier.check_kept(size);
    verifier.check_signatures(&checkpoint);
    verifier.check_erased();
    verifier.check_files(size)?;
    Ok(verifier.verified)
}

struct Verifier<'a, F> {
    files: &'a F,
    policy: &'a TrustPolicy,
    /// The keys that may sign now.
    keys: Vec<VerifierKey>,
    kept: Option<&'a Checkpoint>,
    kept_root: Option<Hash>,
    size: u64,
    progress: &'a mut dyn FnMut(u64, u64),
    replay: Replay,
    /// The index of each identity by its short hash, and whether the entry has disclosures.
    ids: HashMap<u128, (u64, bool)>,
    /// The number of disclosures that an entry committed to and that are not there.
    missing: BTreeMap<u64, (usize, String)>,
    verified: Verified,
}

impl<'a, F: Files> Verifier<'a, F> {
    fn new(
        files: &'a F,
        policy: &'a TrustPolicy,
        checkpoint: &Checkpoint,
        kept: Option<&'a Checkpoint>,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Self {
        let head = checkpoint.head().clone();
        let of_log = policy.logs().iter().filter(|key| *key.name() == head.origin);
        let is_empty = kept.is_some_and(|kept| kept.head().size == 0);
        Self {
            files,
            policy,
            keys: of_log.cloned().collect(),
            kept,
            kept_root: is_empty.then(Hash::of_nothing),
            size: head.size,
            progress,
            replay: Replay::default(),
            ids: HashMap::new(),
            missing: BTreeMap::new(),
            verified: Verified {
                head,
                key: None,
                kinds: BTreeMap::new(),
                times: None,
                cosignatures: Vec::new(),
                gaps: Vec::new(),
                disclosed: 0,
                erased: 0,
                key_changes: Vec::new(),
                findings: Vec::new(),
                found: 0,
            },
        }
    }

    /// Checks the position, the identity and the time of an entry.
    fn check_place(&mut self, index: u64, entry: &Entry) {
        if entry.index != index {
            self.finding(Finding::Index { index, stated: entry.index });
        }
        let known = self.ids.insert(entry.id.short_hash(), (index, !entry.disclosures.is_empty()));
        if let Some((first, _)) = known {
            self.finding(Finding::Repeated { index, id: entry.id.to_string(), first });
        }
        let recorded = entry.recorded;
        let (first, before) = self.verified.times.unwrap_or((recorded, recorded));
        let is_restart = matches!(entry.fact, Fact::Gap { cause: GapCause::ClockSetBack, .. });
        if recorded < before && !is_restart {
            self.finding(Finding::Order { index, recorded, before });
        }
        self.verified.times = Some((first, recorded));
    }

    fn check_fact(&mut self, index: u64, entry: &Entry, tree: &Frontier) {
        *self.verified.kinds.entry(entry.fact.kind()).or_default() += 1;
        match &entry.fact {
            Fact::Gap { cause, .. } => self.verified.gaps.push((index, *cause)),
            Fact::Key { key } => self.check_handover(index, key, tree),
            Fact::Erased { fields, .. } => {
                for on in &entry.rests_on {
                    if let Some((missing, _)) = self.missing.get_mut(on) {
                        let erased = fields.len().min(*missing);
                        *missing -= erased;
                        self.verified.erased += erased as u64;
                    }
                }
            }
            _ => {}
        }
        for why in self.replay.entry(index, entry) {
            self.finding(Finding::Contradiction { index, why });
        }
    }

    /// A new key counts if the key before signed the checkpoint that ends with the entry.
    fn check_handover(&mut self, index: u64, key: &VerifierKey, tree: &Frontier) {
        self.verified.key_changes.push(index);
        let path = key_path(index);
        let checkpoint = match self.files.read(&path) {
            Err(error) => return self.finding(error.into()),
            Ok(None) => return self.finding(Finding::Missing { path }),
            Ok(Some(file)) => Checkpoint::parse(&file),
        };
        let why = match checkpoint {
            Err(error) => error.to_string(),
            Ok(checkpoint) => {
                let Head { size, root, .. } = checkpoint.head();
                let is_here = *size == tree.size() && *root == tree.root();
                if is_here && self.keys.iter().any(|old| checkpoint.is_signed_by(old)) {
                    self.keys = vec![key.clone()];
                    return;
                }
                "is not a checkpoint of this log up to this entry with a trusted signature".to_owned()
            }
        };
        if !self.policy.logs().contains(key) {
            self.finding(Finding::Handover { index, path, why });
        }
    }

    /// Checks that the disclosures of an entry are some of those that it committed to.
    fn check_disclosures(&mut self, index: u64, entry: &Entry) {
        if entry.disclosures.is_empty() {
            return;
        }
        let path = entry.id.content_path();
        let disclosed = match self.files.read(&path).map(|file| file.map(|file| Content::parse(&file))) {
            Err(error) => return self.finding(error.into()),
            Ok(None) => Vec::new(),
            Ok(Some(Err(error))) => return self.finding(Finding::Damaged { path, why: error.to_string() }),
            Ok(Some(Ok(content))) if content.id != entry.id => {
                let why = format!("are those of {}", content.id);
                return self.finding(Finding::Disclosures { index, path, why });
            }
            Ok(Some(Ok(content))) => content.disclosures,
        };
        let mut left: Vec<_> = entry.disclosures.iter().collect();
        for disclosure in &disclosed {
            let digest = disclosure.digest();
            let place = left.iter().position(|left| **left == digest);
            let Some(place) = place.filter(|_| disclosure.value().is_ok()) else {
                let why = "are not those that the entry committed to".to_owned();
                return self.finding(Finding::Disclosures { index, path, why });
            };
            left.swap_remove(place);
        }
        self.verified.disclosed += disclosed.len() as u64;
        if !left.is_empty() {
            self.missing.insert(index, (left.len(), path));
        }
    }

    /// Every disclosure that is not there must be erased by a later entry.
    fn check_erased(&mut self) {
        for (index, (missing, path)) in std::mem::take(&mut self.missing) {
            if missing > 0 {
                let why = format!("lack {missing} values, and no entry states that they were erased");
                self.finding(Finding::Disclosures { index, path, why });
            }
        }
    }

    fn check_kept(&mut self, size: u64) {
        let Some(Head { size: kept, root, .. }) = self.kept.map(Checkpoint::head) else { return };
        if size < *kept {
            self.finding(Finding::Shortened { size, kept: *kept });
        } else if self.kept_root != Some(*root) {
            self.finding(Finding::Rewritten { size: *kept });
        }
    }

    fn check_signatures(&mut self, checkpoint: &Checkpoint) {
        self.verified.key = self.keys.iter().find(|key| checkpoint.is_signed_by(key)).cloned();
        if self.verified.key.is_none() {
            self.finding(Finding::Signature { origin: checkpoint.head().origin.to_string() });
        }
        let cosignatures = self.policy.cosignatures(checkpoint);
        self.verified.cosignatures = cosignatures.valid;
        for witness in cosignatures.invalid {
            self.finding(Finding::Cosignature { witness });
        }
        if !cosignatures.is_quorum {
            self.finding(Finding::Quorum);
        }
    }

    /// Reports each file that does not belong to the log at this checkpoint. A shorter tile of an earlier checkpoint belongs
    /// to the log if its content matches.
    fn check_files(&mut self, size: u64) -> Result<(), Finding> {
        let mut odd = Vec::new();
        let mut shorter = Vec::new();
        let (ids, changes) = (&self.ids, &self.verified.key_changes);
        self.files.walk("", &mut |path| {
            if let Some(tile) = Tile::parse(path) {
                match Tile::at(tile.column, tile.number, size) {
                    Some(known) if known == tile => {}
                    Some(known) if known.width > tile.width => shorter.push((tile, known)),
                    _ => odd.push(path.to_owned()),
                }
                return;
            }
            let id = EntryId::of_content_path(path);
            let is_content = id.is_some_and(|id| ids.get(&id.short_hash()).is_some_and(|(_, has)| *has));
            let is_key = key_index(path).is_some_and(|index| changes.contains(&index));
            if !(is_content || is_key || path == CHECKPOINT || OUTSIDE.contains(&path)) {
                odd.push(path.to_owned());
            }
        })?;
        for (tile, known) in shorter {
            let (file, longer) =
                (self.files.read(&tile.path())?.unwrap_or_default(), read_tile(self.files, known)?.0);
            if !longer.starts_with(&file) {
                odd.push(tile.path());
            }
        }
        odd.sort_unstable();
        for path in odd {
            self.finding(Finding::Unexpected { path });
        }
        Ok(())
    }
}

impl<F: Files> Visitor for Verifier<'_, F> {
    fn entry(&mut self, index: u64, entry: Entry, tree: &Frontier) {
        self.check_place(index, &entry);
        self.check_disclosures(index, &entry);
        self.check_fact(index, &entry, tree);
        if self.kept.is_some_and(|kept| kept.head().size == tree.size()) {
            self.kept_root = Some(tree.root());
        }
        (self.progress)(index + 1, self.size);
    }

    fn finding(&mut self, finding: Finding) {
        self.verified.found += 1;
        if self.verified.findings.len() < MAX_FINDINGS {
            self.verified.findings.push(finding);
        }
    }
}
