"""
Checks what is to be released. ``make dist`` runs it in an environment that has the wheel, and no extra.

It imports nothing of the checkout, and nothing but the wheel and what that requires.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from packaging.metadata import Metadata

NAME = "airflow_provider_stoq"
IN_SDIST = {
    *("LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile"),
    *("stoq_provider", "example_dags", "tests", "docs", "constraints", ".ci", "pyproject.toml"),
    *("PKG-INFO", ".editorconfig", ".github", ".gitignore", ".pre-commit-config.yaml"),
}
OF_EXTRAS = ("adlfs", "gcsfs", "pyarrow", "pytest", "s3fs", "socks")
"""A module of each extra whose packages do not come with Airflow: the environment is bare without them."""
NOT_WITHOUT_EXTRA = tuple(
    f"stoq_provider.{name}" for name in ("testing.", "openlineage", "download.columns", "download.parquet")
)
CLASS = re.compile(r"`(\w+(?:Operator|Sensor|Hook))\b")


def check_sdist(path: Path, checkout: Path) -> None:
    """All that is needed to run the tests, and nothing that was only made here."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = {name.partition("/")[0] for name in names}
    assert top == IN_SDIST, sorted(top)
    of_package = {
        path.relative_to(checkout).as_posix() for path in (checkout / "stoq_provider").rglob("*.py")
    }
    assert of_package <= names, of_package - names
    made = [name for name in names if re.search(r"node_modules|__pycache__|\.venv|\.egg-info", name)]
    assert not made, made


def check_wheel(path: Path, checkout: Path) -> None:
    """The package, its licenses, and metadata that PyPI takes."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        metadata = Metadata.from_email(archive.read(f"{info}/METADATA"), validate=True)
        for file in ("LICENSE", "NOTICE"):
            assert archive.read(f"{info}/licenses/{file}") == (checkout / file).read_bytes()
    assert {name.partition("/")[0] for name in names} == {"stoq_provider", info}
    assert "stoq_provider/py.typed" in names
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.license_files == ["LICENSE", "NOTICE"]
    assert metadata.description == (checkout / "README.md").read_text()


def check_imports(checkout: Path) -> int:
    """All that Airflow and a reader of the README look for is there, and imports without an extra."""
    assert not [name for name in OF_EXTRAS if find_spec(name)]
    import stoq_provider
    from stoq_provider.get_provider_info import get_provider_info

    assert not Path(stoq_provider.__file__).is_relative_to(checkout / "stoq_provider")
    found = pkgutil.walk_packages(stoq_provider.__path__, "stoq_provider.")
    names = [each.name for each in found if not each.name.startswith(NOT_WITHOUT_EXTRA)]
    modules = {name: importlib.import_module(name) for name in names}
    (entry,) = distribution(NAME).entry_points.select(group="apache_airflow_provider")
    info = get_provider_info()
    assert entry.load()() == info
    kinds = ("hooks", "operators", "sensors", "triggers")
    offered = {name for kind in kinds for part in info[kind] for name in part["python-modules"]}
    assert offered <= set(modules)
    classes = {name for module in offered for name in vars(modules[module])}
    in_readme = set(CLASS.findall((checkout / "README.md").read_text()))
    assert len(in_readme) > 10
    assert in_readme <= classes, in_readme - classes
    for connection in info["connection-types"]:
        module, _, name = connection["hook-class-name"].rpartition(".")
        assert name in vars(modules[module])
    return len(modules)


def main(folder: Path) -> None:
    checkout = folder.resolve().parent
    (sdist,), (wheel,) = folder.glob(f"{NAME}-*.tar.gz"), folder.glob(f"{NAME}-*.whl")
    check_sdist(sdist, checkout)
    check_wheel(wheel, checkout)
    count = check_imports(checkout)
    print(f"{sdist.name} and {wheel.name}: complete; {count} modules import without an extra.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
