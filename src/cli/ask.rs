//! Asks whoever sits at the terminal, because what is signed or ended must be agreed to by a person.
//!
//! ```text
//!  question ──► terminal ──► one line      nobody there: the caller says which command needs no answer
//! ```

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};

use super::{
    connect::quoted,
    error::{Error, Result},
    visible::visible,
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

/// Asks for a plain yes, where that is the safe side and may be urgent.
pub fn for_yes(what: &str) -> Result<()> {
    anstream::println!();
    let answer = ask(&format!("{what}? [y/N] "))?;
    let agreed = answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes");
    if agreed { Ok(()) } else { Err(Error::Declined { wanted: "y".to_owned() }) }
}
