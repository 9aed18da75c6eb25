// SPDX-License-Identifier: GPL-2.0-only
//! Images as builders make them, and as they should not.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

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

/// The header of an entry of `size` bytes, of root.
fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_234_567_890);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size as u64);
    header
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
        let mut header = header(kind, mode, data.len());
        if !link.is_empty() {
            self.0.append_link(&mut header, path, link).expect("link");
        } else {
            self.0.append_data(&mut header, path, data).expect("entry");
        }
        self
    }

    /// An entry with this very path, and this very target, whatever they are: no builder would take them.
    pub fn raw(mut self, path: &[u8], kind: tar::EntryType, link: &[u8], data: &[u8]) -> Self {
        let mut header = header(kind, 0o755, data.len());
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.append(&header, data).expect("entry");
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
        let mut header = header(kind, 0o660, 0);
        header.set_uid(70_000);
        header.set_gid(6);
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

    /// What it is called for `pull`.
    pub fn name(&self) -> String {
        format!("oci:{}", self.path.display())
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

    /// Makes a layer of what `write` gives, however large it is; gives its blob and its digest when
    /// decompressed.
    pub fn large_layer(&self, write: impl FnOnce(&mut dyn Write)) -> (serde_json::Value, String) {
        let path = self.path.join("blobs/large");
        let file = fs::File::create(&path).expect("blob");
        let blob = Hashing::new(std::io::BufWriter::new(file));
        let mut archive = Hashing::new(zstd::Encoder::new(blob, 1).expect("zstd"));
        write(&mut archive);
        let diff_id = archive.digest();
        let mut blob = archive.inner.finish().expect("zstd");
        blob.flush().expect("blob");
        let (size, digest) = (blob.size, blob.digest());
        fs::rename(path, self.blob_path(&digest)).expect("blob");
        let blob = serde_json::json!({"mediaType": ZSTD, "digest": digest, "size": size});
        (blob, diff_id)
    }

    /// Makes an image of layers, and gives it the tag `t`.
    pub fn image(&self, layers: &[(Vec<u8>, By)]) -> Made {
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|(layer, _)| format!("sha256:{}", sha256(layer)))
            .collect();
        self.image_with(layers, &diff_ids)
    }

    /// The same, of layers whose digests are said to be these when decompressed.
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
        self.image_of(&blobs, diff_ids)
    }

    /// The same, of blobs that are there.
    pub fn image_of(&self, blobs: &[serde_json::Value], diff_ids: &[String]) -> Made {
        let config = serde_json::json!({
            "architecture": architecture(), "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.blob(config.to_string().as_bytes(), CONFIG);
        self.manifest(&config, blobs, serde_json::json!({}))
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

/// Hashes what goes through it.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            size: 0,
        }
    }

    fn digest(&self) -> String {
        let digits = self.hasher.clone().finalize();
        let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digits}")
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.inner.write_all(data)?;
        self.hasher.update(data);
        self.size += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
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

/// Layers whose entries want each other's place.
pub fn clashes() -> Vec<(Vec<u8>, By)> {
    // composefs-rs wants it.
    let first = Layer::new()
        .dir("usr")
        .dir("both")
        .file("both/one", &[b'1'; 100])
        .file("twice", &[b'a'; 100])
        .file("twice", &[b'b'; 100])
        .dir("dir")
        .file("dir/gone", &[b'g'; 100])
        .file("file", &[b'f'; 100])
        .symlink("link", "/etc")
        .dir("dir-to-link")
        .file("dir-to-link/gone", b"g")
        .hard_link("old-name", "file")
        .dir("whiteout")
        .file("whiteout/a", b"a")
        .file("whiteout/.wh.a", b"");
    let second = Layer::new()
        .dir("both")
        .file("both/two", &[b'2'; 100])
        .file("dir", b"now a file")
        .dir("file")
        .file("file/in", b"in")
        .dir("link")
        .file("link/in", b"in")
        .symlink("dir-to-link", "/etc")
        .file("twice", b"the last")
        .file("whiteout/b", b"b");
    vec![(first.bytes(), By::Gzip), (second.bytes(), By::Zstd)]
}
