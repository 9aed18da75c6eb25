// SPDX-License-Identifier: GPL-2.0-only
//! require_signatures: once it is on, nothing that is not signed is mounted, in whatever way.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, ensure, Context as _, Result};
use composefs_selftests::basic_tree;
use composefs_selftests::image::{enable_verity, from_dump, replace};
use composefs_selftests::mount::Request;
use composefs_selftests::policy::{turn_on, Policy, FILE, PARAMETER};
use composefs_selftests::signing::reload_module;
use composefs_selftests::tap::{self, Case};
use composefs_selftests::{setup, tree};
use rustix::io::Errno;

fn ratchet(context: &mut Policy) -> Result<()> {
    let value = || Ok::<_, anyhow::Error>(fs::read_to_string(PARAMETER)?.trim().to_owned());
    context.reload(&[])?;
    ensure!(value()? == "N", "on by default");
    fs::write(PARAMETER, "0").context("off while off")?;
    turn_on()?;
    ensure!(value()? == "Y", "not on");
    for off in ["0", "N", "n", "off"] {
        ensure!(fs::write(PARAMETER, off).is_err(), "{off} was taken");
        ensure!(value()? == "Y", "{off} switched it off");
    }
    turn_on()?;
    context.reload(&["require_signatures=1"])?;
    ensure!(value()? == "Y", "not on when loaded");
    ensure!(fs::write(PARAMETER, "0").is_err(), "0 was taken");
    context.is_refused(&context.plain(), Errno::KEYREJECTED, "require_signatures")
}

/// Every way to ask for less.
fn mounts(context: &mut Policy) -> Result<()> {
    context.reload(&["require_signatures=1"])?;
    let plain_file = context.work.join("without-verity");
    fs::copy(&context.image.file, &plain_file)?;
    let digest = &context.image.digest;
    for request in [
        context.plain(),
        context.plain().digest(digest),
        context.plain().digest(digest).set("verity", "require"),
        context.plain().set("verity", "off"),
        context.plain().set("verity", "on"),
        context.plain().set("verity", "require"),
        context.plain().flag("noverity"),
        context.plain().set("verity_check", "0"),
        Request::new(&plain_file).basedir(&context.image.store),
        Request::new(&context.image.file),
    ] {
        context.is_refused(&request, Errno::KEYREJECTED, "require_signatures")?;
    }
    for (key, value) in [("verity", "off"), ("verity", "on"), ("verity_check", "0")] {
        let request = context.signed().set(key, value);
        context.is_refused(&request, Errno::INVAL, "contradict")?;
    }
    let signature = context.signature.to_string_lossy();
    let request = Request::new(&plain_file).set("signature", &signature);
    context.is_refused(&request, Errno::BADMSG, "no fs-verity")?;
    let request = context.signed().set("signature", "/dev/null");
    ensure!(context.refused(&request).is_ok());
    let stranger = context.pki.sign(&context.image.file, "stranger", &[])?;
    let request = context
        .plain()
        .set("signature", &stranger.to_string_lossy());
    context.is_refused(&request, Errno::NOKEY, "not trusted")?;

    let mount = context.signed().at(&context.target())?;
    context.serves(mount.root())?;
    mount.unmount()
}

fn reconfigure(context: &mut Policy) -> Result<()> {
    context.reload(&[])?;
    let unsigned = context.plain().at(&context.target())?;
    let signed = context.signed().at(&context.work.join("signed"))?;
    let signature = context.signature.to_string_lossy();
    // It does not become signed by saying so.
    ensure!(unsigned.reconfigure("signature", &signature).is_err());
    signed.reconfigure("signature", &signature)?;
    for (key, value) in [
        ("verity", "off"),
        ("verity", "on"),
        ("signature", "/dev/null"),
    ] {
        ensure!(signed.reconfigure(key, value).is_err(), "{key}={value}");
    }
    turn_on()?;
    ensure!(unsigned.reconfigure("signature", &signature).is_err());
    ensure!(context.serves(unsigned.root()).is_err(), "served");
    context.serves(signed.root())?;
    signed.unmount()?;
    unsigned.unmount()
}

/// Another image takes the place of the one that was checked.
fn replaced(context: &mut Policy) -> Result<()> {
    context.reload(&["require_signatures=1"])?;
    let image = context.work.join("replaced");
    fs::copy(&context.image.file, &image)?;
    enable_verity(&image)?;
    let signature = context.signature.to_string_lossy();
    let request = Request::new(&image)
        .basedir(&context.image.store)
        .set("signature", &signature);
    let mount = request.at(&context.target())?;
    let expected = tree::read(mount.root())?;
    ensure!(
        fs::OpenOptions::new().write(true).open(&image).is_err(),
        "open for writing"
    );
    let mut content = fs::read(&image)?;
    let last = content.len() - 1;
    content[last] ^= 1;
    replace(&image, &content)?;
    setup::drop_caches()?;
    ensure!(
        tree::read(mount.root())? == expected,
        "the mount has changed"
    );
    mount.unmount()?;
    context.is_refused(&request, Errno::BADMSG, "no fs-verity")?;
    enable_verity(&image)?;
    context.is_refused(&request, Errno::KEYREJECTED, "no valid signature")
}

/// What is signed has to be whole: files without digest, and objects that are not what they are
/// called, are not served.
fn objects(context: &mut Policy) -> Result<()> {
    context.reload(&["require_signatures=1"])?;
    let store = context.work.join("poor-store");
    setup::create_dir(&store)?;
    fs::write(store.join("payload"), basic_tree::content(FILE))?;
    let line = format!("/{FILE} 4097 100644 1 0 0 0 0.0 payload - -\n");
    let image = context.work.join("no-digest");
    from_dump(&image, &line)?;
    enable_verity(&image)?;
    let signature = context.pki.sign(&image, "signer", &[])?;
    let mount = Request::new(&image)
        .basedir(&store)
        .set("signature", &signature.to_string_lossy())
        .at(&context.target())?;
    let refused = |root: &Path| match fs::read(root.join(FILE)) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => bail!("served"),
    };
    refused(mount.root()).context("a file without digest")?;
    mount.unmount()?;

    let object = context.image.object(&basic_tree::content(FILE));
    let kept = fs::read(&object)?;
    let mount = context.signed().at(&context.target())?;
    replace(&object, &kept)?;
    refused(mount.root()).context("an object without fs-verity")?;
    let mut wrong = kept.clone();
    wrong[100] ^= 1;
    replace(&object, &wrong)?;
    enable_verity(&object)?;
    refused(mount.root()).context("a wrong object")?;
    replace(&object, &kept)?;
    enable_verity(&object)?;
    context.serves(mount.root())?;
    mount.unmount()
}

const CASES: &[Case<Policy>] = &[
    ("the parameter can be switched on, but not off", ratchet),
    ("nothing unsigned can be mounted", mounts),
    ("a remount neither signs nor lowers", reconfigure),
    ("an image that is replaced after the check", replaced),
    ("files and objects that prove nothing", objects),
];

fn main() -> ExitCode {
    let code = tap::run(|| Policy::set_up("policy"), CASES);
    // The next program starts with a module that nobody has told anything.
    let _ = reload_module(&[]);
    code
}
