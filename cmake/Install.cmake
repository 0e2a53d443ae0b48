# The library in its two forms, and the install rules. Both forms are made of the objects of all floors below src/cli.
# Consumers find them through pkg-config (dldist.pc) or find_package(dldist): targets dldist::dldist, dldist::static.
include(CMakePackageConfigHelpers)

add_library(dldist_shared SHARED ${PROJECT_SOURCE_DIR}/cmake/empty.c)
dl_link_floors(dldist_shared api)
set_target_properties(dldist_shared PROPERTIES OUTPUT_NAME dldist VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR})

add_library(dldist_static STATIC ${PROJECT_SOURCE_DIR}/cmake/empty.c)
dl_link_floors(dldist_static api)
set_target_properties(dldist_static PROPERTIES OUTPUT_NAME dldist)

# What a program must be linked with beside libdldist.a. Written out as found here: an archive is tied to the libraries that
# its objects were compiled against, and nobody who uses the shared library should need their development packages.
set(DLDIST_PRIVATE_LIBS ${MPI_C_LIBRARIES} ${HDF5_LDFLAGS} ${OPENBLAS_LDFLAGS} ${FYAML_LDFLAGS} ${JANSSON_LDFLAGS}
  ${CRYPTO_LDFLAGS} ${ZLIB_LDFLAGS} ${PNG_LDFLAGS} ${JPEG_LDFLAGS} ${ZMQ_LDFLAGS})
if(DLDIST_HAVE_ONEDNN)
  list(APPEND DLDIST_PRIVATE_LIBS ${DNNL_LIBRARY})
  foreach(name ${OpenMP_C_LIB_NAMES})
    list(APPEND DLDIST_PRIVATE_LIBS -l${name})
  endforeach()
endif()
list(APPEND DLDIST_PRIVATE_LIBS -lpthread -lm)
list(REMOVE_DUPLICATES DLDIST_PRIVATE_LIBS)
string(REPLACE ";" " " DLDIST_PRIVATE_LIBS_TEXT "${DLDIST_PRIVATE_LIBS}")

install(TARGETS dldist RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS dldist_shared dldist_static LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dldist DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.f90")
install(FILES ${PROJECT_SOURCE_DIR}/share/digits.h5 DESTINATION ${CMAKE_INSTALL_DATADIR}/dldist)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
# `dldist help --man` writes it during the build.
install(FILES ${PROJECT_BINARY_DIR}/man/dldist.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)

# pkg-config works out the prefix from where dldist.pc lies, so that an installed tree may be moved.
set(DLDIST_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH DLDIST_PC_TO_PREFIX ${CMAKE_INSTALL_PREFIX}/${DLDIST_PC_DIR} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" DLDIST_PC_TO_PREFIX ${DLDIST_PC_TO_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/dldist.pc.in ${PROJECT_BINARY_DIR}/dldist.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/dldist.pc DESTINATION ${DLDIST_PC_DIR})

set(DLDIST_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/dldist)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/dldistConfig.cmake.in
  ${PROJECT_BINARY_DIR}/dldistConfig.cmake INSTALL_DESTINATION ${DLDIST_CMAKE_DIR}
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_BINDIR NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/dldistConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dldistConfig.cmake ${PROJECT_BINARY_DIR}/dldistConfigVersion.cmake
  DESTINATION ${DLDIST_CMAKE_DIR})
