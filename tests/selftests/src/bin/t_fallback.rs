// SPDX-License-Identifier: GPL-2.0-only
//! What differs where the kernel does not have the driver, and `mount.composefs` does with EROFS and
//! overlayfs: what Documentation/using.md lists of it. That all else is the same, `t_mount_helper`,
//! `t_c_library` and `t_setup_root` show.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::command::{capture, output, run};
use composefs_selftests::image::{enable_verity, replace, Image};
use composefs_selftests::kernel_log::KernelLog;
use composefs_selftests::mount::Mount;
use composefs_selftests::mountinfo::mountinfo;
use composefs_selftests::signing::Pki;
use composefs_selftests::tap::{self, note, Case};
use composefs_selftests::{basic_tree, python, setup};
use rustix::io::Errno;

const DOCUMENT: &str = include_str!("../../../../Documentation/using.md");
const FILE: &str = "external-4097";

/// What can be observed, and what it is with the driver and without.
struct Difference {
    what: &'static str,
    observe: fn(&Context) -> Result<String>,
    with: &'static str,
    without: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "type in `/proc/mounts`",
        observe: kind,
        with: "`composefs`",
        without: "`overlay`",
    },
    Difference {
        what: "source there",
        observe: source,
        with: "the image",
        without: "`composefs`",
    },
    Difference {
        what: "options there",
        observe: options,
        with: "`basedir=` `digest=` `verity=`",
        without: "`datadir+=` `lowerdir+=` `metacopy=` `redirect_dir=` `verity=`",
    },
    Difference {
        what: "`statfs()`: type",
        observe: magic,
        with: "`0xd078629a`",
        without: "`0x794c7630`",
    },
    Difference {
        what: "`name_to_handle_at()`",
        observe: handles,
        with: "a handle, which can be opened",
        without: "`EOPNOTSUPP`",
    },
    Difference {
        what: "`fsverity measure` of a file",
        observe: measure,
        with: "its digest",
        without: "`ENOTTY`",
    },
    Difference {
        what: "an object that is another, when it is opened",
        observe: tampered,
        with: "`EIO`, in the log by `composefs`",
        without: "`EIO`, in the log by `overlayfs`",
    },
    Difference {
        what: "an object that is missing, when it is opened",
        observe: missing,
        with: "`EIO`",
        without: "`ENOENT`",
    },
    Difference {
        what: "`tryverity`, where the store has no fs-verity",
        observe: tried,
        with: "no mount",
        without: "`EIO` for each object",
    },
    Difference {
        what: "`signature=`",
        observe: signature,
        with: "checked by the kernel",
        without: "refused",
    },
    Difference {
        what: "`mount -o remount,verity=require`",
        observe: remount,
        with: "the level rises",
        without: "nothing changes",
    },
];

struct Context {
    work: PathBuf,
    image: Image,
    signature: PathBuf,
}

fn set_up() -> Result<Context> {
    setup::require_driver()?;
    setup::require_module()?;
    setup::load_module()?;
    setup::load_incumbent()?;
    let work = setup::work_directory("fallback")?;
    let image = basic_tree::build_image(&work)?;
    let pki = Pki::of_signer(&work.join("pki"))?;
    let signature = pki.sign(&image.file, "signer", &[])?;
    setup::create_dir(&work.join("mount"))?;
    Ok(Context {
        work,
        image,
        signature,
    })
}

impl Context {
    fn helper(&self, options: &str) -> Command {
        let mut command = Command::new(setup::mount_helper());
        let options = format!("basedir={},{options}", self.image.store.display());
        command.args(["-o", &options]).arg(&self.image.file);
        command.arg(self.work.join("mount"));
        command
    }

    fn mounted(&self, options: &str) -> Result<Mount> {
        output(&mut self.helper(options)).context(options.to_owned())?;
        Ok(Mount::adopt(&self.work.join("mount")))
    }

    /// As one mounts who trusts nothing but the digest.
    fn sealed(&self) -> Result<Mount> {
        self.mounted(&format!("digest={}", self.image.digest))
    }

    /// What comes of opening the file while its object is what `change` makes of it.
    fn open_while(&self, change: impl Fn(&Path) -> Result<()>) -> Result<String> {
        let object = self.image.object(&basic_tree::content(FILE));
        let good = fs::read(&object)?;
        change(&object)?;
        let result = self.sealed().map(|mount| name(fs::read(mount.join(FILE))));
        let _ = fs::remove_file(&object);
        fs::write(&object, good)?;
        enable_verity(&object)?;
        result
    }
}

/// What an error is called.
fn name<T>(result: io::Result<T>) -> String {
    match result.map_err(|error| Errno::from_io_error(&error)) {
        Ok(_) => "nothing is refused".into(),
        Err(Some(Errno::IO)) => "`EIO`".into(),
        Err(Some(Errno::NOENT)) => "`ENOENT`".into(),
        Err(error) => format!("{error:?}"),
    }
}

fn kind(context: &Context) -> Result<String> {
    let mount = context.sealed()?;
    Ok(format!("`{}`", mountinfo(mount.root())?.0))
}

fn source(context: &Context) -> Result<String> {
    let mount = context.sealed()?;
    let source = mountinfo(mount.root())?.1;
    Ok(match Path::new(&source) == context.image.file {
        true => "the image".into(),
        false => format!("`{source}`"),
    })
}

fn options(context: &Context) -> Result<String> {
    let mount = context.sealed()?;
    let shown = mountinfo(mount.root())?.2;
    note(&shown);
    let end = |option: &str| option.find('=').map_or(option.len(), |at| at + 1);
    // Neither could be anything else.
    let told = shown.split(',').filter(|option| *option != "ro");
    let mut keys: Vec<_> = told.map(|option| &option[..end(option)]).collect();
    keys.sort_unstable();
    keys.dedup();
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    Ok(quoted.join(" "))
}

fn magic(context: &Context) -> Result<String> {
    let mount = context.sealed()?;
    Ok(format!("`{:#x}`", rustix::fs::statfs(mount.root())?.f_type))
}

fn handles(context: &Context) -> Result<String> {
    let mount = context.sealed()?;
    python::run(
        include_str!("../../python/file_handle.py"),
        &[mount.root(), &mount.join(FILE)],
    )
}

fn measure(context: &Context) -> Result<String> {
    let mount = context.sealed()?;
    let result = capture(
        Command::new("fsverity")
            .arg("measure")
            .arg(mount.join(FILE)),
    )?;
    let [said, error] =
        [&result.stdout, &result.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let object = context.image.object(&basic_tree::content(FILE));
    let theirs = run("fsverity", [Path::new("measure"), &object])?;
    let digest = theirs.split(' ').next().unwrap_or_default();
    Ok(match () {
        () if said.starts_with(digest) => "its digest".into(),
        () if error.contains("Inappropriate ioctl") => "`ENOTTY`".into(),
        () => format!("{said}{error}"),
    })
}

fn tampered(context: &Context) -> Result<String> {
    let mut log = KernelLog::follow()?;
    let error = context.open_while(|object| {
        let mut bytes = fs::read(object)?;
        bytes[0] ^= 1;
        replace(object, &bytes)?;
        enable_verity(object).map(drop)
    })?;
    let lines = log.read()?;
    let speaker = ["composefs", "overlayfs"]
        .into_iter()
        .find(|name| lines.iter().any(|line| line.contains(&format!("{name}: "))));
    let speaker = speaker.with_context(|| format!("nobody says so: {lines:?}"))?;
    Ok(format!("{error}, in the log by `{speaker}`"))
}

fn missing(context: &Context) -> Result<String> {
    context.open_while(|object| Ok(fs::remove_file(object)?))
}

fn tried(context: &Context) -> Result<String> {
    let plain = PathBuf::from("/dev/shm/fallback-store");
    run("cp", [Path::new("-r"), &context.image.store, &plain])?;
    let mut helper = Command::new(setup::mount_helper());
    helper.arg("-o");
    helper.arg(format!("basedir={},tryverity", plain.display()));
    helper.arg(&context.image.file);
    let result = capture(helper.arg(context.work.join("mount")))?;
    let what = match result.status.success() {
        true => {
            let mount = Mount::adopt(&context.work.join("mount"));
            format!("{} for each object", name(fs::read(mount.join(FILE))))
        }
        false => match String::from_utf8(result.stderr)? {
            error if error.contains(setup::NO_VERITY) => "no mount".into(),
            error => error,
        },
    };
    fs::remove_dir_all(&plain)?;
    Ok(what)
}

fn signature(context: &Context) -> Result<String> {
    let other = context.work.join("no-signature");
    fs::write(&other, "none")?;
    let option = |path: &Path| format!("signature={}", path.display());
    let is_refused = |option: &str| -> Result<bool> {
        let result = capture(&mut context.helper(option))?;
        if result.status.success() {
            Mount::adopt(&context.work.join("mount")).unmount()?;
        }
        Ok(!result.status.success())
    };
    let good = option(&context.signature);
    Ok(match (is_refused(&good)?, is_refused(&option(&other))?) {
        (false, true) => "checked by the kernel".into(),
        (true, true) => "refused".into(),
        other => format!("{other:?}"),
    })
}

fn remount(context: &Context) -> Result<String> {
    let mount = context.mounted("verity=on")?;
    let mut helper = Command::new(setup::mount_helper());
    helper.args(["-o", "remount,verity=require"]);
    output(helper.arg(&context.image.file).arg(mount.root()))?;
    let shown = mountinfo(mount.root())?.2;
    Ok(match () {
        () if shown.contains("verity=require") => "the level rises".into(),
        () if shown.contains("verity=on") => "nothing changes".into(),
        () => shown,
    })
}

/// What is observed is what the table says, and all of that is in the documentation.
fn as_documented(context: &Context, expected: fn(&Difference) -> &'static str) -> Result<()> {
    let mut wrong = Vec::new();
    for difference in DIFFERENCES {
        let Difference { what, observe, .. } = difference;
        let observed = observe(context).with_context(|| (*what).to_owned())?;
        note(format_args!("{what}: {observed}"));
        if observed != expected(difference) {
            wrong.push(format!("{what}: {observed}, not {}", expected(difference)));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn with_driver(context: &mut Context) -> Result<()> {
    as_documented(context, |difference| difference.with)
}

fn without_driver(context: &mut Context) -> Result<()> {
    let _without = setup::WithoutModule::new()?;
    as_documented(context, |difference| difference.without)
}

fn documentation(_: &mut Context) -> Result<()> {
    for Difference {
        what,
        with,
        without,
        ..
    } in DIFFERENCES
    {
        let line = format!("| {what} | {with} | {without} |");
        if !DOCUMENT.lines().any(|text| text == line) {
            bail!("Documentation/using.md does not say {line}");
        }
    }
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("what is seen with the driver", with_driver),
    ("what is seen without it", without_driver),
    ("that is what is documented", documentation),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
