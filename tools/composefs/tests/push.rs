// SPDX-License-Identifier: GPL-2.0-only
//! Images that are put into registries and directories, with their signatures.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::hub::Hub;
use common::pki::Pki;
use common::server::{Reply, Server};
use common::{composefs, everything, fails, odd_layers, ok, pulled, repository, Pulled};

const PLAIN: &str = "--tls-verify=false";

/// An image that was pulled and signed.
fn set_up() -> (Pulled, Pki) {
    let pulled = pulled(&odd_layers());
    let pki = Pki::new(pulled.dir.path(), &["signer"]);
    sign(&pulled.repository, &pki, &[]);
    (pulled, pki)
}

fn sign(repository: &Path, pki: &Pki, more: &[&str]) -> String {
    let (key, cert) = (pki.path("signer.key"), pki.path("signer.crt"));
    let arguments = ["sign", "image", "--key", &key, "--cert", &cert];
    ok(repository, &[&arguments, more].concat())
        .trim()
        .to_owned()
}

fn push(pulled: &Pulled, to: &str) -> String {
    ok(&pulled.repository, &["push", "image", to, PLAIN])
        .trim()
        .to_owned()
}

/// Pulls it elsewhere, where it has to be signed, and to be the same image.
fn expect_signed(pulled: &Pulled, pki: &Pki, from: &str) -> PathBuf {
    let other = pulled.dir.path().join(format!("other-{}", from.len()));
    let _ = fs::remove_dir_all(&other);
    ok(&other, &["init", "--insecure"]);
    let cert = pki.path("signer.crt");
    let pull = [
        "pull",
        from,
        "image",
        PLAIN,
        "--require-signature",
        "--cert",
        &cert,
    ];
    ok(&other, &pull);
    ok(&other, &["verify", "image", "--cert", &cert]);
    assert_eq!(
        ok(&other, &["digest", "image"]),
        ok(&pulled.repository, &["digest", "image"])
    );
    ok(&other, &["fsck", "--contents"]);
    assert!(ok(&other, &["gc"]).starts_with("0 objects"));
    other
}

/// With the API of referrers and without, in annotations and in an artifact.
#[test]
fn a_signed_image_there_and_back() {
    for has_referrers in [true, false] {
        for more in [&[][..], &["--inline"]] {
            let pulled = pulled(&odd_layers());
            let pki = Pki::new(pulled.dir.path(), &["signer"]);
            sign(&pulled.repository, &pki, more);
            let hub = Hub::new(has_referrers);
            let to = hub.name("a/b:v1");
            let digest = push(&pulled, &to);
            let inspected = ok(&pulled.repository, &["inspect", "image"]);
            assert!(inspected.contains(&format!("\"manifest_digest\": \"{digest}\"")));
            // Where it can be fetched from by now.
            assert!(
                inspected.contains(&format!("\"origin\": \"{to}\"")),
                "{inspected}"
            );
            let fallback = digest.replace(':', "-");
            let is_tagged = !has_referrers && more.is_empty();
            assert_eq!(hub.tags("a/b").contains(&fallback), is_tagged);
            assert_eq!(hub.count("PUT", "/manifests/v1"), 1);
            expect_signed(&pulled, &pki, &to);
            // What is there is not sent again.
            let sent = hub.count("PUT", "/blobs/");
            assert_eq!(push(&pulled, &hub.name("a/b:v2")), digest);
            assert_eq!(hub.count("PUT", "/blobs/"), sent);
            // A second signature is beside the first.
            if more.is_empty() {
                sign(&pulled.repository, &pki, &["--image-only"]);
                push(&pulled, &to);
                let other = expect_signed(&pulled, &pki, &to);
                assert_eq!(
                    everything(&other.join("streams/refs/oci-referrers")).len(),
                    1
                );
                if !has_referrers {
                    let index = hub.manifest("a/b", &fallback);
                    assert_eq!(index["manifests"].as_array().expect("list").len(), 2);
                }
            }
        }
    }
}

/// The tag is the last of all, and of what goes wrong there is none.
#[test]
fn the_name_is_last() {
    let (pulled, _) = set_up();
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let hub = Hub::changed(false, move |request, reply| {
        if request.method == "PUT" {
            seen.lock().expect("requests").push(request.path.clone());
        }
        reply
    });
    push(&pulled, &hub.name("a/b:v1"));
    let order = order.lock().expect("requests").clone();
    let manifests: Vec<_> = order
        .iter()
        .filter(|path| path.contains("/manifests/"))
        .collect();
    assert_eq!(manifests.len(), 4, "{order:?}");
    assert!(manifests[0].ends_with(&pulled.made.manifest), "{order:?}");
    assert!(manifests[2].contains("/manifests/sha256-"), "{order:?}");
    assert!(manifests[3].ends_with("/manifests/v1"), "{order:?}");
    assert_eq!(order.last(), manifests.last().copied());

    for fails_at in 0..order.len() {
        let count = AtomicUsize::new(0);
        let hub = Hub::changed(false, move |request, reply| {
            let is_it =
                request.method == "PUT" && count.fetch_add(1, Ordering::Relaxed) == fails_at;
            if is_it {
                Reply::new(403, b"")
            } else {
                reply
            }
        });
        let to = hub.name("a/b:v1");
        // The registry took what it then denied to have taken.
        let error = fails(&pulled.repository, &["push", "image", &to, PLAIN]);
        assert!(error.contains("403 (forbidden)"), "{error}");
        let is_last = fails_at + 1 == order.len();
        assert_eq!(
            hub.tags("a/b").contains(&"v1".to_owned()),
            is_last,
            "{fails_at}"
        );
    }
}

/// Who is busy or breaks off is asked again; whom one may not write to is not asked for long.
#[test]
fn registries_that_do_not_take_it() {
    let (pulled, _) = set_up();
    let count = AtomicUsize::new(0);
    let hub = Hub::changed(true, move |request, reply| {
        let is_put = request.method == "PUT" && request.path.contains("/blobs/");
        match is_put.then(|| count.fetch_add(1, Ordering::Relaxed)) {
            Some(0) => Reply::new(503, b"").header("Retry-After", "0"),
            _ => reply,
        }
    });
    push(&pulled, &hub.name("a/b:v1"));
    // Another upload was begun for it.
    let begun = hub.count("POST", "/blobs/uploads/");
    assert_eq!(hub.count("PUT", "/blobs/"), begun);

    type Change = fn(Reply) -> Reply;
    let cases: [(&str, Change, &str); 4] = [
        (
            "POST",
            |_| Reply::new(401, b""),
            "does not say what would grant it",
        ),
        (
            "POST",
            |_| Reply::new(202, b"").header("Location", "file:///etc/passwd"),
            "redirects to 'file:",
        ),
        ("POST", |_| Reply::new(202, b""), "redirects to ''"),
        ("HEAD", |_| Reply::new(418, b""), "418"),
    ];
    for (method, change, want) in cases {
        let hub = Hub::changed(true, move |request, reply| {
            if request.method == method {
                change(reply)
            } else {
                reply
            }
        });
        let error = fails(
            &pulled.repository,
            &["push", "image", &hub.name("a/b"), PLAIN],
        );
        assert!(error.contains(want), "{error}");
        assert!(hub.tags("a/b").is_empty());
    }
    let gone = fails(
        &pulled.repository,
        &["push", "image", "docker://127.0.0.1:1/a", PLAIN],
    );
    assert!(
        gone.starts_with("composefs: cannot push 'image': registry '127.0.0.1:1': "),
        "{gone}"
    );
    fails(
        &pulled.repository,
        &["push", "none", &hub.name("a/b"), PLAIN],
    );
    fails(&pulled.repository, &["push", "image", "oci-archive:x.tar"]);
    let by_digest = hub.name(&format!("a/b@sha256:{}", "0".repeat(64)));
    let error = fails(&pulled.repository, &["push", "image", &by_digest, PLAIN]);
    assert!(error.contains("the image is another one"), "{error}");
}

/// Leave to write is asked for, in the words of the registry or, if it has none, in ours.
#[test]
fn a_token_to_write_with() {
    let (pulled, _) = set_up();
    for has_words in [true, false] {
        let hub = Hub::changed(true, move |request, reply| {
            let path = &request.path;
            if path.starts_with("/token") {
                let may_push = path.contains("scope=repository%3Aa%2Fb%3Apull%2Cpush");
                let token = if may_push { "writer" } else { "reader" };
                let answer = format!("{{\"token\": \"{token}\", \"expires_in\": 300}}");
                return Reply::new(200, answer.as_bytes());
            }
            let shown = request.headers.get("authorization").map(String::as_str);
            let is_write = matches!(&*request.method, "PUT" | "POST");
            let is_reader = shown == Some("Bearer reader");
            if shown == Some("Bearer writer") || is_reader && !is_write {
                return reply;
            }
            let host = &request.headers["host"];
            let scope = match (has_words, is_write) {
                (false, _) => "",
                (true, true) => ",scope=\"repository:a/b:pull,push repository:c:pull\"",
                (true, false) => ",scope=\"repository:a/b:pull\"",
            };
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"{scope}");
            Reply::new(401, b"").header("WWW-Authenticate", &challenge)
        });
        push(&pulled, &hub.name("a/b:v1"));
        assert_eq!(hub.tags("a/b"), ["v1"]);
        let tokens = hub.server.requests().into_iter();
        let tokens: Vec<_> = tokens
            .map(|request| request.path)
            .filter(|path| path.starts_with("/token"))
            .collect();
        assert_eq!(tokens.len(), if has_words { 2 } else { 1 });
        let last = tokens.last().expect("a token");
        assert_eq!(last.contains("scope=repository%3Ac%3Apull"), has_words);
    }
}

/// Uploads may go to another server, which is not shown what the registry is.
#[test]
fn uploads_that_go_elsewhere() {
    let (pulled, _) = set_up();
    let place = Arc::new(Mutex::new(String::new()));
    let elsewhere = Arc::clone(&place);
    let hub = Hub::changed(true, move |request, reply| {
        let host = &request.headers["host"];
        if request.path.starts_with("/token") {
            return Reply::new(200, b"{\"token\": \"secret\"}");
        }
        if !request.headers.contains_key("authorization") {
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            return Reply::new(401, b"").header("WWW-Authenticate", &challenge);
        }
        match &*request.method {
            "POST" => {
                let location = format!("http://{}/upload", elsewhere.lock().expect("place"));
                Reply::new(202, b"").header("Location", &location)
            }
            _ => reply,
        }
    });
    let stored = Arc::clone(&hub.stored);
    let other = Server::run(move |request| {
        assert!(
            !request.headers.contains_key("authorization"),
            "{request:?}"
        );
        let (_, digest) = request.path.split_once("?digest=").expect("digest");
        let key = ("a/b".to_owned(), digest.to_owned());
        let mut stored = stored.lock().expect("registry");
        stored.blobs.insert(key, request.body.clone());
        Reply::new(201, b"")
    });
    place.lock().expect("place").clone_from(&other.host);
    push(&pulled, &hub.name("a/b:v1"));
    assert_eq!(hub.tags("a/b"), ["v1"]);
    assert_eq!(other.requests().len(), 8);
}

/// What is in another repository of the same registry is not sent.
#[test]
fn blobs_of_the_same_registry_are_taken_there() {
    let (pulled, pki) = set_up();
    let hub = Hub::new(true);
    push(&pulled, &hub.name("first:v1"));
    let sent = hub.count("PUT", "/first/blobs/");
    // It is noted to be there by now.
    push(&pulled, &hub.name("second:v1"));
    assert_eq!(sent, 8);
    // Only the configurations were.
    assert_eq!(hub.count("PUT", "/second/blobs/"), 2);
    assert_eq!(hub.count("POST", "/second/blobs/uploads/?mount="), 6);
    expect_signed(&pulled, &pki, &hub.name("second:v1"));
}

/// Nobody has the layers any more as they were: what they are stays the same, and what was signed.
#[test]
fn layers_that_are_compressed_anew() {
    for more in [&[][..], &["--inline"]] {
        let pulled = pulled(&odd_layers());
        let pki = Pki::new(pulled.dir.path(), &["signer"]);
        sign(&pulled.repository, &pki, more);
        fs::remove_dir_all(&pulled.layout.path).expect("removed");
        let hub = Hub::new(true);
        let to = hub.name("a/b:v1");
        let output = composefs(&pulled.repository, &["push", "image", &to, PLAIN]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        // That which was not compressed is as it was.
        assert_eq!(
            said.matches(": compressed anew, as it is nowhere as it was")
                .count(),
            2,
            "{said}"
        );
        let digest = String::from_utf8(output.stdout).expect("text");
        assert_ne!(digest.trim(), pulled.made.manifest);
        let other = expect_signed(&pulled, &pki, &to);
        let config = |repository: &Path| ok(repository, &["inspect", "--config", "image"]);
        assert_eq!(config(&other), config(&pulled.repository));
        // It is the same each time, and is there by then.
        let sent = hub.count("PUT", "/blobs/");
        let again = composefs(&pulled.repository, &["push", "image", &to, PLAIN]);
        assert_eq!(String::from_utf8(again.stdout).expect("text"), digest);
        assert_eq!(hub.count("PUT", "/blobs/"), sent);
        // It has not become another one here.
        ok(
            &pulled.repository,
            &["verify", "image", "--cert", &pki.path("signer.crt")],
        );
    }
}

#[test]
fn directories() {
    let (pulled, pki) = set_up();
    let dir = pulled.dir.path().join("put");
    let to = format!("oci:{}:v1", dir.display());
    assert_eq!(push(&pulled, &to), pulled.made.manifest);
    push(&pulled, &format!("oci:{}:v2", dir.display()));
    assert_eq!(push(&pulled, &to), pulled.made.manifest);
    for name in [
        format!("{}:v1", dir.display()),
        format!("{}:v2", dir.display()),
    ] {
        expect_signed(&pulled, &pki, &format!("oci:{name}"));
    }
    let index = fs::read(dir.join("index.json")).expect("index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    assert_eq!(index["manifests"].as_array().expect("list").len(), 3);
    // An archive of it is as good.
    let archive = pulled.dir.path().join("put.tar");
    let status = Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&dir)
        .arg(".")
        .status();
    assert!(status.expect("tar").success());
    expect_signed(
        &pulled,
        &pki,
        &format!("oci-archive:{}:v1", archive.display()),
    );
    let alone = pulled.dir.path().join("alone");
    let to = format!("oci:{}", alone.display());
    push(&pulled, &to);
    expect_signed(&pulled, &pki, &to);
    push(&pulled, &to);
    expect_signed(&pulled, &pki, &to);
    fs::write(dir.join("index.json"), "{}").expect("written");
    let error = fails(
        &pulled.repository,
        &["push", "image", &format!("oci:{}:v1", dir.display())],
    );
    assert!(error.ends_with("index.json': is not an index"), "{error}");
}

/// An artifact is put as well; what is damaged here is put nowhere.
#[test]
fn artifacts_and_what_is_damaged() {
    let dir = common::quick_directory();
    let layout = common::Layout::new(&dir.path().join("image"));
    let made = layout.artifact(
        (b"{}", "application/vnd.oci.empty.v1+json"),
        &[(b"text", "text/plain")],
    );
    let repository = repository(dir.path());
    ok(&repository, &["pull", &layout.name(), "thing"]);
    fs::remove_dir_all(&layout.path).expect("removed");
    let hub = Hub::new(true);
    let put = ok(&repository, &["push", "thing", &hub.name("a:v1"), PLAIN]);
    assert_eq!(put.trim(), made.manifest);
    let other = dir.path().join("other");
    ok(&other, &["init", "--insecure"]);
    ok(&other, &["pull", &hub.name("a:v1"), "thing", PLAIN]);

    let (pulled, _) = set_up();
    fs::remove_dir_all(&pulled.layout.path).expect("removed");
    let objects = everything(&pulled.repository.join("objects"));
    let large = objects
        .iter()
        .max_by_key(|path| fs::metadata(path).expect("file").len());
    common::damage(large.expect("an object"));
    let hub = Hub::new(true);
    let error = fails(
        &pulled.repository,
        &["push", "image", &hub.name("a:v1"), PLAIN],
    );
    assert!(error.contains("is damaged: its digest is"), "{error}");
    assert!(hub.tags("a").is_empty());
}
