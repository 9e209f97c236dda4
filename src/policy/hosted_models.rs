//! Judges the hosted models of a system, and finds signs of hosted models that the system does not state.
//!
//! A sign is a host name of a known provider in a variable or argument, or the name of a variable that the client
//! library of the provider reads.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::{Reason, SignedCertifications, certifications, effect::whole_seconds};
use crate::api::{AISystemSpec, Container, RiskLevelSpec, Runtime};

pub(super) fn reasons(
    system: &AISystemSpec,
    (level, signed): (&RiskLevelSpec, &SignedCertifications),
    now: Timestamp,
) -> Vec<Reason> {
    let ended = system.hosted_models.iter().filter_map(|model| {
        let since = whole_seconds(model.retires_at.as_ref()?.0);
        (since <= now).then(|| Reason::HostedModelRetired { model: model.name.clone(), since })
    });
    let mut reasons: Vec<_> = ended.collect();
    let Some(required) = &level.hosted_models else { return reasons };
    let without = system.hosted_models.iter().filter(|m| required.agreement && m.agreement.is_none());
    reasons.extend(without.map(|model| Reason::AgreementMissing { model: model.name.clone() }));
    let providers: BTreeSet<_> = system.hosted_models.iter().map(|model| &model.provider).collect();
    for provider in providers {
        let supplier = system.suppliers.iter().find(|supplier| supplier.name == *provider);
        let missing = certifications::missing(supplier, &required.certifications, (level, signed), now);
        reasons.extend(missing.map(|certification| Reason::CertificationMissing {
            certification: certification.clone(),
            supplier: Some(provider.clone()),
            role: level.certification_role.clone(),
        }));
    }
    reasons
}

/// A provider of hosted models, and the texts by which a runtime shows that it calls the provider.
struct KnownProvider {
    name: &'static str,
    /// Patterns of whole host names, in lower case. A `*` stands for at least one character.
    hosts: &'static [&'static str],
    /// Prefixes of the names of environment variables that the client libraries of the provider read.
    variables: &'static [&'static str],
}

/// The known providers, with their public addresses and the variables of their client libraries. The table cannot find
/// a provider that a system calls through a gateway at another address.
const KNOWN: &[KnownProvider] = &[
    KnownProvider { name: "AI21", hosts: &["api.ai21.com"], variables: &["AI21_"] },
    KnownProvider {
        name: "Alibaba Cloud",
        hosts: &["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"],
        variables: &["DASHSCOPE_"],
    },
    KnownProvider {
        name: "Amazon Bedrock",
        hosts: &["bedrock-runtime.*.amazonaws.com", "bedrock-agent-runtime.*.amazonaws.com"],
        variables: &["AWS_BEARER_TOKEN_BEDROCK", "BEDROCK_"],
    },
    KnownProvider { name: "Anthropic", hosts: &["api.anthropic.com"], variables: &["ANTHROPIC_"] },
    KnownProvider { name: "Cerebras", hosts: &["api.cerebras.ai"], variables: &["CEREBRAS_"] },
    KnownProvider {
        name: "Cohere",
        hosts: &["api.cohere.com", "api.cohere.ai"],
        variables: &["COHERE_", "CO_API_KEY"],
    },
    KnownProvider { name: "DeepSeek", hosts: &["api.deepseek.com"], variables: &["DEEPSEEK_"] },
    KnownProvider { name: "Fireworks AI", hosts: &["api.fireworks.ai"], variables: &["FIREWORKS_"] },
    KnownProvider {
        name: "GitHub Models",
        hosts: &["models.github.ai", "models.inference.ai.azure.com"],
        variables: &[],
    },
    KnownProvider {
        name: "Google",
        hosts: &[
            "generativelanguage.googleapis.com",
            "aiplatform.googleapis.com",
            "*-aiplatform.googleapis.com",
        ],
        variables: &["GEMINI_", "GOOGLE_API_KEY", "GOOGLE_GENAI_"],
    },
    KnownProvider { name: "Groq", hosts: &["api.groq.com"], variables: &["GROQ_"] },
    KnownProvider {
        name: "Hugging Face",
        hosts: &["api-inference.huggingface.co", "router.huggingface.co", "*.endpoints.huggingface.cloud"],
        variables: &[],
    },
    KnownProvider { name: "IBM watsonx", hosts: &["*.ml.cloud.ibm.com"], variables: &["WATSONX_"] },
    KnownProvider {
        name: "Microsoft Azure",
        hosts: &["*.openai.azure.com", "*.services.ai.azure.com", "*.models.ai.azure.com"],
        variables: &["AZURE_OPENAI_", "AZURE_AI_"],
    },
    KnownProvider {
        name: "Mistral AI",
        hosts: &["api.mistral.ai", "codestral.mistral.ai"],
        variables: &["MISTRAL_"],
    },
    KnownProvider {
        name: "Moonshot AI",
        hosts: &["api.moonshot.ai", "api.moonshot.cn"],
        variables: &["MOONSHOT_"],
    },
    KnownProvider {
        name: "NVIDIA",
        hosts: &["integrate.api.nvidia.com", "ai.api.nvidia.com"],
        variables: &["NVIDIA_API_KEY"],
    },
    KnownProvider { name: "OpenAI", hosts: &["api.openai.com", "*.api.openai.com"], variables: &["OPENAI_"] },
    KnownProvider { name: "OpenRouter", hosts: &["openrouter.ai"], variables: &["OPENROUTER_"] },
    KnownProvider { name: "Perplexity", hosts: &["api.perplexity.ai"], variables: &["PERPLEXITY_", "PPLX_"] },
    KnownProvider { name: "Replicate", hosts: &["api.replicate.com"], variables: &["REPLICATE_"] },
    KnownProvider { name: "SambaNova", hosts: &["api.sambanova.ai"], variables: &["SAMBANOVA_"] },
    KnownProvider { name: "Scaleway", hosts: &["api.scaleway.ai"], variables: &[] },
    KnownProvider {
        name: "Together AI",
        hosts: &["api.together.xyz", "api.together.ai"],
        variables: &["TOGETHER_"],
    },
    KnownProvider { name: "Voyage AI", hosts: &["api.voyageai.com"], variables: &["VOYAGE_"] },
    KnownProvider { name: "xAI", hosts: &["api.x.ai"], variables: &["XAI_"] },
];

/// The known providers that the runtime seems to call and the system does not state. Each provider has its first sign:
/// a container, and the name of a variable or a host name. The sign never contains the whole value of a variable,
/// because the value can be secret.
pub fn undeclared(runtime: &Runtime, system: &AISystemSpec) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    for container in runtime.init_containers.iter().chain(&runtime.containers) {
        for (provider, sign) in signs(container) {
            if !is_declared(provider, system) {
                found.entry(provider.name).or_insert_with(|| format!("container {}: {sign}", container.name));
            }
        }
    }
    found
}

/// Whether a hosted model of the system names the provider or a host of the provider.
fn is_declared(provider: &KnownProvider, system: &AISystemSpec) -> bool {
    let names = |text: &str| {
        let text = text.to_lowercase();
        text.contains(&provider.name.to_lowercase()) || host_in(&text, provider).is_some()
    };
    system.hosted_models.iter().any(|m| names(&m.provider) || m.endpoint.as_deref().is_some_and(names))
}

fn signs(container: &Container) -> impl Iterator<Item = (&'static KnownProvider, String)> {
    KNOWN.iter().filter_map(move |provider| {
        let variable =
            container.env.iter().find(|v| provider.variables.iter().any(|begin| v.name.starts_with(begin)));
        if let Some(variable) = variable {
            return Some((provider, format!("variable {}", variable.name)));
        }
        let values = container.env.iter().filter_map(|variable| variable.value.as_ref());
        let mut texts = values.chain(&container.command).chain(&container.args);
        let host = texts.find_map(|text| host_in(&text.to_lowercase(), provider))?;
        Some((provider, format!("address {host}")))
    })
}

/// The first host name in `text` that belongs to the provider. The caller passes `text` in lower case.
fn host_in(text: &str, provider: &KnownProvider) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let mut names = text.split(|c: char| !is_part(c)).map(|name| name.trim_matches(['.', '-']));
    let found = names.find(|name| provider.hosts.iter().any(|pattern| is_host(name, pattern)));
    found.map(str::to_owned)
}

/// Whether `name` matches `pattern`. A `*` in the pattern stands for at least one character.
fn is_host(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((begin, end)) => {
            name.len() > begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
        }
    }
}
