// SPDX-License-Identifier: GPL-2.0-only
/*
 * Builds an image of COUNT files node by node, as ostree does: directories of 25, most files with
 * an object, one in ten each a symlink and a file that the image holds, all of them with a label.
 *
 * usage: nodes COUNT IMAGE
 */
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "lcfs-writer.h"

#define FILES_PER_DIRECTORY 25

static const char label[] = "system_u:object_r:usr_t:s0";

static ssize_t write_out(void *file, void *buf, size_t count)
{
	return fwrite(buf, 1, count, file);
}

static struct lcfs_node_s *add(struct lcfs_node_s *parent, uint32_t mode, const char *kind,
			       unsigned number)
{
	struct lcfs_node_s *node = lcfs_node_new();
	char name[64];

	if (!node)
		err(1, "lcfs_node_new");
	snprintf(name, sizeof(name), "%s-of-a-package-%u", kind, number);
	lcfs_node_set_mode(node, mode);
	lcfs_node_set_uid(node, number % 3);
	if (lcfs_node_set_xattr(node, "security.selinux", label, sizeof(label)) < 0)
		err(1, "lcfs_node_set_xattr");
	if (lcfs_node_add_child(parent, node, name) < 0)
		err(1, "lcfs_node_add_child");
	return node;
}

static void add_file(struct lcfs_node_s *parent, unsigned number)
{
	uint8_t digest[LCFS_DIGEST_SIZE];
	char path[2 * LCFS_DIGEST_SIZE + 2];
	struct lcfs_node_s *node;

	if (number % 10 == 0) {
		node = add(parent, S_IFLNK | 0777, "link", number);
		if (lcfs_node_set_symlink_payload(node, "../share/target") < 0)
			err(1, "lcfs_node_set_symlink_payload");
		return;
	}
	node = add(parent, S_IFREG | 0644, "file", number);
	if (number % 10 == 1) {
		if (lcfs_node_set_content(node, (const uint8_t *)label, sizeof(label)) < 0)
			err(1, "lcfs_node_set_content");
		return;
	}
	for (size_t i = 0; i < sizeof(digest); i++)
		digest[i] = (number >> 8 * (i % 4)) * 151 + i * 29;
	for (size_t i = 0, at = 0; i < sizeof(digest); i++)
		at += sprintf(path + at, i == 1 ? "/%02x" : "%02x", digest[i]);
	lcfs_node_set_size(node, 4096 + number);
	lcfs_node_set_fsverity_digest(node, digest);
	if (lcfs_node_set_payload(node, path) < 0)
		err(1, "lcfs_node_set_payload");
}

int main(int argc, char **argv)
{
	struct lcfs_write_options_s options = { .format = LCFS_FORMAT_EROFS };
	struct lcfs_node_s *root, *directory = NULL;
	uint8_t digest[LCFS_DIGEST_SIZE];
	unsigned count;

	if (argc != 3)
		errx(1, "usage: nodes COUNT IMAGE");
	count = strtoul(argv[1], NULL, 10);
	options.file = fopen(argv[2], "w");
	if (!options.file)
		err(1, "%s", argv[2]);
	root = lcfs_node_new();
	if (!root)
		err(1, "lcfs_node_new");
	lcfs_node_set_mode(root, S_IFDIR | 0755);
	for (unsigned number = 0; number < count; number++) {
		if (number % FILES_PER_DIRECTORY == 0)
			directory = add(root, S_IFDIR | 0755, "directory", number);
		else
			add_file(directory, number);
	}
	options.file_write_cb = write_out;
	options.digest_out = digest;
	if (lcfs_write_to(root, &options) < 0)
		err(1, "lcfs_write_to");
	lcfs_node_unref(root);
	if (fclose(options.file))
		err(1, "%s", argv[2]);
	return 0;
}
