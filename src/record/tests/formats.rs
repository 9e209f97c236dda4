//! The texts of notes, keys, checkpoints, policies, tiles and entries.

use serde_json::json;

use super::{id, key, log};
use crate::record::{
    Checkpoint, Content, Directory, Entry, EntryId, InvalidKey, InvalidLine, InvalidPolicy, NewEntry, Note,
    Personal, Proof, SigningKey, Tile, TrustPolicy, VerifierKey, disclosure::Disclosure, is_included,
    tree::Hash,
};

/// The example of C2SP signed-note, "Example".
#[test]
fn the_example_of_signed_note_is_valid() {
    let key: VerifierKey =
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".parse().expect("a key");
    let text = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let note = Note::parse(text.as_bytes()).expect("a note");
    assert!(note.is_signed_by(&key));
    assert_eq!(note.to_string(), text);
    assert_eq!(note.text(), "This is an example message.\n");
    let changed = Note::parse(text.replace("an example", "no example").as_bytes()).expect("a note");
    assert!(!changed.is_signed_by(&key));
}

#[test]
fn a_text_that_is_not_a_note_is_refused() {
    for text in [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— a AAAAAAA=",
        "text\n\n- a AAAAAAA=\n",
        "text\n\n— a b AAAAAAA=\n",
        "text\n\n— a+b AAAAAAA=\n",
        "text\n\n— a AAAA\n",
        "text\n\n— a AAAAAAA\n",
        "te\txt\n\n— a AAAAAAA=\n",
        "text\n\n— a AAAAAAA=\n\n",
    ] {
        assert!(Note::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(Note::parse("text\n\n— a AAAAAAA=\n".as_bytes()).is_ok());
}

#[test]
fn a_private_key_is_read_from_its_text_and_is_not_printed() {
    let text = key().secret_text();
    let again: SigningKey = text.parse().expect("a key");
    assert_eq!(again.verifier(), key().verifier());
    assert!(!format!("{again:?}").contains("PRIVATE"));
    assert!(text.parse::<VerifierKey>().is_err(), "a private key is not used as a public key");
    assert!(key().verifier().to_string().parse::<SigningKey>().is_err());
}

#[test]
fn a_key_with_a_wrong_id_or_type_is_refused() {
    let text = key().verifier().to_string();
    let (name, rest) = text.split_once('+').expect("a key");
    let wrong = format!("{name}+00000000{}", &rest[8..]).parse::<VerifierKey>();
    assert_eq!(wrong, Err(InvalidKey::Id(0)));
    // The type 0x06 is ML-DSA-44.
    assert_eq!("w+00000000+BgAA".parse::<VerifierKey>(), Err(InvalidKey::Type(6)));
    assert_eq!("a b+00000000+AQ==".parse::<VerifierKey>(), Err(InvalidKey::Form));
}

#[test]
fn a_checkpoint_has_exactly_an_origin_a_size_and_a_root() {
    let checkpoint = log(5).storage.files.borrow()["checkpoint"].clone();
    let text = String::from_utf8(checkpoint).expect("a text");
    assert_eq!(Checkpoint::parse(text.as_bytes()).expect("a checkpoint").to_string(), text);
    for changed in [
        text.replacen("\n5\n", "\n05\n", 1),
        text.replacen("\n5\n", "\n+5\n", 1),
        text.replacen("\n5\n", "\n-5\n", 1),
        text.replacen("\n5\n", "\n18446744073709551615\n", 1),
        text.replacen("\n5\n", "\n5\nmore\n", 1),
        text.replacen("\n\n", "\nextension\n\n", 1),
    ] {
        assert!(Checkpoint::parse(changed.as_bytes()).is_err(), "{changed}");
    }
}

fn witness(seed: u8) -> String {
    let name = format!("witness.example/{seed}").parse().expect("a name");
    let key = SigningKey::of(name, crate::record::Purpose::Cosignature, [seed; 32]).expect("a key");
    key.verifier().to_string()
}

#[test]
fn a_policy_is_read_with_comments_groups_and_addresses() {
    let text = format!(
        "# The log\n\n log\t{} https://log.example\nwitness a {} https://a.example\nwitness b {}\n  group g 2 a b \nquorum g\n",
        key().verifier(),
        witness(1),
        witness(2),
    );
    let policy = TrustPolicy::parse(text.as_bytes()).expect("a policy");
    assert_eq!(policy.logs(), [key().verifier().clone()]);
    assert!(policy.has_quorum());
}

#[test]
fn a_policy_without_meaning_is_refused_with_its_line() {
    let (log, one, two) = (key().verifier().to_string(), witness(1), witness(2));
    let wrong = |text: String| TrustPolicy::parse(text.as_bytes()).expect_err("refused");
    assert_eq!(wrong(format!("log {log}\n")), InvalidPolicy::NoQuorum);
    assert_eq!(wrong("quorum none\n".to_owned()), InvalidPolicy::NoLog);
    let line = |text: &str, line, why| {
        let text = format!("log {log}\nwitness a {one}\n{text}\nquorum none\n");
        assert_eq!(wrong(text), InvalidPolicy::Line { line, why });
    };
    line(&format!("log {log}"), 3, InvalidLine::Duplicate);
    line(&format!("witness b {one}"), 3, InvalidLine::Duplicate);
    line(&format!("witness a {two}"), 3, InvalidLine::Duplicate);
    line(&format!("witness none {two}"), 3, InvalidLine::Duplicate);
    line(&format!("witness b {log}"), 3, InvalidLine::Purpose);
    line(&format!("log {two}"), 3, InvalidLine::Purpose);
    line("group g any b", 3, InvalidLine::Unknown("b".to_owned()));
    line("group g all", 3, InvalidLine::Threshold);
    line("group g 2 a", 3, InvalidLine::Threshold);
    line("group g 0 a", 3, InvalidLine::Threshold);
    line("group g +1 a", 3, InvalidLine::Form);
    line("group g any a a", 3, InvalidLine::Grouped);
    line("group g any a\ngroup h any a", 4, InvalidLine::Grouped);
    line("quorum a", 4, InvalidLine::Duplicate);
    line("quorum b", 3, InvalidLine::Unknown("b".to_owned()));
    line("extra a", 3, InvalidLine::Form);
    line("group g any a\r", 3, InvalidLine::Character);
}

#[test]
fn tiles_have_the_paths_of_tlog_tiles() {
    // The examples of C2SP tlog-tiles, "Merkle Tree" and "Partial Tiles".
    let paths: Vec<_> = Tile::all(70_000).map(Tile::path).collect();
    assert_eq!(paths.iter().filter(|path| path.starts_with("tile/0/")).count(), 274);
    for path in [
        "tile/0/272",
        "tile/0/273.p/112",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/273.p/112",
    ] {
        assert!(paths.iter().any(|known| known == path), "{path}");
    }
    assert_eq!(paths.len(), 274 + 2 + 1 + 274);
    let small: Vec<_> = Tile::all(256).map(Tile::path).collect();
    assert_eq!(small, ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
    assert_eq!(Tile::all(0).count(), 0);
    let large = Tile { number: 1_234_067, ..Tile::parse("tile/3/000").expect("a tile") };
    assert_eq!(large.path(), "tile/3/x001/x234/067");
    assert_eq!(Tile::parse("tile/3/x001/x234/067"), Some(large));
}

#[test]
fn a_path_that_is_not_that_of_a_tile_is_refused() {
    for path in [
        "tile/0/0",
        "tile/00/000",
        "tile/8/000",
        "tile/0/001/000",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/../000",
        "tile/0/000/",
        "tile/entries/x999/x999/x999/x999/x999/x999/x999/999",
        "../tile/0/000",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
}

#[test]
fn an_entry_is_the_canonical_text_of_its_content() {
    let log = log(5);
    let text = super::texts(log.storage(), 5).remove(1);
    assert_eq!(
        String::from_utf8_lossy(&text),
        format!(
            r#"{{"id":"cleared-1","index":1,"kind":"cleared","modelVersion":"credit-scorer-v1","namespace":"lending","recorded":"2026-09-21T14:13:21Z","restsOn":[0],"subjectDigest":"sha256:{}","system":"credit-scorer"}}"#,
            "ab".repeat(32)
        )
    );
    let entry = Entry::parse(&text).expect("an entry");
    assert_eq!(entry.text().expect("a text"), text);
    let text = String::from_utf8(text).expect("a text");
    for changed in [
        text.replace(r#""index":1,"#, r#""index":1.0,"#),
        text.replace(r#""index":1,"#, r#""index":1,"more":1,"#),
        text.replace(r#""index":1,"#, r#""index":1,"index":1,"#),
        text.replace(":1,", ": 1,"),
        text.replace("cleared\"", "unknown\""),
        text.replace("21Z", "21+00:00"),
    ] {
        assert!(Entry::parse(changed.as_bytes()).is_err(), "{changed}");
    }
}

#[test]
fn a_fact_that_could_exceed_four_kibibytes_is_refused_before_it_is_recorded() {
    let pods = |count: usize| {
        let pods = vec!["00000000-0000-0000-0000-000000000000".to_owned(); count];
        let action = crate::record::Action::Evicted;
        let fact =
            crate::record::Fact::Enforced { namespace: "lending".to_owned(), system: None, action, pods };
        NewEntry::new(id("enforced-1"), fact, Vec::new(), Personal::new())
    };
    assert!(pods(90).is_ok());
    assert!(pods(110).is_err());
}

#[test]
fn an_identity_is_a_file_name() {
    for text in ["", ".", "..", "-a", "a/b", "A", "a b", "é", &"a".repeat(121)] {
        assert!(text.parse::<EntryId>().is_err(), "{text:?}");
    }
    let id: EntryId = "decided-00000000-0000-0000-0000-000000000001".parse().expect("an identity");
    assert_eq!(EntryId::of_content_path(&id.content_path()), Some(id));
    assert_eq!(EntryId::of_content_path("content/00/../x.json"), None);
}

/// RFC 9901, section 4.2.3: the digest of the disclosure with the name `family_name`.
#[test]
fn the_example_of_a_disclosure_has_its_digest() {
    let disclosure: Disclosure = serde_json::from_value(json!(
        "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    ))
    .expect("a disclosure");
    assert_eq!(json!(disclosure.digest()), json!("X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"));
    assert_eq!(disclosure.value().expect("a value"), ("family_name".to_owned(), json!("Möbius")));
}

#[test]
fn equal_values_have_different_digests() {
    let log = log(5);
    let contents = ["decided-1", "decided-2"].map(|name| {
        let file = log.storage.files.borrow()[&id(name).content_path()].clone();
        Content::parse(&file).expect("a content")
    });
    let [first, second] = contents.map(|content| content.digests());
    assert!(first.iter().all(|digest| !second.contains(digest)));
    assert!(first.is_sorted());
}

#[test]
fn a_proof_has_the_text_of_tlog_proof() {
    let log = log(300);
    let directory = tempfile::tempdir().expect("a directory");
    super::exported(&log, key().verifier(), directory.path());
    let file = std::fs::read(directory.path().join("checkpoint")).expect("a checkpoint");
    let checkpoint = Checkpoint::parse(&file).expect("a checkpoint");
    let files = Directory::new(directory.path());
    for index in [0, 1, 254, 255, 256, 299] {
        let proof = Proof::new(&files, checkpoint.clone(), index).expect("a proof");
        let text = proof.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{text}");
        assert!(text.contains(&format!("\nindex {index}\n")), "{text}");
        assert!(text.ends_with(&format!("\n\n{checkpoint}")), "{text}");
        let (leaf, root) = (Hash::of_leaf(&proof.entry), checkpoint.head().root);
        assert!(is_included(leaf, index, 300, &proof.path, &root));
        assert!(!is_included(leaf, index ^ 1, 300, &proof.path, &root));
    }
    assert!(Proof::new(&files, checkpoint, 300).is_err());
}
