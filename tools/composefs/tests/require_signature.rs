// SPDX-License-Identifier: GPL-2.0-only
//! Images that have to be signed, from registries that want something else to be taken for them.

mod common;

use std::fs;
use std::sync::{Arc, Mutex};

use common::hub::Hub;
use common::image::{CONFIG, MANIFEST};
use common::server::{Reply, Request};
use common::signed::{
    no_layer_was_asked_for, put_artifact, put_image, put_manifest, Image, Seal, World, CONFIG_KEY,
    MANIFEST_KEY, MERGED, METADATA, PLAIN,
};
use common::{fails, ok, repository, Made};
use serde_json::{json, Value};

/// As openssl makes them, in each form of referrers. It is what the other cases are measured by.
#[test]
fn what_openssl_signed_is_taken() {
    let world = World::new();
    for has_referrers in [true, false] {
        let hub = Hub::new(has_referrers);
        put_image(&hub, &world.good);
        world.pull(&hub, Some("it is not signed"));
        no_layer_was_asked_for(&hub, &world.good);
        let digest = put_artifact(&hub, &world.good.made, &world.seals(), |_| {});
        if !has_referrers {
            let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": 1});
            let mut entry = entry;
            let stored = hub.manifest("some/image", &digest).to_string();
            entry["size"] = stored.len().into();
            let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
            let tag = world.good.made.manifest.replace(':', "-");
            let key = ("some/image".to_owned(), tag);
            let kind = "application/vnd.oci.image.index.v1+json".to_owned();
            let mut stored = hub.stored.lock().expect("registry");
            stored.manifests.insert(key, (kind, index.into()));
        }
        let said = world.pull(&hub, None);
        assert_eq!(said.trim(), world.good.made.manifest);
        // Without being asked to, nobody looks for signatures.
        let unsigned = world.dir.path().join("unsigned");
        let _ = fs::remove_dir_all(&unsigned);
        ok(&unsigned, &["init", "--insecure"]);
        let asked = hub.count("GET", "referrers");
        ok(
            &unsigned,
            &["pull", &hub.name("some/image"), "image", PLAIN],
        );
        assert_eq!(hub.count("GET", "referrers"), asked);
    }
}

/// Each is refused before anything of the layers is fetched.
#[test]
fn signatures_that_are_not_what_they_should_be() {
    let world = World::new();
    let at = |seals: &mut [Seal], key: &str, change: &dyn Fn(&mut Seal)| {
        change(seals.iter_mut().find(|seal| seal.key == key).expect("seal"));
    };
    let evil = |key: &str| world.digest(&world.evil, key);
    type Seals<'a> = &'a dyn Fn(&mut Vec<Seal>);
    type Manifest<'a> = &'a dyn Fn(&mut Value);
    let nothing: Manifest = &|_| {};
    let same: Seals = &|_| {};
    let cases: [(&str, Seals, Manifest, &str); 16] = [
        (
            "another key",
            &|seals| {
                for seal in seals {
                    seal.signature = world.pki.cms(&seal.digest, "other");
                }
            },
            nothing,
            "manifest: unknown signer",
        ),
        (
            "another key for the composefs image",
            &|seals| {
                at(seals, MERGED, &|seal| {
                    seal.signature = world.pki.cms(&seal.digest, "other")
                })
            },
            nothing,
            "merged: unknown signer",
        ),
        (
            "another digest than is signed",
            &|seals| at(seals, MERGED, &|seal| seal.digest = evil(MERGED)),
            nothing,
            "merged: rejected",
        ),
        (
            "the signature of another manifest",
            &|seals| {
                at(seals, MANIFEST_KEY, &|seal| {
                    seal.digest = evil(MANIFEST_KEY);
                    seal.signature = world.pki.cms(&seal.digest, "signer");
                });
            },
            nothing,
            "manifest: is signed with another digest",
        ),
        (
            "the signature of another configuration",
            &|seals| {
                at(seals, CONFIG_KEY, &|seal| {
                    seal.digest = evil(CONFIG_KEY);
                    seal.signature = world.pki.cms(&seal.digest, "signer");
                });
            },
            nothing,
            "config: is signed with another digest",
        ),
        (
            "no signature of the manifest",
            &|seals| drop(seals.remove(0)),
            nothing,
            MANIFEST_KEY,
        ),
        (
            "no signature of the configuration",
            &|seals| drop(seals.remove(1)),
            nothing,
            CONFIG_KEY,
        ),
        (
            "no signature of the image",
            &|seals| drop(seals.remove(2)),
            nothing,
            MERGED,
        ),
        (
            "no digest",
            same,
            &|manifest| {
                drop(
                    manifest["layers"][2]
                        .as_object_mut()
                        .expect("layer")
                        .remove("annotations"),
                )
            },
            MERGED,
        ),
        (
            "a digest that is none",
            same,
            &|manifest| manifest["layers"][2]["annotations"][MERGED] = "00".into(),
            "annotation composefs.merged",
        ),
        (
            "what is no signature",
            &|seals| at(seals, MERGED, &|seal| seal.signature = b"no".to_vec()),
            nothing,
            "merged: malformed",
        ),
        (
            "a signature without end",
            same,
            &|manifest| manifest["layers"][2]["size"] = 10_000_000_000_u64.into(),
            "no signature is of more than 65535",
        ),
        (
            "a thousand signatures",
            same,
            &|manifest| {
                let layer = manifest["layers"][2].clone();
                manifest["layers"] = vec![layer; 900].into();
            },
            "has 900 layers",
        ),
        (
            "what is about another image",
            same,
            &|manifest| manifest["subject"]["digest"] = world.evil.made.manifest.clone().into(),
            "is about another image",
        ),
        (
            "what is about nothing",
            same,
            &|manifest| {
                drop(
                    manifest
                        .as_object_mut()
                        .expect("manifest")
                        .remove("subject"),
                )
            },
            "is about no image",
        ),
        (
            "another kind of thing",
            same,
            &|manifest| manifest["artifactType"] = "text/plain".into(),
            "is not what it is said to be, but 'text/plain'",
        ),
    ];
    for (name, seals, change, want) in cases {
        let mut changed = world.seals();
        seals(&mut changed);
        // What it is found by lies as well, if it has to.
        let (entry, subject) = (
            Arc::new(Mutex::new(Value::Null)),
            world.good.made.manifest.clone(),
        );
        let listed = Arc::clone(&entry);
        let hub = Hub::changed(true, move |request: &Request, reply| {
            if request.path.contains(&format!("/referrers/{subject}")) {
                let index =
                    json!({"schemaVersion": 2, "manifests": [*listed.lock().expect("entry")]});
                return Reply::new(200, index.to_string().as_bytes());
            }
            reply
        });
        put_image(&hub, &world.good);
        let digest = put_artifact(&hub, &world.good.made, &changed, change);
        let size = hub.manifest("some/image", &digest).to_string().len();
        *entry.lock().expect("entry") = json!({"mediaType": MANIFEST, "digest": digest, "size": size,
                                               "artifactType": METADATA});
        println!("{name}");
        world.pull(&hub, Some(want));
        no_layer_was_asked_for(&hub, &world.good);
    }
}

/// The signer has signed it, but these layers do not give it: it gets no name.
#[test]
fn layers_that_are_not_what_is_signed() {
    let world = World::new();
    let mut seals = world.seals();
    seals[2].digest = world.digest(&world.evil, MERGED);
    seals[2].signature = world.pki.cms(&seals[2].digest, "signer");
    let hub = Hub::new(true);
    put_image(&hub, &world.good);
    put_artifact(&hub, &world.good.made, &seals, |_| {});
    world.pull(
        &hub,
        Some("its layers are not what is signed: they give another composefs image than"),
    );
}

/// What the tag stands for is asked once: what was checked is what is pulled.
#[test]
fn a_manifest_that_is_swapped() {
    let world = World::new();
    let text = |image: &Image| {
        let blobs = image.layout.join("blobs/sha256");
        fs::read(blobs.join(&image.made.manifest[7..])).expect("manifest")
    };
    let (good, evil) = (text(&world.good), text(&world.evil));
    for good_first in [true, false] {
        let (good, evil) = (good.clone(), evil.clone());
        let asked = Mutex::new(0);
        let hub = Hub::changed(true, move |request: &Request, reply| {
            if request.path.ends_with("/manifests/latest") {
                let mut asked = asked.lock().expect("count");
                *asked += 1;
                let is_good = (*asked == 1) == good_first;
                return Reply::new(200, if is_good { &good } else { &evil });
            }
            reply
        });
        put_image(&hub, &world.evil);
        put_image(&hub, &world.good);
        put_artifact(&hub, &world.good.made, &world.seals(), |_| {});
        let said = world.pull(&hub, (!good_first).then_some("it is not signed"));
        if good_first {
            assert_eq!(said.trim(), world.good.made.manifest);
        }
        assert_eq!(hub.count("GET", "/manifests/latest"), 1);
    }
}

/// An honest configuration says what the layers are, and is signed: another is not taken.
#[test]
fn a_configuration_that_is_another() {
    let world = World::new();
    let hub = Hub::new(true);
    put_image(&hub, &world.good);
    let mut manifest = hub.manifest("some/image", &world.good.made.manifest);
    let mut config: Value = {
        let stored = hub.stored.lock().expect("registry");
        let digest = manifest["config"]["digest"]
            .as_str()
            .expect("digest")
            .to_owned();
        serde_json::from_slice(&stored.blobs[&("some/image".into(), digest)]).expect("JSON")
    };
    config["config"] = json!({"Cmd": ["/evil"]});
    let text = config.to_string();
    let digest = hub.put("some/image", text.as_bytes(), None);
    manifest["config"] = json!({"mediaType": CONFIG, "digest": digest, "size": text.len()});
    let text = manifest.to_string();
    put_manifest(&hub, text.as_bytes());
    let made = Made {
        manifest: format!("sha256:{}", common::sha256(text.as_bytes())),
        layers: world.good.made.layers.clone(),
    };
    put_artifact(&hub, &made, &world.seals(), |_| {});
    world.pull(&hub, Some("manifest: is signed with another digest"));
    // It is not signed in its annotations either, of which the manifest need not be.
    for seal in &world.seals()[1..] {
        assert_ne!(seal.key, MANIFEST_KEY);
    }
}

#[test]
fn what_is_said_of_trust() {
    let dir = common::quick_directory();
    let repository = repository(dir.path());
    let pull = ["pull", "oci:none", "image"];
    let cases: [(&[&str], &str); 4] = [
        (&["--cert", "x"], "need --require-signature"),
        (
            &["--require-signature", "--cert", "/none.crt"],
            "cannot use the certificate '/none.crt'",
        ),
        (
            &["--require-signature", "--keyring", "/none"],
            "keyring '/none': No such file",
        ),
        (&["--keyring", "/none"], "need --require-signature"),
    ];
    for (more, want) in cases {
        let error = fails(&repository, &[&pull, more].concat());
        assert!(error.contains(want), "{error}");
    }
}
