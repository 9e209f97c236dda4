//! Reads manifests from files, directories and standard input. A file can contain several YAML documents, and lists of
//! objects.
//!
//! The YAML rules are those of kubectl. `0700` is octal, and `yes` and `on` are true. Merge keys and anchors work. A
//! duplicate key is an error.
//!
//! ```text
//!  -f FILE | DIR | - ──► YAML documents ──► objects, also the items of lists ──► Manifest
//! ```

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::located::Located;
use crate::{
    api::GROUP,
    cli::{
        error::{Error, Next, Result},
        render::shell::{CommandLine, quoted},
    },
};

/// The extensions of the files that kubectl reads.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// [`read`] refuses a directory with one of these files. Kustomize builds manifests from such a directory, and these
/// manifests differ from the files.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file, or `-` for standard input.
    pub path: String,
    /// The number of the first line of the object. The file begins at line 1.
    pub line: u64,
    pub value: Value,
    /// The object with the line number of each value. `None` only in tests that create a manifest without a YAML
    /// document.
    pub located: Option<Arc<Located>>,
}

impl Manifest {
    /// The string at a JSON pointer. Empty if there is no string.
    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn is_of_assent(&self) -> bool {
        self.text("/apiVersion").split('/').next() == Some(GROUP)
    }

    pub fn line_at(&self, pointer: &str) -> u64 {
        self.located.as_ref().map_or(self.line, |located| located.line_at(pointer))
    }

    /// The kind and the name as kubectl writes them, such as `deployment/credit-scorer`.
    pub fn object(&self) -> String {
        format!("{}/{}", self.text("/kind").to_lowercase(), self.text("/metadata/name"))
    }
}

/// Reads all manifests, in the order of the paths. The files of a directory are sorted by name. `piped` is the command
/// that the user typed, but with `-f -`. For Kustomize or Helm, an error proposes to pipe the output of the tool into
/// `piped`.
pub fn read(paths: &[PathBuf], recursive: bool, piped: &CommandLine) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(unreadable("-", piped))?;
            manifests.extend(parse("-", &text, piped)?);
            continue;
        }
        for file in files(path, recursive, piped)? {
            let name = file.display().to_string();
            let text = fs::read_to_string(&file).map_err(unreadable(&name, piped))?;
            manifests.extend(parse(&name, &text, piped)?);
        }
    }
    Ok(manifests)
}

/// The files to read: `path` itself or, if `path` is a directory, the manifest files in it. With `recursive`, also the
/// manifest files in subdirectories.
fn files(path: &Path, recursive: bool, piped: &CommandLine) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if KUSTOMIZATIONS.iter().any(|name| path.join(name).is_file()) {
        let path = path.display().to_string();
        let command = format!("kubectl kustomize {} | {piped}", quoted(&path));
        return Err(Error::Kustomization { path, command });
    }
    let name = path.display().to_string();
    let failed = || unreadable(&name, piped);
    let entries = fs::read_dir(path).map_err(failed())?.collect::<Result<Vec<_>, _>>().map_err(failed())?;
    let mut entries: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let extension = entry.extension().and_then(|extension| extension.to_str());
        if entry.is_dir() && recursive {
            found.extend(files(&entry, recursive, piped)?);
        } else if entry.is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            found.push(entry);
        }
    }
    Ok(found)
}

fn unreadable<E: ToString>(path: &str, piped: &CommandLine) -> impl FnOnce(E) -> Error {
    move |error| {
        let (path, why) = (path.to_owned(), error.to_string());
        let is_template = why.contains("{{") || path.contains("templates/");
        let next = is_template
            .then(|| Next::new(format!("helm template CHART | {piped}"), "if this is a Helm template"));
        Error::Manifest { path, why, next: next.into_iter().collect() }
    }
}

fn parse(path: &str, text: &str, piped: &CommandLine) -> Result<Vec<Manifest>> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let documents = serde_saphyr::from_multiple_with_options::<Located>(text, options);
    let of_helm = if text.contains("{{") { "; it has {{, so it may be a Helm template" } else { "" };
    let documents =
        documents.map_err(|error| format!("{error}{of_helm}")).map_err(unreadable(path, piped))?;
    let mut manifests = Vec::new();
    for document in documents {
        flatten(path, document, &mut manifests);
    }
    Ok(manifests)
}

/// Adds `object` to `manifests`. If the object is a list such as `kind: List`, adds its items instead.
fn flatten(path: &str, object: Located, manifests: &mut Vec<Manifest>) {
    let is_list = object.get("kind").and_then(Located::text).is_some_and(|kind| kind.ends_with("List"));
    if is_list && object.get("items").is_some_and(Located::is_list) {
        for item in object.take("items").map(Located::items).unwrap_or_default() {
            flatten(path, item, manifests);
        }
        return;
    }
    let (line, value) = (object.line(), object.value());
    manifests.push(Manifest { path: path.to_owned(), line, value, located: Some(Arc::new(object)) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::PLACE;

    fn parse(path: &str, text: &str) -> Result<Vec<Manifest>> {
        super::parse(path, text, &CommandLine::new("check", &[], PLACE).with("-f", ["-"]))
    }

    #[test]
    fn error_of_a_helm_template_proposes_the_typed_command() {
        let error = parse("x.yaml", "kind: {{ .Values.kind }}\n").expect_err("a Helm template");
        let [next] = &error.next()[..] else { panic!("{error}") };
        assert_eq!(next.command, "helm template CHART | kubectl assent check -f - -n lending");
    }

    #[test]
    fn objects_of_documents_and_lists_have_their_first_line() {
        let text = "# a comment\nkind: A\nmetadata: { name: a }\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n";
        let found = parse("x.yaml", text).expect("YAML");
        let found: Vec<_> = found.iter().map(|m| (m.text("/kind"), m.line)).collect();
        assert_eq!(found, [("A", 2), ("B", 8), ("C", 9)]);
    }

    #[test]
    fn yaml_is_read_as_kubectl_reads_it() {
        let text = "mode: 0777\nshort: 0700\nreadOnly: yes\nenabled: on\nname: \"0777\"\n\
            base: &base { a: 1, b: 2 }\nderived: { <<: *base, b: 3 }\nagain: *base\n";
        let found = parse("x.yaml", text).expect("YAML").remove(0).value;
        let wanted = serde_json::json!({ "mode": 511, "short": 448, "readOnly": true, "enabled": true,
            "name": "0777", "base": { "a": 1, "b": 2 }, "derived": { "a": 1, "b": 3 }, "again": { "a": 1, "b": 2 } });
        assert_eq!(found, wanted);
        let twice = parse("x.yaml", "a: 1\na: 2\n").expect_err("a duplicate key").to_string();
        assert!(twice.contains("duplicate") && twice.contains("line 2"), "{twice}");
    }

    #[test]
    fn error_of_invalid_yaml_names_the_file() {
        let error = parse("x.yaml", "kind: {{ .Values.kind }}\n").expect_err("a Helm template");
        assert!(error.to_string().contains("x.yaml") && !error.to_string().contains('\n'), "{error}");
    }
}
