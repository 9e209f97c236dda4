//! Lists the content that can change after an approval. The digest covers the name of a claim or a tag, but not the
//! content that the name refers to when the version runs. The review of an approval also states what no review can see.
//!
//! ```text
//!  images by tag ─────────────────────┐
//!  volumes ───────────────────────────┤
//!  host names, name servers ──────────┤
//!  commands, arguments, variables ────┼─► one warning for each finding
//!  documents without digest ──────────┤
//!  hosted models ─────────────────────┘
//! ```

use super::{Review, loads::loads, variables::effect_of};
use crate::{
    api::{Container, EnvVar, ProjectedSource, Runtime, Volume},
    cli::render::page::{LOOK, PLAIN, Page},
    policy::{self, Placeholders},
};

/// The parts of a version and of its system that [`unpinned`] checks.
const CHECKED: &str =
    "images, volumes, commands, arguments, environment variables, hooks, probes, documents and hosted models";

/// The content that no review can see. The review of an approval states this text. Otherwise, a reader could think that a
/// short list of findings is complete.
const NOT_VISIBLE: &str = "the content of the images, or downloads that their programs make by default or by their \
    own configuration";

pub fn attention(page: &mut Page, review: &Review<'_>) {
    page.heading("LOOK AT THIS: these can change after you sign, without a new approval");
    let unpinned = unpinned(review);
    if unpinned.is_empty() {
        page.mark("-", PLAIN, "nothing found in the parts that this review checks");
    }
    for text in unpinned {
        page.mark("!", LOOK, &text);
    }
    if review.full {
        page.mark("-", PLAIN, &format!("This review checked {CHECKED}."));
    }
    page.mark("-", PLAIN, &format!("This review cannot see {NOT_VISIBLE}."));
}

fn unpinned(review: &Review<'_>) -> Vec<String> {
    let runtime = &review.version.spec.runtime;
    let by_tag = policy::unpinned(runtime);
    let mut texts: Vec<String> = by_tag
        .map(|image| {
            format!("image {image} is named by tag: anyone who can push the tag can replace the image")
        })
        .collect();
    texts.extend(volumes(runtime));
    texts.extend(names(runtime));
    let placeholders = Placeholders::of(runtime);
    for container in runtime.init_containers.iter().chain(&runtime.containers) {
        texts.extend(loads(container));
        texts.extend(environment(container, placeholders));
        texts.extend(words(container, placeholders));
    }
    let system = &review.system.spec;
    texts.extend(policy::undeclared(runtime, system).iter().map(|(provider, sign)| {
        format!("{sign}: the version may call {provider}, which the hosted models of the system do not name")
    }));
    let unversioned = system.hosted_models.iter().filter(|model| model.version.is_none());
    texts.extend(unversioned.map(|model| {
        format!("hosted model {} has no version: {} can change the model", model.name, model.provider)
    }));
    let documents = review.system.spec.documentation.iter().filter(|d| d.digest.is_none());
    texts.extend(
        documents.map(|d| format!("document {} has no digest: the content at {} can change", d.type_, d.uri)),
    );
    texts
}

fn volumes(runtime: &Runtime) -> impl Iterator<Item = String> {
    runtime.volumes.iter().flat_map(|volume| {
        sources(volume).into_iter().map(|(what, who)| {
            format!("volume {} is {what}, and its content is not pinned: {who}", volume.name)
        })
    })
}

/// The sources from which a volume gets content that can change. Each source has a clause that says who can change the
/// content.
fn sources(volume: &Volume) -> Vec<(String, &'static str)> {
    let claim = volume.persistent_volume_claim.iter().map(|claim| {
        (format!("claim {}", claim.claim_name), "anyone who can write to it can replace the model")
    });
    let map = volume.config_map.iter().map(|map| config_map(&map.name));
    let secret = volume.secret.iter().map(|secret| secret_of(&secret.secret_name));
    let fields = volume.downward_api.iter().map(|_| pod_fields());
    let projected =
        volume.projected.iter().flat_map(|projected| &projected.sources).flat_map(projected_source);
    claim.chain(map).chain(secret).chain(fields).chain(projected).chain(outside(volume)).collect()
}

/// The sources outside the namespace from which a volume gets content: a path of the node, a server or a driver. Also
/// the claims that Kubernetes creates for each pod.
fn outside(volume: &Volume) -> impl Iterator<Item = (String, &'static str)> {
    let node = volume.host_path.iter().map(|source| {
        (
            format!("path {} of the node", source.path),
            "programs of the node, and pods with the same path, can change the files",
        )
    });
    let driver = volume.csi.iter().map(|source| {
        (
            format!("an inline volume of CSI driver {}", source.driver),
            "anyone who can write to its storage can replace the model",
        )
    });
    let server = volume.nfs.iter().map(|source| {
        (
            format!("NFS directory {}:{}", source.server, source.path),
            "anyone who can write to it can replace the model",
        )
    });
    let target = volume.iscsi.iter().map(|source| {
        (
            format!("disk {} of iSCSI target {}", source.lun, source.iqn),
            "anyone who can write to it can replace the model",
        )
    });
    let claim = volume.ephemeral.iter().map(|_| {
        (
            "a new claim for each pod".to_owned(),
            "its storage class, selector and data source decide what it contains",
        )
    });
    node.chain(driver).chain(server).chain(target).chain(claim)
}

/// A sentence for each host name that `hostAliases` maps to an address, and for each name server of the
/// version.
fn names(runtime: &Runtime) -> Vec<String> {
    let aliases = runtime.host_aliases.iter().flat_map(|alias| {
        alias.hostnames.iter().map(|name| {
            format!("name {name} means the address {}: anyone who can take this address can answer", alias.ip)
        })
    });
    let servers = runtime
        .dns_config
        .nameservers
        .iter()
        .map(|server| format!("name server {server} decides which servers the names of the pod mean"));
    aliases.chain(servers).collect()
}

fn projected_source(source: &ProjectedSource) -> Vec<(String, &'static str)> {
    let map = source.config_map.iter().map(|map| config_map(&map.name));
    let secret = source.secret.iter().map(|secret| secret_of(&secret.name));
    let bundle = source.cluster_trust_bundle.iter().map(|bundle| {
        let name = bundle.name.as_ref().or(bundle.signer_name.as_ref()).map(|name| format!(" {name}"));
        let what = format!("cluster trust bundle{}", name.unwrap_or_default());
        (what, "anyone who can edit it can change which certificates the container trusts")
    });
    let certificate = source.pod_certificate.iter().map(|certificate| {
        (format!("a certificate by {}", certificate.signer_name), "the signer decides what it certifies")
    });
    let fields = source.downward_api.iter().map(|_| pod_fields());
    map.chain(secret).chain(fields).chain(bundle).chain(certificate).collect()
}

const EDIT: &str = "anyone who can edit it can change what the container reads";

fn config_map(name: &str) -> (String, &'static str) {
    (format!("config map {name}"), EDIT)
}

fn secret_of(name: &str) -> (String, &'static str) {
    (format!("secret {name}"), EDIT)
}

fn pod_fields() -> (String, &'static str) {
    ("fields of the pod".to_owned(), "labels and annotations can change while the pod runs")
}

/// One sentence for each variable whose value may vary or comes from another object.
fn environment(container: &Container, placeholders: Placeholders<'_>) -> Vec<String> {
    let name = &container.name;
    let by_key = container.env.iter().filter_map(|var| {
        let source = changeable(var)?;
        Some(format!("env {} of container {name} comes from {source}, and its value is not pinned", var.name))
    });
    let whole = container.env_from.iter().filter_map(|from| {
        let map = from.config_map_ref.as_ref().map(|r| format!("config map {}", r.name));
        let source = map.or_else(|| from.secret_ref.as_ref().map(|r| format!("secret {}", r.name)))?;
        Some(format!(
            "container {name} takes every key of {source} as env, and neither keys nor values are pinned"
        ))
    });
    let varying = container.may_vary.env.iter().map(|entry| {
        let pattern = entry.split_once('=').filter(|_| placeholders.is_pattern(entry));
        let (var, values) = pattern
            .map_or((&**entry, "any value".to_owned()), |(var, text)| (var, format!("the value {text}")));
        format!("env {var} of container {name} may have {values}, or none{}", because(var))
    });
    let patterns = container.env.iter().filter(|var| placeholders.varies(var)).map(|var| {
        let value = var.value.as_deref().unwrap_or_default();
        format!(
            "env {} of container {name} may have any value of the form {value}{}",
            var.name,
            because(&var.name)
        )
    });
    by_key.chain(whole).chain(varying).chain(patterns).collect()
}

/// The effect of a variable that can load code or redirect traffic, as the end of a sentence. Empty for any other
/// variable.
fn because(variable: &str) -> String {
    effect_of(variable).map(|effect| format!(": {effect}")).unwrap_or_default()
}

/// One sentence for each word of the command and of the arguments that contains a placeholder.
fn words(container: &Container, placeholders: Placeholders<'_>) -> impl Iterator<Item = String> {
    let name = &container.name;
    let words = container.command.iter().chain(&container.args);
    words
        .filter(move |word| placeholders.is_in(word))
        .map(move |word| format!("container {name} may have any argument of the form {word}"))
}

/// The source of the value of a variable. `None` if no user can change the value there.
fn changeable(var: &EnvVar) -> Option<String> {
    let from = var.value_from.as_ref()?;
    let map = from.config_map_key_ref.as_ref().map(|r| format!("config map {}", r.name));
    let secret = from.secret_key_ref.as_ref().map(|r| format!("secret {}", r.name));
    let field = from.field_ref.as_ref().map(|field| &*field.field_path);
    let written =
        |path: &&str| path.starts_with("metadata.labels") || path.starts_with("metadata.annotations");
    map.or(secret).or_else(|| field.filter(written).map(|path| format!("the pod's {path}")))
}
