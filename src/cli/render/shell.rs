//! Writes commands for a shell, so that a user can copy them.

use std::{fmt, path::PathBuf};

use clap::ValueEnum;

pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The name of `value` on the command line.
pub fn value_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A command of this program with its flags. An error or a review can suggest the command that the user typed, with
/// other values of some flags.
///
/// The suggested command has no `--yes`, even if the user typed this flag. So the suggested command asks for
/// confirmation. Only [`Self::confirmed`] adds `--yes`.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The names of the command and its arguments, such as `override grant credit-scorer-x2b9q`.
    words: String,
    /// The flags in the order of the output. `None` if the flag takes no value.
    flags: Vec<(&'static str, Option<String>)>,
    /// The flag `-n` and the connection flags, such as `--context`.
    place: String,
}

impl CommandLine {
    pub fn new(command: &str, arguments: &[&str], place: &str) -> Self {
        let arguments = arguments.iter().map(|argument| format!(" {}", quoted(argument)));
        Self {
            words: format!("{command}{}", arguments.collect::<String>()),
            flags: Vec::new(),
            place: place.to_owned(),
        }
    }

    /// Sets the flag to `values`, once for each value. Removes the flag if there is no value.
    pub fn with(mut self, flag: &'static str, values: impl IntoIterator<Item: ToString>) -> Self {
        let at = self.flags.iter().position(|(known, _)| *known == flag).unwrap_or(self.flags.len());
        self.flags.retain(|(known, _)| *known != flag);
        let values = values.into_iter().map(|value| (flag, Some(value.to_string())));
        self.flags.splice(at..at, values);
        self
    }

    pub fn with_paths<'a>(self, flag: &'static str, paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        self.with(flag, paths.into_iter().map(|path| path.display()))
    }

    /// Adds a flag that takes no value, if `is_set` is true.
    pub fn with_switch(mut self, flag: &'static str, is_set: bool) -> Self {
        self.flags.extend(is_set.then_some((flag, None)));
        self
    }

    pub fn without(self, flag: &'static str) -> Self {
        self.with(flag, None::<String>)
    }

    /// The flag `-n` and the connection flags, for another command about the same objects.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The command with `--yes`.
    pub fn confirmed(self) -> String {
        self.with_switch("--yes", true).to_string()
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kubectl assent {}", self.words)?;
        for (flag, value) in &self.flags {
            write!(f, " {flag}")?;
            match value {
                None => {}
                // The parser would read a separate value that begins with a dash as a flag. So `=` joins the flag and
                // the value.
                Some(value) if value.starts_with('-') && value != "-" => write!(f, "={}", quoted(value))?,
                Some(value) => write!(f, " {}", quoted(value))?,
            }
        }
        f.write_str(&self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed() -> CommandLine {
        CommandLine::new("reject", &["chat"], " -n lending")
            .with("--version", ["v1"])
            .with("--role", ["risk"])
    }

    #[test]
    fn values_are_shell_words() {
        let command = typed().with("--reason", ["it's a test"]).with("--text", ["-1"]).with("--file", ["-"]);
        let wanted = r"kubectl assent reject chat --version v1 --role risk --reason 'it'\''s a test' --text=-1 --file - -n lending";
        assert_eq!(command.to_string(), wanted);
    }

    #[test]
    fn new_values_of_a_flag_replace_the_typed_values() {
        let command = typed().with("--version", ["v2", "v3"]).with_switch("--full", true);
        let wanted = "kubectl assent reject chat --version v2 --version v3 --role risk --full -n lending";
        assert_eq!(command.to_string(), wanted);
        assert_eq!(
            typed().without("--role").to_string(),
            "kubectl assent reject chat --version v1 -n lending"
        );
    }

    #[test]
    fn only_a_confirmed_command_has_the_flag_yes() {
        assert!(!typed().to_string().contains("--yes"));
        let confirmed = "kubectl assent reject chat --version v1 --role risk --yes -n lending";
        assert_eq!(typed().confirmed(), confirmed);
    }
}
