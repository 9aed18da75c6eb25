// SPDX-License-Identifier: GPL-2.0-only
/*
 * A C program on the library: all of its functions but those that mount, with what
 * they give and refuse. Prints what it found wrong; the exit status says whether.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lcfs-mount.h"
#include "lcfs-writer.h"

static int failed;

#define check(condition)                                                       \
	do {                                                                   \
		if (!(condition)) {                                            \
			printf("line %d: %s (errno %d)\n", __LINE__,           \
			       #condition, errno);                             \
			failed = 1;                                            \
		}                                                              \
	} while (0)

#define refuses(call, expected)                                                \
	do {                                                                   \
		errno = 0;                                                     \
		check((call) == -1 && errno == (expected));                    \
	} while (0)

struct buffer {
	uint8_t data[1 << 20];
	size_t len;
	size_t limit;
};

static ssize_t write_some(void *file, void *buf, size_t count)
{
	struct buffer *buffer = file;

	if (count > 1000) /* a short write */
		count = 1000;
	if (buffer->len + count > buffer->limit) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(buffer->data + buffer->len, buf, count);
	buffer->len += count;
	return count;
}

static ssize_t read_some(void *file, void *buf, size_t count)
{
	size_t *left = file;

	if (*left == 12345)
		return -1;
	count = count < *left ? count : *left;
	memset(buf, 'x', count);
	*left -= count;
	return count;
}

static struct lcfs_node_s *new_node(uint32_t mode)
{
	struct lcfs_node_s *node = lcfs_node_new();

	check(lcfs_node_try_set_mode(node, mode) == 0);
	return node;
}

static struct lcfs_node_s *tree(void)
{
	struct lcfs_node_s *root = new_node(S_IFDIR | 0755);
	struct lcfs_node_s *dir = new_node(S_IFDIR | 0700);
	struct lcfs_node_s *file = new_node(S_IFREG | 0644);
	struct lcfs_node_s *external = new_node(S_IFREG | 0600);
	struct lcfs_node_s *symlink = new_node(S_IFLNK | 0777);
	struct lcfs_node_s *link = lcfs_node_new();
	struct timespec time = { .tv_sec = -5, .tv_nsec = 7 };
	uint8_t digest[LCFS_DIGEST_SIZE];

	memset(digest, 0xab, sizeof(digest));
	lcfs_node_set_mtime(root, &time);
	check(lcfs_node_set_content(file, (const uint8_t *)"hello", 5) == 0);
	check(lcfs_node_set_xattr(file, "user.a", "v\0w", 3) == 0);
	lcfs_node_set_size(external, 100000);
	lcfs_node_set_fsverity_digest(external, digest);
	check(lcfs_node_set_payload(external, "ab/cd") == 0);
	/* As ostree does it, which does not set the size. */
	check(lcfs_node_set_payload(symlink, "dir/file") == 0);
	lcfs_node_set_uid(dir, 1000);
	lcfs_node_set_gid(dir, 1001);

	check(lcfs_node_add_child(dir, file, "file") == 0);
	check(lcfs_node_add_child(root, symlink, "z") == 0);
	check(lcfs_node_add_child(root, dir, "dir") == 0);
	check(lcfs_node_add_child(root, external, "external") == 0);
	lcfs_node_make_hardlink(link, file);
	check(lcfs_node_add_child(root, link, "link") == 0);
	check(lcfs_node_get_nlink(file) == 2);
	return root;
}

static void look(struct lcfs_node_s *root)
{
	struct lcfs_node_s *dir = lcfs_node_lookup_child(root, "dir");
	struct lcfs_node_s *file = lcfs_node_lookup_child(dir, "file");
	struct lcfs_node_s *external = lcfs_node_lookup_child(root, "external");
	struct lcfs_node_s *link = lcfs_node_lookup_child(root, "link");
	struct timespec time;
	size_t length;

	check(lcfs_node_get_n_children(root) == 4);
	check(strcmp(lcfs_node_get_name(lcfs_node_get_child(root, 3)), "z") == 0);
	check(lcfs_node_get_child(root, 4) == NULL);
	check(lcfs_node_lookup_child(root, "nothing") == NULL);
	check(lcfs_node_get_parent(dir) == root);
	check(lcfs_node_get_parent(root) == NULL && !lcfs_node_get_name(root));
	check(lcfs_node_dirp(dir) && !lcfs_node_dirp(external));
	check(lcfs_node_get_uid(dir) == 1000 && lcfs_node_get_gid(dir) == 1001);
	check(lcfs_node_get_hardlink_target(link) == file);
	check(lcfs_node_get_size(file) == 5);
	check(memcmp(lcfs_node_get_content(file), "hello", 5) == 0);
	check(memcmp(lcfs_node_get_xattr(file, "user.a", &length), "v\0w", 3) == 0);
	check(length == 3 && lcfs_node_get_n_xattr(file) == 1);
	check(strcmp(lcfs_node_get_xattr_name(file, 0), "user.a") == 0);
	check(lcfs_node_get_xattr_name(file, 1) == NULL);
	check(strcmp(lcfs_node_get_payload(external), "ab/cd") == 0);
	check(lcfs_node_get_fsverity_digest(external)[31] == 0xab);
	check(strcmp(lcfs_node_get_payload(lcfs_node_get_child(root, 3)), "dir/file") == 0);
	check(lcfs_node_get_fsverity_digest(file) == NULL);
	lcfs_node_get_mtime(root, &time);
	check(time.tv_sec == -5 && time.tv_nsec == 7);
}

static void write_and_read(struct lcfs_node_s *root, int is_original)
{
	static struct buffer image, again;
	uint8_t digest[LCFS_DIGEST_SIZE], of_image[LCFS_DIGEST_SIZE];
	struct lcfs_write_options_s options = {
		.digest_out = digest,
		.file = &image,
		.file_write_cb = write_some,
		.max_version = LCFS_DEFAULT_VERSION_MAX,
	};
	const char *const names[] = { "dir", NULL }, *const none[] = { NULL };
	struct lcfs_read_options_s some = { .toplevel_entries = names };
	struct lcfs_read_options_s nothing = { .toplevel_entries = none };
	struct lcfs_node_s *read;
	int fd;

	image.len = again.len = 0;
	image.limit = again.limit = sizeof(image.data);
	check(lcfs_write_to(root, &options) == 0);
	check(options.version == 0);
	check(lcfs_compute_fsverity_from_data(of_image, image.data, image.len) == 0);
	check(memcmp(digest, of_image, sizeof(digest)) == 0);

	read = lcfs_load_node_from_image(image.data, image.len);
	check(read != NULL);
	look(read);
	options.file = &again;
	check(lcfs_write_to(read, &options) == 0);
	check(again.len == image.len && !memcmp(again.data, image.data, image.len));
	lcfs_node_unref(read);

	read = lcfs_load_node_from_image_ext(image.data, image.len, &some);
	check(read && lcfs_node_get_n_children(read) == 1);
	lcfs_node_unref(read);
	read = lcfs_load_node_from_image_ext(image.data, image.len, &nothing);
	check(read && lcfs_node_get_n_children(read) == 0);
	lcfs_node_unref(read);

	fd = open("image", O_RDWR | O_CREAT | O_TRUNC, 0600);
	check(write(fd, image.data, image.len) == (ssize_t)image.len);
	check(lcfs_version_from_fd(fd) == 0);
	read = lcfs_load_node_from_fd(fd);
	check(read != NULL);
	look(read);
	lcfs_node_unref(read);
	check(lcfs_fd_get_fsverity(of_image, fd) == 0);
	check(memcmp(digest, of_image, sizeof(digest)) == 0);
	close(fd);

	if (!is_original)
		return;
	check(lcfs_load_node_from_image(image.data, 100) == NULL && errno == EINVAL);
	check(lcfs_load_node_from_image((uint8_t *)"no", 2) == NULL && errno == EINVAL);
	image.data[1024] = 0;
	check(!lcfs_load_node_from_image(image.data, image.len) && errno == EINVAL);
	again.len = 0;
	again.limit = 5000;
	refuses(lcfs_write_to(root, &options), ENOSPC);
	options.flags = 1;
	refuses(lcfs_write_to(root, &options), EINVAL);
	options.flags = 0;
	options.version = LCFS_VERSION_MAX + 1;
	refuses(lcfs_write_to(root, &options), EINVAL);
}

static void bad_nodes(void)
{
	static char name[300], xattr[70000];
	struct lcfs_node_s *dir = new_node(S_IFDIR | 0755);
	struct lcfs_node_s *file = new_node(S_IFREG | 0644);
	struct lcfs_node_s *other = new_node(S_IFREG | 0644);
	struct lcfs_write_options_s options = { 0 };

	memset(name, 'n', sizeof(name) - 1);
	refuses(lcfs_node_try_set_mode(file, 0644), EINVAL);
	refuses(lcfs_node_add_child(file, other, "x"), ENOTDIR);
	refuses(lcfs_node_add_child(dir, other, ""), EINVAL);
	refuses(lcfs_node_add_child(dir, other, name), ENAMETOOLONG);
	check(lcfs_node_add_child(dir, file, "file") == 0);
	refuses(lcfs_node_add_child(dir, file, "again"), EMLINK);
	refuses(lcfs_node_add_child(dir, other, "file"), EEXIST);

	refuses(lcfs_node_set_xattr(file, "", "", 0), ERANGE);
	refuses(lcfs_node_set_xattr(file, name, "", 0), ERANGE);
	refuses(lcfs_node_set_xattr(file, "user.a", xattr, 65536), EINVAL);
	refuses(lcfs_node_set_xattr(file, "user.a", xattr, 32767), ERANGE);
	check(lcfs_node_set_xattr(file, "user.a", xattr, 30000) == 0);
	refuses(lcfs_node_set_xattr(file, "user.b", xattr, 10000), ERANGE);
	check(lcfs_node_unset_xattr(file, "user.a") == 0);
	refuses(lcfs_node_unset_xattr(file, "user.a"), ENODATA);
	check(lcfs_node_get_xattr(file, "user.a", NULL) == NULL);

	lcfs_node_set_mode(other, S_IFLNK | 0777);
	refuses(lcfs_node_set_symlink_payload(other, ""), EINVAL);
	check(lcfs_node_set_symlink_payload(other, "12345") == 0);
	check(lcfs_node_get_size(other) == 5);
	lcfs_node_set_mode(other, S_IFREG | 0644);

	memset(xattr, 'p', 4096);
	refuses(lcfs_node_set_payload(file, xattr), ENAMETOOLONG);
	check(lcfs_node_set_payload(file, NULL) == 0);
	check(lcfs_node_get_payload(file) == NULL);
	refuses(lcfs_node_set_content(file, (uint8_t *)xattr, LCFS_INLINE_CONTENT_MAX + 1), EINVAL);
	check(lcfs_node_set_content(file, (uint8_t *)"abc", 3) == 0);
	lcfs_node_set_size(file, 4);
	check(lcfs_node_get_content(file) == NULL && lcfs_node_get_size(file) == 4);
	refuses(lcfs_node_set_from_content(NULL, AT_FDCWD, "image", 0), EINVAL);

	refuses(lcfs_write_to(file, &options), ENOTDIR);
	lcfs_node_set_size(file, UINT64_C(1) << 54);
	refuses(lcfs_write_to(dir, &options), EFBIG);
	lcfs_node_set_size(file, 0);
	lcfs_node_make_hardlink(file, other);
	refuses(lcfs_write_to(dir, &options), EINVAL);
	lcfs_node_unref(other);
	lcfs_node_unref(dir);
}

static void references(void)
{
	struct lcfs_node_s *dir = new_node(S_IFDIR | 0755);
	struct lcfs_node_s *child = lcfs_node_ref(new_node(S_IFREG | 0644));
	struct lcfs_node_s *other = new_node(S_IFDIR | 0755);
	int depth;

	check(lcfs_node_add_child(dir, child, "child") == 0);
	lcfs_node_unref(dir);
	check(lcfs_node_get_parent(child) == NULL && !lcfs_node_get_name(child));
	check(lcfs_node_add_child(other, child, "again") == 0);
	check(lcfs_node_get_parent(child) == other);
	lcfs_node_unref(other);

	/* As deep as no stack would hold. */
	dir = other = new_node(S_IFDIR | 0755);
	for (depth = 0; depth < 200000; depth++) {
		child = new_node(S_IFDIR | 0755);
		check(lcfs_node_add_child(dir, child, "d") == 0);
		dir = child;
	}
	lcfs_node_unref(other);
}

/* What the library of composefs 1.0 does not survive. */
static void loops(void)
{
	struct lcfs_node_s *dir = new_node(S_IFDIR | 0755);
	struct lcfs_node_s *child = new_node(S_IFDIR | 0755);
	struct lcfs_node_s *link, *target;
	size_t len;
	int depth;

	check(lcfs_node_add_child(dir, child, "child") == 0);
	refuses(lcfs_node_add_child(child, dir, "parent"), EMLINK);

	/* Names and values that are the attribute's own. */
	check(lcfs_node_set_xattr(dir, "user.first", "value", 5) == 0);
	check(lcfs_node_set_xattr(dir, lcfs_node_get_xattr_name(dir, 0), "another", 7) == 0);
	check(lcfs_node_set_xattr(dir, "user.first",
				  lcfs_node_get_xattr(dir, "user.first", &len), 3) == 0);
	check(!memcmp(lcfs_node_get_xattr(dir, "user.first", &len), "ano", 3) && len == 3);

	/* Nothing but its own link has the directory that has it. */
	lcfs_node_make_hardlink(child, dir);
	target = new_node(S_IFREG | 0644);
	lcfs_node_unref(dir);
	lcfs_node_make_hardlink(child, target);
	lcfs_node_unref(target);

	/* As long as no stack would hold. */
	target = new_node(S_IFREG | 0644);
	for (depth = 0; depth < 200000; depth++) {
		link = new_node(S_IFREG | 0644);
		lcfs_node_make_hardlink(target, link);
		if (!depth)
			dir = lcfs_node_ref(target);
		lcfs_node_unref(target);
		target = link;
	}
	lcfs_node_unref(target);
	lcfs_node_unref(dir);
}

static void files(void)
{
	uint8_t digest[LCFS_DIGEST_SIZE], same[LCFS_DIGEST_SIZE];
	size_t len = 100000, bad = 12345;
	struct lcfs_node_s *node;
	char *failed_path = NULL;
	int fd;

	check(lcfs_compute_fsverity_from_content(digest, &len, read_some) == 0);
	fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	for (len = 0; len < 100000; len += 10)
		check(write(fd, "xxxxxxxxxx", 10) == 10);
	lseek(fd, 0, SEEK_SET);
	check(lcfs_compute_fsverity_from_fd(same, fd) == 0);
	check(memcmp(digest, same, sizeof(digest)) == 0);
	check(lcfs_fd_measure_fsverity(same, fd) == -ENOVERITY && errno == ENOVERITY);
	check(lcfs_fd_get_fsverity(same, fd) == 0);
	check(memcmp(digest, same, sizeof(digest)) == 0);
	check(lcfs_fd_enable_fsverity(-1) == -EBADF);
	refuses(lcfs_compute_fsverity_from_content(digest, &bad, read_some), ENODATA);
	close(fd);

	node = lcfs_load_node_from_file(AT_FDCWD, "file", LCFS_BUILD_BY_DIGEST);
	check(node && lcfs_node_get_size(node) == 100000);
	check(strlen(lcfs_node_get_payload(node)) == 65);
	check(lcfs_node_get_fsverity_digest(node) == NULL);
	lcfs_node_unref(node);
	node = lcfs_load_node_from_file(AT_FDCWD, "file", LCFS_BUILD_COMPUTE_DIGEST);
	check(memcmp(lcfs_node_get_fsverity_digest(node), digest, sizeof(digest)) == 0);
	check(lcfs_node_get_payload(node) == NULL);
	lcfs_node_unref(node);
	check(!lcfs_load_node_from_file(AT_FDCWD, "nothing", 0) && errno == ENOENT);
	check(!lcfs_load_node_from_file(AT_FDCWD, "file", 1 << 7) && errno == EINVAL);
	check(!lcfs_build(AT_FDCWD, "nothing", 0, &failed_path) && errno == ENOENT);
	check(failed_path && strcmp(failed_path, "nothing") == 0);
	free(failed_path);
	node = lcfs_build(AT_FDCWD, ".", LCFS_BUILD_USE_EPOCH, NULL);
	check(node && lcfs_node_lookup_child(node, "file"));
	lcfs_node_unref(node);
}

static void mounting(void)
{
	const char *dirs[] = { "." };
	struct lcfs_mount_options_s options = { .objdirs = dirs, .n_objdirs = 1 };

	options.flags = 1 << 5;
	refuses(lcfs_mount_image("image", "/", &options), EINVAL);
	options.flags = LCFS_MOUNT_FLAGS_IDMAP;
	options.idmap_fd = -1;
	refuses(lcfs_mount_image("image", "/", &options), EINVAL);
	options.flags = 0;
	options.upperdir = "/upper";
	refuses(lcfs_mount_image("image", "/", &options), EINVAL);
	options.upperdir = NULL;
	options.expected_fsverity_digest = "no digest";
	refuses(lcfs_mount_image("image", "/", &options), EINVAL);
	options.expected_fsverity_digest =
		"0000000000000000000000000000000000000000000000000000000000000000";
	refuses(lcfs_mount_image("nothing", "/", &options), ENOENT);
	refuses(lcfs_mount_image("image", "/", &options), ENOVERITY);
	options.n_objdirs = 0;
	refuses(lcfs_mount_fd(0, "/", &options), EINVAL);
}

/* An argument says that the library is that of composefs 1.0. */
int main(int argc, char **argv)
{
	struct lcfs_node_s *root = tree(), *copy;

	(void)argv;
	look(root);
	write_and_read(root, 1);
	copy = lcfs_node_clone_deep(root);
	lcfs_node_unref(root);
	look(copy);
	write_and_read(copy, 0);
	lcfs_node_unref(copy);
	bad_nodes();
	references();
	if (argc == 1)
		loops();
	files();
	mounting();
	return failed;
}
