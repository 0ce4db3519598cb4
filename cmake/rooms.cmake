# room(NAME USES rooms… LIBS libraries…): one static library for lib/NAME.
#
# A room's headers are included as "NAME/header.h". They are found through a folder that holds nothing but a link to
# that one room, so an include of a room that is not in USES does not compile.
function(room NAME)
  cmake_parse_arguments(ARG "" "" "USES;LIBS" ${ARGN})
  set(DOOR ${CMAKE_BINARY_DIR}/rooms/${NAME})
  file(MAKE_DIRECTORY ${DOOR})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/lib/${NAME} ${DOOR}/${NAME} SYMBOLIC)
  file(GLOB SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/${NAME}/*.c)
  add_library(hc_${NAME} STATIC ${SOURCES})
  target_include_directories(hc_${NAME} PUBLIC ${DOOR})
  # Link order travels on, include paths do not: hence both lists.
  foreach(LOWER IN LISTS ARG_USES)
    target_include_directories(hc_${NAME} PRIVATE ${CMAKE_BINARY_DIR}/rooms/${LOWER})
    target_link_libraries(hc_${NAME} PUBLIC $<LINK_ONLY:hc_${LOWER}>)
  endforeach()
  target_link_libraries(hc_${NAME} PRIVATE ${ARG_LIBS})
endfunction()
