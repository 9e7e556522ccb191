"""A virtual environment as a stranger has it: empty, but for what these tests run in, which it sees and does not share."""

from __future__ import annotations

import os
import site
import subprocess
import sysconfig
import venv
from pathlib import Path

SILENT = {
    "PIP_NO_INDEX": "1",  # nothing is downloaded: what a package needs is there, or its installation fails
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads "no" as: build with the setuptools that is there
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONSAFEPATH": "1",  # the folder that one stands in is not on the path: what is found is installed
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONWARNINGS": "",
    "COLUMNS": "120",
    "OMP_NUM_THREADS": "1",
}


class FreshEnvironment:
    """A virtual environment whose commands are run by ``run("harness plugins list")``, in a shell."""

    def __init__(self, root: Path) -> None:
        venv.create(root, with_pip=False)
        self.bin = root / "bin"
        own = Path(sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)}))
        seen = [path for path in [*site.getsitepackages(), site.getusersitepackages()] if Path(path).is_dir()]
        # By "addsitedir" alone are the .pth files over there read too, and with them what is installed in place.
        lines = [f"import site; site.addsitedir({path!r})" for path in seen]
        (own / "seen.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._command("harness", "harness.cli")

    def run(self, command: str, *, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command line; stderr goes where stdout goes."""
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        # Nor is a stranger's pytest a worker of the one that runs this.
        dropped = {"NO_COLOR", "FORCE_COLOR", *(name for name in os.environ if name.startswith("PYTEST_"))}
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        environment = {**kept, **SILENT, "PATH": path, **changes}
        return subprocess.run(
            ["bash", "-c", command],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )

    def _command(self, name: str, module: str) -> None:
        """Write a command as an installer does, since the harness itself is seen and not installed here."""
        code = f"import sys\nfrom {module} import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
        script = self.bin / name
        script.write_text(f"#!{self.bin / 'python'}\n{code}", encoding="utf-8")
        script.chmod(0o755)
