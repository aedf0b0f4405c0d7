"""Readers: layouts are recognised, their units listed and read; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from landmark_files import face_points, mat_file, npy_file, pts_file, t7_file
from miniatures import box_track, landmarks_of, picture, video, voxceleb2, walk, write

from jr2net.data.importing.pose import five_of
from jr2net.data.readers import LAYOUTS, Folder, choose_layout
from jr2net.data.readers.celeba import COLUMNS
from jr2net.data.readers.layout import Frame, Survey
from jr2net.data.readers.problems import DatasetError
from jr2net.data.readers.tables import parse_csv, parse_list
from jr2net.data.readers.voxceleb2 import parse_track

POINTS = face_points(120.0)
PHOTO = picture(120, 120)


def survey(folder: Path, layout: str) -> Survey:
    """What the reader that the folder is recognised by finds."""
    chosen = choose_layout(Folder(str(folder)))
    assert chosen.name == layout
    return chosen.survey(Folder(str(folder)))


def frames(folder: Path, layout: str, unit: int = 0) -> list[Frame]:
    opened = Folder(str(folder))
    reader = LAYOUTS[layout]
    return list(reader.read(opened.load, reader.survey(opened).units[unit]).frames())


def test_300w_lp_views_of_a_photo_are_one_clip_and_mirrored_ones_the_same_person(tmp_path: Path) -> None:
    for name in ("AFW/AFW_1_1_0", "AFW/AFW_1_1_1", "AFW/AFW_1_1_10", "AFW_Flip/AFW_1_1_0", "HELEN/HELEN_7_1_0"):
        write(tmp_path, f"{name}.jpg", PHOTO)
        write(tmp_path, f"{name}.mat", mat_file(POINTS))
    write(tmp_path, "landmarks/AFW/AFW_1_1_0_pts.mat", mat_file(POINTS))
    units = survey(tmp_path, "300w-lp").units
    assert [(unit.name, unit.identity, len(unit.files)) for unit in units] == [
        ("AFW/AFW_1_1", "AFW_1_1", 6),
        ("AFW_Flip/AFW_1_1", "AFW_1_1", 2),
        ("HELEN/HELEN_7_1", "HELEN_7_1", 2),
    ]
    assert units[0].files[-1] == "AFW/AFW_1_1_10.mat"  # by number, not by name
    found = frames(tmp_path, "300w-lp")
    assert [frame.number for frame in found] == [0, 1, 2]
    assert found[0].landmarks == pytest.approx(POINTS, abs=1e-3)


@pytest.mark.parametrize("sample", ["AFLW2000-3D", "300W-LP", "LS3D-W_synthetic"])
def test_samples_are_read_with_landmarks_in_the_picture(real_ground: Path, sample: str) -> None:
    folder = real_ground / "data/datasets" / sample
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    layout = choose_layout(Folder(str(folder)))
    assert layout.name == ("ls3d-w" if sample.startswith("LS3D") else "300w-lp")
    found = layout.survey(Folder(str(folder)))
    assert found.units and not found.problems
    for unit in found.units:
        for frame in layout.read(Folder(str(folder)).load, unit).frames():
            assert frame.landmarks is not None and frame.landmarks.shape == (68, 2)
            inside = (frame.landmarks > 0) & (frame.landmarks < frame.image.shape[0])
            assert inside.mean() > 0.95


@pytest.mark.parametrize("ending", [".t7", ".npy"])
def test_ls3d_w(tmp_path: Path, ending: str) -> None:
    write(tmp_path, "300W-Testset-3D/indoor_001.jpg", PHOTO)
    write(tmp_path, f"300W-Testset-3D/indoor_001{ending}", (t7_file if ending == ".t7" else npy_file)(POINTS))
    (unit,) = survey(tmp_path, "ls3d-w").units
    assert unit.identity == "300W-Testset-3D/indoor_001"
    assert frames(tmp_path, "ls3d-w")[0].landmarks == pytest.approx(POINTS, abs=1e-3)


def test_ls3d_w_frames_of_a_video_are_of_one_person(tmp_path: Path) -> None:
    for video_name in ("CatA/001", "CatA/002"):
        for number in range(2):
            write(tmp_path / "ls", f"300VW-3D/{video_name}/{number:04d}.jpg", PHOTO)
            write(tmp_path / "ls", f"300VW-3D/{video_name}/{number:04d}.t7", t7_file(POINTS))
    write(tmp_path / "ls", "300W/a.jpg", PHOTO)
    write(tmp_path / "ls", "300W/a.t7", t7_file(POINTS))
    found = [unit.identity for unit in survey(tmp_path / "ls", "ls3d-w").units]
    assert found == ["300VW-3D/CatA/001"] * 2 + ["300VW-3D/CatA/002"] * 2 + ["300W/a"]
    found = [unit.identity for unit in survey(tmp_path / "ls/300VW-3D", "ls3d-w").units]
    assert found == ["CatA/001"] * 2 + ["CatA/002"] * 2


def test_ibug_pairs_and_what_lacks_a_partner(tmp_path: Path) -> None:
    for name in ("image_001", "image_001_mirror", "image_002"):
        write(tmp_path, f"{name}.png", PHOTO)
        write(tmp_path, f"{name}.pts", pts_file(POINTS))
    write(tmp_path, "image_003.png", PHOTO)
    write(tmp_path, "image_004.pts", pts_file(POINTS))
    found = survey(tmp_path, "ibug")
    assert [unit.identity for unit in found.units] == ["image_001", "image_001", "image_002"]
    assert [(problem.name, problem.reason) for problem in found.problems] == [
        ("image_003.png", "missing pair"),
        ("image_004.pts", "missing pair"),
    ]
    assert frames(tmp_path, "ibug")[0].landmarks == pytest.approx(POINTS, abs=1e-3)


def celeba(folder: Path, columns: list[str] = COLUMNS, wild: bool = False) -> np.ndarray:
    """Four pictures of two people; returns their five points."""
    five = five_of(landmarks_of((60, 60, 60)))
    values = dict(zip(COLUMNS, (five + 0.5).ravel()))
    names = [f"{number:06d}.jpg" for number in range(1, 5)]
    kind = "" if wild else "align_"
    for name in names:
        write(folder, f"img_{kind}celeba/{name}", PHOTO)
    rows = "".join(f"{name} {' '.join(f'{values[column]:.3f}' for column in columns)}\n" for name in names)
    write(folder, f"Anno/list_landmarks_{kind}celeba.txt", f"{len(names)}\n{' '.join(columns)}\n{rows}")
    write(folder, "Anno/identity_CelebA.txt", "".join(f"{name} {n // 2 + 7}\n" for n, name in enumerate(names)))
    write(folder, "Eval/list_eval_partition.txt", "".join(f"{name} {n // 2 * 2}\n" for n, name in enumerate(names)))
    return five


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS[::-1]])
def test_celeba_by_the_names_of_its_columns(tmp_path: Path, wild: bool, columns: list[str]) -> None:
    five = celeba(tmp_path, columns, wild)
    write(tmp_path, f"img_{'' if wild else 'align_'}celeba/000009.jpg", PHOTO)
    found = survey(tmp_path, "celeba")
    assert [(unit.name, unit.identity, unit.part) for unit in found.units] == [
        ("000001", "7", "train"),
        ("000002", "7", "train"),
        ("000003", "8", "test"),
        ("000004", "8", "test"),
    ]
    assert [problem.name for problem in found.problems] == [f"img_{'' if wild else 'align_'}celeba/000009.jpg"]
    assert frames(tmp_path, "celeba")[0].points == pytest.approx(five, abs=1e-3)


def test_celeba_with_swapped_columns_is_refused(tmp_path: Path) -> None:
    celeba(tmp_path)
    path = tmp_path / "Anno/list_landmarks_align_celeba.txt"
    swapped = " ".join(name[:-1] + ("y" if name.endswith("x") else "x") for name in COLUMNS)
    path.write_text(path.read_text().replace(" ".join(COLUMNS), swapped))
    with pytest.raises(DatasetError, match=r"list_landmarks_align_celeba.txt: 4 of 4 entries.*are swapped"):
        survey(tmp_path, "celeba")


def test_celeba_with_a_web_page_for_a_list_is_refused(tmp_path: Path) -> None:
    celeba(tmp_path)
    write(tmp_path, "Anno/list_landmarks_align_celeba.txt", "<!DOCTYPE html><html><title>Google Drive - Quota exceeded")
    with pytest.raises(DatasetError, match=r"list_landmarks_align_celeba.txt: is a web page"):
        survey(tmp_path, "celeba")


def test_celeba_with_a_truncated_list_is_refused(tmp_path: Path) -> None:
    celeba(tmp_path)
    path = tmp_path / "Anno/list_landmarks_align_celeba.txt"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(DatasetError, match=r"entry 4 \('000004.jpg'\) has .* values, but 10 columns"):
        survey(tmp_path, "celeba")


def test_celeba_with_pictures_of_both_kinds_is_refused(tmp_path: Path) -> None:
    celeba(tmp_path)
    celeba(tmp_path, wild=True)
    with pytest.raises(DatasetError, match=r"holds both img_align_celeba/000001.jpg and img_celeba/000001.jpg"):
        survey(tmp_path, "celeba")


def test_celeba_sample(real_ground: Path) -> None:
    """Its lists are of six pictures that are not there, and its landmark list has two columns."""
    folder = real_ground / "data/datasets/CelebA_tiny_layout"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    opened = Folder(str(folder))
    assert choose_layout(opened).name == "celeba"
    identities = parse_list(opened.load("identity_CelebA.txt"), "identity_CelebA.txt")[1]
    assert identities["000003.jpg"] == ["3"] and len(identities) == 6
    with pytest.raises(DatasetError, match="its columns are lefteye_x rightmouth_y; expected lefteye_x lefteye_y"):
        LAYOUTS["celeba"].survey(opened)


def test_voxceleb2_with_its_split_and_tracks(tmp_path: Path) -> None:
    voxceleb2(tmp_path, people=1, clips=2, frames=3)
    write(tmp_path, "dev/txt/id00099/lost/00001.txt", box_track(3))
    write(tmp_path, "dev/mp4/stray.mp4", video(walk(2)))
    found = survey(tmp_path, "voxceleb2")
    assert [(unit.name, unit.identity, unit.part) for unit in found.units] == [
        ("id00010/video0/00001", "id00010", "train"),
        ("id00010/video0/00002", "id00010", "train"),
        ("id00011/video1/00001", "id00011", "test"),
        ("id00011/video1/00002", "id00011", "test"),
    ]
    assert {problem.reason for problem in found.problems} == {"missing pair", "no identity"}
    assert frames(tmp_path, "voxceleb2")[2].box == pytest.approx((32, 24, 128, 96))


def test_voxceleb2_boxes_do_not_apply_to_published_cut_outs(tmp_path: Path) -> None:
    write(tmp_path, "mp4/id00010/v/00001.mp4", video(walk(2), width=120))
    write(tmp_path, "mp4/id00010/v/00001.txt", box_track(2))
    assert [frame.box for frame in frames(tmp_path, "voxceleb2")] == [None, None]


def test_voxceleb2_split_by_a_list(tmp_path: Path) -> None:
    for person in ("id00010", "id00011"):
        write(tmp_path, f"{person}/v/00001.mp4", video(walk(2)))
    write(
        tmp_path, "vox2_meta.csv", "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set\nid00010 ,n1 ,m ,dev\nid00011 ,n2 ,f ,test\n"
    )
    assert [unit.part for unit in survey(tmp_path, "voxceleb2").units] == ["train", "test"]


@pytest.mark.parametrize("end", ["id000", "id00011 ,n2 ,f", '"' + "z" * 200_000 + '" ,n2 ,f ,dev'])
def test_a_damaged_csv_is_refused_with_its_line(end: str) -> None:
    content = f"VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set\nid00010 ,n1 ,m ,dev\n{end}".encode()
    with pytest.raises(DatasetError, match=r"^vox2_meta\.csv: line 3: .*; copy it again"):
        parse_csv(content, "vox2_meta.csv", ("VoxCeleb2 ID", "Set"))


def test_lines_of_commas_are_no_entries_of_a_list() -> None:
    assert parse_list(b"000001.jpg,1\n,,\n000002.jpg,2\n", "list.txt")[1] == {"000001.jpg": ["1"], "000002.jpg": ["2"]}


def test_voxceleb2_sample(real_ground: Path) -> None:
    folder = real_ground / "data/datasets/VoxCeleb2"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    boxes = parse_track((folder / "00001.txt").read_bytes(), "00001.txt")
    assert len(boxes) > 20 and boxes[0] == pytest.approx((0.31, 0.12, 0.66, 0.74))
    name = "vox-metadata-first-rows.csv"
    rows = parse_csv((folder / name).read_bytes(), name, ("person_id", "partition"))
    assert {(row["person_id"], row["partition"]) for row in rows} == {("id10005", "train")}


def test_footage_names_people_by_folders(tmp_path: Path) -> None:
    write(tmp_path, "anna/a.jpg", PHOTO)
    write(tmp_path, "anna/holiday.MP4", video(walk(2)))
    write(tmp_path, "ben.png", PHOTO)
    write(tmp_path, "anna/.thumb.jpg", PHOTO)
    write(tmp_path, "notes.txt", "x")
    units = survey(tmp_path, "footage").units
    assert [(unit.name, unit.identity) for unit in units] == [
        ("anna/a", "anna"),
        ("anna/holiday", "anna"),
        ("ben", "ben"),
    ]


def live_link(count: int, seen: int) -> str:
    """A capture at 30 frames per second in which the phone sees a face up to frame ``seen``."""
    from jr2net.face.arkit import ARKIT_NAMES

    names = [name[0].upper() + name[1:] for name in ARKIT_NAMES] + ["TongueOut"]
    rows = [f"00:00:00:{n:02d}.000,{61 if n < seen else 0}," + ("0.25," * 52 if n < seen else "") for n in range(count)]
    return "\n".join([f"Timecode,BlendShapeCount,{','.join(names)}", *(row.rstrip(",") for row in rows)]) + "\n"


def test_a_live_link_take_gives_its_frames_what_was_captured(tmp_path: Path) -> None:
    write(tmp_path, "anna/take1/MySlate_1_iPhone.csv", live_link(20, 15))
    write(tmp_path, "anna/take1/MySlate_1_iPhone.mov", video(walk(20)))
    write(tmp_path, "anna/take1/take.json", "{}")
    write(tmp_path, "anna/take2/alone.mov", video(walk(2)))
    found = survey(tmp_path, "livelink")
    assert [(unit.name, unit.identity) for unit in found.units] == [("anna/take1/MySlate_1_iPhone", "anna")]
    assert [problem.name for problem in found.problems] == ["anna/take2/alone.mov"]
    read = frames(tmp_path, "livelink")
    assert [frame.number for frame in read] == list(range(12))  # of 15 frames at 30 a second, as 25 a second
    assert read[3].expression == pytest.approx(np.full(51, 0.25))


@pytest.mark.parametrize(
    ("folders", "identities"),
    [
        (("20240101_Me_1", "20240101_Me_2"), ["person", "person"]),
        (("anna/monday/take1", "anna/tuesday/take1", "ben/take1"), ["anna", "anna", "ben"]),
        (("",), ["person"]),
    ],
)
def test_live_link_takes_of_a_person(tmp_path: Path, folders: tuple[str, ...], identities: list[str]) -> None:
    for folder in folders:
        write(tmp_path / folder, "Me_iPhone.mov", b"x")
        write(tmp_path / folder, "Me_iPhone.csv", b"x")
    assert [unit.identity for unit in survey(tmp_path, "livelink").units] == identities


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.abs", "x")
    with pytest.raises(DatasetError, match=r"its files \(\.abs\) are of no known layout; name one with --layout"):
        choose_layout(Folder(str(tmp_path)))
    with pytest.raises(DatasetError, match="--layout nonsense: give one of celeba"):
        choose_layout(Folder(str(tmp_path)), "nonsense")
    with pytest.raises(DatasetError, match="there is no such folder"):
        Folder(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no files"):
        Folder(str(tmp_path / "empty"))
