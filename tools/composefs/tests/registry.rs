// SPDX-License-Identifier: GPL-2.0-only
//! Registries as they should be, and as they should not.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::honest::{honest, ranged, server};
use common::server::{Reply, Request, Server};
use common::{everything, odd_layers, repository, By, Layer, Layout, Made};
use composefs_oci::digest::BlobDigest;
use composefs_oci::manifest::Platform;
use composefs_oci::pull::{Advance, Watch};
use composefs_oci::source::registry::{Registry, Settings, Trust};
use composefs_repository::Repository;

struct Nobody;

impl Watch for Nobody {
    fn begin(&self, _: u64, _: usize, _: usize) {}
    fn layer(&self, _: &BlobDigest, _: u64) -> Advance<'_> {
        Box::new(|_| {})
    }
    fn compose(&self) {}
}

/// Pulls `image` of a server that has no TLS; what went wrong, in words.
fn pull(repository: &Path, host: &str, version: &str) -> Result<String, String> {
    std::env::set_var("CONTAINERS_REGISTRIES_CONF", "/dev/null");
    let settings = Settings {
        trust: Trust::Nobody,
        pause: Duration::from_millis(1),
        stall: Duration::from_secs(1),
    };
    let repository = Repository::open(repository).expect("repository");
    let pull = || {
        let source = Registry::open(&format!("{host}/some/image{version}"), &settings)?;
        composefs_oci::pull(
            &repository,
            &source,
            &Platform::host(),
            "image",
            None,
            &Nobody,
        )
    };
    let digest = pull().map_err(|error| format!("{error:#}"))?;
    Ok(digest.to_string())
}

#[test]
fn an_image_by_tag_and_by_digest() {
    let dir = tempfile::tempdir().expect("directory");
    let server = server(dir.path(), |_, reply, _| reply);
    let repository = repository(dir.path());
    let digest = pull(&repository, &server.host, "").expect("by tag");
    let asked = server.requests().len();
    assert_eq!(
        pull(&repository, &server.host, &format!("@{digest}")).expect("by digest"),
        digest
    );
    // The manifest and the configuration: no layer.
    assert_eq!(server.requests().len(), asked + 2);
    let accept = &server.requests()[asked].headers["accept"];
    for kind in [
        "oci.image.manifest",
        "oci.image.index",
        "docker.distribution.manifest.v2",
        "manifest.list",
    ] {
        assert!(accept.contains(kind), "{accept}");
    }
    let error = pull(&repository, &server.host, ":other").expect_err("no such tag");
    assert!(
        error.ends_with("'manifests/other': the server says 404 (not found)"),
        "{error}"
    );
}

#[test]
fn a_token_is_asked_for_and_shown_to_nobody_else() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let made = layout.image(&odd_layers());
    let path = layout.path.clone();
    let elsewhere = Server::run(move |request| {
        assert!(
            !request.headers.contains_key("authorization"),
            "{request:?}"
        );
        ranged(
            &fs::read(path.join("blobs").join(&request.path[1..])).expect("blob"),
            request,
        )
    });
    let (blobs, path) = (elsewhere.host.clone(), layout.path.clone());
    let server = Server::run(move |request| {
        if request.path.starts_with("/token") {
            assert!(
                request
                    .path
                    .contains("scope=repository%3Asome%2Fimage%3Apull")
                    && request.path.contains("service=here")
            );
            return Reply::new(200, b"{\"token\": \"secret\", \"expires_in\": 300}");
        }
        if request.headers.get("authorization").map(String::as_str) != Some("Bearer secret") {
            let host = &request.headers["host"];
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"here\",scope=\"repository:some/image:pull\"");
            return Reply::new(401, b"").header("WWW-Authenticate", &challenge);
        }
        match request.path.rsplit_once("/blobs/sha256:") {
            Some((_, hex)) => {
                Reply::new(307, b"").header("Location", &format!("http://{blobs}/sha256/{hex}"))
            }
            None => honest(&path, &made, request),
        }
    });
    let repository = repository(dir.path());
    pull(&repository, &server.host, "").expect("with a token");
    assert!((1..=3).contains(
        &server
            .requests()
            .iter()
            .filter(|request| request.path.starts_with("/token"))
            .count()
    ));
    assert_eq!(elsewhere.requests().len(), 4);
}

#[test]
fn who_is_busy_is_asked_again() {
    let dir = tempfile::tempdir().expect("directory");
    let asked = Mutex::new(HashMap::new());
    let server = server(dir.path(), move |request, reply, _| {
        let mut asked = asked.lock().expect("requests");
        let count = asked.entry(request.path.clone()).or_insert(0);
        *count += 1;
        match *count {
            1 => Reply::new(429, b"").header("Retry-After", "0"),
            2 => Reply::new(503, b""),
            _ => reply,
        }
    });
    pull(&repository(dir.path()), &server.host, "").expect("in the end");
}

#[test]
fn who_is_always_busy_is_left() {
    let dir = tempfile::tempdir().expect("directory");
    let server = server(dir.path(), |_, _, _| Reply::new(500, b""));
    let error = pull(&repository(dir.path()), &server.host, "").expect_err("never");
    assert!(
        error.ends_with("the server says 500 (internal error)"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn transfers_go_on_where_they_broke_off() {
    let dir = tempfile::tempdir().expect("directory");
    let server = server(dir.path(), |request, reply, _| Reply {
        breaks_after: request
            .path
            .contains("/blobs/")
            .then_some(reply.body.len() / 2 + 1)
            .filter(|&count| count < reply.body.len()),
        ..reply
    });
    let repository = repository(dir.path());
    pull(&repository, &server.host, "").expect("in parts");
    assert!(server
        .requests()
        .iter()
        .any(|request| request.headers.contains_key("range")));
    common::ok(&repository, &["fsck", "--contents"]);
}

/// What a registry may do wrong: each is an error, soon, and leaves nothing.
#[test]
fn registries_that_are_not_what_they_should_be() {
    type Change = fn(&Request, Reply, &Made) -> Reply;
    fn is_layer(request: &Request, made: &Made) -> bool {
        made.layers
            .iter()
            .any(|layer| request.path.ends_with(layer))
    }
    fn of_layer(
        request: &Request,
        reply: Reply,
        made: &Made,
        change: impl Fn(Reply) -> Reply,
    ) -> Reply {
        if is_layer(request, made) {
            change(reply)
        } else {
            reply
        }
    }
    let cases: [(&str, Change, &str); 14] = [
        (
            "another manifest",
            |request, reply, made| {
                if request.path.ends_with(&made.manifest) {
                    Reply::new(200, b"{}")
                } else {
                    reply
                }
            },
            "",
        ),
        (
            "a manifest that is none",
            |_, _, _| Reply::new(200, b"<html>"),
            "is not a manifest",
        ),
        (
            "a manifest without end",
            |_, _, _| Reply {
                is_endless: true,
                ..Reply::new(200, &[b' '; 100_000])
            },
            "is of more than",
        ),
        (
            "another configuration",
            |request, reply, made| {
                let is_config = request.path.contains("/blobs/") && !is_layer(request, made);
                if is_config {
                    Reply::new(200, b"{\"rootfs\": {\"diff_ids\": []}}")
                } else {
                    reply
                }
            },
            "cannot go on",
        ),
        (
            "another layer",
            |request, reply, made| {
                of_layer(request, reply, made, |mut reply| {
                    if let Some(byte) = reply.body.last_mut() {
                        *byte ^= 1
                    }
                    reply
                })
            },
            "",
        ),
        (
            "no layer",
            |request, reply, made| of_layer(request, reply, made, |_| Reply::new(404, b"")),
            "404",
        ),
        (
            "an empty layer",
            |request, reply, made| of_layer(request, reply, made, |_| Reply::new(200, b"")),
            "too early",
        ),
        (
            "a layer that is too short",
            |request, reply, made| {
                of_layer(request, reply, made, |mut reply| {
                    reply.body.truncate(100);
                    reply
                })
            },
            "",
        ),
        (
            "a layer without end",
            |request, reply, made| {
                of_layer(request, reply, made, |reply| Reply {
                    is_endless: true,
                    ..reply
                })
            },
            "is of more than",
        ),
        (
            "a layer that breaks off and cannot go on",
            |request, reply, made| {
                of_layer(request, reply, made, |reply| Reply {
                    status: 200,
                    breaks_after: Some(50),
                    ..reply
                })
            },
            "cannot go on",
        ),
        (
            "redirections without end",
            |request, _, _| Reply::new(302, b"").header("Location", &request.path),
            "redirects more than",
        ),
        (
            "a redirection to a file",
            |_, _, _| Reply::new(302, b"").header("Location", "file:///etc/passwd"),
            "redirects to 'file:///etc/passwd'",
        ),
        (
            "access that nobody grants",
            |_, _, _| Reply::new(401, b""),
            "does not say",
        ),
        (
            "a token from elsewhere",
            |_, _, _| {
                Reply::new(401, b"").header("WWW-Authenticate", "Bearer realm=\"gopher://a\"")
            },
            "which is not to be trusted",
        ),
    ];
    for (name, change, want) in cases {
        let dir = tempfile::tempdir().expect("directory");
        let server = server(dir.path(), change);
        let repository = repository(dir.path());
        let start = Instant::now();
        let version = if name == "another manifest" {
            "@sha256:0000000000000000000000000000000000000000000000000000000000000000"
        } else {
            ""
        };
        let error = pull(&repository, &server.host, version).expect_err(name);
        assert!(error.contains(want), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name}");
        let left = everything(&repository);
        let is_right = |path: &std::path::PathBuf| {
            path.ends_with("meta.json") || !path.to_string_lossy().contains("manifest")
        };
        assert!(left.iter().all(is_right), "{name}: {left:?}");
        common::ok(&repository, &["fsck", "--contents"]);
        common::ok(&repository, &["gc"]);
        assert_eq!(
            everything(&repository),
            [repository.join("meta.json")],
            "{name}"
        );
    }
}

#[test]
fn who_gives_a_byte_at_a_time_is_left() {
    let dir = tempfile::tempdir().expect("directory");
    let layout = Layout::new(&dir.path().join("image"));
    let made = layout.image(&[(Layer::new().dir("usr").bytes(), By::Nothing)]);
    let path = layout.path.clone();
    let layer = made.layers[0].clone();
    let server = Server::run(move |request| {
        let reply = honest(&path, &made, request);
        let is_slow = request.path.ends_with(&layer);
        // It does not even go on where it was.
        let status = if is_slow { 200 } else { reply.status };
        Reply {
            is_slow,
            status,
            ..reply
        }
    });
    let error = pull(&repository(dir.path()), &server.host, "").expect_err("too slow");
    assert!(
        error.contains("cannot go on where it was interrupted"),
        "{error}"
    );
}

/// The head of an answer a byte at a time, or a text, or nothing for long.
#[test]
fn who_is_slow_before_anything_came_is_left() {
    for of_head in [true, false] {
        let dir = tempfile::tempdir().expect("directory");
        let server = server(dir.path(), move |_, reply, _| Reply {
            is_slow: true,
            of_head,
            ..reply
        });
        let repository = repository(dir.path());
        let error = pull(&repository, &server.host, "").expect_err("too slow");
        assert!(error.contains("too slow"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(everything(&repository), [repository.join("meta.json")]);
    }
}
