"""Puts a firmware on its board, by the route that its file in platform-recurc/boards names. `pio run -t upload` calls it.

    python pio/upload.py BOARD.json FIRMWARE.elf [PORT]
    python pio/upload.py --stop PORT

An emulated board is started with its UART on PORT and left running: socket://127.0.0.1:NUMBER, or pty; --stop ends it.
An emulator that an earlier upload left on that port is replaced, as a board's old firmware would be.
For a board whose boot loader or debug probe shows itself as a disk, PORT is that disk's folder; without it the disk is
looked for. Other boards are written by their tool. Weights and tables in a flash chip of their own are written first;
with RECURC_UPLOAD=firmware they stay as they are.
"""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import uuid

EMULATORS = os.path.join(tempfile.gettempdir(), "recurc-emulators-%d" % (os.getuid() if hasattr(os, "getuid") else 0))
UF2_PAYLOAD = 256
UF2_MAGIC = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
UF2_FAMILY_PRESENT = 0x2000
MARKS = {"uf2": ("INFO_UF2.TXT",), "probe": ("DETAILS.TXT", "MBED.HTM")}  # files that tell such a disk from others
MAIN_FILES = {"bin": "firmware.bin", "hex": "firmware.hex"}


def fail(text):
    sys.exit("Error: " + text)


# -- emulated boards --------------------------------------------------------------------------------------------------


def tcp_address(port):
    """(host, number) of socket://HOST:NUMBER or tcp://HOST:NUMBER."""
    match = re.fullmatch(r"(?:socket|tcp)://([\w.\-]+):(\d+)/?", port)
    if not match or not 0 < int(match[2]) < 65536:
        fail("%r is no port for an emulated board: name socket://127.0.0.1:NUMBER, or pty" % port)
    return match[1], int(match[2])


def emulator_folder():
    """This user's folder of notes on running emulators."""
    os.makedirs(EMULATORS, mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and os.stat(EMULATORS).st_uid != os.getuid():
        fail("%s belongs to somebody else" % EMULATORS)
    return EMULATORS


def note_of(port):
    """File that remembers which emulator holds a port."""
    key = "%s-%d" % tcp_address(port) if "://" in port else port
    return os.path.join(emulator_folder(), re.sub(r"[^\w.\-]", "_", key) + ".json")


def command_line(pid):
    """A process's command line; empty when it is gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().decode("utf-8", "replace")
    except OSError:
        if os.path.isdir("/proc/self"):
            return ""
    return subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True).stdout


def stop(port):
    """End the emulator that an upload left on a port; whether there was one."""
    path = note_of(port)
    try:
        with open(path) as f:
            held = json.load(f)
        os.unlink(path)
    except (OSError, ValueError):
        return False
    if held["mark"] not in command_line(held["pid"]):
        return False
    os.kill(held["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 5
    while held["mark"] in command_line(held["pid"]):
        if time.monotonic() > deadline:
            os.kill(held["pid"], signal.SIGKILL)
            deadline += 5
        time.sleep(0.02)
    return True


def emulate(project, recipe, elf, port):
    """Start the emulator and leave it running."""
    emulator, mark = recipe["emulator"], "recurc-" + uuid.uuid4().hex
    if port != "pty":
        stop(port)
    serial = "pty" if port == "pty" else "tcp:%s:%d,server=on,wait=off" % tcp_address(port)
    pidfile = os.path.join(emulator_folder(), mark)
    command = [
        emulator["program"],
        "-M",
        emulator["machine"],
        "-name",
        mark,
        "-display",
        "none",
        "-monitor",
        "none",
        "-nodefaults",
        *emulator["args"],
        "-serial",
        serial,
        "-kernel",
        elf,
        "-daemonize",
        "-pidfile",
        pidfile,
    ]
    for file in recipe["files"]:
        path = os.path.join(project, file["file"]).replace(",", ",,")  # a comma ends a value of an option
        command += ["-device", "loader,file=%s,addr=%s,force-raw=on" % (path, file["address"])]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        fail("%s is not on the PATH (Debian: apt-get install %s)" % (emulator["program"], emulator["package"]))
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        fail("%s ended with status %d: %s" % (emulator["program"], done.returncode, said))
    if port == "pty":
        match = re.search(r"redirected to (\S+)", done.stdout + done.stderr)
        if not match:
            fail("QEMU does not say which pseudo-terminal it has opened")
        port = match[1]
    with open(pidfile) as f:
        pid = int(f.read())
    os.unlink(pidfile)
    with open(note_of(port), "w") as f:
        json.dump({"pid": pid, "mark": mark}, f)
    print("emulated board on %s (process %d)" % (port, pid))


# -- disks ------------------------------------------------------------------------------------------------------------


def mounted(table="/proc/mounts"):
    """Folders of mounted disks."""
    if os.path.isfile(table):
        with open(table) as f:
            return [re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), line.split()[1]) for line in f]
    return [os.path.join("/Volumes", name) for name in os.listdir("/Volumes")] if os.path.isdir("/Volumes") else []


def disk_text(folder, kind):
    """What a disk of that kind tells of itself; empty when it is none."""
    for name in MARKS[kind]:
        try:
            with open(os.path.join(folder, name), errors="replace") as f:
                return os.path.basename(folder) + "\n" + f.read()
        except OSError:
            continue
    return ""


def find_disk(route, folders):
    """The board's disk among folders."""
    wanted = route.get("match", "").lower()
    found = [f for f in folders if (text := disk_text(f, route["disk"])) and wanted in text.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        fail("several boards show a disk: %s. Name one as the port" % ", ".join(found))
    fail("no disk of the board is mounted. %s Then mount its disk, or name its folder as the port" % route["hint"])


def uf2_blocks(data, address, family):
    """A binary file as UF2: blocks of 512 bytes that carry 256."""
    pieces = [data[i : i + UF2_PAYLOAD] for i in range(0, len(data), UF2_PAYLOAD)]
    blocks = []
    for i, piece in enumerate(pieces):
        head = struct.pack(
            "<8I",
            UF2_MAGIC[0],
            UF2_MAGIC[1],
            UF2_FAMILY_PRESENT,
            address + i * UF2_PAYLOAD,
            UF2_PAYLOAD,
            i,
            len(pieces),
            family,
        )
        blocks.append(head + piece.ljust(476, b"\0") + struct.pack("<I", UF2_MAGIC[2]))
    return b"".join(blocks)


def copy_to_disk(route, recipe, build, port):
    """Write the firmware to the disk of a boot loader or debug probe."""
    if port and not disk_text(port, route["disk"]):
        fail("%s is no disk of such a board: it has no %s" % (port, " or ".join(MARKS[route["disk"]])))
    disk = port or find_disk(route, mounted())
    with open(os.path.join(build, MAIN_FILES["bin"]), "rb") as f:
        data = f.read()
    name = "firmware.bin"
    if route["disk"] == "uf2":
        data, name = uf2_blocks(data, int(recipe["flash_base"], 0), route["uf2_family"]), "firmware.uf2"
    try:
        with open(os.path.join(disk, name), "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
    except OSError as error:
        fail("%s cannot be written to %s: %s" % (name, disk, error.strerror))
    time.sleep(0.5)
    try:
        with open(os.path.join(disk, "FAIL.TXT"), errors="replace") as f:  # what debug probes leave behind
            fail("the debug probe refused the firmware: %s" % f.read().strip())
    except OSError:
        pass
    print("wrote %s, %d bytes, to %s" % (name, len(data), disk))


# -- tools ------------------------------------------------------------------------------------------------------------


def run_tool(command, what, **values):
    """Run a board's tool; {file} and {address} in its words are filled in, $NAME is taken from the environment."""
    words = []
    for word in command:
        if word.startswith("$") and word[1:] not in os.environ:
            fail("%s is written by %s, which needs the variable %s" % (what, command[0], word[1:]))
        words.append(os.environ[word[1:]] if word.startswith("$") else word.format(**values))
    if shutil.which(words[0]) is None:
        fail("%s is written by %s, which is not on the PATH. Its whole command: %s" % (what, words[0], " ".join(words)))
    done = subprocess.run(words, stdin=subprocess.DEVNULL)
    if done.returncode:
        fail("%s ended with status %d while it wrote %s" % (words[0], done.returncode, what))
    print("%s has written %s" % (words[0], what))


def hex_record(kind, address, data):
    """One line of Intel HEX."""
    body = bytes([len(data), address >> 8 & 255, address & 255, kind]) + data
    return ":%s%02X\n" % (body.hex().upper(), -sum(body) & 255)


def with_words(text, words):
    """An Intel HEX file with words, (address, value) each, before its end."""
    end = hex_record(1, 0, b"")
    lines = text.replace("\r\n", "\n")
    if not lines.endswith(end):
        fail("the firmware's HEX file has no end")
    more = (hex_record(4, 0, struct.pack(">H", a >> 16)) + hex_record(0, a & 0xFFFF, struct.pack("<I", v)) for a, v in words)
    return lines[: -len(end)] + "".join(more) + end


def upload(board, elf, port):
    """Write everything, what lies apart first, so that the firmware finds it when it starts."""
    elf = os.path.abspath(elf)
    project = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
    build = os.path.dirname(elf)
    with open(board) as f:
        recipe = json.load(f)["recurc"]
    if "emulator" in recipe:
        return emulate(project, recipe, elf, port)
    route = recipe["flash"]
    if os.environ.get("RECURC_UPLOAD") != "firmware":
        for file in recipe["apart"]:
            path = os.path.join(build if file["built"] else project, file["file"])
            what = "%s, at %s in %s" % (file["file"], file["address"], file["region"])
            if not route.get("external"):
                fail(
                    "%s: no tool is known that writes it. Write %s to that address yourself, then upload with "
                    "RECURC_UPLOAD=firmware" % (what, path)
                )
            run_tool(route["external"], what, file=path, address=file["address"])
    if route.get("disk"):
        copy_to_disk(route, recipe, build, port)
    elif route.get("command"):
        file = os.path.join(build, MAIN_FILES[route["format"]])
        if route.get("words"):
            with open(file) as f:
                text = with_words(f.read(), route["words"])
            file = os.path.join(build, "firmware-words.hex")
            with open(file, "w") as f:
                f.write(text)
        run_tool(route["command"], os.path.basename(file), file=file, address=recipe["flash_base"])
    else:
        fail(
            "no way to write to this board is known: use your tool on %s, from address %s"
            % (os.path.join(build, MAIN_FILES["bin"]), recipe["flash_base"])
        )


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--stop":
        print("stopped" if stop(sys.argv[2]) else "nothing of ours runs there")
    elif len(sys.argv) in (3, 4):
        upload(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else "")
    else:
        sys.exit(__doc__)
