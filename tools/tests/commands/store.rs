// SPDX-License-Identifier: GPL-2.0-only
//! A store cannot be spoiled: not by a crash, not by company, not by what is in it already.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use composefs_tools::fsverity::{digest_of, object_path, Algorithm};
use composefs_tools::store::{Store, Unnamed};
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};

use crate::common;

/// A directory for one test, with a source and a store in it.
struct Case {
    dir: PathBuf,
}

impl Case {
    fn new(name: &str) -> Self {
        let dir = common::directory(&format!("store-{name}"));
        fs::create_dir(dir.join("source")).expect("create directory");
        Self { dir }
    }

    fn source(&self) -> PathBuf {
        self.dir.join("source")
    }

    fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Puts `count` files into the source, of all sizes up to some 300 KB. Returns their objects.
    fn fill(&self, count: u32) -> BTreeSet<PathBuf> {
        let file = |number: u32| {
            let len = 65 + (number * number * 37) % 300_000;
            let content: Vec<u8> = (0..len)
                .map(|at| ((at * (number + 3)) >> 5) as u8)
                .collect();
            fs::write(self.source().join(number.to_string()), &content).expect("write");
            self.object(&content)
        };
        (0..count).map(file).collect()
    }

    fn object(&self, content: &[u8]) -> PathBuf {
        let digest = digest_of(Algorithm::Sha256, content);
        self.store().join(object_path(&digest))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(tool());
        command.args(self.arguments());
        command
    }

    fn arguments(&self) -> [PathBuf; 3] {
        let store = format!("--digest-store={}", self.store().display());
        [store.into(), self.source(), self.dir.join("image")]
    }

    fn run(&self) -> Output {
        self.command().output().expect("run mkcomposefs")
    }

    fn spawn(&self) -> Child {
        let mut command = self.command();
        command.stderr(Stdio::null());
        command.spawn().expect("run mkcomposefs")
    }

    /// All objects, each of which must have the content that its name says; nothing else may be
    /// in the store.
    fn objects(&self) -> BTreeSet<PathBuf> {
        let mut objects = BTreeSet::new();
        for dir in fs::read_dir(self.store()).into_iter().flatten() {
            let dir = dir.expect("read store").path();
            assert!(dir.is_dir(), "{dir:?} is left over");
            for entry in fs::read_dir(&dir).expect("read store") {
                let path = entry.expect("read store").path();
                let content = fs::read(&path).expect("read object");
                assert_eq!(path, self.object(&content), "not what it is called");
                objects.insert(path);
            }
        }
        objects
    }

    fn done(self) {
        fs::remove_dir_all(self.dir).expect("remove directory");
    }
}

fn tool() -> PathBuf {
    common::tool("mkcomposefs", env!("CARGO_BIN_EXE_mkcomposefs"))
}

fn succeeded(output: &Output) -> bool {
    output.status.success()
}

/// Checks that a run failed with one line, which has all of `parts` in it.
fn assert_refused(output: &Output, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in: {stderr}");
    }
}

#[test]
fn killed_at_any_moment() {
    let case = Case::new("killed");
    let wanted = case.fill(300);
    let start = Instant::now();
    assert!(succeeded(&case.run()));
    let mut whole = start.elapsed().as_micros() as u64;
    let (mut killed, mut state) = (0, 1_u64);
    for round in 0..100 {
        if round % 10 == 0 {
            let _ = fs::remove_dir_all(case.store());
        }
        let mut child = case.spawn();
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // When does not matter: whatever it is, the store must be right.
        let moment = (state >> 33) % whole;
        std::thread::sleep(Duration::from_micros(moment));
        child.kill().expect("kill");
        let status = child.wait().expect("wait");
        killed += u32::from(status.signal().is_some());
        if status.signal().is_none() {
            // The machine was slower before: the next one is killed sooner.
            whole = moment.max(1);
        }
        assert!(case.objects().is_subset(&wanted));
    }
    assert!(killed > 10, "killed {killed} times only");
    assert!(succeeded(&case.run()));
    assert_eq!(case.objects(), wanted);
    case.done();
}

#[test]
fn several_at_once() {
    let case = Case::new("several");
    let wanted = case.fill(200);
    for _ in 0..8 {
        let _ = fs::remove_dir_all(case.store());
        let mut children: Vec<_> = (0..3).map(|_| case.spawn()).collect();
        for child in &mut children {
            assert!(child.wait().expect("wait").success());
        }
        assert_eq!(case.objects(), wanted);
    }
    case.done();
}

#[test]
fn objects_that_are_there_are_left_alone() {
    let case = Case::new("present");
    let wanted = case.fill(20);
    assert!(succeeded(&case.run()));
    let inodes = || -> Vec<(u64, i64)> {
        let of = |path| {
            let metadata = fs::metadata(path).expect("stat");
            (metadata.ino(), metadata.ctime_nsec())
        };
        wanted.iter().map(of).collect()
    };
    let before = inodes();
    assert!(succeeded(&case.run()));
    assert_eq!(before, inodes());
    case.done();
}

/// As whoever repairs a store has it; who has one of them open keeps what it was.
#[test]
fn damaged_objects_are_replaced_if_asked() {
    let case = Case::new("replaced");
    let content = b"What the object has to be.";
    let object = case.object(content);
    fs::create_dir_all(object.parent().expect("has a parent")).expect("create");
    fs::write(&object, "What it is, as long as it.").expect("write");
    let mut open = File::open(&object).expect("open");

    let store = Store::open(&case.store(), Algorithm::Sha256).expect("store");
    let refused = Unnamed::new(&store).put(content).expect_err("damaged");
    let refused = format!("{refused:#}");
    assert!(refused.contains("is damaged: its digest is"), "{refused}");
    store.replace([digest_of(Algorithm::Sha256, content)]);
    let mut objects = Unnamed::new(&store);
    objects.put(content).expect("put");
    objects.publish().expect("published");

    assert_eq!(fs::read(&object).expect("read"), content);
    let mut kept = String::new();
    open.read_to_string(&mut kept).expect("read");
    assert_eq!(kept, "What it is, as long as it.");
    case.done();
}

#[test]
fn damaged_objects_are_reported() {
    let content = b"The content of the one file that this source has, which is long enough.";
    let mut other = *content;
    other[0] ^= 1;
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damage: [Damage; 5] = [
        ("its size is 3", &|path| {
            fs::write(path, "abc").expect("write")
        }),
        ("its size is 0", &|path| fs::write(path, "").expect("write")),
        ("its digest is", &|path| {
            fs::write(path, other).expect("write")
        }),
        ("is not a regular file", &|path| {
            fs::create_dir(path).expect("create")
        }),
        ("is a symbolic link", &|path| {
            symlink("/etc/passwd", path).expect("link")
        }),
    ];
    for (message, damage) in damage {
        let case = Case::new("damaged");
        fs::write(case.source().join("file"), content).expect("write");
        let object = case.object(content);
        fs::create_dir_all(object.parent().expect("has a parent")).expect("create");
        damage(&object);
        let before = fs::symlink_metadata(&object).expect("stat");
        let output = case.run();
        assert_refused(&output, &[message, &object.display().to_string()]);
        let after = fs::symlink_metadata(&object).expect("stat");
        assert_eq!(before.ino(), after.ino());
        assert_eq!(before.len(), after.len());
        assert!(!case.dir.join("image").exists());
        case.done();
    }
}

#[test]
fn sources_that_change_are_an_error() {
    let case = Case::new("changing");
    let path = case.source().join("log");
    let mut log = File::create(&path).expect("create");
    log.set_len(200 << 20).expect("make large");
    let over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not only at its end: what is read already changes, too.
            while !over.load(Ordering::Relaxed) {
                log.write_all(b"x").expect("write");
            }
        });
        let output = case.run();
        over.store(true, Ordering::Relaxed);
        output
    });
    assert_refused(&output, &["changed while it was read", "log"]);
    assert!(case.objects().is_empty());
    assert!(!case.dir.join("image").exists());
    case.done();
}

/// A store that is a tmpfs, as long as this is there.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// None if it cannot be mounted. What a run that was killed left mounted is in nobody's way.
    fn case(name: &str, size: &CStr) -> Option<(Case, Self)> {
        let case = Case::new(&format!("{name}-{}", std::process::id()));
        let store = case.store();
        fs::create_dir(&store).expect("create");
        if let Err(error) = mount("tmpfs", &store, "tmpfs", MountFlags::empty(), size) {
            eprintln!("skipped: cannot mount a tmpfs: {error}");
            case.done();
            return None;
        }
        Some((case, Self(store)))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_named() {
    let Some((case, tmpfs)) = Tmpfs::case("full", c"size=1m") else {
        return;
    };
    case.fill(100);
    let output = case.run();
    // Every object that is there is whole.
    let objects = case.objects();
    drop(tmpfs);
    let store = case.store().display().to_string();
    assert_refused(&output, &["No space left on device", &store]);
    assert!(objects.len() < 100);
    case.done();
}

#[test]
fn objects_without_fs_verity_are_mentioned() {
    // A tmpfs has no fs-verity.
    let Some((case, tmpfs)) = Tmpfs::case("verity", c"size=16m") else {
        return;
    };
    let wanted = case.fill(5);
    let output = case.run();
    let objects = case.objects();
    drop(tmpfs);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(succeeded(&output), "{stderr}");
    assert_eq!(objects, wanted);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let store = case.store().display().to_string();
    for part in [
        "without fs-verity: the filesystem does not support fs-verity;",
        &store,
        "mount with verity=off, and so without digest= and signature=,",
        "or use a store on ext4 (with tune2fs -O verity), btrfs or f2fs",
    ] {
        assert!(stderr.contains(part), "no {part:?} in: {stderr}");
    }
    case.done();
}

#[test]
fn few_open_files_suffice() {
    let case = Case::new("files");
    let wanted = case.fill(200);
    for threads in [
        "--threads=1",
        "--threads=2",
        "--threads=8",
        "--threads=1000000",
    ] {
        let few = if threads.len() < 12 { 128 } else { 512 };
        let _ = fs::remove_dir_all(case.store());
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -n {few}; exec \"$0\" \"$@\"")])
            .arg(tool())
            .arg(threads)
            .args(case.arguments())
            .output()
            .expect("run sh");
        assert!(succeeded(&output), "{threads}: {output:?}");
        assert_eq!(case.objects(), wanted);
    }
    case.done();
}

#[test]
fn objects_are_readable_by_all() {
    let case = Case::new("umask");
    let wanted = case.fill(3);
    let status = Command::new("sh")
        .args(["-c", "umask 077; exec \"$0\" \"$@\""])
        .arg(tool())
        .args(case.arguments())
        .stderr(Stdio::null())
        .status()
        .expect("run sh");
    assert!(status.success());
    for object in wanted {
        let mode = fs::metadata(object).expect("stat").permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }
    case.done();
}

#[test]
fn sources_may_be_on_another_file_system() {
    let case = Case::new("elsewhere");
    let memory = Path::new("/dev/shm");
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    if device(memory).is_none() || device(memory) == device(&case.dir) {
        eprintln!("skipped: {memory:?} is no file system of its own");
        return case.done();
    }
    let source = memory.join(format!("composefs-store-{}", std::process::id()));
    fs::create_dir(&source).expect("create directory");
    // Too large to be kept in memory, and no whole number of buffers.
    let content: Vec<u8> = (0..5_000_001_u32).map(|at| (at >> 7) as u8).collect();
    fs::write(source.join("file"), &content).expect("write");
    let [store, _, image] = case.arguments();
    let mut command = Command::new(tool());
    let output = command.args([&store, &source, &image]).output();
    fs::remove_dir_all(source).expect("remove directory");
    let output = output.expect("run mkcomposefs");
    assert!(succeeded(&output), "{output:?}");
    assert_eq!(case.objects(), [case.object(&content)].into());
    case.done();
}

#[test]
fn without_proc() {
    // Nameless files cannot be given a name then; temporary names must do.
    let case = Case::new("proc");
    let wanted = case.fill(50);
    let script = "umount -l /proc && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(tool())
        .arg("--skip-xattrs")
        .args(case.arguments())
        .output();
    match output {
        Ok(output) if succeeded(&output) => assert_eq!(case.objects(), wanted),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!stderr.contains("mkcomposefs"), "{stderr}");
            eprintln!("skipped: {stderr}");
        }
        Err(error) => eprintln!("skipped: cannot run unshare: {error}"),
    }
    case.done();
}
