// SPDX-License-Identifier: GPL-2.0-only
//! Images that are exported, handed out by Debian's nginx, fetched and mounted: plain, over TLS, from
//! packs and from single objects, from a mirror that was tampered with, from NFS.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::command::{expect_refusal, failure, run};
use composefs_selftests::containers::{text, Containers};
use composefs_selftests::nfs::Server;
use composefs_selftests::nginx::Nginx;
use composefs_selftests::pair::Pair;
use composefs_selftests::registry::make_certificates;
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const KILLS: u32 = 6;

struct Context {
    // In this order they go.
    plain: Nginx,
    secure: Nginx,
    containers: Containers,
    work: PathBuf,
    pair: Pair,
    builder: Repository,
    /// The digests of both images.
    digests: [String; 2],
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("fetch")?;
    let containers = Containers::set_up(&work)?;
    let pair = Pair::make(&containers, &work)?;
    let builder = Repository::at(&work.join("builder"));
    let pull = |number: usize, name| builder.pull(&containers, &pair.images[number].0, name);
    let digests = [pull(0, "first")?, pull(1, "second")?];
    let export = work.join("www/export");
    builder.run(&["export", text(&export)?, "first"])?;
    // Single objects, as a store has them.
    run(
        "cp",
        [
            Path::new("-aT"),
            &builder.path().join("objects"),
            &work.join("www/objects"),
        ],
    )?;
    make_certificates(&work, "ours")?;
    let (certificate, key) = (work.join("ours-server.crt"), work.join("ours-server.key"));
    let www = work.join("www");
    let plain = Nginx::start(&containers, &work.join("plain"), 8080, &www, None)?;
    let tls = Some((&*certificate, &*key));
    let secure = Nginx::start(&containers, &work.join("secure"), 8443, &www, tls)?;
    Ok(Context {
        plain,
        secure,
        containers,
        work,
        pair,
        builder,
        digests,
    })
}

impl Context {
    /// A repository that has nothing.
    fn empty(&self) -> Result<Repository> {
        let path = self.work.join("target");
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        let repository = Repository::at(&path);
        repository.run(&["init"])?;
        Ok(repository)
    }

    /// What fetches the image of a number, as it is in the export.
    fn arguments(&self, number: usize, sources: &[&str]) -> Vec<String> {
        let digest = &self.digests[number];
        let image = self.work.join(format!("www/export/images/{digest}.cfs"));
        let image = image.to_string_lossy();
        let mut arguments: Vec<_> = ["fetch", &*image, "image", "--digest", digest]
            .map(str::to_owned)
            .into();
        arguments.extend(sources.iter().map(|source| format!("--from={source}")));
        arguments
    }

    fn fetch(&self, repository: &Repository, number: usize, sources: &[&str]) -> Result<()> {
        let arguments = self.arguments(number, sources);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        repository.run(&arguments).map(drop)
    }

    /// It is what it was made of, in the mount.
    fn expect(&self, repository: &Repository, number: usize) -> Result<()> {
        repository.run(&["fsck", "--contents"])?;
        let mount = repository.mount("image", &self.work.join("mount"), &[])?;
        self.pair
            .expect(&self.pair.images[number].1, mount.root())?;
        mount.unmount()
    }
}

fn packs(context: &Context) -> Result<()> {
    let repository = context.empty()?;
    let source = format!("{}/export", context.plain.address());
    context.plain.forget()?;
    context.fetch(&repository, 0, &[&source])?;
    context.expect(&repository, 0)?;
    let requests = context.plain.requests()?;
    // The list, an index, a pack; and a profile, which is not there.
    ensure!(requests.len() == 4, "{requests:?}");
    let is = |number: usize, status| {
        let line: Option<&String> = requests.get(number);
        line.is_some_and(|line| line.starts_with(status))
    };
    ensure!(is(2, "206 ") && is(3, "404 "), "{requests:?}");
    Ok(())
}

fn single_objects(context: &Context) -> Result<()> {
    let repository = context.empty()?;
    let source = format!("{}/objects", context.plain.address());
    context.plain.forget()?;
    context.fetch(&repository, 0, &[&source])?;
    context.expect(&repository, 0)?;
    let mut requests = context.plain.requests()?;
    let count = requests.len();
    ensure!(count > 20, "{requests:?}");
    requests.sort_unstable();
    requests.dedup();
    ensure!(requests.len() == count, "something was asked for twice");
    Ok(())
}

/// By an authority that is not known nothing comes; by one of the system's it does, by HTTP/2.
fn over_tls(context: &Context) -> Result<()> {
    let repository = context.empty()?;
    let source = format!("{}/export", context.secure.address());
    let arguments = context.arguments(0, &[&source]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let said = failure(&mut repository.command(&arguments))?;
    ensure!(said.contains("certificate"), "{said}");
    let before = fs::read(BUNDLE)?;
    let more = fs::read(context.work.join("ours.crt"))?;
    fs::write(BUNDLE, [&before[..], &more].concat())?;
    let fetched = context.fetch(&repository, 0, &[&source]);
    fs::write(BUNDLE, before)?;
    fetched?;
    context.expect(&repository, 0)?;
    let requests = context.secure.requests()?;
    ensure!(
        requests.iter().all(|line| line.contains(" HTTP/2.0 ")),
        "{requests:?}"
    );
    Ok(())
}

/// A mirror of which every pack was changed is named and left; an honest one is enough.
fn tampered_mirror(context: &Context) -> Result<()> {
    let mirror = context.work.join("mirror");
    run(
        "cp",
        [Path::new("-aT"), &context.work.join("www/export"), &mirror],
    )?;
    for entry in fs::read_dir(mirror.join("packs"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            let mut pack = fs::read(&path)?;
            pack.iter_mut().step_by(1000).for_each(|byte| *byte ^= 1);
            fs::write(&path, pack)?;
        }
    }
    let liar = Nginx::start(
        &context.containers,
        &context.work.join("liar"),
        8081,
        &mirror,
        None,
    )?;
    let repository = context.empty()?;
    let alone = context.arguments(0, &[liar.address()]);
    let alone: Vec<_> = alone.iter().map(String::as_str).collect();
    let said = failure(&mut repository.command(&alone))?;
    ensure!(
        said.contains(liar.address()) && said.contains("is not asked again"),
        "{said}"
    );
    let mut mount = repository.command(&["mount", "image", text(&context.work)?]);
    expect_refusal(&mut mount, &["there is none of this name"])?;
    let honest = format!("{}/export", context.plain.address());
    context.fetch(&repository, 0, &[liar.address(), &honest])?;
    context.expect(&repository, 0)
}

/// A store and an export that are mounted from a server.
fn over_nfs(context: &Context) -> Result<()> {
    let server = Server::start(&context.work.join("www"), "ro")?;
    let mount = server.mount(&context.work.join("nfs"), "ro,soft")?;
    for directory in ["objects", "export"] {
        let repository = context.empty()?;
        context.fetch(&repository, 0, &[text(&mount.join(directory))?])?;
        context.expect(&repository, 0)?;
    }
    mount.unmount()
}

/// What is new is exported beside what is there, and comes alone.
fn update(context: &Context) -> Result<()> {
    let repository = context.empty()?;
    let source = format!("{}/export", context.plain.address());
    context.fetch(&repository, 0, &[&source])?;
    let export = context.work.join("www/export");
    context.builder.run(&["export", text(&export)?])?;
    context.plain.forget()?;
    context.fetch(&repository, 1, &[&source])?;
    context.expect(&repository, 1)?;
    let requests = context.plain.requests()?;
    ensure!(requests.len() == 4, "{requests:?}");
    Ok(())
}

/// Whenever it is killed, what is there is whole, and it goes on from there.
fn kills(context: &mut Context) -> Result<()> {
    let repository = context.empty()?;
    let source = format!("{}/objects", context.plain.address());
    let begin = Instant::now();
    context.fetch(&repository, 0, &[&source])?;
    let time = begin.elapsed();
    let mut random = Random::new(18);
    let mut killed = 0;
    for _ in 0..KILLS {
        let repository = context.empty()?;
        let arguments = context.arguments(0, &[&source]);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut child = repository
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(time * random.below(1000) as u32 / 1000);
        killed += usize::from(child.try_wait()?.is_none());
        // It may have come to its end.
        let _ = child.kill();
        child.wait()?;
        repository
            .run(&["fsck", "--contents"])
            .context("after it was killed")?;
        context.fetch(&repository, 0, &[&source])?;
        context.expect(&repository, 0)?;
    }
    note(format_args!("{killed} of {KILLS} were killed"));
    ensure!(killed > 0, "none was killed");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("from packs, in four requests", |c| packs(c)),
    ("from single objects, each asked for once", |c| {
        single_objects(c)
    }),
    ("over TLS", |c| over_tls(c)),
    ("a mirror that was tampered with", |c| tampered_mirror(c)),
    ("from directories on NFS", |c| over_nfs(c)),
    ("an update", |c| update(c)),
    ("killed at any time", kills),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
