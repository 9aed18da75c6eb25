// SPDX-License-Identifier: GPL-2.0-only
//! What a repair asks a registry for, and what it does not take from there.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

use common::honest::honest;
use common::server::{Reply, Server};
use common::{composefs, damage, ok, quick_directory, repository, state, By, Layer, Layout, Made};

/// Layers with a file of their own each, and one that the first and the third have.
fn layers() -> Vec<(Vec<u8>, By)> {
    let layer = |number: u8| {
        let layer = Layer::new()
            .dir("usr")
            .file(&format!("usr/{number}"), &[number; 5000]);
        match number {
            1 | 3 => layer.file(&format!("usr/shared-{number}"), &[0xff; 5000]),
            _ => layer,
        }
    };
    (1..=4)
        .map(|number| (layer(number).bytes(), By::Gzip))
        .collect()
}

/// What the registry has under the tag.
const RIGHT: u8 = 0;
/// Another image; the one that was pulled is there by its digest.
const MOVED: u8 = 1;
/// Another image, and only that.
const REPLACED: u8 = 2;
/// Layers that are not what they should be.
const WRONG: u8 = 3;
/// Nothing.
const GONE: u8 = 4;

struct Context {
    _dir: tempfile::TempDir,
    repository: PathBuf,
    server: Server,
    mode: Arc<AtomicU8>,
    made: Made,
    newer: String,
}

fn context() -> Context {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    let newer = layout.image(&[(Layer::new().dir("usr").bytes(), By::Gzip)]);
    let made = layout.image(&layers());
    let mode = Arc::new(AtomicU8::new(RIGHT));
    let (now, path) = (Arc::clone(&mode), layout.path.clone());
    let (old, new) = (made.clone(), newer.clone());
    let server = Server::run(move |request| {
        let mode = now.load(Ordering::Relaxed);
        let mut reply = match mode {
            GONE => Reply::new(404, b""),
            MOVED => honest(&path, &new, request),
            REPLACED if request.path.ends_with(&old.manifest) => Reply::new(404, b""),
            REPLACED => honest(&path, &new, request),
            _ => honest(&path, &old, request),
        };
        let is_layer = old.layers.iter().any(|layer| request.path.ends_with(layer));
        if mode == WRONG && is_layer {
            reply.body[50] ^= 1;
        }
        reply
    });
    let repository = repository(dir.path());
    let from = format!("docker://{}/some/image", server.host);
    ok(&repository, &["pull", "--tls-verify=false", &from, "image"]);
    Context {
        _dir: dir,
        repository,
        server,
        mode,
        made,
        newer: newer.manifest,
    }
}

impl Context {
    /// Where the content of a file is.
    fn object(&self, content: &[u8]) -> PathBuf {
        let is_it = |path: &PathBuf| fs::read(path).is_ok_and(|found| found == content);
        let objects = common::everything(&self.repository.join("objects"));
        objects.into_iter().find(is_it).expect("object")
    }

    fn named(&self, name: &str) -> PathBuf {
        let dir = self.repository.join("streams");
        dir.join(fs::read_link(dir.join(name)).expect("name"))
            .canonicalize()
            .expect("object")
    }

    /// Repairs, and what the registry was asked for meanwhile.
    fn asked(&self) -> Vec<String> {
        let before = self.server.requests().len();
        let arguments = ["fsck", "--repair", "--contents", "--tls-verify=false"];
        ok(&self.repository, &arguments);
        let requests = self.server.requests();
        let mut asked: Vec<_> = requests[before..]
            .iter()
            .filter_map(|request| request.path.strip_prefix("/v2/some/image/"))
            .map(str::to_owned)
            .collect();
        asked.sort();
        asked
    }

    /// What is said of why nothing is repaired.
    fn refused(&self) -> String {
        let before = state(&self.repository);
        let arguments = ["fsck", "--repair", "--contents", "--tls-verify=false"];
        let output = composefs(&self.repository, &arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(state(&self.repository) == before);
        String::from_utf8(output.stdout).expect("text")
    }

    fn manifest(&self) -> String {
        format!("manifests/{}", self.made.manifest)
    }

    fn layer(&self, number: usize) -> String {
        format!("blobs/{}", self.made.layers[number - 1])
    }
}

#[test]
fn only_what_is_needed_is_asked_for() {
    let context = context();
    let whole = state(&context.repository);
    let asked = |damaged: &[&Path]| {
        damaged.iter().for_each(|path| damage(path));
        let asked = context.asked();
        assert!(state(&context.repository) == whole);
        asked
    };
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };

    // Two objects in different layers, of four.
    let (second, fourth) = (context.object(&[2; 5000]), context.object(&[4; 5000]));
    assert_eq!(
        asked(&[&second, &fourth]),
        sorted(vec![context.manifest(), context.layer(2), context.layer(4)])
    );
    // One that two layers have: either will do.
    let shared = context.object(&[0xff; 5000]);
    assert_eq!(
        asked(&[&shared]),
        sorted(vec![context.manifest(), context.layer(1)])
    );
    // The stream of a layer.
    let diff_id = common::sha256(&layers()[2].0);
    let stream = context.named(&format!("oci-layer-sha256:{diff_id}"));
    assert_eq!(
        asked(&[&stream]),
        sorted(vec![context.manifest(), context.layer(3)])
    );
    // The composefs image, and streams that can be made again of what is here.
    let digest = ok(&context.repository, &["digest", "image"]);
    let (head, tail) = digest.trim().split_at(2);
    let image = context.repository.join("objects").join(head).join(tail);
    let manifest = context.named(&format!("oci-manifest-{}", context.made.manifest));
    assert_eq!(asked(&[&image]), [""; 0]);
    // Of a manifest's stream it is not known any more which manifest it was: it is asked for.
    assert_eq!(asked(&[&manifest]), [context.manifest()]);
}

#[test]
fn what_counts_is_the_manifest_that_was_pulled() {
    let context = context();
    let whole = state(&context.repository);
    let second = context.object(&[2; 5000]);
    let in_mode = |mode: u8| {
        context.mode.store(mode, Ordering::Relaxed);
        damage(&second);
    };

    in_mode(MOVED);
    assert_eq!(context.asked().len(), 2);
    assert!(state(&context.repository) == whole);

    let name = format!("'docker://{}/some/image'", context.server.host);
    in_mode(REPLACED);
    let said = context.refused();
    let want = format!(
        "cannot be repaired: {name}: has another image now, {}: manifest {}: ",
        context.newer, context.made.manifest
    );
    assert!(said.contains(&want), "{said}");

    in_mode(WRONG);
    let said = context.refused();
    let want = format!("cannot be repaired: layer {}: ", context.made.layers[1]);
    assert!(said.contains(&want), "{said}");

    in_mode(GONE);
    let said = context.refused();
    let want = format!("{name}: manifest {}: ", context.made.manifest);
    assert!(said.contains(&want) && said.contains("404"), "{said}");

    context.mode.store(RIGHT, Ordering::Relaxed);
    assert_eq!(context.asked().len(), 2);
    assert!(state(&context.repository) == whole);
}
