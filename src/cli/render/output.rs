//! The formats in which a listing or an explanation can be had, for people and for programs.
//!
//! ```text
//!  value ─┬─ table, wide   laid out by its own module; a manifest is never
//!         └─ json, yaml    the same value; hidden characters escaped here too
//! ```

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::{
    error::{Error, Result},
    render::escape::{visible_json, visible_lines},
};

/// A format of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A format of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Prose {
    /// For people.
    #[default]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A format of what kubectl can apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ManifestFormat {
    /// YAML.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

/// `value` as JSON.
pub fn json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.to_string()))?;
    Ok(visible_json(&text) + "\n")
}

/// `value` as YAML.
pub fn yaml<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_saphyr::to_string(value).map_err(|error| Error::Output(error.to_string()))?;
    Ok(visible_lines(text.trim_end_matches('\n')).map(|line| line.into_owned() + "\n").collect())
}
