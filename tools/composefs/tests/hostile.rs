// SPDX-License-Identifier: GPL-2.0-only
//! Registries that want a program's memory, its time, its terminal, or files of the machine that it
//! runs on: each is refused in one line.

mod common;

use common::honest::server;
use common::image::{architecture, CONFIG, MANIFEST, PLAIN};
use common::peak::run;
use common::server::{Reply, Request};
use common::{everything, ok, outside, repository, sha256, Made};
use serde_json::{json, Value};

/// What the program may take, whatever a registry does: it takes a tenth of it for the image that
/// these are not.
const MEMORY_MAX: u64 = 96 << 20;
const LARGE: usize = 100_000_000;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

type Change = Box<dyn Fn(&Request, Reply, &Made) -> Reply + Send + Sync>;

/// Pulls from a registry that does what `change` makes of honest answers; `want` is part of what
/// is said then.
fn refused(name: &str, change: Change, want: &str) {
    let dir = tempfile::tempdir().expect("directory");
    let server = server(dir.path(), change);
    let repository = repository(dir.path());
    let before = outside(dir.path(), &repository);
    let image = format!("docker://{}/some/image", server.host);
    let run = run(
        &repository,
        &["pull", "--tls-verify=false", &image, "image"],
    );
    let error = run.error();
    assert!(error.contains(want), "{name}: {error}");
    assert!(run.output.stdout.is_empty(), "{name}");
    assert!(run.peak < MEMORY_MAX, "{name}: {} bytes", run.peak);
    assert!(outside(dir.path(), &repository) == before, "{name}");
    ok(&repository, &["fsck", "--contents"]);
    ok(&repository, &["gc"]);
    assert_eq!(
        everything(&repository),
        [repository.join("meta.json")],
        "{name}"
    );
}

/// Answers so for the tag, and honestly otherwise.
fn for_tag(text: Vec<u8>) -> Change {
    Box::new(
        move |request, reply, _| match request.path.ends_with("/latest") {
            true => Reply::new(200, &text),
            false => reply,
        },
    )
}

fn descriptor(kind: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": kind, "digest": digest, "size": size})
}

fn digest() -> String {
    format!("sha256:{}", sha256(b"something"))
}

fn manifest(config: Value, layers: Vec<Value>) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
        .to_string()
        .into_bytes()
}

/// Answers so for the tag, with a configuration that has so many layers.
fn with_layers(layers: Vec<Value>, diff_ids: Vec<String>) -> Change {
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let digest = format!("sha256:{}", sha256(&config));
    let text = manifest(descriptor(CONFIG, &digest, config.len() as u64), layers);
    Box::new(move |request, reply, _| match &*request.path {
        path if path.ends_with("/latest") => Reply::new(200, &text),
        path if path.ends_with(&digest) => Reply::new(200, &config),
        _ => reply,
    })
}

/// A manifest, an index or a configuration of 100 MB: JSON as it should be, but for its size.
#[test]
fn texts_without_measure() {
    let spaces = vec![b' '; LARGE];
    let large = |text: Vec<u8>| [&spaces[..], &text].concat();
    let too_large = "is of more than 4194304 bytes";
    let config = || descriptor(CONFIG, &digest(), 2);
    let text = large(manifest(config(), Vec::new()));
    refused("a manifest", for_tag(text), too_large);
    let index = |manifests: Vec<Value>| {
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
            .to_string()
            .into_bytes()
    };
    let text = large(index(vec![descriptor(MANIFEST, &digest(), 2)]));
    refused("an index", for_tag(text.clone()), too_large);

    // One that an index leads to, whose digest and size are right.
    let digest_of_it = format!("sha256:{}", sha256(&text));
    let outer = index(vec![descriptor(INDEX, &digest_of_it, text.len() as u64)]);
    let inner: Change = Box::new(move |request, reply, _| match &*request.path {
        path if path.ends_with("/latest") => Reply::new(200, &outer),
        path if path.ends_with(&digest_of_it) => Reply::new(200, &text),
        _ => reply,
    });
    refused("an index in an index", inner, too_large);

    let config = large(b"{}".to_vec());
    let digest_of_it = format!("sha256:{}", sha256(&config));
    let descriptor_of_it = descriptor(CONFIG, &digest_of_it, config.len() as u64);
    let text = manifest(descriptor_of_it, Vec::new());
    let change: Change = Box::new(move |request, reply, _| match &*request.path {
        path if path.ends_with("/latest") => Reply::new(200, &text),
        path if path.ends_with(&digest_of_it) => Reply::new(200, &config),
        _ => reply,
    });
    refused("a configuration", change, too_large);

    let token = large(b"{\"token\": \"t\"}".to_vec());
    let change: Change = Box::new(move |request, _, _| {
        if request.path.starts_with("/token") {
            return Reply::new(200, &token);
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", request.headers["host"]);
        Reply::new(401, b"").header("WWW-Authenticate", &realm)
    });
    refused("a token", change, too_large);
}

/// What fits into a text of the size that is allowed.
#[test]
fn texts_that_become_large() {
    let many = vec![
        json!({"mediaType": MANIFEST, "digest": digest(), "size": 1, "platform":
        {"os": "linux", "architecture": "pdp11"}});
        20_000
    ];
    let text = json!({"schemaVersion": 2, "manifests": many}).to_string();
    refused("platforms", for_tag(text.into_bytes()), "linux/pdp11'");
    let deep = [b"[".repeat(4 << 20)].concat();
    refused("depth", for_tag(deep), "at line 1 column 1");
    let text = manifest(
        descriptor(CONFIG, &digest(), 2),
        vec![descriptor(PLAIN, &digest(), 1); 20_000],
    );
    refused("layers", for_tag(text), "has 20000 layers, more than 1000");
    let index = |digest: &str| {
        let inner = descriptor(INDEX, digest, 0);
        json!({"schemaVersion": 2, "manifests": [inner]}).to_string()
    };
    // No index can hold its own digest, but this one is to be asked for under any.
    let change: Change = Box::new(move |_, _, _| Reply::new(200, index(&digest()).as_bytes()));
    refused("an index in itself", change, "bytes, not of 0");
}

/// What is said of layers, and cannot be so.
#[test]
fn layers_that_cannot_be() {
    let layer = |size| descriptor(PLAIN, &digest(), size);
    let two = [1, 2].map(|number| format!("sha256:{}", sha256(&[number])));
    refused(
        "sizes whose sum is none",
        with_layers(vec![layer(u64::MAX), layer(u64::MAX)], two.to_vec()),
        "404 (not found)",
    );
    refused(
        "fewer layers than there should be",
        with_layers(vec![layer(1)], two.to_vec()),
        "its manifest has 1 layers, its configuration 2",
    );
    for name in [
        "sha256:../../../../../../etc/passwd",
        "sha256:..",
        "../../etc/passwd",
        "/etc/passwd",
        "sha512:00",
        "",
    ] {
        let quoted = format!("'{name}' is not a digest by SHA-256");
        let is_refused = |change: Change| {
            let dir = tempfile::tempdir().expect("directory");
            let server = server(dir.path(), change);
            let repository = repository(dir.path());
            let image = format!("docker://{}/some/image", server.host);
            let error = run(&repository, &["pull", "--tls-verify=false", &image]).error();
            assert!(error.contains(&quoted), "{error}");
            assert_eq!(everything(&repository), [repository.join("meta.json")]);
            assert!(server
                .requests()
                .iter()
                .all(|request| !request.path.contains("passwd")));
        };
        let other = descriptor(PLAIN, name, 1);
        is_refused(with_layers(vec![other], vec![digest()]));
        is_refused(with_layers(vec![layer(1)], vec![name.to_owned()]));
        is_refused(for_tag(manifest(descriptor(CONFIG, name, 1), Vec::new())));
    }
}

/// Texts that end up in a message: on one line, and nothing that a terminal obeys.
#[test]
fn words_for_the_terminal() {
    let words = format!("\n\x1b[2J\u{9b}31m\r\n{}", "x".repeat(2_000_000));
    let kind = |kind: &str| json!({"schemaVersion": 2, "mediaType": kind}).to_string();
    refused(
        "the type of a manifest",
        for_tag(kind(&words).into_bytes()),
        "x'",
    );
    let platform = json!({"os": words, "architecture": words});
    let other = json!({"mediaType": MANIFEST, "digest": digest(), "size": 1, "platform": platform});
    let index = json!({"schemaVersion": 2, "manifests": [other]}).to_string();
    refused("a platform", for_tag(index.into_bytes()), "x'");
    let text = json!({"schemaVersion": 2, "layers": words}).to_string();
    let want = "expected a sequence at line 1 column";
    refused("no layers", for_tag(text.into_bytes()), want);
    let text = manifest(descriptor(CONFIG, &words, 1), Vec::new());
    refused("a digest", for_tag(text), "at line 1 column");
    let text = manifest(
        descriptor(CONFIG, &digest(), 1),
        vec![descriptor(&words, &digest(), 1)],
    );
    refused("the type of a layer", for_tag(text), "which is not known");
    let location = format!("http://\x1b[2J{}", "x".repeat(50_000));
    let change: Change =
        Box::new(move |_, _, _| Reply::new(302, b"").header("Location", &location));
    refused("where it leads", change, "");
}

/// Heads of answers without end.
#[test]
fn heads_without_measure() {
    for (length, want) in [
        (1000, "the head of its answer is of more than 65536 bytes"),
        // The library's words.
        (LARGE, ""),
    ] {
        let header = "x".repeat(length);
        let change: Change = Box::new(move |_, _, _| Reply {
            is_endless: true,
            of_head: true,
            ..Reply::new(200, b"").header("X", &header)
        });
        refused("headers", change, want);
    }
}
