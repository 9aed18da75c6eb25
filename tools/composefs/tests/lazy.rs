// SPDX-License-Identifier: GPL-2.0-only
//! Objects that come when somebody looks for them in a trigger, which needs no driver.
//!
//! It needs FUSE, and a namespace to mount in: the test runs itself in one.

mod common;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::built::{content, Built, FILES};
use common::namespace::inside;
use common::server::{Reply, Server};
use common::{fails, ok, repository};
use composefs_fetchd::client;
use composefs_fetchd::message::Wish;
use composefs_tools::fsverity::{digest_of, object_path, Algorithm};
use rustix::fs::{statat, AtFlags};
use rustix::io::Errno;

const LONG: Duration = Duration::from_secs(60);

/// The service, on a socket of the test's.
struct Service {
    keeper: Child,
    socket: PathBuf,
}

impl Service {
    fn start(dir: &Path) -> Self {
        let socket = dir.join("socket");
        let keeper = Command::new(env!("CARGO_BIN_EXE_composefs"))
            .args(["fetchd", "--socket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.join("journal")).expect("journal"))
            .spawn()
            .expect("fetchd starts");
        Self { keeper, socket }
    }

    fn trigger(&self, repository: &Path, image: &str, fill: bool) -> Result<OwnedFd, String> {
        let begin = Instant::now();
        let service = loop {
            match client::open(&self.socket).expect("socket") {
                Some(service) => break service,
                None => assert!(begin.elapsed() < LONG, "nobody listens"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        let wish = Wish {
            repository: repository.to_owned(),
            image: image.to_owned(),
            fill,
        };
        client::ask(&service, &wish).map_err(|error| format!("{error:#}"))
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.socket.with_file_name("journal")).expect("journal")
    }

    /// Kills the process that serves, of which there is always one soon.
    fn kill_server(&self) {
        let keeper = self.keeper.id();
        let children = format!("/proc/{keeper}/task/{keeper}/children");
        let begin = Instant::now();
        while begin.elapsed() < LONG {
            let found = fs::read_to_string(&children).expect("children");
            if let Some(child) = found.split_whitespace().next() {
                let status = Command::new("kill").args(["-KILL", child]).status();
                assert!(status.expect("kill runs").success());
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("nobody serves");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// What the driver does with a name that is not in the store.
fn look(trigger: &OwnedFd, name: &str) -> Errno {
    let found = statat(trigger, name, AtFlags::empty());
    found.expect_err("a trigger has no files")
}

/// The names that the objects of the image's files have.
fn names() -> Vec<String> {
    let digests = (0..FILES).map(|file| digest_of(Algorithm::Sha256, &content(file)));
    digests.map(|digest| object_path(&digest)).collect()
}

/// A server with the objects, as long as it is there.
fn honest(objects: &Path, is_there: &Arc<AtomicBool>) -> Server {
    let (objects, is_there) = (objects.to_owned(), is_there.clone());
    Server::run(move |request| {
        if !is_there.load(Ordering::Relaxed) {
            return Reply::new(503, b"not now");
        }
        match fs::read(objects.join(request.path.trim_start_matches('/'))) {
            Ok(content) => Reply::new(200, &content),
            Err(_) => Reply::new(404, b"nothing"),
        }
    })
}

fn know(built: &Built, target: &Path, source: &str) {
    let sources = [source.to_owned()];
    ok(
        target,
        &[&built.arguments(&sources)[..], &["--lazy"]].concat(),
    );
}

/// Those of the image's that are here.
fn here(target: &Path) -> usize {
    let names = names();
    let objects = target.join("objects");
    names
        .iter()
        .filter(|name| objects.join(name).exists())
        .count()
}

#[test]
fn a_lookup_brings_an_object() {
    inside("a_lookup_brings_an_object", || {
        let built = Built::new();
        let target = repository(built.dir.path());
        let is_there = Arc::new(AtomicBool::new(true));
        let server = honest(&built.objects, &is_there);
        know(&built, &target, &format!("http://{}", server.host));
        assert_eq!(here(&target), 0);
        let told = ok(&target, &["fsck"]);
        assert!(
            told.contains(&format!("{FILES} other objects come")),
            "{told}"
        );

        let service = Service::start(built.dir.path());
        let trigger = service
            .trigger(&target, &built.digest, false)
            .expect("trigger");
        // Backwards: who reads on has the next ones fetched as well.
        let mut names = names();
        names.reverse();
        assert_eq!(look(&trigger, &names[0]), Errno::NOENT);
        assert_eq!(here(&target), 1);
        for strange in ["ab/cd", "xy", "0", &"0".repeat(64)] {
            assert_eq!(look(&trigger, strange), Errno::NOENT, "{strange}");
        }
        let nobodys = format!("{}/{}", "00", "ff".repeat(31));
        assert_eq!(look(&trigger, &nobodys), Errno::NOENT);

        is_there.store(false, Ordering::Relaxed);
        assert_eq!(look(&trigger, &names[1]), Errno::IO);
        let journal = service.journal();
        assert!(
            journal.contains("cannot be had from any source now"),
            "{journal}"
        );
        // What is here is not asked for.
        assert_eq!(look(&trigger, &names[0]), Errno::NOENT);
        is_there.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        while look(&trigger, &names[1]) == Errno::IO {
            assert!(begin.elapsed() < LONG, "it stays so");
            thread::sleep(Duration::from_millis(100));
        }

        let asked = server.requests().len();
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| assert_eq!(look(&trigger, &names[2]), Errno::NOENT));
            }
        });
        assert_eq!(server.requests().len(), asked + 1);
        assert_eq!(here(&target), 3);
        // It is an image like any other: its objects are collected only with it.
        ok(&target, &["gc"]);
        assert_eq!(here(&target), 3);
        drop(trigger);
        ok(&target, &["rm", "system"]);
        ok(&target, &["gc"]);
        assert_eq!(here(&target), 0);
        assert!(fs::read_dir(target.join("sources"))
            .expect("sources")
            .next()
            .is_none());
        let why = service.trigger(&target, &built.digest, false);
        let why = why.expect_err("there is no such image");
        assert!(why.contains(&built.digest[2..]), "{why}");
    });
}

/// Whoever waits gets what they wait for from another process, and the rest comes by itself.
#[test]
fn another_server_goes_on() {
    inside("another_server_goes_on", || {
        let built = Built::new();
        let target = repository(built.dir.path());
        let is_there = Arc::new(AtomicBool::new(true));
        let server = honest(&built.objects, &is_there);
        know(&built, &target, &format!("http://{}", server.host));
        let service = Service::start(built.dir.path());
        let trigger = service
            .trigger(&target, &built.digest, false)
            .expect("trigger");
        let names = names();
        for name in &names[..20] {
            thread::scope(|scope| {
                let looks = scope.spawn(|| look(&trigger, name));
                service.kill_server();
                assert_eq!(looks.join().expect("a thread"), Errno::NOENT);
            });
            assert!(target.join("objects").join(name).exists(), "{name}");
        }
        let fills = service
            .trigger(&target, &built.digest, true)
            .expect("trigger");
        let begin = Instant::now();
        while here(&target) < FILES as usize {
            assert!(begin.elapsed() < LONG, "{} are here", here(&target));
            thread::sleep(Duration::from_millis(50));
        }
        drop(fills);
        let mut service = service;
        fs::remove_file(target.join("objects").join(&names[0])).expect("removed");
        service.keeper.kill().expect("killed");
        service.keeper.wait().expect("ended");
        // The server goes on until it hears that its keeper is gone.
        let begin = Instant::now();
        let said = loop {
            match look(&trigger, &names[0]) {
                Errno::NOENT => assert!(begin.elapsed() < LONG, "somebody still serves"),
                said => break said,
            }
        };
        assert!(
            matches!(said, Errno::NOTCONN | Errno::CONNABORTED),
            "{said}"
        );
        ok(&target, &["fsck"]);
    });
}

#[test]
fn nobody_knows() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let sources = [built.objects.to_str().expect("text").to_owned()];
    ok(&target, &built.arguments(&sources));
    let why = fails(&target, &["mount", "--no-fill", "system", "/mnt"]);
    assert!(why.contains("--lazy"), "{why}");
    let both = [&built.arguments(&sources)[..], &["--lazy", "--dry-run"]].concat();
    let why = fails(&target, &both);
    assert!(why.contains("--dry-run"), "{why}");
}
