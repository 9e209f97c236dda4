//! The trust policy of an auditor: the keys of the log, the witnesses, and how many of them must agree (C2SP
//! tlog-policy).
//!
//! ```text
//!  log VKEY                    ┐
//!  witness a VKEY              ├─► TrustPolicy ──► Cosignatures of a checkpoint, or why they are too few
//!  group g any a …             │
//!  quorum g                    ┘
//! ```

use std::collections::{HashMap, HashSet};

use super::{
    checkpoint::Checkpoint,
    key::{InvalidKey, Purpose, VerifierKey},
};

/// The largest number of lines with content. C2SP tlog-policy recommends room for 32 logs, witnesses and groups each.
const MAX_LINES: usize = 1000;

/// Why a text is not a trust policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// A line has an error.
    #[error("line {line}: {why}")]
    Line {
        /// The number of the line. The file begins with line 1.
        line: usize,
        /// The error.
        why: InvalidLine,
    },
    /// The policy has no quorum line.
    #[error("it has no line with a quorum")]
    NoQuorum,
    /// The policy has no log line.
    #[error("it has no line with the key of a log")]
    NoLog,
}

/// Why a line of a trust policy has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// The line has a control character, or is not UTF-8.
    #[error("it has a control character, or is not UTF-8")]
    Character,
    /// The line is not one of the known forms.
    #[error(
        "it is none of: log VKEY [URL], witness NAME VKEY [URL], group NAME N|any|all NAME…, quorum NAME"
    )]
    Form,
    /// The key is invalid.
    #[error("the key is invalid: {0}")]
    Key(#[from] InvalidKey),
    /// The key has the wrong type for a log or a witness.
    #[error("the key has the wrong type: a log has type 0x01, and a witness has type 0x04")]
    Purpose,
    /// The key or the name is already in the policy.
    #[error("the name or the key is already defined")]
    Duplicate,
    /// A name is already a member of a group.
    #[error("a name is a member of more than one group")]
    Grouped,
    /// A name is not defined above.
    #[error("{0} is not defined above this line")]
    Unknown(String),
    /// The threshold of a group is not possible.
    #[error("the group cannot reach this number")]
    Threshold,
    /// The policy has too many lines.
    #[error("the policy has more than {MAX_LINES} lines")]
    TooMany,
}

/// A witness or a group: an index in [`TrustPolicy::members`].
type Member = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Definition {
    Witness { name: String, key: VerifierKey },
    Group { needed: usize, members: Vec<Member> },
}

/// The keys and the quorum that an auditor trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    logs: Vec<VerifierKey>,
    members: Vec<Definition>,
    /// `None` for `quorum none`.
    quorum: Option<Member>,
}

/// A valid cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The name of the witness in the policy.
    pub witness: String,
    /// The time in seconds since 1970 at which the witness saw the checkpoint.
    pub seconds: u64,
}

/// The cosignatures of a checkpoint, and whether they are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignatures {
    /// The valid cosignatures of known witnesses.
    pub valid: Vec<Cosignature>,
    /// The names of witnesses whose cosignature is in the checkpoint, but is not valid.
    pub invalid: Vec<String>,
    /// Whether the policy is met.
    pub is_quorum: bool,
}

impl TrustPolicy {
    /// A policy for one log without witnesses.
    pub fn of_log(key: VerifierKey) -> Self {
        Self { logs: vec![key], members: Vec::new(), quorum: None }
    }

    /// Reads the file of a policy.
    pub fn parse(file: &[u8]) -> Result<Self, InvalidPolicy> {
        let mut parser = Parser::default();
        for (at, line) in file.split(|byte| *byte == b'\n').enumerate() {
            parser.line(line).map_err(|why| InvalidPolicy::Line { line: at + 1, why })?;
        }
        if parser.logs.is_empty() {
            return Err(InvalidPolicy::NoLog);
        }
        let quorum = match parser.quorum.ok_or(InvalidPolicy::NoQuorum)? {
            Quorum::Nobody => None,
            Quorum::Member(member) => Some(member),
        };
        Ok(Self { logs: parser.logs, members: parser.members, quorum })
    }

    /// The keys of the logs.
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// Whether the policy requires a witness.
    pub const fn has_quorum(&self) -> bool {
        self.quorum.is_some()
    }

    /// Verifies the cosignatures of the checkpoint.
    pub fn cosignatures(&self, checkpoint: &Checkpoint) -> Cosignatures {
        let (mut valid, mut invalid) = (Vec::new(), Vec::new());
        let mut met: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let is_met = match member {
                Definition::Group { needed, members } => {
                    members.iter().filter(|member| met[**member]).count() >= *needed
                }
                Definition::Witness { name, key } => match cosigned_at(checkpoint, key) {
                    Cosigned::At(seconds) => {
                        valid.push(Cosignature { witness: name.clone(), seconds });
                        true
                    }
                    Cosigned::Not => false,
                    Cosigned::Invalid => {
                        invalid.push(name.clone());
                        false
                    }
                },
            };
            met.push(is_met);
        }
        Cosignatures { valid, invalid, is_quorum: self.quorum.is_none_or(|quorum| met[quorum]) }
    }
}

enum Cosigned {
    At(u64),
    Not,
    Invalid,
}

/// The time at which the witness cosigned the checkpoint (C2SP tlog-cosignature, "Ed25519 signed message").
fn cosigned_at(checkpoint: &Checkpoint, key: &VerifierKey) -> Cosigned {
    let mut found = Cosigned::Not;
    for signature in checkpoint.note().signatures().iter().filter(|signature| signature.is_by(key)) {
        let Some((seconds, signed)) = signature.bytes().split_first_chunk::<8>() else {
            return Cosigned::Invalid;
        };
        let seconds = u64::from_be_bytes(*seconds);
        if seconds > i64::MAX.unsigned_abs()
            || !key.is_valid(cosigned_text(checkpoint, seconds).as_bytes(), signed)
        {
            return Cosigned::Invalid;
        }
        found = Cosigned::At(seconds);
    }
    found
}

/// The text that a witness signs.
pub(super) fn cosigned_text(checkpoint: &Checkpoint, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{}", checkpoint.note().text())
}

/// The word after `quorum`.
enum Quorum {
    Nobody,
    Member(Member),
}

#[derive(Default)]
struct Parser {
    logs: Vec<VerifierKey>,
    members: Vec<Definition>,
    names: HashMap<String, Member>,
    /// The members of groups. A name can be in one group, so that a witness counts in one way only.
    grouped: HashSet<Member>,
    quorum: Option<Quorum>,
    lines: usize,
}

impl Parser {
    fn line(&mut self, line: &[u8]) -> Result<(), InvalidLine> {
        if line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
            return Err(InvalidLine::Character);
        }
        let line = std::str::from_utf8(line).map_err(|_| InvalidLine::Character)?;
        let words: Vec<_> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            return Ok(());
        }
        self.lines += 1;
        if self.lines > MAX_LINES {
            return Err(InvalidLine::TooMany);
        }
        match words[..] {
            ["log", key] | ["log", key, _] => self.log(key.parse()?),
            ["witness", name, key] | ["witness", name, key, _] => self.witness(name, key.parse()?),
            ["group", name, needed, ref members @ ..] => self.group(name, needed, members),
            ["quorum", name] => self.set_quorum(name),
            _ => Err(InvalidLine::Form),
        }
    }

    fn log(&mut self, key: VerifierKey) -> Result<(), InvalidLine> {
        if key.purpose() != Purpose::Note {
            return Err(InvalidLine::Purpose);
        }
        if self.logs.iter().any(|log| log.public() == key.public()) {
            return Err(InvalidLine::Duplicate);
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &str, key: VerifierKey) -> Result<(), InvalidLine> {
        if key.purpose() != Purpose::Cosignature {
            return Err(InvalidLine::Purpose);
        }
        let is_known = |member: &Definition| matches!(member, Definition::Witness { key: known, .. } if known.public() == key.public());
        if self.members.iter().any(is_known) {
            return Err(InvalidLine::Duplicate);
        }
        self.define(name, Definition::Witness { name: name.to_owned(), key })
    }

    fn group(&mut self, name: &str, needed: &str, names: &[&str]) -> Result<(), InvalidLine> {
        let members = names.iter().map(|name| self.member(name)).collect::<Result<Vec<_>, _>>()?;
        if !members.iter().all(|member| self.grouped.insert(*member)) {
            return Err(InvalidLine::Grouped);
        }
        let is_decimal = needed.bytes().all(|byte| byte.is_ascii_digit());
        let needed = match needed {
            "any" => 1,
            "all" => members.len(),
            number if is_decimal => number.parse().map_err(|_| InvalidLine::Threshold)?,
            _ => return Err(InvalidLine::Form),
        };
        if needed == 0 || needed > members.len() {
            return Err(InvalidLine::Threshold);
        }
        self.define(name, Definition::Group { needed, members })
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), InvalidLine> {
        if self.quorum.is_some() {
            return Err(InvalidLine::Duplicate);
        }
        self.quorum = Some(if name == "none" { Quorum::Nobody } else { Quorum::Member(self.member(name)?) });
        Ok(())
    }

    fn member(&self, name: &str) -> Result<Member, InvalidLine> {
        self.names.get(name).copied().ok_or_else(|| InvalidLine::Unknown(name.to_owned()))
    }

    fn define(&mut self, name: &str, member: Definition) -> Result<(), InvalidLine> {
        if name == "none" || self.names.contains_key(name) {
            return Err(InvalidLine::Duplicate);
        }
        self.names.insert(name.to_owned(), self.members.len());
        self.members.push(member);
        Ok(())
    }
}

/// The file of a policy for one log without witnesses.
pub(super) fn file_for(key: &VerifierKey) -> String {
    format!("log {key}\nquorum none\n")
}
