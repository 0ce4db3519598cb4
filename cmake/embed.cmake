# embed(TARGET NAME FILE): FILE's bytes become part of TARGET, as `struct span embedded_NAME(void)` of api/embedded.h.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${FILE} BYTES HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," BYTES "${BYTES}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n" BYTES "${BYTES}")
  file(WRITE ${OUT} "#include \"api/embedded.h\"\n\nstatic const unsigned char BYTES[] = {\n${BYTES}\n};\n\n"
    "struct span embedded_${NAME}(void) {\n    return (struct span){(const char *)BYTES, sizeof(BYTES)};\n}\n")
  return()
endif()

function(embed TARGET NAME FILE)
  set(OUT ${CMAKE_BINARY_DIR}/embedded/${NAME}.c)
  add_custom_command(OUTPUT ${OUT}
    COMMAND ${CMAKE_COMMAND} -DNAME=${NAME} -DFILE=${CMAKE_SOURCE_DIR}/${FILE} -DOUT=${OUT} -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${CMAKE_SOURCE_DIR}/${FILE} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
  target_sources(${TARGET} PRIVATE ${OUT})
endfunction()
