//! Tests each requirement in `examples/requirements` with content that meets the requirement and content that does not.

use std::{borrow::Cow, collections::BTreeMap, fs, path::Path, sync::Arc};

use k8s_openapi::api::{
    core::v1::PersistentVolumeClaim, networking::v1::NetworkPolicy, storage::v1::StorageClass,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::generate::second;
use crate::{
    api::{AISystemSpec, Approver, AssessmentSpec, ModelVersionSpec, Requirement, RiskLevel},
    expression::Budget,
    policy::{
        Attestation, Attestations, Authors, ClusterObjects, RecordedAssessment, RequirementFacts,
        Requirements, Storage, UnmetCause, UnmetRequirement,
    },
};

/// The maximum size of an expression in bytes, and the maximum number of requirements of a level, as in the schema of
/// `RiskLevel`.
const EXPRESSION_BYTES: usize = 4096;
const REQUIREMENTS: usize = 16;

struct Case {
    /// The name of the file of the level, without its extension.
    file: &'static str,
    requirement: &'static str,
    good: Vec<Value>,
    bad: Vec<Value>,
}

/// The risk levels in `examples/requirements`, by the name of the file without its extension.
fn levels() -> BTreeMap<String, RiskLevel> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/requirements");
    let files = fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("a file").path());
    let levels = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    levels
        .filter_map(|path| {
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a text");
            (name != "kustomization").then(|| (name, serde_saphyr::from_str(&text).expect("a level")))
        })
        .collect()
}

/// The requirement with the cause, if `content` does not meet the requirement. `None` if `content` meets the
/// requirement.
///
/// The content can have the fields `runtime`, `provenance`, `system`, `labels`, `assessments`, `networkPolicies`,
/// `claims` and `storageClasses`.
fn unmet(requirement: &Requirement, content: &Value) -> Option<UnmetRequirement> {
    let field = |name: &str, default: Value| content.get(name).cloned().unwrap_or(default);
    let mut system = json!({
        "intendedPurpose": "Answers questions of customers.", "owners": [{ "name": "olga" }], "riskLevel": "limited",
    });
    if let (Some(system), Some(more)) = (system.as_object_mut(), field("system", json!({})).as_object()) {
        system.extend(more.clone());
    }
    let system: AISystemSpec = serde_json::from_value(system).expect("a system");
    let version: ModelVersionSpec = serde_json::from_value(json!({
        "system": "chat",
        "runtime": field("runtime", json!({ "containers": [{ "name": "server", "image": "server" }] })),
        "provenance": field("provenance", json!({})),
    }))
    .expect("a version");
    let labels: BTreeMap<String, String> =
        serde_json::from_value(field("labels", json!({}))).expect("the labels");
    let assessments = field("assessments", json!([]));
    let specs: Vec<(AssessmentSpec, Vec<&str>)> = assessments
        .as_array()
        .expect("a list")
        .iter()
        .map(|assessment| {
            let spec = json!({
                "system": "chat", "modelVersion": "chat-v1", "subjectDigest": format!("sha256:{}", "0".repeat(64)),
                "performedAt": "2026-09-01T10:00:00Z",
                "kind": assessment["kind"], "results": assessment["results"],
            });
            let roles = assessment["roles"].as_array().expect("a list").iter().filter_map(Value::as_str);
            (serde_json::from_value(spec).expect("an assessment"), roles.collect())
        })
        .collect();
    let approver = Approver { user: "alice".to_owned(), ..Approver::default() };
    let recorded: Vec<_> = specs
        .iter()
        .map(|(spec, roles)| {
            let digest = spec.digest("support");
            let unsigned =
                RecordedAssessment::new("red-team", spec, &digest, second(0), &Attestations::default());
            let attestations = roles.iter().map(|role| Attestation {
                approver: Cow::Borrowed(&approver),
                role,
                is_valid: true,
            });
            RecordedAssessment { attestations: attestations.collect(), ..unsigned }
        })
        .collect();
    let facts = RequirementFacts {
        namespace: "support",
        labels: Some(&labels),
        system: &system,
        name: "chat-v1",
        version: &version,
        assessments: &recorded,
        authors: Authors::default(),
        cluster: &cluster(content),
    };
    Requirements::compile(std::slice::from_ref(requirement))
        .evaluate(&facts, &mut Budget::of_namespace())
        .unmet
        .into_iter()
        .next()
}

fn cluster(content: &Value) -> ClusterObjects {
    fn objects<K: DeserializeOwned, V: From<K>>(content: &Value, field: &str) -> BTreeMap<String, Arc<V>> {
        let items = content[field].as_array().cloned().unwrap_or_default();
        let name = |item: &Value| item["metadata"]["name"].as_str().expect("a name").to_owned();
        let object = |item: &Value| serde_json::from_value::<K>(item.clone()).expect("an object");
        items.iter().map(|item| (name(item), Arc::new(object(item).into()))).collect()
    }
    ClusterObjects {
        network_policies: Some(objects::<NetworkPolicy, _>(content, "networkPolicies")),
        storage: Some(Storage {
            claims: objects::<PersistentVolumeClaim, _>(content, "claims"),
            classes: objects::<StorageClass, _>(content, "storageClasses"),
            is_complete: true,
        }),
    }
}

#[test]
fn each_requirement_is_valid_and_within_the_limits() {
    let levels = levels();
    assert!(levels.len() >= 5, "{:?}", levels.keys());
    for (file, level) in &levels {
        let requirements = &level.spec.requirements;
        assert!((1..=REQUIREMENTS).contains(&requirements.len()), "{file}: {}", requirements.len());
        let compiled = Requirements::compile(requirements);
        let invalid: Vec<_> = compiled.invalid().map(|(name, error)| format!("{name}: {error}")).collect();
        assert!(invalid.is_empty(), "{file}: {invalid:#?}");
        for requirement in requirements {
            let name = &requirement.name;
            assert!(requirement.expression.len() <= EXPRESSION_BYTES, "{file}: {name} is too long");
            assert!(!requirement.controls.is_empty(), "{file}: {name} has no controls");
        }
    }
}

#[test]
fn the_list_of_files_in_the_kustomization_is_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/requirements/kustomization.yaml");
    let kustomization: Value =
        serde_saphyr::from_str(&fs::read_to_string(path).expect("a text")).expect("YAML");
    let resources = kustomization["resources"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let listed: std::collections::BTreeSet<_> = resources.map(str::to_owned).collect();
    assert_eq!(listed, levels().keys().map(|name| format!("{name}.yaml")).collect());
}

#[test]
fn each_requirement_holds_for_good_content_and_not_for_bad_content() {
    let levels = levels();
    let cases = cases();
    for (file, level) in &levels {
        for requirement in &level.spec.requirements {
            let name = &requirement.name;
            let case = cases.iter().find(|case| case.file == file && case.requirement == name);
            let case = case.unwrap_or_else(|| panic!("{file}: {name} has no case"));
            assert!(
                !case.good.is_empty() && !case.bad.is_empty(),
                "{file}: {name} needs both kinds of cases"
            );
            for content in &case.good {
                assert_eq!(unmet(requirement, content), None, "{file}: {name}: {content}");
            }
            for content in &case.bad {
                let found = unmet(requirement, content).map(|unmet| unmet.cause);
                assert_eq!(found, Some(UnmetCause::False), "{file}: {name}: {content}");
            }
        }
    }
    for case in &cases {
        let level = levels.get(case.file);
        let exists = level.is_some_and(|level| {
            level.spec.requirements.iter().any(|requirement| requirement.name == case.requirement)
        });
        assert!(exists, "{}: there is no requirement {}", case.file, case.requirement);
    }
}

fn cases() -> Vec<Case> {
    [general(), cluster_cases(), vllm(), tgi(), triton(), kserve()].into_iter().flatten().collect()
}

/// A case for each entry of `table`. An entry has the name of the requirement, good content, and bad content.
fn table(file: &'static str, table: Vec<(&'static str, Vec<Value>, Vec<Value>)>) -> Vec<Case> {
    let case = |(requirement, good, bad)| Case { file, requirement, good, bad };
    table.into_iter().map(case).collect()
}

fn cluster_cases() -> Vec<Case> {
    let policy = |name: &str, selector: Value, egress: Value| {
        json!({ "metadata": { "name": name },
            "spec": { "podSelector": selector, "policyTypes": ["Egress"], "egress": egress } })
    };
    let policies = |policies: &[Value]| json!({ "networkPolicies": policies });
    let limited = json!([{ "to": [{ "ipBlock": { "cidr": "10.0.0.0/8" } }] }]);
    let of_system = json!({ "matchLabels": { "assent.dev/system": "chat" } });
    let of_app = json!({ "matchLabels": { "app": "chat" } });
    let storage = |class: &str, parameters: Value| {
        json!({ "runtime": { "containers": [{ "name": "server", "image": "server" }],
                "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }] },
            "claims": [{ "metadata": { "name": "data" }, "spec": { "storageClassName": class } }],
            "storageClasses": [{ "metadata": { "name": "fast" }, "provisioner": "ebs.csi.aws.com",
                "parameters": parameters }] })
    };
    table(
        "cluster",
        vec![
            (
                "outgoing-traffic-is-limited",
                vec![
                    policies(&[policy("own", of_system.clone(), limited.clone())]),
                    policies(&[policy("all", json!({}), json!([]))]),
                    policies(&[
                        policy("all", json!({}), limited.clone()),
                        policy(
                            "other",
                            json!({ "matchLabels": { "assent.dev/system": "other" } }),
                            json!([{}]),
                        ),
                    ]),
                ],
                vec![
                    json!({}),
                    // The policy selects pods by another label, so it does not select every pod of the system.
                    policies(&[policy("app", of_app.clone(), limited.clone())]),
                    // Kubernetes allows a pod all traffic that at least one of its network policies allows. So the
                    // policy `app`, which allows all traffic, undoes the policy `own`.
                    policies(&[
                        policy("own", of_system.clone(), limited.clone()),
                        policy("app", of_app, json!([{}])),
                    ]),
                    policies(&[policy("own", of_system.clone(), json!([{ "to": [] }]))]),
                    policies(&[json!({ "metadata": { "name": "in" },
                        "spec": { "podSelector": of_system, "ingress": [] } })]),
                ],
            ),
            (
                "claims-are-encrypted",
                vec![json!({}), storage("fast", json!({ "encrypted": "true", "type": "gp3" }))],
                vec![
                    storage("fast", json!({ "encrypted": "false" })),
                    storage("fast", json!({ "type": "gp3" })),
                    storage("", json!({ "encrypted": "true" })),
                    storage("gone", json!({ "encrypted": "true" })),
                ],
            ),
        ],
    )
}

/// Content whose runtime has only this container.
fn container(container: &Value) -> Value {
    json!({ "runtime": { "containers": [container] } })
}

/// Content whose runtime has this init container and one container.
fn init(container: &Value) -> Value {
    json!({ "runtime": { "containers": [{ "name": "server", "image": "server" }], "initContainers": [container] } })
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn general() -> Vec<Case> {
    let digest = format!("@sha256:{}", "ab".repeat(32));
    let image = |image: &str| json!({ "name": "server", "image": image });
    let volume = |image: &str| {
        json!({ "runtime": {
            "containers": [{ "name": "server", "image": format!("registry.example.org/server{digest}") }],
            "volumes": [{ "name": "model", "image": { "reference": image } }, { "name": "tmp", "emptyDir": {} }],
        } })
    };
    let args = |args: &[&str]| json!({ "name": "server", "image": "server", "args": args });
    let env =
        |name: &str| json!({ "name": "server", "image": "server", "env": [{ "name": name, "value": "1" }] });
    let may_vary = |name: &str| json!({ "name": "server", "image": "server", "mayVary": { "env": [name] } });
    let runtime = |field: &str| json!({ "runtime": { "containers": [{ "name": "server", "image": "server" }], field: true } });
    let notice = |notice: Value| json!({ "system": { "jurisdictions": ["EU"], "documentation": [notice] } });
    let model = |model: Value| json!({ "system": { "hostedModels": [model] } });
    let red_team = |kind: &str, metric: &str, value: &str, roles: &[&str]| {
        let result =
            json!({ "metric": metric, "value": value, "direction": "LowerIsBetter", "samples": 500 });
        json!({ "assessments": [{ "kind": kind, "results": [result], "roles": roles }] })
    };
    table(
        "general",
        vec![
            (
                "images-from-our-registry",
                vec![
                    container(&image("registry.example.org/server:1")),
                    volume("registry.example.org/model:1"),
                ],
                vec![
                    container(&image("docker.io/server:1")),
                    container(&image("registry.example.org.evil/server:1")),
                    init(&image("docker.io/init:1")),
                    volume("docker.io/model:1"),
                ],
            ),
            (
                "images-by-digest",
                vec![
                    container(&image(&format!("registry.example.org/server{digest}"))),
                    volume(&format!("registry.example.org/model{digest}")),
                ],
                vec![
                    container(&image("registry.example.org/server:1")),
                    container(&image(&format!("registry.example.org/server{digest}:1"))),
                    init(&image("registry.example.org/init:1")),
                    volume("registry.example.org/model:1"),
                ],
            ),
            (
                "no-remote-code",
                vec![
                    container(&args(&["--model", "/models/trusted", "--trace-config=rate=1"])),
                    container(&env("HF_TOKEN")),
                ],
                vec![
                    container(&args(&["--trust-remote-code"])),
                    container(&args(&["--trust_remote_code=true"])),
                    container(&args(&["--trust-rem"])),
                    container(&args(&["-c", "vllm serve model --trust-remote-code"])),
                    container(
                        &json!({ "name": "server", "image": "server", "command": ["vllm", "--trust-remote-code"] }),
                    ),
                    container(&env("TRUST_REMOTE_CODE")),
                    container(&env("HF_DATASETS_TRUST_REMOTE_CODE")),
                    container(&may_vary("TRUST_REMOTE_CODE")),
                    init(&args(&["--trust-remote-code"])),
                ],
            ),
            (
                "no-variables-that-load-code",
                vec![container(&env("HF_HOME")), container(&may_vary("HF_TOKEN"))],
                vec![
                    container(&env("LD_PRELOAD")),
                    container(&env("LD_LIBRARY_PATH")),
                    container(&env("PYTHONPATH")),
                    container(&env("PYTHONSTARTUP")),
                    container(&may_vary("LD_PRELOAD")),
                    init(&env("PYTHONPATH")),
                ],
            ),
            (
                "no-variables-from-whole-objects",
                vec![container(&env("HF_HOME"))],
                vec![
                    container(
                        &json!({ "name": "server", "image": "server", "envFrom": [{ "configMapRef": { "name": "settings" } }] }),
                    ),
                    init(
                        &json!({ "name": "init", "image": "init", "envFrom": [{ "secretRef": { "name": "settings" } }] }),
                    ),
                ],
            ),
            (
                "no-host-namespaces",
                vec![container(&image("server")), runtime("shareProcessNamespace")],
                vec![runtime("hostNetwork"), runtime("hostPID"), runtime("hostIPC")],
            ),
            (
                "training-data-is-declared",
                vec![
                    json!({ "provenance": { "data": [{ "name": "loans", "digest": digest.trim_start_matches('@') }] } }),
                ],
                vec![json!({}), json!({ "provenance": { "rationale": "new" } })],
            ),
            (
                "transparency-notice",
                vec![
                    json!({}),
                    json!({ "system": { "jurisdictions": ["CH"] } }),
                    notice(
                        json!({ "type": "transparency-notice", "uri": "https://x", "digest": digest.trim_start_matches('@') }),
                    ),
                ],
                vec![
                    json!({ "system": { "jurisdictions": ["CH", "EU"] } }),
                    notice(json!({ "type": "transparency-notice", "uri": "https://x" })),
                    notice(
                        json!({ "type": "impact-assessment", "uri": "https://x", "digest": digest.trim_start_matches('@') }),
                    ),
                ],
            ),
            (
                "hosted-models-in-our-regions",
                vec![
                    json!({}),
                    model(json!({ "name": "chat", "provider": "A", "model": "m", "region": "eu-west-1" })),
                ],
                vec![
                    model(json!({ "name": "chat", "provider": "A", "model": "m", "region": "us-east-1" })),
                    model(json!({ "name": "chat", "provider": "A", "model": "m" })),
                ],
            ),
            (
                "hosted-models-of-our-providers",
                vec![
                    json!({}),
                    model(json!({ "name": "chat", "provider": "Example AI GmbH", "model": "m" })),
                ],
                vec![model(json!({ "name": "chat", "provider": "Other AI", "model": "m" }))],
            ),
            (
                "red-team-signed",
                vec![red_team("RedTeam", "attack_success_rate", "0.02", &["developer", "risk-officer"])],
                vec![
                    json!({}),
                    red_team("RedTeam", "attack_success_rate", "0.02", &[]),
                    red_team("RedTeam", "attack_success_rate", "0.02", &["developer"]),
                    red_team("RedTeam", "attack_success_rate", "0.2", &["risk-officer"]),
                    red_team("RedTeam", "latency", "0.02", &["risk-officer"]),
                    red_team("Safety", "attack_success_rate", "0.02", &["risk-officer"]),
                ],
            ),
            (
                "namespace-in-the-eu",
                vec![json!({ "labels": { "example.org/data-region": "eu" } })],
                vec![
                    json!({ "labels": { "example.org/data-region": "us" } }),
                    json!({ "labels": { "region": "eu" } }),
                    json!({}),
                ],
            ),
        ],
    )
}

/// Content with a container of a serving engine, such as vLLM. The fields in `more` are added to this container, or
/// replace its fields.
fn engine(image: &str, more: &Value) -> Value {
    let mut engine = json!({ "name": "server", "image": format!("registry.example.org/{image}:1") });
    if let (Some(engine), Some(more)) = (engine.as_object_mut(), more.as_object()) {
        engine.extend(more.clone());
    }
    json!({ "runtime": { "containers": [engine, { "name": "proxy", "image": "registry.example.org/proxy:1" }] } })
}

/// An environment variable whose value comes from a Secret.
fn secret(name: &str) -> Value {
    json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": "keys", "key": "key" } } })
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn vllm() -> Vec<Case> {
    let content = |more: &Value| engine("vllm-openai", more);
    let args = |args: &[&str]| content(&json!({ "args": args }));
    let env = |name: &str, value: &str| content(&json!({ "env": [{ "name": name, "value": value }] }));
    let may_vary = |name: &str| content(&json!({ "mayVary": { "env": [name] } }));
    let commit = format!("--revision={}", "ab".repeat(20));
    table(
        "vllm",
        vec![
            ("engine-is-vllm", vec![args(&[])], vec![json!({}), engine("llama", &json!({}))]),
            (
                "requests-are-logged",
                vec![args(&["--model=/models", "--enable-log-requests"])],
                vec![
                    args(&[]),
                    args(&["--disable-log-requests"]),
                    args(&["--enable-log-requests", "--no-enable-log-requests"]),
                    args(&["--enable-log-requests", "--disable_log_requests"]),
                ],
            ),
            (
                "log-level-is-info",
                vec![
                    args(&[]),
                    env("VLLM_LOGGING_LEVEL", "INFO"),
                    env("HF_HOME", "/cache"),
                    may_vary("HF_TOKEN"),
                ],
                vec![
                    env("VLLM_LOGGING_LEVEL", "ERROR"),
                    content(&json!({ "env": [secret("VLLM_LOGGING_LEVEL")] })),
                    env("VLLM_CONFIGURE_LOGGING", "0"),
                    env("VLLM_LOGGING_CONFIG_PATH", "/x.json"),
                    may_vary("VLLM_LOGGING_LEVEL"),
                ],
            ),
            (
                "access-is-logged",
                vec![args(&["--enable-log-requests"])],
                vec![
                    args(&["--disable-uvicorn-access-log"]),
                    args(&["--disable_uvicorn_access_log"]),
                    args(&["--disable-access-log-for-endpoints", "/v1/completions"]),
                    args(&["--uvicorn-log-level=error"]),
                    content(&json!({ "command": ["sh", "-c", "vllm serve m --disable-uvicorn-access-log"] })),
                ],
            ),
            (
                "statistics-are-logged",
                vec![args(&["--enable-log-requests"])],
                vec![args(&["--disable-log-stats"]), args(&["--disable_log_stats"])],
            ),
            (
                "api-key-from-secret",
                vec![content(&json!({ "env": [secret("VLLM_API_KEY")] }))],
                vec![
                    args(&[]),
                    args(&["--api-key", "hunter2"]),
                    env("VLLM_API_KEY", "hunter2"),
                    content(&json!({ "env": [secret("VLLM_API_KEY")], "args": ["--api_key=hunter2"] })),
                ],
            ),
            (
                "connections-are-encrypted",
                vec![
                    args(&["--ssl-certfile", "/tls/tls.crt", "--ssl-keyfile", "/tls/tls.key"]),
                    args(&["--ssl-certfile=/tls/tls.crt", "--ssl-keyfile=/tls/tls.key"]),
                ],
                vec![args(&[]), args(&["--ssl-certfile=/tls/tls.crt"])],
            ),
            (
                "origins-are-stated",
                vec![args(&[r#"--allowed-origins=["https://chat.example.org"]"#])],
                vec![
                    args(&[]),
                    args(&[r#"--allowed-origins=["*"]"#]),
                    args(&[
                        r#"--allowed-origins=["https://chat.example.org"]"#,
                        r#"--allowed_origins=["*"]"#,
                    ]),
                    args(&[
                        r#"--allowed-origins=["https://chat.example.org"]"#,
                        "--allowed-origins",
                        r#"["*"]"#,
                    ]),
                ],
            ),
            (
                "no-development-mode",
                vec![env("HF_HOME", "/cache")],
                vec![
                    env("VLLM_SERVER_DEV_MODE", "1"),
                    env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True"),
                    env("VLLM_ALLOW_INSECURE_SERIALIZATION", "1"),
                    may_vary("VLLM_SERVER_DEV_MODE"),
                ],
            ),
            (
                "no-configuration-file",
                vec![args(&["--config-format=hf"])],
                vec![
                    args(&["--config", "/x.yaml"]),
                    args(&["--config=/x.yaml"]),
                    content(&json!({ "command": ["sh", "-c", "vllm serve --config /x.yaml"] })),
                ],
            ),
            (
                "no-code-from-arguments",
                vec![args(&["--tool-call-parser=hermes", "--reasoning-parser=qwen3"])],
                vec![
                    args(&["--middleware", "evil.Middleware"]),
                    args(&["--worker-cls=evil.Worker"]),
                    args(&["--worker-extension-cls=evil.Worker"]),
                    args(&["--scheduler-cls=evil.Scheduler"]),
                    args(&["--logits-processors", "evil.Processor"]),
                    args(&["--io-processor-plugin=evil"]),
                    args(&["--tool-parser-plugin=/evil.py"]),
                    args(&["--reasoning_parser_plugin=/evil.py"]),
                ],
            ),
            (
                "no-demo-tools",
                vec![args(&["--tool-strict-level=function"]), args(&["--tool-server=tools:8000"])],
                vec![
                    args(&["--tool-server", "demo"]),
                    args(&["--tool-server=demo"]),
                    args(&["--tool_server=demo"]),
                ],
            ),
            (
                "no-template-from-requests",
                vec![args(&["--chat-template=/templates/chat.jinja"])],
                vec![args(&["--trust-request-chat-template"]), args(&["--trust_request_mm_kwargs"])],
            ),
            (
                "no-local-media",
                vec![args(&["--allowed-media-domains", "images.example.org"])],
                vec![args(&["--allowed-local-media-path", "/"]), args(&["--allowed_local_media_path=/"])],
            ),
            (
                "model-is-pinned",
                vec![args(&["org/model", &commit]), args(&["/models"]), args(&["serve", "/models"])],
                vec![
                    args(&[]),
                    args(&["org/model"]),
                    args(&["serve"]),
                    args(&["serve", "org/model", "--download-dir", "/models"]),
                    args(&["org/model", "--revision=main"]),
                    args(&["org/model", &commit, "--revision=main"]),
                ],
            ),
        ],
    )
}

fn tgi() -> Vec<Case> {
    let content = |more: &Value| engine("text-generation-inference", more);
    let args = |args: &[&str]| content(&json!({ "args": args }));
    let env = |name: &str, value: &str| content(&json!({ "env": [{ "name": name, "value": value }] }));
    let may_vary = |name: &str| content(&json!({ "mayVary": { "env": [name] } }));
    let commit = format!("--revision={}", "ab".repeat(20));
    table(
        "tgi",
        vec![
            ("engine-is-tgi", vec![args(&[])], vec![json!({}), engine("llama", &json!({}))]),
            (
                "log-is-json",
                vec![args(&["--json-output"]), env("JSON_OUTPUT", "true")],
                vec![args(&[]), env("JSON_OUTPUT", "false")],
            ),
            (
                "log-level-is-info",
                vec![args(&[]), env("LOG_LEVEL", "info")],
                vec![
                    env("LOG_LEVEL", "error"),
                    content(&json!({ "env": [secret("LOG_LEVEL")] })),
                    may_vary("LOG_LEVEL"),
                ],
            ),
            (
                "requests-are-traced",
                vec![
                    args(&["--otlp-endpoint", "http://collector:4317"]),
                    args(&["--otlp-endpoint=http://collector:4317"]),
                    env("OTLP_ENDPOINT", "http://collector:4317"),
                ],
                vec![args(&[]), args(&["--otlp-endpoint="]), env("OTLP_ENDPOINT", "")],
            ),
            (
                "api-key-from-secret",
                vec![content(&json!({ "env": [secret("API_KEY")] }))],
                vec![
                    args(&[]),
                    env("API_KEY", "hunter2"),
                    content(&json!({ "env": [secret("API_KEY")], "args": ["--api-key=hunter2"] })),
                ],
            ),
            (
                "origins-are-stated",
                vec![args(&["--cors-allow-origin=https://chat.example.org"])],
                vec![
                    args(&[]),
                    args(&["--cors-allow-origin=*"]),
                    args(&["--cors-allow-origin=https://chat.example.org", "--cors-allow-origin", "*"]),
                ],
            ),
            (
                "no-tunnel",
                vec![args(&["--json-output"])],
                vec![args(&["--ngrok"]), env("NGROK", "true"), may_vary("NGROK")],
            ),
            (
                "no-usage-statistics",
                vec![args(&["--usage-stats=off"]), env("USAGE_STATS", "off")],
                vec![args(&[]), args(&["--usage-stats=no-stack"]), env("USAGE_STATS", "on")],
            ),
            (
                "model-is-pinned",
                vec![args(&["--model-id=org/model", &commit]), args(&["--model-id=/models"])],
                vec![
                    args(&[]),
                    args(&["--model-id=org/model"]),
                    args(&["--model-id=org/model", "--revision=main"]),
                ],
            ),
            (
                "no-adapters",
                vec![args(&["--model-id=/models"])],
                vec![
                    args(&["--lora-adapters=org/adapter"]),
                    env("LORA_ADAPTERS", "org/adapter"),
                    may_vary("LORA_ADAPTERS"),
                ],
            ),
        ],
    )
}

fn triton() -> Vec<Case> {
    let content = |more: &Value| engine("tritonserver", more);
    let args = |args: &[&str]| content(&json!({ "args": args }));
    let http = "--http-restricted-api=logging,trace,model-repository:admin-key=$(ADMIN_KEY)";
    let grpc = "--grpc-restricted-protocol=logging,trace,model-repository:admin-key=$(ADMIN_KEY)";
    let traced = ["--trace-config=level=TIMESTAMPS", "--trace-config=rate=1"];
    table(
        "triton",
        vec![
            ("engine-is-triton", vec![args(&[])], vec![json!({}), engine("llama", &json!({}))]),
            (
                "no-models-at-run-time",
                vec![args(&["--model-repository=/models"]), args(&["--model-control-mode=none"])],
                vec![
                    args(&["--model-control-mode=explicit"]),
                    args(&["--model-control-mode", "poll"]),
                    args(&["--model-cont=poll"]),
                    content(&json!({ "command": ["tritonserver", "--model-control-mode=poll"] })),
                ],
            ),
            (
                "model-configuration-is-static",
                vec![args(&["--disable-auto-complete-config"])],
                vec![args(&[])],
            ),
            (
                "log-levels-are-on",
                vec![args(&[]), args(&["--log-info=true", "--log-verbose=1", "--log-format=ISO8601"])],
                vec![args(&["--log-info=false"]), args(&["--log-warning", "off"]), args(&["--log-e=0"])],
            ),
            (
                "log-has-dates",
                vec![args(&["--log-format=ISO8601"])],
                vec![args(&[]), args(&["--log-format=default"])],
            ),
            (
                "log-goes-to-console",
                vec![args(&["--log-format=ISO8601"])],
                vec![args(&["--log-file=/tmp/log"]), args(&["--log-file", "/tmp/log"])],
            ),
            (
                "requests-are-traced",
                vec![args(&traced)],
                vec![
                    args(&[]),
                    args(&traced[..1]),
                    args(&[traced[0], traced[1], "--trace-config=level=OFF"]),
                    args(&[traced[0], traced[1], "--trace-config", "count=100"]),
                ],
            ),
            (
                "control-endpoints-need-a-key",
                vec![args(&[http, grpc]), args(&[http, "--allow-grpc=false"])],
                vec![
                    args(&[]),
                    args(&[http]),
                    args(&["--http-restricted-api=logging,trace,model-repository:admin-key=hunter2", grpc]),
                    args(&["--http-restricted-api=trace,model-repository:admin-key=$(ADMIN_KEY)", grpc]),
                ],
            ),
            (
                "grpc-is-encrypted",
                vec![args(&["--grpc-use-ssl=true"]), args(&["--allow-grpc=false"])],
                vec![args(&[]), args(&["--grpc-use-ssl=false"])],
            ),
            (
                "no-shared-memory-of-clients",
                vec![args(&[]), args(&["--allow-client-shm=false"])],
                vec![args(&["--allow-client-shm=true"]), args(&["--allow-client-shm", "on"])],
            ),
            (
                "libraries-from-the-image",
                vec![args(&[
                    "--backend-config=python,shm-default-byte-size=1048576",
                    "--model-repository=/models",
                ])],
                vec![
                    args(&["--backend-directory=/models"]),
                    args(&["--repoagent-directory", "/models"]),
                    args(&["--cache-directory=/models"]),
                ],
            ),
            (
                "readiness-is-strict",
                vec![
                    args(&[]),
                    args(&["--strict-readiness=true", "--exit-on-error=1", "--exit-timeout-secs=30"]),
                ],
                vec![args(&["--strict-readiness=false"]), args(&["--exit-on-error", "false"])],
            ),
            (
                "metrics-are-served",
                vec![args(&[]), args(&["--allow-metrics=true", "--allow-http=true"])],
                vec![args(&["--allow-metrics=false"]), args(&["--allow-metrics", "0"])],
            ),
        ],
    )
}

fn kserve() -> Vec<Case> {
    let server =
        |args: &[&str]| container(&json!({ "name": "kserve-container", "image": "server", "args": args }));
    let agent = |args: &[&str]| container(&json!({ "name": "agent", "image": "kserve/agent", "args": args }));
    let initializer = |args: &[&str]| {
        init(&json!({ "name": "storage-initializer", "image": "kserve/storage-initializer", "args": args }))
    };
    let commit = format!("hf://org/model:{}", "ab".repeat(20));
    table(
        "kserve",
        vec![
            ("engine-is-kserve", vec![server(&[])], vec![json!({}), engine("llama", &json!({}))]),
            (
                "requests-are-recorded",
                vec![agent(&["--log-url", "http://records", "--source-uri", "", "--log-mode", "all"])],
                vec![
                    json!({}),
                    agent(&[]),
                    agent(&["--log-url", "http://records", "--log-mode", "request"]),
                    container(
                        &json!({ "name": "other", "image": "x", "args": ["--log-url", "x", "--log-mode", "all"] }),
                    ),
                ],
            ),
            (
                "no-models-at-run-time",
                vec![json!({}), agent(&[]), agent(&["--log-mode", "all"])],
                vec![
                    agent(&["--enable-puller", "--config-dir", "/mnt/configs"]),
                    agent(&["--enable-puller=true"]),
                ],
            ),
            (
                "model-server-logs",
                vec![server(&["--model_name=chat"])],
                vec![
                    server(&["--enable_latency_logging=false"]),
                    server(&["--configure-logging", "no"]),
                    server(&["--log_config_file=/x.yaml"]),
                ],
            ),
            (
                "requests-are-logged",
                vec![server(&["--model_name=chat"])],
                vec![server(&["--disable_log_requests"]), server(&["--disable-log-requests"])],
            ),
            (
                "no-page-for-developers",
                vec![server(&[]), server(&["--enable_docs_url=false"])],
                vec![server(&["--enable_docs_url=true"]), server(&["--enable-docs-url", "true"])],
            ),
            (
                "model-source-is-pinned",
                vec![json!({}), initializer(&[&commit, "/mnt/models"])],
                vec![
                    initializer(&[]),
                    initializer(&["hf://org/model", "/mnt/models"]),
                    initializer(&["hf://org/model:main", "/mnt/models"]),
                    initializer(&["s3://models/chat", "/mnt/models"]),
                    initializer(&[&commit, "/mnt/models", "s3://models/chat", "/mnt/more"]),
                ],
            ),
            (
                "model-server-downloads-nothing",
                vec![server(&["--model_dir=/mnt/models"])],
                vec![server(&["--model_id=org/model"]), server(&["--model-id", "org/model"])],
            ),
        ],
    )
}
