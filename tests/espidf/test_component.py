"""The component in a project of someone's own: what it links, and whose a panic is."""

from __future__ import annotations

import subprocess

import pytest

from tests.espidf.conftest import HERE, compiler_call, flash_image, running


@pytest.fixture(scope="module")
def product(project, tmp_path_factory):
    """A program with its own watchdog handler, linked as ESP-IDF does: the component is an archive, main is not."""
    work = tmp_path_factory.mktemp("product")
    call, files = compiler_call(project, work, usb=False)
    objects = []
    for file in (*files, HERE / "fake_idf.c", HERE / "fake_panic.c", HERE / "fake_product.c"):
        objects.append(work / f"{file.stem}.o")
        subprocess.run([*call, "-c", str(file), "-o", str(objects[-1])], check=True)
    component = [o for o, file in zip(objects, files, strict=False) if "components" in str(file)]
    subprocess.run(["ar", "rcs", str(work / "librecurc.a"), *map(str, component)], check=True)
    others = [str(o) for o in objects if o not in component]
    subprocess.run(["gcc", *others, str(work / "librecurc.a"), "-o", str(work / "product")], check=True)
    return work / "product"


def test_it_asks_for_no_wrapping(project):
    assert "wrap" not in (project / "components" / "recurc" / "CMakeLists.txt").read_text()
    assert "--wrap=esp_panic_handler" in (project / "src" / "CMakeLists.txt").read_text()


def test_panics_stay_the_product_s(product, project, tmp_path):
    """No FAULT frame, the product's handler of the task watchdog, and ESP-IDF's last word."""
    variables = {**flash_image(project, tmp_path / "flash.bin"), "RC_PANIC": "twdt"}
    with running(product, variables) as (port, process):
        with open(port, "r+b", buffering=0) as line:
            line.write(b"\0")
            assert process.wait(10) == 5
        said = process.stderr.read().decode()
    assert said.count("the product's watchdog handler") == 1 and "panic 4" in said
    symbols = subprocess.run(["nm", str(product)], capture_output=True, text=True, check=True).stdout
    assert "__wrap_esp_panic_handler" not in symbols
