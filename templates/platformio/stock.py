"""For PlatformIO's own platforms: this firmware's flags in place of theirs. Runs before their build script, and after it."""

import json
import os
import sys

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
project = env.subst("$PROJECT_DIR")
sys.path.insert(0, os.path.join(project, "pio"))
from firmware_flags import compile_variables, is_ours, link_variables, size_variables  # noqa: E402

board = env.GetProjectOption("custom_recurc_board") + ".json"
with open(os.path.join(project, "pio", "platform-recurc", "boards", board)) as f:
    recipe = json.load(f)["recurc"]
# Other compilers than Debian's may warn of more.
recipe["c_flags"] = [flag for flag in recipe["c_flags"] if flag != "-Werror"]


def ours(env, node):
    """The object of a source, compiled with our flags."""
    return env.Object(node, **compile_variables(env, recipe)) if is_ours(node.srcnode().get_path(), recipe) else None


if env.get("PIOMAINPROG") is None:
    env["ENV"].update(LC_ALL="C", SOURCE_DATE_EPOCH="0")
    env.AddBuildMiddleware(ours)
else:
    link = link_variables(env, recipe, env.subst("$CC"))
    env.Replace(LINK="$CC", LIBPATH=[], _LIBFLAGS="-lgcc", LINKFLAGS=[*link["LINKFLAGS"], "-T", env.subst("$LDSCRIPT_PATH")])
    env.Replace(**size_variables(recipe))
