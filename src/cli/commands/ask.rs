//! Asks a person at the terminal to confirm an action, such as a signature, and asks for a missing reason.
//!
//! Without a terminal, most commands fail and propose a command line that asks no question.

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

/// Returns the reason `given`. If `given` is `None` or blank, asks the person for a reason. Fails with `missing` if
/// there is no terminal, or if the person types an empty answer.
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

/// Asks the person to type the name of the system as a confirmation. A person can type `y` out of habit, but not a
/// name.
pub fn for_name(name: &str, to_do_what: &str) -> Result<()> {
    anstream::println!();
    let answer = ask(&format!("Type the name of the system ({name}) to {to_do_what}: "))?;
    if answer == name { Ok(()) } else { Err(Error::Declined { wanted: quoted(name) }) }
}

/// Asks until the person types the name of the system or a [`Choice`]. The name means an approval. For a choice,
/// returns [`Error::Chose`]. If the system itself has the name `skip`, the answer `skip` means an approval.
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

/// Asks the person to type `y` as a confirmation. A stop of pods can be urgent, and `y` takes less time than a name.
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
