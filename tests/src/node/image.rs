//! Builds container images with one layer as OCI layout archives, because the tests have no registry.
//!
//! ```text
//! files ──> layer.tar ──> config ──> manifest ──> index ──> archive for `ctr images import`
//!                                       └──> the digest in the image reference of pods
//! ```

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub struct Image {
    pub archive: Vec<u8>,
    pub digest: String,
}

/// A file of an image: its path without the leading slash, its mode and its content.
pub type File<'a> = (&'a str, u32, &'a [u8]);

/// Builds an image with `files` that starts `entrypoint`. containerd knows the image by each of `names`, and by each
/// name with the digest instead of the tag.
pub fn image(names: &[&str], entrypoint: &[&str], files: &[File<'_>]) -> Image {
    let mut layer = Tar::default();
    for directory in ["etc", "tmp", "dev", "proc", "sys", "var"] {
        layer.directory(directory);
    }
    for (path, mode, content) in files {
        layer.directories_of(path);
        layer.file(path, *mode, content);
    }
    let layer = layer.end();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = bytes(&json!({ "architecture": arch, "os": "linux",
        "config": { "Entrypoint": entrypoint, "Env": ["PATH=/"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] } }));
    let manifest =
        bytes(&json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)] }));
    let digest = digest(&manifest);
    let references = names.iter().flat_map(|name| {
        let (repository, _) = name.rsplit_once(':').unwrap_or((name, ""));
        [(*name).to_owned(), format!("{repository}@{digest}")]
    });
    let manifests: Vec<Value> = references
        .map(|name| {
            let mut of = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
            of["annotations"] = json!({ "io.containerd.image.name": name });
            of
        })
        .collect();
    let mut archive = Tar::default();
    archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    archive.file("index.json", 0o644, &bytes(&json!({ "schemaVersion": 2, "manifests": manifests })));
    for blob in [&layer, &config, &manifest] {
        archive.file(&format!("blobs/sha256/{}", hex(blob)), 0o644, blob);
    }
    Image { archive: archive.end(), digest }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", hex(blob))
}

fn hex(blob: &[u8]) -> String {
    Sha256::digest(blob).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// An archive in the ustar format. Paths have at most 100 bytes, and root owns all files.
#[derive(Default)]
struct Tar {
    bytes: Vec<u8>,
    directories: Vec<String>,
}

/// Each entry of an archive is padded to a multiple of this size, in bytes.
const BLOCK: usize = 512;

impl Tar {
    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, mode, b'0', content);
    }

    fn directory(&mut self, path: &str) {
        if !self.directories.iter().any(|known| known == path) {
            self.directories.push(path.to_owned());
            self.entry(path, 0o755, b'5', &[]);
        }
    }

    fn directories_of(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            self.directory(&path[..end]);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, kind: u8, content: &[u8]) {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        // While the checksum is computed, its own field contains spaces.
        put(148, "        ");
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(header);
        self.bytes.extend(content);
        self.pad(BLOCK);
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 2 * BLOCK]);
        self.bytes
    }
}
