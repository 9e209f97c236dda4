//! Asks whoever sits at the terminal, because what is signed or ended must be agreed to by a person.
//!
//! ```text
//!  question ──► terminal ──► one line      nobody there: the caller says which command needs no answer
//! ```

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};

use crate::cli::{
    connect::session::quoted,
    error::{Error, Result},
    render::escape::visible,
};

/// Whether somebody can read a question and answer it.
pub fn somebody_is_there() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// The answer to a question, without the spaces around it.
fn ask(question: &str) -> Result<String> {
    anstream::print!("{}", visible(question));
    stdout().flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Why something is done: what was given, or what somebody at the terminal says.
pub fn reason(given: Option<&str>, act: &str, system: &str, missing: impl Fn() -> Error) -> Result<String> {
    if let Some(given) = given.filter(|given| !given.trim().is_empty()) {
        return Ok(given.to_owned());
    }
    if !somebody_is_there() {
        return Err(missing());
    }
    let answer = ask(&format!("Why do you {act} {system}? The record keeps it: "))?;
    if answer.is_empty() { Err(missing()) } else { Ok(answer) }
}

/// Asks for a name, because it is the one answer that nobody gives by habit.
pub fn for_name(name: &str, to_do_what: &str) -> Result<()> {
    anstream::println!();
    let answer = ask(&format!("Type the name of the system ({name}) to {to_do_what}: "))?;
    if answer == name { Ok(()) } else { Err(Error::Declined { wanted: quoted(name) }) }
}

/// The alternatives to an approval, for a person who goes through many systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Reject it.
    Reject,
    /// Leave it for later.
    Skip,
    /// Leave this one and all that follow.
    Quit,
}

impl Choice {
    /// Reads an answer. `None` if it names no choice.
    fn of(answer: &str) -> Option<Self> {
        match answer.to_ascii_lowercase().as_str() {
            "r" | "reject" => Some(Self::Reject),
            "s" | "skip" | "" => Some(Self::Skip),
            "q" | "quit" => Some(Self::Quit),
            _ => None,
        }
    }
}

/// Asks for a name, or for what else to do. A system may be named like a choice, and then its name approves it.
pub fn for_name_or_choice(name: &str) -> Result<()> {
    anstream::println!();
    let question = format!("Type {name} to approve, r to reject, s (or Enter) to skip, q to quit: ");
    loop {
        let answer = ask(&question)?;
        if answer == name {
            return Ok(());
        }
        if let Some(choice) = Choice::of(&answer) {
            return Err(Error::Chose(choice));
        }
    }
}

/// Asks for a plain yes, where that is the safe side and may be urgent.
pub fn for_yes(what: &str) -> Result<()> {
    anstream::println!();
    let answer = ask(&format!("{what}? [y/N] "))?;
    let agreed = answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes");
    if agreed { Ok(()) } else { Err(Error::Declined { wanted: "y".to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_takes_letters_words_and_an_empty_answer() {
        for (answer, choice) in [
            ("r", Some(Choice::Reject)),
            ("Reject", Some(Choice::Reject)),
            ("", Some(Choice::Skip)),
            ("s", Some(Choice::Skip)),
            ("q", Some(Choice::Quit)),
            ("scorre", None),
        ] {
            assert_eq!(Choice::of(answer), choice, "{answer}");
        }
    }
}
