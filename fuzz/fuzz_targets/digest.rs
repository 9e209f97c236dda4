//! Property: only a valid digest parses, and the parsed digest has the same text as the input.

#![no_main]

use assent::api::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Digest>() {
        Ok(digest) => {
            assert_eq!(digest.to_string(), text);
            assert_eq!(text.len(), 71);
            assert!(text.starts_with(&format!("sha256:{}", digest.short())));
        }
        Err(invalid) => assert!(invalid.to_string().contains(text)),
    }
});
