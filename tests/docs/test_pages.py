"""The pages: links lead somewhere, snippets compile and parse, quoted errors exist, sentences are short."""

import ast
import importlib.util
import re

import pytest
from doc_pages import ROOT, anchors, blocks, links, name_of, pages, too_long, without_code

OURS = ROOT / "src"
NOT_OURS = {"openai", "vllm"}
"""Packages that snippets import and nobody needs to have."""


def test_links_lead_somewhere():
    """A link leads to a file of the project and, where it names a heading, to one of that file."""
    known, wrong, counted = {}, [], 0
    for page in pages():
        for target in links(page):
            if re.match(r"https?://|mailto:", target):
                continue
            counted += 1
            file, _, anchor = target.partition("#")
            path = (page.parent / file).resolve() if file else page
            made = re.match(r"(commands|python)/\w+\.md$", file)  # made while the site is built, which checks them
            if not made and not path.is_file():
                wrong.append(f"{name_of(page)} links to {target}")
            elif anchor and path.suffix == ".md":
                known.setdefault(path, anchors(path))
                if anchor not in known[path]:
                    wrong.append(f"{name_of(page)} links to {target}: no such heading")
    assert not wrong, "\n".join(wrong)
    assert counted > 150


def test_pages_that_code_names_exist():
    """Messages, comments and examples name pages as docs/NAME.md."""
    wrong, counted = [], 0
    for folder in ("src", "scripts", "examples", "evaluate"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in {".py", ".yaml", ".json", ".sh", ".md", ".jinja", ".html"}:
                continue
            for name in re.findall(r"\bdocs/[\w-]+\.md", path.read_text(encoding="utf-8")):
                counted += 1
                wrong += [f"{name_of(path)} names {name}"] * (not (ROOT / name).is_file())
    assert not wrong, "\n".join(wrong)
    assert counted > 5


def test_every_image_is_used_and_has_a_text():
    texts = re.sub(r"`[^`\n]*`", "", "".join(without_code(path.read_text(encoding="utf-8")) for path in pages()))
    folder = ROOT / "docs" / "images"
    images = [path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".py"]
    assert len(images) > 5 and not [name for name in images if name not in texts]
    assert not re.findall(r"!\[\]\(|<img(?![^>]* alt=)", texts)


def names_in(path):
    """The names that a module of ours has: defined, assigned or imported at its top."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            found |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return found


def unresolved(module, name=None):
    """A sentence where a module, or a name of it, does not exist; ours are looked up without importing them."""
    top = module.partition(".")[0]
    if top != "gpt4scene":
        return "" if top in NOT_OURS or importlib.util.find_spec(top) else f"there is no module {module}"
    place = OURS / module.replace(".", "/")
    path = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    if not path.is_file():
        return f"there is no module {module}"
    inside = name is None or (place / f"{name}.py").is_file() or (place / name).is_dir() or name in names_in(path)
    return "" if inside else f"{module} has no {name}"


def test_python_snippets_compile_and_import_what_there_is():
    wrong, counted = [], 0
    for page in pages():
        for block in blocks(page, "python"):
            counted += 1
            try:
                tree = ast.parse(block.text)
            except SyntaxError as error:
                wrong.append(f"{block.place}: {error}")
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    wrong += [f"{block.place}: {said}" for one in node.names if (said := unresolved(one.name))]
                elif isinstance(node, ast.ImportFrom):
                    found = [unresolved(node.module, one.name) for one in node.names]
                    wrong += [f"{block.place}: {said}" for said in found if said]
    assert not wrong, "\n".join(wrong)
    assert counted >= 9
    assert (
        unresolved("gpt4scene.metrics.boxes", "no_such") and unresolved("gpt4scene.nowhere") and unresolved("nowhere9")
    )


def sentences_of_code():
    """All texts of the package, with … for what is put into them."""
    found = []
    for path in [*OURS.rglob("*.py"), *ROOT.glob("scripts/*.sh"), *ROOT.glob("evaluate/*.sh")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".sh":
            found.append(text)
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append("".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values))
    return found


def is_said(line, said):
    """Whether a quoted message is one of the code's, whole or as far as it is quoted."""
    parts = [part for part in re.split("…|; ", line) if len(part.strip(" :;,.'()")) > 7]
    texts = "\n".join(said)
    if parts and all(part.rstrip() in texts for part in parts):
        return True
    near = (one.split("…") for one in said if "…" in one and len(one) > 40)
    made = (literal for literal in near if all(part in line for part in literal if len(part) > 3))
    return any(re.fullmatch(".*".join(map(re.escape, literal)), line) for literal in made)


def test_errors_that_troubleshooting_quotes_exist():
    """Each part of a quoted message stands in the code, so that a search for it leads to the page."""
    said = sentences_of_code()
    quoted = blocks(ROOT / "docs" / "troubleshooting.md", "output")
    wrong = [f"{one.place}: {line}" for one in quoted for line in one.text.splitlines() if not is_said(line, said)]
    assert not wrong, "\n".join(wrong)
    assert len(quoted) > 15 and not is_said("the room … is too small for an elephant", said)


def test_sentences_have_at_most_25_words():
    found = [
        f"{name_of(page)}: {one}"
        for page in [*pages(), ROOT / "SECURITY.md"]
        for one in too_long(page.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a " * 25 + ".", 0),
        ("word " * 26 + ".", 1),
        ("word " * 20 + ". " + "word " * 20, 0),
        ("```\n" + "a " * 99 + "\n```", 0),
    ],
)
def test_words_are_counted_in_prose_only(text, count):
    assert len(too_long(text)) == count


def test_the_navigation_names_every_page():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"([\w-]+\.md)", "\n".join(line.partition("#")[0] for line in text.splitlines())))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")}
