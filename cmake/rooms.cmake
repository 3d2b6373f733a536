# A room is a folder of tweedie/ and one static library that only this build sees; all of them
# together are tweedie::tweedie. DEPS are the rooms it may include: tools/check_rooms holds it to that.
set(TWEEDIE_ROOMS "" CACHE INTERNAL "")

function(tweedie_room name)
  cmake_parse_arguments(ROOM "" "PCH" "DEPS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tweedie/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  set(target tweedie_${name})
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  list(TRANSFORM ROOM_DEPS PREPEND tweedie_)
  foreach(room ${ROOM_DEPS})
    if(NOT TARGET ${room})  # a room that has no sources yet
      list(REMOVE_ITEM ROOM_DEPS ${room})
    endif()
  endforeach()
  target_link_libraries(${target} PUBLIC ${ROOM_DEPS} ${ROOM_LINK} tweedie_base)
  tweedie_compile(${target} ${ROOM_PCH})
  set(TWEEDIE_ROOMS "${TWEEDIE_ROOMS};${target}" CACHE INTERNAL "")
endfunction()

function(tweedie_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter
    -Wno-missing-field-initializers)  # options are set by name: what is left out keeps its default
  if(TWEEDIE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

# What every target of ours shares: warnings and a precompiled header, pch or pch_nn (pch unless said).
function(tweedie_compile target)
  set(header ${ARGN})
  if(NOT header)
    set(header pch)
  endif()
  tweedie_warnings(${target})
  # The precompiled header is refused where a definition it was made with is missing.
  target_compile_definitions(${target} PRIVATE TWEEDIE_VERSION="${PROJECT_VERSION}")
  target_precompile_headers(${target} REUSE_FROM tweedie_${header})
endfunction()
