//! Tests the rules for placeholders, with attacks by a tenant who smuggles text through a placeholder.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{Placeholder, Runtime, Trusted},
    policy::{self, patterns, placeholders_not_used},
};

/// A runtime with the container `main`. The fields in `container` are added to the container, and the fields in
/// `others` to the runtime.
fn runtime(placeholders: &[&str], container: &Value, others: &Value) -> Runtime {
    let mut main = json!({ "name": "main", "image": "a" });
    merge(&mut main, container);
    let mut runtime = json!({ "containers": [main] });
    if !placeholders.is_empty() {
        runtime["placeholders"] = json!(placeholders);
    }
    merge(&mut runtime, others);
    serde_json::from_value(runtime).expect("a runtime")
}

fn merge(into: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

fn matches(approved: &Runtime, pod: &Runtime) -> bool {
    policy::matches(approved, &Trusted::default(), pod)
}

/// Whether a pod with the argument `pod` matches a version with the argument `approved`.
fn arg_matches(placeholders: &[&str], approved: &str, pod: &str) -> bool {
    let args =
        |placeholders: &[&str], arg: &str| runtime(placeholders, &json!({ "args": [arg] }), &json!({}));
    matches(&args(placeholders, approved), &args(&[], pod))
}

fn listed(placeholder: Placeholder) -> String {
    serde_json::to_value(placeholder).expect("a placeholder").as_str().expect("a text").to_owned()
}

#[test]
fn a_placeholder_matches_its_values() {
    for (placeholder, values) in [
        ("ordinal", &["0", "1", "42", "99999"][..]),
        ("number", &["0", "007", "8", "17179869184", "0.001", "1e-05", "2.5e+10"]),
        ("name", &["a", "0", "raycluster-x7k2p-head", "a--b"]),
        ("host", &["a", "lws-0.lws.default", "10.0.0.5", "head-svc.default.svc.cluster.local"]),
        ("host:port", &["a:1", "head-svc.default.svc.cluster.local:6379", "10.0.0.5:65535"]),
        ("uid", &["0b0e9c44-7c3d-4b1e-9f5a-0123456789ab"]),
        ("random5", &["x7k2p", "bbbbb"]),
    ] {
        for value in values {
            assert!(
                arg_matches(&[placeholder], &format!("<{placeholder}>"), value),
                "{placeholder}: {value}"
            );
            let inside = format!("--x=(<{placeholder}>)+");
            assert!(
                arg_matches(&[placeholder], &inside, &format!("--x=({value})+")),
                "{placeholder}: {value}"
            );
        }
    }
}

#[test]
fn a_placeholder_never_matches_a_near_miss() {
    for (placeholder, values) in [
        ("ordinal", &["01", "00", "100000", "1.0", "a", "٣"][..]),
        (
            "number",
            &["1.", ".5", "1e", "1e999", "1e+100", "1_0", "0x1", "+1", "inf", "nan", "123456789012345678901"],
        ),
        ("name", &["a.b", "a-", "A", "a_b", "ä", "a:1"]),
        ("host", &["a.", ".a", "a-", "A", "a:1", "[::1]", "::1", "a@b", "user@a"]),
        ("host:port", &["a", "a:", ":1", "a:123456", "a:1:2", "a.:1"]),
        (
            "uid",
            &[
                "0b0e9c44-7c3d-4b1e-9f5a-0123456789AB",
                "0b0e9c447c3d4b1e9f5a0123456789ab",
                "0b0e9c44-7c3d-4b1e-9f5a-0123456789abc",
            ],
        ),
        ("random5", &["aeiou", "x7k2", "x7k2pp", "x7k1p"]),
    ] {
        for value in values {
            assert!(
                !arg_matches(&[placeholder], &format!("<{placeholder}>"), value),
                "{placeholder}: {value}"
            );
        }
        for length in [254, 300] {
            let long = "a".repeat(length);
            assert!(
                !arg_matches(&[placeholder], &format!("<{placeholder}>"), &long),
                "{placeholder}: {length}"
            );
        }
    }
    assert!(!arg_matches(&["name"], "<name>", &"a".repeat(64)), "a DNS label has at most 63 characters");
}

/// The attack: a value that begins a flag, leaves a quote, names another path, or starts another command.
#[test]
fn no_placeholder_lets_a_tenant_smuggle_a_flag_a_path_or_a_command() {
    let attacks = [
        "-x",
        "--trust-remote-code",
        "a --x",
        "a\t--x",
        "a\n",
        "\na",
        "a\r",
        "a\u{0}",
        "a\u{a0}b",
        "a\u{2028}b",
        "a;b",
        "a&b",
        "a|b",
        "a>b",
        "a<b",
        "a`b`",
        "$(b)",
        "$(A)",
        "${A}",
        "$A",
        "a'b",
        "a\"b",
        "a\\b",
        "a/b",
        "/a",
        "../a",
        "~",
        "a*",
        "a?",
        "[a]",
        "{a,b}",
        "(a)",
        "a,b",
        "a=b",
        "a#b",
        "a%20b",
        "a!b",
        "a@b",
        "a+b",
        "",
        " ",
    ];
    for placeholder in Placeholder::ALL {
        for attack in attacks {
            for text in [placeholder.text().to_owned(), format!("--peer={}", placeholder.text())] {
                let pod = text.replace(placeholder.text(), attack);
                assert!(!arg_matches(&[&listed(placeholder)], &text, &pod), "{text}: {attack:?}");
            }
        }
    }
}

/// Each placeholder with one of its values, and the characters other than letters and digits that its values can have.
const VALUES: [(&str, &str, &str); 7] = [
    ("ordinal", "10", ""),
    ("number", "2.5e-05", ".+-"),
    ("name", "head-0", "-"),
    ("host", "head-0.svc", "-."),
    ("host:port", "head-0.svc:6379", "-.:"),
    ("uid", "0b0e9c44-7c3d-4b1e-9f5a-0123456789ab", "-"),
    ("random5", "x7k2p", ""),
];

/// The attack: one more character before, in or after a value. The test tries all ASCII characters except small letters
/// and digits. It also tries characters of other scripts, some of which resemble letters, digits, slashes or spaces.
#[test]
fn no_placeholder_lets_a_tenant_add_another_character_at_any_place() {
    let ascii = (0..128_u8).map(char::from).filter(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    let foreign = "äßаеο０１٣²\u{a0}\u{ad}\u{301}\u{200b}\u{200d}\u{202e}\u{2028}\u{2044}\u{3000}\u{feff}\u{ff0f}\u{10ffff}";
    for (placeholder, value, own) in VALUES {
        assert!(arg_matches(&[placeholder], &format!("<{placeholder}>"), value), "{placeholder}");
        for character in ascii.clone().chain(foreign.chars()).filter(|c| !own.contains(*c)) {
            for at in 0..=value.len() {
                let mut pod = value.to_owned();
                pod.insert(at, character);
                for (before, after) in [("", ""), ("--peer=", ""), ("", ",--safe"), ("{\"a\": \"", "\"}")] {
                    let approved = format!("{before}<{placeholder}>{after}");
                    let pod = format!("{before}{pod}{after}");
                    assert!(!arg_matches(&[placeholder], &approved, &pod), "{approved}: {pod:?}");
                }
            }
        }
    }
}

/// The attack: a value that begins a flag, begins a path of a parent directory, or ends in the middle of a name.
#[test]
fn a_value_begins_and_ends_with_a_letter_or_a_digit() {
    for (placeholder, value, own) in VALUES {
        for c in own.chars() {
            for pod in [format!("{c}{value}"), format!("{value}{c}"), c.to_string()] {
                let approved = format!("<{placeholder}>");
                assert!(!arg_matches(&[placeholder], &approved, &pod), "{approved}: {pod}");
            }
        }
    }
}

/// The attack: a value of any length, such as an encoded program.
#[test]
fn each_placeholder_has_a_longest_value() {
    for (placeholder, longest) in [
        ("ordinal", 5),
        ("number", 20),
        ("name", 63),
        ("host", 253),
        ("host:port", 259),
        ("uid", 36),
        ("random5", 5),
    ] {
        let is_value = |length: usize| {
            let pod = match placeholder {
                "uid" => format!("0b0e9c44-7c3d-4b1e-9f5a-{}", "0".repeat(length - 24)),
                "host:port" => format!("{}:65535", "1".repeat(length - 6)),
                _ => "2".repeat(length),
            };
            arg_matches(&[placeholder], &format!("<{placeholder}>"), &pod)
        };
        assert!(is_value(longest), "{placeholder}");
        assert!(!is_value(longest + 1), "{placeholder}");
    }
}

/// The attack: one argument with the approved text of two arguments, or two arguments with the approved text of one.
#[test]
fn a_placeholder_never_spans_two_arguments() {
    let args = |args: &[&str]| runtime(&["name"], &json!({ "args": args }), &json!({}));
    let approved = args(&["--a=<name>", "--b"]);
    assert!(matches(&approved, &args(&["--a=x", "--b"])));
    for pod in
        [&["--a=x--b"][..], &["--a=x", "--b", "--c"], &["--b", "--a=x"], &["--a=x"], &["--a=x", "", "--b"]]
    {
        assert!(!matches(&approved, &args(pod)), "{pod:?}");
    }
}

/// The attack: the pod keeps the text `<name>`, which a shell reads as input from the file `name`.
#[test]
fn a_pod_with_the_placeholder_itself_does_not_match() {
    for placeholder in Placeholder::ALL {
        assert!(
            !arg_matches(&[&listed(placeholder)], placeholder.text(), placeholder.text()),
            "{placeholder:?}"
        );
    }
}

#[test]
fn a_placeholder_that_the_runtime_does_not_list_is_plain_text() {
    for placeholders in [&[][..], &["ordinal"]] {
        assert!(arg_matches(placeholders, "run <name> < in", "run <name> < in"));
        assert!(!arg_matches(placeholders, "run <name> < in", "run a < in"));
    }
    assert!(arg_matches(&["ordinal"], "<<ordinal>> <name>", "<7> <name>"));
}

/// The attack: a version that was approved before placeholders existed matches more pods after an upgrade.
#[test]
fn a_version_without_placeholders_keeps_its_meaning_and_its_bytes() {
    let before = json!({ "args": ["--rank=<ordinal>"], "env": [{ "name": "A", "value": "<host>" }],
        "mayVary": { "env": ["LEADER=<host>"] } });
    let volumes =
        json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "data-<ordinal>" } }] });
    let approved = runtime(&[], &before, &volumes);
    assert_eq!(patterns(&approved), None);
    let text = serde_json::to_string(&approved).expect("JSON");
    assert!(!text.contains("placeholders"), "the subject digest covers a new field: {text}");
    assert!(!matches(&approved, &runtime(&[], &json!({ "args": ["--rank=0"] }), &json!({}))));
    let leader = json!({ "args": ["--rank=<ordinal>"],
        "env": [{ "name": "A", "value": "<host>" }, { "name": "LEADER", "value": "a" }] });
    assert!(!matches(&approved, &runtime(&[], &leader, &volumes)));
}

#[test]
fn a_variable_with_a_pattern_may_be_missing_and_never_has_another_value() {
    let approved =
        json!({ "env": [{ "name": "A", "value": "1" }], "mayVary": { "env": ["LEADER=<host>", "TOKEN"] } });
    let approved = runtime(&["host"], &approved, &json!({}));
    let env = |env: Value| runtime(&[], &json!({ "env": env }), &json!({}));
    let a = json!({ "name": "A", "value": "1" });
    let leader = |value: &str| json!({ "name": "LEADER", "value": value });
    assert!(matches(&approved, &env(json!([a]))));
    assert!(matches(&approved, &env(json!([leader("lws-0.lws"), a]))));
    assert!(matches(&approved, &env(json!([a, { "name": "TOKEN", "value": "/any thing" }]))));
    let from_secret =
        json!({ "name": "LEADER", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } });
    for other in
        [leader("a/b"), leader(""), leader("$(A)"), from_secret, json!({ "name": "LEADER2", "value": "a" })]
    {
        assert!(!matches(&approved, &env(json!([a, other]))), "{other}");
        // In a container, the last variable of a name counts, so each variable of this name must match.
        assert!(!matches(&approved, &env(json!([leader("a"), a, other]))), "{other}");
    }
}

#[test]
fn an_approved_variable_with_a_placeholder_keeps_its_name_and_its_place() {
    let approved = json!({ "env": [{ "name": "A", "value": "x-<ordinal>" }, { "name": "B", "value": "1" }] });
    let approved = runtime(&["ordinal"], &approved, &json!({}));
    let env = |env: Value| runtime(&[], &json!({ "env": env }), &json!({}));
    assert!(matches(
        &approved,
        &env(json!([{ "name": "A", "value": "x-3" }, { "name": "B", "value": "1" }]))
    ));
    for other in [
        json!([{ "name": "B", "value": "1" }, { "name": "A", "value": "x-3" }]),
        json!([{ "name": "A", "value": "x-" }, { "name": "B", "value": "1" }]),
        json!([{ "name": "C", "value": "x-3" }, { "name": "B", "value": "1" }]),
        json!([{ "name": "A", "value": "x-3" }]),
        json!([{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }, { "name": "B", "value": "1" }]),
    ] {
        assert!(!matches(&approved, &env(other.clone())), "{other}");
    }
}

#[test]
fn a_placeholder_has_no_meaning_in_a_field_that_cannot_vary() {
    for field in [
        json!({ "image": "a:<name>" }),
        json!({ "workingDir": "/<name>" }),
        json!({ "exec": { "preStop": ["<name>"] } }),
        json!({ "volumeMounts": [{ "name": "v", "mountPath": "/<name>" }] }),
        json!({ "volumeMounts": [{ "name": "v", "mountPath": "/m", "subPath": "<name>" }] }),
        json!({ "envFrom": [{ "secretRef": { "name": "<name>" } }] }),
        json!({ "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "<name>", "key": "k" } } }] }),
    ] {
        let pod: Value = serde_json::from_str(&field.to_string().replace("<name>", "x")).expect("JSON");
        let volumes = json!({ "volumes": [{ "name": "v", "emptyDir": {} }] });
        let approved = runtime(&["name"], &field, &volumes);
        assert!(!matches(&approved, &runtime(&[], &pod, &volumes)), "{field}");
        assert_eq!(patterns(&approved), None, "{field}");
    }
}

/// A runtime with volumes, each given by its name and its claim. The container mounts the volumes in `mounted` at `/0`,
/// `/1` and so on.
fn with_volumes(placeholders: &[&str], volumes: &[(&str, &str)], mounted: &[&str]) -> Runtime {
    let volumes: Vec<Value> = volumes
        .iter()
        .map(|(name, claim)| json!({ "name": name, "persistentVolumeClaim": { "claimName": claim } }))
        .collect();
    let mounts: Vec<Value> = mounted
        .iter()
        .enumerate()
        .map(|(i, name)| json!({ "name": name, "mountPath": format!("/{i}") }))
        .collect();
    runtime(placeholders, &json!({ "volumeMounts": mounts }), &json!({ "volumes": volumes }))
}

#[test]
fn a_claim_and_a_volume_of_each_user_match() {
    let approved = with_volumes(
        &["name"],
        &[("volume-<name>", "claim-<name>"), ("data", "data")],
        &["volume-<name>", "data"],
    );
    let pod =
        |volumes: &[(&str, &str)], mounted: &[&str]| matches(&approved, &with_volumes(&[], volumes, mounted));
    assert!(pod(&[("volume-alice", "claim-alice"), ("data", "data")], &["volume-alice", "data"]));
    assert!(pod(&[("data", "data"), ("volume-bob", "claim-bob")], &["volume-bob", "data"]));
    // Attacks: other mounts, another claim, a second volume of the same pattern, and a missing volume.
    assert!(!pod(&[("volume-alice", "claim-alice"), ("data", "data")], &["data", "volume-alice"]));
    assert!(!pod(&[("volume-alice", "claim-alice"), ("data", "data")], &["data", "data"]));
    assert!(!pod(&[("volume-alice", "data"), ("data", "data")], &["volume-alice", "data"]));
    assert!(!pod(&[("volume-alice", "claim-alice"), ("data", "claim-x")], &["volume-alice", "data"]));
    assert!(!pod(&[("volume-a", "claim-a"), ("volume-b", "claim-b")], &["volume-a", "volume-b"]));
    assert!(!pod(
        &[("volume-a", "claim-a"), ("volume-b", "claim-b"), ("data", "data")],
        &["volume-b", "data"]
    ));
    assert!(!pod(&[("volume-a", "claim-a")], &["volume-a", "data"]));
}

/// The attack: a mount of the claim becomes a mount of the service account token, because the pattern matches the name
/// of the token's volume.
#[test]
fn a_volume_name_never_stands_for_the_service_account_token() {
    for name in ["<name>", "k<name>", "kube-api-access-<random5>", "kube-<name>"] {
        let approved = with_volumes(&["name", "random5"], &[(name, "claim")], &[name]);
        assert!(
            placeholders_not_used(&approved).is_some_and(|reason| reason.contains("service account")),
            "{name}"
        );
        let token = "kube-api-access-x7k2p";
        assert!(!matches(&approved, &with_volumes(&[], &[(token, "claim")], &[token])), "{name}");
    }
    let approved = with_volumes(&["name"], &[("v<name>", "claim")], &["v<name>"]);
    assert!(matches(&approved, &with_volumes(&[], &[("vx", "claim")], &["vx"])));
    assert!(!matches(&approved, &with_volumes(&[], &[("vx", "claim")], &["kube-api-access-x7k2p"])));
}

#[test]
fn an_ambiguous_runtime_uses_no_placeholder() {
    let volume = |name: &str| (name.to_owned(), "claim");
    for names in [["a-<name>", "b-<name>"], ["a-<name>", "a-b"]] {
        let volumes = names.map(volume);
        let volumes = volumes.each_ref().map(|(name, claim)| (name.as_str(), *claim));
        let approved = with_volumes(&["name"], &volumes, &[]);
        assert!(placeholders_not_used(&approved).is_some(), "{names:?}");
        assert_eq!(patterns(&approved), None);
        assert!(!matches(&approved, &with_volumes(&[], &[("a-x", "claim"), ("a-b", "claim")], &[])));
    }
    let many: Vec<String> = (0..65).map(|n| format!("{n}-<name>")).collect();
    let approved = runtime(&["name"], &json!({ "args": many }), &json!({}));
    assert!(placeholders_not_used(&approved).is_some_and(|reason| reason.contains("65 texts")));
}

#[test]
fn a_text_over_the_limit_has_its_literal_meaning() {
    let long = format!("{}<name>", "x".repeat(2048));
    assert!(!arg_matches(&["name"], &long, &long.replace("<name>", "a")));
    assert!(arg_matches(&["name"], &long, &long));
}

/// A later release of Assent must not change these expressions. Otherwise, an approved version would match pods that
/// its approvers did not see.
#[test]
fn the_values_of_a_placeholder_never_change() {
    let args: Vec<&str> = Placeholder::ALL.iter().map(|placeholder| placeholder.text()).collect();
    let names: Vec<String> = Placeholder::ALL.into_iter().map(listed).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let patterns = patterns(&runtime(&names, &json!({ "args": args }), &json!({}))).expect("patterns");
    insta::assert_json_snapshot!(patterns.texts, @r#"
    {
      "<host:port>": "^(?:[a-z0-9][:][0-9]{1,5}|[a-z0-9][-.a-z0-9]{0,251}[a-z0-9][:][0-9]{1,5})$",
      "<host>": "^(?:[a-z0-9]|[a-z0-9][-.a-z0-9]{0,251}[a-z0-9])$",
      "<name>": "^(?:[a-z0-9]|[a-z0-9][-a-z0-9]{0,61}[a-z0-9])$",
      "<number>": "^(?:[0-9]{1,20}|[0-9]{1,20}[.][0-9]{1,20}|[0-9]{1,20}[e][-+]{0,1}[0-9]{1,2}|[0-9]{1,20}[.][0-9]{1,20}[e][-+]{0,1}[0-9]{1,2})$",
      "<ordinal>": "^(?:[0]|[1-9][0-9]{0,4})$",
      "<random5>": "^(?:[bcdfghjklmnpqrstvwxz2456789]{5})$",
      "<uid>": "^(?:[0-9a-f]{8}[-][0-9a-f]{4}[-][0-9a-f]{4}[-][0-9a-f]{4}[-][0-9a-f]{12})$"
    }
    "#);
}

fn words() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-c0-9]{0,3}",
        2 => "[-.:e+ /\n<>=$üA]",
        1 => Just("x7k2p".to_owned()),
        1 => Just("0b0e9c44-7c3d-4b1e-9f5a-0123456789ab".to_owned()),
        1 => "[a-z.-]{60,70}",
        1 => "[a-z.-]{250,256}",
    ];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn texts() -> impl Strategy<Value = String> {
    let placeholder = prop::sample::select(Placeholder::ALL.to_vec()).prop_map(|p| p.text().to_owned());
    let piece = prop_oneof![3 => placeholder, 2 => r"[a-c0-9:. (){}\[\]+*?|^$\\-]{0,3}"];
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// The API server evaluates the regular expression, and the Rust code evaluates the table `forms`. Both must give
    /// the same result.
    #[test]
    fn the_expression_for_the_api_server_is_the_same_predicate(text in texts(), pod in words(), fill in prop::bool::ANY) {
        let names: Vec<String> = Placeholder::ALL.into_iter().map(listed).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // About half of the pods have the approved text, with the same word in place of each placeholder.
        let filled = Placeholder::ALL.iter().fold(text.clone(), |text, p| text.replace(p.text(), &pod));
        let pod = if fill { filled } else { pod };
        let approved = runtime(&names, &json!({ "args": [text] }), &json!({}));
        let by_expression = match patterns(&approved) {
            Some(patterns) => {
                let is_match = regex::Regex::new(&patterns.texts[&text]).expect("an expression").is_match(&pod);
                let is_short = i32::try_from(pod.chars().count()).expect("a length") <= patterns.longest;
                prop_assert!(is_short || !is_match, "{} {}", text, pod);
                is_match
            }
            None => text == pod,
        };
        prop_assert_eq!(arg_matches(&names, &text, &pod), by_expression, "{} {}", text, pod);
    }
}
