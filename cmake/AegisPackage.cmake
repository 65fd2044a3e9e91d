# `cpack -G DEB` (or `ninja package`) makes aegis_<version>_<arch>.deb. The version is that of
# project(); Depends come from dpkg-shlibdeps.
set(AEGIS_PACKAGE_MAINTAINER "AEGIS maintainers <maintainers@aegis.invalid>" CACHE STRING
    "Maintainer field of the Debian package")
set(packaging ${CMAKE_SOURCE_DIR}/packaging)
set(staged ${CMAKE_BINARY_DIR}/package-scripts)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME aegis)
set(CPACK_PACKAGE_VENDOR AEGIS)
set(CPACK_PACKAGE_CONTACT ${AEGIS_PACKAGE_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "runs autonomous agents under control")
set(CPACK_PACKAGE_DESCRIPTION
"An agent is described in one file, a manifest: its task, tools, files,
limits, and how its result is checked. AEGIS starts a fresh, closed-in
sandbox for every attempt, lets a model work in it, checks the result
with validators, and hands their complaints to the next attempt. Every
step is in a journal that survives a crash.
.
This package has the one binary, client and daemon, and a service for
systemd. Base images are made on the machine by \"aegis image build\".")
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR OFF)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# libcurl and libarchive are loaded at run time, where dpkg-shlibdeps cannot see them; mke2fs makes
# volumes; certificates are for the model providers.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libcurl4 (>= 7.88), libarchive13 (>= 3.6), e2fsprogs")
string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", ca-certificates, init-system-helpers (>= 1.52)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "docker.io | docker-ce | podman-docker, mmdebstrap")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bash-completion, jq, uidmap")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

file(MAKE_DIRECTORY ${staged})
foreach(script postinst prerm postrm conffiles)
  configure_file(${packaging}/debian/${script} ${staged}/${script} COPYONLY)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${staged}/${script})
endforeach()

# Debian wants these two beside the documentation, and lintian's findings answered.
configure_file(${packaging}/debian/changelog.in ${staged}/changelog @ONLY)
find_program(AEGIS_GZIP gzip REQUIRED)
execute_process(COMMAND ${AEGIS_GZIP} -9nkf ${staged}/changelog COMMAND_ERROR_IS_FATAL ANY)
install(FILES ${packaging}/debian/copyright ${staged}/changelog.gz
        DESTINATION ${AEGIS_INSTALL_DOC_DIR})
install(FILES ${packaging}/debian/lintian-overrides DESTINATION share/lintian/overrides
        RENAME aegis)
include(CPack)
