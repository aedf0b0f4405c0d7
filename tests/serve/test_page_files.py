"""The page's files are consistent: ids, imports and names exist, and nothing is loaded from another host.

Modules without a user interface run in Node.js, if it is installed, and are compared with the Python implementation.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jr2net.expressions.tracks import parse_csv
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.face.camera import Camera
from jr2net.images.crop import Crop
from jr2net.inference.control import FACE_REGIONS, DrivingOptions, drive
from serve.page.libraries import bundle

PAGE = Path(bundle.__file__).parents[1]
MODULES = sorted(PAGE.glob("*.js"))
PAGE_FILES = [*MODULES, *PAGE.glob("*.html"), *PAGE.glob("*.css"), *PAGE.glob("*.svg"), *PAGE.glob("libraries/*.*")]


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.found if attribute in attributes]


@pytest.fixture(scope="module")
def html() -> _Elements:
    return _Elements((PAGE / "index.html").read_text())


def test_ids_are_unique_and_those_of_the_modules_exist(html):
    ids = html.values("id")
    assert len(ids) == len(set(ids))
    created = {"response-time"}  # by page.js
    for module in MODULES:
        text = module.read_text()
        named = set(re.findall(r"""(?:\$|getElementById)\("([\w-]+)"\)""", text))
        assert named - created <= set(ids), module.name
    for list_of_ids in re.findall(r"for \(const id of \[([^\]]+)\]\) \$\(", "".join(m.read_text() for m in MODULES)):
        assert set(re.findall(r'"([\w-]+)"', list_of_ids)) <= set(ids)
    assert {f"download-{kind}" for kind in ("obj", "glb", "coefficients", "image")} <= set(ids)


def test_labels_and_descriptions_refer_to_existing_ids(html):
    ids = set(html.values("id"))
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        assert set(html.values(attribute)) <= ids, attribute
    assert {target[1:] for target in html.values("href") if target.startswith("#")} <= ids


def test_imports_and_links_exist(html):
    for module in MODULES:
        for target in re.findall(r'(?:from|import\()\s*"([^"]+)"', module.read_text()):
            assert target.startswith("./"), f"{module.name} imports {target}"
            assert target == "./vendor/three.js" or (PAGE / target).is_file(), f"{module.name} imports {target}"
    assert (PAGE / "sample.jpg").stat().st_size < 100_000
    for target in [*html.values("src"), *(own["href"] for tag, own in html.found if tag == "link")]:
        assert (PAGE / str(target)).is_file(), target


def test_imported_names_are_exported():
    exports = {
        module.name: set(re.findall(r"export (?:async )?(?:function|const|class) (\w+)", module.read_text()))
        for module in MODULES
    }
    for module in MODULES:
        for names, target in re.findall(r'import \{([^}]+)\} from "\./(\w+\.js)"', module.read_text()):
            assert {name.split(" as ")[0].strip() for name in names.split(",") if name.strip()} <= exports[target], (
                module.name
            )
    bundled = set(re.findall(r"\w+", re.findall(r"export \{([^}]+)\}", (PAGE / "libraries/three.js").read_text())[0]))
    used = re.findall(r'import \{([^}]+)\} from "\./vendor/three\.js"', (PAGE / "mesh.js").read_text())[0]
    assert set(re.findall(r"\w+", used)) <= bundled | {"GLTFLoader"}


def test_nothing_is_loaded_from_another_host():
    for file in PAGE_FILES:
        urls = set(re.findall(r"https?://[^\s\"'<>)]*", file.read_text())) - {"http://www.w3.org/2000/svg"}
        assert not urls, f"{file.name}: {urls}"


def test_the_html_has_no_inline_script_or_style(html):
    (policy,) = [own["content"] for _, own in html.found if own.get("http-equiv") == "Content-Security-Policy"]
    assert "unsafe" not in str(policy) and "default-src 'none'" in str(policy)
    assert not html.values("style") and not [tag for tag, _ in html.found if tag == "style"]
    assert all("src" in own for tag, own in html.found if tag == "script")
    assert not [name for _, own in html.found for name in own if name.startswith("on")]


def _node(code: str):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    command = [node, "--input-type=module", "--experimental-default-type=module", "-e", code]
    done = subprocess.run(command, cwd=PAGE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_groups_contain_all_51_names():
    groups = _node(
        'import { GROUPS, NAMES, PRESETS } from "./blendshapes.js"; console.log(JSON.stringify({ NAMES,'
        " titles: GROUPS.map((group) => group.title), presets: Object.values(PRESETS).flatMap(Object.keys) }))"
    )
    assert sorted(groups["NAMES"]) == sorted(ARKIT_NAMES)
    assert groups["titles"] == ["Eyes", "Brows", "Jaw", "Mouth", "Cheeks", "Nose"]
    assert set(groups["presets"]) <= set(ARKIT_NAMES)


def test_the_projection_agrees_with_the_camera():
    crop, camera = Crop((310.0, 190.0), 150.0, 0.4), Camera.default(64)
    points = np.random.default_rng(0).uniform([-80, -80, 900], [80, 80, 1200], (5, 3))
    described = {
        "size": 64, "focal": camera.focal, "centre": camera.centre, "crop": crop.matrix(64).tolist()
    }  # fmt: skip
    region = {"left": 100, "top": 50, "width": 400, "height": 300}
    result = _node(
        f'import {{ cropBounds, projection }} from "./projection.js"; const camera = {json.dumps(described)};'
        f"console.log(JSON.stringify({{ matrix: projection(camera, {json.dumps(region)}),"
        " bounds: cropBounds(camera) }))"
    )
    matrix = np.array(result["matrix"]).reshape(4, 4).T
    clip = np.concatenate([points * [1, -1, -1], np.ones((5, 1))], 1) @ matrix.T  # in WebGL's axes
    ndc = clip[:, :2] / clip[:, 3:]
    pixels = np.stack([100 + (ndc[:, 0] + 1) / 2 * 400, 50 + (1 - ndc[:, 1]) / 2 * 300], 1)
    in_crop = camera.focal * points[:, :2] / points[:, 2:] + np.array(camera.centre)
    assert np.allclose(pixels, crop.to_image(in_crop, 64), atol=1e-6)
    assert np.all(np.abs(clip[:, 2] / clip[:, 3]) < 1)
    corners = crop.to_image(np.array([[0.0, 0], [64, 0], [0, 64], [64, 64]]), 64)
    assert [result["bounds"]["left"], result["bounds"]["top"]] == pytest.approx(corners.min(0).tolist())


@pytest.mark.parametrize(("fps", "frames"), [(15, 8), (24, 60), (29.97, 100), (30, 40), (60, 200)])
def test_written_captures_can_be_read(fps, frames):
    written = _node(
        'import { complete } from "./blendshapes.js"; import { writeCapture } from "./capture.js";'
        f"const frames = Array.from({{ length: {frames} }}, (_, i) => complete({{ jawOpen: i / {frames} }}));"
        f'const text = await writeCapture({{ name: "take", fps: {fps}, frames }}).text();'
        "console.log(JSON.stringify(text))"
    )
    track = parse_csv(written.encode(), "take.csv")
    assert track.fps == pytest.approx(fps, rel=0.01)
    assert len(track) == frames and track.seen is None
    assert np.allclose(track.expression[:, ARKIT_NAMES.index("jawOpen")], np.arange(frames) / frames, atol=1e-4)


def test_without_npm_the_error_names_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr(bundle.shutil, "which", lambda name: None)
    assert bundle.main() == 1
    assert "install Node.js" in capsys.readouterr().err


def test_without_a_network_the_old_bundle_is_kept(monkeypatch, tmp_path):
    target = tmp_path / "three.js"
    target.write_text("old")
    failed = subprocess.CompletedProcess([], 1, "", "npm error code ENOTFOUND\nnpm error network")
    monkeypatch.setattr(bundle.shutil, "which", lambda name: "npm")
    monkeypatch.setattr(bundle.subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(bundle.BundleError, match="ENOTFOUND; check the network"):
        bundle.bundle(target)
    assert target.read_text() == "old"


def test_the_page_drives_as_the_library_does():
    generator = np.random.default_rng(0)
    own, driving, reference = generator.random((3, 51)).round(3).astype(np.float32)
    choices = [
        {"regions": ["eyes", "mouth"], "strength": 1.5, "relative": True, "retarget": "none", "closeMouth": False},
        {"regions": ["brows"], "strength": 0.5, "relative": False, "retarget": "both", "closeMouth": True},
        {"regions": list(FACE_REGIONS), "strength": 1, "relative": True, "retarget": "eyes", "closeMouth": True},
        {"regions": list(FACE_REGIONS), "strength": 1, "relative": False, "retarget": "lips", "closeMouth": False},
    ]
    faces = [dict(zip(ARKIT_NAMES, values.astype(float), strict=True)) for values in (own, driving, reference)]
    results = _node(
        'import { drive } from "./control.js";'
        f"const [own, driving, reference] = {json.dumps(faces)};"
        f"const results = {json.dumps(choices)}.map((controls) => drive(own, driving, controls, reference));"
        "console.log(JSON.stringify(results))"
    )
    for choice, result in zip(choices, results, strict=True):
        options = DrivingOptions(
            regions=choice["regions"],
            strength=choice["strength"],
            relative=choice["relative"],
            retarget=choice["retarget"],
            close_mouth=choice["closeMouth"],
        )
        expected = drive({"expression": own}, {"expression": driving}, options, {"expression": reference})
        assert [result[name] for name in ARKIT_NAMES] == pytest.approx(expected["expression"], abs=1e-5)
