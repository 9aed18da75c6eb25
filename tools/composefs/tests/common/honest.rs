// SPDX-License-Identifier: GPL-2.0-only
//! A registry that is as it should be, for others to differ from.

use std::fs;
use std::path::Path;

use super::server::{Reply, Request, Server};
use super::{odd_layers, Layout, Made};

/// What an honest registry answers that has the image of a layout.
pub fn honest(layout: &Path, made: &Made, request: &Request) -> Reply {
    let Some(path) = request.path.strip_prefix("/v2/some/image/") else {
        return Reply::new(404, b"");
    };
    let digest = match path {
        "manifests/latest" => made.manifest.as_str(),
        path => path.rsplit('/').next().unwrap_or_default(),
    };
    match fs::read(
        layout
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:")),
    ) {
        Ok(blob) => ranged(&blob, request),
        Err(_) => Reply::new(404, b""),
    }
}

/// A blob, or the part of it that was asked for.
pub fn ranged(blob: &[u8], request: &Request) -> Reply {
    let range = request.headers.get("range");
    let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((from, last)) = range else {
        return Reply::new(200, blob);
    };
    let from: usize = from.parse().expect("number");
    let last = last.parse().unwrap_or(usize::MAX).min(blob.len() - 1);
    match blob.get(from..=last) {
        Some(part) => Reply::new(206, part).header(
            "Content-Range",
            &format!("bytes {from}-{last}/{}", blob.len()),
        ),
        None => Reply::new(416, b""),
    }
}

/// A layout of one image, and a server of it that does what `change` makes of honest answers.
pub fn server(
    dir: &Path,
    change: impl Fn(&Request, Reply, &Made) -> Reply + Send + Sync + 'static,
) -> Server {
    let layout = Layout::new(&dir.join("image"));
    let made = layout.image(&odd_layers());
    Server::run(move |request| change(request, honest(&layout.path, &made, request), &made))
}
