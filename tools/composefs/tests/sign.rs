// SPDX-License-Identifier: GPL-2.0-only
//! Images that are signed, and whose signatures are looked at.

mod common;

use std::fs;
use std::path::Path;

use common::pki::Pki;
use common::{everything, fails, odd_layers, ok, pulled, Pulled};

/// An image that was pulled, and keys.
fn set_up() -> (Pulled, Pki) {
    let pulled = pulled(&odd_layers());
    let pki = Pki::new(pulled.dir.path(), &["signer", "other"]);
    (pulled, pki)
}

/// Signs the image as `name`.
fn sign(pulled: &Pulled, pki: &Pki, name: &str, more: &[&str]) -> String {
    let (key, cert) = (
        pki.path(&format!("{name}.key")),
        pki.path(&format!("{name}.crt")),
    );
    let arguments = ["sign", "image", "--key", &key, "--cert", &cert];
    ok(&pulled.repository, &[&arguments, more].concat())
        .trim()
        .to_owned()
}

fn inspect(repository: &Path) -> serde_json::Value {
    serde_json::from_str(&ok(repository, &["inspect", "image"])).expect("JSON")
}

#[test]
fn an_image_is_signed_and_stays_as_it_is() {
    let (pulled, pki) = set_up();
    let repository = &pulled.repository;
    let cert = pki.path("signer.crt");
    let verify = ["verify", "image", "--cert", &cert];
    assert!(
        fails(repository, &verify).ends_with("it is not signed, or its signatures are not here")
    );
    let artifact = sign(&pulled, &pki, "signer", &[]);
    assert_eq!(
        inspect(repository)["manifest_digest"],
        *pulled.made.manifest
    );
    let digest = ok(repository, &["digest", "image"]);
    let said = ok(repository, &verify);
    assert!(
        said.starts_with(&format!(
            "'image': sha256:{} is signed by 'CN=signer,O=Test'",
            digest.trim()
        )),
        "{said}"
    );
    let other = pki.path("other.crt");
    let error = fails(repository, &["verify", "image", "--cert", &other]);
    assert!(
        error.contains(&artifact) && error.contains("unknown signer"),
        "{error}"
    );
    // Directories of certificates are keyrings.
    let keyring = pulled.dir.path().join("keyring");
    fs::create_dir(&keyring).expect("directory");
    let dir = keyring.to_str().expect("text");
    let error = fails(repository, &["verify", "image", "--keyring", dir]);
    assert!(
        error.ends_with("has no certificates, so nobody is trusted"),
        "{error}"
    );
    fs::copy(&cert, keyring.join("a.crt")).expect("copied");
    ok(repository, &["verify", "image", "--keyring", dir]);
    // All that an artifact is: one manifest, one configuration, three signatures.
    let text = ok(
        repository,
        &["inspect", "--manifest", &format!("@{artifact}")],
    );
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.composefs.metadata.v1"
    );
    assert_eq!(manifest["subject"]["digest"], *pulled.made.manifest);
    let layers = manifest["layers"].as_array().expect("layers");
    let keys = layers.iter().map(|layer| {
        assert_eq!(
            layer["mediaType"],
            "application/vnd.composefs.signature.v1+pkcs7"
        );
        let annotations = layer["annotations"].as_object().expect("annotations");
        annotations.keys().next().expect("one").as_str()
    });
    let want = [
        "composefs.manifest.fsverity-sha256-12",
        "composefs.config.fsverity-sha256-12",
        "composefs.merged.erofs.v1.fsverity-sha256-12",
    ];
    assert_eq!(keys.collect::<Vec<_>>(), want);
    assert_eq!(layers[2]["annotations"][want[2]], *digest.trim());
}

/// In both versions of the format, and with both algorithms, they are of what is mounted there.
#[test]
fn signatures_are_of_what_is_mounted() {
    let (pulled, pki) = set_up();
    let cert = pki.path("signer.crt");
    for (algorithm, versions, key) in [
        (
            "sha256",
            "2",
            "composefs.merged.erofs.v2.fsverity-sha256-12",
        ),
        (
            "sha512",
            "1,2",
            "composefs.merged.erofs.v1.fsverity-sha512-12",
        ),
    ] {
        let repository = pulled.dir.path().join(algorithm);
        let init = [
            "init",
            "--insecure",
            "--algorithm",
            algorithm,
            "--erofs-version",
            versions,
        ];
        ok(&repository, &init);
        ok(&repository, &["pull", &pulled.from, "image"]);
        let key_file = pki.path("signer.key");
        let artifact = ok(
            &repository,
            &["sign", "image", "--key", &key_file, "--cert", &cert],
        );
        let said = ok(&repository, &["verify", "image", "--cert", &cert]);
        let digest = ok(&repository, &["digest", "image"]);
        assert!(
            said.contains(&format!("{algorithm}:{}", digest.trim())),
            "{said}"
        );
        let artifact = format!("@{}", artifact.trim());
        let manifest = ok(&repository, &["inspect", "--manifest", &artifact]);
        assert!(
            manifest.contains(&format!("\"{key}\":\"{}\"", digest.trim())),
            "{manifest}"
        );
    }
}

#[test]
fn signatures_in_the_manifest() {
    let (pulled, pki) = set_up();
    let repository = &pulled.repository;
    let cert = pki.path("signer.crt");
    let digest = ok(repository, &["digest", "image"]);
    let manifest = sign(&pulled, &pki, "signer", &["--inline"]);
    let inspected = inspect(repository);
    assert_eq!(inspected["manifest_digest"], *manifest);
    assert_ne!(manifest, pulled.made.manifest);
    assert_eq!(ok(repository, &["digest", "image"]), digest);
    let key = "composefs.merged.erofs.v1.fsverity-sha256-12";
    assert_eq!(inspected["manifest"]["annotations"][key], *digest.trim());
    assert!(inspected["manifest"]["annotations"][&format!("{key}.sig")].is_string());
    let config = &inspected["manifest"]["config"]["annotations"];
    assert!(config["composefs.config.fsverity-sha256-12.sig"].is_string());
    ok(repository, &["verify", "image", "--cert", &cert]);
    // Another key takes its place.
    sign(&pulled, &pki, "other", &["--inline"]);
    fails(repository, &["verify", "image", "--cert", &cert]);
    ok(
        repository,
        &["verify", "image", "--cert", &pki.path("other.crt")],
    );
    ok(repository, &["gc"]);
    ok(repository, &["fsck", "--contents"]);
    ok(
        repository,
        &["verify", "image", "--cert", &pki.path("other.crt")],
    );
    fails(
        repository,
        &["sign", &format!("@{manifest}"), "--inline", "--cert", &cert],
    );
}

/// What signs elsewhere: its signatures are taken if they are the right ones.
#[test]
fn signatures_by_openssl_are_taken() {
    let (pulled, pki) = set_up();
    let repository = &pulled.repository;
    let dir = pki.0.join("signed");
    let dir = dir.to_str().expect("text");
    let (cert, other) = (pki.path("signer.crt"), pki.path("other.crt"));
    ok(repository, &["sign", "image", "--to-sign", dir]);
    for name in ["manifest", "config", "merged"] {
        let data = fs::read(pki.0.join("signed").join(name)).expect("data");
        assert!(data.starts_with(b"FSVerity\x01\0\x20\0") && data.len() == 44);
        pki.cms_of(
            &format!("signed/{name}"),
            &format!("signed/{name}.sig"),
            "signer",
        );
    }
    let error = fails(
        repository,
        &["sign", "image", "--signed", dir, "--cert", &other],
    );
    assert!(
        error.contains("manifest.sig'") && error.contains("unknown signer"),
        "{error}"
    );
    ok(
        repository,
        &["sign", "image", "--signed", dir, "--cert", &cert],
    );
    ok(repository, &["verify", "image", "--cert", &cert]);
    let [one, two] = ["config.sig", "merged.sig"].map(|name| pki.0.join("signed").join(name));
    fs::copy(one, two).expect("copied");
    let error = fails(
        repository,
        &["sign", "image", "--signed", dir, "--cert", &cert],
    );
    assert!(
        error.contains("merged.sig'") && error.contains("rejected"),
        "{error}"
    );
    fails(repository, &["sign", "image"]);
    fails(
        repository,
        &[
            "sign",
            "image",
            "--key",
            &pki.path("other.key"),
            "--cert",
            &cert,
        ],
    );
}

/// They go when the image goes, and not before; several may be there, by keys that replace each
/// other.
#[test]
fn signatures_are_kept_as_long_as_the_image() {
    let (pulled, pki) = set_up();
    let repository = &pulled.repository;
    sign(&pulled, &pki, "signer", &[]);
    sign(&pulled, &pki, "other", &["--image-only"]);
    let referrers = || everything(&repository.join("streams/refs/oci-referrers"));
    assert_eq!(referrers().len(), 2);
    assert!(ok(repository, &["gc"]).starts_with("0 objects"));
    ok(repository, &["fsck", "--contents"]);
    for name in ["signer", "other"] {
        let cert = pki.path(&format!("{name}.crt"));
        let said = ok(repository, &["verify", "image", "--cert", &cert]);
        assert_eq!(said.contains(" as an image by"), name == "other", "{said}");
    }
    ok(repository, &["tag", "image", "again"]);
    ok(repository, &["untag", "image"]);
    ok(repository, &["gc"]);
    ok(
        repository,
        &["verify", "again", "--cert", &pki.path("signer.crt")],
    );
    ok(repository, &["rm", "again"]);
    assert!(ok(repository, &["gc", "--dry-run"]).contains("would be removed"));
    assert_eq!(referrers().len(), 2);
    ok(repository, &["gc"]);
    assert_eq!(everything(repository), [repository.join("meta.json")]);
}
