//! Placeholders in an approved runtime. For example, the approved argument `--rank=<ordinal>` matches `--rank=3` in a
//! pod.
//!
//! [`Placeholders`] compares the texts of a pod in Rust. [`patterns`] gives regular expressions for the same comparison
//! to the API server, through the Clearance. Both use one table, [`forms`].
//!
//! A value of a placeholder never contains whitespace, quotes, slashes, commas, or a character with a special meaning
//! in a shell.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::api::{Container, EnvVar, Patterns, Placeholder, Runtime, Text, Volume};

/// The maximum length in bytes of a text with placeholders. In a longer text, a placeholder is plain text. The limit
/// bounds the cost of the comparison in the API server.
pub const LONGEST: usize = 2048;

/// The maximum number of texts with placeholders in a runtime. If a runtime has more such texts, no placeholder in it
/// has a meaning.
pub const MOST: usize = 64;

/// The prefix of the name of the volume with the service account token. A pattern for the name of a volume never
/// matches a name with this prefix.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// A run of characters: the allowed characters, the minimum length, and the maximum length. The characters are written
/// as in square brackets of a regular expression.
pub type Run = (&'static str, usize, usize);

const LETTER_OR_DIGIT: Run = ("a-z0-9", 1, 1);
const INSIDE_LABEL: Run = ("-a-z0-9", 0, 61);
const INSIDE_HOST: Run = ("-.a-z0-9", 0, 251);
const DIGITS: Run = ("0-9", 1, 20);
const POINT: Run = (".", 1, 1);
const E: Run = ("e", 1, 1);
const SIGN: Run = ("-+", 0, 1);
/// At most two digits, so that no program with 64-bit floating-point numbers reads the number as infinite.
const EXPONENT: Run = ("0-9", 1, 2);
const COLON: Run = (":", 1, 1);
const PORT: Run = ("0-9", 1, 5);
const DASH: Run = ("-", 1, 1);
const HEX_4: Run = ("0-9a-f", 4, 4);
const HEX_8: Run = ("0-9a-f", 8, 8);
const HEX_12: Run = ("0-9a-f", 12, 12);

/// The forms of the values of a placeholder. Each form is a sequence of runs.
///
/// A later release of Assent must not add a form to a placeholder. Otherwise, an approved version would match more pods
/// than its approvers saw.
pub const fn forms(placeholder: Placeholder) -> &'static [&'static [Run]] {
    match placeholder {
        Placeholder::Ordinal => &[&[("0", 1, 1)], &[("1-9", 1, 1), ("0-9", 0, 4)]],
        Placeholder::Number => &[
            &[DIGITS],
            &[DIGITS, POINT, DIGITS],
            &[DIGITS, E, SIGN, EXPONENT],
            &[DIGITS, POINT, DIGITS, E, SIGN, EXPONENT],
        ],
        Placeholder::Name => &[&[LETTER_OR_DIGIT], &[LETTER_OR_DIGIT, INSIDE_LABEL, LETTER_OR_DIGIT]],
        Placeholder::Host => &[&[LETTER_OR_DIGIT], &[LETTER_OR_DIGIT, INSIDE_HOST, LETTER_OR_DIGIT]],
        Placeholder::HostPort => {
            &[&[LETTER_OR_DIGIT, COLON, PORT], &[LETTER_OR_DIGIT, INSIDE_HOST, LETTER_OR_DIGIT, COLON, PORT]]
        }
        Placeholder::Uid => &[&[HEX_8, DASH, HEX_4, DASH, HEX_4, DASH, HEX_4, DASH, HEX_12]],
        // The characters of the random suffix of generated names in Kubernetes (k8s.io/apimachinery/pkg/util/rand).
        Placeholder::Random5 => &[&[("bcdfghjklmnpqrstvwxz2456789", 5, 5)]],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Placeholder(Placeholder),
}

/// The placeholders that have a meaning in a runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placeholders<'a>(&'a [Placeholder]);

impl<'a> Placeholders<'a> {
    /// The placeholders that `runtime` lists. Empty if [`not_used`] returns a reason.
    pub fn of(runtime: &'a Runtime) -> Self {
        if runtime.placeholders.is_empty() || not_used(runtime).is_some() {
            return Self::default();
        }
        Self(&runtime.placeholders)
    }

    /// Whether a text of the pod equals the `approved` text. If the `approved` text has placeholders, the text of the
    /// pod must match them.
    pub fn text_matches(self, approved: &str, pod: &str) -> bool {
        self.parts(approved).map_or_else(|| approved == pod, |parts| is_match(&parts, pod))
    }

    /// Whether two lists have the same length, and each text matches the approved text at its position.
    pub fn texts_match(self, approved: &[Text], pod: &[Text]) -> bool {
        approved.len() == pod.len() && approved.iter().zip(pod).all(|(a, p)| self.text_matches(a, p))
    }

    /// Whether a variable of the pod equals the `approved` variable. If the `approved` value has placeholders, the
    /// value of the pod must match them.
    pub fn variable_matches(self, approved: &EnvVar, pod: &EnvVar) -> bool {
        self.value_parts(approved)
            .map_or_else(|| approved == pod, |parts| approved.name == pod.name && is_value(&parts, pod))
    }

    /// Whether the value of the `approved` variable contains a placeholder.
    pub fn varies(self, approved: &EnvVar) -> bool {
        self.value_parts(approved).is_some()
    }

    fn value_parts(self, approved: &EnvVar) -> Option<Vec<Part<'_>>> {
        self.parts(approved.value.as_deref().filter(|_| approved.value_from.is_none())?)
    }

    /// Whether `entry` of `mayVary.env` covers the variable `pod`. An entry is a name, or a name with a pattern for the
    /// value, such as `LWS_LEADER_ADDRESS=<host>`.
    pub fn covers(self, entry: &str, pod: &EnvVar) -> bool {
        match self.entry(entry) {
            Some((name, parts)) => name == &*pod.name && is_value(&parts, pod),
            None => entry == &*pod.name,
        }
    }

    /// The name and the parts of the value of an entry such as `LWS_LEADER_ADDRESS=<host>`. `None` if the entry has no
    /// placeholder.
    fn entry(self, entry: &str) -> Option<(&str, Vec<Part<'_>>)> {
        let (name, value) = entry.split_once('=')?;
        Some((name, self.parts(value)?))
    }

    /// Whether the entry of `mayVary.env` states a pattern for the value.
    pub fn is_pattern(self, entry: &str) -> bool {
        self.entry(entry).is_some()
    }

    /// Whether the text contains a placeholder.
    pub fn is_in(self, text: &str) -> bool {
        self.parts(text).is_some()
    }

    /// The parts of a text that contains a placeholder. `None` for any other text.
    fn parts(self, text: &str) -> Option<Vec<Part<'_>>> {
        if self.0.is_empty() || text.len() > LONGEST || !text.contains('<') {
            return None;
        }
        let (mut parts, mut literal, mut at) = (Vec::new(), 0, 0);
        while let Some(found) = text[at..].find('<') {
            let start = at + found;
            let named = self.0.iter().find(|placeholder| text[start..].starts_with(placeholder.text()));
            at = start + named.map_or(1, |placeholder| placeholder.text().len());
            if let Some(placeholder) = named {
                parts.push(Part::Literal(&text[literal..start]));
                parts.push(Part::Placeholder(*placeholder));
                literal = at;
            }
        }
        if parts.is_empty() {
            return None;
        }
        parts.push(Part::Literal(&text[literal..]));
        Some(parts)
    }

    /// Replaces each value of the pod that matches an approved text with this text, and removes the variables that may
    /// vary. So a comparison of the result with `approved` shows only the differences that prevent a match.
    pub fn as_approved(self, approved: &Runtime, pod: &Runtime) -> Runtime {
        let mut pod = self.with_volume_name(approved, pod).into_owned();
        let replace = |approved: &Text, text: &mut Text| {
            if self.text_matches(approved, text) {
                text.clone_from(approved);
            }
        };
        let all = || approved.containers.iter().chain(&approved.init_containers);
        for container in pod.containers.iter_mut().chain(&mut pod.init_containers) {
            let Some(same) = all().find(|approved| approved.name == container.name) else { continue };
            for (approved, text) in same.command.iter().zip(&mut container.command) {
                replace(approved, text);
            }
            for (approved, text) in same.args.iter().zip(&mut container.args) {
                replace(approved, text);
            }
            container.env.retain(|var| !same.may_vary.env.iter().any(|entry| self.covers(entry, var)));
            for (at, var) in container.env.iter_mut().enumerate() {
                let mut likely = same.env.get(at).into_iter().chain(&same.env);
                if let Some(approved) = likely.find(|approved| self.variable_matches(approved, var)) {
                    var.clone_from(approved);
                }
            }
        }
        for volume in &mut pod.volumes {
            let same = approved.volumes.iter().find(|approved| approved.name == volume.name);
            let claim = same.and_then(|approved| approved.persistent_volume_claim.as_ref());
            if let (Some(approved), Some(claim)) = (claim, &mut volume.persistent_volume_claim) {
                replace(&approved.claim_name, &mut claim.claim_name);
            }
        }
        pod
    }

    /// Returns `pod` with the approved volume name. This name can have a placeholder, such as `volume-<name>`. Each
    /// matching volume of the pod gets the approved name, and so do its mounts in approved containers. Other containers
    /// stay unchanged, because a placeholder has no meaning in these containers.
    pub fn with_volume_name<'p>(self, approved: &Runtime, pod: &'p Runtime) -> Cow<'p, Runtime> {
        let Some(volume) = self.volume(approved) else { return Cow::Borrowed(pod) };
        let mut pod = pod.clone();
        let rename = |name: &mut Text| {
            if self.text_matches(&volume.name, name) {
                name.clone_from(&volume.name);
            }
        };
        pod.volumes.iter_mut().for_each(|volume| rename(&mut volume.name));
        for (containers, approved) in [
            (&mut pod.containers, &approved.containers),
            (&mut pod.init_containers, &approved.init_containers),
        ] {
            let is_approved =
                |container: &&mut Container| approved.iter().any(|approved| approved.name == container.name);
            for container in containers.iter_mut().filter(is_approved) {
                container.volume_mounts.iter_mut().for_each(|mount| rename(&mut mount.name));
            }
        }
        Cow::Owned(pod)
    }

    /// Whether a volume of the pod with this name stands for a volume of the `approved` runtime.
    pub fn is_approved_volume(self, approved: &Runtime, name: &str) -> bool {
        approved.volumes.iter().any(|volume| *volume.name == *name)
            || self.volume(approved).is_some_and(|volume| self.text_matches(&volume.name, name))
    }

    /// The volume whose name has a placeholder. There is at most one, because [`not_used`] does not allow a second one.
    fn volume(self, approved: &Runtime) -> Option<&Volume> {
        approved.volumes.iter().find(|volume| self.is_in(&volume.name))
    }
}

fn is_value(parts: &[Part<'_>], pod: &EnvVar) -> bool {
    pod.value_from.is_none() && is_match(parts, pod.value.as_deref().unwrap_or_default())
}

/// Whether the whole text consists of these parts, with a value in place of each placeholder.
fn is_match(parts: &[Part<'_>], text: &str) -> bool {
    let mut ends = BTreeSet::from([0]);
    for part in parts {
        ends = match part {
            Part::Literal(literal) => ends
                .into_iter()
                .filter(|end| text.as_bytes()[*end..].starts_with(literal.as_bytes()))
                .map(|end| end + literal.len())
                .collect(),
            Part::Placeholder(placeholder) => {
                forms(*placeholder).iter().flat_map(|form| after_form(form, &ends, text.as_bytes())).collect()
            }
        };
    }
    ends.contains(&text.len())
}

/// The positions in `text` at which the form can end if it begins at one of the positions `starts`.
fn after_form(form: &[Run], starts: &BTreeSet<usize>, text: &[u8]) -> BTreeSet<usize> {
    form.iter().fold(starts.clone(), |starts, (class, least, most)| {
        let after = |start: usize| {
            let allowed = text[start..].iter().take(*most).take_while(|byte| contains(class, **byte)).count();
            (*least..=allowed).map(move |length| start + length)
        };
        starts.into_iter().flat_map(after).collect()
    })
}

/// Whether a class of characters, as in a regular expression, contains `byte`.
fn contains(class: &str, byte: u8) -> bool {
    match class.as_bytes() {
        [from, b'-', to, rest @ ..] => {
            (*from..=*to).contains(&byte) || contains(std::str::from_utf8(rest).unwrap_or_default(), byte)
        }
        [one, rest @ ..] => *one == byte || contains(std::str::from_utf8(rest).unwrap_or_default(), byte),
        [] => false,
    }
}

/// The reason why no placeholder of `runtime` has a meaning. Each approved text is then plain text, and equals only the
/// same text in a pod. `None` if the placeholders have a meaning.
pub fn not_used(runtime: &Runtime) -> Option<String> {
    let all = Placeholders(&runtime.placeholders);
    let mut named = runtime.volumes.iter().filter(|volume| all.is_in(&volume.name));
    if let Some(volume) = named.next() {
        if let Some(other) = named.next() {
            return Some(format!(
                "the names of the volumes {} and {} both have a placeholder, and only one may",
                volume.name, other.name
            ));
        }
        let start = volume.name.split('<').next().unwrap_or_default();
        if start.starts_with(TOKEN_VOLUME) || TOKEN_VOLUME.starts_with(start) {
            return Some(format!(
                "the name of volume {} also means volumes for the token of the service account",
                volume.name
            ));
        }
        let same = |other: &&Volume| other.name != volume.name && all.text_matches(&volume.name, &other.name);
        if let Some(other) = runtime.volumes.iter().find(same) {
            return Some(format!("the name of volume {} also means volume {}", volume.name, other.name));
        }
    }
    let count = texts(runtime, all).len();
    (count > MOST).then(|| format!("{count} texts have placeholders, and at most {MOST} may"))
}

/// All texts of `runtime` with placeholders: arguments, values of variables, values in `mayVary`, and the names of
/// volumes and claims.
fn texts(runtime: &Runtime, all: Placeholders<'_>) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for container in runtime.containers.iter().chain(&runtime.init_containers) {
        let Container { command, args, env, may_vary, .. } = container;
        let words = command.iter().chain(args).map(|text| &**text);
        let entries = may_vary.env.iter().filter_map(|entry| entry.split_once('=')).map(|(_, value)| value);
        let values = env.iter().filter(|var| var.value_from.is_none()).filter_map(|var| var.value.as_deref());
        texts.extend(words.chain(entries).chain(values).filter(|text| all.is_in(text)).map(str::to_owned));
    }
    let claims = runtime.volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let names =
        runtime.volumes.iter().map(|volume| &volume.name).chain(claims.map(|claim| &claim.claim_name));
    texts.extend(names.filter(|name| all.is_in(name)).map(ToString::to_string));
    texts
}

/// The patterns with which the API server compares a pod with `runtime`. `None` if the runtime has no placeholders.
pub fn patterns(runtime: &Runtime) -> Option<Patterns> {
    let all = Placeholders::of(runtime);
    let texts = texts(runtime, all);
    if texts.is_empty() {
        return None;
    }
    let lists = runtime
        .containers
        .iter()
        .chain(&runtime.init_containers)
        .flat_map(|container| [container.command.len(), container.args.len(), container.env.len()]);
    let positions = lists.max().unwrap_or_default().max(1);
    let volume = all.volume(runtime);
    let parts: BTreeMap<_, _> =
        texts.iter().filter_map(|text| Some((text.clone(), all.parts(text)?))).collect();
    let longest = parts.values().map(|parts| longest(parts)).max().unwrap_or_default();
    Some(Patterns {
        positions: (0..number(positions)).collect(),
        longest: number(longest),
        texts: parts.into_iter().map(|(text, parts)| (text, expression(&parts))).collect(),
        volume: volume.map(|volume| volume.name.to_string()),
    })
}

fn number(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// The number of characters of the longest text with these parts.
fn longest(parts: &[Part<'_>]) -> usize {
    let of_form = |form: &&[Run]| form.iter().map(|(_, _, most)| most).sum::<usize>();
    let of_part = |part: &Part<'_>| match part {
        Part::Literal(literal) => literal.chars().count(),
        Part::Placeholder(placeholder) => forms(*placeholder).iter().map(of_form).max().unwrap_or_default(),
    };
    parts.iter().map(of_part).sum()
}

/// The regular expression (RE2) for a text with these parts.
fn expression(parts: &[Part<'_>]) -> String {
    let part = |part: &Part<'_>| match part {
        Part::Literal(literal) => literal.chars().map(escaped).collect(),
        Part::Placeholder(placeholder) => {
            let forms: Vec<String> =
                forms(*placeholder).iter().map(|form| form.iter().map(run).collect()).collect();
            format!("(?:{})", forms.join("|"))
        }
    };
    format!("^{}$", parts.iter().map(part).collect::<String>())
}

fn escaped(character: char) -> String {
    if r"\.+*?()|[]{}^$".contains(character) { format!(r"\{character}") } else { character.to_string() }
}

fn run((class, least, most): &Run) -> String {
    match (*least, *most) {
        (1, 1) => format!("[{class}]"),
        (least, most) if least == most => format!("[{class}]{{{least}}}"),
        (least, most) => format!("[{class}]{{{least},{most}}}"),
    }
}
