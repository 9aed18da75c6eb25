// SPDX-License-Identifier: GPL-2.0-only
//! What is shown of a pull: on a terminal, and nowhere else.

mod common;

use std::fs;
use std::process::Command;

use common::honest::honest;
use common::server::{Reply, Server};
use common::{composefs, ok, quick_directory, repository, By, Layer, Layout};

/// The first digits of a digest.
fn short(digest: &str) -> &str {
    &digest.trim_start_matches("sha256:")[..12]
}

#[test]
fn a_line_for_each_layer() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    let layer = |name: &str| {
        let layer = Layer::new()
            .dir("usr")
            .file(name, name.repeat(500).as_bytes());
        (layer.bytes(), By::Gzip)
    };
    let made = layout.image(&[layer("usr/a"), layer("usr/b")]);
    let (path, answers) = (layout.path.clone(), made.clone());
    let server = Server::run(move |request| {
        let reply = honest(&path, &answers, request);
        let is_layer = answers
            .layers
            .iter()
            .any(|layer| request.path.ends_with(layer));
        Reply {
            // Long enough to be seen.
            pauses_after: is_layer.then_some(reply.body.len() / 2),
            ..reply
        }
    });
    let repository = repository(dir.path());
    let from = format!("docker://{}/some/image", server.host);

    let output = composefs(&repository, &["pull", "--tls-verify=false", &from, "quiet"]);
    assert!(output.status.success() && output.stderr.is_empty());
    ok(&repository, &["rm", "quiet"]);
    ok(&repository, &["gc"]);

    // script(1) runs a command on a terminal of its own, and prints what is shown there.
    let command = format!(
        "{} --repo {} pull --tls-verify=false {from} image",
        env!("CARGO_BIN_EXE_composefs"),
        repository.display()
    );
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
        .env("TERM", "xterm")
        .output()
        .expect("script runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    for layer in &made.layers {
        assert!(shown.contains(short(layer)), "{layer}: {shown}");
        let size = fs::metadata(layout.blob_path(layer)).expect("blob").len();
        let half = format!(" {} B/{size} B, ", size / 2);
        assert!(shown.contains(&half), "{half}: {shown}");
    }
    assert!(shown.contains("2 layers"), "{shown}");
    // All of it is gone in the end.
    let last = shown.trim_end().rsplit(['\n', '\r']).next();
    assert!(
        last.is_some_and(|last| last.ends_with(&made.manifest)),
        "{shown}"
    );
}
