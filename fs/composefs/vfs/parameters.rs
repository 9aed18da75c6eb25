// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module that are on or off.
//!
//! `module!` has parameters that are boolean from 7.3 on only, and none yet that sysfs shows or
//! that can be changed while the module is loaded.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use super::bindings;
use core::{cell::UnsafeCell, marker::PhantomData};
use kernel::{bindings::kernel_param_ops, module_param::KernelParam, prelude::*};

/// A parameter, which is off unless somebody switches it on.
pub(crate) struct Switch<K>(UnsafeCell<bool>, PhantomData<K>);

// SAFETY: The kernel writes to the value as a whole, under a lock of its own; here it is only ever
// read, as a whole.
unsafe impl<K> Sync for Switch<K> {}

impl<K> Switch<K> {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(false), PhantomData)
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        // SAFETY: The pointer is that of a live `bool`, to which there are no references.
        unsafe { self.0.get().read_volatile() }
    }
}

/// How a [`Switch`] may be set.
pub(crate) trait Kind: 'static {
    /// A table that is never freed, for parameters that are a `bool`.
    const OPERATIONS: *const kernel_param_ops;
    /// The mode of its file in sysfs.
    const MODE: u16;
}

/// Set when the module is loaded, or never.
pub(crate) enum AtLoad {}

impl Kind for AtLoad {
    const OPERATIONS: *const kernel_param_ops = &raw const kernel::bindings::param_ops_bool;
    const MODE: u16 = 0o444;
}

/// Can be switched on at any time, and never off again. Then all that the VFS has cached of the
/// file system is looked up anew, so that
/// [`check_usable()`](super::filesystem::FileSystem::check_usable) is asked about it.
pub(crate) enum Latch {}

impl Kind for Latch {
    const OPERATIONS: *const kernel_param_ops = &kernel_param_ops {
        flags: kernel::bindings::KERNEL_PARAM_OPS_FL_NOARG,
        set: Some(set_latch),
        get: Some(kernel::bindings::param_get_bool),
        free: None,
    };
    const MODE: u16 = 0o644;
}

/// Mounts in progress are waited for, but those open and read all that they need before they have a
/// superblock.
///
/// # Safety
///
/// `param` is one that [`declare()`] made for a `Switch<Latch>`. `value` is a string, or null.
unsafe extern "C" fn set_latch(
    value: *const c_char,
    param: *const kernel::bindings::kernel_param,
) -> c_int {
    // SAFETY: The parameter is a `bool`, and both are live during this call.
    let result = unsafe { kernel::bindings::param_set_bool_enable_only(value, param) };
    // SAFETY: The argument of such a parameter is a `Switch<Latch>` that lives as long as the
    // module.
    let switch = unsafe { &*(*param).__bindgen_anon_1.arg.cast::<Switch<Latch>>() };

    if result == 0 && switch.is_on() {
        // SAFETY: The function has no preconditions.
        unsafe { bindings::rust_vfs_forget_cached() };
    }
    result
}

/// What has the kernel know `switch` as the parameter that is called `name`, with a NUL at its end.
pub(crate) const fn declare<K: Kind>(
    switch: &'static Switch<K>,
    name: &'static str,
) -> KernelParam {
    assert!(matches!(name.as_bytes(), [.., 0]));

    KernelParam::new(kernel::bindings::kernel_param {
        name: name.as_ptr().cast(),
        #[cfg(MODULE)]
        mod_: (&raw const kernel::bindings::__this_module).cast_mut(),
        #[cfg(not(MODULE))]
        mod_: core::ptr::null_mut(),
        ops: K::OPERATIONS,
        perm: K::MODE,
        level: -1,
        flags: 0,
        __bindgen_anon_1: kernel::bindings::kernel_param__bindgen_ty_1 {
            arg: switch.0.get().cast(),
        },
    })
}

/// The bytes of `text`, for `modinfo`.
pub(crate) const fn array<const LEN: usize>(text: &str) -> [u8; LEN] {
    match text.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => [0; LEN],
    }
}

/// Declares parameters of module `$module`, in a module `parameters`, as `module!` does with those
/// that it has.
macro_rules! parameters {
    ($module:literal, $($name:ident: $kind:ident, $description:literal;)*) => {
        // Where a static is put counts as unsafe: the kernel takes what lies in these sections for
        // what `declare()` and `array()` have made it.
        #[allow(non_upper_case_globals, unsafe_code)]
        pub(crate) mod parameters {
            use $crate::vfs::parameters as vfs;
            $(
                #[doc = $description]
                pub(crate) static $name: vfs::Switch<vfs::$kind> = vfs::Switch::new();

                const _: () = {
                    #[link_section = "__param"]
                    #[used(compiler)]
                    static DECLARATION: kernel::module_param::KernelParam = vfs::declare(
                        &$name,
                        if cfg!(MODULE) {
                            concat!(stringify!($name), "\0")
                        } else {
                            concat!($module, ".", stringify!($name), "\0")
                        },
                    );

                    const TEXT: &str = if cfg!(MODULE) {
                        concat!(
                            "parmtype=", stringify!($name), ":bool\0",
                            "parm=", stringify!($name), ":", $description, "\0",
                        )
                    } else {
                        concat!(
                            $module, ".parmtype=", stringify!($name), ":bool\0",
                            $module, ".parm=", stringify!($name), ":", $description, "\0",
                        )
                    };
                    #[link_section = ".modinfo"]
                    #[used(compiler)]
                    static INFORMATION: [u8; TEXT.len()] = vfs::array(TEXT);
                };
            )*
        }
    };
}
pub(crate) use parameters;
