# The layout of an installation, relative to its prefix. src/daemon/installation.cpp finds the two
# folders of the program's own files from the binary's place, so a tree may be moved as a whole.
#
#   bin/aegis
#   lib/aegis/guest/            PID 1 of sandboxes and bootstrap.py
#   share/aegis/images/         recipes of the base images
#   share/doc/aegis/            README, the manual, examples/
#   share/man, share/bash-completion, share/zsh, share/fish     written by the binary itself
#   lib/systemd/system/         the unit
#   etc/aegis/                  the node's configuration; an existing one is kept
#
# With the prefix /usr, etc is /etc.
set(AEGIS_INSTALL_GUEST_DIR lib/aegis/guest)
set(AEGIS_INSTALL_IMAGES_DIR share/aegis/images)
set(AEGIS_INSTALL_DOC_DIR share/doc/aegis)

install(FILES README.md DESTINATION ${AEGIS_INSTALL_DOC_DIR})
install(DIRECTORY docs/ DESTINATION ${AEGIS_INSTALL_DOC_DIR})
install(DIRECTORY examples DESTINATION ${AEGIS_INSTALL_DOC_DIR})

# What depends on the prefix, which may be chosen as late as `cmake --install --prefix`.
set(AEGIS_BINARY ${CMAKE_BINARY_DIR}/aegis)
set(AEGIS_STAGING_DIR ${CMAKE_BINARY_DIR}/generated)
configure_file(cmake/install_late.cmake.in ${CMAKE_BINARY_DIR}/install_late.cmake @ONLY)
install(SCRIPT ${CMAKE_BINARY_DIR}/install_late.cmake)
