"""Converts any face model to a single model file, which the machines of a cluster can read from a bucket.

python -m jr2net.face.convert ~/ICT-FaceKit face.npz --vertices 4800
python -m jr2net.face.convert 01_MorphableModel.mat face.npz --expressions expressions.npz
"""

from __future__ import annotations

import argparse
import sys

from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModelError
from jr2net.face.model_file import write_model_file
from jr2net.storage import StorageError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="face model, as for `face.model` in a configuration")
    parser.add_argument("output", help="model file to write (.npz)")
    parser.add_argument("--vertices", type=int, help="decimate to about this many vertices")
    parser.add_argument("--expressions", help="expression basis (.npz) for BFM 2009's .mat")
    options = parser.parse_args(arguments)
    try:
        model = load_face_model(
            FaceConfig(model=options.model, vertices=options.vertices, expression_file=options.expressions)
        )
        write_model_file(model, options.output)
    except (FaceModelError, StorageError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {len(model.mean)} vertices, {len(model.faces)} faces, {model.sizes}, {model.digest[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
