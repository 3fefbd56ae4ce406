"""Stand-ins for build systems that are not here: the functions that their build files call, and a program to build."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from recurc.reading import read_text
from recurc.resources import resource_dir

ZEPHYR = """
cmake_minimum_required(VERSION 3.20)
project(app C ASM)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
include(config.cmake)
add_library(zephyr_interface INTERFACE)
target_compile_options(zephyr_interface INTERFACE $<$<COMPILE_LANGUAGE:C>:-std=c99> -Os -ffp-contract=fast)
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC "")
  target_link_libraries(${name} PUBLIC zephyr_interface)
  set_property(GLOBAL APPEND PROPERTY ZEPHYR_LIBS ${name})
endmacro()
function(zephyr_include_directories)
  target_include_directories(zephyr_interface INTERFACE ${ARGN})
endfunction()
function(zephyr_library_include_directories)
  target_include_directories(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_definitions)
  target_compile_definitions(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
add_subdirectory("${MODULE}/${MODULE_CMAKE}" module)
get_property(libs GLOBAL PROPERTY ZEPHYR_LIBS)
add_executable(app main.c)
target_link_libraries(app PRIVATE ${libs})
"""
IDF = """
cmake_minimum_required(VERSION 3.16)
project(app C ASM)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
add_compile_options($<$<COMPILE_LANGUAGE:C>:-std=gnu17> -Og -ffp-contract=fast)
function(idf_component_register)
  cmake_parse_arguments(C "" "" "SRCS;INCLUDE_DIRS;PRIV_INCLUDE_DIRS" ${ARGN})
  if(C_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${C_UNPARSED_ARGUMENTS}")
  endif()
  add_library(component STATIC ${C_SRCS})
  target_include_directories(component PUBLIC ${C_INCLUDE_DIRS} PRIVATE ${C_PRIV_INCLUDE_DIRS})
endfunction()
add_subdirectory("${COMPONENT}" component)
add_executable(app main.c)
target_link_libraries(app PRIVATE component)
"""
# ESP-IDF reads a component's requirements first, in a script that ends where it registers.
IDF_EARLY = """
macro(idf_component_register)
  return()
endmacro()
include("${COMPONENT}/CMakeLists.txt")
"""
PIO_INI = """
[platformio]
core_dir = .pio/core
[env:here]
platform = symlink://${PROJECT_DIR}/platform
"""
_OURS = read_text(resource_dir("templates") / "platformio/platform/platform.py")  # brings SCons without a network
# PlatformIO's own platform for this computer comes from its registry. This one is as small as one can be.
PIO_PLATFORM = {
    "platform/platform.json": '{"name": "here", "title": "here", "version": "1.0.0", "packages": {}}',
    "platform/platform.py": f"""{_OURS}

class HerePlatform(PlatformBase):
    def configure_default_packages(self, options, targets):
        provide_scons()
        return super().configure_default_packages(options, targets)

    def is_embedded(self):
        return False
""",
    "platform/builder/main.py": """
from SCons.Script import Default, DefaultEnvironment
env = DefaultEnvironment()
env.Replace(CC="cc", LINK="cc", AR="ar", RANLIB="ranlib", PROGSUFFIX="")
Default(env.BuildProgram())
""",
}
ARDUINO_H = """
#include <cstdint>
#include <cstdio>
#include <cstdlib>
inline void yield() {}
struct Port {
    void begin(unsigned long) {}
    void setTimeout(unsigned long) {}
    operator bool() { return true; }
    int available() { return 1; }
    long parseInt() { long n = -1; return scanf("%ld", &n) == 1 ? n : -1; }
    void print(const char *text) { fputs(text, stdout); }
    void print(int n) { printf("%d", n); }
    void println(const char *text) { puts(text); }
};
static Port Serial;
void setup();
void loop();
"""
# Prints the tokens after each step of the puzzle.
PROGRAM = """
#include <stdio.h>
#include "first.h"
static uint8_t arena[FIRST_ARENA_BYTES] __attribute__((aligned(FIRST_ARENA_ALIGN)));
static first_ctx_t ctx;
static const uint8_t puzzle[] = {@PUZZLE@};
int main(void)
{
    uint32_t n = 0;
    if (first_open(&ctx, first_weights(), FIRST_IMAGE_BYTES, arena, sizeof arena, 0) != FIRST_OK ||
        first_begin(&ctx, puzzle, 0u) != FIRST_OK) {
        return 1;
    }
    for (uint32_t step = 0; step < FIRST_STEPS; step++) {
        if (first_step(&ctx) != FIRST_OK) {
            return 2;
        }
        const uint8_t *tokens = first_tensor(&ctx, FIRST_TENSOR_TOKENS, &n);
        for (uint32_t i = 0; i < n; i++) {
            printf("%u ", (unsigned)tokens[i]);
        }
        putchar('\\n');
    }
    return 0;
}
"""


def compiled_with(build: Path, source: str) -> list[str]:
    """The flags of the command that CMake compiles a file with."""
    commands = json.loads((build / "compile_commands.json").read_text())
    return next(c["command"] for c in commands if c["file"].endswith(source)).split()


def run(*command: object) -> str:
    """What a command prints; it must go well."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout
