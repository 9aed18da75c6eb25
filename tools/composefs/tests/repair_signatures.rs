// SPDX-License-Identifier: GPL-2.0-only
//! Signatures that are damaged or gone are fetched again from where the image is.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::hub::Hub;
use common::pki::Pki;
use common::{composefs, damage, everything, odd_layers, ok, pulled};

#[test]
fn signatures_are_repaired() {
    let pulled = pulled(&odd_layers());
    let pki = Pki::new(pulled.dir.path(), &["signer"]);
    let (repository, cert) = (&pulled.repository, pki.path("signer.crt"));
    let before: BTreeSet<_> = everything(&repository.join("objects"))
        .into_iter()
        .collect();
    let key = pki.path("signer.key");
    ok(
        repository,
        &["sign", "image", "--key", &key, "--cert", &cert],
    );
    let all = everything(&repository.join("objects")).into_iter();
    let added: Vec<_> = all.filter(|path| !before.contains(path)).collect();
    assert!(added.len() >= 8, "{added:?}");
    let repair = ["fsck", "--contents", "--repair", "--tls-verify=false"];
    // Where the image was pulled from, they never were.
    let kept = fs::read(&added[0]).expect("object");
    damage(&added[0]);
    let output = composefs(repository, &repair);
    assert_eq!(output.status.code(), Some(1));
    fs::write(&added[0], kept).expect("written");
    ok(repository, &["fsck", "--contents"]);

    let hub = Hub::new(true);
    let to = hub.name("a/b:v1");
    ok(repository, &["push", "image", &to, "--tls-verify=false"]);
    for object in &added {
        damage(object);
        let said = ok(repository, &repair);
        assert!(said.contains(": repaired"), "{said}");
        ok(repository, &["fsck", "--contents"]);
        ok(repository, &["verify", "image", "--cert", &cert]);
    }
}
