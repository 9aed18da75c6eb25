// SPDX-License-Identifier: GPL-2.0-only
//! What objects must prove, before and after more is asked of them: every level of `verity`, every
//! rise of it, every object that is not what it should be, whatever was known of it.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{ensure, Context as _, Result};
use composefs_selftests::command::{as_nobody, capture};
use composefs_selftests::image::{enable_verity, from_dump};
use composefs_selftests::mount::{Mount, Request};
use composefs_selftests::setup;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::verity::{hex_digest, Algorithm};
use rustix::fs::{statx, AtFlags, StatxAttributes, StatxFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};

const SIZE: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Off,
    On,
    Require,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Require => "require",
        }
    }
}

/// A file, and the object that is there for it.
struct Sample {
    name: &'static str,
    /// Whether the image gives a digest.
    has_digest: bool,
    has_verity: bool,
    /// Whether the content is what was meant.
    is_right: bool,
}

const SAMPLES: [Sample; 8] = {
    const fn sample(name: &'static str, has_digest: bool, verity: bool, is_right: bool) -> Sample {
        Sample {
            name,
            has_digest,
            has_verity: verity,
            is_right,
        }
    }
    [
        sample("digest-right", true, true, true),
        sample("digest-wrong", true, true, false),
        sample("digest-right-without-verity", true, false, true),
        sample("digest-wrong-without-verity", true, false, false),
        sample("none-right", false, true, true),
        sample("none-wrong", false, true, false),
        sample("none-right-without-verity", false, false, true),
        sample("none-wrong-without-verity", false, false, false),
    ]
};

impl Sample {
    fn meant(&self) -> Vec<u8> {
        self.name.bytes().cycle().take(SIZE).collect()
    }

    fn object(&self) -> Vec<u8> {
        let mut content = self.meant();
        if !self.is_right {
            content[5000] ^= 1;
        }
        content
    }

    /// Whether it may be opened.
    fn is_served(&self, level: Level) -> bool {
        match (level, self.has_digest) {
            (Level::Off, _) | (Level::On, false) => true,
            (Level::Require, false) => false,
            (Level::On | Level::Require, true) => self.has_verity && self.is_right,
        }
    }
}

/// What happened to the files before more was asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// Their attributes were read, of which `STATX_ATTR_VERITY` depends on the digest in the image.
    Looked,
    Opened,
    Held,
}

struct Context {
    work: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::load_module()?;
    let work = setup::work_directory("proof")?;
    let store = work.join("store");
    setup::create_dir(&store)?;
    let mut lines = String::new();
    for sample in &SAMPLES {
        let object = store.join(sample.name);
        fs::write(&object, sample.object())?;
        if sample.has_verity {
            enable_verity(&object)?;
        }
        let digest = match sample.has_digest {
            true => hex_digest(Algorithm::Sha256, &sample.meant()),
            false => "-".into(),
        };
        let name = sample.name;
        lines += &format!("/{name} {SIZE} 100644 1 0 0 0 0.0 {name} - {digest}\n");
    }
    from_dump(&work.join("image"), &lines)?;
    Ok(Context { work })
}

/// A file can be opened, and has the content of its object, or it cannot.
fn expect(mount: &Mount, sample: &Sample, level: Level) -> Result<Option<File>> {
    match File::open(mount.join(sample.name)) {
        Ok(file) => {
            ensure!(sample.is_served(level), "it was opened");
            let mut content = vec![0; SIZE];
            file.read_exact_at(&mut content, 0)?;
            ensure!(content == sample.object(), "content differs");
            Ok(Some(file))
        }
        Err(error) => {
            let is_refusal = Errno::from_io_error(&error) == Some(Errno::IO);
            ensure!(is_refusal && !sample.is_served(level), "{error}");
            Ok(None)
        }
    }
}

fn is_called_verified(mount: &Mount, sample: &Sample) -> Result<bool> {
    let path = mount.join(sample.name);
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::VERITY))
}

impl Context {
    fn raised(&self, from: Level, to: Level) -> Result<()> {
        let mut tried = 0;
        for before in [
            Before::Nothing,
            Before::Looked,
            Before::Opened,
            Before::Held,
        ] {
            let mount = Request::new(&self.work.join("image"))
                .basedir(&self.work.join("store"))
                .set("verity", from.name())
                .at(&self.work.join("mount"))?;
            let mut held = Vec::new();
            for sample in &SAMPLES {
                let context = || format!("{before:?}, {}, at {from:?}", sample.name);
                if before == Before::Looked {
                    is_called_verified(&mount, sample)?;
                }
                if matches!(before, Before::Opened | Before::Held) {
                    let file = expect(&mount, sample, from).with_context(context)?;
                    held.extend(file.map(|file| (file, sample)));
                }
            }
            if before != Before::Held {
                held.clear();
            }
            mount.reconfigure("verity", to.name())?;
            for sample in &SAMPLES {
                let context = || format!("{before:?}, {}, from {from:?} to {to:?}", sample.name);
                for _ in 0..2 {
                    expect(&mount, sample, to).with_context(context)?;
                    let is_called = is_called_verified(&mount, sample)?;
                    let is_verified = to != Level::Off && sample.has_digest;
                    ensure!(is_called == is_verified, "{}: statx", context());
                    tried += 1;
                }
            }
            // Whoever has a file open keeps it.
            for (file, sample) in &held {
                let mut content = vec![0; SIZE];
                file.read_exact_at(&mut content, 0)?;
                ensure!(content == sample.object(), "{} differs", sample.name);
            }
            held.clear();
            mount.unmount()?;
        }
        note(format_args!("{tried} opened"));
        Ok(())
    }
}

/// What an image may show of all that is below a basedir: see "Threat model" in
/// Documentation/filesystems/composefs.rst.
fn strangers(context: &mut Context) -> Result<()> {
    let basedir = context.work.join("basedir");
    let below = basedir.join("below");
    setup::create_dir(&below)?;
    mount("tmpfs", &below, "tmpfs", MountFlags::empty(), c"")?;
    let below = Mount::adopt(&below);
    let secret = "what only root may read\n".repeat(10);
    let mut lines = String::new();
    for (name, path, digest) in [
        ("named", "secret", None),
        ("named-with-digest", "secret", Some("its")),
        ("named-with-another", "secret", Some("another")),
        ("named-without-verity", "plain", None),
        ("named-below", "below/plain", None),
    ] {
        let object = basedir.join(path);
        if !object.exists() {
            fs::write(&object, &secret)?;
            fs::set_permissions(&object, PermissionsExt::from_mode(0o600))?;
            if path == "secret" {
                enable_verity(&object)?;
            }
        }
        let digest = match digest {
            None => "-".to_owned(),
            Some("its") => hex_digest(Algorithm::Sha256, secret.as_bytes()),
            Some(other) => hex_digest(Algorithm::Sha256, other.as_bytes()),
        };
        let size = secret.len();
        lines += &format!("/{name} {size} 100644 1 0 0 0 0.0 {path} - {digest}\n");
    }
    let image = context.work.join("strange");
    from_dump(&image, &lines)?;
    let all = [true, true, true, true, false];
    let no_wrong_digest = [true, true, false, true, false];
    let only_its_digest = [false, true, false, false, false];
    for (level, shown) in [
        (Level::Off, all),
        (Level::On, no_wrong_digest),
        (Level::Require, only_its_digest),
    ] {
        let request = Request::new(&image).basedir(&basedir);
        let mount = request
            .set("verity", level.name())
            .at(&context.work.join("mount"))?;
        for (line, is_shown) in lines.lines().zip(shown) {
            let name = line.split(' ').next().unwrap_or("").trim_start_matches('/');
            let path = mount.join(name).to_string_lossy().into_owned();
            let read = capture(&mut as_nobody(&["cat", &path]))?;
            ensure!(read.status.success() == is_shown, "{name} at {level:?}");
            ensure!(!is_shown || read.stdout == secret.as_bytes(), "{name}");
        }
        mount.unmount()?;
    }
    below.unmount()
}

const CASES: &[Case<Context>] = &[
    ("at verity=off", |c| c.raised(Level::Off, Level::Off)),
    ("at verity=on", |c| c.raised(Level::On, Level::On)),
    ("at verity=require", |c| {
        c.raised(Level::Require, Level::Require)
    }),
    ("from off to on", |c| c.raised(Level::Off, Level::On)),
    ("from off to require", |c| {
        c.raised(Level::Off, Level::Require)
    }),
    ("from on to require", |c| {
        c.raised(Level::On, Level::Require)
    }),
    ("what else is below a basedir", strangers),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
