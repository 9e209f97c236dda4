//! Property: every file of a record is read or refused. A note or checkpoint that is read is exactly the text of its
//! content, so no two files have the same meaning.

#![no_main]

use assent::record::{Checkpoint, Content, Entry, Note, TrustPolicy, read_entries};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    assent_fuzz::mutate(data, size, max, seed)
});

fuzz_target!(|data: &[u8]| {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
    }
    if let Ok(checkpoint) = Checkpoint::parse(data) {
        assert_eq!(checkpoint.to_string().as_bytes(), data);
    }
    if let Err(error) = TrustPolicy::parse(data) {
        drop(error.to_string());
    }
    if let Ok(entry) = Entry::parse(data) {
        drop(entry.fact.in_words());
    }
    if let Ok(content) = Content::parse(data) {
        content.disclosures.iter().for_each(|disclosure| drop(disclosure.value()));
    }
    for width in [1, 2, 256] {
        if let Some(entries) = read_entries(data, width, width) {
            let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
            assert_eq!(length, data.len());
        }
    }
});
