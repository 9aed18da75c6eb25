// SPDX-License-Identifier: GPL-2.0-only
//! A program that starts with nothing in memory, from a disk whose requests take long: how long that
//! takes, and how many requests it is; with what is read ahead for it, and without.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use composefs_selftests::command::{output, run};
use composefs_selftests::mapped_device::{MappedDevice, Requests};
use composefs_selftests::mount::Mount;
use composefs_selftests::repository::Repository;
use composefs_selftests::setup;

use crate::memory::nothing_cached;
use crate::meter::Reads;
use crate::recorder::Recorder;
use crate::system::{Subject, System};

/// How long a request takes, as over a network.
const REQUEST: Requests = Requests::Delay { milliseconds: 20 };
/// How long nothing is asked for any more until all of it is over.
const OVER: Duration = Duration::from_secs(1);
const DISK: &str = "/tmp/slow";

/// A disk with what is started, which `scripts/in-guest/bench-prepare` made.
struct Disk {
    // Unmounted before the device is taken away.
    _mount: Mount,
    device: MappedDevice,
    /// What the kernel calls it.
    name: String,
}

impl Disk {
    fn new(below: &str) -> Result<Self> {
        let device = MappedDevice::create("composefs-slow", below)?;
        let name = device.kernel_name()?;
        setup::create_dir(Path::new(DISK))?;
        run("mount", ["-o", "ro", &format!("/dev/{name}"), DISK])?;
        Ok(Self {
            _mount: Mount::adopt(Path::new(DISK)),
            device,
            name,
        })
    }

    /// Runs `action` with nothing in memory, and requests that take long. How long it took, and how
    /// many requests there were until all was over.
    fn cold(&self, action: impl FnOnce() -> Result<()>) -> Result<(Duration, u64)> {
        nothing_cached()?;
        // That is not on this disk.
        run("chroot", ["--version"])?;
        Repository::at(Path::new(DISK)).run(&["--help"])?;
        self.device.load(REQUEST)?;
        let before = Reads::of(&self.name)?;
        let begin = Instant::now();
        action()?;
        let time = begin.elapsed();
        let mut reads = Reads::of(&self.name)?;
        loop {
            std::thread::sleep(OVER);
            let more = Reads::of(&self.name)?;
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

fn record(system: System, suffix: &str, (time, requests): (Duration, u64)) {
    let mut recorder = Recorder::new(system);
    suffix.clone_into(&mut recorder.suffix);
    let milliseconds = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    recorder.value("start_slow", f64::from(milliseconds), "ms");
    recorder.value("start_requests", requests as f64, "requests");
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
    for system in [System::Ext4, System::Overlay, System::Composefs] {
        subject.mount(system)?;
        let figures = disk.cold(|| start(&subject.target))?;
        record(system, "", figures);
        if system != System::Composefs {
            // Nobody reads ahead there.
            record(system, "_ahead", figures);
        }
        subject.unmount()?;
    }
    let figures = disk.cold(|| {
        // To mount it counts as well.
        repository
            .mount("start", &subject.target, &["--prefetch"])?
            .forget();
        start(&subject.target)
    })?;
    record(System::Composefs, "_ahead", figures);
    subject.unmount()
}
