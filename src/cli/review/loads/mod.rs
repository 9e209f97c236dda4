//! Finds content that a container loads through its commands, arguments and variables, and that can change after the
//! signature.
//!
//! ```text
//!  command + args, hooks ──► words ─┬─ flag of a known engine ──► finding, unless a commit pins it
//!  env ──► values ──────────────────┤
//!                                   └─ any other word: address, org/name, latest, download ──► finding
//! ```
//!
//! The scan also checks words for which no rule exists. So the review warns even if the engine is unknown.

mod engines;
mod place;
#[cfg(test)]
mod tests;
mod words;

use self::{
    engines::{DOWNLOADS, Engine, Loads, RULES, Rule},
    place::{is_commit, is_hub_name, is_path, moving_part, unpinned_address},
    words::{Words, flag_of, names, pieces},
};
use crate::api::Container;

/// Returns one sentence for each finding, in the order of the fields of the container. A finding is content that the
/// container loads and that can change.
pub fn loads(container: &Container) -> Vec<String> {
    let scan = Scan::new(container);
    let mut texts = Vec::new();
    for (list, words) in Words::of(container) {
        scan.list(list, &words.expanded(container), &mut texts);
    }
    for var in &container.env {
        if let Some(value) = &var.value {
            scan.variable(&var.name, &words::expand(value, container), &mut texts);
        }
    }
    let serves_by_default = container.command.is_empty() && container.args.is_empty();
    if serves_by_default && scan.engines.contains(&Engine::Ollama) {
        texts.extend(scan.rule_after("serve").and_then(|rule| scan.by_rule(rule, "the image", "")));
    }
    texts.dedup();
    texts
}

/// A container, the engines that it seems to run, and the commits that it names.
struct Scan<'a> {
    container: &'a Container,
    engines: Vec<Engine>,
    /// Names of the flags and variables whose value is a commit.
    commits: Vec<String>,
}

impl<'a> Scan<'a> {
    fn new(container: &'a Container) -> Self {
        let words = container.command.iter().chain(&container.args).map(|word| &**word);
        let text = [&*container.image].into_iter().chain(words).collect::<Vec<_>>().join(" ");
        let runs = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let engines = Engine::ALL.into_iter().filter(|(_, words)| runs(words)).map(|(engine, _)| engine);
        let words: Vec<String> =
            Words::of(container).flat_map(|(_, words)| words.expanded(container)).collect();
        let flags = words.iter().enumerate().filter_map(|(at, word)| {
            let (name, value) = flag_of(word)?;
            let value = value.or_else(|| words.get(at + 1).map(String::as_str))?;
            is_commit(value).then_some(name)
        });
        let variables = container.env.iter().filter(|var| var.value.as_deref().is_some_and(is_commit));
        let commits = flags.chain(variables.map(|var| var.name.to_string())).collect();
        Self { container, engines: engines.collect(), commits }
    }

    /// The rules of the found engines, or every rule if no engine is found. Rules about code that comes with a model
    /// always apply, because such code is a risk in every engine.
    fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        RULES.iter().filter(|rule| self.engines.is_empty() || self.runs(rule) || rule.loads == Loads::Code)
    }

    fn rule_after(&self, word: &str) -> Option<&'static Rule> {
        RULES.iter().find(|rule| self.runs(rule) && rule.after.contains(&word))
    }

    fn runs(&self, rule: &Rule) -> bool {
        self.engines.contains(&rule.engine)
    }

    fn list(&self, list: &str, words: &[String], texts: &mut Vec<String>) {
        let mut taken = 0;
        for (at, word) in words.iter().enumerate() {
            texts.extend(self.download(list, &words[at..]));
            if at < taken {
                continue;
            }
            let next = words.get(at + 1).map_or("", String::as_str);
            let of_flag = flag_of(word).and_then(|(name, value)| {
                let rule = self.rules().find(|rule| rule.flags.contains(&&*name))?;
                let takes_next = value.is_none() && !matches!(rule.loads, Loads::Code | Loads::Later(&[], _));
                Some((rule, value.unwrap_or(if takes_next { next } else { "" }), takes_next))
            });
            let positional = || {
                let rule = self.rule_after(word).filter(|_| flag_of(next).is_none())?;
                Some((rule, next, !next.is_empty()))
            };
            if let Some((rule, value, takes_next)) = of_flag.or_else(positional) {
                let shown = if takes_next { format!("{word} {value}") } else { word.clone() };
                texts.extend(self.by_rule(rule, &format!("{list} {shown}"), value));
                taken = at + 1 + usize::from(takes_next);
            } else {
                texts.extend(self.anywhere(&format!("{list} {word}"), word));
            }
        }
    }

    fn variable(&self, name: &str, value: &str, texts: &mut Vec<String>) {
        let place = format!("env {name}={value}");
        match self.rules().find(|rule| rule.variables.contains(&name)) {
            Some(rule) => texts.extend(self.by_rule(rule, &place, value)),
            None => texts.extend(self.anywhere(&place, value)),
        }
        let words: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
        for at in 0..words.len() {
            texts.extend(self.download(&format!("env {name}"), &words[at..]));
        }
    }

    fn by_rule(&self, rule: &Rule, place: &str, value: &str) -> Option<String> {
        let off = ["false", "0", "no", "off"].contains(&&*value.to_ascii_lowercase());
        match rule.loads {
            Loads::Nothing => None,
            Loads::Hub(what) => {
                let pinned = rule.pinned_by.iter().any(|pin| self.commits.iter().any(|commit| commit == pin));
                self.hub(place, value, what, rule.pinned_by.first().filter(|_| !pinned), pinned)
            }
            Loads::Code if off => None,
            Loads::Code => Some(self.finding(place, "runs code that comes with the model")),
            Loads::Later(values, _) if off || (!values.is_empty() && !values.contains(&value)) => None,
            Loads::Later(_, why) => Some(self.finding(place, &format!("allows later changes: {why}"))),
            Loads::Installs(words) => pieces(value)
                .any(|piece| words.contains(&piece))
                .then(|| self.finding(place, "installs packages at start, and their versions can change"))
                .or_else(|| self.anywhere(place, value)),
        }
    }

    /// Scans the value of a flag, variable or positional argument that names something in a model hub. Returns a
    /// finding if the value contains an unpinned address, or a name that no commit pins.
    fn hub(&self, place: &str, value: &str, what: &str, pin: Option<&&str>, pinned: bool) -> Option<String> {
        if let Some(address) = unpinned_address(value) {
            return Some(self.address(place, address));
        }
        let has_commit = pieces(value).any(|piece| piece.split(['@', ':']).any(is_commit));
        if pinned || has_commit || !names(value).any(|name| !is_path(name)) {
            return None;
        }
        let remedy = pin.map_or_else(
            || "mount it as a volume by digest instead".to_owned(),
            |pin| format!("pin it with a commit in {}", words::as_typed(pin)),
        );
        Some(self.finding(place, &format!("names {what} in a hub, where it can be replaced: {remedy}")))
    }

    /// Scans a word for which no rule exists. Returns a finding if the word contains an unpinned address, a possible
    /// name in a model hub, or a part that can refer to other content later.
    fn anywhere(&self, place: &str, text: &str) -> Option<String> {
        if let Some(address) = unpinned_address(text) {
            return Some(self.address(place, address));
        }
        let bare = |text: &str| flag_of(text).and_then(|(_, value)| value.map(str::to_owned));
        let text = bare(text).unwrap_or_else(|| text.to_owned());
        if is_path(&text) {
            return None;
        }
        if pieces(&text).any(is_hub_name) {
            return Some(self.finding(place, "may name a model in a hub, without a commit"));
        }
        let part = moving_part(&text)?;
        Some(self.finding(place, &format!("uses {part}, whose content can change")))
    }

    fn download(&self, list: &str, words: &[String]) -> Option<String> {
        let is = |command: &&&[&str]| {
            let program = words[0].rsplit('/').next().unwrap_or_default();
            command[0] == program
                && command.len() <= words.len()
                && command[1..].iter().zip(&words[1..]).all(|(a, b)| a == b)
        };
        let command = DOWNLOADS.iter().find(is)?.join(" ");
        Some(self.finding(
            &format!("{list} {command}"),
            "downloads content when it runs, and the content can change",
        ))
    }

    fn address(&self, place: &str, address: &str) -> String {
        let shown = if place.ends_with(address) { String::new() } else { format!(" {address}") };
        self.finding(
            place,
            &format!("points to an address{shown}: anyone who can write there can change the content"),
        )
    }

    fn finding(&self, place: &str, what: &str) -> String {
        format!("{} of container {} {what}", place::shortened(place), self.container.name)
    }
}
