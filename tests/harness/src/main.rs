// SPDX-License-Identifier: GPL-2.0-only
//! Makes what the tests need, runs guests, and says what came out. The scripts of `scripts/` that
//! are links to `scripts/harness` are its commands.

mod apt;
mod arch;
mod artifact;
mod bench;
mod bench_fetch;
mod bench_guest;
mod bench_lazy;
mod bench_pull;
mod boot;
mod cargo;
mod checkout;
mod console;
mod containers;
mod coverage;
mod crate_mutants;
mod crate_tool;
mod deb;
mod debug_kernel;
mod deny;
mod emulator;
mod forms;
mod fresh;
mod fuzz;
mod guest;
mod jobs;
mod kernel;
mod kselftest;
mod libtest;
mod machine;
mod module;
mod mutants;
mod others;
mod overlay;
mod packages;
mod payload;
mod peers;
mod place;
mod process;
mod programs;
mod qemu;
mod registry;
mod root;
mod short;
mod shows;
mod stress;
mod suite;
mod suites;
mod suites_table;
mod system;
mod tap;
mod toolchain;
mod unionmount;
mod updates;
mod versions;
mod vm;
mod xfstests;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::arch::Arch;
use crate::kernel::Kernel;
use crate::suite::Suite;
use crate::toolchain::Toolchain;

#[derive(Parser)]
#[command(
    name = "harness",
    about = "Makes what the tests need, runs guests, and says what came out"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Vm {
        /// A shell, or `run` for a command
        #[arg(value_enum, default_value = "shell")]
        mode: Mode,
        /// What machine, with the kernel for emulated ones
        #[arg(long, conflicts_with = "suite")]
        arch: Option<Arch>,
        #[command(flatten)]
        options: vm::Options,
        /// What to run
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    Test(suites::Options),
    TestFresh(fresh::Options),
    TestPackages(packages::Options),
    TestBoot(boot::Options),
    Mutants(mutants::Options),
    CrateMutants(crate_mutants::Options),
    Bench(bench::Options),
    BenchFetch(bench_fetch::Options),
    BenchLazy(bench_lazy::Options),
    BenchPull(bench_pull::Options),
    Unionmount(unionmount::Options),
    Kselftest(kselftest::Options),
    Xfstests(xfstests::Options),
    Stress(stress::Options),
    /// Puts what was run here into the table of Documentation/suites.md: our own tests and others'
    SuitesTable,
    /// Shows what composefs does, on a real operating system tree and a stock kernel, in a guest
    Demo,
    /// Mounts damaged images in the debug kernel and looks at them from all sides
    FuzzKernel {
        /// How many; the same number is the same image each time
        #[arg(default_value_t = 20_000)]
        count: u32,
        /// From this number on
        #[arg(default_value_t = 0)]
        first: u32,
        /// Whose kernel; trixie's is faster
        #[arg(default_value = "debug")]
        suite: Suite,
    },
    Fuzz(fuzz::Options),
    Payload(payload::Options),
    BuildModule(module::Options),
    /// Builds the Debian packages, and prints their directory, build/deb
    Deb,
    /// Builds the file system as a part of a kernel tree, as a module and built in
    InTree,
    /// The newest stock kernel of a suite, with a source tree prepared for Rust modules
    ///
    /// path: prints a directory, made first if need be, that holds tree/ (KDIR for the module's
    /// build; not for debug), vmlinuz, modules/usr/lib/modules/RELEASE, and release (what uname -r
    /// says). release: prints that. update: looks on the mirror for a newer kernel and packages,
    /// which happens by itself once a week.
    Kernel {
        #[arg(long, default_value = "trixie")]
        suite: Suite,
        what: KernelPart,
    },
    /// A kernel that looks for its own bugs, with the checkout's file system built in
    DebugKernel {
        /// debug or kcsan
        #[arg(long, default_value = "debug")]
        suite: Suite,
        /// base: only what does not depend on the checkout
        what: DebugPart,
    },
    /// What guests boot from: the image of a root file system, and the initramfs for a kernel; and
    /// a disk with others' programs for container images
    Guest {
        #[arg(long, default_value = "trixie")]
        suite: Suite,
        what: GuestPart,
    },
    /// QEMU and other programs that run on any host
    Machine {
        what: OnlyPath,
    },
    /// The peers for the host: path is that of composefs-rs, c-tools of composefs in C
    Peers {
        what: PeersPart,
    },
    /// The compilers that a suite's kernel was built with
    ///
    /// path: the directory of their root, made first if need be; / where the host is that suite.
    /// run: runs a command with them in the current directory; the checkout, the cache and each
    /// --bind are there under their own names.
    Toolchain {
        #[arg(long, default_value = "trixie")]
        suite: Suite,
        what: ToolchainPart,
        #[arg(long, value_name = "DIR")]
        bind: Vec<PathBuf>,
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    /// cargo for the userspace side: the host's if it is new enough, else the toolchain root's
    #[command(disable_help_flag = true)]
    Cargo {
        #[arg(allow_hyphen_values = true, trailing_var_arg = true, required = true)]
        arguments: Vec<OsString>,
    },
    /// Looks at the crates that the userspace side depends on
    CheckDependencies,
    /// Looks for signs of a kernel bug in a guest's console log
    CheckConsole {
        log: PathBuf,
    },
    /// Removes the whole cache: toolchains, kernel trees, guest disks
    CleanCache,
    /// Looks for newer kernels and packages now, else once a week
    Update,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Shell,
    Run,
}

#[derive(Clone, Copy, ValueEnum)]
enum KernelPart {
    Path,
    Release,
    Update,
}

#[derive(Clone, Copy, ValueEnum)]
enum DebugPart {
    Path,
    Base,
}

#[derive(Clone, Copy, ValueEnum)]
enum GuestPart {
    Root,
    Initramfs,
    Containers,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnlyPath {
    Path,
}

#[derive(Clone, Copy, ValueEnum)]
enum PeersPart {
    Path,
    CTools,
}

#[derive(Clone, Copy, ValueEnum)]
enum ToolchainPart {
    Path,
    Run,
}

fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    match run(command) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Err(error) => {
            // The last line says what failed, why, and what to do.
            let reason = format!("{error:#}");
            jobs::note_failure(&reason);
            note!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command, and gives the exit status.
fn run(command: Command) -> Result<i32> {
    let path = match command {
        Command::Vm {
            mode,
            arch,
            mut options,
            program,
        } => {
            options.suite = arch.map_or(options.suite, Suite::of);
            return run_vm(mode, &options, program);
        }
        Command::Test(options) => return Ok(i32::from(!suites::run(&options)?)),
        Command::TestFresh(options) => return Ok(i32::from(!fresh::run(&options)?)),
        Command::TestPackages(options) => return Ok(i32::from(!packages::run(&options)?)),
        Command::TestBoot(options) => return Ok(i32::from(!boot::run(&options)?)),
        Command::Mutants(options) => return Ok(i32::from(!mutants::run(&options)?)),
        Command::CrateMutants(options) => return crate_mutants::run(&options),
        Command::Bench(options) => return Ok(i32::from(!bench::run(&options)?)),
        Command::BenchFetch(options) => return bench_fetch::run(&options),
        Command::BenchLazy(options) => return bench_lazy::run(&options),
        Command::BenchPull(options) => return bench_pull::run(&options),
        Command::Unionmount(options) => return unionmount::run(&options),
        Command::Kselftest(options) => return kselftest::run(&options),
        Command::Xfstests(options) => return xfstests::run(&options),
        Command::Stress(options) => return stress::run(&options),
        Command::SuitesTable => return suites_table::write(),
        Command::Demo => return shows::demo(),
        Command::FuzzKernel {
            count,
            first,
            suite,
        } => return shows::fuzz_kernel(count, first, suite),
        Command::Fuzz(options) => {
            fuzz::run(&options)?;
            return Ok(0);
        }
        Command::Payload(options) => {
            payload::make(&options)?;
            return Ok(0);
        }
        Command::InTree => {
            let log = process::Log::create(place::build("in-tree.log")?)?;
            overlay::build_in_tree(&log)?;
            return Ok(0);
        }
        Command::Deb => deb::build()?,
        Command::BuildModule(options) => {
            let path = module::build(&options)?;
            if options.lint {
                return Ok(0);
            }
            path
        }
        Command::Kernel { suite, what } => match what {
            KernelPart::Path => Kernel::of(suite)?.dir().into(),
            KernelPart::Release => PathBuf::from(Kernel::of(suite)?.release),
            KernelPart::Update => return update(&[suite]),
        },
        Command::DebugKernel { suite, what } => match what {
            DebugPart::Path => debug_kernel::path(suite)?,
            DebugPart::Base => debug_kernel::base(suite)?,
        },
        Command::Guest { suite, what } => match what {
            GuestPart::Root => guest::root_image(suite.arch())?,
            GuestPart::Initramfs => guest::initramfs(suite)?,
            GuestPart::Containers => containers::disk(suite.arch())?,
        },
        Command::Machine {
            what: OnlyPath::Path,
        } => machine::programs()?.with_file_name(""),
        Command::Peers { what } => match what {
            PeersPart::Path => peers::composefs_rs()?,
            PeersPart::CTools => peers::composefs_c()?,
        },
        Command::Toolchain {
            suite,
            what,
            bind,
            program,
        } => {
            let toolchain = Toolchain::of(suite)?;
            match what {
                ToolchainPart::Path => toolchain.root().into(),
                ToolchainPart::Run => return run_in(&toolchain, &bind, &program),
            }
        }
        Command::Cargo { arguments } => return run_cargo(&arguments),
        Command::CheckConsole { log } => {
            let complaints = console::complaints(&String::from_utf8_lossy(&std::fs::read(log)?));
            for line in &complaints {
                println!("{line}");
            }
            return Ok(i32::from(!complaints.is_empty()));
        }
        Command::CheckDependencies => {
            deny::check()?;
            return Ok(0);
        }
        Command::CleanCache => {
            artifact::clean()?;
            return Ok(0);
        }
        Command::Update => return update(&[Suite::Trixie, Suite::Forky]),
    };
    println!("{}", path.display());
    Ok(0)
}

fn run_vm(mode: Mode, options: &vm::Options, words: Vec<OsString>) -> Result<i32> {
    let program = match (mode, words.is_empty()) {
        (Mode::Run, false) => vm::Program::Command(words),
        (Mode::Shell, true) => vm::Program::Shell,
        (Mode::Run, true) => bail!("vm: run needs -- COMMAND"),
        (Mode::Shell, false) => bail!("vm: a shell takes no command"),
    };
    let mut tell = |line: &[u8]| {
        let mut out = std::io::stdout();
        let _ = out.write_all(line).and_then(|()| out.flush());
    };
    vm::run(options, &program, &mut tell)
}

fn run_in(toolchain: &Toolchain, binds: &[PathBuf], words: &[OsString]) -> Result<i32> {
    let Some((program, arguments)) = words.split_first() else {
        bail!("toolchain: run needs -- COMMAND");
    };
    let binds = binds
        .iter()
        .map(|bind| Ok(bind.canonicalize()?))
        .collect::<Result<Vec<_>>>()?;
    let binds: Vec<_> = binds.iter().map(PathBuf::as_path).collect();
    let mut command = toolchain.command(&binds, &program.to_string_lossy())?;
    Err(command.args(arguments).exec().into())
}

fn run_cargo(arguments: &[OsString]) -> Result<i32> {
    let Some((subcommand, arguments)) = arguments.split_first() else {
        bail!("cargo: needs cargo's arguments");
    };
    let mut command = cargo::command(&subcommand.to_string_lossy())?;
    Err(command.args(arguments).exec().into())
}

fn update(suites: &[Suite]) -> Result<i32> {
    for &suite in suites {
        versions::renew(suite)?;
    }
    Ok(0)
}
