/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What bindgen reads to make vfs/bindings_generated.rs; ../Makefile lists the
 * items that are taken from these headers.
 */
#include <linux/backing-file.h>
#include <linux/exportfs.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fsverity.h>
#include <linux/key.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/posix_acl.h>
#include <linux/statfs.h>

#include "helpers.h"

/* Flags that bindgen cannot evaluate. */
const unsigned int RUST_VFS_SB_RDONLY = SB_RDONLY;
const unsigned int RUST_VFS_SB_NOATIME = SB_NOATIME;
const unsigned int RUST_VFS_SB_I_NODEV = SB_I_NODEV;
const unsigned int RUST_VFS_SB_POSIXACL = SB_POSIXACL;
const int RUST_VFS_O_EXEC = __FMODE_EXEC;
const unsigned int RUST_VFS_FMODE_OPENED = (__force unsigned int)FMODE_OPENED;
