"""Freestanding builds by recurc: the system's compiler where there is one, PlatformIO's own otherwise."""

import importlib.util
import json
import os
import shutil

from platformio.dependencies import get_core_dependencies
from platformio.platform.base import PlatformBase
from platformio.project.config import ProjectConfig

_SCONS = "import sys\n\nfrom SCons.Script.Main import main\n\nsys.exit(main())\n"


class RecurcPlatform(PlatformBase):
    """PlatformIO asks this class what to install before it builds."""

    def configure_default_packages(self, options, targets):
        recipe = self.board_config(options["board"]).get("recurc")
        # Debian's gcc serves as it is; without one, PlatformIO installs its own for Arm.
        found = any(shutil.which(c) for c in [os.environ.get(recipe["variable"]) or "", *recipe["compilers"]] if c)
        arm = recipe["compilers"][0].startswith("arm-")
        self.packages["toolchain-gccarmnoneeabi"]["optional"] = found or not arm
        provide_scons()
        return super().configure_default_packages(options, targets)

    def is_embedded(self):
        return True


def provide_scons():
    """Let PlatformIO use the SCons of its own Python environment, so that a build needs no network.

    Only in a core folder that is this project's own: anywhere else the package would be shared with other projects.
    """
    config = ProjectConfig.get_instance()
    core, project = (os.path.realpath(p) for p in (config.get("platformio", "core_dir"), os.path.dirname(config.path)))
    if os.path.commonpath([core, project]) != project or importlib.util.find_spec("SCons") is None:
        return
    package = os.path.join(config.get("platformio", "packages_dir"), "tool-scons")
    version = get_core_dependencies()["tool-scons"].lstrip("~^>=")
    spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
    files = {
        "package.json": json.dumps({"name": "tool-scons", "version": version}),
        "scons.py": _SCONS,
        ".piopm": json.dumps({"type": "tool", "name": "tool-scons", "version": version, "spec": spec}),  # last: it counts
    }
    for name, text in files.items():
        path = os.path.join(package, name)
        if not os.path.isfile(path) or open(path).read() != text:
            os.makedirs(package, exist_ok=True)
            with open(path + ".part", "w") as f:
                f.write(text)
            os.replace(path + ".part", path)
