//! Tests with command lines from the documentation of each engine, and with unknown words.

use serde_json::{Value, json};

use super::loads;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn found(image: &str, args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let env: Vec<Value> = env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let container = json!({ "name": "c", "image": image, "args": args, "env": env });
    loads(&serde_json::from_value(container).expect("a container"))
}

/// Asserts exactly one finding for each pair of `wanted`, in order. A finding contains the two texts of its pair.
#[track_caller]
fn assert_finds(found: &[String], wanted: &[(&str, &str)]) {
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (text, (place, what)) in found.iter().zip(wanted) {
        assert!(text.contains(place) && text.contains(what), "{place}, {what}: {text}");
    }
}

const HUB: &str = "in a hub";
const ADDRESS: &str = "points to an address";
const CODE: &str = "runs code that comes with the model";

#[test]
fn hub_name_bucket_and_address_are_found() {
    let args = ["--model=mistralai/Mistral-7B-Instruct-v0.3", "--trust-remote-code", "s3://bucket/latest"];
    let found = found("vllm/vllm-openai@sha256:00", &args, &[("MODEL_URL", "https://host/latest.bin")]);
    assert_finds(
        &found,
        &[
            ("--model=mistralai/Mistral-7B-Instruct-v0.3", "pin it with a commit in --revision"),
            ("--trust-remote-code", CODE),
            ("s3://bucket/latest", ADDRESS),
            ("MODEL_URL=https://host/latest.bin", ADDRESS),
        ],
    );
}

#[test]
fn flags_of_vllm_are_found() {
    let image = "vllm/vllm-openai@sha256:00";
    let of = |args: &[&str]| found(image, args, &[]);
    assert_finds(&of(&["vllm", "serve", "org/model"]), &[("serve org/model", HUB)]);
    assert_finds(
        &of(&["--model", "org/model", "--revision", "main"]),
        &[("--model org/model", HUB), ("main", "content can change")],
    );
    assert_finds(&of(&["--model", "org/model", "--revision", COMMIT]), &[]);
    assert_finds(&of(&["vllm", "serve", "org/model", &format!("--revision={COMMIT}")]), &[]);
    assert_finds(&of(&["--model=/models/m", "--served-model-name=org/model"]), &[]);
    assert_finds(&of(&["--model=gpt2"]), &[("gpt2", HUB)]);
    assert_finds(&of(&["--model=/m", "--tokenizer=org/t"]), &[("--tokenizer", "--tokenizer-revision")]);
    assert_finds(&of(&["--model=/m", "--lora-modules", "a=org/adapter"]), &[("a=org/adapter", "an adapter")]);
    assert_finds(&of(&["--model=/m", "--lora-modules", "a=/adapters/a"]), &[]);
    assert_finds(
        &of(&[
            "--model=/m",
            "--speculative-config",
            r#"{"model": "org/draft", "num_speculative_tokens": 5}"#,
        ]),
        &[("org/draft", "a draft model")],
    );
    let runtime = found(image, &["--model=/m"], &[("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True")]);
    assert_finds(&runtime, &[("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "can load other adapters")]);
    assert_finds(&found(image, &["--model=/m"], &[("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "False")]), &[]);
}

#[test]
fn flags_of_sglang_are_found() {
    let of = |args: &[&str]| found("lmsysorg/sglang@sha256:00", args, &[]);
    let draft = "--speculative-draft-model-path=org/eagle";
    assert_finds(
        &of(&["--model-path", "org/model", draft, "--lora-paths", "a=org/adapter", "--trust-remote-code"]),
        &[
            ("--model-path org/model", "--revision"),
            (draft, "--speculative-draft-model-revision"),
            ("org/adapter", "an adapter"),
            ("--trust-remote-code", CODE),
        ],
    );
    assert_finds(&of(&["--model-path", "org/model", "--revision", COMMIT]), &[]);
}

#[test]
fn flags_of_text_generation_inference_are_found() {
    let image = "ghcr.io/huggingface/text-generation-inference@sha256:00";
    let env = [("MODEL_ID", "org/model"), ("LORA_ADAPTERS", "org/a,org/b"), ("TRUST_REMOTE_CODE", "true")];
    let wanted = [("MODEL_ID", "--revision"), ("LORA_ADAPTERS", "an adapter"), ("TRUST_REMOTE_CODE", CODE)];
    assert_finds(&found(image, &[], &env), &wanted);
    assert_finds(&found(image, &["--model-id", "org/model"], &[("REVISION", COMMIT)]), &[]);
    assert_finds(&found(image, &[], &[("TRUST_REMOTE_CODE", "false")]), &[]);
}

#[test]
fn flags_of_triton_are_found() {
    let of = |args: &[&str]| found("nvcr.io/nvidia/tritonserver@sha256:00", args, &[]);
    assert_finds(
        &of(&["tritonserver", "--model-repository=s3://models/prod", "--model-control-mode=poll"]),
        &[("s3://models/prod", ADDRESS), ("--model-control-mode=poll", "allows later changes")],
    );
    assert_finds(&of(&["tritonserver", "--model-repository=/models", "--model-control-mode=none"]), &[]);
}

#[test]
fn flags_of_kserve_are_found() {
    let of = |args: &[&str]| found("kserve/storage-initializer@sha256:00", args, &[]);
    assert_finds(&of(&["s3://models/prod", "/mnt/models"]), &[("s3://models/prod", ADDRESS)]);
    assert_finds(&of(&["hf://org/model", "/mnt/models"]), &[("hf://org/model", ADDRESS)]);
    assert_finds(&of(&[&format!("hf://org/model:{COMMIT}"), "/mnt/models"]), &[]);
    let server = |args: &[&str]| found("kserve/huggingfaceserver@sha256:00", args, &[]);
    assert_finds(
        &server(&["--model_name=org/m", "--model_id=org/model"]),
        &[("--model_id", "--model-revision")],
    );
    assert_finds(&server(&["--model_id=org/model", &format!("--model_revision={COMMIT}")]), &[]);
}

#[test]
fn commands_of_ollama_are_found() {
    let of = |args: &[&str]| found("ollama/ollama@sha256:00", args, &[]);
    assert_finds(&of(&[]), &[("the image", "can pull and run other models")]);
    assert_finds(&of(&["run", "llama3"]), &[("run llama3", HUB)]);
}

#[test]
fn flags_of_llama_cpp_are_found() {
    let image = "ghcr.io/ggml-org/llama.cpp@sha256:00";
    assert_finds(&found(image, &["-hf", "org/model:Q8_0"], &[]), &[("-hf org/model:Q8_0", HUB)]);
    assert_finds(&found(image, &["-mu", "https://host/m.gguf"], &[]), &[("https://host/m.gguf", ADDRESS)]);
    assert_finds(&found(image, &[], &[("LLAMA_ARG_HF_REPO", "org/model")]), &[("LLAMA_ARG_HF_REPO", HUB)]);
    assert_finds(&found(image, &["-m", "/models/m.gguf", "--alias", "org/model"], &[]), &[]);
}

#[test]
fn flags_of_ray_are_found() {
    let of = |args: &[&str]| found("rayproject/ray@sha256:00", args, &[]);
    assert_finds(&of(&["ray", "start", "--head"]), &[("--head", "can run other code")]);
    assert_finds(
        &of(&["serve", "run", "--working-dir", "https://host/app.zip", "app:deployment"]),
        &[("https://host/app.zip", ADDRESS)],
    );
    assert_finds(
        &of(&["ray", "job", "submit", "--runtime-env-json", r#"{"pip": ["torch"]}"#]),
        &[("--runtime-env-json", "installs packages")],
    );
}

#[test]
fn unknown_engine_does_not_look_pinned() {
    let of = |args: &[&str]| found("registry.example/own@sha256:00", args, &[]);
    assert_finds(&of(&["--weights", "org/model"]), &[("org/model", "may name a model")]);
    assert_finds(&of(&["--weights=gs://bucket/w"]), &[("gs://bucket/w", ADDRESS)]);
    assert_finds(&of(&["--model", "org/model"]), &[("--model org/model", HUB)]);
    assert_finds(&of(&["--version=latest"]), &[("--version=latest", "content can change")]);
    assert_finds(&of(&["--weights=oci://registry.example/m:1"]), &[("oci://", ADDRESS)]);
    let digest = format!("oci://registry.example/m@sha256:{}", "0".repeat(64));
    assert_finds(&of(&["--weights", &digest]), &[]);
    assert_finds(&of(&["--port=8080", "--dtype", "bfloat16", "--data", "/data/latest", "--ratio=1/2"]), &[]);
    assert_finds(&of(&["python", "app/main.py", "--accept=application/json"]), &[]);
}

#[test]
fn script_is_scanned_word_by_word() {
    let script = "pip install vllm && exec vllm serve org/model --trust-remote-code --port 80";
    assert_finds(
        &found("python@sha256:00", &["sh", "-c", script], &[]),
        &[("pip install", "downloads"), ("serve org/model", HUB), ("--trust-remote-code", CODE)],
    );
    assert_finds(
        &found("python@sha256:00", &["sh", "-c", "curl -o /m https://host/m"], &[]),
        &[("curl", "downloads"), ("https://host/m", ADDRESS)],
    );
}

#[test]
fn variables_are_expanded() {
    let image = "vllm/vllm-openai@sha256:00";
    let args = ["--model=$(MODEL)", "--revision=$(COMMIT)"];
    assert_finds(&found(image, &args, &[("MODEL", "/models/m"), ("COMMIT", COMMIT)]), &[]);
    let found = found(image, &args, &[("MODEL", "org/model"), ("COMMIT", "main")]);
    assert!(found[0].contains("--model=org/model") && found[0].contains(HUB), "{found:#?}");
}

#[test]
fn variables_that_expand_each_other_do_not_fill_the_memory() {
    let (a, b) = ("$(B)".repeat(4000), "$(A)".repeat(4000));
    found("image", &["$(A)"], &[("A", &a), ("B", &b)]);
}
