//! Manifests as people keep them: files, directories and standard input, many documents in one, and lists.
//!
//! ```text
//!  -f FILE | DIR | - ──► documents ──► items of lists ──► Manifest   where it stands, what it says
//! ```

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use serde_saphyr::Spanned;

use crate::{
    api::GROUP,
    cli::error::{Error, Result},
};

/// What kubectl takes for manifests.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What makes a directory one that Kustomize builds.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// An object and where it was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file; `-`: standard input.
    pub path: String,
    /// The line on which its document begins, from 1.
    pub line: u64,
    /// The object.
    pub value: Value,
}

impl Manifest {
    /// A string that it has at a JSON pointer.
    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is of a kind of Assent's.
    pub fn is_ours(&self) -> bool {
        self.text("/apiVersion").split('/').next() == Some(GROUP)
    }

    /// Its kind in words, and its name, as kubectl has them: `deployment/credit-scorer`.
    pub fn object(&self) -> String {
        format!("{}/{}", self.text("/kind").to_lowercase(), self.text("/metadata/name"))
    }
}

/// Reads all that is there, in the order of the paths and of the names in a directory.
pub fn read(paths: &[PathBuf], recursive: bool) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(unreadable("-"))?;
            manifests.extend(parse("-", &text)?);
            continue;
        }
        for file in files(path, recursive)? {
            let name = file.display().to_string();
            let text = fs::read_to_string(&file).map_err(unreadable(&name))?;
            manifests.extend(parse(&name, &text)?);
        }
    }
    Ok(manifests)
}

/// The file itself, or the manifests of a directory.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if KUSTOMIZATIONS.iter().any(|name| path.join(name).is_file()) {
        return Err(Error::Kustomization { path: path.display().to_string() });
    }
    let failed = || unreadable(&path.display().to_string());
    let entries = fs::read_dir(path).map_err(failed())?.collect::<Result<Vec<_>, _>>().map_err(failed())?;
    let mut entries: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let extension = entry.extension().and_then(|extension| extension.to_str());
        if entry.is_dir() && recursive {
            found.extend(files(&entry, recursive)?);
        } else if entry.is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            found.push(entry);
        }
    }
    Ok(found)
}

fn unreadable(path: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |error| Error::Manifest { path, why: error.to_string() }
}

fn parse(path: &str, text: &str) -> Result<Vec<Manifest>> {
    let documents = serde_saphyr::from_multiple::<Spanned<Value>>(text);
    let documents =
        documents.map_err(|error| Error::Manifest { path: path.to_owned(), why: error.to_string() })?;
    let mut manifests = Vec::new();
    for document in documents {
        unroll(path, document.referenced.line(), document.value, &mut manifests);
    }
    Ok(manifests)
}

/// The object, or those of a list.
fn unroll(path: &str, line: u64, mut value: Value, manifests: &mut Vec<Manifest>) {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => {
            for item in items {
                unroll(path, line, item, manifests);
            }
        }
        _ => manifests.push(Manifest { path: path.to_owned(), line, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_with_the_lines_that_they_begin_on() {
        let text = "# a comment\nkind: A\nmetadata: { name: a }\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n";
        let found = parse("x.yaml", text).expect("YAML");
        let found: Vec<_> = found.iter().map(|m| (m.text("/kind"), m.line)).collect();
        assert_eq!(found, [("A", 2), ("B", 6), ("C", 6)]);
    }

    #[test]
    fn what_is_no_yaml_is_told_of_with_its_place() {
        let error = parse("x.yaml", "kind: {{ .Values.kind }}\n").expect_err("a template of Helm");
        assert!(error.to_string().contains("x.yaml"), "{error}");
    }
}
