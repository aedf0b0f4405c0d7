"""Hair: a shell lifted off the skin, and a curtain that hangs from it, both with an opacity per pixel.

Positions on the head are given in polar coordinates around the crown: azimuth (0 at the front, positive to the
subject's left) and polar angle. Strands run along the polar angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jr2net.studio.head import SKULL, Head
from jr2net.studio.people import HAIRLINE_AZIMUTHS, Hair
from jr2net.studio.textures import TILE, fractal_noise, lookup, smoothstep

CURTAIN_ROWS, CURTAIN_COLUMNS = 9, 36
_CROWN = np.array([0.0, 0.894, -0.447])


@dataclass(frozen=True)
class HairMesh:
    """Topology of all hair on a head of M vertices. Shell vertices, copies of head vertices, come before the curtain's.

    faces       (F, 3) int64 into shell and curtain
    source      (S,) int64 head vertices that the shell copies
    polar       (M, 2) azimuthal equidistant coordinates of every head vertex around the crown, radians
    half_width  of the skull, mm
    depth       half the depth of the skull, mm
    """

    faces: Tensor
    source: Tensor
    polar: np.ndarray
    half_width: float
    depth: float


def build_hair(head: Head) -> HairMesh:
    """Builds the topology: the shell covers the skull and the upper face, down to below the brows."""
    rest = head.rest.double().numpy()
    polar = crown_coordinates(rest - head.centre.numpy())
    region = head.region.numpy()
    skin = np.zeros(len(region), bool)
    skin[: head.face_size] = head.model.has_label("skin").numpy()
    brow = np.hypot(*polar[head.model.landmarks[19:25].numpy()].T).mean()
    covered = (region == SKULL) | (skin & (np.hypot(polar[:, 0], polar[:, 1]) < brow + np.radians(14)))
    faces = head.faces.numpy()
    shell = faces[covered[faces].all(1)]
    source = np.unique(shell)
    renumbered = np.full(len(rest), -1)
    renumbered[source] = np.arange(len(source))
    index = np.arange(CURTAIN_ROWS * CURTAIN_COLUMNS).reshape(CURTAIN_ROWS, CURTAIN_COLUMNS) + len(source)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    curtain = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    skull = rest[region == SKULL]
    return HairMesh(
        faces=torch.from_numpy(np.concatenate([renumbered[shell], curtain])),
        source=torch.from_numpy(source),
        polar=polar,
        half_width=float(skull[:, 0].max()),
        depth=float((skull[:, 2].max() - skull[:, 2].min()) / 2),
    )


def crown_coordinates(offset: np.ndarray) -> np.ndarray:
    """Offsets (…, 3) from the middle of the skull to polar angle × (cos, sin) of the azimuth (…, 2), radians."""
    direction = offset / np.linalg.norm(offset, axis=-1, keepdims=True)
    front = np.array([0.0, -_CROWN[2], _CROWN[1]])
    height = direction @ _CROWN
    forward, left = direction @ front, direction[..., 0]
    polar = np.arccos(np.clip(height, -1, 1))
    return np.stack([forward, left], -1) / np.maximum(np.hypot(forward, left), 1e-6)[..., None] * polar[..., None]


def hairline_angle(hair: Hair, azimuth: np.ndarray) -> np.ndarray:
    """Polar angle down to which hair grows at the given azimuths; radians."""
    table = np.interp(np.arange(181.0), HAIRLINE_AZIMUTHS, hair.hairline).astype(np.float32)
    degrees = table[np.abs(np.degrees(azimuth)).astype(np.int32)]
    return np.radians(degrees + hair.lean * np.sin(azimuth) * np.clip(np.cos(azimuth) + 0.5, 0, 1))


def hair_faces(mesh: HairMesh, hair: Hair) -> list[Tensor]:
    """Triangles in drawing order: the far side of the curtain, then its near side and the shell where hair grows."""
    on_curtain = curtain_coordinates()
    shell = mesh.polar[mesh.source.numpy()]
    inside = hairline_angle(hair, np.arctan2(shell[:, 1], shell[:, 0])) - np.hypot(shell[:, 0], shell[:, 1])
    has_curtain = np.full(len(on_curtain), hair.length > 0)
    grows = inside > -np.radians(2 * hair.ragged + 3)
    grows = np.concatenate([grows, np.zeros(len(on_curtain), bool)])[mesh.faces].any(1)
    across = np.where(has_curtain, np.abs(on_curtain[:, 0]), np.nan)
    across = np.concatenate([np.full(len(shell), np.nan), across])[mesh.faces]
    layers = [mesh.faces[torch.from_numpy(kept)] for kept in ((across < 0.62).all(1), grows | (across > 0.5).all(1))]
    return [faces for faces in layers if len(faces)]


def shell_thickness(hair: Hair, polar: np.ndarray, seed: int) -> np.ndarray:
    """Height (N,) in mm of the shell above the skin at crown coordinates (N, 2): full on top, thin at the hairline."""
    azimuth, angle = np.arctan2(polar[:, 1], polar[:, 0]), np.hypot(polar[:, 0], polar[:, 1])
    inside = hairline_angle(hair, azimuth) - angle
    top, side = hair.thickness
    high = smoothstep(0.4, 1.3, angle)
    depth = top + (side - top) * high
    bumps = lookup(fractal_noise(1.5), polar[:, 0] * 22 + seed % 199, polar[:, 1] * 22 + seed % 97)
    depth = depth * np.clip(1 + (0.12 + 0.3 * hair.curl) * bumps, 0.3, 2)
    return 1.2 + depth * smoothstep(-0.02, 0.35, inside)


def curtain(mesh: HairMesh, head: Head, hair: Hair, seed: int) -> np.ndarray:
    """Vertices (rows × columns, 3) of the hanging hair in model space, for the head's rest pose."""
    rng = np.random.default_rng(seed)
    eye = head.rest[head.model.landmarks[36:48], 1].mean().item()
    front = np.radians(hair.front)
    azimuth = np.linspace(-(np.pi - 1e-3), np.pi - 1e-3, CURTAIN_COLUMNS) * (1 - front / np.pi)
    azimuth = np.where(azimuth > 0, np.pi - azimuth, -np.pi - azimuth)[None]  # front edge to front edge round the back
    down = np.linspace(0, 1, CURTAIN_ROWS)[:, None]
    height = eye + 45 - down * (45 + hair.length)
    below = np.clip((eye - 20 - height) / 150, 0, 1.5)
    flare = rng.uniform(-0.25, 0.25)
    wave = (0.02 + 0.05 * hair.curl) * np.sin(height / rng.uniform(18, 40) + 2 * azimuth + rng.uniform(0, 6))
    tuck = smoothstep(0, 0.25, down)
    radius_x = mesh.half_width + hair.thickness[1] * (0.4 + 0.6 * tuck) - 4 * (1 - tuck)
    radius_x = radius_x * (1 + flare * below + wave * tuck)
    radius_z = mesh.depth * 0.95 + hair.thickness[1] * tuck
    x = radius_x * np.sin(azimuth)
    z = head.centre[2].item() + radius_z * (1 + wave * tuck) * np.cos(azimuth) * np.where(np.cos(azimuth) > 0, 0.8, 1)
    z = z + below * rng.uniform(5, 40) * (np.cos(azimuth) > -0.3)
    return np.stack([x, np.broadcast_to(height, x.shape), z], -1).reshape(-1, 3)


def curtain_coordinates() -> np.ndarray:
    """Coordinates (rows × columns, 2) of curtain vertices: across in [-1, 1] from edge to edge, down in [0, 1]."""
    across, down = np.meshgrid(np.linspace(-1, 1, CURTAIN_COLUMNS), np.linspace(0, 1, CURTAIN_ROWS))
    return np.stack([across, down], -1).reshape(-1, 2)


def hair_texture(
    hair: Hair, polar: np.ndarray, curtain_position: np.ndarray, on_curtain: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Opacity and strand brightness (P,) of hair pixels.

    polar             (P, 2) crown coordinates of shell pixels
    curtain_position  (P, 2) curtain coordinates of curtain pixels
    on_curtain        (P,) bool
    """
    azimuth = np.where(on_curtain, curtain_position[:, 0] * 2.6, np.arctan2(polar[:, 1], polar[:, 0]))
    angle = np.where(on_curtain, 1.2 + curtain_position[:, 1] * hair.length / 100, np.hypot(polar[:, 0], polar[:, 1]))
    across, along = azimuth * TILE / (2 * np.pi) * 2, angle * 60
    stretch = (8.0, 4.0, 2.0)[min(int(3 * hair.curl), 2)]
    wave = hair.curl * 9 * np.sin(along / (9 - 5 * hair.curl) + seed % 7)
    u, v = across + wave + seed % 251, along * (1 + 2 * hair.curl) + seed % 127
    strands = lookup(fractal_noise(0.9, stretch), u, v * 0.6)
    clumps = lookup(fractal_noise(1.4, stretch), u * 0.5, v * 0.25)
    texture = np.clip(0.6 * strands + 0.6 * clumps, -2, 2)
    ragged = np.radians(hair.ragged)
    inside = hairline_angle(hair, azimuth) - angle + ragged * texture
    shell = smoothstep(-0.012, 0.05, inside)
    edge = np.minimum((1 - np.abs(curtain_position[:, 0])) * 2.6, (1 - curtain_position[:, 1]) * hair.length / 80)
    hanging = smoothstep(0, 0.08, edge + (0.02 + 0.5 * ragged) * (texture - 1.0))
    return np.where(on_curtain, hanging, shell), np.clip(1 + 0.3 * texture, 0.3, 1.9)
