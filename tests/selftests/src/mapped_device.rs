// SPDX-License-Identifier: GPL-2.0-only
//! A device-mapper device over the whole of another, whose table can be exchanged while it is in use.

use anyhow::Result;

use crate::command::run;
use crate::setup;

/// The device, which is gone when this is dropped, unless it is in use then.
pub struct MappedDevice {
    name: String,
    below: String,
    sectors: String,
}

impl MappedDevice {
    /// Makes one that passes everything on to the block device at the path `below`.
    ///
    /// # Errors
    /// If the kernel does not.
    pub fn create(name: &str, below: &str) -> Result<Self> {
        setup::modprobe("dm-mod")?;
        let device = Self {
            name: name.to_owned(),
            below: below.to_owned(),
            sectors: run("blockdev", ["--getsz", below])?.trim().to_owned(),
        };
        dmsetup(&["create", name, "--table", &device.table(Requests::Pass)])?;
        Ok(device)
    }

    /// What the kernel calls it, in `/dev` and in `/sys/block`: the names in `/dev/mapper` are udev's,
    /// and there is none in the guest.
    ///
    /// # Errors
    /// If it is gone.
    pub fn kernel_name(&self) -> Result<String> {
        let known = ["info", "--columns", "--noheadings", "-o", "blkdevname"];
        let name = run("dmsetup", known.into_iter().chain([&*self.name]))?;
        Ok(name.trim().to_owned())
    }

    /// From now on this happens to requests.
    ///
    /// # Errors
    /// If the kernel does not know how.
    pub fn load(&self, requests: Requests) -> Result<()> {
        if let Requests::Delay { .. } = requests {
            setup::modprobe("dm-delay")?;
        }
        dmsetup(&["suspend", "--nolockfs", &self.name])?;
        dmsetup(&["load", &self.name, "--table", &self.table(requests)])?;
        dmsetup(&["resume", &self.name])
    }

    fn table(&self, requests: Requests) -> String {
        let Self { below, sectors, .. } = self;
        match requests {
            Requests::Pass => format!("0 {sectors} linear {below} 0"),
            Requests::Delay { milliseconds } => {
                format!("0 {sectors} delay {below} 0 {milliseconds}")
            }
            Requests::Fail => format!("0 {sectors} error"),
        }
    }
}

/// What happens to requests.
#[derive(Clone, Copy)]
pub enum Requests {
    /// They are passed on.
    Pass,
    /// Each is passed on so much later.
    Delay { milliseconds: u32 },
    /// Each ends with an I/O error.
    Fail,
}

fn dmsetup(arguments: &[&str]) -> Result<()> {
    run("dmsetup", arguments.iter().chain(&["--noudevsync"])).map(drop)
}

impl Drop for MappedDevice {
    fn drop(&mut self) {
        let _ = dmsetup(&["remove", "--retry", &self.name]);
    }
}
