// SPDX-License-Identifier: GPL-2.0-only
//! The same tree becomes the same image, byte for byte, on any machine: people sign its digest.
//! What the digests are was written down on amd64.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{ensure, Result};
use composefs_selftests::image::build;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{odd_tree, setup};

struct Context {
    work: PathBuf,
}

fn set_up() -> Result<Context> {
    let work = setup::work_directory("same-bytes")?;
    odd_tree::create(&work.join("source"))?;
    Ok(Context { work })
}

/// The tree has nothing of the machine in it, nor of the day. The digest is the image's, and in that
/// are those of the objects.
fn expect(context: &Context, version: &str, digest: &str) -> Result<()> {
    let options = [
        format!("--min-version={version}"),
        format!("--max-version={version}"),
    ];
    let options = options.each_ref().map(String::as_str);
    let source = context.work.join("source");
    let directory = context.work.join(version);
    let image = build(&setup::mkcomposefs(), &source, &directory, &options)?;
    ensure!(image.digest == digest, "the digest is {}", image.digest);
    Ok(())
}

fn version_0(context: &mut Context) -> Result<()> {
    const DIGEST: &str = "3828f726d1bd6122a176ca552ae08a94807a5dcf96d5812fb00dc5557fc6fc96";
    expect(context, "0", DIGEST)
}

fn version_1(context: &mut Context) -> Result<()> {
    const DIGEST: &str = "63962022367470a2412944b29dee5010eb81dc5511734e19d25f739e344626fe";
    expect(context, "1", DIGEST)
}

const CASES: &[Case<Context>] = &[
    ("an image of version 0", version_0),
    ("an image of version 1", version_1),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
