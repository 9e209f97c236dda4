//! What a signature does not pin, in one list close to the question: the digest covers the name of a
//! claim or a tag, and not what is behind it on the day it runs.
//!
//! ```text
//!  images by tag, claims, config maps, secrets, env that may vary, documents without digest ──► ! …
//! ```

use super::Review;
use crate::{
    api::{Container, Runtime},
    cli::page::{GOOD, LOOK, Page},
    policy,
};

/// Everything that can change without a new approval.
pub fn attention(page: &mut Page, review: &Review<'_>) {
    page.heading("LOOK AT THIS: it can change after you sign, without asking you again");
    let unpinned = unpinned(review);
    if unpinned.is_empty() {
        page.mark("✓", GOOD, "nothing: every image and volume is pinned by its digest");
    }
    for text in unpinned {
        page.mark("!", LOOK, &text);
    }
}

fn unpinned(review: &Review<'_>) -> Vec<String> {
    let runtime = &review.version.spec.runtime;
    let by_tag = policy::unpinned(runtime);
    let mut texts: Vec<String> = by_tag
        .map(|image| format!("image {image} is named by tag: whoever can push it can replace what runs"))
        .collect();
    texts.extend(volumes(runtime));
    texts.extend(runtime.init_containers.iter().chain(&runtime.containers).flat_map(environment));
    let documents = review.system.spec.documentation.iter().filter(|d| d.digest.is_none());
    texts.extend(
        documents
            .map(|d| format!("document {} has no digest: what is at {} can be replaced", d.type_, d.uri)),
    );
    texts
}

fn volumes(runtime: &Runtime) -> impl Iterator<Item = String> {
    runtime.volumes.iter().filter_map(|volume| {
        let (what, who) = if let Some(claim) = &volume.persistent_volume_claim {
            (format!("claim {}", claim.claim_name), "whoever can write to it can replace the model")
        } else if let Some(map) = &volume.config_map {
            (format!("config map {}", map.name), "whoever can edit it can change what is read")
        } else if let Some(secret) = &volume.secret {
            (format!("secret {}", secret.secret_name), "whoever can edit it can change what is read")
        } else {
            return None;
        };
        Some(format!("volume {} is {what}, and its content is not pinned: {who}", volume.name))
    })
}

fn environment(container: &Container) -> Vec<String> {
    let name = &container.name;
    let by_key = container.env.iter().filter_map(|var| {
        let from = var.value_from.as_ref()?;
        let map = from.config_map_key_ref.as_ref().map(|r| format!("config map {}", r.name));
        let secret = from.secret_key_ref.as_ref().map(|r| format!("secret {}", r.name));
        let source = map.or(secret)?;
        Some(format!("env {} of container {name} comes from {source}, and its value is not pinned", var.name))
    });
    let whole = container.env_from.iter().filter_map(|from| {
        let map = from.config_map_ref.as_ref().map(|r| format!("config map {}", r.name));
        let source = map.or_else(|| from.secret_ref.as_ref().map(|r| format!("secret {}", r.name)))?;
        Some(format!(
            "container {name} takes every key of {source} as env: which ones and what they say is not pinned"
        ))
    });
    let varying = container.may_vary.env.iter();
    let varying = varying.map(|env| format!("env {env} of container {name} may have any value, or none"));
    by_key.chain(whole).chain(varying).collect()
}
