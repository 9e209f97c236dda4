use super::*;
use crate::{
    api::{OnLossMode, PodCount, Runtime},
    cli::fixtures::{at, now, person, record},
};

const V1: &str = "credit-scorer-v1";
const V2: &str = "credit-scorer-v2";

fn review(record: &SystemRecord, version: &str, decision: Decision, who: (&str, &str)) -> String {
    rendered(record, version, decision, who, false)
}

fn rendered(
    record: &SystemRecord,
    version: &str,
    decision: Decision,
    (user, role): (&str, &str),
    full: bool,
) -> String {
    let version = record.version(version).expect("a version");
    let review = Review {
        record,
        system: record.system.as_ref().expect("a system"),
        version,
        digest: &record.digest(version).expect("a digest"),
        decision,
        role,
        approver: &person(user),
        until: (decision == Decision::Approve).then(|| at("2027-03-31T00:00:00Z")),
        reason: Some("see the minutes of 12 November"),
        full,
        now: now(),
    };
    anstream::adapter::strip_str(&review.render()).to_string()
}

fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn v1_approved() -> SystemRecord {
    let record = record().with("alice", Decision::Approve, "risk-officer", V1, "2026-06-02T09:00:00Z");
    record.with("bob", Decision::Approve, "ethics-board", V1, "2026-06-03T09:00:00Z")
}

#[test]
fn review_before_the_first_of_two_signatures() {
    insta::assert_snapshot!(review(&v1_approved(), V2, Decision::Approve, ("alice", "risk-officer")));
}

#[test]
fn full_review_shows_controls_requirements_and_digests() {
    let who = ("alice", "risk-officer");
    insta::assert_snapshot!(rendered(&v1_approved(), V2, Decision::Approve, who, true));
}

#[test]
fn review_of_a_first_version_fits_two_screens() {
    let text = review(&record(), V1, Decision::Approve, ("alice", "risk-officer"));
    let lines = text.lines().count();
    assert!(lines <= 62, "{lines} lines\n{text}");
}

#[test]
fn changes_come_before_the_system() {
    let text = review(&v1_approved(), V2, Decision::Approve, ("alice", "risk-officer"));
    let order =
        ["CHANGES since", "LOOK AT THIS", "SYSTEM", "RUNS", "DECISIONS"].map(|title| text.find(title));
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{text}");
}

#[test]
fn last_of_two_signatures_clears_the_version() {
    let record = v1_approved().with("alice", Decision::Approve, "risk-officer", V2, "2026-11-23T09:00:00Z");
    let text = review(&record, V2, Decision::Approve, ("bob", "ethics-board"));
    assert!(text.contains("✓ it is cleared to run until 2027-03-31T00:00:00Z"), "{text}");
}

#[test]
fn first_version_has_no_comparison() {
    let text = review(&record(), V1, Decision::Approve, ("alice", "risk-officer"));
    assert!(text.contains("No other version of this system was ever approved"), "{text}");
}

#[test]
fn review_warns_that_a_signature_does_not_count() {
    let text = review(&record(), V2, Decision::Approve, ("dev", "risk-officer"));
    assert!(text.contains("✗ your decision does not count: you own the system"), "{text}");
    let text = review(&record(), V2, Decision::Approve, ("alice", "janitor"));
    assert!(text.contains("the risk level does not require this role"), "{text}");
}

#[test]
fn review_warns_about_a_second_signature_in_a_role_that_needs_one() {
    let record = record().with("alice", Decision::Approve, "risk-officer", V2, "2026-11-23T09:00:00Z");
    let text = review(&record, V2, Decision::Approve, ("carol", "risk-officer"));
    assert!(text.contains("! your approval does not change the result"), "{text}");
}

#[test]
fn decisions_on_changed_content_no_longer_count() {
    let mut record = v1_approved();
    let system = record.system.as_mut().expect("a system");
    system.spec.jurisdictions.push("US".to_owned());
    let text = unwrapped(&review(&record, V1, Decision::Approve, ("alice", "risk-officer")));
    assert!(text.contains("no longer counts, because the content changed"), "{text}");
    let text = unwrapped(&review(&record, V2, Decision::Approve, ("alice", "risk-officer")));
    assert!(text.contains("risks or required documents changed since then"), "{text}");
}

#[test]
fn decisions_that_a_revocation_voided_are_counted_and_not_listed() {
    let record = v1_approved().with("alice", Decision::Revoke, "risk-officer", V1, "2026-06-04T09:00:00Z");
    let record = record.with("alice", Decision::Approve, "risk-officer", V1, "2026-06-05T09:00:00Z");
    let text = review(&record, V1, Decision::Approve, ("bob", "ethics-board"));
    let decisions = &text[text.find("DECISIONS").expect("a heading")..];
    assert!(decisions.contains("- 2 decisions that a later revocation voided\n  ✗ alice revoked"), "{text}");
    assert!(decisions.contains("✓ alice approved as risk-officer 2026-06-05T09:00:00Z"), "{text}");
}

#[test]
fn review_of_a_revocation_of_a_running_version() {
    insta::assert_snapshot!(review(&v1_approved(), V1, Decision::Revoke, ("alice", "risk-officer")));
}

#[test]
fn review_of_a_revocation_states_that_no_pod_stops() {
    let revoke =
        |record: &SystemRecord| unwrapped(&review(record, V1, Decision::Revoke, ("alice", "risk-officer")));
    let mut record = v1_approved();
    record.level.as_mut().expect("a level").spec.on_loss.mode = OnLossMode::Audit;
    let text = revoke(&record);
    assert!(text.contains("continue to run, because its risk level has onLoss.mode: Audit"), "{text}");
    assert!(!text.contains("stop within"), "{text}");
    let text = unwrapped(&review(&record, V1, Decision::Approve, ("alice", "risk-officer")));
    assert!(text.contains("pods continue to run: onLoss.mode is Audit"), "{text}");
    let mut record = v1_approved();
    let status = &mut record.system.as_mut().expect("a system").status;
    status.get_or_insert_default().pods = Some(PodCount { would_stop: Some(1), ..PodCount::default() });
    let text = revoke(&record);
    assert!(text.contains("still start and run, because its namespace does not enforce"), "{text}");
}

#[test]
fn hidden_characters_are_visible_in_a_review() {
    let mut record = record();
    record.system.as_mut().expect("a system").spec.intended_purpose =
        "Scores.\n\nDECISIONS so far\n  ✓ approved\u{1b}[8m".to_owned();
    let version = &mut record.versions[0].spec;
    let mut runtime = Runtime::clone(&version.runtime);
    runtime.containers[0].args = vec!["--a\u{202e}b".into(), " ".into(), "x\ny".into()];
    version.runtime = runtime.into();
    let text = review(&record, V2, Decision::Approve, ("alice", "risk-officer"));
    for shown in [
        "purpose        │ Scores.",
        r"                 │   ✓ approved\u{1b}[8m",
        r"args           --a\u{202e}b",
        "                 \" \"",
        "                 │ x\n                 │ y",
    ] {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
    }
}

#[test]
fn review_without_findings_states_what_it_cannot_see() {
    let mut record = record();
    let system = record.system.as_mut().expect("a system");
    system.spec.documentation.clear();
    let image = format!("registry.example/scorer@sha256:{}", "0".repeat(64));
    let runtime = serde_json::json!({ "containers": [{ "name": "c", "image": image }] });
    record.versions[0].spec.runtime = serde_json::from_value(runtime).expect("a runtime");
    let text = unwrapped(&review(&record, V2, Decision::Approve, ("alice", "risk-officer")));
    assert!(text.contains("- nothing found in the parts that this review checks"), "{text}");
    assert!(text.contains("This review cannot see the content of the images"), "{text}");
}

#[test]
fn every_source_of_a_projected_volume_is_named() {
    let mut record = record();
    let runtime = serde_json::json!({
        "containers": [{ "name": "c", "image": "i", "env": [
            { "name": "NOTE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.annotations['note']" } } },
            { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }] }],
        "volumes": [{ "name": "p", "projected": { "sources": [
            { "configMap": { "name": "settings" } }, { "secret": { "name": "token" } }, { "downwardAPI": {} },
            { "serviceAccountToken": {} }] } }] });
    record.versions[0].spec.runtime = serde_json::from_value(runtime).expect("a runtime");
    let text = unwrapped(&review(&record, V2, Decision::Approve, ("alice", "risk-officer")));
    for found in [
        "! volume p is config map settings, and its content is not pinned",
        "! volume p is secret token, and its content is not pinned",
        "! volume p is fields of the pod, and its content is not pinned",
        "! env NOTE of container c comes from the pod's metadata.annotations['note']",
    ] {
        assert!(text.contains(found), "{found} is not in\n{text}");
    }
    assert!(!text.contains("env NODE of container c comes from"), "{text}");
}

/// A runtime that gets content from outside the pod: through volumes, mounts, host names and name servers. The runtime
/// has every field of these parts.
fn outside() -> serde_json::Value {
    let selector = serde_json::json!({ "matchLabels": { "l-a": "l-b" },
        "matchExpressions": [{ "key": "l-c", "operator": "NotIn", "values": ["l-d"] }] });
    serde_json::json!({
        "containers": [{ "name": "c", "image": "i",
            "volumeMounts": [{ "name": "node", "mountPath": "/m", "mountPropagation": "Bidirectional" }],
            "volumeDevices": [{ "name": "scratch", "devicePath": "/dev/scratch" }] }],
        "hostAliases": [{ "ip": "192.0.2.1", "hostnames": ["hub.example"] }],
        "dnsConfig": { "nameservers": ["192.0.2.2"], "searches": ["search.example"] },
        "volumes": [
            { "name": "node", "hostPath": { "path": "/node/models", "type": "DirectoryOrCreate" } },
            { "name": "bucket", "csi": { "driver": "bucket.example", "fsType": "xfs",
                "volumeAttributes": { "at-name": "at-value" }, "nodePublishSecretRef": { "name": "csi-key" } } },
            { "name": "share", "nfs": { "server": "nfs.example", "path": "/share" } },
            { "name": "disk", "iscsi": { "targetPortal": "192.0.2.5:3260", "iqn": "iqn.target", "lun": 77,
                "iscsiInterface": "eth7", "fsType": "ext4", "portals": ["192.0.2.6"], "secretRef": { "name": "chap" },
                "initiatorName": "iqn.node" } },
            { "name": "scratch", "ephemeral": { "volumeClaimTemplate": {
                "metadata": { "labels": { "c-l": "c-v" }, "annotations": { "c-a": "c-w" } },
                "spec": { "accessModes": ["ReadWriteOncePod"], "storageClassName": "fast", "volumeMode": "Block",
                    "volumeName": "pv-7", "volumeAttributesClassName": "gold", "selector": selector,
                    "resources": { "requests": { "storage": "11Gi" }, "limits": { "storage": "13Gi" } },
                    "dataSource": { "apiGroup": "snapshots.example", "kind": "Snap", "name": "source-a" },
                    "dataSourceRef": { "kind": "Claim", "name": "source-b", "namespace": "elsewhere" } } } } },
            { "name": "identity", "projected": { "sources": [
                { "clusterTrustBundle": { "name": "bundle-a", "path": "ca-a.crt" } },
                { "clusterTrustBundle": { "signerName": "sign.example/b", "labelSelector": selector, "path": "ca-b.crt" } },
                { "podCertificate": { "signerName": "sign.example/c", "keyType": "ED25519", "maxExpirationSeconds": 7777,
                    "credentialBundlePath": "bundle.pem", "keyPath": "key.pem", "certificateChainPath": "chain.pem",
                    "userAnnotations": { "u-a": "u-b" } } }] } },
        ],
    })
}

/// Appends each text and number of a JSON value to `into`. Also appends the keys of maps, such as the names of labels,
/// but not the names of fields. In the test data, only keys of maps contain a `-`.
fn texts(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Number(number) => into.push(number.to_string()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        serde_json::Value::Object(fields) => {
            into.extend(fields.keys().filter(|name| name.contains('-')).cloned());
            fields.values().for_each(|value| texts(value, into));
        }
        _ => {}
    }
}

#[test]
fn review_shows_every_text_of_a_volume_source_and_of_names() {
    let mut record = record();
    record.versions[0].spec.runtime = serde_json::from_value(outside()).expect("a runtime");
    let text = unwrapped(&review(&record, V2, Decision::Approve, ("alice", "risk-officer")));
    let shown = text.split("VOLUMES").nth(1).expect("a list of volumes").to_owned();
    let mut wanted = Vec::new();
    texts(&outside()["volumes"], &mut wanted);
    texts(&outside()["hostAliases"], &mut wanted);
    texts(&outside()["dnsConfig"], &mut wanted);
    assert!(wanted.len() > 50, "{wanted:?}");
    for one in wanted {
        assert!(shown.contains(&one), "{one} is not in\n{shown}");
    }
    assert!(text.contains("later mounts of the node and of the container appear in both"), "{text}");
    assert!(text.contains("/dev/scratch is the block device of volume scratch"), "{text}");
}

#[test]
fn review_says_what_each_outside_source_does_not_pin() {
    let mut record = record();
    record.versions[0].spec.runtime = serde_json::from_value(outside()).expect("a runtime");
    let text = unwrapped(&review(&record, V2, Decision::Approve, ("alice", "risk-officer")));
    for found in [
        "! volume node is path /node/models of the node, and its content is not pinned: programs of the node",
        "! volume bucket is an inline volume of CSI driver bucket.example, and its content is not pinned",
        "! volume share is NFS directory nfs.example:/share, and its content is not pinned",
        "! volume disk is disk 77 of iSCSI target iqn.target, and its content is not pinned",
        "! volume scratch is a new claim for each pod, and its content is not pinned",
        "! volume identity is cluster trust bundle bundle-a, and its content is not pinned",
        "! volume identity is a certificate by sign.example/c, and its content is not pinned",
        "! name hub.example means the address 192.0.2.1",
        "! name server 192.0.2.2 decides which servers the names of the pod mean",
    ] {
        assert!(text.contains(found), "{found} is not in\n{text}");
    }
}

#[test]
fn review_warns_that_one_person_in_two_roles_fills_one_role() {
    let record = record().with("carol", Decision::Approve, "risk-officer", V2, "2026-11-23T09:00:00Z");
    let text = unwrapped(&review(&record, V2, Decision::Approve, ("carol", "ethics-board")));
    let wanted = "! carol approved as ethics-board and risk-officer, but one person fills one role";
    assert!(text.contains(wanted), "{text}");
    let text = unwrapped(&review(&record, V2, Decision::Approve, ("bob", "ethics-board")));
    assert!(!text.contains("but one person fills one role"), "{text}");
}

#[test]
fn review_shows_risks_and_hosted_models() {
    let mut record = record();
    let system = record.system.as_mut().expect("a system");
    let json = serde_json::json!({
        "risks": [{ "name": "bias-by-age", "description": "Older applicants get worse scores.", "treatment": "Mitigate",
            "measures": "fairness test for each version", "owner": "dana", "residual": "High",
            "review": { "last": "2026-09-01T00:00:00Z", "next": "2026-11-01T00:00:00Z" } }],
        "hostedModels": [
            { "name": "chat", "provider": "OpenAI", "model": "gpt-5", "version": "2026-08-06", "region": "eu",
              "endpoint": "https://api.openai.com/v1", "retiresAt": "2027-10-01T00:00:00Z",
              "agreement": { "uri": "https://docs.example/dpa.pdf", "digest": format!("sha256:{}", "ab".repeat(32)) } },
            { "name": "embeddings", "provider": "Mistral AI", "model": "mistral-embed" }],
        "suppliers": [{ "name": "OpenAI", "certifications": [
            { "name": "ISO/IEC 42001", "notAfter": "2027-03-31T00:00:00Z", "digest": format!("sha256:{}", "cd".repeat(32)) }] }],
    });
    system.spec.risks = serde_json::from_value(json["risks"].clone()).expect("risks");
    system.spec.hosted_models = serde_json::from_value(json["hostedModels"].clone()).expect("hosted models");
    system.spec.suppliers = serde_json::from_value(json["suppliers"].clone()).expect("suppliers");
    let key = serde_json::json!({ "name": "ANTHROPIC_API_KEY", "value": "secret" });
    let mut runtime = Runtime::clone(&record.versions[0].spec.runtime);
    runtime.containers[0].env.push(serde_json::from_value(key).expect("a variable"));
    record.versions[0].spec.runtime = runtime.into();
    let text = review(&record, V2, Decision::Approve, ("alice", "risk-officer"));
    let shown = &text[text.find("RISKS").expect("a heading")..text.find("RUNS").expect("a heading")];
    insta::assert_snapshot!(shown);
    let text = unwrapped(&text);
    assert!(text.contains("variable ANTHROPIC_API_KEY: the version may call Anthropic"), "{text}");
    assert!(
        text.contains("hosted model embeddings has no version: Mistral AI can change the model"),
        "{text}"
    );
}

#[test]
fn review_shows_each_placeholder_and_warns_about_variables_that_redirect_traffic() {
    let mut record = record();
    let runtime = serde_json::json!({ "placeholders": ["ordinal", "host"], "containers": [{
        "name": "c", "image": "i@sha256:a", "args": ["--rank=<ordinal>", "--mode=<name>"],
        "env": [{ "name": "MASTER_ADDR", "value": "<host>" }, { "name": "RANK", "value": "<ordinal>" }],
        "mayVary": { "env": ["LD_PRELOAD", "LWS_LEADER_ADDRESS=<host>", "LOG_LEVEL"] } }],
        "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "data-<ordinal>" } }] });
    record.versions[0].spec.runtime = serde_json::from_value(runtime).expect("a runtime");
    let name = record.versions[0].name_any();
    let text = unwrapped(&review(&record, &name, Decision::Approve, ("alice", "risk-officer")));
    for shown in [
        "! container c may have any argument of the form --rank=<ordinal>",
        "! env MASTER_ADDR of container c may have any value of the form <host>: the pod trusts the server that it names",
        "! env RANK of container c may have any value of the form <ordinal>",
        "! env LD_PRELOAD of container c may have any value, or none: it can load a library into each program",
        "! env LWS_LEADER_ADDRESS of container c may have the value <host>, or none: the pod trusts the server",
        "! env LOG_LEVEL of container c may have any value, or none",
        "volume v is claim data-<ordinal>",
        "<ordinal> any whole number from 0 to 99999",
        "<host> any host name or IPv4 address, also of a host outside the cluster",
    ] {
        assert!(text.contains(shown), "{shown}\n{text}");
    }
    assert!(!text.contains("of the form --mode=<name>"), "{text}");
}

#[test]
fn review_says_why_no_placeholder_has_a_meaning() {
    let mut record = record();
    let volume = |name: &str| serde_json::json!({ "name": name, "emptyDir": {} });
    let runtime = serde_json::json!({ "placeholders": ["name"], "containers": [{ "name": "c", "image": "i@sha256:a" }],
        "volumes": [volume("v-<name>"), volume("v-data")] });
    record.versions[0].spec.runtime = serde_json::from_value(runtime).expect("a runtime");
    let name = record.versions[0].name_any();
    let text = unwrapped(&review(&record, &name, Decision::Approve, ("alice", "risk-officer")));
    assert!(text.contains("no pod matches: the name of volume v-<name> also means volume v-data"), "{text}");
}
