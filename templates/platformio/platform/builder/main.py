"""Build of one environment of this project: firmware.elf, and a binary file for each flash chip."""

import os
import sys

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
sys.path.insert(0, os.path.join(env.subst("$PROJECT_DIR"), "pio"))
from firmware_flags import compile_variables, find_compiler, is_ours, link_variables, size_variables  # noqa: E402

recipe = env.BoardConfig().get("recurc")
compiler = find_compiler(env, recipe)
prefix = compiler[: -len("gcc")] if compiler.endswith("gcc") else ""
env.Replace(
    CC=compiler,
    LINK=compiler,
    AR=prefix + "ar",
    RANLIB=prefix + "ranlib",
    OBJCOPY=prefix + "objcopy",
    SIZETOOL=prefix + "size",
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
)
env.Replace(**compile_variables(env, recipe))
env.Replace(**link_variables(env, recipe, compiler), **size_variables(recipe))
env["ENV"].update(LC_ALL="C", SOURCE_DATE_EPOCH="0")
env.AddBuildMiddleware(lambda node: node if is_ours(node.srcnode().get_path(), recipe) else None)

target_elf = env.BuildProgram()
env.Depends(target_elf, os.path.join(env.subst("$PROJECT_DIR"), env.subst("$LDSCRIPT_PATH")))
outputs = [target_elf]
for name, select in recipe["binaries"].items():  # one a flash chip
    form = "ihex" if name.endswith(".hex") else "binary"
    copy = env.VerboseAction('"$OBJCOPY" -O %s %s "$SOURCE" "$TARGET"' % (form, select), "Writing $TARGET")
    outputs.append(env.Command(os.path.join("$BUILD_DIR", name), target_elf, copy))
env.AddPlatformTarget("upload", outputs, [env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")], "Upload")
Default(outputs)
