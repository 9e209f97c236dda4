//! Environment variables that can load code or redirect traffic, each with its effect.

/// The effect of each variable if somebody else chooses its value. Sorted by name, in capital letters. A name that ends
/// in `*` stands for all names with this beginning.
const EFFECTS: &[(&str, &str)] = &[
    ("ALL_PROXY", PROXY),
    ("ANTHROPIC_BASE_URL", MODEL_API),
    ("AWS_ENDPOINT_URL*", STORAGE),
    ("AZURE_OPENAI_ENDPOINT", MODEL_API),
    ("BASH_ENV", "a shell runs the file that it names"),
    ("CUDA_INJECTION64_PATH", LIBRARY),
    ("CURL_CA_BUNDLE", AUTHORITY),
    ("ENV", "a shell runs the file that it names"),
    ("GIT_SSH_COMMAND", "git runs the command that it contains"),
    ("HF_ENDPOINT", MODELS),
    ("HF_HOME", CACHE),
    ("HF_HUB_CACHE", CACHE),
    ("HTTPS_PROXY", PROXY),
    ("HTTP_PROXY", PROXY),
    ("HUGGINGFACE_HUB_CACHE", CACHE),
    ("JAVA_TOOL_OPTIONS", "it can load an agent into each Java program"),
    ("JAX_COORDINATOR_ADDRESS", LEADER),
    ("LD_AUDIT", LIBRARY),
    ("LD_LIBRARY_PATH", LIBRARY),
    ("LD_PRELOAD", LIBRARY),
    ("LWS_LEADER_ADDRESS", LEADER),
    ("MASTER_ADDR", LEADER),
    ("MASTER_PORT", LEADER),
    ("MLFLOW_TRACKING_URI", MODELS),
    ("NCCL_NET_PLUGIN", LIBRARY),
    ("NCCL_SOCKET_IFNAME", "it chooses the network for the traffic between the pods"),
    ("NODE_EXTRA_CA_CERTS", AUTHORITY),
    ("NODE_OPTIONS", "it can load a module into each Node.js program"),
    ("NO_PROXY", PROXY),
    ("OPENAI_API_BASE", MODEL_API),
    ("OPENAI_BASE_URL", MODEL_API),
    ("OTEL_EXPORTER_OTLP_*", "it decides which server gets traces, which can contain prompts"),
    ("PATH", "it decides which programs a command starts"),
    ("PERL5LIB", CODE),
    ("PET_MASTER_ADDR", LEADER),
    ("PET_RDZV_ENDPOINT", LEADER),
    ("PIP_EXTRA_INDEX_URL", PACKAGES),
    ("PIP_INDEX_URL", PACKAGES),
    ("PYTHONHOME", CODE),
    ("PYTHONINSPECT", "Python runs input after the program"),
    ("PYTHONPATH", CODE),
    ("PYTHONSTARTUP", CODE),
    ("PYTHONUSERBASE", CODE),
    ("RAY_ADDRESS", LEADER),
    ("REQUESTS_CA_BUNDLE", AUTHORITY),
    ("RUBYLIB", CODE),
    ("S3_ENDPOINT*", STORAGE),
    ("SSL_CERT_DIR", AUTHORITY),
    ("SSL_CERT_FILE", AUTHORITY),
    ("TF_CONFIG", LEADER),
    ("TORCHINDUCTOR_CACHE_DIR", "programs load compiled code from it"),
    ("TRANSFORMERS_CACHE", CACHE),
    ("TRITON_CACHE_DIR", "programs load compiled code from it"),
    ("UV_DEFAULT_INDEX", PACKAGES),
    ("UV_INDEX_URL", PACKAGES),
    ("VLLM_PLUGINS", "vLLM loads the plugins that it names"),
];

const AUTHORITY: &str = "it decides which certificates programs trust";
const CACHE: &str = "programs load models from the directory that it names";
const CODE: &str = "programs load code from the directories that it names";
const LEADER: &str = "the pod trusts the server that it names, and can get work or code from it";
const LIBRARY: &str = "it can load a library into each program";
const MODELS: &str = "programs download models from the server that it names";
const MODEL_API: &str = "programs send prompts to the server that it names";
const PACKAGES: &str = "programs install packages from the server that it names";
const PROXY: &str = "it sends the traffic of programs through another server";
const STORAGE: &str = "programs read models and data from the server that it names";

/// The effect of a variable that can load code or redirect traffic. `None` for any other name. Upper and lower case
/// mean the same, because programs read `http_proxy` like `HTTP_PROXY`.
pub fn effect_of(variable: &str) -> Option<&'static str> {
    let variable = variable.to_ascii_uppercase();
    let is = |name: &str| match name.strip_suffix('*') {
        Some(prefix) => variable.starts_with(prefix),
        None => variable == name,
    };
    EFFECTS.iter().find(|(name, _)| is(name)).map(|(_, effect)| *effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_sorted_and_have_one_effect_each() {
        assert!(EFFECTS.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn a_variable_that_loads_code_or_redirects_traffic_has_an_effect() {
        for name in
            ["LD_PRELOAD", "PYTHONPATH", "HF_ENDPOINT", "MASTER_ADDR", "http_proxy", "AWS_ENDPOINT_URL_S3"]
        {
            assert!(effect_of(name).is_some(), "{name}");
        }
        for name in ["RANK", "LOG_LEVEL", "HF_TOKEN", "LD_PRELOAD_X"] {
            assert_eq!(effect_of(name), None, "{name}");
        }
    }
}
