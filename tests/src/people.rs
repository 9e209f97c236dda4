//! The users of the cluster. The API server authenticates them with a token file, so no identity provider is needed.
//!
//! ```text
//! tokens.csv:  token,name,uid,"group,…"     one line for each Person, each component and the kubelet
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;

use anyhow::{Context, Result};

/// A person who acts in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Person {
    /// An administrator who may do everything (`system:masters`). On an existing cluster, this is the user of the given
    /// kubeconfig.
    Admin,
    /// A risk officer.
    Alice,
    /// A member of the ethics board.
    Bob,
    /// A risk officer and a member of the ethics board.
    Carol,
    /// A developer who runs workloads and has no approver role.
    Dev,
}

impl Person {
    /// Every person.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Alice, Self::Bob, Self::Carol, Self::Dev];

    /// The user name at the API server.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Alice => "alice",
            Self::Bob => "bob",
            Self::Carol => "carol",
            Self::Dev => "dev",
        }
    }

    /// The groups at the API server.
    pub const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Admin => &["system:masters"],
            Self::Alice => &["risk-officers"],
            Self::Bob => &["ethics-board"],
            Self::Carol => &["risk-officers", "ethics-board"],
            Self::Dev => &["developers"],
        }
    }
}

/// A user in the token file: a person, a component or the kubelet.
pub struct User {
    pub name: String,
    pub groups: &'static [&'static str],
    pub token: String,
}

impl User {
    pub fn new(name: &str, groups: &'static [&'static str]) -> Result<Self> {
        let mut secret = [0u8; 16];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut secret))
            .context("reading /dev/urandom for a token")?;
        let token = secret.iter().fold(String::new(), |mut token, byte| {
            let _ = write!(token, "{byte:02x}");
            token
        });
        Ok(Self { name: name.to_owned(), groups, token })
    }
}

/// The content of the file for `--token-auth-file`.
pub fn token_file<'a>(users: impl IntoIterator<Item = &'a User>) -> String {
    users.into_iter().fold(String::new(), |mut file, User { name, groups, token }| {
        let _ = writeln!(file, "{token},{name},{name},\"{}\"", groups.join(","));
        file
    })
}
