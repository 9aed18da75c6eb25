// SPDX-License-Identifier: GPL-2.0-only
/* C functions for files whose content is in a page cache of ours. */
#include <linux/fs.h>
#include <linux/pagemap.h>

#include "helpers.h"

struct inode *rust_vfs_folio_inode(struct folio *folio)
{
	return folio->mapping->host;
}

void *rust_vfs_folio_address(struct folio *folio)
{
	return folio_address(folio);
}

size_t rust_vfs_folio_size(struct folio *folio)
{
	return folio_size(folio);
}

loff_t rust_vfs_folio_pos(struct folio *folio)
{
	return folio_pos(folio);
}

void rust_vfs_folio_end_read(struct folio *folio, bool success)
{
	if (success)
		flush_dcache_folio(folio);
	folio_end_read(folio, success);
}

/* What rust_vfs_cached_read_iter() can do for the reads of @file. */
void rust_vfs_read_from_cache(struct file *file)
{
	file->f_mode |= FMODE_NOWAIT | FMODE_CAN_ODIRECT;
}

/*
 * Reads from the page cache whether O_DIRECT is set or not, as for all files with
 * fs-verity. ->read_folio() waits for where the content is, and readahead calls
 * nothing else: a request that must not wait does without both.
 */
ssize_t rust_vfs_cached_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	const int flags = iocb->ki_flags & IOCB_NOIO;
	ssize_t ret;

	if (iocb->ki_flags & IOCB_NOWAIT)
		iocb->ki_flags |= IOCB_NOIO;
	ret = filemap_read(iocb, iter, 0);
	iocb->ki_flags = (iocb->ki_flags & ~IOCB_NOIO) | flags;
	return ret;
}
