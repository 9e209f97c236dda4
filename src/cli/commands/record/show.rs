//! Prints the entries of an export, or one entry with its personal data.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{ShowArgs, broken, export, unreadable};
use crate::{
    cli::{
        error::{Error, Next, Result},
        render::{
            output::{self, Listing},
            page::{FAINT, PLAIN, Page},
            shell::quoted,
            table::{Cell, table},
        },
    },
    record::{Content, Directory, Entry, Files as _, entry_text},
};

/// An entry, with the values of its disclosures that are not erased.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    entry: Entry,
    #[serde(skip_serializing_if = "Map::is_empty")]
    disclosed: Map<String, Value>,
}

/// Prints the entries, or the entry at an index.
pub fn show(args: &ShowArgs) -> Result<()> {
    let (files, checkpoint) = export(&args.directory)?;
    let size = checkpoint.head().size;
    let text = match args.index {
        Some(index) if index >= size => return Err(no_entry(&args.directory, index, size)),
        Some(index) => one(&shown(&args.directory, &files, index, size)?, args.output)?,
        None => {
            let entries = (0..size).map(|index| shown(&args.directory, &files, index, size));
            many(&entries.collect::<Result<Vec<_>>>()?, args.output)?
        }
    };
    anstream::print!("{text}");
    Ok(())
}

/// The error for an index that the log does not have.
pub(super) fn no_entry(directory: &Path, index: u64, size: u64) -> Error {
    let directory = quoted(&directory.display().to_string());
    Error::Choose {
        question: format!(
            "there is no entry {index}: the record has {size} entries, and the first is entry 0"
        ),
        next: vec![Next::new(format!("kubectl assent record show {directory}"), "list the entries")],
    }
}

fn shown(directory: &Path, files: &Directory, index: u64, size: u64) -> Result<Shown> {
    let text = entry_text(files, index, size).map_err(broken(directory))?;
    let entry =
        Entry::parse(&text).map_err(|error| unreadable(directory, &format!("entry {index}: {error}")))?;
    let mut disclosed = Map::new();
    if !entry.disclosures.is_empty() {
        let path = entry.id.content_path();
        let file = files.read(&path).map_err(|error| unreadable(directory, &error))?;
        let content = file.map(|file| Content::parse(&file)).transpose();
        let content = content.map_err(|error| unreadable(&directory.join(&path), &error))?;
        for disclosure in content.iter().flat_map(|content| &content.disclosures) {
            let is_of_entry = entry.disclosures.contains(&disclosure.digest());
            let value = disclosure.value().ok().filter(|_| is_of_entry);
            disclosed.extend(value);
        }
    }
    Ok(Shown { entry, disclosed })
}

fn one(shown: &Shown, format: Listing) -> Result<String> {
    match format {
        Listing::Json => output::json(shown),
        Listing::Yaml => output::yaml(shown),
        Listing::Table | Listing::Wide => Ok(page(shown)),
    }
}

fn many(shown: &[Shown], format: Listing) -> Result<String> {
    match format {
        Listing::Json => output::json(&shown),
        Listing::Yaml => output::yaml(&shown),
        Listing::Table | Listing::Wide => Ok(rows(shown, format == Listing::Wide)),
    }
}

fn rows(shown: &[Shown], wide: bool) -> String {
    let mut header = vec![("INDEX", 0), ("RECORDED", 2), ("KIND", 0), ("ABOUT", 0), ("WHAT", 0)];
    if wide {
        header.push(("ID", 0));
    }
    let cells = |Shown { entry, .. }: &Shown| {
        let (about, what) = entry.fact.in_words();
        let mut cells = vec![
            Cell::new(PLAIN, &entry.index.to_string()),
            Cell::new(FAINT, &entry.recorded.to_string()),
            Cell::new(PLAIN, entry.fact.kind()),
            Cell::new(PLAIN, &about),
            Cell::new(PLAIN, &what),
        ];
        if wide {
            cells.push(Cell::new(FAINT, entry.id.as_str()));
        }
        cells
    };
    table(&header, &shown.iter().map(cells).collect::<Vec<_>>())
}

fn page(Shown { entry, disclosed }: &Shown) -> String {
    let (about, what) = entry.fact.in_words();
    let mut page = Page::default();
    page.field("Entry", &format!("{} ({})", entry.index, entry.id));
    page.field("Recorded", &entry.recorded.to_string());
    page.field("Kind", entry.fact.kind());
    page.field("About", &about);
    page.field("What", &what);
    if !entry.rests_on.is_empty() {
        page.field(
            "Rests on",
            &entry.rests_on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        );
    }
    for (name, value) in disclosed {
        page.field(name, &value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
    }
    let erased = entry.disclosures.len().saturating_sub(disclosed.len());
    if erased > 0 {
        page.styled_field("Not disclosed", FAINT, &format!("{erased} values"));
    }
    page.finish()
}
