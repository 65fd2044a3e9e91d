#pragma once

#include <archive.h>
#include <archive_entry.h>

#include "base/result.h"

/// The inside of unpack.cpp: not for other rooms.
namespace aegis::image {

/// The functions of libarchive that are used, by name.
// clang-format off
#define AEGIS_ARCHIVE_FUNCTIONS(each) \
    each(archive_error_string) \
    each(archive_read_new) \
    each(archive_read_free) \
    each(archive_read_support_filter_gzip) \
    each(archive_read_support_filter_zstd) \
    each(archive_read_support_format_raw) \
    each(archive_read_support_format_empty) \
    each(archive_read_support_format_tar) \
    each(archive_read_open_fd) \
    each(archive_read_next_header) \
    each(archive_read_data) \
    each(archive_read_data_block) \
    each(archive_read_data_into_fd) \
    each(archive_entry_pathname) \
    each(archive_entry_pathname_utf8) \
    each(archive_entry_hardlink) \
    each(archive_entry_hardlink_utf8) \
    each(archive_entry_symlink) \
    each(archive_entry_symlink_utf8) \
    each(archive_entry_filetype) \
    each(archive_entry_mtime) \
    each(archive_entry_mtime_nsec) \
    each(archive_entry_size) \
    each(archive_entry_size_is_set) \
    each(archive_entry_uid) \
    each(archive_entry_gid) \
    each(archive_entry_perm)
// clang-format on

/// libarchive brings ten libraries, 2 ms of every process that links it: it is loaded when the
/// first image is unpacked, so that commands of the client never pay for it.
struct ArchiveLibrary {
#define AEGIS_ARCHIVE_MEMBER(name) decltype(&::name) name;
    AEGIS_ARCHIVE_FUNCTIONS(AEGIS_ARCHIVE_MEMBER)
#undef AEGIS_ARCHIVE_MEMBER
};

/// Loads libarchive at the first call. Any thread. kUnsupported when it is not installed.
Status loadArchive();
/// The loaded library: only after loadArchive() has succeeded.
const ArchiveLibrary& lib();

}  // namespace aegis::image
