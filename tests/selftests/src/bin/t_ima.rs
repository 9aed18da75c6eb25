// SPDX-License-Identifier: GPL-2.0-only
//! IMA's rules with digest_type=verity: what is measured is the digest that fs-verity has of the
//! object of a file.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::capture;
use composefs_selftests::image::{build, Image};
use composefs_selftests::integrity::{program, securityfs};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case, Skip};
use composefs_selftests::verity::{hex_digest, Algorithm};

/// What the rules are about: files of an owner that nothing else in the guest has.
const OWNER: u32 = 61_234;

/// In each image.
const FILES: u8 = 100;

struct Context {
    work: PathBuf,
    images: Vec<Image>,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let ima = securityfs("ima")?;
    let work = setup::work_directory("ima")?;
    let images = (0..2).map(|number| make_image(&work, number));
    let images = images.collect::<Result<_>>()?;
    add_rules(&ima.join("policy"))?;
    Ok(Context { work, images })
}

fn add_rules(policy: &Path) -> Result<()> {
    let rule =
        |what| format!("measure {what} fowner={OWNER} digest_type=verity template=ima-ngv2\n");
    let rules = rule("func=FILE_CHECK mask=MAY_READ") + &rule("func=BPRM_CHECK mask=MAY_EXEC");
    // It can be written once: what is there then may be from an earlier run.
    if !policy.exists() {
        return Err(Skip("IMA has its policy already".into()).into());
    }
    fs::write(policy, rules).context("the policy of IMA")
}

/// Files, programs, and one that is too small to be an object.
fn make_image(work: &Path, number: u8) -> Result<Image> {
    let directory = work.join(format!("image-{number}"));
    let source = directory.join("source");
    setup::create_dir(&source)?;
    let add = |name: &str, content: &[u8]| -> Result<()> {
        let path = source.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        chown(&path, Some(OWNER), None).context("chown")
    };
    for file in 0..FILES {
        add(&format!("file-{file}"), &content(number, file))?;
    }
    add("program", &program(number))?;
    add("small", &[number; 10])?;
    build(&setup::mkcomposefs(), &source, &directory, &[])
}

fn content(image: u8, file: u8) -> Vec<u8> {
    let mut content = vec![image; 5000];
    content.push(file);
    content
}

/// What IMA has measured of the file at `path`, as it shows it.
fn measured(path: &Path) -> Result<Vec<String>> {
    let list = securityfs("ima")?.join("ascii_runtime_measurements");
    let list = fs::read_to_string(list)?;
    let name = path.to_string_lossy();
    // register, hash of the template, template, type and algorithm and digest, name
    let of_this = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [_, _, "ima-ngv2", digest, seen] if *seen == *name => Some(digest.to_owned()),
        _ => None,
    };
    Ok(list.lines().filter_map(of_this).collect())
}

fn expect_measured(path: &Path, content: &[u8]) -> Result<()> {
    let digest = hex_digest(Algorithm::Sha256, content);
    let expected = format!("verity:sha256:{digest}");
    let seen = measured(path)?;
    ensure!(
        seen == [expected.as_str()],
        "{}: measured {seen:?}, expected {expected}",
        path.display()
    );
    Ok(())
}

fn read_all(mount: &Mount, image: u8) -> Result<()> {
    for file in 0..FILES {
        let path = mount.join(format!("file-{file}"));
        ensure!(fs::read(&path)? == content(image, file), "content differs");
        expect_measured(&path, &content(image, file))?;
    }
    Ok(())
}

impl Context {
    fn mount(&self, request: &Request, name: &str) -> Result<Mount> {
        Ok(request.at(&self.work.join(name))?)
    }
}

fn files(context: &mut Context) -> Result<()> {
    let mount = context.mount(&context.images[0].request(), "files")?;
    read_all(&mount, 0)?;
    // Once more does not make it another measurement.
    read_all(&mount, 0)?;
    setup::drop_caches()?;
    read_all(&mount, 0)?;
    mount.unmount()
}

/// Where inodes were in memory, there are others now.
fn another_image(context: &mut Context) -> Result<()> {
    for attempt in 0..3 {
        for number in [0, 1] {
            let name = format!("attempt-{attempt}-{number}");
            let request = context.images[usize::from(number)].request();
            let mount = context.mount(&request, &name)?;
            read_all(&mount, number)?;
            mount.unmount()?;
        }
    }
    Ok(())
}

fn programs(context: &mut Context) -> Result<()> {
    let mount = context.mount(&context.images[1].request(), "programs")?;
    let path = mount.join("program");
    let status = capture(&mut Command::new(&path))?.status;
    ensure!(status.code() == Some(1), "{status}");
    expect_measured(&path, &program(1))?;
    mount.unmount()
}

/// What fs-verity has of an object is not a matter of what the mount asks for.
fn unchecked(context: &mut Context) -> Result<()> {
    let image = &context.images[0];
    let request = Request::new(&image.file).basedir(&image.store);
    let mount = context.mount(&request.set("verity", "off"), "unchecked")?;
    read_all(&mount, 0)?;
    mount.unmount()
}

/// The content of these is in the image, and covered by its digest; they have none of their own.
fn small_files(context: &mut Context) -> Result<()> {
    let mount = context.mount(&context.images[0].request(), "small")?;
    let path = mount.join("small");
    ensure!(fs::read(&path)? == [0; 10], "content differs");
    let seen = measured(&path)?;
    ensure!(seen.is_empty(), "measured {seen:?}");
    mount.unmount()
}

const CASES: &[Case<Context>] = &[
    ("files that are read", files),
    ("files of one image after another", another_image),
    ("a program that is run", programs),
    ("with verity=off", unchecked),
    ("small files have no digest", small_files),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
