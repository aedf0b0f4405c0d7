"""A face model prepared for filming: its head, hair and face map, and the material and colour of each vertex."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jr2net.face.model import FaceModel
from jr2net.render.renderer import vertex_normals
from jr2net.studio.hair import HairMesh, build_hair
from jr2net.studio.head import BODY, EAR, EAR_COLUMNS, Head, build_head
from jr2net.studio.people import Person
from jr2net.studio.skin import FaceMap, unroll

_EYES = ("sclera", "iris", "pupil")
_TEETH = ("teeth_upper", "teeth_lower")
_INSIDE = ("mouth_socket", "eye_socket")


@dataclass(frozen=True)
class Subject:
    """What all people filmed with one face model share; N face vertices, M head vertices, S on the face's skin.

    surface     (M, 12)   per vertex: face-map coordinates (2), crown coordinates (2), rest position (3), and material:
                          face skin, lips, wet (eyes, teeth, lips), body, ambient occlusion (1: open), in [0, 1]
    skin, iris  (N,) bool vertices of the face
    irises      (2, N) bool vertices of the right and the left iris, with their pupils
    albedo_fit  (A, 3S)   least-squares fit of albedo coefficients to a reflectance on the skin
    """

    head: Head
    hair: HairMesh
    face_map: FaceMap
    surface: Tensor
    skin: Tensor
    iris: Tensor
    irises: Tensor
    albedo_fit: Tensor

    @property
    def model(self) -> FaceModel:
        return self.head.model

    @property
    def lips(self) -> Tensor:
        """(N, 1): 1 on the lips of the face."""
        return self.surface[: self.head.face_size, 8:9]


def build_subject(model: FaceModel) -> Subject:
    """Builds the subject of a face model. Raises FaceModelError when the mesh has no open rim."""
    head = build_head(model)
    hair, face_map = build_hair(head), unroll(head)
    skin, lips, eyes = model.has_label("skin"), model.has_label("lips"), model.has_label(*_EYES)
    face = slice(0, head.face_size)
    material = torch.zeros(len(head.rest), 5)
    material[face, 0] = (skin | lips).float()
    material[face, 1] = lips.float()
    material[face, 2] = 1.0 * eyes + 0.5 * model.has_label(*_TEETH) + 0.25 * lips
    material[:, 3] = (head.region == BODY).float()
    material[:, 4] = 1.0
    material[face, 4] = (
        _ambient_occlusion(model, skin)
        * (1 - 0.5 * model.has_label(*_INSIDE).float())
        * (1 - 0.15 * eyes.float())
        * (1 - 0.3 * model.has_label(*_TEETH).float())
    )
    material[head.region == EAR, 4] = torch.tensor([0.5, 0.6, 0.9, 0.8, 1.0]).repeat_interleave(EAR_COLUMNS).repeat(2)
    coordinates = [torch.from_numpy(face_map.coordinates), torch.from_numpy(hair.polar).float(), head.rest]
    basis = model.albedo_basis[:, skin].flatten(1)
    return Subject(
        head=head,
        hair=hair,
        face_map=face_map,
        surface=torch.cat([*coordinates, material], 1),
        skin=skin,
        iris=model.has_label("iris"),
        irises=model.has_label("iris", "pupil") & torch.stack([model.mean[:, 0] < 0, model.mean[:, 0] > 0]),
        albedo_fit=torch.linalg.solve(basis @ basis.t() + 1e-3 * torch.eye(len(basis)), basis),
    )


def reflectance(subject: Subject, person: Person) -> tuple[Tensor, np.ndarray]:
    """A person's vertex albedo (M, 3), and the albedo coefficients (A,) that fit its skin best.

    The model's albedo is shifted to the person's colours of skin, lips and irises.
    """
    head, model, lips = subject.head, subject.model, subject.lips
    tone, lip_colour, iris = (torch.from_numpy(colour) for colour in (person.tone, person.lips, person.iris))
    face = model.reflectance(torch.from_numpy(person.albedo)[None])[0]
    tinted = face * (tone / face[subject.skin].mean(0))
    face = torch.lerp(face, tinted, subject.surface[: len(face), 7:8])
    lip_mean = (face * lips).sum(0) / lips.sum().clamp(min=1)
    face = torch.lerp(face, face * (lip_colour / lip_mean.clamp(min=0.02)).clamp(0.1, 3), lips)
    face = torch.where(subject.iris[:, None], iris, face).clamp(0.005, 1)
    coefficients = subject.albedo_fit @ (face - model.albedo_mean)[subject.skin].flatten()
    skull = tone + (face[head.boundary] - tone)[:, None] * head.decay[:, None]
    rest = tone.expand(int((head.region >= EAR).sum()), 3)
    return torch.cat([face, skull.flatten(0, 1), rest]), coefficients.numpy()


def _ambient_occlusion(model: FaceModel, skin: Tensor) -> Tensor:
    """Ambient occlusion factor (N,) in [0.35, 1] from a vertex's depth below its surroundings: creases are dark."""
    mean, faces = model.mean, model.faces
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = torch.cat([edges, edges.flip(1)])
    neighbours = torch.zeros(len(mean)).index_add(0, edges[:, 0], torch.ones(len(edges))).clamp(min=1)[:, None]

    def neighbour_mean(values: Tensor) -> Tensor:
        return torch.zeros_like(values).index_add(0, edges[:, 0], values[edges[:, 1]]) / neighbours

    smooth = mean
    for _ in range(6):
        smooth = neighbour_mean(smooth)
    depth = ((smooth - mean) * vertex_normals(mean[None], faces)[0]).sum(-1, keepdim=True) * skin[:, None]
    depth = 0.5 * depth + 0.5 * neighbour_mean(depth)
    return (1 - 0.16 * depth[:, 0].clamp(min=0)).clamp(0.35, 1.0)
