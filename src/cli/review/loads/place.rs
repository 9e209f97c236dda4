//! Recognises addresses, names in a model hub, paths and commits.

pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Whether the text is a path in the container. Other parts of the review check the image or volume with this path.
pub fn is_path(text: &str) -> bool {
    text.starts_with(['/', '.', '~']) || text.starts_with("file://") || text.starts_with("pvc://")
}

/// Whether the text can name a model in a hub, in the form `organisation/model`, and the name is not pinned. A tag or a
/// branch does not pin a name. A commit or a digest does.
pub fn is_hub_name(text: &str) -> bool {
    const NOT_A_NAME: [&str; 8] =
        ["application", "text", "image", "audio", "video", "multipart", "tcp", "udp"];
    const FILES: [&str; 12] =
        [".py", ".sh", ".json", ".yaml", ".yml", ".toml", ".conf", ".cfg", ".txt", ".js", ".jar", ".so"];
    let Some((organisation, model)) = text.split_once('/') else { return false };
    let (model, pin) = model.split_once('@').unwrap_or((model, ""));
    let (model, tag) = model.split_once(':').unwrap_or((model, ""));
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let has_letter = |word: &str| word.chars().any(|c| c.is_ascii_alphabetic());
    is_word(organisation)
        && is_word(model)
        && has_letter(organisation)
        && has_letter(model)
        && !NOT_A_NAME.contains(&organisation)
        && !NOT_A_NAME.contains(&model)
        && !FILES.iter().any(|end| model.ends_with(end))
        && ![pin, tag].into_iter().any(is_commit)
        && !pin.starts_with("sha256:")
}

/// The part of a word that can refer to other content later, such as `latest`.
pub fn moving_part(text: &str) -> Option<&str> {
    let parts = text.split(['/', ':', '@', '=', ' ', '"', '\'']);
    let moves = |part: &&str| ["latest", "main", "master", "HEAD", "nightly"].contains(part);
    parts.into_iter().find(moves)
}

/// The first address in `text` whose content can change.
pub fn unpinned_address(text: &str) -> Option<&str> {
    let ends = |c: char| c.is_whitespace() || "\"'`,;|<>()[]{}".contains(c);
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme = rest[..at].rfind(|c: char| !(c.is_ascii_alphanumeric() || "+.-".contains(c)));
        let begin =
            scheme.map_or(0, |before| before + rest[before..].chars().next().map_or(1, char::len_utf8));
        let end = rest[at..].find(ends).map_or(rest.len(), |end| at + end);
        let address = &rest[begin..end];
        if begin < at && !is_path(address) && !is_pinned(address) {
            return Some(address);
        }
        rest = &rest[end..];
    }
    None
}

/// Whether the address pins its content: an image by digest, or a commit in a hub.
fn is_pinned(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else { return false };
    match scheme {
        "oci" | "docker" => rest.split_once("@sha256:").is_some_and(|(_, digest)| digest.len() == 64),
        "hf" | "modelscope" => rest.rsplit([':', '@']).next().is_some_and(is_commit),
        "https" => rest.strip_prefix("huggingface.co/").is_some_and(|path| path.split('/').any(is_commit)),
        _ => false,
    }
}

/// The text, cut to 120 characters, so that a sentence about it stays readable.
pub fn shortened(text: &str) -> String {
    const MAX_LENGTH: usize = 120;
    if text.chars().count() <= MAX_LENGTH {
        return text.to_owned();
    }
    text.chars().take(MAX_LENGTH).chain(['…']).collect()
}
