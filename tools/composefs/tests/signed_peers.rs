// SPDX-License-Identifier: GPL-2.0-only
//! Signed images in the registries and the hands of others.
//!
//! `COMPOSEFS_RS_TOOLS` names the directory that holds `cfsctl`, `COMPOSEFS_DOCKER_REGISTRY` a
//! `docker-registry`; where they are set, run with `--include-ignored`.

mod common;

use std::fs;

use common::peers::{cfsctl, DockerRegistry};
use common::pki::Pki;
use common::{everything, odd_layers, ok, pulled, Pulled};

const PLAIN: &str = "--tls-verify=false";

fn sign(pulled: &Pulled, pki: &Pki) -> String {
    let (key, cert) = (pki.path("signer.key"), pki.path("signer.crt"));
    let sign = ["sign", "image", "--key", &key, "--cert", &cert];
    ok(&pulled.repository, &sign).trim().to_owned()
}

/// It has no API for referrers, so there is a tag of them. What is compressed anew is there as well.
#[test]
#[ignore = "needs docker-registry, which COMPOSEFS_DOCKER_REGISTRY must say where it is"]
fn a_signed_image_in_a_docker_registry() {
    let pulled = pulled(&odd_layers());
    let pki = Pki::new(pulled.dir.path(), &["signer"]);
    sign(&pulled, &pki);
    let registry = DockerRegistry::run(pulled.dir.path());
    let cert = pki.path("signer.crt");
    let want = ok(&pulled.repository, &["digest", "image"]);
    for (round, name) in ["a/b:v1", "c:v1", "d:v1"].into_iter().enumerate() {
        let to = format!("docker://{}/{name}", registry.host);
        if round == 2 {
            // Nobody has it as it was: it was noted to be in the registry.
            fs::remove_dir_all(pulled.repository.join("origins")).expect("removed");
        }
        ok(&pulled.repository, &["push", "image", &to, PLAIN]);
        let other = pulled.dir.path().join(round.to_string());
        ok(&other, &["init", "--insecure"]);
        let pull = [
            "pull",
            &to,
            "image",
            PLAIN,
            "--require-signature",
            "--cert",
            &cert,
        ];
        let digest = ok(&other, &pull);
        assert_eq!(digest.trim() == pulled.made.manifest, round != 2);
        assert_eq!(ok(&other, &["digest", "image"]), want);
        ok(&other, &["verify", "image", "--cert", &cert]);
        // It goes back from there to a directory.
        let dir = pulled.dir.path().join(format!("dir-{round}"));
        let to = format!("oci:{}:v1", dir.display());
        ok(&other, &["push", "image", &to, PLAIN]);
        ok(
            &other,
            &["pull", &to, "again", "--require-signature", "--cert", &cert],
        );
    }
}

/// Signatures are artifacts about an image for composefs-rs as well, and what it collects and checks
/// leaves them as they are.
#[test]
#[ignore = "compares with composefs-rs, which COMPOSEFS_RS_TOOLS must say where it is"]
fn signatures_are_referrers_to_composefs_rs() {
    let pulled = pulled(&odd_layers());
    let pki = Pki::new(pulled.dir.path(), &["signer"]);
    let (repository, cert) = (&pulled.repository, pki.path("signer.crt"));
    let artifact = sign(&pulled, &pki);
    let inspected = cfsctl(repository, &["oci", "inspect", "image"]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    assert!(
        inspected["referrers"].to_string().contains(&artifact),
        "{inspected}"
    );
    let before = everything(repository);
    assert!(cfsctl(repository, &["gc"]).contains("Objects: 0 removed"));
    assert_eq!(everything(repository), before);
    cfsctl(repository, &["oci", "fsck"]);
    cfsctl(repository, &["fsck"]);
    ok(repository, &["verify", "image", "--cert", &cert]);
    // What it pulls is signed here as well.
    let theirs = pulled.dir.path().join("theirs");
    cfsctl(&theirs, &["init", "--insecure"]);
    cfsctl(&theirs, &["oci", "pull", &pulled.from, "image"]);
    let key = pki.path("signer.key");
    ok(&theirs, &["sign", "image", "--key", &key, "--cert", &cert]);
    ok(&theirs, &["verify", "image", "--cert", &cert]);
    ok(
        &theirs,
        &["sign", "image", "--inline", "--key", &key, "--cert", &cert],
    );
    cfsctl(&theirs, &["oci", "fsck"]);
    let compute = cfsctl(&theirs, &["oci", "compute-id", "image"]);
    assert_eq!(ok(&theirs, &["digest", "image"]), compute);
    // A directory with what is about an image is one that it can read.
    let dir = pulled.dir.path().join("put");
    let to = format!("oci:{}", dir.display());
    ok(repository, &["push", "image", &to]);
    cfsctl(&theirs, &["oci", "pull", &to, "put"]);
}
