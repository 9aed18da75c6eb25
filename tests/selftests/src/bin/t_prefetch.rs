// SPDX-License-Identifier: GPL-2.0-only
//! What `composefs record` notes of an image, and that `composefs mount --prefetch` reads that ahead
//! and nothing else.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{expect_refusal, run};
use composefs_selftests::image::{self, Image};
use composefs_selftests::python;
use composefs_selftests::repository::Repository;
use composefs_selftests::setup::{self, drop_caches};
use composefs_selftests::tap::{self, Case};

/// Nothing takes that long.
const LONG: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(300);
/// Larger than what the kernel reads ahead by itself.
const LARGE: usize = 3 << 20;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// A program, and what it needs.
const PROGRAM: &str = "/usr/bin/cat";

/// Each object's blocks, in order.
type Lines = Vec<(String, String)>;

struct Context {
    work: PathBuf,
    image: Image,
    repository: Repository,
    /// The digests of the files.
    digests: BTreeMap<&'static str, String>,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("prefetch")?;
    let source = work.join("source");
    setup::create_dir(&source.join("proc"))?;
    for name in NAMES {
        let line = format!("this is {name}\n");
        fs::write(source.join(name), line.repeat(LARGE / line.len()))?;
    }
    let source_path = source.to_str().context("the path is not text")?;
    let libraries = run("ldd", [PROGRAM])?;
    let libraries = libraries.split_whitespace();
    for path in libraries
        .filter(|word| word.starts_with('/'))
        .chain([PROGRAM])
    {
        run("cp", ["-L", "--parents", path, source_path])?;
    }
    let image = image::build(&setup::mkcomposefs(), &source, &work.join("built"), &[])?;
    let mut digests = BTreeMap::new();
    for name in NAMES {
        let file = source.join(name);
        let digest = run(
            "fsverity",
            [Path::new("digest"), Path::new("--compact"), &file],
        )?;
        digests.insert(name, digest);
    }
    let repository = Repository::at(&work.join("repository"));
    let store = image.store.to_str().context("the path is not text")?;
    let file = image.file.to_str().context("the path is not text")?;
    let proof = ["--digest", &image.digest, "--from", store];
    repository.run(&[&["fetch", file, "image"], &proof[..]].concat())?;
    Ok(Context {
        work,
        image,
        repository,
        digests,
    })
}

impl Context {
    fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    fn profile(&self) -> PathBuf {
        self.repository
            .path()
            .join("profiles")
            .join(&self.image.digest)
    }

    fn object(&self, digest: &str) -> PathBuf {
        let (dir, name) = digest.split_at(2);
        self.repository.path().join("objects").join(dir).join(name)
    }

    fn digest(&self, name: &str) -> Result<&str> {
        let digest = self.digests.get(name).context("no such file")?;
        Ok(digest)
    }

    /// Has the shell do something in the directory of the image.
    fn record(&self, script: &str) -> Result<String> {
        setup::create_dir(&self.target())?;
        let target = self.target();
        let target = target.to_str().context("the path is not text")?;
        let script = format!("cd {target}; {script}");
        let command = ["--at", target, "image", "--", "sh", "-ec", &script];
        self.repository.run(&[&["record"], &command[..]].concat())
    }

    /// The lines of the profile that are about files, in their order.
    fn lines(&self) -> Result<Lines> {
        let text = fs::read_to_string(self.profile())?;
        let mut lines = text.lines();
        let begin = format!("composefs-profile 1 sha256:{}", self.image.digest);
        ensure!(lines.next() == Some(&begin), "{text}");
        let image = lines.next().context("no image")?;
        ensure!(image.starts_with(&self.image.digest), "{text}");
        let lines = lines.map(|line| line.split_once(' ').unwrap_or((line, "")));
        Ok(lines.map(|(one, two)| (one.into(), two.into())).collect())
    }

    fn expect_order(&self, names: &[&str]) -> Result<()> {
        let lines = self.lines()?;
        let found: Vec<_> = lines.iter().map(|(digest, _)| &**digest).collect();
        let digests: Result<Vec<_>> = names.iter().map(|name| self.digest(name)).collect();
        ensure!(found == digests?, "{names:?}: {lines:?}");
        Ok(())
    }

    fn blocks(&self, name: &str) -> Result<String> {
        let digest = self.digest(name)?;
        let lines = self.lines()?;
        let line = lines.into_iter().find(|(object, _)| object == digest);
        Ok(line.context("it is not there")?.1)
    }

    /// Which blocks of each object are in memory, but for the image.
    fn cached(&self) -> Result<Lines> {
        let (mut digests, mut paths) = (Vec::new(), Vec::new());
        for dir in fs::read_dir(self.repository.path().join("objects"))? {
            let dir = dir?;
            for object in fs::read_dir(dir.path())? {
                let object = object?;
                let names = [dir.file_name(), object.file_name()];
                let digest = names.map(|name| name.to_string_lossy().into_owned());
                if digest.concat() != self.image.digest {
                    digests.push(digest.concat());
                    paths.push(object.path());
                }
            }
        }
        let found = python::run(include_str!("../../python/cached.py"), &paths)?;
        // What is printed last may be empty.
        let blocks = found.split('\n').map(str::to_owned);
        let found: Vec<_> = blocks.chain([String::new()]).collect();
        let lines = digests.into_iter().zip(found);
        let mut lines: Lines = lines.filter(|(_, blocks)| !blocks.is_empty()).collect();
        lines.sort();
        Ok(lines)
    }

    /// Mounts it with nothing in memory, and waits until that is there which is to be read ahead.
    fn expect_ahead(&self, expected: Lines) -> Result<()> {
        let mut expected: Lines = expected
            .into_iter()
            .filter(|(_, blocks)| !blocks.is_empty())
            .collect();
        expected.sort();
        drop_caches()?;
        ensure!(self.cached()?.is_empty(), "{:?}", self.cached()?);
        let mount = self
            .repository
            .mount("image", &self.target(), &["--prefetch"])?;
        let begin = Instant::now();
        while self.cached()? != expected {
            let found = self.cached()?;
            ensure!(begin.elapsed() < LONG, "{found:?}, expected {expected:?}");
            std::thread::sleep(PAUSE);
        }
        std::thread::sleep(PAUSE);
        let found = self.cached()?;
        ensure!(found == expected, "{found:?}, expected {expected:?}");
        mount.unmount()
    }
}

/// What is opened, in this order, and read is noted, and nothing else.
fn recorded(context: &Context) -> Result<()> {
    context.record("head -c 10 c >/dev/null; cat a >/dev/null; : <b; head -c 1 c >/dev/null")?;
    context.expect_order(&["c", "a", "b"])?;
    let all = format!("0-{}", (LARGE - LARGE % 10) / 4096);
    let (first, second) = (context.blocks("c")?, context.blocks("a")?);
    ensure!(second == all, "{second}, expected {all}");
    ensure!(first.starts_with("0-") && first.len() < 5, "{first}");
    ensure!(context.blocks("b")?.is_empty(), "{}", context.blocks("b")?);
    Ok(())
}

fn merged(context: &Context) -> Result<()> {
    let first = context.blocks("c")?;
    let said = context.record("cat d >/dev/null; tail -c 10 c >/dev/null; exit 3");
    let said = format!("{:#}", said.err().context("how it ended is not told")?);
    ensure!(said.contains("exit status: 3"), "{said}");
    context.expect_order(&["c", "a", "b", "d"])?;
    let both = context.blocks("c")?;
    ensure!(both.starts_with(&format!("{first} ")), "{both}");
    ensure!(both != first, "{both}");
    Ok(())
}

fn ahead(context: &Context) -> Result<()> {
    context.expect_ahead(context.lines()?)
}

/// A program of the image, which is its root.
fn in_the_image(context: &Context) -> Result<()> {
    let before = context.lines()?;
    let command = ["record", "image", "--", PROGRAM, "/e", "/proc/self/cmdline"];
    let said = context.repository.run(&command)?;
    ensure!(said.starts_with("this is e\n"), "something else");
    ensure!(
        said.contains(&format!("{PROGRAM}\0/e")),
        "nothing of the machine"
    );
    let lines = context.lines()?;
    let new = lines.get(before.len()..).context("nothing new")?;
    // The program, its loader and its library at least.
    ensure!(new.len() >= 4, "{new:?}");
    let last = new.last().context("nothing new")?;
    ensure!(last.0 == context.digest("e")?, "{new:?}");
    context.expect_ahead(lines)
}

/// Others are read ahead where one has gone.
fn gone(context: &Context) -> Result<()> {
    let a = context.digest("a")?;
    let object = context.object(a);
    let aside = context.work.join("aside");
    fs::rename(&object, &aside)?;
    let lines = context.lines()?.into_iter();
    let done = context.expect_ahead(lines.filter(|(digest, _)| digest != a).collect());
    fs::rename(&aside, &object)?;
    done
}

/// A profile that is none keeps nobody from mounting the image.
fn damaged(context: &Context) -> Result<()> {
    let good = fs::read(context.profile())?;
    let bad = [&good[..], b"and so on\n"].concat();
    fs::write(context.profile(), bad)?;
    let words = ["profiles/", &context.image.digest, "damaged", "no digest"];
    let record = ["record", "image", "--", PROGRAM, "/f"];
    expect_refusal(&mut context.repository.command(&record), &words)?;
    expect_refusal(
        &mut context.repository.command(&["prefetch", "image"]),
        &words,
    )?;
    context.expect_ahead(Vec::new())?;
    fs::write(context.profile(), good)?;
    Ok(())
}

/// It goes with the image, and not before.
fn collected(context: &Context) -> Result<()> {
    let lines = context.lines()?;
    context.repository.run(&["gc"])?;
    context.repository.run(&["fsck"])?;
    ensure!(context.lines()? == lines, "it is another");
    context.repository.run(&["rm", "image"])?;
    context.repository.run(&["gc"])?;
    ensure!(!context.profile().exists(), "it is still there");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("what is opened and read is noted", |c| recorded(c)),
    ("runs are merged", |c| merged(c)),
    ("that is read ahead, and nothing else", |c| ahead(c)),
    ("a program of the image", |c| in_the_image(c)),
    ("an object that is gone", |c| gone(c)),
    ("a profile that is damaged", |c| damaged(c)),
    ("gc takes it with its image", |c| collected(c)),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
