//! Checks that the generated files are current. `make generate` writes these files. A test fails if a file is stale or
//! edited by hand.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use assent::{admission, api, cli::Cli, policy};
use clap::CommandFactory as _;
use serde_json::{Value, json};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

/// The environment variable that makes the tests write the files instead of failing.
const UPDATE: &str = "ASSENT_UPDATE";

fn is_current(file: &str, content: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, content).expect("the checkout can be written to");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == content, "{file} is stale: run `make generate` and commit it");
}

fn documents<T: serde::Serialize>(manifests: &[T]) -> String {
    let yaml = |manifest| format!("---\n{}", serde_saphyr::to_string(manifest).expect("manifests serialise"));
    manifests.iter().map(yaml).collect()
}

#[test]
fn the_crds_are_current() {
    for definition in api::definitions() {
        let file = format!("crds/{}.yaml", definition.spec.names.plural);
        is_current(&file, &documents(&[definition]));
    }
}

#[test]
fn the_crds_of_the_chart_are_current() {
    is_current("charts/assent/files/crds.yaml", &documents(&api::definitions()));
}

/// The kinds of signs that a pod uses an accelerator. For each kind, the chart value that adds names to the list of
/// this kind.
const LISTS: [(&str, &str); 4] = [
    ("resource", "resources"),
    ("runtimeClass", "runtimeClasses"),
    ("variable", "variables"),
    ("annotation", "annotations"),
];

/// The prefix of a made-up name in each list. In the generated policies, a Helm template for the chart value replaces
/// the made-up name.
const PLACEHOLDER: &str = "added-";

#[test]
fn the_policies_of_the_chart_are_current() {
    // The YAML serializer would escape double quotes in these Helm templates, so the templates contain back quotes
    // instead.
    let lines: Vec<_> = LISTS.iter().map(|(sign, _)| format!("{sign} {PLACEHOLDER}{sign}")).collect();
    let operator = admission::Operator {
        namespace: "{{ .Release.Namespace }}".to_owned(),
        service_account: "{{ include `assent.serviceAccountName` . }}".to_owned(),
        accelerators: lines.join("\n").parse().expect("a list"),
    };
    let (gates, refuses): (Vec<_>, Vec<_>) = admission::policies(&operator)
        .into_iter()
        .partition(|policy| !admission::HoldMethod::Refuse.has(policy));
    let file = format!(
        "{{{{- if include \"assent.gates\" . }}}}\n{}{{{{- end }}}}\n{}",
        documents(&gates),
        documents(&refuses)
    );
    let file = LISTS.iter().fold(file, |file, (sign, value)| {
        let names = format!("{{{{ range .Values.accelerators.{value} }}}}, '{{{{ . }}}}'{{{{ end }}}}");
        file.replace(&format!(", '{PLACEHOLDER}{sign}'"), &names)
    });
    is_current("charts/assent/templates/policies.yaml", &file);
}

#[test]
fn the_policy_names_of_the_chart_are_current() {
    let operator = admission::Operator {
        namespace: String::new(),
        service_account: String::new(),
        accelerators: policy::Accelerators::default(),
    };
    let all = admission::policies(&operator);
    let names: BTreeSet<_> = all.iter().map(|policy| policy.key().name).collect();
    let file = format!(
        "{{{{/* The names and the fingerprint of the policies. */}}}}\n\
         {{{{- define \"assent.policies.names\" -}}}}\n[{}]\n{{{{- end -}}}}\n\
         {{{{- define \"assent.policies.fingerprint\" -}}}}\n{}\n{{{{- end -}}}}\n",
        names.into_iter().collect::<Vec<_>>().join(", "),
        admission::fingerprint(&policy::Accelerators::default()),
    );
    is_current("charts/assent/templates/_policies.tpl", &file);
}

/// The table has the descriptions of `values.schema.json` and the defaults of `values.yaml`.
#[test]
fn the_values_table_of_the_chart_is_current() {
    const FILE: &str = "charts/assent/README.md";
    const BEGIN: &str = "<!-- values: make generate -->\n";
    const END: &str = "<!-- end of the values -->";
    let read =
        |file: &str| fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
    let schema: Value = serde_json::from_str(&read("charts/assent/values.schema.json")).expect("JSON");
    let defaults: Value = serde_saphyr::from_str(&read("charts/assent/values.yaml")).expect("YAML");
    let mut table = "| value | default | description |\n|---|---|---|\n".to_owned();
    add_values("", &schema, &defaults, &mut table);
    let page = read(FILE);
    let (before, rest) = page.split_once(BEGIN).expect(BEGIN);
    let (_, after) = rest.split_once(END).expect(END);
    is_current(FILE, &format!("{before}{BEGIN}{table}{END}{after}"));
}

fn add_values(prefix: &str, schema: &Value, defaults: &Value, table: &mut String) {
    // Helm gives `global` to every chart, so the table omits this value.
    let of_chart = |(name, _): &(&String, &Value)| *name != "global";
    for (name, value) in schema["properties"].as_object().expect(prefix).iter().filter(of_chart) {
        let (path, default) = (format!("{prefix}{name}"), &defaults[name]);
        assert!(!default.is_null(), "values.yaml has no default for {path}");
        if let Some(description) = value["description"].as_str() {
            let default = match default {
                Value::String(text) if text.is_empty() => String::new(),
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`").replace("\",\"", "\", \""),
            };
            table.extend(["| `", &path, "` | ", &default, " | ", description, " |\n"]);
        } else {
            add_values(&format!("{path}."), value, default, table);
        }
    }
}

#[test]
fn the_page_on_pod_matching_is_current() {
    let mut page = "# How the API server compares a pod\n\n\
        <!-- generated: make generate -->\n\
        The policies compare a pod with each cleared version of its system in one CEL expression. The expression \
        has the parts below. A placeholder such as `{{VOLUME}}` stands for the part with this name. `{{POD}}` stands \
        for the pod: `object` in the policies on pods, or a pod template. The chart contains the expression with all \
        placeholders replaced.\n\n\
        See [Fields of a pod](fields.md) for a list without CEL.\n"
        .to_owned();
    for (name, part) in admission::MATCH_PARTS {
        let (comments, body): (Vec<_>, Vec<_>) = part.lines().partition(|line| line.starts_with("//"));
        let comment = comments.join("\n").replace("// ", "").replace("//", "");
        let body = body.join("\n");
        page.extend(["\n## ", name, "\n\n", &comment, "\n\n```\n", body.trim(), "\n```\n"]);
    }
    is_current("docs/pod-match.md", &page);
}

/// Compares the page only with `policy::FIELDS`. Another test compares `policy::FIELDS` with the `OpenAPI` of the API
/// server.
#[test]
fn the_page_on_pod_fields_is_current() {
    const FILE: &str = "docs/fields.md";
    const BEGIN: &str = "<!-- fields: make generate -->\n";
    let page = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FILE)).expect(FILE);
    let (before, _) = page.split_once(BEGIN).expect(BEGIN);
    let mut tables = "\n## Compared\n\n".to_owned();
    for (field, class) in policy::FIELDS {
        if matches!(class, policy::Class::Compared) {
            tables.extend(["- `", field, "`\n"]);
        }
    }
    tables.push_str("\n## Free\n\n| fields | why any value is allowed |\n|---|---|\n");
    for (reason, fields) in policy::free_fields() {
        tables.extend(["| `", &fields.join("`, `"), "` | ", reason, " |\n"]);
    }
    tables.push_str("\n## Never approved\n\n| field | instead |\n|---|---|\n");
    for (field, class) in policy::FIELDS {
        if let policy::Class::Refused(instead) = class {
            tables.extend(["| `", field, "` | ", instead, " |\n"]);
        }
    }
    tables.push_str(
        "\n## Annotations that are never approved\n\n| annotations that begin with | who reads them |\n|---|---|\n",
    );
    for (prefix, reader) in policy::ANNOTATIONS {
        tables.extend(["| `", prefix, "` | ", reader, " |\n"]);
    }
    tables.extend(["\nThese annotations are allowed: `", &policy::HARMLESS_ANNOTATIONS.join("`, `"), "`.\n"]);
    is_current(FILE, &format!("{before}{BEGIN}{tables}"));
}

#[test]
fn the_plugin_reference_is_current() {
    const COLUMNS: usize = 100;
    let mut all = Cli::command().term_width(COLUMNS);
    all.build();
    let help = |command: &clap::Command| {
        let help = command.clone().term_width(COLUMNS).render_help().to_string();
        let lines: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
        format!("```text\n{}\n```\n", lines.join("\n"))
    };
    let mut page = format!(
        "# kubectl assent\n\nThis page has the short help (`-h`) of each command. `--help` explains more, and lists \
         all flags for the connection to the cluster, which are the flags of kubectl. For a subcommand, run for example \
         `kubectl assent incident note --help`.\n\n{}",
        help(&all)
    );
    for command in all.get_subcommands().filter(|command| !command.is_hide_set()) {
        page.extend(["\n## ", command.get_name(), "\n\n", &help(command)]);
    }
    is_current("docs/kubectl-assent.md", &page);
}

/// The examples that become fuzz seeds, each with the file of its first version.
const EXAMPLES: [(&str, &str); 4] = [
    ("credit-scorer", "modelversion-v1.yaml"),
    ("kserve-storage-initializer", "modelversion.yaml"),
    ("oci-image-volume", "modelversion.yaml"),
    ("retired-chatbot", "modelversion.yaml"),
];

fn example(file: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(file);
    serde_saphyr::from_str(&fs::read_to_string(path).expect(file)).expect(file)
}

/// The seeds are the examples in the input format of each fuzz target.
#[test]
fn the_fuzz_seeds_are_current() {
    let seed = |target: &str, name: &str, value: &Value| {
        let json = serde_json::to_string_pretty(value).expect("JSON");
        is_current(&format!("fuzz/seeds/{target}/{name}.json"), &format!("{json}\n"));
    };
    let level = example("risk-levels/high.yaml");
    let mut approval = example("credit-scorer/approval-risk-officer.yaml");
    approval["metadata"]["creationTimestamp"] = json!("2026-11-30T12:00:00Z");
    approval["spec"]["approver"] = json!({ "user": "alice", "groups": ["risk-officers"] });
    for (name, version) in EXAMPLES {
        let [system, version, workload] =
            ["aisystem.yaml", version, "deployment.yaml"].map(|file| example(&format!("{name}/{file}")));
        let (system_spec, version_spec) = (&system["spec"], &version["spec"]);
        let clearance = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Clearance", "metadata": { "name": "clearance" },
            "spec": { "mode": "enforce", "systems": { name: { "onLoss": { "gracePeriodSeconds": 60 }, "cleared": [{
                "modelVersion": "v1", "subjectDigest": approval["spec"]["subjectDigest"],
                "notAfter": "2027-03-31T12:00:00Z", "runtime": version_spec["runtime"] }] } } } });
        let admission =
            json!({ "approved": version_spec["runtime"], "pod": workload["spec"]["template"]["spec"] });
        let signed = json!({ "namespace": name, "system": system_spec, "version": version_spec });
        let case = json!({ "now": "2026-12-01T00:00:00Z", "system": system_spec, "version": version_spec,
            "level": level["spec"], "approvals": [approval] });
        seed("matching", name, &admission);
        seed("subject", name, &signed);
        seed("judgement", name, &case);
        seed("objects", &format!("{name}-system"), &system);
        seed("objects", &format!("{name}-version"), &version);
        seed("objects", &format!("{name}-clearance"), &clearance);
    }
    seed("objects", "level", &level);
    seed("objects", "approval", &approval);
    seed("signature", "credit-scorer", &signed(&approval));
}

/// Returns `approval` with the signature of a key, and the `ApproverRole` that lists this key.
fn signed(approval: &Value) -> Value {
    let key = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/policy/tests/alice.key");
    let key = PrivateKey::from_openssh(fs::read_to_string(key).expect("a file")).expect("a key");
    let mut approval: api::Approval = serde_json::from_value(approval.clone()).expect("an Approval");
    approval.spec.approver = None;
    let at = approval.metadata.creation_timestamp.clone().expect("a time");
    approval.spec.signature = Some(api::Signature { signed_at: at.clone(), ssh: String::new() });
    let namespace = approval.metadata.namespace.clone().unwrap_or_default();
    let text = policy::signed_text(&namespace, &approval.spec).expect("a text");
    let signature = key.sign(policy::SIGNATURE_NAMESPACE, HashAlg::Sha512, &text).expect("a signature");
    let ssh = signature.to_pem(LineEnding::LF).expect("PEM");
    approval.spec.signature = Some(api::Signature { signed_at: at, ssh });
    let public_key = key.public_key().to_openssh().expect("a public key");
    json!({ "approval": approval, "role": { "apiVersion": "assent.dev/v1alpha1", "kind": "ApproverRole",
        "metadata": { "name": approval.spec.role },
        "spec": { "keys": [{ "approver": { "user": "alice" }, "publicKey": public_key }] } } })
}
