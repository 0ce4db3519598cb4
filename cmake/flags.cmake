# Language, warnings, hardening and sanitizers, for every target.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(HOOKCAST_WERROR "Treat warnings as errors" OFF)
set(HOOKCAST_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize takes them")

add_compile_definitions(_GNU_SOURCE HOOKCAST_VERSION="${PROJECT_VERSION}")
add_compile_options(-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
  -fstack-protector-strong -fno-omit-frame-pointer)
add_link_options(-pie -Wl,-z,relro,-z,now -Wl,--as-needed)
if(HOOKCAST_WERROR)
  add_compile_options(-Werror)
endif()
if(HOOKCAST_SANITIZE)
  add_compile_options(-fsanitize=${HOOKCAST_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HOOKCAST_SANITIZE})
else()
  # Needs optimisation, and gets in the sanitizers' way.
  add_compile_options($<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>)
endif()
