//! The output formats, for people and for programs. A manifest is always JSON or YAML.
//!
//! ```text
//!  value ─┬─ table, wide, text   the command lays out the value
//!         └─ json, yaml          the value itself, with hidden characters escaped
//! ```

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::{
    error::{Error, Result},
    render::escape::{visible_json, visible_lines},
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The output formats of a command that explains one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Prose {
    /// Text for people.
    #[default]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The formats of a manifest that kubectl can apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ManifestFormat {
    /// YAML.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

impl ManifestFormat {
    pub fn text<T: Serialize>(self, object: &T) -> Result<String> {
        match self {
            Self::Yaml => yaml(object),
            Self::Json => json(object),
        }
    }
}

/// Annotations of a record that stop Flux and Argo CD from deleting the record when a user removes its file from Git.
pub fn without_prune() -> serde_json::Value {
    serde_json::json!({
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
        "argocd.argoproj.io/sync-options": "Prune=false",
    })
}

pub fn json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.to_string()))?;
    Ok(visible_json(&text) + "\n")
}

pub fn yaml<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_saphyr::to_string(value).map_err(|error| Error::Output(error.to_string()))?;
    Ok(visible_lines(text.trim_end_matches('\n')).map(|line| line.into_owned() + "\n").collect())
}
