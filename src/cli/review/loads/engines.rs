//! Lists the flags and variables with which serving engines load a model, and those that pin the model to a
//! commit.
//!
//! Each [`Rule`] is for one setting of one engine. The names of flags and variables come from the documentation of the
//! engine. `_` and `-` are the same in a flag.

/// A program that serves models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// vLLM, see <https://docs.vllm.ai>.
    Vllm,
    /// `SGLang`, see <https://docs.sglang.ai>.
    Sglang,
    /// Hugging Face Text Generation Inference.
    Tgi,
    /// NVIDIA Triton Inference Server.
    Triton,
    /// `KServe`: storage initializer and Hugging Face server.
    Kserve,
    /// Ollama, see <https://ollama.com>.
    Ollama,
    /// `llama-server` of llama.cpp.
    LlamaCpp,
    /// Ray Serve.
    Ray,
}

impl Engine {
    /// Each engine, and the words in an image or a command that identify it.
    pub const ALL: [(Self, &'static [&'static str]); 8] = [
        (Self::Vllm, &["vllm"]),
        (Self::Sglang, &["sglang"]),
        (Self::Tgi, &["text-generation-inference", "text-generation-launcher"]),
        (Self::Triton, &["tritonserver"]),
        (Self::Kserve, &["storage-initializer", "huggingfaceserver"]),
        (Self::Ollama, &["ollama"]),
        (Self::LlamaCpp, &["llama.cpp", "llama-server", "llama-cpp"]),
        (Self::Ray, &["rayproject/ray", "ray-ml", "ray start", "serve run", "ray job"]),
    ];
}

/// The effect of a flag or variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loads {
    /// Names something in a model hub, unless the value is a path in the container. Contains what the value names, such
    /// as `a model`.
    Hub(&'static str),
    /// Runs code that comes with the model.
    Code,
    /// Allows a change of the loaded content at run time. Contains the values with this effect, and a text that says
    /// how the content can change. If the list of values is empty, every value has this effect, except `false`, `0`,
    /// `no` and `off`.
    Later(&'static [&'static str], &'static str),
    /// Installs packages at start, if one of these words occurs in the value.
    Installs(&'static [&'static str]),
    /// Loads nothing: the value is only a name.
    Nothing,
}

/// A setting of an engine, with all flags and variables that set it.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub engine: Engine,
    /// The names of the setting as a flag. Long names have no leading dashes. A short name keeps its dash.
    pub flags: &'static [&'static str],
    /// The words before a positional argument that has the meaning of the flag, such as `serve` in `vllm
    /// serve MODEL`.
    pub after: &'static [&'static str],
    /// The names of the setting as an environment variable.
    pub variables: &'static [&'static str],
    pub loads: Loads,
    /// The flags and variables that pin the loaded content, if their value is a commit.
    pub pinned_by: &'static [&'static str],
}

const fn flag(engine: Engine, flags: &'static [&'static str], loads: Loads) -> Rule {
    Rule { engine, flags, after: &[], variables: &[], loads, pinned_by: &[] }
}

impl Rule {
    const fn or(self, variables: &'static [&'static str]) -> Self {
        Self { variables, ..self }
    }

    const fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }

    const fn pinned_by(self, pinned_by: &'static [&'static str]) -> Self {
        Self { pinned_by, ..self }
    }
}

use Engine::{Kserve, LlamaCpp, Ollama, Ray, Sglang, Tgi, Triton, Vllm};
use Loads::{Code, Hub, Installs, Later, Nothing};

pub const RULES: &[Rule] = &[
    flag(Vllm, &["model"], Hub("a model")).after(&["serve"]).pinned_by(&["revision"]),
    flag(Vllm, &["tokenizer"], Hub("a tokenizer")).pinned_by(&["tokenizer-revision"]),
    flag(Vllm, &["hf-config-path"], Hub("a configuration")).pinned_by(&["revision"]),
    flag(Vllm, &["lora-modules"], Hub("an adapter")),
    flag(Vllm, &["speculative-config"], Hub("a draft model")),
    flag(Vllm, &["trust-remote-code"], Code),
    flag(Vllm, &["served-model-name"], Nothing),
    flag(Vllm, &[], Later(&[], "anyone who can reach its API can load other adapters"))
        .or(&["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]),
    flag(Sglang, &["model-path", "model"], Hub("a model")).pinned_by(&["revision"]),
    flag(Sglang, &["tokenizer-path"], Hub("a tokenizer")).pinned_by(&["revision"]),
    flag(Sglang, &["lora-paths"], Hub("an adapter")),
    flag(Sglang, &["speculative-draft-model-path"], Hub("a draft model"))
        .pinned_by(&["speculative-draft-model-revision"]),
    flag(Sglang, &["trust-remote-code"], Code),
    flag(Sglang, &["served-model-name"], Nothing),
    flag(Tgi, &["model-id"], Hub("a model")).or(&["MODEL_ID"]).pinned_by(&["revision", "REVISION"]),
    flag(Tgi, &[], Hub("a model")).or(&["HF_MODEL_ID"]).pinned_by(&["HF_MODEL_REVISION"]),
    flag(Tgi, &["lora-adapters"], Hub("an adapter")).or(&["LORA_ADAPTERS"]),
    flag(Tgi, &["trust-remote-code"], Code).or(&["TRUST_REMOTE_CODE", "HF_MODEL_TRUST_REMOTE_CODE"]),
    flag(
        Triton,
        &["model-control-mode"],
        Later(&["poll", "explicit"], "it loads other models at run time, on request or from its repository"),
    ),
    flag(Kserve, &["model-id"], Hub("a model")).or(&["MODEL_ID"]).pinned_by(&["model-revision"]),
    flag(Kserve, &["trust-remote-code"], Code),
    flag(Kserve, &["model-name"], Nothing),
    flag(Ollama, &[], Hub("a model")).after(&["run", "pull"]),
    flag(Ollama, &[], Later(&[], "anyone who can reach its API can pull and run other models"))
        .after(&["serve"]),
    flag(LlamaCpp, &["hf-repo", "-hf", "-hfr"], Hub("a model")).or(&["LLAMA_ARG_HF_REPO"]),
    flag(LlamaCpp, &["hf-repo-draft", "-hfd", "-hfrd"], Hub("a draft model")).or(&["LLAMA_ARG_HFD_REPO"]),
    flag(LlamaCpp, &["docker-repo", "-dr"], Hub("a model")).or(&["LLAMA_ARG_DOCKER_REPO"]),
    flag(LlamaCpp, &["alias", "-a"], Nothing),
    flag(Ray, &["runtime-env-json"], Installs(&["pip", "uv", "conda"])),
    flag(Ray, &["head"], Later(&[], "anyone who can reach its dashboard can run other code")),
];

pub const DOWNLOADS: &[&[&str]] = &[
    &["pip", "install"],
    &["pip3", "install"],
    &["conda", "install"],
    &["apt-get", "install"],
    &["apk", "add"],
    &["git", "clone"],
    &["huggingface-cli", "download"],
    &["hf", "download"],
    &["modelscope", "download"],
    &["aws", "s3"],
    &["gsutil"],
    &["azcopy"],
    &["curl"],
    &["wget"],
];
