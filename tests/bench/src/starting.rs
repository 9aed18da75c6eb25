// SPDX-License-Identifier: GPL-2.0-only
//! A program that starts with nothing in memory, from a disk whose requests take long: how long that
//! takes, how many requests it is, and what for; with what is read ahead for it, and without.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use composefs_format::Digest;
use composefs_repository::profile::{Object, Profile};
use composefs_selftests::command::{output, run};
use composefs_selftests::mapped_device::{MappedDevice, Requests};
use composefs_selftests::mount::Mount;
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;
use composefs_tools::fsverity::object_path;
use composefs_tools::verity;

use crate::memory::nothing_cached;
use crate::meter::Reads;
use crate::recorder::Recorder;
use crate::system::{Subject, System};

/// How long a request takes, as over a network.
const SLOW: Requests = Requests::Delay { milliseconds: 20 };
/// How long nothing is asked for any more until all of it is over.
const OVER: Duration = Duration::from_secs(1);
const DISK: &str = "/tmp/slow";

/// A disk with what is started, which `scripts/in-guest/bench-prepare` made.
struct Disk {
    // Unmounted before the device is taken away.
    _mount: Mount,
    device: MappedDevice,
    /// What the kernel calls the device below: there, what is near is asked for together.
    below: String,
}

impl Disk {
    fn new(below: &str) -> Result<Self> {
        let device = MappedDevice::create("composefs-slow", &format!("/dev/{below}"))?;
        let name = device.kernel_name()?;
        setup::create_dir(Path::new(DISK))?;
        run("mount", ["-o", "ro", &format!("/dev/{name}"), DISK])?;
        Ok(Self {
            _mount: Mount::adopt(Path::new(DISK)),
            device,
            below: below.to_owned(),
        })
    }

    /// Runs `action` with nothing in memory, while this happens to requests. How long it took, and how
    /// many requests there were until all was over.
    fn cold(&self, requests: Requests, action: impl Fn() -> Result<()>) -> Result<(Duration, u64)> {
        nothing_cached()?;
        // That is not on this disk.
        run("chroot", ["--version"])?;
        Repository::at(Path::new(DISK)).run(&["--help"])?;
        self.device.load(requests)?;
        let before = Reads::of(&self.below)?;
        let begin = Instant::now();
        action()?;
        let time = begin.elapsed();
        let mut reads = Reads::of(&self.below)?;
        loop {
            std::thread::sleep(OVER);
            let more = Reads::of(&self.below)?;
            if more.requests == reads.requests {
                break;
            }
            reads = more;
        }
        self.device.load(Requests::Pass)?;
        Ok((time, reads.since(before).requests))
    }
}

/// Runs the program.
fn start(root: &Path) -> Result<()> {
    let script = Path::new(DISK).join("start");
    let code = fs::read_to_string(&script).with_context(|| script.display().to_string())?;
    let python = ["/usr/bin/python3", "-I", "-c", code.trim()];
    output(Command::new("chroot").arg(root).args(python)).map(drop)
}

/// Records what `action` takes with slow requests, and how many there are with others.
fn record(
    disk: &Disk,
    system: System,
    suffixes: &[&str],
    action: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let (time, _) = disk.cold(SLOW, action)?;
    let (_, requests) = disk.cold(Requests::Pass, action)?;
    for suffix in suffixes {
        let mut recorder = Recorder::new(system);
        (*suffix).clone_into(&mut recorder.suffix);
        let milliseconds = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        recorder.value("start_slow", f64::from(milliseconds), "ms");
        recorder.value("start_requests", requests as f64, "requests");
    }
    Ok(())
}

/// Something that is done with an object.
type Step = fn(&Path, &Object) -> Result<()>;

/// Each does what the one before does, and more.
const STEPS: [(&str, Step); 3] = [
    ("names", |path, _| Ok(fs::symlink_metadata(path).map(drop)?)),
    ("verity", |path, object| {
        let digest = verity::measure(File::open(path)?, object.digest.algorithm())?;
        ensure!(digest == Some(object.digest), "has another digest");
        Ok(())
    }),
    ("data", |path, object| {
        let file = File::open(path)?;
        for range in object.blocks.bytes() {
            let length = range.end.min(file.metadata()?.len()) - range.start;
            file.read_exact_at(&mut vec![0; usize::try_from(length)?], range.start)?;
        }
        Ok(())
    }),
];

/// Records what the objects of the program are asked from the disk for: names and inodes, the digest
/// of fs-verity, then data with their Merkle trees.
fn account(disk: &Disk, subject: &Subject, objects: &[Object]) -> Result<()> {
    let mut recorder = Recorder::new(System::Composefs);
    let mut before = 0;
    for (what, step) in STEPS {
        let (_, requests) = disk.cold(Requests::Pass, || {
            objects.iter().try_for_each(|object| {
                let path = subject.objects.join(object_path(&object.digest));
                step(&path, object).with_context(|| path.display().to_string())
            })
        })?;
        recorder.suffix = format!("_{what}");
        recorder.value(
            "start_requests",
            requests.saturating_sub(before) as f64,
            "requests",
        );
        before = requests;
    }
    Ok(())
}

/// Measures it with the disk in `device`.
pub fn measure(device: &str) -> Result<()> {
    let disk = Disk::new(device)?;
    let root = Path::new(DISK);
    let repository = Repository::at(&root.join("repository"));
    let digest = repository.run(&["digest", "start"])?.trim().to_owned();
    let objects = repository.path().join("objects");
    let subject = Subject {
        tree: root.join("tree"),
        data: root.join("data"),
        image: objects.join(&digest[..2]).join(&digest[2..]),
        objects,
        digest,
        target: "/mnt".into(),
    };
    // To mount it counts as well.
    for system in [System::Ext4, System::Overlay, System::Composefs] {
        let suffixes: &[_] = match system {
            System::Composefs => &[""],
            // Nobody reads ahead there.
            _ => &["", "_ahead"],
        };
        record(&disk, system, suffixes, &|| {
            subject.mount(system)?;
            start(&subject.target)?;
            subject.unmount()
        })?;
    }
    record(&disk, System::Composefs, &["_ahead"], &|| {
        repository
            .mount("start", &subject.target, &["--prefetch"])?
            .forget();
        start(&subject.target)?;
        subject.unmount()
    })?;
    let digest = Digest::parse_hex(subject.digest.as_bytes());
    let digest = digest.ok().context("the digest")?;
    let profile = repository.path().join("profiles").join(&subject.digest);
    let profile = fs::read(&profile).with_context(|| profile.display().to_string())?;
    account(&disk, &subject, &Profile::parse(&profile, &digest)?.objects)
}
