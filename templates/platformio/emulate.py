"""Uploads to an emulated board: starts QEMU with the firmware, its UART on a TCP port or pseudo-terminal, and leaves it running.

    python pio/emulate.py boards/NAME.json FIRMWARE.elf socket://127.0.0.1:45870
    python pio/emulate.py boards/NAME.json FIRMWARE.elf pty
    python pio/emulate.py --stop socket://127.0.0.1:45870

An emulator that an earlier upload left on that port is replaced, as a board's old firmware would be.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid

FOLDER = os.path.join(tempfile.gettempdir(), "recurc-emulators-%d" % os.getuid())


def fail(text):
    sys.exit("Error: " + text)


def tcp_address(port):
    """(host, number) of socket://HOST:NUMBER or tcp://HOST:NUMBER."""
    match = re.fullmatch(r"(?:socket|tcp)://([\w.\-]+):(\d+)/?", port)
    if not match or not 0 < int(match[2]) < 65536:
        fail("%s is no port for an emulator: name socket://127.0.0.1:NUMBER, or pty" % port)
    return match[1], int(match[2])


def record_of(port):
    """File that remembers which emulator holds a port."""
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    if os.stat(FOLDER).st_uid != os.getuid():
        fail("%s belongs to somebody else" % FOLDER)
    key = "%s-%d" % tcp_address(port) if "://" in port else port
    return os.path.join(FOLDER, re.sub(r"[^\w.\-]", "_", key) + ".json")


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
    path = record_of(port)
    try:
        with open(path) as f:
            held = json.load(f)
    except (OSError, ValueError):
        return False
    os.unlink(path)
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


def start(board, elf, port):
    """Start the emulator; returns its port."""
    project = os.path.dirname(os.path.dirname(os.path.abspath(board)))
    with open(board) as f:
        recipe = json.load(f)["recurc"]
    emulator, mark = recipe["emulator"], "recurc-" + uuid.uuid4().hex
    if port == "pty":
        serial = "pty"
    else:
        stop(port)
        serial = "tcp:%s:%d,server=on,wait=off" % tcp_address(port)
    pidfile = os.path.join(FOLDER, mark)
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    command = [emulator["program"], "-M", emulator["machine"], "-name", mark, "-display", "none", "-monitor", "none", "-nodefaults",
               *emulator["args"], "-serial", serial, "-kernel", os.path.abspath(elf), "-daemonize", "-pidfile", pidfile]
    for file in recipe["files"]:
        path = os.path.join(project, file["file"]).replace(",", ",,")
        command += ["-device", "loader,file=%s,addr=%s,force-raw=on" % (path, file["address"])]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        fail("%s is not on the PATH (Debian: apt-get install %s)" % (emulator["program"], emulator["package"]))
    if done.returncode:
        fail("%s ended with status %d: %s" % (emulator["program"], done.returncode, (done.stderr or done.stdout).strip()))
    if port == "pty":
        match = re.search(r"redirected to (\S+)", done.stdout + done.stderr)
        if not match:
            fail("QEMU does not say which pseudo-terminal it has opened")
        port = match[1]
    with open(pidfile) as f:
        pid = int(f.read())
    os.unlink(pidfile)
    with open(record_of(port), "w") as f:
        json.dump({"pid": pid, "mark": mark}, f)
    return port, pid


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--stop":
        print("stopped" if stop(sys.argv[2]) else "nothing runs there")
    elif len(sys.argv) == 4:
        print("emulated board on %s (process %d)" % start(*sys.argv[1:]))
    else:
        sys.exit(__doc__)
