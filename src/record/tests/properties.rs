//! The tree and its proofs against the definitions of RFC 6962, for random sizes.

use proptest::prelude::*;

use super::stores::Memory;
use crate::record::{
    Checkpoint, EntryId, Frontier, Head, Note, Proof, Storage as _, Tile, TrustPolicy,
    edge::Edge,
    is_included,
    key::SigningKey,
    tile::{push_entry, read_entries},
    tree::Hash,
};

/// MTH of RFC 6962, section 2.1.
fn naive_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Hash::of_nothing(),
        [leaf] => Hash::of_leaf(leaf),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::of_node(&naive_root(left), &naive_root(right))
        }
    }
}

/// PATH of RFC 6962, section 2.1.1.
fn naive_path(index: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let middle = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(middle);
    let (mut path, beside) = if index < middle {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - middle, right), naive_root(left))
    };
    path.push(beside);
    path
}

fn leaves(size: usize) -> Vec<Vec<u8>> {
    (0..size).map(|number| format!("leaf {number}").into_bytes()).collect()
}

/// A log of these leaves, written in batches of this length.
fn written(leaves: &[Vec<u8>], batch: usize, key: &SigningKey) -> (Memory, Checkpoint) {
    let (files, mut edge) = (Memory::default(), Edge::default());
    for leaves in leaves.chunks(batch) {
        let mut full = Vec::new();
        for leaf in leaves {
            edge.push(leaf, &mut full);
        }
        for (tile, content) in full.into_iter().chain(edge.partial()) {
            files.create(&tile.path(), &content).expect("an equal tile");
        }
    }
    let (size, root) = (edge.frontier().size(), edge.frontier().root());
    let head = Head { origin: key.verifier().name().clone(), size, root };
    (files, Checkpoint::sign(head, &[key]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_root_is_that_of_the_definition(size in 0_usize..700) {
        let leaves = leaves(size);
        let mut frontier = Frontier::default();
        for leaf in &leaves {
            frontier.push(Hash::of_leaf(leaf));
        }
        prop_assert_eq!(frontier.root(), naive_root(&leaves));
    }

    #[test]
    fn a_proof_from_tiles_is_that_of_the_definition(size in 1_usize..1400, index in any::<prop::sample::Index>(), batch in 1_usize..400) {
        let (leaves, index) = (leaves(size), index.index(size));
        let (files, checkpoint) = written(&leaves, batch, &super::key());
        for tile in Tile::all(size as u64) {
            prop_assert!(files.files.borrow().contains_key(&tile.path()), "{}", tile.path());
        }
        let root = checkpoint.head().root;
        let proof = Proof::new(&files, checkpoint, index as u64);
        let proof = proof.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&proof.path, &naive_path(index, &leaves));
        let leaf = Hash::of_leaf(&leaves[index]);
        for other in 0..size.min(50) {
            let included = is_included(leaf, other as u64, size as u64, &proof.path, &root);
            prop_assert_eq!(included, other == index, "{}", other);
        }
    }

    #[test]
    fn a_path_of_a_tile_is_read_again(level in 0_u8..8, number in 0_u64..u64::MAX / 256, width in 1_u16..=256) {
        let tile = Tile { column: crate::record::tile::Column::Level(level), number, width };
        prop_assert_eq!(Tile::parse(&tile.path()), Some(tile));
    }

    #[test]
    fn a_bundle_gives_its_entries(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let mut bundle = Vec::new();
        for entry in &entries {
            assert!(push_entry(&mut bundle, entry));
        }
        let width = u16::try_from(entries.len()).expect("a width");
        prop_assert_eq!(read_entries(&bundle, width, width), Some(entries.iter().map(Vec::as_slice).collect()));
        prop_assert_eq!(read_entries(&bundle, width + 1, width), None);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = (Note::parse(text.as_bytes()), TrustPolicy::parse(text.as_bytes()), Checkpoint::parse(text.as_bytes()));
        let _ = (Tile::parse(&text), text.parse::<EntryId>());
    }
}
