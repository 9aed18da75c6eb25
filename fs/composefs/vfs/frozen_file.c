// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking at what is in a file that nobody writes to: where it lies in the page
 * cache, or at a copy.
 */
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "helpers.h"

void rust_vfs_folio_get(struct folio *folio)
{
	folio_get(folio);
}

void rust_vfs_folio_put(struct folio *folio)
{
	folio_put(folio);
}

int rust_vfs_deny_write_access(struct file *file)
{
	return deny_write_access(file);
}

void rust_vfs_allow_write_access(struct file *file)
{
	allow_write_access(file);
}

/* Whether the kernel can read @file for itself. */
bool rust_vfs_can_be_read(const struct file *file)
{
	return file->f_mode & FMODE_CAN_READ && file->f_op->read_iter &&
	       !file->f_op->read;
}

/*
 * Whether the content of @file goes through a page cache of its own. It does
 * not on overlayfs, in files of ours that are elsewhere, and with DAX.
 */
bool rust_vfs_has_page_cache(const struct file *file)
{
	struct address_space *mapping = file->f_mapping;

	return mapping->host == file_inode(file) && !IS_DAX(mapping->host) &&
	       mapping->a_ops->read_folio;
}

/* Whether fs-verity checks what is read from @file, and it cannot be written to. */
bool rust_vfs_has_verity(const struct file *file)
{
	return fsverity_get_info(file_inode(file));
}

/*
 * A folio with page @index. Where it must be read, the @window pages (a power of
 * two) around it are read in one request: what is near an inode is wanted next.
 */
static struct folio *cached_folio(struct file *file, pgoff_t index,
				  unsigned int window)
{
	struct address_space *mapping = file->f_mapping;
	struct folio *folio;

	folio = __filemap_get_folio(mapping, index, FGP_ACCESSED, 0);
	if (!IS_ERR(folio)) {
		if (likely(folio_test_uptodate(folio)))
			return folio;
		folio_put(folio);
	} else {
		/* That of the file reads less, and less, after errors. */
		struct file_ra_state ra = {};
		pgoff_t start = round_down(index, window);
		pgoff_t end = DIV_ROUND_UP(i_size_read(mapping->host),
					   PAGE_SIZE);

		file_ra_state_init(&ra, mapping);
		if (start < end)
			page_cache_sync_readahead(mapping, &ra, file, start,
						  min_t(pgoff_t, window,
							end - start));
	}
	return read_mapping_folio(mapping, index, file);
}

/*
 * A copy of what @folio has. NULL if it is not in the page cache any more: what
 * zeroes parts of folios that are up to date removes them before it lets go of
 * the lock, as deduplication on XFS does.
 */
static struct folio *copy_folio(struct address_space *mapping,
				struct folio *folio, loff_t pos, size_t len)
{
	struct folio *copy = folio_alloc(GFP_KERNEL_ACCOUNT, 0);
	bool is_cached;

	if (!copy)
		return ERR_PTR(-ENOMEM);

	filemap_invalidate_lock_shared(mapping);
	is_cached = folio->mapping == mapping;
	if (is_cached)
		memcpy(folio_address(copy),
		       folio_address(folio) + offset_in_folio(folio, pos), len);
	filemap_invalidate_unlock_shared(mapping);

	if (is_cached)
		return copy;
	folio_put(copy);
	return NULL;
}

/*
 * A copy that the file system makes. No event is raised, and no security module
 * asked: this is no more a user's access than a look at the page cache is.
 *
 * A fault on an inline file comes here with locks of the memory's, and ->read_iter()
 * may take the inode lock of the file in which the image is in the end. Who writes
 * to that one meanwhile, below the overlayfs that the image was opened on, from a
 * mapping of such an inline file, may wait for himself. overlayfs forbids such
 * writes, and EROFS on a file has it so as well.
 */
static struct folio *read_copy(struct file *file, loff_t pos, size_t len)
{
	struct folio *copy = folio_alloc(GFP_KERNEL_ACCOUNT, 0);
	struct iov_iter iter;
	struct kiocb iocb;
	struct kvec vec;
	ssize_t ret;

	if (!copy)
		return ERR_PTR(-ENOMEM);

	vec.iov_base = folio_address(copy);
	vec.iov_len = len;
	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, len);
	init_sync_kiocb(&iocb, file);
	iocb.ki_pos = pos;
	do {
		ret = file->f_op->read_iter(&iocb, &iter);
	} while (ret > 0 && iov_iter_count(&iter));

	if (!iov_iter_count(&iter))
		return copy;
	folio_put(copy);
	return ERR_PTR(ret < 0 ? ret : -EIO);
}

/*
 * A folio that holds the @len bytes at @pos of @file, which lie in one page, at
 * *@bytes. They do not change for as long as there is a reference to it.
 *
 * @has_page_cache, @has_verity: what the functions above said. Where there is a
 * page cache, copies are made from it and not by ->read_iter(), which may take
 * locks that a page fault must not wait for.
 */
struct folio *rust_vfs_look_at(struct file *file, loff_t pos, size_t len,
			       unsigned int window, bool has_page_cache,
			       bool has_verity, const void **bytes)
{
	struct folio *folio, *copy;

	do {
		/* One call of a user may read many folios, all cached. */
		if (fatal_signal_pending(current))
			return ERR_PTR(-EINTR);
		cond_resched();

		if (!has_page_cache) {
			copy = read_copy(file, pos, len);
			break;
		}
		folio = cached_folio(file, pos >> PAGE_SHIFT, window);
		if (IS_ERR(folio))
			return folio;
		/*
		 * fs-verity keeps writers out, but who pinned a folio before
		 * it was enabled may still write to it.
		 */
		if (has_verity && likely(!folio_maybe_dma_pinned(folio))) {
			/* Pairs with the release of the pin. */
			smp_rmb();
			*bytes = folio_address(folio) +
				 offset_in_folio(folio, pos);
			return folio;
		}
		copy = copy_folio(file->f_mapping, folio, pos, len);
		folio_put(folio);
	} while (!copy);

	if (!IS_ERR(copy))
		*bytes = folio_address(copy);
	return copy;
}
