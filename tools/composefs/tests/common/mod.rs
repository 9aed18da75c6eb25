// SPDX-License-Identifier: GPL-2.0-only
//! Images as builders make them, in directories, and the command that is tested.
#![allow(dead_code, reason = "not every test uses all of it")]

pub mod kill;
pub mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub fn sha256(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A layer that is being made.
pub struct Layer(tar::Builder<Vec<u8>>);

/// How it is compressed.
#[derive(Clone, Copy)]
pub enum By {
    Nothing,
    Gzip,
    /// In two members, one after the other.
    GzipTwice,
    Zstd,
}

impl Layer {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub fn entry(
        mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: &str,
        data: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_234_567_890);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(data.len() as u64);
        if !link.is_empty() {
            self.0.append_link(&mut header, path, link).expect("link");
        } else {
            self.0.append_data(&mut header, path, data).expect("entry");
        }
        self
    }

    pub fn dir(self, path: &str) -> Self {
        self.entry(path, tar::EntryType::Directory, 0o755, "", b"")
    }

    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, 0o644, "", data)
    }

    pub fn hard_link(self, path: &str, to: &str) -> Self {
        self.entry(path, tar::EntryType::Link, 0o644, to, b"")
    }

    pub fn symlink(self, path: &str, to: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, 0o777, to, b"")
    }

    /// A device, with major and minor number.
    pub fn device(mut self, path: &str, kind: tar::EntryType, number: (u32, u32)) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o660);
        header.set_mtime(1_234_567_890);
        header.set_uid(70_000);
        header.set_gid(6);
        header.set_size(0);
        header.set_device_major(number.0).expect("major number");
        header.set_device_minor(number.1).expect("minor number");
        let added = self.0.append_data(&mut header, path, std::io::empty());
        added.expect("entry");
        self
    }

    /// What is said in PAX records of the entry that comes next.
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let records = records.iter().copied();
        self.0.append_pax_extensions(records).expect("records");
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("archive")
    }
}

/// An archive of one file in GNU's old form for those with holes: `size` bytes, and as many of a hole.
pub fn sparse(path: &str, size: usize) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path).expect("path");
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size as u64);
    let mut bytes = header.as_bytes().to_vec();
    for (at, value) in [(386, size), (398, size), (483, 2 * size)] {
        bytes[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
    }
    set_sum(&mut bytes);
    bytes.resize(512 + size, b's');
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

/// The sum in the header that an archive begins with is that of its bytes.
pub fn set_sum(archive: &mut [u8]) {
    archive[148..156].fill(b' ');
    let sum: u32 = archive[..512].iter().map(|&byte| u32::from(byte)).sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A directory as OCI lays it out.
pub struct Layout {
    pub path: PathBuf,
}

/// What is in one image.
#[derive(Clone)]
pub struct Made {
    pub manifest: String,
    /// The layers' blobs, the lowest first.
    pub layers: Vec<String>,
}

impl Layout {
    pub fn new(path: &Path) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).expect("layout");
        Self {
            path: path.to_owned(),
        }
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    pub fn blob(&self, data: &[u8], kind: &str) -> serde_json::Value {
        let digest = format!("sha256:{}", sha256(data));
        fs::write(self.blob_path(&digest), data).expect("blob");
        serde_json::json!({"mediaType": kind, "digest": digest, "size": data.len()})
    }

    /// Makes an image of layers, and gives it the tag `t`.
    pub fn image(&self, layers: &[(Vec<u8>, By)]) -> Made {
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|(layer, _)| format!("sha256:{}", sha256(layer)))
            .collect();
        self.image_with(layers, &diff_ids)
    }

    pub fn image_with(&self, layers: &[(Vec<u8>, By)], diff_ids: &[String]) -> Made {
        let blobs: Vec<_> = layers
            .iter()
            .map(|(layer, by)| match by {
                By::Nothing => self.blob(layer, PLAIN),
                By::Gzip => self.blob(&gzip(layer), GZIP),
                By::GzipTwice => {
                    let (first, second) = layer.split_at(layer.len() / 2);
                    self.blob(&[gzip(first), gzip(second)].concat(), GZIP)
                }
                By::Zstd => self.blob(&zstd::encode_all(layer.as_slice(), 3).expect("zstd"), ZSTD),
            })
            .collect();
        let config = serde_json::json!({
            "architecture": architecture(), "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.blob(config.to_string().as_bytes(), CONFIG);
        self.manifest(&config, &blobs, serde_json::json!({}))
    }

    /// Makes an artifact of blobs and their types, and gives it the tag `t`.
    pub fn artifact(&self, config: (&[u8], &str), blobs: &[(&[u8], &str)]) -> Made {
        let config = self.blob(config.0, config.1);
        let blobs: Vec<_> = blobs
            .iter()
            .map(|(data, kind)| self.blob(data, kind))
            .collect();
        let more = serde_json::json!({"artifactType": "application/vnd.example.thing"});
        self.manifest(&config, &blobs, more)
    }

    fn manifest(
        &self,
        config: &serde_json::Value,
        blobs: &[serde_json::Value],
        more: serde_json::Value,
    ) -> Made {
        let mut manifest = more;
        manifest["schemaVersion"] = 2.into();
        manifest["mediaType"] = MANIFEST.into();
        manifest["config"] = config.clone();
        manifest["layers"] = blobs.into();
        let mut manifest = self.blob(manifest.to_string().as_bytes(), MANIFEST);
        let digest = manifest["digest"].as_str().expect("digest").to_owned();
        manifest["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "t"});
        // Without it, composefs-rs takes an artifact for one of another machine.
        manifest["platform"] = serde_json::json!({"architecture": architecture(), "os": "linux"});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(self.path.join("index.json"), index.to_string()).expect("index");
        fs::write(
            self.path.join("oci-layout"),
            "{\"imageLayoutVersion\": \"1.0.0\"}",
        )
        .expect("layout");
        let layers = blobs
            .iter()
            .map(|blob| blob["digest"].as_str().expect("digest").to_owned());
        Made {
            manifest: digest,
            layers: layers.collect(),
        }
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).expect("gzip");
    encoder.finish().expect("gzip")
}

/// Layers with all that archives have and images show.
pub fn odd_layers() -> Vec<(Vec<u8>, By)> {
    let first = Layer::new()
        .dir("./")
        .dir("usr/")
        .dir("usr/bin")
        .dir("run")
        .dir("run/x")
        .dir("opaque")
        .dir("opaque/sub")
        .dir("gone")
        .file("usr/bin/large", &[b'L'; 100_000])
        .file("usr/bin/64", &[b'a'; 64])
        .file("usr/bin/65", &[b'b'; 65])
        .file("usr/bin/empty", b"")
        .hard_link("usr/bin/link", "usr/bin/large")
        .symlink("usr/bin/sym", "../large")
        .file("run/x/y", &[b'y'; 1000])
        .file("opaque/sub/a", &[b'1'; 99])
        .file("gone/f", b"g")
        .file(&format!("usr/{}", "n".repeat(200)), &[b'n'; 300])
        .entry("usr/fifo", tar::EntryType::Fifo, 0o600, "", b"");
    let second = Layer::new()
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", &[b'n'; 300])
        .file(".wh.gone", b"")
        .file("usr/bin/.wh.64", b"")
        .hard_link("usr/bin/again", "/usr/bin/large")
        .dir("usr/bin/sym")
        .file("usr/bin/sym/inside", &[b'i'; 70]);
    let third = Layer::new()
        .symlink("usr/bin/empty", "x")
        .file("usr/fifo", &[b'f'; 5000])
        .dir("00")
        .hard_link("aa", "usr/bin/large");
    vec![
        (first.bytes(), By::GzipTwice),
        (second.bytes(), By::Zstd),
        (third.bytes(), By::Nothing),
    ]
}

/// Runs the command on a repository.
pub fn composefs(repository: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_composefs"))
        .arg("--repo")
        .arg(repository)
        .args(arguments)
        .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
        .output()
        .expect("composefs runs")
}

/// What it prints, if it succeeds.
pub fn ok(repository: &Path, arguments: &[&str]) -> String {
    let output = composefs(repository, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{arguments:?}: {error}{text}");
    text
}

/// What it says of why it fails: one line, exit status 1, nothing printed.
pub fn fails(repository: &Path, arguments: &[&str]) -> String {
    let output = composefs(repository, arguments);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    assert!(error.starts_with("composefs: "), "{error}");
    error.trim_end().to_owned()
}

/// A directory in memory, if there is such: what is made and removed hundreds of times would wait for the
/// disk each time.
pub fn quick_directory() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).expect("directory")
}

/// A repository that does without fs-verity, which the test's file system need not have.
pub fn repository(dir: &Path) -> PathBuf {
    let path = dir.join("repository");
    ok(&path, &["init", "--insecure"]);
    path
}

/// All that is in a directory, by path.
pub fn everything(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).expect("directory") {
            let path = entry.expect("entry").path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All of a repository: its files, and where its links lead.
pub fn state(repository: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    everything(repository)
        .into_iter()
        .map(|path| {
            let what = match fs::read_link(&path) {
                Ok(target) => target.into_os_string().into_encoded_bytes(),
                Err(_) => fs::read(&path).expect("file"),
            };
            (path, what)
        })
        .collect()
}

/// Replaces a file; the file system of the test may have fs-verity, with which nothing can be written to it.
pub fn damage(path: &Path) {
    let mut content = fs::read(path).expect("object");
    match content.first_mut() {
        Some(byte) => *byte = byte.wrapping_add(1),
        None => content.push(1),
    }
    fs::remove_file(path).expect("removed");
    fs::write(path, content).expect("written");
}
