// SPDX-License-Identifier: GPL-2.0-only
//! The UUID of a mount: made from the image, so that overlayfs, NFS and fanotify know it again.
#![forbid(unsafe_code)]

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::image::{build, Image};
use composefs_selftests::kernel_log::KernelLog;
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::overlay::Overlay;
use composefs_selftests::python;
use composefs_selftests::setup;
use composefs_selftests::tap::{self, Case};
use rustix::fs::statfs;

struct Context {
    work: PathBuf,
    images: [Image; 2],
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    setup::modprobe("overlay")?;
    let work = setup::work_directory("uuid")?;
    let image = |name: &str| -> Result<Image> {
        let directory = work.join(name);
        let source = directory.join("source");
        setup::create_dir(&source)?;
        fs::write(source.join(name), vec![b'x'; 5000])?;
        build(&setup::mkcomposefs(), &source, &directory, &[])
    };
    let images = [image("first")?, image("second")?];
    Ok(Context { work, images })
}

impl Context {
    fn mounted(&self, image: &Path, name: &str) -> Result<Mount> {
        Ok(Request::new(image).at(&self.work.join(name))?)
    }

    /// A copy of an image, without fs-verity.
    fn copy(&self, name: &str) -> Result<PathBuf> {
        let copy = self.work.join(name);
        fs::copy(&self.images[0].file, &copy)?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::open(&copy)?.set_times(FileTimes::new().set_modified(time))?;
        Ok(copy)
    }
}

/// The answer to FS_IOC_GETFSUUID, in hexadecimal.
fn uuid(mount: &Mount) -> Result<String> {
    python::run(include_str!("../../python/uuid.py"), &[mount.root()])
}

fn fsid(mount: &Mount) -> Result<String> {
    Ok(format!("{:?}", statfs(mount.root())?.f_fsid))
}

fn from_the_digest(context: &mut Context) -> Result<()> {
    for image in &context.images {
        let mut expected = image.digest.get(..32).context("digest")?.to_owned();
        let variant = u8::from_str_radix(&expected[16..17], 16)? & 3 | 8;
        expected.replace_range(12..13, "8");
        expected.replace_range(16..17, &format!("{variant:x}"));
        let found = uuid(&context.mounted(&image.file, "mount")?)?;
        ensure!(found == expected, "{found}, expected {expected}");
    }
    Ok(())
}

/// The number that NFS and fanotify know a filesystem by is the kernel's own of the UUID.
fn fsid_follows(context: &mut Context) -> Result<()> {
    let mount = context.mounted(&context.images[0].file, "mount")?;
    let uuid = uuid(&mount)?;
    let half = |range: std::ops::Range<usize>| -> Result<u64> {
        Ok(u64::from_str_radix(&uuid[range], 16)?.swap_bytes())
    };
    let id = half(0..16)? ^ half(16..32)?;
    let words = [id as u32 as i32, (id >> 32) as u32 as i32];
    let (found, expected) = (fsid(&mount)?, format!("{words:?}"));
    ensure!(found.contains(&expected), "{found}, expected {expected}");
    Ok(())
}

fn same_when_mounted_again(context: &mut Context) -> Result<()> {
    let plain = context.copy("again")?;
    for image in [&context.images[0].file, &plain] {
        let first = context.mounted(image, "mount")?;
        let second = context.mounted(image, "other")?;
        ensure!(uuid(&first)? == uuid(&second)?, "{}", image.display());
        ensure!(fsid(&first)? == fsid(&second)?, "{}", image.display());
    }
    Ok(())
}

/// Without fs-verity, it is the file that counts, and what of it is looked at.
fn of_a_plain_file(context: &mut Context) -> Result<()> {
    let with_verity = uuid(&context.mounted(&context.images[0].file, "mount")?)?;
    let (first, second) = (context.copy("plain")?, context.copy("plain-too")?);
    let of_first = uuid(&context.mounted(&first, "mount")?)?;
    let of_second = uuid(&context.mounted(&second, "mount")?)?;
    ensure!(of_first != with_verity, "that of the digest");
    ensure!(of_first != of_second, "another file has the same");
    ensure!(
        &of_first[12..13] == "8" && "89ab".contains(&of_first[16..17]),
        "{of_first}: not of version 8"
    );

    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 1);
    File::open(&first)?.set_times(FileTimes::new().set_modified(time))?;
    let touched = uuid(&context.mounted(&first, "mount")?)?;
    ensure!(touched != of_first, "it is the same after a change");
    Ok(())
}

/// Two mounts as lower layers: what overlayfs needs UUIDs for stays on.
fn as_lower_layers(context: &mut Context) -> Result<()> {
    let layers = [
        context.mounted(&context.images[0].file, "mount")?,
        context.mounted(&context.images[1].file, "other")?,
    ];
    let mut log = KernelLog::follow()?;
    let features = ",index=on,nfs_export=on";
    let lowers = [layers[0].root(), layers[1].root()];
    let overlay = Overlay::new(&context.work, "overlay", &lowers, features)?.mount()?;
    let (_, _, options) = mountinfo(overlay.root())?;
    for feature in ["index=on", "nfs_export=on"] {
        ensure!(options.contains(feature), "no {feature} in {options}");
    }
    let messages = log.read()?;
    let complaint = messages.iter().find(|text| text.contains("uuid"));
    ensure!(complaint.is_none(), "{complaint:?}");
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("it is made from the image's digest", from_the_digest),
    ("f_fsid follows from it", fsid_follows),
    ("it is the same on every mount", same_when_mounted_again),
    ("without fs-verity, from the file", of_a_plain_file),
    ("overlayfs takes two mounts as layers", as_lower_layers),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
