//! Splits the command lines of a container, and the shell scripts in them, into words.

use super::place::is_hub_name;
use crate::api::{Container, Text};

/// The unexpanded words of one command line.
pub struct Words<'a>(Vec<&'a Text>);

impl<'a> Words<'a> {
    /// Each command line of a container, and the name of this command line in the findings.
    pub fn of(container: &'a Container) -> impl Iterator<Item = (&'static str, Self)> {
        let hooks = &container.exec;
        let lists: [(_, Vec<&Text>); 6] = [
            ("argument", container.command.iter().chain(&container.args).collect()),
            ("postStart hook", hooks.post_start.iter().collect()),
            ("preStop hook", hooks.pre_stop.iter().collect()),
            ("liveness probe", hooks.liveness_probe.iter().collect()),
            ("readiness probe", hooks.readiness_probe.iter().collect()),
            ("startup probe", hooks.startup_probe.iter().collect()),
        ];
        lists.into_iter().map(|(name, words)| (name, Self(words)))
    }

    /// The words after expansion of variables. A shell script is split into its words.
    pub fn expanded(&self, container: &Container) -> Vec<String> {
        let words = self.0.iter().map(|word| expand(word, container));
        words
            .flat_map(|word| if word.contains(char::is_whitespace) { script(&word) } else { vec![word] })
            .collect()
    }
}

/// The words of a shell script. JSON also contains spaces, but stays one word.
fn script(text: &str) -> Vec<String> {
    if text.trim_start().starts_with(['{', '[']) {
        return vec![text.to_owned()];
    }
    let ends = |c: char| c.is_whitespace() || ";|&()".contains(c);
    let words = text.split(ends).map(|word| word.trim_matches(['"', '\'', '`', '\\']));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The limit of an expanded text, in bytes. A text that names a long variable many times must not fill the memory.
const MAX_LENGTH: usize = 256 * 1024;

/// Replaces each `$(NAME)` and `${NAME}` by the value of the variable, as the kubelet and a shell do. Does
/// not expand the value again. A name without a value stays. If the result is too long, returns the text
/// unchanged.
pub fn expand(text: &str, container: &Container) -> String {
    let value = |name: &str| {
        let var = container.env.iter().find(|var| &*var.name == name)?;
        var.value.as_deref()
    };
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        let name = [("$(", ')'), ("${", '}')].into_iter().find_map(|(begin, end)| {
            let (name, after) = from.strip_prefix(begin)?.split_once(end)?;
            Some((value(name)?, after))
        });
        let (replacement, after) = name.unwrap_or(from.split_at(1));
        expanded.push_str(replacement);
        rest = after;
        if expanded.len() > MAX_LENGTH {
            return text.to_owned();
        }
    }
    expanded + rest
}

/// Splits a word such as `--model=x` into the name of the flag and the value. The value is `None` if the word has no
/// `=`. A long name has no leading dashes, and has `-` instead of `_`. A short name keeps its dash.
pub fn flag_of(word: &str) -> Option<(String, Option<&str>)> {
    let (flag, value) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
    if let Some(long) = flag.strip_prefix("--") {
        return Some((long.replace('_', "-"), value));
    }
    let is_short =
        flag.len() > 1 && flag.starts_with('-') && !flag[1..].starts_with(|c: char| c.is_ascii_digit());
    is_short.then(|| (flag.to_owned(), value))
}

/// The parts of a value that may be names. The value may be a list, `name=value` or JSON.
pub fn pieces(value: &str) -> impl Iterator<Item = &str> {
    let pieces = value.split(|c: char| c.is_whitespace() || ",;|&\"'{}[]()=".contains(c));
    pieces.filter(|piece| !piece.is_empty())
}

/// The names in the value of a flag. The value may be a list. In an element with `=`, only the part after the
/// last `=` is a name. In JSON, each piece with the form of a model name counts.
pub fn names(value: &str) -> impl Iterator<Item = &str> {
    let is_json = value.trim_start().starts_with(['{', '[']);
    let listed = (!is_json).then(|| value.split([' ', ',']).filter(|name| !name.is_empty()));
    let listed =
        listed.into_iter().flatten().map(|name| name.rsplit_once('=').map_or(name, |(_, value)| value));
    listed.chain(is_json.then(|| pieces(value).filter(|piece| is_hub_name(piece))).into_iter().flatten())
}

/// The name of a flag with its dashes, or the name of a variable unchanged. A name with a capital letter is a variable.
pub fn as_typed(name: &str) -> String {
    if name.chars().any(char::is_uppercase) { name.to_owned() } else { format!("--{name}") }
}
