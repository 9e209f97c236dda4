//! Asks a person at the terminal to confirm an action, such as a signature, and asks for a missing reason.
//!
//! ```text
//!  question ──► terminal ──► one line      no terminal: the caller proposes a command that asks nothing
//! ```

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};

use crate::cli::{
    choice::Choice,
    error::{Error, Result},
    render::{escape::visible, shell::quoted},
};

pub fn is_interactive() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

fn ask(question: &str) -> Result<String> {
    anstream::print!("{}", visible(question));
    stdout().flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Returns the given reason, or asks for a reason. Fails with `missing` if there is no terminal, or if the person types
/// no reason.
pub fn reason(given: Option<&str>, act: &str, system: &str, missing: impl Fn() -> Error) -> Result<String> {
    if let Some(given) = given.filter(|given| !given.trim().is_empty()) {
        return Ok(given.to_owned());
    }
    if !is_interactive() {
        return Err(missing());
    }
    let answer = ask(&format!("Why do you {act} {system}? The record keeps it: "))?;
    if answer.is_empty() { Err(missing()) } else { Ok(answer) }
}

/// Asks for the name of the system as a confirmation. A person can type a `y` out of habit, but not the name.
pub fn for_name(name: &str, to_do_what: &str) -> Result<()> {
    anstream::println!();
    let answer = ask(&format!("Type the name of the system ({name}) to {to_do_what}: "))?;
    if answer == name { Ok(()) } else { Err(Error::Declined { wanted: quoted(name) }) }
}

/// Asks for the name of the system or for a [`Choice`]. The name has priority: for a system named `skip`, the answer
/// `skip` approves.
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

/// Asks for a yes as a confirmation. A stop can be urgent, and a person types `y` faster than the name of the system.
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
    fn choice_is_a_letter_a_word_or_an_empty_answer() {
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
