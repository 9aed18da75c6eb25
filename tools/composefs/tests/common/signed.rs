// SPDX-License-Identifier: GPL-2.0-only
//! Images that are signed by openssl, in registries: made here part by part, for others to change.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{json, Value};

use super::hub::Hub;
use super::image::MANIFEST;
use super::pki::Pki;
use super::{everything, fails, odd_layers, ok, sha256, By, Layer, Layout, Made};

pub const PLAIN: &str = "--tls-verify=false";
pub const METADATA: &str = "application/vnd.composefs.metadata.v1";
pub const PKCS7: &str = "application/vnd.composefs.signature.v1+pkcs7";
pub const MERGED: &str = "composefs.merged.erofs.v1.fsverity-sha256-12";
pub const CONFIG_KEY: &str = "composefs.config.fsverity-sha256-12";
pub const MANIFEST_KEY: &str = "composefs.manifest.fsverity-sha256-12";

/// Two images, what is to be signed of them, and keys.
pub struct World {
    pub dir: tempfile::TempDir,
    pub pki: Pki,
    pub good: Image,
    pub evil: Image,
}

/// An image, and the digests that are signed of it, by their keys.
pub struct Image {
    pub layout: PathBuf,
    pub made: Made,
    pub digests: Vec<(&'static str, String)>,
}

impl World {
    pub fn new() -> Self {
        let dir = super::quick_directory();
        let pki = Pki::new(dir.path(), &["signer", "other"]);
        let evil = [(
            Layer::new()
                .dir("usr")
                .file("usr/evil", &[b'e'; 500])
                .bytes(),
            By::Gzip,
        )];
        let image = |name: &str, layers: &[(Vec<u8>, By)]| {
            let layout = Layout::new(&dir.path().join(name));
            let made = layout.image(layers);
            let to = dir.path().join(format!("{name}-repository"));
            ok(&to, &["init", "--insecure"]);
            ok(&to, &["pull", &layout.name(), "image"]);
            let signed = dir.path().join(format!("{name}-to-sign"));
            ok(
                &to,
                &["sign", "image", "--to-sign", signed.to_str().expect("text")],
            );
            let keys = [
                ("manifest", MANIFEST_KEY),
                ("config", CONFIG_KEY),
                ("merged", MERGED),
            ];
            let digests = keys.map(|(name, key)| {
                let data = fs::read(signed.join(name)).expect("data");
                let hex = data[12..].iter().map(|byte| format!("{byte:02x}"));
                (key, hex.collect())
            });
            let (layout, digests) = (layout.path, digests.to_vec());
            Image {
                layout,
                made,
                digests,
            }
        };
        let (good, evil) = (image("good", &odd_layers()), image("evil", &evil));
        Self {
            dir,
            pki,
            good,
            evil,
        }
    }

    /// What signatures are of: those of the good image, by the signer.
    pub fn seals(&self) -> Vec<Seal> {
        let digests = self.good.digests.iter();
        let seal = |(key, digest): &(&'static str, String)| Seal {
            key,
            digest: digest.clone(),
            signature: self.pki.cms(digest, "signer"),
        };
        digests.map(seal).collect()
    }

    pub fn digest(&self, image: &Image, key: &str) -> String {
        let mut digests = image.digests.iter();
        digests
            .find(|(found, _)| *found == key)
            .expect("digest")
            .1
            .clone()
    }

    /// Pulls from a registry, with a certificate; what is said.
    pub fn pull(&self, hub: &Hub, fails_with: Option<&str>) -> String {
        let to = self.dir.path().join("pulled");
        let _ = fs::remove_dir_all(&to);
        ok(&to, &["init", "--insecure"]);
        let cert = self.pki.path("signer.crt");
        let name = hub.name("some/image");
        let pull = [
            "pull",
            &name,
            "image",
            PLAIN,
            "--require-signature",
            "--cert",
            &cert,
        ];
        let Some(want) = fails_with else {
            return ok(&to, &pull);
        };
        let error = fails(&to, &pull);
        assert!(error.contains(want), "{want}: {error}");
        assert!(error.len() < 2000, "{error}");
        expect_nothing(&to);
        error
    }
}

/// There is no name of anything, and nothing that stays.
pub fn expect_nothing(repository: &Path) {
    assert_eq!(ok(repository, &["images"]).lines().count(), 1);
    for dir in ["streams/refs", "images"] {
        let dir = repository.join(dir);
        assert!(!dir.exists() || everything(&dir).is_empty(), "{dir:?}");
    }
    ok(repository, &["fsck", "--contents"]);
    ok(repository, &["gc"]);
    assert_eq!(everything(repository), [repository.join("meta.json")]);
}

/// A signature that an artifact has.
#[derive(Clone)]
pub struct Seal {
    pub key: &'static str,
    pub digest: String,
    pub signature: Vec<u8>,
}

/// Puts an image into a registry under its tag.
pub fn put_image(hub: &Hub, image: &Image) {
    for path in everything(&image.layout.join("blobs/sha256")) {
        hub.put("some/image", &fs::read(path).expect("blob"), None);
    }
    let blobs = image.layout.join("blobs/sha256");
    let text = fs::read(blobs.join(&image.made.manifest[7..])).expect("manifest");
    put_manifest(hub, &text);
}

pub fn put_manifest(hub: &Hub, text: &[u8]) {
    hub.put("some/image", text, Some(MANIFEST));
    let mut stored = hub.stored.lock().expect("registry");
    let key = ("some/image".to_owned(), "latest".to_owned());
    stored.manifests.insert(key, (MANIFEST.into(), text.into()));
}

/// Puts an artifact of signatures into a registry, as `change` has its manifest.
pub fn put_artifact(
    hub: &Hub,
    subject: &Made,
    seals: &[Seal],
    change: impl Fn(&mut Value),
) -> String {
    hub.put("some/image", b"{}", None);
    let layers: Vec<_> = seals
        .iter()
        .map(|seal| {
            let digest = hub.put("some/image", &seal.signature, None);
            json!({"mediaType": PKCS7, "digest": digest, "size": seal.signature.len(),
                   "annotations": {seal.key: seal.digest}})
        })
        .collect();
    let empty = format!("sha256:{}", sha256(b"{}"));
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": METADATA,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": layers,
        "subject": {"mediaType": MANIFEST, "digest": subject.manifest, "size": 1},
    });
    change(&mut manifest);
    hub.put(
        "some/image",
        manifest.to_string().as_bytes(),
        Some(MANIFEST),
    )
}

pub fn no_layer_was_asked_for(hub: &Hub, image: &Image) {
    for layer in &image.made.layers {
        assert_eq!(hub.count("GET", layer), 0);
    }
}
