// SPDX-License-Identifier: GPL-2.0-only
//! Mounting and unmounting.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use composefs_selftests::fs_context::FsContext;
use composefs_selftests::setup;
use rustix::mount::{unmount, UnmountFlags};
use rustix::process::{waitid, Pid, WaitId, WaitIdOptions};

use crate::meter::{cpu_of, cpu_of_process};
use crate::recorder::Recorder;
use crate::system::{Subject, System};

const ROUNDS: usize = 60;

/// The CPU time of a mount and an unmount, once caches are warm: of the cheapest, as the allocators
/// have pages to get and to clear in some of the others.
fn cycle(mut mount: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut least = mount()?;
    for _ in 0..ROUNDS {
        least = least.min(mount()?);
    }
    Ok(least)
}

/// By a mount helper: its own CPU time, and that of the system call that unmounts.
fn by_helper(program: &Path, subject: &Subject) -> Result<u64> {
    let about = || program.display().to_string();
    let mut helper = Command::new(program)
        .args(subject.helper_arguments())
        .stdin(Stdio::null())
        .spawn()
        .with_context(about)?;
    let pid = Pid::from_child(&helper);
    waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )?;
    let mounted = cpu_of_process(helper.id())?;
    ensure!(helper.wait()?.success(), "{} has failed", about());
    Ok(mounted + cpu_of(|| subject.unmount())?.0)
}

/// The system calls that the helper makes to mount, less those that look at the image.
fn as_the_helper(subject: &Subject, temporary: &Path) -> Result<u64> {
    let mounted = cpu_of(|| {
        fs::create_dir(temporary)?;
        subject.mount_erofs(&subject.image, temporary)?;
        let context = FsContext::open("overlay")?;
        context.set_string("source", "composefs")?;
        context.set_string("metacopy", "on")?;
        context.set_string("redirect_dir", "on")?;
        context.set_string("verity", "require")?;
        context.set_string("lowerdir+", &temporary.to_string_lossy())?;
        context.set_string("datadir+", &subject.objects.to_string_lossy())?;
        context.create()?;
        context.attach(&subject.target)?;
        unmount(temporary, UnmountFlags::DETACH)?;
        fs::remove_dir(temporary)?;
        Ok(())
    })?;
    Ok(mounted.0 + cpu_of(|| subject.unmount())?.0)
}

/// Mounts of `subject`, which is not mounted when this begins; `disk` is one with ext4 on it.
pub fn measure(recorder: &Recorder, subject: &Subject, disk: Option<&Path>) -> Result<()> {
    let by_system_calls = || -> Result<u64> {
        let (time, ()) = cpu_of(|| {
            subject.mount(recorder.system)?;
            subject.unmount()
        })?;
        Ok(time)
    };
    let time = match recorder.system {
        System::Composefs => {
            let helper = cycle(|| by_helper(&setup::mount_helper(), subject))?;
            recorder.per_operation("mount_umount_helper", helper, 1);
            cycle(by_system_calls)?
        }
        System::Erofs | System::ErofsData | System::ErofsShared => cycle(by_system_calls)?,
        System::Overlay => {
            let temporary = Path::new("/tmp/bench-image");
            let time = cycle(|| as_the_helper(subject, temporary))?;
            recorder.per_operation("mount_umount_syscalls", time, 1);
            let helper = cycle(|| by_helper(Path::new(setup::C_MOUNT), subject))?;
            recorder.per_operation("mount_umount_helper", helper, 1);
            helper
        }
        System::Ext4 => {
            let Some(disk) = disk else { return Ok(()) };
            cycle(|| {
                let (time, ()) = cpu_of(|| {
                    let context = FsContext::open("ext4")?;
                    context.set_string("source", &disk.to_string_lossy())?;
                    context.set_flag("ro")?;
                    context.create()?;
                    context.attach(&subject.target)?;
                    subject.unmount()
                })?;
                Ok(time)
            })?
        }
        // Servers do part of it.
        System::Mapped | System::Service | System::Lazy | System::Fuse => return Ok(()),
    };
    recorder.per_operation("mount_umount", time, 1);
    if recorder.system != System::Overlay {
        recorder.per_operation("mount_umount_syscalls", time, 1);
    }
    Ok(())
}
