// SPDX-License-Identifier: GPL-2.0-only
//! Repairs of streams that are not as they would be written here, but say the same: another tool may
//! have written them, or compressed them in another way.

mod common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use common::{composefs, damage, odd_layers, ok, pulled, state, Pulled};
use composefs_repository::stream::{Chunk, Reader, Writer};
use composefs_repository::{Category, Repository};
use composefs_tools::fsverity::{object_path, Algorithm, Digest};
use composefs_tools::store::Unnamed;

struct Context {
    _dir: tempfile::TempDir,
    path: PathBuf,
    manifest: String,
}

fn context() -> Context {
    let Pulled {
        dir,
        made,
        repository: path,
        ..
    } = pulled(&odd_layers());
    Context {
        _dir: dir,
        path,
        manifest: format!("oci-manifest-{}", made.manifest),
    }
}

fn lookup(path: &Path, name: &str) -> Digest {
    let repository = Repository::open(path).expect("repository");
    let found = repository.lookup(Category::Streams, name).expect("name");
    found.expect("stream")
}

/// Writes a stream once more, which refers to `to` by what begins with `key`, and names it.
fn rewrite(path: &Path, name: &str, key: &str, to: &Digest) -> Digest {
    let repository = Repository::open(path).expect("repository");
    let mut objects = Unnamed::new(repository.store());
    let file = repository.object(&lookup(path, name)).expect("stream");
    let mut reader = Reader::open(file, Algorithm::Sha256).expect("stream");
    let kind = reader.content_type();
    let mut writer = Writer::new(Algorithm::Sha256, kind).expect("stream");
    let mut is_there = false;
    for (name, digest) in reader.names() {
        let is_it = name.starts_with(key);
        is_there |= is_it;
        writer.refer(name, if is_it { to } else { digest });
    }
    if !is_there {
        writer.refer(key, to);
    }
    while let Some(chunk) = reader.next_chunk().expect("chunk") {
        match chunk {
            Chunk::Inline(_) => {
                let mut data = Vec::new();
                reader.read_to_end(&mut data).expect("chunk");
                writer.inline(&data).expect("chunk");
            }
            Chunk::External(object) => {
                let file = repository.object(&object).expect("object");
                let size = file.metadata().expect("object").len();
                writer.external(&object, size).expect("chunk");
            }
        }
    }
    let stream = writer.finish(&mut objects).expect("stream");
    objects.publish().expect("objects");
    let set = repository.set_name(Category::Streams, name, &stream);
    set.expect("name");
    stream
}

/// The one name of a stream that begins so.
fn name(path: &Path, start: &str) -> String {
    let repository = Repository::open(path).expect("repository");
    let names = repository.names(Category::Streams).expect("names");
    let mut names = names.into_iter().map(|link| link.name);
    names.find(|name| name.starts_with(start)).expect("name")
}

/// Has the image refer to `to` from its configuration.
fn refer(context: &Context, key: &str, to: &Digest) {
    let config = name(&context.path, "oci-config-");
    let config = rewrite(&context.path, &config, key, to);
    rewrite(&context.path, &context.manifest, "config:", &config);
}

fn object(path: &Path, digest: &Digest) -> PathBuf {
    path.join("objects").join(object_path(digest))
}

/// A composefs image that is not what comes of the layers is not made up.
#[test]
fn an_image_that_would_be_another_is_left() {
    let context = context();
    let other = Digest::parse_hex("ab".repeat(32).as_bytes()).expect("digest");
    refer(&context, "composefs.image", &other);
    let before = state(&context.path);
    let output = composefs(&context.path, &["fsck", "--repair"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let want = format!(
        "{}: needs object {other}, which is not there: cannot be repaired: \
         composefs.image.v1 {other}: is {} when it is made anew",
        name(&context.path, "oci-config-"),
        ok(&context.path, &["digest", "--compute", "image"]).trim()
    );
    assert!(said.contains(&want), "{said}");
    assert!(state(&context.path) == before);
}

/// As long as a stream is whole, it is the one that counts; if it is not, the image refers to another
/// from then on. Either way gc knows what the image needs.
#[test]
fn the_stream_of_another_tool() {
    let context = context();
    let path = &context.path;
    let digest = ok(path, &["digest", "image"]);
    // The layer that has the file.
    let listed = ok(path, &["ls", "image"]);
    let file = listed
        .lines()
        .find_map(|line| line.strip_prefix("/usr/bin/sym/inside\t@ "));
    let file = path.join("objects").join(file.expect("object"));
    let needs = |name: &String| {
        let file_name = file.strip_prefix(path.join("objects")).expect("path");
        let repository = Repository::open(path).expect("repository");
        let stream = repository.object(&lookup(path, name)).expect("stream");
        let reader = Reader::open(stream, Algorithm::Sha256).expect("stream");
        let mut objects = reader.objects().iter();
        objects.any(|object| Path::new(&object_path(object)) == file_name)
    };
    let repository = Repository::open(path).expect("repository");
    let names = repository.names(Category::Streams).expect("names");
    drop(repository);
    let mut names = names.into_iter().map(|link| link.name);
    let layer = names.find(|name| name.starts_with("oci-layer-") && needs(name));
    let layer = layer.expect("layer");

    let config = lookup(path, &name(path, "oci-config-"));
    let ours = lookup(path, &layer);
    let theirs = rewrite(path, &layer, "more", &config);
    assert_ne!(ours, theirs);
    refer(&context, layer.trim_start_matches("oci-layer-"), &theirs);
    ok(path, &["fsck", "--contents"]);

    let good = |stream: &Digest| {
        ok(path, &["fsck", "--contents"]);
        assert_eq!(lookup(path, &layer), *stream);
        let again = ok(path, &["gc"]);
        assert!(ok(path, &["gc"]).starts_with("0 objects"), "{again}");
        ok(path, &["fsck", "--contents"]);
        assert_eq!(ok(path, &["digest", "--compute", "image"]), digest);
        assert!(fs::read(&file).is_ok_and(|content| content == [b'i'; 70]));
    };
    damage(&file);
    ok(path, &["fsck", "--contents", "--repair"]);
    good(&theirs);
    fs::remove_file(&file).expect("removed");
    ok(path, &["fsck", "--repair"]);
    good(&theirs);
    damage(&object(path, &theirs));
    fs::remove_file(&file).expect("removed");
    ok(path, &["fsck", "--repair", "--contents"]);
    good(&ours);
}
