// SPDX-License-Identifier: GPL-2.0-only
//! Where signatures are looked for: lists of what is about an image, and annotations, that lie.

mod common;

use std::fs;
use std::sync::{Arc, Mutex};

use common::hub::Hub;
use common::image::MANIFEST;
use common::server::{Reply, Request};
use common::signed::{
    no_layer_was_asked_for, put_artifact, put_image, put_manifest, World, CONFIG_KEY, MERGED,
    METADATA,
};
use serde_json::{json, Value};

/// One that holds is found among fifty that do not, and not among ten thousand.
#[test]
fn lists_that_lie() {
    let world = World::new();
    let bad = |count: usize| -> Vec<Value> {
        let entry = |number: usize| {
            let digest = format!("sha256:{:064x}", number);
            json!({"mediaType": MANIFEST, "digest": digest, "size": 100, "artifactType": METADATA})
        };
        (0..count).map(entry).collect()
    };
    type List = fn(Vec<Value>, Value) -> Reply;
    fn of(all: &[Value]) -> Reply {
        let index = json!({"schemaVersion": 2, "manifests": all});
        Reply::new(200, index.to_string().as_bytes())
    }
    let cases: [(usize, List, Option<&str>); 7] = [
        (20, |bad, good| of(&[bad, vec![good]].concat()), None),
        (
            10_000,
            |bad, good| of(&[bad, vec![good]].concat()),
            Some("48 others"),
        ),
        (
            0,
            |_, _| Reply::new(200, b"<html>"),
            Some("is not a manifest"),
        ),
        (
            0,
            |_, _| Reply {
                is_endless: true,
                ..Reply::new(200, &[b' '; 100_000])
            },
            Some("is of more than 4194304 bytes"),
        ),
        (
            0,
            |_, mut good| {
                good["size"] = 7.into();
                of(&[good])
            },
            Some("bytes, not of 7"),
        ),
        (
            0,
            |_, good| {
                of(&[])
                    .header("Link", "<http://elsewhere.invalid/next>; rel=\"next\"")
                    .header("X-Good", &good["digest"].to_string())
            },
            Some("goes on at another server"),
        ),
        (0, |_, _| Reply::new(403, b""), Some("403 (forbidden)")),
    ];
    for (count, list, want) in cases {
        let (bad, good) = (bad(count), Arc::new(Mutex::new(Value::Null)));
        let entry = Arc::clone(&good);
        let hub = Hub::changed(true, move |request: &Request, reply| {
            match request.path.contains("/referrers/") {
                true => list(bad.clone(), entry.lock().expect("entry").clone()),
                false => reply,
            }
        });
        put_image(&hub, &world.good);
        let digest = put_artifact(&hub, &world.good.made, &world.seals(), |_| {});
        let size = hub.manifest("some/image", &digest).to_string().len();
        *good.lock().expect("entry") =
            json!({"mediaType": MANIFEST, "digest": digest, "size": size});
        world.pull(&hub, want);
        if want.is_some() {
            no_layer_was_asked_for(&hub, &world.good);
        }
        assert!(hub.count("GET", "/manifests/sha256:") <= 51);
    }
}

/// A list may come in parts, and without end.
#[test]
fn lists_in_parts() {
    let world = World::new();
    for is_endless in [false, true] {
        let hub = Hub::changed(true, move |request: &Request, reply| {
            let Some((path, page)) = request.path.split_once("&page=") else {
                let is_list = request.path.contains("/referrers/");
                let next = format!("<{}&page=1>; rel=\"next\"", request.path);
                let empty = Reply::new(200, b"{\"manifests\": []}").header("Link", &next);
                return if is_list { empty } else { reply };
            };
            let number: usize = page.parse().expect("number");
            let next = format!("<{path}&page={}>; rel=\"next\"", number + 1);
            match is_endless {
                true => Reply::new(200, b"{\"manifests\": []}").header("Link", &next),
                false => reply,
            }
        });
        put_image(&hub, &world.good);
        put_artifact(&hub, &world.good.made, &world.seals(), |_| {});
        world.pull(&hub, is_endless.then_some("it is not signed"));
        assert!(hub.count("GET", "/referrers/") <= 16);
    }
}

/// Annotations that are removed, changed, or another image's.
#[test]
fn annotations() {
    let world = World::new();
    let blobs = world.good.layout.join("blobs/sha256");
    let text = fs::read(blobs.join(&world.good.made.manifest[7..])).expect("manifest");
    let base64 = |data: &[u8]| {
        fs::write(world.pki.0.join("blob"), data).expect("written");
        world.pki.openssl("base64 -A -in blob -out blob.64");
        fs::read_to_string(world.pki.0.join("blob.64")).expect("text")
    };
    let mut signed: Value = serde_json::from_slice(&text).expect("JSON");
    for seal in &world.seals()[1..] {
        let place = if seal.key == MERGED {
            &mut signed
        } else {
            &mut signed["config"]
        };
        place["annotations"][seal.key] = seal.digest.clone().into();
        place["annotations"][format!("{}.sig", seal.key)] = base64(&seal.signature).into();
    }
    let merged_of_evil = world.digest(&world.evil, MERGED);
    let evil = base64(&world.pki.cms(&merged_of_evil, "signer"));
    let other = base64(&world.pki.cms(&world.digest(&world.good, MERGED), "other"));
    let sig = format!("{MERGED}.sig");
    let remove = |at: &mut Value, key: &str| {
        drop(at["annotations"].as_object_mut().expect("all").remove(key))
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(Change, Option<&str>); 8] = [
        (&|_| {}, None),
        (&|manifest| remove(manifest, &sig), Some("it is not signed")),
        (
            &|manifest| remove(manifest, MERGED),
            Some("is missing, but its signature is there"),
        ),
        (
            &|manifest| remove(&mut manifest["config"], &format!("{CONFIG_KEY}.sig")),
            Some(CONFIG_KEY),
        ),
        (
            &|manifest| manifest["annotations"][&sig] = "!".into(),
            Some("not base64"),
        ),
        (
            &|manifest| manifest["annotations"][&sig] = other.clone().into(),
            Some("unknown signer"),
        ),
        (
            &|manifest| manifest["annotations"][MERGED] = merged_of_evil.clone().into(),
            Some("rejected"),
        ),
        (
            &|manifest| {
                manifest["annotations"][MERGED] = merged_of_evil.clone().into();
                manifest["annotations"][&sig] = evil.clone().into();
            },
            Some("its layers are not what is signed"),
        ),
    ];
    for (number, (change, want)) in cases.into_iter().enumerate() {
        let mut manifest = signed.clone();
        change(&mut manifest);
        let hub = Hub::new(false);
        put_image(&hub, &world.good);
        put_manifest(&hub, manifest.to_string().as_bytes());
        println!("case {number}");
        world.pull(&hub, want);
        if number < 7 && want.is_some() {
            no_layer_was_asked_for(&hub, &world.good);
        }
    }
}
