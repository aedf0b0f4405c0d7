// The projection from the fitted head to the photo's pixels: the crop's camera and the affine from crop to photo.

/** The bounding box {left, top, width, height} of the networks' crop, in the photo's pixels. */
export function cropBounds(camera) {
  const toPhoto = inverse(camera.crop);
  const corners = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([x, y]) => apply(toPhoto, x * camera.size, y * camera.size));
  const [xs, ys] = [0, 1].map((axis) => corners.map((corner) => corner[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
}

/**
 * The projection matrix of a region of the photo, in WebGL's column-major order.
 *
 * Camera space is WebGL's (x right, y up, z backward), in millimetres. `camera` has focal, centre, size and `crop`, the
 * 2 × 3 affine from photo pixels to crop pixels; `region` is the region of the photo that the canvas shows.
 */
export function projection(camera, region, near = 50, far = 20000) {
  const [[a, b], [c, d]] = inverse(camera.crop).map((row) => row.slice(0, 2));
  const [x, y] = apply(inverse(camera.crop), ...camera.centre); // principal point in the photo
  const f = camera.focal;
  const rowX = [a * f, b * f, x - region.left].map((value) => (value * 2) / region.width);
  const rowY = [c * f, d * f, y - region.top].map((value) => (value * 2) / region.height);
  // Pixels are linear in (X, Y, Z) / Z in OpenCV's axes, where X = x, Y = -y, Z = -z.
  return [
    rowX[0], -rowY[0], 0, 0,
    -rowX[1], rowY[1], 0, 0,
    -(rowX[2] - 1), rowY[2] - 1, (far + near) / (near - far), -1,
    0, 0, (2 * far * near) / (near - far), 0,
  ];
}

function inverse([[a, b, e], [c, d, f]]) {
  const determinant = a * d - b * c;
  const [p, q, r, s] = [d, -b, -c, a].map((value) => value / determinant);
  return [[p, q, -(p * e + q * f)], [r, s, -(r * e + s * f)]];
}

const apply = (matrix, x, y) => matrix.map((row) => row[0] * x + row[1] * y + row[2]);
