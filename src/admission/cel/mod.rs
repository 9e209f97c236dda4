//! CEL expressions that check whether a pod or a pod template matches a cleared version.

use crate::{
    api::SYSTEM_LABEL,
    policy::{ANNOTATIONS, HARMLESS_ANNOTATIONS},
};

/// The system that the pod or template names, or an empty string.
pub(super) fn system(pod: &str) -> String {
    format!("{pod}.metadata.?labels[?'{SYSTEM_LABEL}'].orValue('')")
}

/// The cleared versions of the system of `pod`. The list is empty if there is no `Clearance`, or if the `Clearance`
/// clears no version of the system.
pub(super) fn cleared_versions(pod: &str) -> String {
    format!("params.?spec.?systems[?{}].?cleared.orValue([])", system(pod))
}

/// The files of this directory, each with the name of its placeholder. A file can contain placeholders of later files
/// in the list.
pub const PARTS: [(&str, &str); 14] = [
    ("MATCHES", include_str!("matches.cel")),
    ("ALLOWED", include_str!("allowed.cel")),
    ("CONTAINER", include_str!("container.cel")),
    ("TEXTS", include_str!("texts.cel")),
    ("ENV", include_str!("env.cel")),
    ("MOUNTED", include_str!("mounted.cel")),
    ("MOUNTS", include_str!("mounts.cel")),
    ("VOLUMES", include_str!("volumes.cel")),
    ("VOLUME", include_str!("volume.cel")),
    ("VOLUME_NAME", include_str!("volume_name.cel")),
    ("SOURCE", include_str!("source.cel")),
    ("FILE", include_str!("file.cel")),
    ("CLAIM", include_str!("claim.cel")),
    ("REPOSITORY", include_str!("repository.cel")),
];

/// The start of a line that only [`matches_if_pinned`] has.
const TAGS: &str = "{{TAGS}} && ";

/// Whether `pod` has the runtime of `version`, and beyond that only trusted additions.
pub(super) fn matches(pod: &str) -> String {
    let strict: Vec<_> =
        filled("{{MATCHES}}").lines().filter(|line| !line.contains(TAGS)).map(str::to_owned).collect();
    strict.join("\n").replace("{{POD}}", pod)
}

/// Whether `pod` matches `version` after the API server pins its images. The result must agree with
/// `policy::matches_if_pinned`.
pub(super) fn matches_if_pinned(pod: &str) -> String {
    filled("{{MATCHES}}").replace(TAGS, "").replace("{{POD}}", pod)
}

/// The text with its [`PARTS`] in place of their placeholders.
pub(super) fn filled(text: &str) -> String {
    let fill = |text: String, (name, part): &(&str, &str)| {
        text.replace(&format!("{{{{{name}}}}}"), &format!("({})", uncommented(part)))
    };
    let all = PARTS.iter().fold(text.to_owned(), fill);
    all.replace("{{REFUSED_ANNOTATION}}", &refused_annotation("annotation"))
}

/// The expression without the comments of its file. Each policy contains the expression many times, so comments would
/// make the policy large.
fn uncommented(part: &str) -> String {
    part.lines().filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Whether the annotation `name` is forbidden, so that no version can match a pod that has it. The result
/// must agree with `policy::is_refused_annotation`. One regular expression covers all prefixes, so the API
/// server compiles only one.
pub(super) fn refused_annotation(name: &str) -> String {
    let prefixes: Vec<_> = ANNOTATIONS.iter().map(|(prefix, _)| prefix.replace('.', "[.]")).collect();
    let harmless: Vec<_> = HARMLESS_ANNOTATIONS.iter().map(|name| format!("'{name}'")).collect();
    format!("({name}.matches('^({})') && !({name} in [{}]))", prefixes.join("|"), harmless.join(", "))
}
