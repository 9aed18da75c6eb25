// SPDX-License-Identifier: GPL-2.0-only
//! Images that are mounted before their objects are here, which Debian's nginx has.
//!
//! usage: `t_lazy [KILLS]`: how often the server is killed under load
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use composefs_fuzz::random::Random;
use composefs_selftests::command::run;
use composefs_selftests::image;
use composefs_selftests::kernel_log;
use composefs_selftests::lazy::FetchService;
use composefs_selftests::lazy_image::{evict, objects, LazyImage, FILES};
use composefs_selftests::nginx::Nginx;
use composefs_selftests::setup::drop_caches;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::tasks;
use rustix::io::Errno;
use rustix::process::{kill_process, Pid, Signal};

/// If nothing else is asked for: soon done, emulated.
const KILLS: usize = 10;
/// How soon there is an error where nobody is asked.
const SOON: Duration = Duration::from_secs(10);
/// Nothing takes that long.
const LONG: Duration = Duration::from_secs(90);

struct Context {
    lazy: LazyImage,
    kills: usize,
}

fn set_up() -> Result<Context> {
    let kills = match std::env::args().nth(1) {
        None => KILLS,
        Some(number) => number.parse().context("usage: t_lazy [KILLS]")?,
    };
    Ok(Context {
        lazy: LazyImage::new()?,
        kills,
    })
}

fn on_first_open(context: &mut LazyImage) -> Result<()> {
    let (repository, mount) = context.lazily()?;
    context.server()?.forget()?;
    run("ls", [Path::new("-lR"), mount.root()])?;
    run("find", [mount.root(), Path::new("-size"), Path::new("+1")])?;
    ensure!(objects(&repository)? == 0, "something was fetched");
    ensure!(
        context.server()?.requests()?.is_empty(),
        "something was asked for"
    );
    context.expect_all(mount.root())?;
    ensure!(objects(&repository)? == FILES, "{}", objects(&repository)?);
    context.server()?.forget()?;
    drop_caches()?;
    context.expect_all(mount.root())?;
    ensure!(
        context.server()?.requests()?.is_empty(),
        "asked for what is here"
    );
    mount.unmount()?;
    repository.run(&["fsck", "--contents"])?;
    context.service.expect_triggers(0)
}

/// Who opens one file after the other finds the next ones here; who opens any does not have others
/// fetched.
fn one_after_the_other(context: &mut LazyImage) -> Result<()> {
    let (repository, mount) = context.lazily()?;
    let read = |(name, content): (&String, &Vec<u8>)| -> Result<()> {
        ensure!(&fs::read(mount.join(name))? == content, "something else");
        Ok(())
    };
    context.files.iter().rev().step_by(30).try_for_each(read)?;
    ensure!(objects(&repository)? == 4, "{}", objects(&repository)?);
    context.files.iter().take(2).try_for_each(read)?;
    let expected = 4 + 1 + 8;
    let begin = Instant::now();
    while objects(&repository)? < expected {
        ensure!(begin.elapsed() < LONG, "{}", objects(&repository)?);
        thread::sleep(Duration::from_millis(100));
    }
    thread::sleep(Duration::from_millis(500));
    ensure!(
        objects(&repository)? == expected,
        "{}",
        objects(&repository)?
    );
    context.expect_all(mount.root())?;
    mount.unmount()
}

/// Whoever opens the same file at the same time waits for the same object.
fn at_once(context: &mut LazyImage) -> Result<()> {
    let (repository, mount) = context.lazily()?;
    let (name, content) = context.first()?;
    let path = mount.join(name);
    context.server()?.forget()?;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..100).map(|_| scope.spawn(|| fs::read(&path))).collect();
        for reader in readers {
            let read = tasks::join(reader)?;
            ensure!(&read == content, "something else");
        }
        Ok(())
    })?;
    let requests = context.server()?.requests()?;
    let of_objects = |line: &&String| !line.contains("/packs");
    let asked = requests.iter().filter(of_objects).count();
    ensure!(asked == 1, "{requests:?}");
    ensure!(objects(&repository)? == 1, "{}", objects(&repository)?);
    mount.unmount()
}

/// A source that gives something else is not believed, and not asked again.
fn liar(context: &mut LazyImage) -> Result<()> {
    let lies = context.work.join("lies");
    run("cp", [Path::new("-aT"), &context.image.store, &lies])?;
    for directory in fs::read_dir(&lies)? {
        for object in fs::read_dir(directory?.path())? {
            let path = object?.path();
            let mut content = fs::read(&path)?;
            content.iter_mut().for_each(|byte| *byte ^= 1);
            image::replace(&path, &content)?;
        }
    }
    let liar = Nginx::start(
        &context.containers,
        &context.work.join("liar"),
        8081,
        &lies,
        None,
    )?;
    let alone = context.repository(&[liar.address()])?;
    let mount = context.mount(&alone, &["--no-fill"])?;
    let path = mount.join(context.first()?.0);
    let said = kernel_log::of_failing_open(&path, Errno::IO)?;
    ensure!(
        said.iter().any(|line| line.contains("cannot be opened")),
        "{said:?}"
    );
    ensure!(objects(&alone)? == 0, "{}", objects(&alone)?);
    mount.unmount()?;
    let journal = context.service.journal()?;
    ensure!(journal.contains("with digest"), "{journal}");

    let both = context.repository(&[liar.address(), context.server()?.address()])?;
    let mount = context.mount(&both, &["--no-fill"])?;
    liar.forget()?;
    context.expect_all(mount.root())?;
    let requests = liar.requests()?;
    ensure!(requests.len() < FILES / 2, "{} requests", requests.len());
    mount.unmount()
}

/// Without anybody who has it, an open fails at once; with somebody again, it does not.
fn nobody(context: &mut LazyImage) -> Result<()> {
    let (_repository, mount) = context.lazily()?;
    context.server = None;
    let path = mount.join(context.first()?.0);
    let begin = Instant::now();
    kernel_log::of_failing_open(&path, Errno::IO)?;
    ensure!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let journal = context.service.journal()?;
    ensure!(
        journal.contains("cannot be had from any source now"),
        "{journal}"
    );
    context.start_server()?;
    let begin = Instant::now();
    while File::open(&path).is_err() {
        ensure!(begin.elapsed() < LONG, "it stays so");
        thread::sleep(Duration::from_millis(200));
    }
    context.expect_all(mount.root())?;
    mount.unmount()
}

/// A server that takes calls and never answers.
fn hanging(context: &mut LazyImage) -> Result<()> {
    let server = TcpListener::bind("localhost:8082")?;
    let repository = context.repository(&["http://localhost:8082"])?;
    let mount = context.mount(&repository, &["--no-fill"])?;
    let path = mount.join(context.first()?.0);
    let mut reader = reader(&path)?;
    // It waits by now.
    let (_stream, _) = server.accept()?;
    thread::sleep(Duration::from_millis(300));
    // A signal that does not end it changes nothing.
    signal(&reader, Signal::WINCH)?;
    thread::sleep(Duration::from_millis(500));
    ensure!(reader.try_wait()?.is_none(), "a signal has ended an open");
    let begin = Instant::now();
    signal(&reader, Signal::KILL)?;
    reader.wait()?;
    ensure!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    mount.unmount()?;
    drop(server);
    context.service.expect_triggers(0)
}

fn reader(path: &Path) -> Result<Child> {
    let mut command = Command::new("cat");
    let child = command.arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    child.spawn().context("cat")
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_child(child), signal)?)
}

/// The server is killed, and another goes on, while files are opened for the first time.
fn kills(context: &mut LazyImage, kills: usize) -> Result<()> {
    let mut random = Random::new(19);
    for kill in 0..kills {
        let (_repository, mount) = context.lazily()?;
        thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| context.expect_all(mount.root())))
                .collect();
            let pause = Duration::from_millis(random.below(400));
            thread::sleep(pause);
            let server = Pid::from_raw(i32::try_from(context.service.server()?)?);
            kill_process(server.context("no process")?, Signal::KILL)?;
            for reader in readers {
                tasks::join(reader).with_context(|| format!("kill {kill}, after {pause:?}"))?;
            }
            anyhow::Ok(())
        })?;
        mount.unmount()?;
    }
    note(format_args!("{kills} kills"));
    context.service.expect_triggers(0)
}

/// When even who keeps the connections is gone, an open fails at once, and a new mount has a new one.
fn service_gone(context: &mut LazyImage) -> Result<()> {
    let (repository, mount) = context.lazily()?;
    let (name, content) = context.first()?;
    ensure!(&fs::read(mount.join(name))? == content, "something else");
    let other = mount.join(context.files.keys().last().context("no files")?);
    context.service.end()?;
    let begin = Instant::now();
    kernel_log::of_failing_open(&other, Errno::IO)?;
    ensure!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    // What is here needs nobody.
    let (name, content) = context.first()?;
    ensure!(&fs::read(mount.join(name))? == content, "something else");
    mount.unmount()?;
    context.service = FetchService::start(&context.work.join("service"))?;
    let mount = context.mount(&repository, &["--no-fill"])?;
    context.expect_all(mount.root())?;
    mount.unmount()
}

/// What nobody opens comes as well.
fn fill(context: &mut LazyImage) -> Result<()> {
    let repository = context.repository(&[context.server()?.address()])?;
    let mount = context.mount(&repository, &[])?;
    let begin = Instant::now();
    while objects(&repository)? < FILES {
        ensure!(begin.elapsed() < LONG, "{}", objects(&repository)?);
        thread::sleep(Duration::from_millis(200));
    }
    context.server = None;
    context.expect_all(mount.root())?;
    mount.unmount()?;
    context.start_server()
}

/// Objects that go while the image is mounted come again; nothing that it needs is collected.
fn evicted(context: &mut LazyImage) -> Result<()> {
    let (repository, mount) = context.lazily()?;
    for round in 0..3 {
        context.expect_all(mount.root())?;
        repository.run(&["gc"])?;
        ensure!(
            objects(&repository)? == FILES,
            "round {round}: {}",
            objects(&repository)?
        );
        evict(&repository, &context.image)?;
        drop_caches()?;
    }
    // One that is something else is replaced as well.
    let (name, content) = context.first()?;
    fs::read(mount.join(name))?;
    drop_caches()?;
    let digest = run(
        "fsverity",
        [
            Path::new("digest"),
            Path::new("--compact"),
            &context.image.object(content),
        ],
    )?;
    let object = repository
        .path()
        .join("objects")
        .join(&digest[..2])
        .join(&digest[2..]);
    image::replace(&object, b"something else")?;
    ensure!(&fs::read(mount.join(name))? == content, "something else");
    mount.unmount()?;
    repository.run(&["fsck"]).map(drop)
}

/// Two mounts of one image, of which each has what the other has fetched.
fn twice(context: &mut LazyImage) -> Result<()> {
    let (repository, mount) = context.lazily()?;
    let target = context.work.join("other");
    let other = context
        .service
        .mount(&repository, "image", &target, &["--no-fill"])?;
    ensure!(
        context.service.triggers()? == 2,
        "{}",
        context.service.triggers()?
    );
    context.server()?.forget()?;
    thread::scope(|scope| {
        let one = scope.spawn(|| context.expect_all(mount.root()));
        context.expect_all(other.root())?;
        tasks::join(one)
    })?;
    let requests = context.server()?.requests()?;
    ensure!(requests.len() <= FILES + 3, "{} requests", requests.len());
    mount.unmount()?;
    context.service.expect_triggers(1)?;
    other.unmount()?;
    context.service.expect_triggers(0)
}

/// Where nothing says who has the objects, nothing is mounted.
fn unknown(context: &mut LazyImage) -> Result<()> {
    let repository = context.repository(&[context.server()?.address()])?;
    fs::remove_dir_all(repository.path().join("sources"))?;
    let error = context
        .mount(&repository, &[])
        .err()
        .context("it was mounted")?;
    let said = format!("{error:#}");
    ensure!(said.contains("nothing says who has its objects"), "{said}");
    let said = repository.command(&["fsck"]).output()?;
    ensure!(!said.status.success(), "{said:?}");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("objects come on first open, and none before", |c| {
        on_first_open(&mut c.lazy)
    }),
    (
        "the next ones come for who opens one after the other",
        |c| one_after_the_other(&mut c.lazy),
    ),
    ("a hundred opens at once fetch an object once", |c| {
        at_once(&mut c.lazy)
    }),
    ("a source that lies", |c| liar(&mut c.lazy)),
    (
        "nobody to ask: an error at once, until there is somebody",
        |c| nobody(&mut c.lazy),
    ),
    ("a source that hangs: whoever waits can be killed", |c| {
        hanging(&mut c.lazy)
    }),
    ("the server is killed under load", |c| {
        kills(&mut c.lazy, c.kills)
    }),
    ("the whole service is killed", |c| service_gone(&mut c.lazy)),
    ("all that nobody opens comes as well", |c| fill(&mut c.lazy)),
    ("objects that went come again", |c| evicted(&mut c.lazy)),
    ("two mounts of one image", |c| twice(&mut c.lazy)),
    (
        "an image of which nobody is known to have the objects",
        |c| unknown(&mut c.lazy),
    ),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
