"""Compiler, flags and link exactly as recurc calls them, as SCons variables. Boards: platform-recurc/boards."""

import os
import shutil
import subprocess
import sys

# In the project's path; PlatformIO itself expands $.
UNUSABLE = '"`\n'
RUNTIME = os.path.join("lib", "recurc_runtime")


def find_compiler(env, recipe):
    """The compiler's command: what the environment variable names, else the first that is installed."""
    chosen = os.environ.get(recipe["variable"])
    for command in [chosen] if chosen else recipe["compilers"]:
        if shutil.which(command, path=env["ENV"].get("PATH")):
            return command
    sys.exit(
        "Error: there is no C compiler on the PATH: %s (Debian: apt-get install %s)"
        % (chosen or " or ".join(recipe["compilers"]), recipe["packages"])
    )


def literal(word):
    """A word that SCons passes on as it is."""
    return word.replace("$", "$$")


def shell_word(word):
    """A word that SCons and the shell behind it pass on as it is: folders have names like "Ben's (copy)"."""
    word = literal("".join("\\" + c if c in '"`\\' else c for c in word))
    return word if " " in word or "\t" in word else '"%s"' % word  # SCons puts words with blanks in quotes itself


def known_link_flags(env, recipe, compiler):
    """Link flags without those that an older linker does not know."""
    done = subprocess.run([compiler, "-Wl,--version", "-nostdlib"], capture_output=True, text=True, env=env["ENV"])
    version = done.stdout.splitlines()[0].rsplit(" ", 1)[-1].split(".") if done.stdout else ["0"]
    old = [int("".join(c for c in d if c.isdigit()) or 0) for d in version[:2]] < [2, 39]
    return [f for f in recipe["link_flags"] if not (old and "rwx" in f)]


def short_names(project, name):
    """Flags that name sources in debug information by folder and file: builds are the same bytes in any folder."""
    folders = {"src": "src", os.path.join("src", "boards", name): "build", os.path.join(RUNTIME, "include"): "include"}
    for root, _, files in os.walk(os.path.join(project, RUNTIME, "src")):
        if files:
            folders[os.path.relpath(root, project)] = os.path.basename(root)
    names = {project: "."}  # the last match counts, so the general one comes first
    for folder, short in sorted(folders.items()):
        names.update({folder: short, os.path.join(project, folder): short})
    return [shell_word("-ffile-prefix-map=%s=%s" % (folder, short)) for folder, short in names.items()]


def compile_variables(env, recipe):
    """SCons variables for compiling."""
    project = env.subst("$PROJECT_DIR")
    if any(c in project for c in UNUSABLE):
        sys.exit(
            "Error: PlatformIO cannot build in a folder with a quotation mark, a backtick or a line break in its name: %r"
            % project
        )
    names = short_names(project, recipe["board"])
    folders = ["src", os.path.join(RUNTIME, "include")]
    folders += [os.path.join(RUNTIME, "src", "ports", port) for port in recipe["ports"]]
    paths = [os.path.join(project, folder) for folder in folders]
    names += [shell_word("-I" + path) for path in paths]
    return {
        "CFLAGS": [],
        "CCFLAGS": [*recipe["c_flags"], *names],
        "ASPPFLAGS": [*recipe["assembler_flags"], *names],
        # Sources by their whole path, as recurc names them: the compiler's file tables depend on how it was told.
        "CCCOM": '$CC -o $TARGET -c $CFLAGS $CCFLAGS $_CCCOMCOM "$PROJECT_DIR/$SOURCE"',
        "ASPPCOM": '$CC -o $TARGET -c $ASPPFLAGS $_CPPDEFFLAGS $_CPPINCFLAGS "$PROJECT_DIR/$SOURCE"',
        "CPPDEFINES": [(key, literal(value).replace('"', '\\"')) for key, value in recipe["defines"].items()],
        "CPPPATH": paths,
        "_CPPINCFLAGS": "",  # looked through for changes; the flags are among the others, quoted
    }


def link_variables(env, recipe, compiler):
    """SCons variables for linking."""
    flags = [*recipe["machine_flags"], *known_link_flags(env, recipe, compiler)]
    # The linker expands % in the map's name and -Wl splits at commas: it is named without the project's folder.
    build = os.path.relpath(env.subst("$BUILD_DIR"), env.subst("$PROJECT_DIR"))
    return {"LINKFLAGS": [*flags, "-Wl,-Map=" + literal(os.path.join(build, "firmware.map"))], "LIBS": ["gcc"]}


def size_variables(recipe):
    """SCons variables for the check of sizes: all sections that lie in flash, and all in RAM."""
    patterns = [r"^(?:%s)\s+([0-9]+).*" % "|".join(recipe["size"][kind]).replace(".", r"\.") for kind in ("flash", "ram")]
    return {"SIZEPROGREGEXP": patterns[0], "SIZEDATAREGEXP": patterns[1], "SIZECHECKCMD": "$SIZETOOL -A -d $SOURCES"}


def is_ours(path, recipe):
    """Whether a source belongs to the board's firmware: of the runtime's ports, only the board's own are compiled."""
    parts = path.replace(os.sep, "/").split("/")
    return "ports" not in parts or parts[parts.index("ports") + 1] in recipe["ports"]
